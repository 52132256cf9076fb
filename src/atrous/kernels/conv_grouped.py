"""conv_grouped: 4 to 31 channels a group in NHWC on tensor cores; rows of x stream through shared memory, and each is read once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..launch import Launch
from .base import DEVICES, GRID_LIMIT, INT32_ELEMENTS, Device, Strides, default_strides
from .conv_depthwise import WARP
from .depthwise import MEMORY_SHARE, normal_arguments, turns_of, x_bytes
from .gemm_cost import estimates_of, moved_bytes
from .grouped_rows import AHEAD, BLOCKS, CHANNELS, MOST_WARPS, PRODUCT_COLUMNS, WINDOW, Shape, Tile, shape_of, tiles_of
from .mma_types import HALF_POLICIES, mma_declines, policy_of, units_of
from .packing import PackedRows, needs_packing, pack_launch, packed_rows
from .parameters import ConvArguments, GroupedArguments, pointer_names
from .row_items import Plan, every_plan, item_fields, most_items, plan_among, resident_blocks

FEWEST_CHANNELS, MOST_CHANNELS = 4, 31
#: instructions of a warp for 16 columns of a tile beside products and their loads: a quarter of a step's copies, of its way out and of its barrier;
#: counted by hand, no device has confirmed it
OTHER_INSTRUCTIONS = 65
#: what a step of one block takes at least: a barrier, a row from shared memory, products, an output row: a guess
STEP_SECONDS = 0.6e-6


def registers_of(tile: Tile) -> int:
    """Return the registers of a thread that the launch bounds allow."""
    return min(255, 65536 // (BLOCKS[tile.shape.kind] * MOST_WARPS * WARP) // 8 * 8)


def resident_of(tile: Tile, device: Device) -> int:
    """Return how many blocks a multiprocessor holds at once."""
    return resident_blocks(tile, registers_of(tile), device)


def plan_of(problem: Any, device: Device) -> Plan[Tile]:
    """Return the plan for a device: large blocks and long strips, unless that leaves multiprocessors without a block."""
    return plan_among(tiles_of(shape_of(problem)), problem, resident_of, device)


def rows_of(problem: Any, shape: Shape) -> PackedRows:
    """Return the layout of the packed weights: a filter row of 4 channels a group is one run, with room for a fourth tap."""
    return packed_rows(problem, whole_filter_rows=shape.halves)


def grouped_arguments(problem: Any, strides: Strides, plan: Plan[Tile], weight_row: int) -> bytes:
    """Return the bytes of GroupedArguments, pointers zero."""
    tile = plan.tile
    return bytes(
        GroupedArguments(
            conv=normal_arguments(problem, strides),
            weight_row=weight_row,
            group_units=tile.shape.group_units,
            column_stride=tile.shape.columns.stride,
            **item_fields(plan),
            **{name: getattr(tile, name) for name in ("slab_tiles", "lead", "cell_pieces", "bank_bits", "plane_cells", "front_bytes")},
        )
    )


class ConvGrouped:
    """Description of csrc/include/atrous/kernels/conv_grouped.cuh."""

    name = "conv_grouped"
    operation = "conv2d"
    header = "atrous/kernels/conv_grouped.cuh"

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take the convolution, or None."""
        if problem.dtype not in HALF_POLICIES:
            return f"x is {problem.dtype}, and it takes {', '.join(HALF_POLICIES)}"
        if reason := mma_declines(problem, device):
            return reason
        channels = problem.c // problem.groups
        if problem.groups == 1 or not FEWEST_CHANNELS <= channels <= MOST_CHANNELS:
            words = f"there are {problem.groups} groups of {channels} channels" if problem.groups > 1 else "there is one group"
            return f"{words}, and it takes two groups or more, of {FEWEST_CHANNELS} to {MOST_CHANNELS} channels"
        if problem.k == 0:
            return "K is 0, and it has nothing to share out"
        if (problem.r, problem.s) != (WINDOW, WINDOW):
            return f"the filter is {problem.r}x{problem.s}, and it takes {WINDOW}x{WINDOW}"
        if problem.layout != "NHWC":
            return f"the layout is {problem.layout}, and it takes NHWC"
        return self._too_large(problem)

    def _too_large(self, problem: Any) -> str | None:
        """Return which stride or size is beyond its rows or its counters, or None."""
        shape = shape_of(problem)
        if (strides := (shape.rows.stride, shape.columns.stride)) not in ((1, 1), (1, 2), (2, 1), (2, 2)):
            return f"outputs whose windows share cells are {strides} of the window's cells apart, and it takes strides of 1 and 2"
        top, bottom, left, right = problem.pads
        if max(problem.h + max(0, top) + max(0, bottom), problem.w + max(0, left) + max(0, right)) > INT32_ELEMENTS:
            return f"H = {problem.h} and W = {problem.w} with padding {problem.pads} pass 2^31 - 1, and it counts cells of an axis in 32 bits"
        if max(problem.c, problem.k) > INT32_ELEMENTS - 2**16:
            return f"C is {problem.c} and K is {problem.k}, and it counts channels in 32 bits"
        most = most_items(tiles_of(shape), problem)
        return f"{most} blocks, one a row, are more than a grid's {GRID_LIMIT}" if most > GRID_LIMIT else None

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the launch for operands of these strides (default: contiguous) on a device (default: the simulated one)."""
        return self._launch(problem, strides, plan_of(problem, device or DEVICES["simulated"]))

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the launches for all devices, and each with a block for every item: all give the same bits."""
        for plan in every_plan(plan_of, problem):
            yield self._launch(problem, strides, plan)

    def _launch(self, problem: Any, strides: Strides | None, plan: Plan[Tile]) -> Launch:
        strides, shape = strides or default_strides(problem), plan.tile.shape
        rows = rows_of(problem, shape)
        before = (pack_launch(rows, strides),) if needs_packing(rows, strides) else ()
        weight = "packed_weight" if before else "weight"
        return Launch(
            name=f"{self.name}<{policy_of(problem)}, {shape.kind}, {shape.rows.stride}>",
            header=self.header,
            grid=(plan.blocks, 1, 1),
            block=(plan.tile.threads, 1, 1),
            shared_bytes=plan.tile.shared_bytes,
            parameters=grouped_arguments(problem, strides, plan, rows.row_bytes),
            pointers=tuple(weight if name == "weight" else name for name in pointer_names(ConvArguments)),
            scratch=((weight, rows.bytes),) if before else (),
            before=before,
        )

    def _bounds(self, problem: Any, plan: Plan[Tile], device: Device) -> dict[str, float]:
        """Return the seconds that each of memory, the units of a multiprocessor, and latency takes alone."""
        tile, shape, guess = plan.tile, plan.tile.shape, estimates_of(device)
        rows, columns = shape.rows, shape.columns
        again = (plan.strips - 1) * (WINDOW - rows.stride) / ((rows.outputs - 1) * rows.stride + WINDOW)
        staged = int(x_bytes(problem) * (1 + again) * tile.x_factor)
        products = problem.n * problem.p * columns.phases * tile.row_products
        loaded = rows.stride * (4 * 256 if shape.halves else 2 * 128 * shape.row_pieces)  # bytes of x for 16 columns of a tile
        passed_out = 2 * 4 * PRODUCT_COLUMNS * CHANNELS
        issued = shape.products + loaded // 256 + OTHER_INSTRUCTIONS
        on_all, steps = device.multiprocessors * device.clock, plan.strip_rows + tile.lead
        turns = turns_of(plan.items, tile.slabs, plan.together, resident_of(tile, device), device)
        return {
            "memory": (moved_bytes(problem) - x_bytes(problem) + staged) / (MEMORY_SHARE * device.bandwidth),
            "tensor cores": products * shape.products * 2 * 16 * 8 * 16 / (guess.mma_share * device.half_flops),
            "shared memory": (products * (loaded + passed_out) + staged) / (guess.shared_share * 128 * on_all),
            "instructions": products * issued / (4 * on_all),
            "latency": 0.0 if device.name == "simulated" else turns * steps * STEP_SECONDS,
        }

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time."""
        guess = estimates_of(device)
        return max(self._bounds(problem, plan_of(problem, device), device).values()) + guess.ramp_seconds + guess.launch_seconds

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        plan = plan_of(problem, device)
        bounds = self._bounds(problem, plan, device)
        tile, bound = plan.tile, max(bounds, key=lambda word: bounds[word])
        blocks = f"{plan.blocks} blocks of {tile.columns} columns x {tile.slab_tiles * CHANNELS} channels, strips of {plan.strip_rows} rows"
        return f"memory ({device.bandwidth / 1e12:.3g} TB/s) or {units_of(problem, device)} with {tile.shape.kind}, {blocks}, bound by {bound}"

    def instances(self) -> Iterator[str]:
        """Yield every name that `variants` can give."""
        for policy in HALF_POLICIES.values():
            for kind in BLOCKS:
                for stride in AHEAD:
                    yield f"{self.name}<{policy}, {kind}, {stride}>"


KERNEL = ConvGrouped()
