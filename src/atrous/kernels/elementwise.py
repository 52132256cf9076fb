"""elementwise: takes every sum and change of layout; each thread moves a few neighbouring elements of y."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ..launch import Launch
from .base import Device, Quad, Strides, default_strides
from .parameters import BYTES, ElementwiseArguments, elementwise_arguments, pointer_names

THREADS = 256
#: blocks beyond what fills a large GPU twice: the threads go on to further elements instead
MOST_BLOCKS = 4096
#: elements that a thread moves at a time
WIDTH = 8
LAUNCH_SECONDS = 2.5e-6
#: of the bandwidth, where all that is moved is moved once in whole sectors
SHARE = 0.9
SECTOR = 32


def moved_bytes(problem: Any) -> int:
    """Return the bytes of x, other and y, each once."""
    count = problem.n * problem.h * problem.w * problem.c
    return count * ((1 + problem.other) * BYTES[problem.dtype] + BYTES[problem.out_dtype])


def merged(sizes: Quad, operands: list[Quad]) -> tuple[Quad, list[Quad]]:
    """Return sizes and strides of four axes, the last operand's smallest step last, neighbours that are one run in all merged.

    Examples
    --------
    >>> merged((2, 5, 4, 3), [(60, 12, 3, 1), (60, 12, 3, 1)])
    ((1, 1, 1, 120), [(0, 0, 0, 1), (0, 0, 0, 1)])
    """
    order = sorted((axis for axis in range(4) if sizes[axis] != 1), key=lambda axis: (-abs(operands[-1][axis]), axis))
    found: list[tuple[int, tuple[int, ...]]] = []
    for axis in order:
        size, steps = sizes[axis], tuple(strides[axis] for strides in operands)
        if found and all(outer == size * step for outer, step in zip(found[-1][1], steps)):
            found[-1] = (found[-1][0] * size, steps)
        else:
            found.append((size, steps))
    idle = 4 - len(found)
    extents = (1,) * idle + tuple(size for size, _ in found)
    rows = [(0,) * idle + tuple(steps[i] for _, steps in found) for i in range(len(operands))]
    return extents, rows  # type: ignore[return-value]


def has_whole_vectors(strides: Quad, sizes: Quad, width: int) -> bool:
    """Return whether runs of `width` elements along the last axis lie side by side, at equal alignment in every row."""
    return (strides[3] == 1 or sizes[3] == 1) and all(size == 1 or step % width == 0 for size, step in zip(sizes[:3], strides[:3]))


class Elementwise:
    """Description of csrc/include/atrous/kernels/elementwise.cuh."""

    name = "elementwise"
    operation = "elementwise"
    header = "atrous/kernels/elementwise.cuh"

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return None: this kernel takes every problem of its operation."""
        return None

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the launch for operands of these strides (default: contiguous); the same on every device."""
        strides = strides or default_strides(problem)
        operands = [strides.x, strides.residual, strides.y] if problem.other else [strides.x, strides.y]
        sizes, found = merged((problem.n, problem.h, problem.w, problem.c), operands)
        vectors = all(has_whole_vectors(each, sizes, WIDTH) for each in found)
        items = math.prod(sizes[:3]) * -(-sizes[3] // (WIDTH if vectors else 1))
        other = found[1] if problem.other else (0, 0, 0, 0)
        return Launch(
            name=f"elementwise<{'float64' if problem.dtype == 'float64' else 'float32'}>",
            header=self.header,
            grid=(min(MOST_BLOCKS, -(-items // THREADS)), 1, 1),
            block=(THREADS, 1, 1),
            shared_bytes=0,
            parameters=elementwise_arguments(problem, sizes, found[0], other, found[-1], x_vectors=vectors, y_vectors=vectors),
            pointers=pointer_names(ElementwiseArguments),
        )

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the one launch."""
        yield self.launch(problem, strides)

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time: all moved once, but whole sectors for elements of x that are no neighbours in y."""
        moved = moved_bytes(problem)
        if not problem.other:
            step = min(problem.c, SECTOR // BYTES[problem.dtype])  # of which the cache keeps nothing for the next row
            moved += (step - 1) * problem.n * problem.h * problem.w * problem.c * BYTES[problem.dtype]
        return moved / (SHARE * device.bandwidth) + LAUNCH_SECONDS

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        return f"memory ({device.bandwidth / 1e12:.3g} TB/s)"

    def instances(self) -> Iterator[str]:
        """Yield every name that `variants` can give."""
        yield from ("elementwise<float32>", "elementwise<float64>")


KERNEL = Elementwise()
