"""conv_igemm_sm80: an implicit GEMM on tensor cores, for sm_80 and later; the path of every dense convolution with 16-bit or 8-bit elements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..arguments import FLOAT_DTYPES
from ..launch import Launch
from .base import DEVICES, GRID_LIMIT, INT32_ELEMENTS, Device, Strides, default_strides
from .conv_direct import SIZE_LIMIT, largest_sum
from .gemm_cost import STEP_BYTES, TILES, Pick, pick, planes_of, rate_of, segment_steps, segments_of, shape_of
from .packing import ROW_LIMIT, needs_packing, pack_launch, packed_rows
from .parameters import BYTES, GemmArguments, gemm_arguments, pointer_names

PIECE = 16  # bytes that a thread copies at a time
MOST_TAPS = 32  # rows, or columns, of a filter: bits of a mask
#: dtype of x -> the arithmetic
POLICIES = {"float16": "Float16Mma", "bfloat16": "Bfloat16Mma", "int8": "Int8Mma", "uint8": "Uint8Mma"}
LOADERS = ("Pieces",)


def policy_of(problem: Any) -> str:
    """Return the name of the arithmetic in mma_types.cuh."""
    return POLICIES[problem.dtype]


def tap_pieces(problem: Any) -> int:
    """Return the pieces of 16 bytes that hold the channels of one tap of a group."""
    return -(-problem.c // problem.groups * BYTES[problem.dtype] // PIECE)


def shared_bytes(tile: str, planes: int) -> int:
    """Return the bytes of dynamic shared memory: the stages of a block."""
    return TILES[tile].staged_bytes(planes)


def blocks(problem: Any, tile: str) -> int:
    """Return how many blocks cover gemm_m = N*P*Q and the output channels of every group."""
    columns = problem.groups * -(-problem.k // problem.groups // TILES[tile].columns)
    return columns * -(-problem.n * problem.p * problem.q // TILES[tile].pixels)


class ConvIgemmSm80:
    """Description of csrc/include/atrous/kernels/conv_igemm_sm80.cuh."""

    name = "conv_igemm_sm80"
    operation = "conv2d"
    header = "atrous/kernels/conv_igemm_sm80.cuh"

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take the convolution, or None."""
        if problem.dtype not in POLICIES:
            return f"x is {problem.dtype}, and its tensor-core arithmetic takes {', '.join(POLICIES)}"
        if not getattr(device, rate_of(problem)):
            return f"{device.name} lacks mma.sync, ldmatrix or cp.async, which came with sm_80"
        if max(problem.r, problem.s) > MOST_TAPS:
            return f"the filter is {problem.r}x{problem.s}, and its masks have {MOST_TAPS} bits for rows and for columns"
        gemm_k = problem.r * problem.s * (problem.c // problem.groups)
        if max(gemm_k, problem.k) >= SIZE_LIMIT:
            return f"R * S * C/G is {gemm_k} and K is {problem.k}, and it counts them in 32 bits"
        if (elements := packed_rows(problem).row_elements) > ROW_LIMIT:
            return f"the weights of an output channel, every tap padded to 16 bytes, are {elements} elements, and it counts them in 32 bits"
        if (most := largest_sum(problem)) > INT32_ELEMENTS:
            return f"a sum of {gemm_k} products of {problem.dtype} can reach {most}, and it adds them in int32"
        top, bottom, left, right = problem.pads
        if max(problem.h + max(0, top) + max(0, bottom), problem.w + max(0, left) + max(0, right)) > INT32_ELEMENTS:
            return f"H = {problem.h} and W = {problem.w} with padding {problem.pads} pass 2^31 - 1, and it counts cells of an axis in 32 bits"
        if blocks(problem, "Tile64x32") > GRID_LIMIT:
            return f"{blocks(problem, 'Tile64x32')} blocks are more than a grid's {GRID_LIMIT}"
        return None

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the launch for operands of these strides (default: contiguous), with the tile that the cost model picks."""
        return self._launch(problem, strides, self._pick(problem, device or DEVICES["simulated"]).tile)

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the launches of all tiles: all give the same bits."""
        for tile in self._tiles(problem):
            yield self._launch(problem, strides, tile)

    def _tiles(self, problem: Any) -> tuple[str, ...]:
        """Return the tiles that serve: where sums that round have segments, those with a second set of sums, as kSumsSegments says."""
        small = tuple(name for name, tile in TILES.items() if tile.warp_pixels * tile.warp_columns <= 1024)
        rounds = problem.dtype in FLOAT_DTYPES and planes_of(problem) == 1
        return small if segments_of(problem) > 1 and rounds else tuple(TILES)

    def _launch(self, problem: Any, strides: Strides | None, tile: str) -> Launch:
        strides = strides or default_strides(problem)
        rows = packed_rows(problem)
        before = (pack_launch(rows, strides),) if needs_packing(rows, strides) else ()
        weight = "packed_weight" if before else "weight"
        arguments = gemm_arguments(
            problem,
            strides,
            weight_row=rows.row_bytes,
            weight_plane=problem.k * rows.row_bytes,
            tap_pieces=tap_pieces(problem),
            segment_steps=segment_steps(segments_of(problem), -(-rows.row_bytes // STEP_BYTES)),
        )
        return Launch(
            name=f"{self.name}<{policy_of(problem)}, Pieces, {tile}>",
            header=self.header,
            grid=(blocks(problem, tile), 1, 1),
            block=(TILES[tile].threads, 1, 1),
            shared_bytes=shared_bytes(tile, rows.planes),
            parameters=bytes(arguments),
            pointers=tuple(weight if name == "weight" else name for name in pointer_names(GemmArguments)),
            scratch=((weight, rows.bytes),) if before else (),
            before=before,
        )

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time of the tile that the cost model picks."""
        return self._pick(problem, device).seconds

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        picked = self._pick(problem, device)
        rate = getattr(device, rate_of(problem)) / 1e12
        passes = ", three products" if planes_of(problem) == 2 else ""
        return f"tensor cores ({rate:.4g} TFLOP/s{passes}) with {picked.tile}, {picked.blocks} blocks in {picked.waves:.2f} waves, bound by {picked.bound}"

    def _pick(self, problem: Any, device: Device) -> Pick:
        return pick(shape_of(problem), device, self._tiles(problem), split=False)

    def instances(self) -> Iterator[str]:
        """Yield every name that `launch` can return."""
        for policy in POLICIES.values():
            for loader in LOADERS:
                for tile in TILES:
                    yield f"{self.name}<{policy}, {loader}, {tile}>"


KERNEL = ConvIgemmSm80()
