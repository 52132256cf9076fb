"""conv_pointwise: the matrix product of pixels and channels that a 1x1 convolution with stride 1 is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..arguments import FLOAT_DTYPES, LAYOUTS
from ..launch import Launch
from .base import GRID_LIMIT, Device, Strides, default_strides, index_widths
from .conv_direct import SIZE_LIMIT, conv_launch, ordinary_seconds, ordinary_units
from .parameters import CPP_TYPES

PIXELS, COLUMNS = 128, 64  # of a block: WideTile of tile.cuh
#: no table of taps or pixels stands between a load and its use: above conv_direct's 0.7
EFFICIENCY = 0.8


def blocks(problem: Any) -> int:
    """Return how many blocks cover the pixels (of each image for NCHW) and the output channels."""
    pixels, images = problem.h * problem.w, problem.n
    if problem.layout == "NHWC":
        pixels, images = pixels * images, 1
    return images * -(-pixels // PIXELS) * -(-problem.k // COLUMNS)


class ConvPointwise:
    """Description of csrc/include/atrous/kernels/conv_pointwise.cuh."""

    name = "conv_pointwise"
    operation = "conv2d"
    header = "atrous/kernels/conv_pointwise.cuh"

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take the convolution, or None."""
        if (problem.r, problem.s) != (1, 1):
            return f"the filter is {problem.r}x{problem.s}, and it takes 1x1"
        if problem.stride != (1, 1):
            return f"the stride is {problem.stride}, and it takes 1"
        if any(problem.pads):
            return f"the padding is {problem.pads} (top, bottom, left, right), and it takes none"
        if problem.groups != 1:
            return f"there are {problem.groups} groups, and it takes 1"
        if problem.dtype not in FLOAT_DTYPES:
            return f"x is {problem.dtype}, and it takes floats"
        if max(problem.c, problem.k) >= SIZE_LIMIT:
            return f"C is {problem.c} and K is {problem.k}, and it counts them in 32 bits"
        if blocks(problem) > GRID_LIMIT:
            return f"{blocks(problem)} blocks are more than a grid's {GRID_LIMIT}"
        return None

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the launch for operands of these strides (default: contiguous); the same on every device."""
        return next(self.variants(problem, strides))

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the launch of each index width that reaches every element."""
        strides = strides or default_strides(problem)
        for index in index_widths(problem, strides):
            yield conv_launch(self, problem, strides, blocks(problem), index)

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time: steps of 16 channels."""
        return ordinary_seconds(problem, device, blocks(problem), "WideTile", EFFICIENCY, -(-problem.c // 16))

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        return ordinary_units(problem, device, f"{PIXELS} pixels by {COLUMNS} channels a block")

    def instances(self) -> Iterator[str]:
        """Yield every name that `variants` can give."""
        for dtype in FLOAT_DTYPES:
            for layout in LAYOUTS:
                for index in ("int32", "int64"):
                    yield f"conv_pointwise<{CPP_TYPES[dtype]}, {layout.capitalize()}, {index}>"


KERNEL = ConvPointwise()
