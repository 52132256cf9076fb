"""conv_separable: a depthwise convolution and the 1x1 of what it gives in one kernel, where all output channels fit a block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..launch import PACKED, Launch
from .base import GRID_LIMIT, Device, Strides, default_strides
from .conv_depthwise import KERNEL as DEPTHWISE
from .conv_depthwise import SHARES
from .conv_igemm_sm80 import KERNEL as CONVOLUTION
from .depthwise import ANY, KNOWN, LANES_A_CLOCK, MOST_SHARED_BYTES, multiplier_of, window_of
from .gemm_cost import STEP_BYTES, TILES, Tile, estimates_of, in_waves, moved_bytes, segments_of
from .in_two import between_bytes, of_parts
from .mma_types import HALF_POLICIES, policy_of
from .packing import PackedRows, pack_launch
from .parameters import PADDING_CODES, GemmArguments, SeparableArguments, epilogue
from .pool import EXTENT_LIMIT

#: tile -> what a block owns, as in gemm_tile.cuh and conv_separable.cuh; the smallest that holds K is launched
TILES_BUILT = {"Tile64x32": TILES["Tile64x32"], "Tile64x64": TILES["Tile64x64"], "Tile64x128": Tile(64, 128, 32, 32)}
#: tile -> how many blocks share the registers of a multiprocessor
BLOCKS = {"Tile64x32": 5, "Tile64x64": 4, "Tile64x128": 2}
MOST_COLUMNS = max(tile.columns for tile in TILES_BUILT.values())
#: of a tile: groups of columns of outputs, a thread's share of one slice of channels
GROUPS, GROUP_COLUMNS = 16, 4
SLICE_CHANNELS = 32
CELL_BYTES = 16  # of a SourceCell
WINDOWS = (3, 5, 7)
#: the scratch that holds the weights of the depthwise, channels fastest
WEIGHTS = f"{PACKED}depthwise_weight"


@dataclass(frozen=True)
class Halo:
    """The cells of x under the windows of a tile of outputs, and how they are staged."""

    groups_log2: int  # of the groups of 4 columns of a row of outputs
    rows: int
    columns: int  # an even number
    group: int  # cells from one group of output columns to the next

    @property
    def outputs(self) -> tuple[int, int]:
        """Rows and columns of outputs."""
        return GROUPS >> self.groups_log2, GROUP_COLUMNS << self.groups_log2

    @property
    def cells(self) -> int:
        """Cells of a slice of channels."""
        return self.rows * self.columns

    @property
    def row_cells(self) -> int:
        """Places of a row: after the cells of a group stands an empty one."""
        return self.columns + (self.columns - 1) // self.group

    @property
    def slice_cells(self) -> int:
        """Places of a slice."""
        return self.rows * self.row_cells


def tile_of(problem: Any) -> str:
    """Return the smallest tile that holds all output channels."""
    return next(name for name, tile in TILES_BUILT.items() if problem.k <= tile.columns)


def steps_of(problem: Any) -> int:
    """Return the steps of gemm_k, each a slice of channels."""
    return -(-problem.c // SLICE_CHANNELS)


def shared_bytes(problem: Any, halo: Halo) -> int:
    """Return the bytes of SeparableShared."""
    tile, taps = TILES_BUILT[tile_of(problem)], problem.depthwise.r * problem.depthwise.s
    stages = 2 * STEP_BYTES * (tile.pixels + tile.columns)
    output = 16 * tile.pixels + tile.threads // 32 * 4 * (512 + 4 * tile.warp_columns)
    terms = 2 * 4 * steps_of(problem) * SLICE_CHANNELS
    return max(stages, output) + halo.cells * CELL_BYTES + terms + 2 * (halo.slice_cells + taps) * STEP_BYTES


def halo_of(problem: Any) -> Halo | None:
    """Return the halo of the tiles that read least of x among those that fit shared memory, or None."""
    depthwise, window = problem.depthwise, window_of(problem.depthwise)
    found = []
    for groups_log2 in (1, 2, 3, 4):
        rows, columns = GROUPS >> groups_log2, GROUP_COLUMNS << groups_log2
        held = (columns - 1) * window.stride[1] + depthwise.s
        high = (rows - 1) * window.stride[0] + (depthwise.r - 1) * window.dilation[0] + 1
        halo = Halo(groups_log2, high, held + held % 2, GROUP_COLUMNS * window.stride[1])
        if shared_bytes(problem, halo) <= MOST_SHARED_BYTES:
            found.append((-(-depthwise.p // rows) * -(-depthwise.q // columns) * halo.cells, groups_log2, halo))
    return min(found)[2] if found else None


def tiles_of(problem: Any, halo: Halo) -> tuple[int, int]:
    """Return the rows and columns of tiles that cover an image."""
    rows, columns = halo.outputs
    return -(-problem.depthwise.p // rows), -(-problem.depthwise.q // columns)


def blocks(problem: Any, halo: Halo) -> int:
    """Return how many blocks cover all images."""
    rows, columns = tiles_of(problem, halo)
    return int(problem.n) * rows * columns


class ConvSeparable:
    """Description of csrc/include/atrous/kernels/conv_separable.cuh."""

    name = "conv_separable"
    operation = "separable_conv2d"
    header = "atrous/kernels/conv_separable.cuh"
    #: of each of the two convolutions the kernel whose sums are added in the same order
    adds_like = (DEPTHWISE.name, CONVOLUTION.name)

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take both, or None."""
        return _form_declines(problem) or self._parts_decline(problem, device)

    def _parts_decline(self, problem: Any, device: Device) -> str | None:
        depthwise, pointwise = problem.parts
        if reason := DEPTHWISE.declines(depthwise, device) or CONVOLUTION.declines(pointwise, device):
            return reason
        if (segments := segments_of(pointwise)) > 1:
            return f"gemm_k = {problem.c} of so few outputs is added in {segments} segments, and it adds all in one"
        for letter, size, pads in (("H", depthwise.h, depthwise.pads[:2]), ("W", depthwise.w, depthwise.pads[2:])):
            if size + abs(pads[0]) + abs(pads[1]) >= EXTENT_LIMIT:
                return f"{letter} = {size} with padding {pads} reaches 2^30, and it adds two coordinates in 32 bits"
        halo = halo_of(problem)
        if halo is None:
            return f"the cells under the windows of {TILES_BUILT[tile_of(problem)].pixels} outputs pass {MOST_SHARED_BYTES} bytes of shared memory"
        return f"{blocks(problem, halo)} blocks are more than a grid's {GRID_LIMIT}" if blocks(problem, halo) > GRID_LIMIT else None

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the one launch, the same on every device."""
        return next(self.variants(problem, strides))

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the one launch."""
        yield self._launch(problem, strides or default_strides(problem))

    def _launch(self, problem: Any, strides: Strides) -> Launch:
        depthwise, tile = problem.depthwise, tile_of(problem)
        halo = halo_of(problem)
        assert halo is not None
        # of the 1x1 alone: how it packs its weights, and where they lie
        alone = CONVOLUTION.launch(problem.pointwise, of_parts(problem, strides)[1])
        gemm = GemmArguments.from_buffer_copy(alone.parameters)
        gemm.conv.x_stride[:] = strides.x
        row_tiles, column_tiles = tiles_of(problem, halo)
        window = window_of(depthwise)
        arguments = SeparableArguments(
            gemm=gemm,
            depthwise_epilogue=epilogue(depthwise),
            **{name: getattr(depthwise, name) for name in ("h", "w", "r", "s")},
            stride_h=window.stride[0],
            stride_w=window.stride[1],
            dilation_h=window.dilation[0],
            pad_top=depthwise.pads[0],
            pad_left=depthwise.pads[2],
            padding_mode=PADDING_CODES[depthwise.padding_mode],
            row_tiles=row_tiles,
            column_tiles=column_tiles,
            groups_log2=halo.groups_log2,
            halo_rows=halo.rows,
            halo_columns=halo.columns,
            row_cells=halo.row_cells,
            slice_cells=halo.slice_cells,
        )
        weights, pack = _packed(depthwise, strides)
        return replace(
            alone,
            name=f"{self.name}<{policy_of(depthwise)}, {tile}>",
            header=self.header,
            grid=(blocks(problem, halo), 1, 1),
            block=(TILES_BUILT[tile].threads, 1, 1),
            shared_bytes=shared_bytes(problem, halo),
            parameters=bytes(arguments),
            pointers=(WEIGHTS, "depthwise_scale", "depthwise_bias", *alone.pointers),
            scratch=(*alone.scratch, (WEIGHTS, weights.bytes)),
            before=(*alone.before, pack),
        )

    def _bounds(self, problem: Any, device: Device) -> dict[str, float]:
        """Return the seconds that each unit takes: memory, L2, and what a block keeps of its multiprocessor, in waves of blocks."""
        halo, name = halo_of(problem), tile_of(problem)
        assert halo is not None
        guess, tile, depthwise = estimates_of(device), TILES_BUILT[name], problem.depthwise
        count, steps, taps = blocks(problem, halo), steps_of(problem), depthwise.r * depthwise.s
        window = KNOWN.get((depthwise.s, window_of(depthwise).stride[1]), ANY)
        ordinary_rate = min(device.flops / device.multiprocessors, SHARES[window][0] * LANES_A_CLOCK * 2 * device.clock)
        ordinary = 2 * tile.pixels * steps * SLICE_CHANNELS * taps / ordinary_rate
        tensor = 2 * tile.pixels * tile.columns * steps * SLICE_CHANNELS / (guess.mma_share * device.half_flops / device.multiprocessors)
        by_shared = device.shared_per_multiprocessor // (shared_bytes(problem, halo) + 1024)
        resident = max(1, min(by_shared, BLOCKS[name], device.threads_per_multiprocessor // tile.threads))
        least = steps * guess.step_seconds
        from_l2 = count * STEP_BYTES * steps * (halo.cells + tile.columns + taps)
        moved = moved_bytes(depthwise) + moved_bytes(problem.pointwise) - 2 * between_bytes(problem)
        return {
            "memory": moved / (guess.memory_share * device.bandwidth),
            "L2": from_l2 / (guess.l2_share * device.l2_bandwidth),
            "the ordinary units and tensor cores": in_waves(count, resident, device, ordinary + tensor, least),
        }

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time: that of the slowest unit, the first loads and the last stores."""
        guess = estimates_of(device)
        return max(self._bounds(problem, device).values()) + guess.ramp_seconds + guess.launch_seconds

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        halo, found = halo_of(problem), self._bounds(problem, device)
        assert halo is not None
        rows, columns = halo.outputs
        again = blocks(problem, halo) * halo.cells / max(1, problem.n * problem.h * problem.w)
        bound = max(found, key=lambda word: found[word])
        return f"tensor cores with {tile_of(problem)}, {rows} x {columns} pixels a block, x read {again:.2f} times, bound by {bound}"

    def instances(self) -> Iterator[str]:
        """Yield every name that `launch` can return."""
        for policy in HALF_POLICIES.values():
            for tile in TILES_BUILT:
                yield f"{self.name}<{policy}, {tile}>"


def _form_declines(problem: Any) -> str | None:
    """Return why the elements, the channels or the windows are not those that it was written for, or None."""
    depthwise = problem.depthwise
    if depthwise.dtype not in HALF_POLICIES:
        return f"x is {depthwise.dtype}, and it takes {', '.join(HALF_POLICIES)}"
    if depthwise.out_dtype != depthwise.dtype:
        return f"the depthwise of {depthwise.dtype} gives {depthwise.out_dtype}, and it multiplies elements of x's dtype"
    if depthwise.layout != "NHWC":
        return f"x is {depthwise.layout}, and its threads own neighbouring channels"
    if multiplier_of(depthwise) != 1:
        return f"there are {multiplier_of(depthwise)} filters a channel, and it takes one"
    if not 1 <= problem.k <= MOST_COLUMNS:
        return f"K is {problem.k}, and its blocks hold up to {MOST_COLUMNS} output channels"
    window = window_of(depthwise)
    if depthwise.s not in WINDOWS or window.stride[1] > 2 or window.dilation[1] > 1:
        form = f"{depthwise.s} columns with stride {window.stride[1]} and dilation {window.dilation[1]}"
        return f"the window has {form}, and it takes 3, 5 or 7 with stride 1 or 2, dense"
    return None


def _packed(depthwise: Any, strides: Strides) -> tuple[PackedRows, Launch]:
    """Return the weights of the depthwise as one row of taps, channels fastest, and the launch that makes it."""
    rows = PackedRows(depthwise.dtype, k=1, r=depthwise.r, s=depthwise.s, channels=depthwise.c)
    k, r, s, _ = strides.depthwise_weight
    launch = pack_launch(rows, Strides(x=(0, 0, 0, 0), y=(0, 0, 0, 0), weight=(0, r, s, k)), WEIGHTS)
    return rows, replace(launch, pointers=tuple("depthwise_weight" if name == "weight" else name for name in launch.pointers))


KERNEL = ConvSeparable()
