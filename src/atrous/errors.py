"""The exceptions of atrous: every refusal is one of these, with one sentence that says what to do."""

from __future__ import annotations


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
