"""conv_pool: a convolution and the pooling of what it gives in one kernel, where x comes in pieces; the sums are conv_igemm_sm80's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ..launch import Launch
from .base import DEVICES, GRID_LIMIT, Device, Strides, default_strides
from .conv_igemm_sm80 import KERNEL as CONVOLUTION
from .gemm_cost import TILES, estimates_of, picks, segments_of, shape_of
from .in_two import InTwo, between_bytes
from .parameters import BYTES, ConvPoolArguments, GemmArguments, PatchArguments, PoolArguments, pool_arguments
from .pool import EXTENT_LIMIT, TAPS_WORTH_SPLITTING
from .pool import KERNEL as POOLING

PIECE = 16  # bytes
#: the tiles that are built: what is pooled lies in shared memory beside what writes it, and 128 x 128 passes 48 KB
TILES_BUILT = ("Tile128x64", "Tile64x64")
#: dtype of x, and of y -> the arithmetic in mma_types.cuh
POLICIES = {"float16": "Float16Mma", "bfloat16": "Bfloat16Mma"}


def patch_extent(windows: int, taps: int, stride: int, dilation: int) -> int:
    """Return how many outputs of the convolution so many windows of an axis cover."""
    return (windows - 1) * stride + (taps - 1) * dilation + 1


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
    pool, windows = problem.pool, windows_of(problem, tile)
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
    pixels, columns = TILES[tile].pixels, TILES[tile].columns
    warps, across = TILES[tile].threads // 32, TILES[tile].warp_columns
    size = BYTES[problem.dtype]
    return max(stages, 16 * pixels + warps * 4 * (512 + 4 * across) + pixels * (columns * size + 16))


def in_pieces(problem: Any, strides: Strides) -> bool:
    """Return whether every pixel of x has dense channels and starts on 16 bytes."""
    conv, size = problem.conv, BYTES[problem.dtype]
    steps = [step * size for step, extent in zip(strides.x, (conv.n, conv.h, conv.w)) if extent > 1]
    return strides.x[3] == 1 and not any(value % PIECE for value in (*steps, strides.alignment))


def tiles_of(problem: Any) -> tuple[str, ...]:
    """Return the tiles that serve: those that take a window, with a second set of sums where gemm_k has segments."""
    segmented = segments_of(problem.conv) > 1
    return tuple(tile for tile in TILES_BUILT if windows_of(problem, tile) and (tile == "Tile64x64" or not segmented))


class ConvPool:
    """Description of csrc/include/atrous/kernels/conv_pool.cuh."""

    name = "conv_pool"
    operation = "conv2d_pool2d"
    header = "atrous/kernels/conv_pool.cuh"
    #: kernels whose sums are added in the same order
    adds_like = (CONVOLUTION.name,)

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take both, or None."""
        conv, pool = problem.conv, problem.pool
        if conv.dtype not in POLICIES:
            return f"x is {conv.dtype}, and it takes {', '.join(POLICIES)}"
        if conv.out_dtype != conv.dtype:
            return f"the convolution of {conv.dtype} gives {conv.out_dtype}, and it pools elements of x's dtype"
        if conv.layout != "NHWC":
            return f"x is {conv.layout}, and it copies pieces of {PIECE} bytes of channels"
        per_group = conv.c // conv.groups * BYTES[conv.dtype]
        if per_group % PIECE:
            return f"C/G = {conv.c // conv.groups} are {per_group} bytes, and it copies pieces of {PIECE}"
        if pool.r * pool.s >= TAPS_WORTH_SPLITTING:
            return f"the window has {pool.r * pool.s} taps, and from {TAPS_WORTH_SPLITTING} on a pooling adds them in another order"
        for letter, size, pads in (("H", conv.h, conv.pads[:2]), ("W", conv.w, conv.pads[2:])):
            if size + abs(pads[0]) + abs(pads[1]) >= EXTENT_LIMIT:
                return f"{letter} = {size} with padding {pads} reaches 2^30, and it adds two coordinates in 32 bits"
        for kernel, part in ((CONVOLUTION, conv), (POOLING, pool)):
            if (reason := kernel.declines(part, device)) is not None:
                return reason
        tiles = tiles_of(problem)
        if not tiles:
            cells = patch_extent(1, pool.r, 1, pool.dilation[0]) * patch_extent(1, pool.s, 1, pool.dilation[1])
            return f"one window covers {cells} outputs, more than its tile computes"
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
        of_conv = replace(strides, y=default_strides(problem.conv).y, index=(0, 0, 0, 0))
        policy = POLICIES[problem.dtype]
        alone = {launch.name: launch for launch in CONVOLUTION.variants(problem.conv, of_conv) if not launch.after}
        taken = [tile for tile in tiles_of(problem) if in_pieces(problem, strides) and f"{CONVOLUTION.name}<{policy}, Pieces, {tile}>" in alone]
        for tile in taken:
            yield self._launch(problem, strides, tile, alone[f"{CONVOLUTION.name}<{policy}, Pieces, {tile}>"])
        if not taken:
            yield InTwo(CONVOLUTION, POOLING).launch(problem, strides)

    def _launch(self, problem: Any, strides: Strides, tile: str, conv: Launch) -> Launch:
        gemm = GemmArguments.from_buffer_copy(conv.parameters)
        gemm.conv.y_stride[:] = (0, 0, 0, 1)
        pool = pool_arguments(problem.pool, Strides(x=(0, 0, 0, 0), y=strides.y), {})
        arguments = ConvPoolArguments(gemm=gemm, pool=PoolArguments.from_buffer_copy(pool), patch=patch_of(problem, tile))
        return replace(
            conv,
            name=f"{self.name}<{POLICIES[problem.dtype]}, Pieces, {tile}>",
            header=self.header,
            grid=(blocks(problem, tile), 1, 1),
            shared_bytes=shared_bytes(problem, tile, conv.shared_bytes),
            parameters=bytes(arguments),
        )

    def _pick(self, problem: Any, device: Device) -> tuple[str, float]:
        """Return the tile of the least estimated time, and that time."""
        conv, pool = problem.conv, problem.pool
        size = BYTES[conv.dtype]
        saved = between_bytes(problem) - between_bytes(problem) * pool.p * pool.q // max(1, conv.p * conv.q)
        found = []
        for tile in tiles_of(problem):
            shape = shape_of(conv)
            shape = replace(shape, pixels=patches(problem, tile) * TILES[tile].pixels, moved_bytes=shape.moved_bytes - saved)
            # The tile is written once, and every tap of every window read, through the ports of shared memory.
            through = size * conv.k * (shape.pixels + conv.n * pool.p * pool.q * pool.r * pool.s)
            pooling = through / (estimates_of(device).shared_share * 128 * device.clock * device.multiprocessors)
            found += [(answer.seconds + pooling, tile) for answer in picks(shape, device, (tile,), split=False)]
        seconds, tile = min(found)
        return tile, seconds

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time of the tile that the cost model picks."""
        return self._pick(problem, device)[1]

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on: the tile, its windows, the outputs that it computes for those that there are."""
        tile = self._pick(problem, device)[0]
        patch, conv = patch_of(problem, tile), problem.conv
        share = patch.row_patches * patch.column_patches * TILES[tile].pixels / (conv.p * conv.q)
        windows = f"{patch.window_rows} x {patch.window_columns} windows a block"
        return f"tensor cores with {tile}, {windows}, {share:.2f} times the convolution's outputs"

    def instances(self) -> Iterator[str]:
        """Yield every name that `launch` can return."""
        for policy in POLICIES.values():
            for tile in TILES_BUILT:
                yield f"{self.name}<{policy}, Pieces, {tile}>"


KERNEL = ConvPool()
