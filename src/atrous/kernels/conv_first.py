"""conv_first: convolution on tensor cores for few or odd channels, which it repacks instead of padding them to a vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..launch import Launch
from .base import DEVICES, GRID_LIMIT, INT32_ELEMENTS, PIECE, Device, Strides, default_strides
from .conv_direct import SIZE_LIMIT, sum_declines
from .first_patch import (
    MOST_COLUMNS,
    MOST_HALO_BYTES,
    STAGING_THREADS,
    Halo,
    begins_within_words,
    chunk_channels,
    chunks,
    dilation_of,
    halo_of,
    patch_of,
    row_threads_log2,
    run_pieces,
    staging_loads,
    steps,
)
from .gemm_cost import STEP_BYTES, Tile, estimates_of, moved_bytes
from .mma_types import EVERY_POLICY, mma_declines, planes_of, policy_of, products_of, rate_of, units_of
from .packing import PackedRows, needs_packing, pack_launch, packed_rows
from .parameters import BYTES, ConvArguments, FirstArguments, PatchArguments, conv_arguments, pointer_names

#: tile -> (pixels, columns) of a block and of each of its 4 warps, as in gemm_tile.cuh and conv_first.cuh
TILES = {"Tile128x64": Tile(128, 64, 64, 32), "Tile64x64": Tile(64, 64, 32, 32), "Tile128x32": Tile(128, 32, 32, 32)}
#: tile -> blocks of a multiprocessor that its registers allow, for one plane of weights
BLOCKS = {"Tile128x64": 3, "Tile64x64": 4, "Tile128x32": 4}
#: and of integers, which finish in float64
INTEGER_BLOCKS = 3
#: weights that stay in shared memory while a block goes from patch to patch; more go round in 4 steps
RESIDENT_BYTES = 32 * 1024
RING = 4
#: through which the sums of a warp of 32 columns go out: kWarpStageElements of warp_output.cuh
WARP_STAGE_BYTES = 4 * (512 + 4 * 32)
PLACE_BYTES = 16  # of a pixel
#: up to so many channels it takes whatever they fill
FEW_CHANNELS = 4
#: what a patch takes a block beside its steps, from its first load to its last store: nothing of it overlaps within the block
PATCH_SECONDS = 2.5e-6
#: instructions for each cell that is staged, of which a multiprocessor starts 4 a clock
STAGING_INSTRUCTIONS = 16


def tiles_of(problem: Any) -> tuple[str, ...]:
    """Return the tiles that are built for the arithmetic."""
    return tiles_for(policy_of(problem))


def tiles_for(policy: str) -> tuple[str, ...]:
    """Return the tiles of an arithmetic: a second set of sums, or float64 on the way out, takes the registers of the largest."""
    return ("Tile64x64", "Tile128x32") if policy in ("Tf32x3Mma", "Int8Mma", "Uint8Mma") else tuple(TILES)


class FirstPlan:
    """How one tile runs a convolution on a device: its patches, its halo, its shared memory and its blocks."""

    def __init__(self, problem: Any, tile: str, device: Device, patch: PatchArguments | None = None, tile_bytes: int = 0) -> None:
        """Plan for other patches than those that cover an image at the least cost, and for what lies behind the stages."""
        self.tile, self.shape = tile, TILES[tile]
        self.channels = chunk_channels(problem)
        if patch is None:
            self.rows, self.columns = patch_of(problem, self.shape.pixels, self.channels)
            self.row_patches, self.column_patches = -(-problem.p // self.rows), -(-problem.q // self.columns)
        else:
            self.rows, self.columns = patch.rows, patch.columns
            self.row_patches, self.column_patches = patch.row_patches, patch.column_patches
        self.halo: Halo = halo_of(problem, self.rows, self.columns, self.channels)
        self.patches = problem.n * self.row_patches * self.column_patches
        self.column_tiles = -(-problem.k // self.shape.columns)
        self.steps, planes = steps(problem, self.channels), planes_of(problem)
        slot = planes * self.shape.columns * STEP_BYTES
        self.is_resident = self.steps * slot <= RESIDENT_BYTES
        self.weight_slots = self.steps if self.is_resident else RING
        stages = self.shape.threads // 32 * WARP_STAGE_BYTES + tile_bytes
        self.shared_bytes = self.weight_slots * slot + PLACE_BYTES * self.shape.pixels + max(self.halo.bytes, stages)
        by_shared = device.shared_per_multiprocessor // (self.shared_bytes + 1024)  # a block takes 1 KB more than it asked for
        by_registers = INTEGER_BLOCKS if BYTES[problem.dtype] == 1 else -(-BLOCKS[tile] // planes)
        self.resident = max(1, min(by_shared, by_registers))

    def together(self, device: Device) -> int:
        """Return the patches that are under way at a time: with weights that stay, no more blocks than the device holds."""
        if not self.is_resident or not self.patches:
            return self.patches
        most = max(1, self.resident * device.multiprocessors // max(1, self.column_tiles))
        return -(-self.patches // -(-self.patches // most))  # equally many patches for each block, but for the last


def distinct_plans(plans: Callable[[Device], list[FirstPlan]]) -> Iterator[tuple[FirstPlan, int]]:
    """Yield every tile with each number of patches under way that some device is given, and with all of them."""
    found: dict[tuple[str, int], FirstPlan] = {}
    for device in DEVICES.values():
        for plan in plans(device):
            for together in (plan.together(device), plan.patches):
                found.setdefault((plan.tile, together), plan)
    for (_, together), plan in found.items():
        yield plan, together


def most_blocks(problem: Any) -> int:
    """Return the blocks of the tile that has most, with one for each patch."""
    plans = [FirstPlan(problem, tile, DEVICES["simulated"]) for tile in tiles_of(problem)]
    return max(plan.patches * plan.column_tiles for plan in plans)


def rows_of(problem: Any) -> PackedRows:
    """Return the layout of the packed weights; neither N nor the image's size decides it."""
    return packed_rows(problem, whole_filter_rows=True, chunk_channels=chunk_channels(problem), planes=planes_of(problem))


def first_arguments(problem: Any, strides: Strides, plan: FirstPlan, rows: PackedRows) -> bytes:
    """Return the bytes of FirstArguments, pointers zero."""
    halo = plan.halo
    conv = ConvArguments.from_buffer_copy(conv_arguments(problem, strides))
    conv.dilation_h, conv.dilation_w = dilation_of(problem)
    return bytes(
        FirstArguments(
            conv=conv,
            weight_row=rows.row_bytes,
            weight_plane=problem.k * rows.row_bytes,
            weight_sums=rows.sums_offset if rows.sums else 0,
            patches=plan.patches,
            row_patches=plan.row_patches,
            column_patches=plan.column_patches,
            patch_rows=plan.rows,
            patch_columns=plan.columns,
            chunks=chunks(problem, plan.channels),
            channels=plan.channels,
            run_pieces=run_pieces(problem, plan.channels),
            weight_slots=plan.weight_slots,
            halo_rows=halo.rows,
            halo_columns=halo.columns,
            tap_rows=halo.tap_rows,
            row_bytes=halo.row_bytes,
            phases=halo.phases,
            phase_columns=halo.phase_columns,
            channels_first=abs(strides.x[3]) > abs(strides.x[2]),
            row_threads_log2=row_threads_log2(problem, halo, plan.channels),
        )
    )


class ConvFirst:
    """Description of csrc/include/atrous/kernels/conv_first.cuh."""

    name = "conv_first"
    operation = "conv2d"
    header = "atrous/kernels/conv_first.cuh"

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take the convolution, or None."""
        if reason := mma_declines(problem, device):
            return reason
        if problem.groups != 1:
            return f"there are {problem.groups} groups, and it takes 1"
        if problem.c > FEW_CHANNELS and problem.c * BYTES[problem.dtype] % PIECE == 0:
            return f"C = {problem.c} fills whole pieces of {PIECE} bytes, and repacking saves nothing"
        return self._too_large(problem)

    def _too_large(self, problem: Any) -> str | None:
        """Return which size is beyond its counters or its shared memory, or None."""
        dilation_h, dilation_w = dilation_of(problem)
        if (span := (problem.s - 1) * dilation_w + 1) > MOST_COLUMNS:
            return f"a window spans {span} columns of x, and it looks at every one of at most {MOST_COLUMNS}"
        if not chunk_channels(problem):
            return f"the cells that {problem.r}x{problem.s} taps read of a patch pass {MOST_HALO_BYTES} bytes of shared memory with one channel"
        rows = rows_of(problem)
        if rows.row_elements >= SIZE_LIMIT or problem.k >= SIZE_LIMIT:
            return f"a packed row has {rows.row_elements} elements and K is {problem.k}, and it counts them in 32 bits"
        if reason := sum_declines(problem):
            return reason
        top, bottom, left, right = problem.pads
        # The last patch reaches beyond the image, by no more cells than a halo holds; and a batch of staged rows beyond the halo.
        beyond_h, beyond_w = MOST_HALO_BYTES + 8 * 4 * (dilation_h + 1), MOST_HALO_BYTES
        furthest = max(problem.h + max(0, top) + max(0, bottom) + beyond_h, problem.w + max(0, left) + max(0, right) + beyond_w)
        if furthest > INT32_ELEMENTS:
            return f"H = {problem.h} and W = {problem.w} with padding {problem.pads} and dilation {problem.dilation} pass 2^31 - 1 where a patch ends"
        # no tile has more blocks than one for each pixel and 32 columns
        if problem.n * problem.p * problem.q * -(-problem.k // 32) > GRID_LIMIT and (count := most_blocks(problem)) > GRID_LIMIT:
            return f"{count} blocks are more than a grid's {GRID_LIMIT}"
        return None

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the launch for operands of these strides (default: contiguous), with the tile of the least estimated time."""
        device = device or DEVICES["simulated"]
        plan = self._pick(problem, device)[0]
        return self.launch_of(problem, strides, plan, plan.together(device))

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the launches of all tiles, with the blocks that each device is given and with one for each patch: all give the same bits."""
        for plan, together in distinct_plans(lambda device: self._plans(problem, device)):
            yield self.launch_of(problem, strides, plan, together)

    def _plans(self, problem: Any, device: Device) -> list[FirstPlan]:
        plans = [FirstPlan(problem, tile, device) for tile in tiles_of(problem)]
        return [plan for plan in plans if plan.shared_bytes <= device.shared_per_block] or plans[-1:]

    def launch_of(self, problem: Any, strides: Strides | None, plan: FirstPlan, together: int) -> Launch:
        """Return the launch of a plan, with so many patches under way."""
        strides = strides or default_strides(problem)
        rows = rows_of(problem)
        before = (pack_launch(rows, strides),) if needs_packing(rows, strides) else ()
        weight = "packed_weight" if before else "weight"
        return Launch(
            name=f"{self.name}<{policy_of(problem)}, {plan.tile}>",
            header=self.header,
            grid=(together * plan.column_tiles, 1, 1),
            block=(plan.shape.threads, 1, 1),
            shared_bytes=plan.shared_bytes,
            parameters=first_arguments(problem, strides, plan, rows),
            pointers=tuple(weight if name == "weight" else name for name in pointer_names(ConvArguments)),
            scratch=((weight, rows.bytes),) if before else (),
            before=before,
        )

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time of the best tile."""
        return self._pick(problem, device)[1]

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        plan, _, bound = self._pick(problem, device)
        patches = f"{plan.patches} patches of {plan.rows} x {plan.columns}, {plan.together(device)} under way"
        return f"{units_of(problem, device)} with {plan.tile}, {patches}, bound by {bound}"

    def _pick(self, problem: Any, device: Device) -> tuple[FirstPlan, float, str]:
        """Return the plan of the least estimated time, that time, and what bounds it."""
        return min(((plan, *self.estimate(problem, plan, device)) for plan in self._plans(problem, device)), key=lambda found: found[1])

    def estimate(self, problem: Any, plan: FirstPlan, device: Device, saved: int = 0) -> tuple[float, str]:
        """Return the estimated time of a plan that moves so many bytes less, and what bounds it: a unit, memory, or the latency of patch after patch."""
        guess, shape, planes = estimates_of(device), plan.shape, planes_of(problem)
        depth, size = plan.steps * STEP_BYTES, BYTES[problem.dtype]
        halo = chunks(problem, plan.channels) * plan.halo.rows * plan.halo.columns * plan.channels
        words = 2 if begins_within_words(problem, plan.channels) else 1
        read = words * shape.pixels * depth * (shape.columns // shape.warp_columns)
        read += planes * shape.columns * depth * (shape.pixels // shape.warp_pixels)
        passed_out = 2 * 4 * shape.pixels * shape.columns
        fetched = halo * size + (0 if plan.is_resident else planes * shape.columns * depth)
        cells = chunks(problem, plan.channels) * staging_loads(problem, plan.halo, plan.channels) * STAGING_THREADS
        operations = 2 * shape.pixels * shape.columns * depth // size * products_of(planes)
        on_one = 1 / device.multiprocessors
        units = {
            "tensor cores": operations / (guess.mma_share * getattr(device, rate_of(problem)) * on_one),
            "shared memory": (read + passed_out + cells * 4) / (guess.shared_share * 128 * device.clock),
            "staging": cells / 32 * STAGING_INSTRUCTIONS / (4 * device.clock),
            "L2": fetched / (guess.l2_share * guess.elements_share * device.l2_bandwidth * on_one),
        }
        tiles = -(-plan.patches * plan.column_tiles // device.multiprocessors)  # patches of the fullest multiprocessor
        turns = -(-tiles // plan.resident)
        latency = 0.0 if device.name == "simulated" else turns * (PATCH_SECONDS + plan.steps * guess.step_seconds * (0.3 if plan.is_resident else 1.0))
        memory = (moved_bytes(problem, planes) - saved) / (guess.memory_share * device.bandwidth)
        bounds = {word: tiles * seconds for word, seconds in units.items()} | {"latency": latency, "memory": memory}
        bound = max(bounds, key=lambda word: bounds[word])
        return bounds[bound] + guess.ramp_seconds + guess.launch_seconds, bound

    def instances(self) -> Iterator[str]:
        """Yield every name that `launch` can return."""
        for policy in EVERY_POLICY:
            for tile in tiles_for(policy):
                yield f"{self.name}<{policy}, {tile}>"


KERNEL = ConvFirst()
