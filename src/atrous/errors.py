"""The exceptions of atrous: every refusal is one of these, with one sentence that says what to do."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])
#: where the exceptions of libraries that reach a device are defined
DEVICE_LIBRARIES = ("cupy", "cupy_backends", "torch", "jaxlib")
#: how the runtime, the driver and torch's allocators say it
NO_MEMORY = re.compile("out of memory|OUT_OF_MEMORY|can't allocate memory")


class AtrousError(Exception):
    """Root of every exception that atrous raises on purpose."""


class ProblemError(AtrousError, ValueError):
    """The request makes no sense: a wrong shape, dtype, device, layout or argument."""


class UnsupportedProblem(AtrousError, NotImplementedError):
    """The request makes sense, and nothing here takes it; the message says who declined and why."""


class EngineUnavailable(AtrousError, RuntimeError):
    """The named engine cannot run here: not built, failed to load, or no device."""


class CudaError(AtrousError, RuntimeError):
    """A CUDA call failed after the request was accepted."""


class OutOfMemory(CudaError, MemoryError):
    """There was no memory for what the call needs; nothing was written, and the call may be made again."""


def shown(value: object, most: int = 80) -> str:
    """Return a value as it stands in a message: its repr on one line of at most `most` characters."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a repr may fail in any way (an int of 5,000 digits does), and the refusal must still be made
        text = f"an int of {value.bit_length()} bits" if isinstance(value, int) else f"an object of class {type(value).__name__} that cannot be shown"
    return text if len(text) <= most else text[: most - 4] + " ..."


def sentence(operation: str, came: str, expected: str, remedy: str) -> str:
    """Return the one form of every refusal: ``[operation] came; expected ...; remedy.``"""
    return f"[{operation}] {came}; expected {expected}; {remedy}."


def typed(operation: str, failure: Exception) -> Exception:
    """Return a failure as the exception that the operation raises: a device's and an allocator's as ours, any other as it is."""
    if isinstance(failure, AtrousError):
        text = str(failure)
        if not isinstance(failure, CudaError) or text.startswith(f"[{operation}]"):
            return failure
        return type(failure)(f"[{operation}] {text.removeprefix('[').replace('] ', ': ', 1)}")
    kind, text = type(failure), str(failure)
    of_device = kind.__module__.partition(".")[0] in DEVICE_LIBRARIES or (kind is RuntimeError and text.startswith("CUDA error"))
    if isinstance(failure, MemoryError) or ((of_device or kind is RuntimeError) and NO_MEMORY.search(text)):
        return OutOfMemory(
            sentence(operation, f"memory ran out ({kind.__name__}: {text})", "room for the output and for what the call holds", "free some, or pass out=")
        )
    if of_device:
        return CudaError(sentence(operation, f"{kind.__name__}: {text}", "success", "see that the device, its memory and its driver are in order"))
    return failure


def reports(operation: str | None = None) -> Callable[[Function], Function]:
    """Return a decorator that makes a door's failures `typed`; without a name, the door's first argument is the operation."""

    def decorate(door: Function) -> Function:
        @functools.wraps(door)
        def reporting(*given: Any, **named: Any) -> Any:
            try:
                return door(*given, **named)
            except Exception as failure:
                told = typed(given[0] if operation is None else operation, failure)
                try:
                    if told is failure:
                        raise
                    raise told from failure
                finally:
                    del told  # else it and this frame hold each other, and the call's arrays, until a collection

        return cast(Function, reporting)

    return decorate
