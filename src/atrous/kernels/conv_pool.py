"""conv_pool: a convolution and the pooling of what it gives in one kernel, where x comes in pieces; the sums are conv_igemm_sm80's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ..launch import Launch
from .base import DEVICES, GRID_LIMIT, PIECE, Device, Strides, default_strides
from .conv_igemm_sm80 import KERNEL as CONVOLUTION
from .gemm_cost import TILES, picks, segments_of, shape_of
from .in_two import InTwo, between_bytes, of_convolution
from .mma_types import HALF_POLICIES, policy_of
from .parameters import BYTES, ConvPoolArguments, GemmArguments, PatchArguments
from .pool import KERNEL as POOLING
from .pooled_tile import (
    account_of,
    elements_decline,
    parts_decline,
    patch_arguments,
    patch_extent,
    pooling_arguments,
    pooling_seconds,
    tile_bytes,
    window_cells,
)

#: the tiles that are built: what is pooled lies in shared memory beside what writes it, and 128 x 128 passes 48 KB
TILES_BUILT = ("Tile128x64", "Tile64x64")


@lru_cache(maxsize=4096)
def _windows(sizes: tuple[int, int], window: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], pixels: int) -> tuple[int, int] | None:
    best, found = None, None
    for rows in range(1, min(sizes[0], pixels) + 1):
        height = patch_extent(rows, window[0], stride[0], dilation[0])
        most = pixels // height - (window[1] - 1) * dilation[1] - 1  # outputs that further windows may cover
        if most < 0:
            break
        columns = min(sizes[1], most // stride[1] + 1)
        patches = -(-sizes[0] // rows) * -(-sizes[1] // columns)
        cost = patches, height * patch_extent(columns, window[1], stride[1], dilation[1])
        if best is None or cost < best:
            best, found = cost, (rows, columns)
    return found


def windows_of(problem: Any, tile: str) -> tuple[int, int] | None:
    """Return the rows and columns of windows of a block: of the fewest patches that cover an image; None where not even one fits."""
    pool = problem.pool
    return _windows((pool.p, pool.q), (pool.r, pool.s), pool.stride, pool.dilation, TILES[tile].pixels)


def patch_of(problem: Any, tile: str) -> PatchArguments:
    """Return the patches of a tile."""
    return patch_arguments(problem.pool, windows_of(problem, tile))


def patches(problem: Any, tile: str) -> int:
    """Return how many patches cover all images."""
    patch = patch_of(problem, tile)
    return int(problem.conv.n * patch.row_patches * patch.column_patches)


def blocks(problem: Any, tile: str) -> int:
    """Return how many blocks cover the windows of all images and the output channels of every group."""
    conv = problem.conv
    return patches(problem, tile) * conv.groups * -(-conv.k // conv.groups // TILES[tile].columns)


def shared_bytes(problem: Any, tile: str, stages: int) -> int:
    """Return the bytes of ConvPoolShared: the stages, or what follows them in the same memory."""
    shape = TILES[tile]
    return max(stages, 16 * shape.pixels + shape.threads // 32 * 4 * (512 + 4 * shape.warp_columns) + tile_bytes(problem, shape))


def tiles_of(problem: Any) -> tuple[str, ...]:
    """Return the tiles that serve: those that take a window, with a second set of sums where gemm_k has segments."""
    segmented = segments_of(problem.conv) > 1
    return tuple(tile for tile in TILES_BUILT if windows_of(problem, tile) and (tile == "Tile64x64" or not segmented))


class ConvPool:
    """Description of csrc/include/atrous/kernels/conv_pool.cuh."""

    name = "conv_pool"
    operation = "conv2d_pool2d"
    header = "atrous/kernels/conv_pool.cuh"
    #: of the convolution, the kernel whose sums are added in the same order
    adds_like = (CONVOLUTION.name,)

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take both, or None."""
        conv = problem.conv
        if reason := elements_decline(problem):
            return reason
        if conv.layout != "NHWC":
            return f"x is {conv.layout}, and it copies pieces of {PIECE} bytes of channels"
        per_group = conv.c // conv.groups * BYTES[conv.dtype]
        if per_group % PIECE:
            return f"C/G = {conv.c // conv.groups} are {per_group} bytes, and it copies pieces of {PIECE}"
        if reason := parts_decline(problem, device, CONVOLUTION):
            return reason
        tiles = tiles_of(problem)
        if not tiles:
            return f"one window covers {window_cells(problem.pool)} outputs, more than its tile computes"
        if max(blocks(problem, tile) for tile in tiles) > GRID_LIMIT:
            return f"its blocks are more than a grid's {GRID_LIMIT}"
        return None

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the launch of the tile that the cost model picks, or both kernels' where x does not come in pieces."""
        found = {launch.name: launch for launch in self.variants(problem, strides)}
        best = self._pick(problem, device or DEVICES["simulated"])[0]
        return next((launch for name, launch in found.items() if name.endswith(f" {best}>")), next(iter(found.values())))

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the launches of all tiles, all of the same bits; both kernels' where x does not come in pieces."""
        strides = strides or default_strides(problem)
        launches = CONVOLUTION.variants(problem.conv, of_convolution(problem, strides))
        alone = {launch.name: launch for launch in launches if not launch.after}
        names = {tile: f"{CONVOLUTION.name}<{policy_of(problem)}, Pieces, {tile}>" for tile in tiles_of(problem)}
        taken = [tile for tile in names if names[tile] in alone]
        for tile in taken:
            yield self._launch(problem, strides, tile, alone[names[tile]])
        if not taken:
            yield InTwo(CONVOLUTION, POOLING).launch(problem, strides)

    def _launch(self, problem: Any, strides: Strides, tile: str, conv: Launch) -> Launch:
        gemm = GemmArguments.from_buffer_copy(conv.parameters)
        gemm.conv.y_stride[:] = (0, 0, 0, 1)
        arguments = ConvPoolArguments(gemm=gemm, pool=pooling_arguments(problem, strides), patch=patch_of(problem, tile))
        return replace(
            conv,
            name=f"{self.name}<{policy_of(problem)}, Pieces, {tile}>",
            header=self.header,
            grid=(blocks(problem, tile), 1, 1),
            shared_bytes=shared_bytes(problem, tile, conv.shared_bytes),
            parameters=bytes(arguments),
        )

    def _pick(self, problem: Any, device: Device) -> tuple[str, float]:
        """Return the tile of the least estimated time, and that time."""
        conv, pool = problem.conv, problem.pool
        saved = between_bytes(problem) - between_bytes(problem) * pool.p * pool.q // max(1, conv.p * conv.q)
        found = []
        for tile in tiles_of(problem):
            shape = shape_of(conv)
            shape = replace(shape, pixels=patches(problem, tile) * TILES[tile].pixels, moved_bytes=shape.moved_bytes - saved)
            pooling = pooling_seconds(problem, shape.pixels, device)
            found += [(answer.seconds + pooling, tile) for answer in picks(shape, device, (tile,), split=False)]
        seconds, tile = min(found)
        return tile, seconds

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time of the tile that the cost model picks."""
        return self._pick(problem, device)[1]

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        tile = self._pick(problem, device)[0]
        return account_of(problem, tile, TILES[tile].pixels, patch_of(problem, tile), "block")

    def instances(self) -> Iterator[str]:
        """Yield every name that `launch` can return."""
        for policy in HALF_POLICIES.values():
            for tile in TILES_BUILT:
                yield f"{self.name}<{policy}, Pieces, {tile}>"


KERNEL = ConvPool()
