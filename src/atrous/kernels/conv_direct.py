"""conv_direct: takes every convolution; an implicit GEMM on the ordinary arithmetic units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..arguments import INPUT_DTYPES, LAYOUTS
from ..launch import Launch
from .base import GRID_LIMIT, INT32_ELEMENTS, Device, Kernel, Strides, default_strides, index_widths
from .gemm_cost import estimates_of, in_waves, moved_bytes
from .parameters import CPP_TYPES, ConvArguments, conv_arguments, pointer_names

THREADS = 256
#: tile -> (output pixels, output channels) of a block, as in tile.cuh
TILES = {"WideTile": (128, 64), "NarrowTile": (64, 32)}
#: tile -> the share of the FMA peak that its inner loop can reach: instructions that load from shared memory take the rest
EFFICIENCY = {"WideTile": 0.7, "NarrowTile": 0.4}
#: blocks of 256 threads that a multiprocessor holds: 128 registers a thread, at most 30 KB
RESIDENT_BLOCKS = 2
#: a step's loads are under way during one step alone, and two barriers stand in it: twice what a step of three stages takes
STEPS_OF_LATENCY = 2
#: largest K/G for which a block bundles the channels of several groups; above, 64 columns of one group are fuller
BUNDLED_COLUMNS = TILES["NarrowTile"][1]
#: a step of gemm_k may pass its end by 64 slots, a tile of output channels theirs by 64 columns
SIZE_LIMIT = 2**31 - 64
LAUNCH_SECONDS = 2.5e-6
#: dtype -> the share of the float32 rate that its multiply-adds run at, where it is not all of it
RATES = {"float64": 0.5, "int8": 0.5, "uint8": 0.5}
#: integer input dtype -> its lowest and highest value
INTEGER_RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


def tile_of(problem: Any) -> str:
    """Return the tile that fits K/G; never a function of N, so that an image has the same bits in any batch."""
    return "NarrowTile" if problem.k // problem.groups <= BUNDLED_COLUMNS else "WideTile"


def column_tiles(problem: Any) -> int:
    """Return how many tiles cover the output channels: of all groups together when bundled, else of each."""
    tile = tile_of(problem)
    runs, channels = (1, problem.k) if tile == "NarrowTile" else (problem.groups, problem.k // problem.groups)
    return runs * -(-channels // TILES[tile][1])


def blocks(problem: Any) -> int:
    """Return how many blocks cover gemm_m = N*P*Q and the output channels."""
    return column_tiles(problem) * -(-problem.n * problem.p * problem.q // TILES[tile_of(problem)][0])


def ordinary_seconds(problem: Any, device: Device, count: int, tile: str, efficiency: float, steps: int) -> float:
    """Return the estimated time of a kernel of the ordinary units: `count` blocks in waves, or each operand moved once.

    Idle pixels and columns of a tile cost as much as used ones. A step waits for the loads of one step ahead, so that it
    takes STEPS_OF_LATENCY times what it takes the kernels that have several under way.
    """
    guess = estimates_of(device)
    pixels, columns = TILES[tile]
    flops = 2 * pixels * columns * problem.r * problem.s * (problem.c // problem.groups)
    unit = flops / (device.flops * RATES.get(problem.dtype, 1.0) * efficiency / device.multiprocessors)
    arithmetic = in_waves(count, RESIDENT_BLOCKS, device, unit, STEPS_OF_LATENCY * steps * guess.step_seconds)
    return max(arithmetic, moved_bytes(problem) / (0.7 * device.bandwidth)) + guess.ramp_seconds + LAUNCH_SECONDS


def steps_of(problem: Any) -> int:
    """Return the steps of a block: 16 slots, or 64 slots over all groups that a narrow tile bundles."""
    taps = problem.r * problem.s * (problem.c // problem.groups)
    if tile_of(problem) == "WideTile":
        return -(-taps // 16)
    bundled = min(problem.groups, -(-TILES["NarrowTile"][1] // max(1, problem.k // problem.groups)))
    return -(-taps * bundled // 64)


def ordinary_units(problem: Any, device: Device, tile: str) -> str:
    """Return in words what bounds a kernel that multiplies on the ordinary units."""
    rate = device.flops * RATES.get(problem.dtype, 1.0)
    return f"the ordinary units ({rate / 1e12:.3g} TFLOP/s), {tile}"


def largest_sum(problem: Any) -> int:
    """Return the largest magnitude of R * S * C/G products (x - zero point) * weight of integers; 0 for floats."""
    if problem.dtype not in INTEGER_RANGES:
        return 0
    lowest, highest = INTEGER_RANGES[problem.dtype]
    x_most = max(highest - problem.zero_point, problem.zero_point - lowest)
    return problem.r * problem.s * (problem.c // problem.groups) * x_most * max(-lowest, highest)


def sum_declines(problem: Any) -> str | None:
    """Return why int32 does not hold every sum of integers, or None."""
    if (most := largest_sum(problem)) <= INT32_ELEMENTS:
        return None
    gemm_k = problem.r * problem.s * (problem.c // problem.groups)
    return f"a sum of {gemm_k} products of {problem.dtype} can reach {most}, and it adds them in int32"


def int32_declines(problem: Any) -> str | None:
    """Return why int32 does not hold every sum of integers, or every cell of an axis with its padding, or None."""
    if reason := sum_declines(problem):
        return reason
    top, bottom, left, right = problem.pads
    if max(problem.h + max(0, top) + max(0, bottom), problem.w + max(0, left) + max(0, right)) > INT32_ELEMENTS:
        return f"H = {problem.h} and W = {problem.w} with padding {problem.pads} pass 2^31 - 1, and it counts cells of an axis in 32 bits"
    return None


def conv_launch(kernel: Kernel, problem: Any, strides: Strides, count: int, index: str, *tile: str) -> Launch:
    """Return the launch of a convolution kernel of 256 threads a block: NAME<dtype, layout, index, tile...>."""
    types = ", ".join([CPP_TYPES[problem.dtype], problem.layout.capitalize(), index, *tile])
    return Launch(
        name=f"{kernel.name}<{types}>",
        header=kernel.header,
        grid=(count, 1, 1),
        block=(THREADS, 1, 1),
        shared_bytes=0,
        parameters=bytes(conv_arguments(problem, strides)),
        pointers=pointer_names(ConvArguments),
    )


class ConvDirect:
    """Description of csrc/include/atrous/kernels/conv_direct.cuh."""

    name = "conv_direct"
    operation = "conv2d"
    header = "atrous/kernels/conv_direct.cuh"

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take the convolution, or None."""
        gemm_k = problem.r * problem.s * (problem.c // problem.groups)
        if max(gemm_k, problem.k) >= SIZE_LIMIT:
            return f"R * S * C/G is {gemm_k} and K is {problem.k}, and it counts them in 32 bits"
        if reason := int32_declines(problem):
            return reason
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
            yield conv_launch(self, problem, strides, blocks(problem), index, tile_of(problem))

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time."""
        tile = tile_of(problem)
        return ordinary_seconds(problem, device, blocks(problem), tile, EFFICIENCY[tile], steps_of(problem))

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        return ordinary_units(problem, device, tile_of(problem))

    def instances(self) -> Iterator[str]:
        """Yield every name that `variants` can give."""
        for dtype in INPUT_DTYPES:
            for layout in LAYOUTS:
                for index in ("int32", "int64"):
                    for tile in TILES:
                        yield f"conv_direct<{CPP_TYPES[dtype]}, {layout.capitalize()}, {index}, {tile}>"


KERNEL = ConvDirect()
