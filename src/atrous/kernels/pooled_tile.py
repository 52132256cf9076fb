"""What the kernels for a convolution and its pooling share: the windows of a block, and their tile of outputs as pooled_tile.cuh lays it out."""

from __future__ import annotations

from typing import Any

from .base import Device, Kernel, Strides
from .gemm_cost import Tile, estimates_of
from .mma_types import HALF_POLICIES
from .parameters import BYTES, PatchArguments, PoolArguments, pool_arguments
from .pool import EXTENT_LIMIT, TAPS_WORTH_SPLITTING
from .pool import KERNEL as POOLING


def patch_extent(windows: int, taps: int, stride: int, dilation: int) -> int:
    """Return how many outputs of the convolution so many windows of an axis cover."""
    return (windows - 1) * stride + (taps - 1) * dilation + 1


def window_cells(pool: Any) -> int:
    """Return how many outputs of the convolution one window covers, those between its taps too."""
    return patch_extent(1, pool.r, 1, pool.dilation[0]) * patch_extent(1, pool.s, 1, pool.dilation[1])


def patch_arguments(pool: Any, windows: tuple[int, int] | None) -> PatchArguments:
    """Return the patches of so many rows and columns of windows."""
    assert windows is not None
    rows, columns = windows
    return PatchArguments(
        window_rows=rows,
        window_columns=columns,
        row_patches=-(-pool.p // rows),
        column_patches=-(-pool.q // columns),
        rows=patch_extent(rows, pool.r, pool.stride[0], pool.dilation[0]),
        columns=patch_extent(columns, pool.s, pool.stride[1], pool.dilation[1]),
        is_average=pool.kind == "avg",
    )


def pooling_arguments(problem: Any, strides: Strides) -> PoolArguments:
    """Return the PoolArguments of what reads the tile and not memory."""
    return PoolArguments.from_buffer_copy(pool_arguments(problem.pool, Strides(x=(0, 0, 0, 0), y=strides.y), {}))


def tile_bytes(problem: Any, tile: Tile) -> int:
    """Return the bytes of a tile of rounded outputs, each pixel's 16 bytes longer than its channels."""
    return tile.pixels * (tile.columns * BYTES[problem.dtype] + 16)


def elements_decline(problem: Any) -> str | None:
    """Return why a tile does not hold what the convolution gives, or None."""
    conv = problem.conv
    if conv.dtype not in HALF_POLICIES:
        return f"x is {conv.dtype}, and it takes {', '.join(HALF_POLICIES)}"
    if conv.out_dtype != conv.dtype:
        return f"the convolution of {conv.dtype} gives {conv.out_dtype}, and it pools elements of x's dtype"
    return None


def parts_decline(problem: Any, device: Device, convolution: Kernel) -> str | None:
    """Return why a tile's pooling would not be that of memory, or why one of the two kernels does not take its part, or None."""
    conv, pool = problem.conv, problem.pool
    if pool.r * pool.s >= TAPS_WORTH_SPLITTING:
        return f"the window has {pool.r * pool.s} taps, and from {TAPS_WORTH_SPLITTING} on a pooling adds them in another order"
    for letter, size, pads in (("H", conv.h, conv.pads[:2]), ("W", conv.w, conv.pads[2:])):
        if size + abs(pads[0]) + abs(pads[1]) >= EXTENT_LIMIT:
            return f"{letter} = {size} with padding {pads} reaches 2^30, and it adds two coordinates in 32 bits"
    return convolution.declines(conv, device) or POOLING.declines(pool, device)


def pooling_seconds(problem: Any, pixels: int, device: Device) -> float:
    """Return the estimated time of the pooling: so many pixels written once, and every tap of every window read, through the ports of shared memory."""
    conv, pool = problem.conv, problem.pool
    through = BYTES[conv.dtype] * conv.k * (pixels + conv.n * pool.p * pool.q * pool.r * pool.s)
    return through / (estimates_of(device).shared_share * 128 * device.clock * device.multiprocessors)


def account_of(problem: Any, tile: str, pixels: int, patch: PatchArguments, owner: str) -> str:
    """Return what an estimate rests on: the tile, its windows, the outputs that it computes for those that there are."""
    share = patch.row_patches * patch.column_patches * pixels / (problem.conv.p * problem.conv.q)
    windows = f"{patch.window_rows} x {patch.window_columns} windows a {owner}"
    return f"tensor cores with {tile}, {windows}, {share:.2f} times the convolution's outputs"
