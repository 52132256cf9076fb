"""conv_depthwise_large: filters of 9x9 to 31x31, one a channel, in NHWC; products with banded matrices on tensor cores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ..launch import Launch
from .base import DEVICES, GRID_LIMIT, INT32_ELEMENTS, PIECE, Device, Strides, default_strides
from .depthwise import MEMORY_SHARE, depthwise_declines, multiplier_of, normal_arguments, together_of, turns_of, window_of, x_bytes
from .gemm_cost import estimates_of, moved_bytes
from .mma_types import HALF_POLICIES, mma_declines, units_of
from .parameters import BYTES, CPP_TYPES, ConvArguments, LargeArguments, pointer_names
from .row_items import every_plan, resident_blocks

DTYPES = tuple(HALF_POLICIES)
LEAST_TAPS, MOST_TAPS = 9, 31  # of a filter's rows, and columns
WARP = 32
#: columns of a tile and of an octet of x, rows of a tile, and octets that the windows of a tile may hold, as in depthwise_large.cuh
OCTET, ROW_TILE, MOST_OCTETS = 8, 16, 5
ZERO_BYTES = 384
ITEM_BYTES = 80  # two items, each 10 numbers
#: name -> tiles of 8 columns, and of 16 rows, whose sums a warp holds
TILES = {"Columns56": (7, 2), "Columns32": (4, 2), "Columns16": (2, 4), "Columns8": (1, 6)}
MOST_PASS = max(columns for columns, _ in TILES.values())
REGISTERS = 128  # of a thread: what the launch bounds of 512 threads allow
#: channels of a block: whole sectors of a pixel, or half ones
CHANNELS = (16, 8)
#: the most tiles, and output rows, that a block stages x for at once, and the heights of strips that are tried
MOST_TILES, MOST_ROWS, STRIPS = 28, 256, (128, 64, 48, 32, 16)
#: what a tile's way through shared memory to y takes a block, and what it does before its first item: guesses
TURN_SECONDS, BLOCK_SECONDS = 0.15e-6, 3e-6
#: of what a slab of half sectors reads, the part that memory moves again for the other half, and how much quicker it must be to be taken: guesses
HALF_SECTORS, NARROW = 0.5, 1.25


@dataclass(frozen=True)
class Shape:
    """What a plan depends on, but for N and the device."""

    h: int
    w: int
    k: int
    p: int
    q: int
    r: int
    s: int
    pad_top: int
    pad_left: int

    @property
    def tiles(self) -> int:
        """Tiles of 8 output columns."""
        return -(-self.q // OCTET)


def shape_of(problem: Any) -> Shape:
    """Return the Shape of a convolution."""
    names = ("h", "w", "k", "p", "q", "r", "s")
    return Shape(**{name: getattr(problem, name) for name in names}, pad_top=problem.pads[0], pad_left=problem.pads[2])


@dataclass(frozen=True)
class Band:
    """Where octets of x begin, `shift` columns before the first window, and which of them hold any column of x."""

    shift: int
    octets: int  # of a tile: from the tile's own number on
    first: int
    end: int

    @classmethod
    def of(cls, shape: Shape, shift: int) -> Band:
        """Return the band of a shift."""
        begin = shape.pad_left + shift  # octet number i begins at column OCTET * i - begin
        return cls(shift, -(-(shape.s + OCTET - 1 + shift) // OCTET), max(0, begin // OCTET), max(0, -(-(shape.w + begin) // OCTET)))

    def products(self, tiles: int) -> int:
        """Return how many pairs of a tile and an octet under its windows there are."""
        return sum(max(0, min(tiles, self.end - i) - max(0, self.first - i)) for i in range(self.octets))

    def staged(self, tiles: int) -> int:
        """Return the most octets under the windows of so many neighbouring tiles."""
        return max(0, min(tiles + self.octets - 1, self.end - self.first))


@lru_cache(maxsize=1024)
def band_of(shape: Shape) -> Band:
    """Return the band of the fewest products, whatever N, the strips and the device: the order of sums follows from it."""
    found = (Band.of(shape, shift) for shift in range(OCTET))
    return min((band for band in found if band.octets <= MOST_OCTETS), key=lambda band: (band.products(shape.tiles), band.end - band.first, band.shift))


@dataclass(frozen=True)
class Plan:
    """What a block owns and stages, and how many blocks of a slab run together."""

    shape: Shape
    n: int
    channels: int
    images: int
    strip_rows: int
    group_tiles: int
    together: int = 1

    @property
    def band(self) -> Band:
        """Where octets begin."""
        return band_of(self.shape)

    @property
    def slabs(self) -> int:
        """Slabs that cover the channels."""
        return -(-self.shape.k // self.channels)

    @property
    def strips(self) -> int:
        """Strips of an image."""
        return -(-self.shape.p // self.strip_rows)

    @property
    def column_groups(self) -> int:
        """Groups of column tiles."""
        return -(-self.shape.tiles // self.group_tiles)

    @property
    def items(self) -> int:
        """Items of a slab."""
        return -(-self.n // self.images) * self.strips * self.column_groups

    @property
    def passes(self) -> int:
        """Parts of a group, each summed at a time."""
        return -(-self.group_tiles // MOST_PASS)

    @property
    def pass_tiles(self) -> int:
        """Tiles of a part."""
        return -(-self.group_tiles // self.passes)

    @property
    def tile(self) -> str:
        """Return the name of what a warp holds: the smallest for the tiles of a part."""
        return min((name for name in TILES if TILES[name][0] >= self.pass_tiles), key=lambda name: TILES[name][0])

    @property
    def rows(self) -> int:
        """Rows of x that the windows of a strip hold, at most."""
        return min(self.shape.h, self.strip_rows + self.shape.r - 1)

    @property
    def row_pieces(self) -> int:
        """Octets from a staged row to the next: an odd number."""
        return self.band.staged(self.group_tiles) | 1

    @property
    def plane_pieces(self) -> int:
        """Octets from a channel to the next."""
        return self.rows * self.row_pieces

    @property
    def image_pieces(self) -> int:
        """Octets from an image to the next: the first row of the next follows the last output row on the banks."""
        own = self.channels * self.plane_pieces + self.channels // 8 * 4
        return own + (self.strip_rows * self.row_pieces - own) % 8

    @property
    def shared_bytes(self) -> int:
        """Bytes of zeros, of planes, of bands, of two tiles of sums, of the terms, what warps tell each other, and two items."""
        band_bytes = PIECE * (1 + (self.shape.r + 1) // 2 * 2 * self.band.octets)
        own = band_bytes + 8 * (ROW_TILE * OCTET + WARP // self.channels) + 16
        return ZERO_BYTES + self.images * self.image_pieces * PIECE + self.channels * own + PIECE + ITEM_BYTES

    @property
    def threads(self) -> int:
        """Threads of a block: a warp for each channel."""
        return WARP * self.channels

    @property
    def blocks(self) -> int:
        """Blocks of the launch."""
        return self.together * self.slabs

    @property
    def row_tiles(self) -> int:
        """Tiles of 16 output rows of an item."""
        return -(-self.images * self.strip_rows // ROW_TILE)

    @property
    def is_narrow(self) -> bool:
        """Whether a block reads and writes half sectors."""
        return self.channels == CHANNELS[-1] < self.shape.k

    @property
    def read_factor(self) -> float:
        """What is read of x, as a multiple of it: rows of two strips, columns of two groups, and half sectors."""
        rows = self.strips * self.rows / max(1, self.shape.h)
        columns = self.column_groups * self.band.staged(self.group_tiles) / max(1, self.band.end - self.band.first)
        return max(1.0, rows) * max(1.0, columns) * (1 + HALF_SECTORS * self.is_narrow)


def resident_of(plan: Plan, device: Device) -> int:
    """Return how many blocks a multiprocessor holds at once."""
    return resident_blocks(plan, REGISTERS, device)


@dataclass(frozen=True)
class Estimate:
    """Seconds that each unit takes for all that it does, and all together."""

    units: dict[str, float]
    seconds: float

    @property
    def bound(self) -> str:
        """Return what bounds it."""
        return max(self.units, key=lambda word: self.units[word])


def unit_seconds(plan: Plan, device: Device) -> dict[str, float]:
    """Return what the products of an item take of their multiprocessor's tensor cores and shared memory."""
    guess, band = estimates_of(device), plan.band
    pairs, row_passes = -(-plan.shape.r // 2), -(-plan.row_tiles // TILES[plan.tile][1])
    products = band.products(plan.shape.tiles) / plan.column_groups
    multiply_adds = plan.channels * pairs * plan.row_tiles * products * ROW_TILE * OCTET * 2 * OCTET
    matrices = plan.row_tiles * plan.passes * band.staged(plan.pass_tiles) * 4
    words = row_passes * plan.passes * min(band.octets, band.staged(plan.pass_tiles) + plan.pass_tiles - 1) * 4
    read = plan.channels * pairs * 128 * (matrices + words)
    return {
        "tensor cores": 2 * multiply_adds / (guess.mma_share * device.half_flops / device.multiprocessors),
        "shared memory": read / (guess.shared_share * 128 * device.clock),
    }


def estimate(plan: Plan, device: Device, problem_bytes: int, size_of_x: int, weight_bytes: int) -> Estimate:
    """Return the time of a plan: items follow each other, and a block multiplies when the planes of one are there."""
    guess = estimates_of(device)
    units, waits = unit_seconds(plan, device), float(device.name != "simulated")
    multiply = max(units.values())
    memory_rate = MEMORY_SHARE * device.bandwidth
    size = plan.images * plan.rows * OCTET * plan.band.staged(plan.group_tiles) * plan.channels * 2
    alone = multiply + size * device.multiprocessors / memory_rate + waits * TURN_SECONDS * plan.row_tiles * plan.group_tiles
    resident = resident_of(plan, device)
    crowd = min(resident, -(-plan.blocks // device.multiprocessors))
    turns = turns_of(plan.items, plan.slabs, plan.together, resident, device)
    moved = problem_bytes + (plan.read_factor - 1) * size_of_x + (plan.together - 1) * weight_bytes
    found = {word: turns * crowd * seconds for word, seconds in units.items()}
    found |= {"memory": moved / memory_rate, "latency": turns * (alone - multiply)}
    total = max(turns * max(alone, crowd * multiply) + waits * BLOCK_SECONDS, found["memory"])
    return Estimate(found, total + guess.ramp_seconds + guess.launch_seconds)


def possible_plans(shape: Shape, n: int) -> Iterator[Plan]:
    """Yield the plans that are compared: channels, groups of tiles, strips of rows, and images where a strip is all of one."""
    tiles = {min(shape.tiles, count) for count in (MOST_TILES, 2 * MOST_PASS, MOST_PASS, 4, 2, 1)} | {-(-shape.tiles // 2)}
    heights = {shape.p, -(-shape.p // 2), *(min(shape.p, rows) for rows in STRIPS)}
    for channels in CHANNELS if shape.k > CHANNELS[-1] else CHANNELS[-1:]:
        for group in sorted((count for count in tiles if count <= MOST_TILES), reverse=True):
            for rows in sorted((rows for rows in heights if rows <= MOST_ROWS), reverse=True):
                most = min(n, MOST_ROWS // 2 // rows) if rows == shape.p else 1
                for images in sorted({max(1, min(most, count)) for count in (1, 2, 4, 9, most)}):
                    yield Plan(shape, n, channels, images, rows, group)


def most_blocks(problem: Any) -> int:
    """Return the blocks of the finest plan, one an item: a strip is a tile of rows, or half of an image that is no higher."""
    shape = shape_of(problem)
    strips = max(-(-shape.p // ROW_TILE), min(2, shape.p))
    return int(problem.n * strips * shape.tiles * -(-shape.k // CHANNELS[-1]))


@lru_cache(maxsize=1024)
def plan_for(shape: Shape, n: int, device: Device, problem_bytes: int, size_of_x: int, weight_bytes: int) -> Plan:
    """Return the plan of the least estimated time among those that fit a block of the device; equal times go to fewer bytes read."""
    found: list[tuple[float, float, int, int, Plan]] = []
    for plan in possible_plans(shape, n):
        if plan.shared_bytes <= device.shared_per_block:
            plan = replace(plan, together=together_of(plan.items, plan.slabs, resident_of(plan, device), device))
            seconds = estimate(plan, device, problem_bytes, size_of_x, weight_bytes).seconds
            seconds *= NARROW if plan.is_narrow else 1.0
            found.append((seconds, plan.read_factor, plan.shared_bytes, len(found), plan))
    return min(found)[-1]


def bytes_of(problem: Any) -> tuple[int, int, int]:
    """Return the bytes of all operands, of x, and of the weights."""
    return moved_bytes(problem), x_bytes(problem), problem.k * problem.r * problem.s * BYTES[problem.dtype]


def plan_of(problem: Any, device: Device) -> Plan:
    """Return the plan for a device."""
    return plan_for(shape_of(problem), problem.n, device, *bytes_of(problem))


def large_arguments(problem: Any, strides: Strides, plan: Plan) -> bytes:
    """Return the bytes of LargeArguments, pointers zero."""
    counts = ("items", "slabs", "channels", "images", "strips", "strip_rows", "column_groups", "group_tiles", "pass_tiles")
    pitches = ("row_pieces", "plane_pieces", "image_pieces")
    fields = {name: getattr(plan, name) for name in counts + pitches}
    band = plan.band
    return bytes(
        LargeArguments(conv=normal_arguments(problem, strides), shift=band.shift, octets=band.octets, first_octet=band.first, end_octet=band.end, **fields)
    )


class ConvDepthwiseLarge:
    """Description of csrc/include/atrous/kernels/conv_depthwise_large.cuh."""

    name = "conv_depthwise_large"
    operation = "conv2d"
    header = "atrous/kernels/conv_depthwise_large.cuh"

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take the convolution, or None."""
        if reason := depthwise_declines(problem, "NHWC", "conv_depthwise_planes"):
            return reason
        if problem.dtype not in DTYPES:
            return f"x is {problem.dtype}, and it takes {', '.join(DTYPES)}"
        if reason := mma_declines(problem, device):
            return reason
        if multiplier_of(problem) != 1:
            return f"there are {multiplier_of(problem)} filters a channel, and it takes one"
        if not all(LEAST_TAPS <= taps <= MOST_TAPS for taps in (problem.r, problem.s)):
            return f"the filter is {problem.r}x{problem.s}, and it takes {LEAST_TAPS}x{LEAST_TAPS} to {MOST_TAPS}x{MOST_TAPS}"
        window = window_of(problem)
        if (window.stride, window.dilation) != ((1, 1), (1, 1)):
            return f"the stride is {problem.stride} and the dilation {problem.dilation}, and it takes 1"
        if problem.padding_mode != "zeros":
            return f"the padding mode is '{problem.padding_mode}', and it takes zeros"
        _, _, left, right = problem.pads
        if problem.w + max(0, left) + max(0, right) > INT32_ELEMENTS - OCTET:
            return f"W = {problem.w} with padding {problem.pads} passes 2^31 - 1 by the end of its last octet, and it counts columns in 32 bits"
        most = most_blocks(problem)
        return f"{most} blocks, one a tile, are more than a grid's {GRID_LIMIT}" if most > GRID_LIMIT else None

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the launch for operands of these strides (default: contiguous) on a device (default: the simulated one)."""
        return self._launch(problem, strides, plan_of(problem, device or DEVICES["simulated"]))

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the launches for all devices, and each with a block for every item: all give the same bits."""
        for plan in every_plan(plan_of, problem):
            yield self._launch(problem, strides, plan)

    def _launch(self, problem: Any, strides: Strides | None, plan: Plan) -> Launch:
        return Launch(
            name=f"{self.name}<{CPP_TYPES[problem.dtype]}, {plan.tile}>",
            header=self.header,
            grid=(plan.blocks, 1, 1),
            block=(plan.threads, 1, 1),
            shared_bytes=plan.shared_bytes,
            parameters=large_arguments(problem, strides or default_strides(problem), plan),
            pointers=pointer_names(ConvArguments),
        )

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time."""
        return estimate(plan_of(problem, device), device, *bytes_of(problem)).seconds

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        plan = plan_of(problem, device)
        items = f"{plan.images} images, strips of {plan.strip_rows} rows, groups of {plan.group_tiles * OCTET} columns"
        bound = estimate(plan, device, *bytes_of(problem)).bound
        return f"{units_of(problem, device)} with {plan.tile}, {plan.blocks} blocks of {plan.channels} channels, {items}, bound by {bound}"

    def instances(self) -> Iterator[str]:
        """Yield every name that `variants` can give."""
        for dtype in DTYPES:
            for tile in TILES:
                yield f"{self.name}<{CPP_TYPES[dtype]}, {tile}>"


KERNEL = ConvDepthwiseLarge()
