"""The arrays of one call, checked against each other and against the problem before anything runs."""

from __future__ import annotations

from typing import Any

from .errors import ProblemError, sentence
from .interop import Library, Operand, library_of
from .overlap import may_share_memory, overlaps_itself

Operands = dict[str, Operand]


def gather(operation: str, first: str, array: Any, **others: Any) -> tuple[Library, Operands]:
    """Return the library of the array called `first` and the facts of every array that is not None; all must share library and device."""
    library = library_of(operation, first, array)
    found = {first: library.operand(operation, first, array)}
    for name, other_array in others.items():
        if other_array is None:
            continue
        other = library_of(operation, name, other_array)
        if other is not library:
            raise ProblemError(
                sentence(
                    operation,
                    f"{first} is a {library.name} array and {name} is a {other.name} array",
                    "arrays of one library",
                    f"convert {name} to {library.name}",
                )
            )
        found[name] = library.operand(operation, name, other_array)
        same_device(operation, first, found[first], name, found[name])
    return library, found


def same_device(operation: str, first: str, x: Operand, name: str, operand: Operand) -> None:
    """Raise ProblemError unless an operand is where the operand called `first` is."""
    if operand.device != x.device:
        raise ProblemError(
            sentence(
                operation,
                f"{first} is on {x.device} and {name} on {operand.device}",
                "arrays on one device",
                f"move {name} to {x.device} first (nothing is moved unasked)",
            )
        )


def matches(operation: str, name: str, operand: Operand, shape: tuple[int, ...], dtype: str, axes: str) -> None:
    """Raise ProblemError unless an operand has this shape and dtype."""
    if operand.shape != shape:
        raise ProblemError(sentence(operation, f"{name} has shape {operand.shape}", f"{shape} ({axes})", f"reshape or slice {name}"))
    if operand.dtype != dtype:
        remedy = f"allocate {name} as {dtype}" if name.startswith("out") else f"convert {name} to {dtype}"
        raise ProblemError(sentence(operation, f"{name} has dtype {operand.dtype}", dtype, remedy))


def vector(operation: str, name: str, operand: Operand | None, length: int) -> str | None:
    """Return the dtype of a per-channel operand (scale, bias), or None; raise ProblemError unless it is [K]."""
    if operand is None:
        return None
    if operand.shape != (length,):
        raise ProblemError(
            sentence(operation, f"{name} has shape {operand.shape}", f"({length},), one number an output channel", f"reshape {name}, or repeat its one number")
        )
    return operand.dtype


def same_elements(first: Operand, second: Operand) -> bool:
    """Return whether two operands of one shape are the same memory in the same order; what an axis of one element steps over is nothing."""
    if (first.pointer, first.dtype) != (second.pointer, second.dtype):
        return False
    return all(size == 1 or mine == theirs for size, mine, theirs in zip(first.shape, first.strides, second.strides))


def output(operation: str, library: Library, name: str, out: Any, shape: tuple[int, ...], dtype: str, inputs: Operands, axes: str) -> Operand:
    """Return the facts of an output the caller gave, or raise ProblemError if it cannot be written as asked."""
    other = library_of(operation, name, out)
    if other is not library:
        raise ProblemError(
            sentence(
                operation, f"x is a {library.name} array and {name} is a {other.name} array", f"{name} of x's library", f"allocate {name} with {library.name}"
            )
        )
    operand = library.operand(operation, name, out)
    same_device(operation, "x", inputs["x"], name, operand)
    matches(operation, name, operand, shape, dtype, axes)
    if not operand.writable:
        raise ProblemError(sentence(operation, f"{name} is read-only", "an array that can be written", f"pass a writable {name}, or none"))
    if overlaps_itself(operand):
        raise ProblemError(
            sentence(
                operation,
                f"{name} has strides {operand.strides}, so several elements share memory",
                "an output whose elements are distinct",
                f"allocate {name} afresh",
            )
        )
    free = ("x", "other") if "other" in inputs else ("residual",) if "residual" in inputs else ()  # each element is read by the one that then writes it
    for other_name, given in inputs.items():
        if not (other_name in free and same_elements(given, operand)) and may_share_memory(given, operand):
            own = "an output of its own" + (f" (only {' or '.join(free)} may be the output itself)" if free else "")
            raise ProblemError(
                sentence(
                    operation,
                    f"{name} shares memory with {other_name}",
                    own,
                    f"pass another {name}, or a copy of {other_name}",
                )
            )
    return operand
