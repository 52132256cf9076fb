"""What a kernel description is: it declines or plans a Launch, purely, from a problem and a device."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..launch import Launch

Quad = tuple[int, int, int, int]
GRID_LIMIT = 2**31 - 1  # blocks along x; y and z stop at 65,535, so every kernel here counts along x alone
INT32_ELEMENTS = 2**31 - 1
PIECE = 16  # bytes: of the widest load, and of the copies that tensor cores are fed by
MOST_ALIGNMENT = PIECE


@dataclass(frozen=True)
class Device:
    """The few facts of a GPU that choosing needs; `simulated` stands for the host model.

    Tensor rates are dense, in operations a second, two to a multiply-add; 0 where mma.sync, ldmatrix and cp.async are not
    all there (before sm_80), and no kernel of that family is offered.
    """

    name: str = "sm_80"
    multiprocessors: int = 108
    shared_bytes: int = 48 * 1024  # dynamic shared memory a block gets without asking
    flops: float = 19.5e12  # float32 FMA
    bandwidth: float = 1.55e12  # bytes a second
    half_flops: float = 0.0  # tensor cores, float16 or bfloat16 with float32 sums
    tf32_flops: float = 0.0
    int8_ops: float = 0.0
    l2_bandwidth: float = 0.0  # bytes a second from L2 to all multiprocessors: sm_80 5120 bytes a clock (its white paper), elsewhere an estimate
    clock: float = 1.41e9  # boost; shared memory gives a multiprocessor 128 bytes a clock
    shared_per_multiprocessor: int = 164 * 1024
    shared_per_block: int = 163 * 1024  # a block's most, when asked for
    registers_per_multiprocessor: int = 65536
    threads_per_multiprocessor: int = 2048


# Rates, clock and bandwidth: NVIDIA's data sheets of A100 SXM (40 GB), A40, GeForce RTX 4090, H100 and H200 SXM, B200 (of an
# HGX board of eight) and GeForce RTX 5090, each without sparsity. GeForce boards of sm_86 do half of A40's products of 16-bit
# numbers with float32 sums. Shared memory, registers and threads: the CUDA programming guide's table of compute capabilities.
# What mma.sync reaches of the rates on sm_90 and sm_100, which were quoted for wgmma and tcgen05, stands in gemm_cost.py.
DEVICES = {
    "sm_80": Device(half_flops=312e12, tf32_flops=156e12, int8_ops=624e12, l2_bandwidth=7.2e12),
    "sm_86": Device(
        "sm_86", 84, flops=37.4e12, bandwidth=0.696e12, half_flops=149.7e12, tf32_flops=74.8e12, int8_ops=299.3e12, l2_bandwidth=3.2e12, clock=1.74e9,
        shared_per_multiprocessor=100 * 1024, shared_per_block=99 * 1024, threads_per_multiprocessor=1536,
    ),
    "sm_89": Device(
        "sm_89", 128, flops=82.6e12, bandwidth=1.0e12, half_flops=165.2e12, tf32_flops=82.6e12, int8_ops=660.6e12, l2_bandwidth=6.5e12, clock=2.52e9,
        shared_per_multiprocessor=100 * 1024, shared_per_block=99 * 1024, threads_per_multiprocessor=1536,
    ),
    "sm_90": Device(
        "sm_90", 132, flops=60e12, bandwidth=4.3e12, half_flops=989.4e12, tf32_flops=494.7e12, int8_ops=1978.9e12, l2_bandwidth=8.0e12, clock=1.83e9,
        shared_per_multiprocessor=228 * 1024, shared_per_block=227 * 1024,
    ),
    "sm_100": Device(
        "sm_100", 148, flops=75e12, bandwidth=7.7e12, half_flops=2250e12, tf32_flops=1120e12, int8_ops=4500e12, l2_bandwidth=12e12, clock=1.85e9,
        shared_per_multiprocessor=228 * 1024, shared_per_block=227 * 1024,
    ),
    "sm_120": Device(
        "sm_120", 170, flops=104.8e12, bandwidth=1.79e12, half_flops=209.5e12, tf32_flops=104.8e12, int8_ops=838e12, l2_bandwidth=9e12, clock=2.41e9,
        shared_per_multiprocessor=100 * 1024, shared_per_block=99 * 1024, threads_per_multiprocessor=1536,
    ),
    # one multiprocessor with the proportions of sm_80
    "simulated": Device(
        "simulated", 1, flops=1e9, bandwidth=1e9, half_flops=16e9, tf32_flops=8e9, int8_ops=32e9, l2_bandwidth=5e9, clock=8e6,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Strides:
    """Element strides of the operands in canonical order, and what their addresses are multiples of.

    x is in the order (n, h, w, c), weight in (k, r, s, c), residual, y and index in (n, p, q, k); residual stands for the
    other operand of a sum too.
    """

    x: Quad
    y: Quad
    weight: Quad = (0, 0, 0, 0)
    residual: Quad = (0, 0, 0, 0)
    index: Quad = (0, 0, 0, 0)
    depthwise_weight: Quad = (0, 0, 0, 0)  # of a separable convolution, in (k, r, s, c); weight is that of its 1x1
    alignment: int = MOST_ALIGNMENT  # a power of two up to it: the addresses of x and the weights are multiples of it
    weight_alignment: int = MOST_ALIGNMENT  # the same of the weights alone, which a plan knows before it meets x


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the element strides of a C-contiguous array of `shape`."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)


def canonical(strides: tuple[int, ...], layout: str, order: str) -> Quad:
    """Return strides given in `layout` (NHWC, NCHW, KRSC ...) in the letter order `order` (NHWC or KRSC)."""
    if layout == order:
        return strides  # type: ignore[return-value]
    a, b, c, d = (strides[layout.index(letter)] for letter in order)
    return a, b, c, d


def default_strides(problem: Any) -> Strides:
    """Return the strides of contiguous and aligned operands of a problem."""
    x = canonical(contiguous(problem.x_shape), problem.layout, "NHWC")
    y = canonical(contiguous(problem.y_shape), getattr(problem, "out_layout", problem.layout), "NHWC")
    if hasattr(problem, "other"):
        return Strides(x=x, y=y, residual=x if problem.other else Strides.residual)
    if not hasattr(problem, "weight_layout"):
        return Strides(x=x, y=y, index=y)
    weight = canonical(contiguous(problem.weight_shape), problem.weight_layout, "KRSC")
    residual = default_strides(problem.conv).residual if hasattr(problem, "pool") else y
    if hasattr(problem, "depthwise"):
        return Strides(x=x, y=y, weight=weight, residual=residual, depthwise_weight=default_strides(problem.depthwise).weight)
    return Strides(x=x, y=y, weight=weight, residual=residual)


def most_of(count: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number of 0..count for which `fits`, which holds below any number it holds for."""
    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def alignment_of(*addresses: int) -> int:
    """Return the largest power of two up to 16 that divides every address."""
    bits = MOST_ALIGNMENT
    for address in addresses:
        bits |= address
    return bits & -bits


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


def index_widths(problem: Any, strides: Strides) -> tuple[str, ...]:
    """Return the C++ integers that reach every element, the narrowest first: what 32 bits hold fits 64 as well."""
    return ("int32", "int64") if spans_int32(problem, strides) else ("int64",)


@dataclass(frozen=True)
class Choice:
    """One kernel's answer to a problem: its launch, or the sentence with which it declines."""

    kernel: str
    reason: str | None = None
    launch: Launch | None = field(default=None, repr=False)
    seconds: float = math.inf
    ranked_seconds: float = math.inf  # for a batch of choose.RANKING_BATCH images: the least is chosen


class Helper(Protocol):
    """A kernel that no problem is given to: the launch of another one brings it, before or after itself."""

    name: str
    header: str

    def instances(self) -> Iterator[str]:
        """Yield every name that its launches can have: these are what csrc/instances builds."""


class Kernel(Protocol):
    """A kernel description. One module-level instance per file of kernels/, named after the .cuh."""

    name: str
    operation: str  # "conv2d", "pool2d", "conv2d_pool2d", "separable_conv2d" or "elementwise": the only problems it is asked about
    header: str

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take the problem, as a sentence, or None if it does."""

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the launch for operands of these strides (default: contiguous) on a device (default: the simulated one)."""

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield every launch that computes the problem, each of which `launch` returns on some device or for some strides."""

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time on the device."""

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words: the units and their rate, the tile, what bounds it."""

    def instances(self) -> Iterator[str]:
        """Yield every name in the sequences that `variants` can yield: these are what csrc/instances builds."""
