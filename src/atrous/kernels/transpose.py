"""transpose: takes every change of layout; tiles through swizzled shared memory, whole vectors on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..launch import Launch
from .base import GRID_LIMIT, Device, Quad, Strides, default_strides
from .elementwise import LAUNCH_SECONDS, SHARE, has_whole_vectors, moved_bytes
from .parameters import BYTES, ElementwiseArguments, elementwise_arguments, pointer_names

THREADS = 128
#: bytes of a row of the tile: whole lines of memory
ROW_BYTES = 128
VECTOR_BYTES = 16
#: rows of the tile, or more where a line of y has more elements
LEAST_ROWS = 64


def tile_of(problem: Any) -> tuple[int, int]:
    """Return the elements of a tile along y's fastest axis, and along x's."""
    return max(LEAST_ROWS, ROW_BYTES // BYTES[problem.out_dtype]), ROW_BYTES // BYTES[problem.dtype]


def axes_of(problem: Any, strides: Strides) -> tuple[Quad, Quad, Quad]:
    """Return the sizes, and the strides of x and y, in the order (n, h, y's fastest axis, x's fastest axis); rows that are one run are one."""
    x, y, rows, columns = strides.x, strides.y, problem.h, problem.w
    if x[1] == columns * x[2] and y[1] == columns * y[2]:
        rows, columns = 1, rows * columns
    pixels, channels = (columns, x[2], y[2]), (problem.c, x[3], y[3])
    slow, fast = (channels, pixels) if problem.out_layout == "NHWC" else (pixels, channels)
    sizes, x_steps, y_steps = zip((problem.n, x[0], y[0]), (rows, x[1], y[1]), slow, fast, strict=True)
    return sizes, x_steps, y_steps


class Transpose:
    """Description of csrc/include/atrous/kernels/transpose.cuh."""

    name = "transpose"
    operation = "elementwise"
    header = "atrous/kernels/transpose.cuh"

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take the problem, or None."""
        if problem.other:
            return "it moves elements and adds none"
        # with rows apart, which is what strides may ask for
        count = self._tiles(problem, (problem.n, problem.h, *self._sides(problem, problem.w)))
        return f"{count} tiles are more than a grid's {GRID_LIMIT}" if count > GRID_LIMIT else None

    def _sides(self, problem: Any, pixels: int) -> tuple[int, int]:
        return (problem.c, pixels) if problem.out_layout == "NHWC" else (pixels, problem.c)

    def _tiles(self, problem: Any, sizes: Quad) -> int:
        tile_slow, tile_fast = tile_of(problem)
        return sizes[0] * sizes[1] * -(-sizes[2] // tile_slow) * -(-sizes[3] // tile_fast)

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the launch for operands of these strides (default: contiguous); the same on every device."""
        sizes, x, y = axes_of(problem, strides or default_strides(problem))
        x_vectors = has_whole_vectors(x, sizes, VECTOR_BYTES // BYTES[problem.dtype])
        turned = [(row[0], row[1], row[3], row[2]) for row in (y, sizes)]
        y_vectors = has_whole_vectors(turned[0], turned[1], VECTOR_BYTES // BYTES[problem.out_dtype])
        return Launch(
            name=f"transpose<{BYTES[problem.dtype]}, {BYTES[problem.out_dtype]}>",
            header=self.header,
            grid=(self._tiles(problem, sizes), 1, 1),
            block=(THREADS, 1, 1),
            shared_bytes=0,
            parameters=elementwise_arguments(problem, sizes, x, (0, 0, 0, 0), y, x_vectors=x_vectors, y_vectors=y_vectors),
            pointers=pointer_names(ElementwiseArguments),
        )

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the one launch."""
        yield self.launch(problem, strides)

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time: what tiles move, of which the idle part costs as much as the used one."""
        tile_slow, tile_fast = tile_of(problem)
        slow, fast = self._sides(problem, problem.h * problem.w)
        used = slow * fast / (-(-slow // tile_slow) * tile_slow * -(-fast // tile_fast) * tile_fast) if slow * fast else 1.0
        return moved_bytes(problem) / (SHARE * used * device.bandwidth) + LAUNCH_SECONDS

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        rows, columns = tile_of(problem)
        return f"memory ({device.bandwidth / 1e12:.3g} TB/s), tiles of {rows}x{columns}"

    def instances(self) -> Iterator[str]:
        """Yield every name that `variants` can give."""
        for x_bytes in (1, 2, 4, 8):
            for y_bytes in (1, 2, 4, 8):
                yield f"transpose<{x_bytes}, {y_bytes}>"


KERNEL = Transpose()
