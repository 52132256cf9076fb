"""conv_depthwise: one channel a group in NHWC; rows of x stream through shared memory, and each is read once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..launch import Launch
from .base import DEVICES, GRID_LIMIT, PIECE, Device, Strides, default_strides
from .depthwise import (
    ANY,
    DTYPES,
    KNOWN,
    MOST_SHARED_BYTES,
    SHARED_BYTES,
    WINDOWS,
    Work,
    depthwise_declines,
    multiplier_of,
    normal_arguments,
    turns_of,
    window_of,
    x_bytes,
)
from .gemm_cost import moved_bytes
from .parameters import BYTES, CPP_TYPES, ConvArguments, DepthwiseArguments, pointer_names
from .row_items import Axis, Plan, every_plan, item_fields, most_items, plan_among, resident_blocks

WARP = 32
#: output columns of a thread, and its channels
COLUMNS, CHANNELS = 4, 4
#: window -> threads of a block, registers of a thread that the launch bounds allow, and chunks under way, as in depthwise_window.cuh
MOST_THREADS = {window: 256 if window == ANY else 128 for window in WINDOWS}
REGISTERS = {window: 168 if window in ("Window3", "Window5Stride2") else 256 if window in ("Window5", "Window7") else 128 for window in WINDOWS}
AHEAD = {window: 2 if "Stride2" in window or window == ANY else 3 for window in WINDOWS}
#: threads that share a cell: 8 neighbours read weights that follow each other, or those of at most 8, whatever thread they begin with
CELL_THREADS = (1, 2, 3, 4, 5, 6, 7, 8, 16, 24, 32, 48, 64)
MOST_LANES = 32
#: what a block of few threads loses, one that takes less of a cell than memory gives at a time, and an idle thread beside a byte
#: moved in vain: guesses
FEW_THREADS, NARROW, IDLE_WEIGHT = 0.1, 0.05, 0.25
WHOLE_RUN = 64  # bytes
#: window -> of all instructions of a step, counted by hand, the share of those that multiply, of 16-bit and of 32-bit elements; of AnyWindow,
#: and with a multiplier, what shared memory leaves of LANES_A_CLOCK products. No device has confirmed it
SHARES = {
    "Window3": (0.36, 0.35), "Window3Stride2": (0.28, 0.25), "Window5": (0.56, 0.56), "Window5Stride2": (0.49, 0.45), "Window7": (0.67, 0.67),
    ANY: (0.33, 0.20),
}  # fmt: skip
MULTIPLIER_SHARE = 0.17
#: what a step of one block takes at least: a barrier, a row from shared memory, an output row: a guess
STEP_SECONDS = 0.4e-6


@dataclass(frozen=True)
class Shape:
    """What a tile depends on: neither N nor the device."""

    rows: Axis
    columns: Axis
    r: int
    s: int
    k: int
    multiplier: int
    size: int  # bytes of an element of x
    window: str


def shape_of(problem: Any) -> Shape:
    """Return the Shape of a convolution."""
    window, multiplier = window_of(problem), multiplier_of(problem)
    rows = Axis.of(problem.p, window.stride[0], window.dilation[0])
    columns = Axis.of(problem.q, window.stride[1], window.dilation[1])
    square = problem.r == problem.s and rows.stride == columns.stride and multiplier == 1
    known = KNOWN.get((problem.r, rows.stride), ANY) if square else ANY
    return Shape(rows, columns, problem.r, problem.s, problem.k, multiplier, BYTES[problem.dtype], known)


@dataclass(frozen=True)
class Tile:
    """What a block owns of an output row, and what it stages for it."""

    shape: Shape
    lanes: int
    column_lanes: int

    @property
    def channels(self) -> int:
        """Channels of a piece."""
        return PIECE // self.shape.size

    @property
    def shares(self) -> int:
        """Threads that share a piece."""
        return self.channels // CHANNELS

    @property
    def slabs(self) -> int:
        """Slabs that cover the output channels."""
        return -(-self.shape.k // (self.lanes * self.channels))

    @property
    def columns(self) -> int:
        """Output columns."""
        return self.column_lanes * COLUMNS

    @property
    def column_tiles(self) -> int:
        """Tiles that cover the columns of a phase."""
        return -(-self.shape.columns.outputs // self.columns)

    @property
    def threads(self) -> int:
        """Threads of a block: whole warps."""
        return -(-self.lanes * self.shares * self.column_lanes // WARP) * WARP

    @property
    def cell_lanes(self) -> int:
        """Pieces of x that hold the channels of a slab."""
        if self.shape.multiplier == 1:
            return self.lanes
        own, each = self.lanes * self.channels, self.shape.multiplier * self.channels
        if own % each == 0:
            return own // each
        return min((own - 1) // each + 2, -(-self.shape.k // each))

    @property
    def cells(self) -> int:
        """Cells of a staged row."""
        return (self.columns - 1) * self.shape.columns.stride + self.shape.s

    @property
    def group_cells(self) -> int:
        """Cells from thread to thread."""
        return COLUMNS * self.shape.columns.stride

    @property
    def group_pieces(self) -> int:
        """Pieces from thread to thread: `lanes` modulo 8, so that a thread's bytes are its own number modulo those of all banks."""
        own = self.group_cells * self.cell_lanes
        return own + (self.lanes - own) % 8

    @property
    def row_pieces(self) -> int:
        """Pieces of a staged row."""
        return -(-self.cells // self.group_cells) * self.group_pieces

    @property
    def chunk_rows(self) -> int:
        """Rows of a chunk."""
        return min(self.shape.rows.stride, self.shape.r)

    @property
    def lead(self) -> int:
        """Chunks before the one that completes an output row."""
        return -(-self.shape.r // self.chunk_rows) - 1

    @property
    def ring_chunks(self) -> int:
        """Chunks of the ring: any window is read when all of its rows are there."""
        return AHEAD[self.shape.window] + 1 + (self.lead if self.shape.window == ANY else 0)

    @property
    def shared_bytes(self) -> int:
        """Bytes of the ring, of the weights and of the terms."""
        own = self.lanes * self.channels
        return self.ring_chunks * self.chunk_rows * self.row_pieces * PIECE + 4 * own * (self.shape.r * self.shape.s + 2)

    @property
    def x_factor(self) -> float:
        """What is read of a row of x, as a multiple of the row: cells of two tiles, and sectors of two slabs."""
        needed = (self.shape.columns.outputs - 1) * self.shape.columns.stride + self.shape.s
        return (needed + (self.column_tiles - 1) * max(0, self.shape.s - self.shape.columns.stride)) / needed * self.sector_factor

    @property
    def sector_factor(self) -> float:
        """How much more the sectors of a cell's pieces are than they."""
        return 1.0 if self.slabs == 1 or self.lanes % 2 == 0 else (self.lanes + 1) / self.lanes

    @property
    def cost(self) -> float:
        """Bytes moved in vain, idle threads, and few of them."""
        shape = self.shape
        useful = -(-shape.k // CHANNELS) * shape.columns.outputs / COLUMNS
        idle = self.slabs * self.column_tiles * self.threads / useful - 1
        losses = FEW_THREADS * (self.threads < 3 * WARP) + NARROW * (self.slabs > 1 and self.lanes * PIECE < WHOLE_RUN)
        return (self.x_factor + self.sector_factor) / 2 + IDLE_WEIGHT * idle + losses


@lru_cache(maxsize=4096)
def tile_of(shape: Shape, threads: int) -> Tile | None:
    """Return the tile of the least cost of at most so many threads whose shared memory two blocks have, else one has; or None."""
    shares = PIECE // shape.size // CHANNELS
    pieces, units = -(-shape.k // (PIECE // shape.size)), -(-shape.columns.outputs // COLUMNS)
    possible = [cell // shares for cell in CELL_THREADS if cell % shares == 0 and cell <= min(threads, MOST_LANES * shares)]
    enough = next((lanes for lanes in possible if lanes >= pieces), possible[-1])
    for most in (SHARED_BYTES, MOST_SHARED_BYTES):
        found = []
        for lanes in (lanes for lanes in possible if lanes <= enough):
            widest = min(units, threads // (lanes * shares))
            while widest > 1 and Tile(shape, lanes, widest).shared_bytes > most:
                widest -= 1
            tile = Tile(shape, lanes, -(-units // -(-units // widest)))  # tiles of equal width
            if tile.shared_bytes <= most:
                found.append(tile)
        if found:
            return min(found, key=lambda tile: (round(tile.cost, 6), -tile.lanes))
    return None


def resident_of(tile: Tile, device: Device) -> int:
    """Return how many blocks a multiprocessor holds at once."""
    return resident_blocks(tile, REGISTERS[tile.shape.window], device)


def share_of(shape: Shape) -> float:
    """Return the share of LANES_A_CLOCK that the products reach."""
    return MULTIPLIER_SHARE if shape.multiplier > 1 else SHARES[shape.window][shape.size == 4]


def tiles_of(shape: Shape) -> list[Tile]:
    """Return the tiles of blocks of most, half and a quarter of the threads, the largest first."""
    most = MOST_THREADS[shape.window]
    return [tile for threads in (most, most // 2, most // 4) if (tile := tile_of(shape, threads)) is not None]


def plan_of(problem: Any, device: Device) -> Plan[Tile]:
    """Return the plan for a device: large blocks and long strips, unless that leaves multiprocessors without a block."""
    return plan_among(tiles_of(shape_of(problem)), problem, resident_of, device)


def depthwise_arguments(problem: Any, strides: Strides, plan: Plan[Tile]) -> bytes:
    """Return the bytes of DepthwiseArguments, pointers zero."""
    tile = plan.tile
    names = ("lanes", "cell_lanes", "chunk_rows", "lead", "ring_chunks", "row_pieces", "group_cells", "group_pieces")
    return bytes(
        DepthwiseArguments(
            conv=normal_arguments(problem, strides),
            multiplier=tile.shape.multiplier,
            row_stride=tile.shape.rows.stride,
            column_stride=tile.shape.columns.stride,
            **item_fields(plan),
            **{name: getattr(tile, name) for name in names},
        )
    )


class ConvDepthwise:
    """Description of csrc/include/atrous/kernels/conv_depthwise.cuh."""

    name = "conv_depthwise"
    operation = "conv2d"
    header = "atrous/kernels/conv_depthwise.cuh"

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take the convolution, or None."""
        if reason := depthwise_declines(problem, "NHWC", "conv_depthwise_planes"):
            return reason
        tiles = tiles_of(shape_of(problem))
        if not tiles:
            return f"rows for windows of {problem.r}x{problem.s} with stride {problem.stride} and their weights pass {MOST_SHARED_BYTES} bytes of shared memory"
        most = most_items(tiles, problem)
        return f"{most} blocks, one a row, are more than a grid's {GRID_LIMIT}" if most > GRID_LIMIT else None

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the launch for operands of these strides (default: contiguous) on a device (default: the simulated one)."""
        return self._launch(problem, strides, plan_of(problem, device or DEVICES["simulated"]))

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the launches for all devices, and each with a block for every item: all give the same bits."""
        for plan in every_plan(plan_of, problem):
            yield self._launch(problem, strides, plan)

    def _launch(self, problem: Any, strides: Strides | None, plan: Plan[Tile]) -> Launch:
        return Launch(
            name=f"{self.name}<{CPP_TYPES[problem.dtype]}, {plan.tile.shape.window}>",
            header=self.header,
            grid=(plan.blocks, 1, 1),
            block=(plan.tile.threads, 1, 1),
            shared_bytes=plan.tile.shared_bytes,
            parameters=depthwise_arguments(problem, strides or default_strides(problem), plan),
            pointers=pointer_names(ConvArguments),
        )

    def _work(self, problem: Any, plan: Plan[Tile], device: Device) -> Work:
        tile, rows = plan.tile, plan.tile.shape.rows
        needed = (rows.outputs - 1) * rows.stride + tile.shape.r
        again = (plan.strips - 1) * max(0, tile.shape.r - rows.stride) / needed
        moved = moved_bytes(problem) + int(x_bytes(problem) * ((1 + again) * tile.x_factor - 1))
        turns = turns_of(plan.items, tile.slabs, plan.together, resident_of(tile, device), device)
        steps = turns * (plan.strip_rows + tile.lead)
        return Work(moved, problem.flops, steps * STEP_SECONDS)

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time."""
        plan = plan_of(problem, device)
        return self._work(problem, plan, device).seconds(device, share_of(plan.tile.shape))

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        plan = plan_of(problem, device)
        tile, window = plan.tile, plan.tile.shape.window
        blocks = f"{plan.blocks} blocks of {tile.columns} columns x {tile.lanes * tile.channels} channels, strips of {plan.strip_rows} rows"
        bound = self._work(problem, plan, device).bound(device, share_of(tile.shape))
        return f"memory ({device.bandwidth / 1e12:.3g} TB/s) or the ordinary units with {window}, {blocks}, bound by {bound}"

    def instances(self) -> Iterator[str]:
        """Yield every name that `variants` can give."""
        for dtype in DTYPES:
            for window in WINDOWS:
                yield f"{self.name}<{CPP_TYPES[dtype]}, {window}>"


KERNEL = ConvDepthwise()
