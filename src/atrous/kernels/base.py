"""What a kernel description is: it declines or plans a Launch, purely, from a problem and a device."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..launch import Launch

Quad = tuple[int, int, int, int]
GRID_LIMIT = 2**31 - 1  # blocks along x; y and z stop at 65,535, so every kernel here counts along x alone
INT32_ELEMENTS = 2**31 - 1


@dataclass(frozen=True)
class Device:
    """The few facts of a GPU that choosing needs; `simulated` stands for the host model."""

    name: str = "sm_80"
    multiprocessors: int = 108
    shared_bytes: int = 48 * 1024  # dynamic shared memory a block gets without asking
    flops: float = 19.5e12  # float32 FMA
    bandwidth: float = 1.55e12  # bytes a second


DEVICES = {
    "sm_80": Device(),
    "sm_86": Device("sm_86", 84, flops=35e12, bandwidth=0.76e12),
    "sm_89": Device("sm_89", 128, flops=80e12, bandwidth=1.0e12),
    "sm_90": Device("sm_90", 132, flops=60e12, bandwidth=4.3e12),
    "sm_100": Device("sm_100", 148, flops=75e12, bandwidth=7.7e12),
    "sm_120": Device("sm_120", 170, flops=105e12, bandwidth=1.79e12),
    "simulated": Device("simulated", 1, flops=1e9, bandwidth=1e9),
}


@dataclass(frozen=True)
class Strides:
    """Element strides of the operands in canonical order: x (n,h,w,c), weight (k,r,s,c), residual and y (n,p,q,k)."""

    x: Quad
    y: Quad
    weight: Quad = (0, 0, 0, 0)
    residual: Quad = (0, 0, 0, 0)
    index: Quad = (0, 0, 0, 0)


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the element strides of a C-contiguous array of `shape`."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)


def canonical(strides: tuple[int, ...], layout: str, order: str) -> Quad:
    """Return strides given in `layout` (NHWC, NCHW, KRSC ...) in the letter order `order` (NHWC or KRSC)."""
    a, b, c, d = (strides[layout.index(letter)] for letter in order)
    return a, b, c, d


def default_strides(problem: Any) -> Strides:
    """Return the strides of contiguous operands of a Conv2dProblem or Pool2dProblem."""
    x = canonical(contiguous(problem.x_shape), problem.layout, "NHWC")
    y = canonical(contiguous(problem.y_shape), problem.layout, "NHWC")
    if not hasattr(problem, "weight_layout"):
        return Strides(x=x, y=y, index=y)
    weight = canonical(contiguous(problem.weight_shape), problem.weight_layout, "KRSC")
    return Strides(x=x, y=y, weight=weight, residual=y)


def spans_int32(problem: Any, strides: Strides) -> bool:
    """Return whether every element offset, and every count of pixels or outputs, fits a 32-bit int."""
    sizes = [(problem.x_shape, problem.layout, "NHWC", strides.x), (problem.y_shape, problem.layout, "NHWC", strides.y)]
    sizes += [(problem.y_shape, problem.layout, "NHWC", other) for other in (strides.residual, strides.index)]
    if hasattr(problem, "weight_layout"):
        sizes.append((problem.weight_shape, problem.weight_layout, "KRSC", strides.weight))
    for shape, layout, order, stride in sizes:
        extents = canonical(shape, layout, order)
        if sum(max(0, extent - 1) * abs(step) for extent, step in zip(extents, stride)) > INT32_ELEMENTS:
            return False
    # 2^16 leaves room for the last tile's overshoot
    return math.prod(problem.y_shape) <= INT32_ELEMENTS - 2**16 and math.prod(problem.x_shape) <= INT32_ELEMENTS - 2**16


@dataclass(frozen=True)
class Choice:
    """One kernel's answer to a problem: its launch, or the sentence with which it declines."""

    kernel: str
    reason: str | None = None
    launch: Launch | None = field(default=None, repr=False)
    seconds: float = math.inf


class Kernel(Protocol):
    """A kernel description. One module-level instance per file of kernels/, named after the .cuh."""

    name: str
    operation: str  # "conv2d" or "pool2d": the only problems it is asked about
    header: str

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take the problem, as a sentence, or None if it does."""

    def launch(self, problem: Any, strides: Strides | None = None) -> Launch:
        """Return the launch for operands of these strides (default: contiguous)."""

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time on the device."""

    def instances(self) -> Iterator[str]:
        """Yield every name that `launch` can return: these are what csrc/instances builds."""
