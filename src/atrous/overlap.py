"""Which memory an operand can touch, and whether two operands may share some."""

from __future__ import annotations

import functools

from .interop import Operand, numpy_dtype


@functools.lru_cache(maxsize=4096)
def _reach(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, int]:
    """Return the first and the one-past-last byte that an operand can touch, counted from its first element."""
    if 0 in shape:
        return 0, 0
    spans = [(extent - 1) * step * itemsize for extent, step in zip(shape, strides)]
    return sum(span for span in spans if span < 0), sum(span for span in spans if span > 0) + itemsize


def byte_range(operand: Operand, itemsize: int) -> tuple[int, int]:
    """Return the first and the one-past-last byte address that an operand can touch."""
    low, high = _reach(operand.shape, operand.strides, itemsize)
    return operand.pointer + low, operand.pointer + high


def may_share_memory(one: Operand, other: Operand) -> bool:
    """Return whether two operands may have a cell in common; channel slices of one larger array are told apart."""
    size, other_size = numpy_dtype(one.dtype).itemsize, numpy_dtype(other.dtype).itemsize
    low, high = byte_range(one, size)
    start, end = byte_range(other, other_size)
    if start >= high or end <= low:
        return False
    first = [(abs(step) * size, extent) for step, extent in zip(one.strides, one.shape) if extent > 1]
    second = [(abs(step) * other_size, extent) for step, extent in zip(other.strides, other.shape) if extent > 1]
    for period, _ in first:
        # both are rows of one pitch: they are disjoint if their places within the pitch are
        if period and all(step % period == 0 for step, _ in first + second if step >= period):
            width = size + sum(step * (extent - 1) for step, extent in first if step < period)
            other_width = other_size + sum(step * (extent - 1) for step, extent in second if step < period)
            place = (start - low) % period
            if place >= width and place + other_width <= period:
                return False
    return True


@functools.lru_cache(maxsize=4096)
def _repeats(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Return whether two indices of an array of these element strides may name one cell."""
    if 0 in shape:
        return False
    reach = 1
    for step, extent in sorted((abs(step), extent) for step, extent in zip(strides, shape) if extent > 1):
        if step < reach:
            return True
        reach = step * (extent - 1) + reach
    return False


def overlaps_itself(operand: Operand) -> bool:
    """Return whether two indices of an operand may name one cell (broadcast or overlapping strides)."""
    return _repeats(operand.shape, operand.strides)
