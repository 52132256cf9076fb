"""Window geometry of one axis: output sizes and padding rules, in exact integers.

Letters: I input size, K kernel size, S stride, D dilation, p0/p1 low and high padding,
Ke = D*(K-1)+1 the dilated extent, O output size. Every division is a floor division.
"""

from __future__ import annotations

PADDING_NAMES = ("valid", "same", "same_lower", "full", "causal")

AxisPadding = str | tuple[int, int]


def dilated_extent(kernel: int, dilation: int) -> int:
    """Return Ke = D*(K-1)+1, the number of input cells a window spans."""
    return dilation * (kernel - 1) + 1


def axis_pads(size: int, kernel: int, stride: int, dilation: int, padding: AxisPadding) -> tuple[int, int]:
    """Return (p0, p1), the low and high padding that `padding` means on an axis of `size` cells."""
    if not isinstance(padding, str):
        return padding
    extent = dilated_extent(kernel, dilation)
    if padding == "valid":
        return 0, 0
    if padding == "full":
        return extent - 1, extent - 1
    if padding == "causal":
        return extent - 1, 0
    outputs = -(-size // stride)
    total = max(0, (outputs - 1) * stride + extent - size)
    if padding == "same":
        return total // 2, total - total // 2
    if padding == "same_lower":
        return total - total // 2, total // 2
    raise ValueError(f"padding {padding!r} is not one of {PADDING_NAMES}")


def axis_output(size: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int], ceil_mode: bool = False) -> int:
    """Return O, which is below 1 when no window fits.

    O = floor((I+p0+p1-Ke)/S)+1. With `ceil_mode` the ceiling of the same quotient, less one when the
    last window would start at or beyond I+p0, or beyond what a negative p1 leaves (Dumoulin and Visin, arXiv:1603.07285, and torch.nn.MaxPool2d).
    """
    low, high = pads
    room = size + low + high - dilated_extent(kernel, dilation)
    if not ceil_mode or room < 0:
        return room // stride + 1
    outputs = -(-room // stride) + 1
    if (outputs - 1) * stride >= size + low + min(0, high):
        outputs -= 1
    return outputs


def arithmetic(size: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int]) -> str:
    """Return the output-size formula with its numbers, for an error message."""
    low, high = pads
    extent = dilated_extent(kernel, dilation)
    value = (size + low + high - extent) // stride + 1
    return f"floor(({size} + {low} + {high} - {extent}) / {stride}) + 1 = {value}"


def real_taps(size: int, kernel: int, stride: int, dilation: int, low: int, output: int) -> int:
    """Return how many taps of window `output` fall on real cells (neither padding nor overhang)."""
    start = output * stride - low
    first = max(0, -(start // dilation)) if start < 0 else 0
    last = min(kernel - 1, (size - 1 - start) // dilation)
    return max(0, last - first + 1)


def first_empty_window(size: int, kernel: int, stride: int, dilation: int, low: int, outputs: int) -> int | None:
    """Return the first output whose window holds no real cell, or None."""
    # taps no farther apart than the input is long cannot step over it; else one of any size + 2 windows in a row does, or none
    for output in range(min(outputs, 1 if dilation <= size else size + 2)):
        if real_taps(size, kernel, stride, dilation, low, output) == 0:
            return output
    beyond = -(-(size + low) // stride)  # the first window to start past the last cell
    return beyond if beyond < outputs else None
