"""conv_igemm_sm80: an implicit GEMM on tensor cores, for sm_80 and later; the path of every dense convolution with 16-bit or 8-bit elements, and of float32."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ..arguments import FLOAT_DTYPES
from ..launch import Launch
from .base import DEVICES, GRID_LIMIT, PIECE, Device, Strides, default_strides
from .conv_direct import SIZE_LIMIT, int32_declines
from .finish_splits import KERNEL as FINISH
from .finish_splits import PARTIAL_SUMS, finish_blocks, partial_bytes
from .gemm_cost import EVERY_TILE, SEGMENT_TILES, STEP_BYTES, TILES, Pick, picks, segment_steps, segments_of, shape_of
from .mma_types import EVERY_POLICY, HALF_POLICIES, mma_declines, planes_of, policy_of, units_of
from .packing import ROW_LIMIT, needs_packing, pack_launch, packed_rows
from .parameters import BYTES, GemmArguments, gemm_arguments, pointer_names

MOST_TAPS = 32  # rows, or columns, of a filter: bits of a mask
MOST_COLUMNS = 2**31 - 128  # K: the last tile counts up to 127 columns past it in 32 bits
#: bytes of partial sums that any convolution may take; one of a larger output, as many as that has
MOST_WORKSPACE = 64 * 2**20
#: the first that serves is launched
LOADERS = ("Pieces", "Elements")


def tap_pieces(problem: Any) -> int:
    """Return the pieces of 16 bytes that hold the channels of one tap of a group."""
    return -(-problem.c // problem.groups * BYTES[problem.dtype] // PIECE)


def shared_bytes(tile: str, planes: int) -> int:
    """Return the bytes of dynamic shared memory: the stages of a block."""
    return EVERY_TILE[tile].staged_bytes(planes)


def blocks(problem: Any, tile: str) -> int:
    """Return how many blocks cover gemm_m = N*P*Q and the output channels of every group."""
    columns = problem.groups * -(-problem.k // problem.groups // EVERY_TILE[tile].columns)
    return columns * -(-problem.n * problem.p * problem.q // EVERY_TILE[tile].pixels)


def splits(problem: Any) -> bool:
    """Return whether segments of gemm_k may be blocks of their own: there are some, and their partial sums fit the workspace."""
    segments = segments_of(problem)
    room = max(MOST_WORKSPACE, math.prod(problem.y_shape) * BYTES[problem.out_dtype])
    most = max(blocks(problem, "Tile64x32") * segments, finish_blocks(problem))
    return segments > 1 and partial_bytes(problem, segments) <= room and most <= GRID_LIMIT


def loaders(problem: Any, strides: Strides) -> tuple[str, ...]:
    """Return the loaders that read x of these strides: Pieces only where the channels of each group's pixel are whole aligned pieces."""
    size = BYTES[problem.dtype]
    steps = [step * size for step, extent in zip(strides.x, (problem.n, problem.h, problem.w)) if extent > 1]
    dense = strides.x[3] == 1 and not any(step % PIECE for step in (*steps, problem.c // problem.groups * size))
    return LOADERS if dense and strides.alignment % PIECE == 0 else LOADERS[1:]


class ConvIgemmSm80:
    """Description of csrc/include/atrous/kernels/conv_igemm_sm80.cuh."""

    name = "conv_igemm_sm80"
    operation = "conv2d"
    header = "atrous/kernels/conv_igemm_sm80.cuh"

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take the convolution, or None."""
        if reason := mma_declines(problem, device):
            return reason
        if max(problem.r, problem.s) > MOST_TAPS:
            return f"the filter is {problem.r}x{problem.s}, and its masks have {MOST_TAPS} bits for rows and for columns"
        gemm_k = problem.r * problem.s * (problem.c // problem.groups)
        if gemm_k >= SIZE_LIMIT or problem.k > MOST_COLUMNS:
            return f"R * S * C/G is {gemm_k} and K is {problem.k}, and it counts them in 32 bits"
        if (elements := packed_rows(problem).row_elements) > ROW_LIMIT:
            return f"the weights of an output channel, every tap padded to 16 bytes, are {elements} elements, and it counts them in 32 bits"
        if reason := int32_declines(problem):
            return reason
        if blocks(problem, "Tile64x32") > GRID_LIMIT:
            return f"{blocks(problem, 'Tile64x32')} blocks are more than a grid's {GRID_LIMIT}"
        return None

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the launch that the cost model picks for operands of these strides (default: contiguous)."""
        strides = strides or default_strides(problem)
        loader = loaders(problem, strides)[0]
        best = self._pick(problem, device or DEVICES["simulated"], loader)
        return self._launch(problem, strides, loader, best.tile, best.split)

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the launches of all loaders that serve and all tiles, segments together and apart: all give the same bits."""
        strides = strides or default_strides(problem)
        for loader in loaders(problem, strides):
            for tile in self._tiles(problem):
                yield self._launch(problem, strides, loader, tile, split=False)
            if splits(problem):
                for tile in TILES:
                    yield self._launch(problem, strides, loader, tile, split=True)

    def _pick(self, problem: Any, device: Device, loader: str) -> Pick:
        """Return the estimate of the fastest launch; equal times go to the larger tile, segments together before apart."""
        shape = shape_of(problem, elements=loader == "Elements")
        found = picks(shape, device, self._tiles(problem), split=False)
        if splits(problem):
            found += tuple(one for one in picks(shape, device) if one.split)
        return min(found, key=lambda one: one.seconds)

    def _tiles(self, problem: Any) -> tuple[str, ...]:
        """Return the tiles whose blocks sum all of gemm_k: where sums that round have segments, those of kSumsSegments."""
        if segments_of(problem) == 1 or problem.dtype not in FLOAT_DTYPES:
            return tuple(TILES)
        small = tuple(name for name, tile in TILES.items() if tile.warp_pixels * tile.warp_columns <= 1024)
        return (*SEGMENT_TILES, *small) if BYTES[problem.dtype] == 2 else small

    def _launch(self, problem: Any, strides: Strides, loader: str, tile: str, split: bool) -> Launch:
        rows = packed_rows(problem, planes=planes_of(problem))
        before = (pack_launch(rows, strides),) if needs_packing(rows, strides) else ()
        slots = {"weight": "packed_weight"} if before else {}
        scratch: tuple[tuple[str, int], ...] = (("packed_weight", rows.bytes),) if before else ()
        segments, count = segments_of(problem), blocks(problem, tile)
        after: tuple[Launch, ...] = ()
        if split:
            slots["y"] = PARTIAL_SUMS
            scratch += ((PARTIAL_SUMS, partial_bytes(problem, segments)),)
            after = (FINISH.launch(problem, strides, segments),)
        arguments = gemm_arguments(
            problem,
            strides,
            weight_row=rows.row_bytes,
            weight_plane=problem.k * rows.row_bytes,
            tap_pieces=tap_pieces(problem),
            segment_steps=segment_steps(segments, -(-rows.row_bytes // STEP_BYTES)),
            segment_blocks=count if split else 0,
        )
        return Launch(
            name=f"{self.name}<{policy_of(problem)}, {loader}, {tile}>",
            header=self.header,
            grid=(count * segments if split else count, 1, 1),
            block=(EVERY_TILE[tile].threads, 1, 1),
            shared_bytes=shared_bytes(tile, rows.planes),
            parameters=bytes(arguments),
            pointers=tuple(slots.get(name, name) for name in pointer_names(GemmArguments)),
            scratch=scratch,
            before=before,
            after=after,
        )

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time of the launch that the cost model picks."""
        return self._pick(problem, device, loaders(problem, default_strides(problem))[0]).seconds

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        picked = self._pick(problem, device, loaders(problem, default_strides(problem))[0])
        apart = f", {segments_of(problem)} segments of gemm_k apart" if picked.split else ""
        return f"{units_of(problem, device)} with {picked.tile}{apart}, {picked.blocks} blocks in {picked.waves:.2f} waves, bound by {picked.bound}"

    def instances(self) -> Iterator[str]:
        """Yield every name that `launch` can return."""
        for policy in EVERY_POLICY:
            for loader in LOADERS:
                for tile in EVERY_TILE if policy in HALF_POLICIES.values() else TILES:
                    yield f"{self.name}<{policy}, {loader}, {tile}>"


KERNEL = ConvIgemmSm80()
