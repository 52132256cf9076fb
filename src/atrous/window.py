"""What convolution and pooling share: sizes, window, padding, and the checks of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from . import arguments as arg
from .casestring import format_case
from .errors import ProblemError, sentence
from .geometry import AxisPadding, arithmetic, axis_output, axis_pads, dilated_extent, first_empty_window


@dataclass(frozen=True)
class WindowGeometry:
    """Sizes, window and padding that convolution and pooling share; see `atrous.geometry` for the letters."""

    n: int
    h: int
    w: int
    c: int
    r: int
    s: int
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[int, int, int, int]  # top, bottom, left, right; negative crops

    @property
    def _operation(self) -> str:
        """Name of the operation in error messages."""
        return "window"

    @property
    def _ceil(self) -> bool:
        """Whether output sizes are rounded up."""
        return False

    @cached_property
    def p(self) -> int:
        """Output rows."""
        return axis_output(self.h, self.r, self.stride[0], self.dilation[0], self.pads[:2], self._ceil)

    @cached_property
    def q(self) -> int:
        """Output columns."""
        return axis_output(self.w, self.s, self.stride[1], self.dilation[1], self.pads[2:], self._ceil)

    def _check_window(self) -> None:
        for axis, size, kernel, stride, dilation, pads, outputs in (
            ("rows", self.h, self.r, self.stride[0], self.dilation[0], self.pads[:2], self.p),
            ("columns", self.w, self.s, self.stride[1], self.dilation[1], self.pads[2:], self.q),
        ):
            if size < 1 or size + min(0, pads[0]) + min(0, pads[1]) < 1:
                raise ProblemError(
                    sentence(self._operation, f"x has {size} {axis} and padding {pads}", "at least one cell left", "pass a larger x or crop less")
                )
            padded = size + sum(pads)
            if max(padded, outputs, dilated_extent(kernel, dilation), max(map(abs, pads))) >= 2**31:
                raise ProblemError(
                    sentence(
                        self._operation,
                        f"the {axis} count {size} cells, padding {pads}, a window of {dilated_extent(kernel, dilation)} and {outputs} outputs",
                        "each, and the padded sum, below 2^31",
                        "pad less, or use a smaller window or less dilation",
                    )
                )
            if outputs < 1:
                raise ProblemError(
                    sentence(
                        self._operation,
                        f"the window spans {dilated_extent(kernel, dilation)} {axis} (kernel {kernel}, dilation {dilation}) and the padded input has"
                        f" {size + sum(pads)}: {arithmetic(size, kernel, stride, dilation, pads)}",
                        "an output of at least 1",
                        "use a smaller window, less dilation or more padding",
                    )
                )
        this: Any = self  # a Conv2dProblem or Pool2dProblem: they add the layout and the output's channels
        for name, shape in (("x", self.x_shape), ("y", this.y_shape)):
            if math.prod(shape) >= 2**60:
                raise ProblemError(sentence(self._operation, f"{name} has shape {shape}", "fewer than 2^60 elements (offsets are 64-bit)", "split the batch"))

    def _check_channels(self, least: int = 1) -> None:
        if self.c < least:
            raise ProblemError(sentence(self._operation, f"x has {self.c} channels", f"at least {least}", "pass an x with channels"))

    def empty_window(self) -> tuple[str, int] | None:
        """Return the axis and index of the first window that lies wholly in padding, or None."""
        for axis, size, kernel, stride, dilation, (low, high), outputs in (
            ("rows", self.h, self.r, self.stride[0], self.dilation[0], self.pads[:2], self.p),
            ("columns", self.w, self.s, self.stride[1], self.dilation[1], self.pads[2:], self.q),
        ):
            output = first_empty_window(size + min(0, high), kernel, stride, dilation, low, outputs)
            if output is not None:
                return axis, output
        return None

    def _shape(self, rows: int, columns: int, channels: int) -> tuple[int, int, int, int]:
        this: Any = self
        layout = this.layout
        return (self.n, rows, columns, channels) if layout == "NHWC" else (self.n, channels, rows, columns)

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """Shape of x in this problem's layout."""
        return self._shape(self.h, self.w, self.c)

    def __str__(self) -> str:
        return format_case(self)


def resolved_pads(
    operation: str, padding: Any, sizes: tuple[int, int], window: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of any form of padding."""
    axes: tuple[AxisPadding, AxisPadding] = arg.padding_axes(operation, padding)
    rows, columns = (axis_pads(*axis) for axis in zip(sizes, window, stride, dilation, axes))
    return (*rows, *columns)
