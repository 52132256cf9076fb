"""The cost model of the tensor-core convolutions: how gemm_k is cut, which tile runs, and how long that takes.

Everything here is arithmetic on sizes. The order of a sum follows from `segments_of` alone, which knows neither N nor the
device; tiles and splitting follow from `pick`, which may ask for both, since all of them add in the same order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .base import PIECE, Device
from .mma_types import planes_of, products_of, rate_of
from .parameters import BYTES

STEP_BYTES = 64  # of gemm_k, which a block copies and multiplies between two barriers
STAGED_BYTES = 49152  # of shared memory for the stages of a block, as kGemmStages in gemm_tile.cuh counts them
#: a segment shorter than 8 steps spends more on filling the stages and on the partial sums than a further block brings
LEAST_SEGMENT_STEPS = 8
#: 16 partial sums of an output are 64 bytes, twice what a step of a 64 x 64 tile reads for it: more do not pay
MOST_SEGMENTS = 16
#: tiles of an image that keep any GPU of the list busy with a batch of one: about one for each multiprocessor
ENOUGH_TILES = 128
SPLIT_TILE = (64, 64)  # pixels and columns that those tiles are counted in


@dataclass(frozen=True)
class Tile:
    """What a block owns: output pixels by output channels, and the part of each of its warps."""

    pixels: int
    columns: int
    warp_pixels: int
    warp_columns: int
    taken: int = 0  # registers of a thread, where ptxas has been asked; 0: estimate them

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return 32 * (self.pixels // self.warp_pixels) * (self.columns // self.warp_columns)

    def staged_bytes(self, planes: int) -> int:
        """Return the bytes of all stages of x and of weights: 4 stages where they fit STAGED_BYTES, else 3."""
        stage = STEP_BYTES * (self.pixels + planes * self.columns)
        return stage * (4 if 4 * stage <= STAGED_BYTES else 3)

    def shared_bytes(self, planes: int) -> int:
        """Return the bytes of a block: its stages, with 16 a pixel beside them for where it is read and written."""
        return self.staged_bytes(planes) + 16 * self.pixels

    def registers(self, planes: int, segments: int) -> int:
        """Return a thread's registers; an estimate of them counts sums (two sets where segments add up), fragments, addresses."""
        if self.taken:
            return self.taken
        sums = self.warp_pixels * self.warp_columns // 32
        fragments = self.warp_pixels // 4 + planes * self.warp_columns // 4
        return min(255, sums * (2 if segments > 1 or planes > 1 else 1) + 2 * fragments + 48)


#: in the order in which equal times are decided: the largest first, which reads least
TILES = {
    "Tile128x128": Tile(128, 128, 64, 32),
    "Tile128x64": Tile(128, 64, 64, 32),
    "Tile64x64": Tile(64, 64, 32, 32),
    "Tile64x32": Tile(64, 32, 32, 16),
}
#: the large tiles with a second set of sums, for whole launches of 16-bit elements whose gemm_k has segments; registers: the most of
#: both loaders on sm_80, 86 and 90a
SEGMENT_TILES = {
    "SegmentTile128x128": Tile(128, 128, 64, 32, taken=238),
    "SegmentTile128x64": Tile(128, 64, 64, 32, taken=244),
}
EVERY_TILE = TILES | SEGMENT_TILES


@dataclass(frozen=True)
class Estimates:
    """What a data sheet does not say. No device has confirmed any of these numbers."""

    mma_share: float = 0.85  # of the tensor rate, in a loop that does nothing but ldmatrix and mma.sync
    shared_share: float = 0.85  # of 128 bytes a clock
    l2_share: float = 0.7
    memory_share: float = 0.8
    step_seconds: float = 0.2e-6  # the least a step takes a block: L2's latency over the stages under way, a barrier, ldmatrix to mma
    ramp_seconds: float = 1.5e-6  # first loads and last stores of a wave, which nothing overlaps
    launch_seconds: float = 2.5e-6
    follow_seconds: float = 1.5e-6  # of a launch that waits for another on the same stream
    elements_share: float = 0.5  # of L2's rate where x comes in single elements and not in pieces of 16 bytes


#: architecture -> estimates, the one table of this family. On sm_90 mma.sync runs at about 0.6 of what wgmma does; sm_100 doubles
#: tcgen05 alone, so its share is about half of that.
ESTIMATES = {
    "sm_80": Estimates(),
    "sm_86": Estimates(step_seconds=0.17e-6),
    "sm_89": Estimates(step_seconds=0.14e-6),
    "sm_90": Estimates(mma_share=0.6 * 0.9, l2_share=0.9, step_seconds=0.17e-6),
    "sm_100": Estimates(mma_share=0.3 * 0.9, l2_share=0.9, step_seconds=0.17e-6),
    "sm_120": Estimates(step_seconds=0.14e-6),
    "simulated": Estimates(step_seconds=0.0, ramp_seconds=0.0),
}


@dataclass(frozen=True)
class GemmShape:
    """A convolution as this family computes it: for each group, [pixels, gemm_k] times [columns, gemm_k] transposed."""

    pixels: int  # gemm_m = N * P * Q
    columns: int  # gemm_n = K/G
    groups: int
    depth_bytes: int  # of a packed row: gemm_k in elements of x, every run padded to 16 bytes
    element_bytes: int
    rate: str  # the rate of Device that bounds it: "half_flops", "tf32_flops" or "int8_ops"
    planes: int = 1  # of weights: 2 for float32 by three products of tf32
    segments: int = 1
    moved_bytes: int = 0  # x, weight, residual and y, each once
    elements: bool = False  # x comes in single elements

    @property
    def steps(self) -> int:
        """Steps of gemm_k, the last of which may be partly empty."""
        return -(-self.depth_bytes // STEP_BYTES)

    @property
    def products(self) -> int:
        """Products of the tensor cores for one multiply-add."""
        return products_of(self.planes)


@dataclass(frozen=True)
class Pick:
    """A tile, whether its segments are blocks of their own, and the estimated time."""

    tile: str
    split: bool
    seconds: float
    bound: str  # "tensor cores", "shared memory", "L2", "memory" or "latency"
    blocks: int
    waves: float


def row_bytes(problem: Any) -> int:
    """Return the bytes of a filter's row: for each tap the channels of its group, padded to 16 bytes."""
    channels = problem.c // problem.groups * BYTES[problem.dtype]
    return problem.r * problem.s * -(-channels // PIECE) * PIECE


def segments(pixels: int, columns: int, groups: int, steps: int) -> int:
    """Return how many parts gemm_k is cut into: each is summed from 0, and the parts are added in order.

    `pixels` are those of one image, never of a batch: an image's bits do not depend on its company. Only a layer whose
    single image has few tiles and whose gemm_k is long is cut, for its segments may then run side by side.
    """
    tiles = groups * -(-pixels // SPLIT_TILE[0]) * -(-columns // SPLIT_TILE[1])
    wanted = min(MOST_SEGMENTS, ENOUGH_TILES // max(1, tiles), steps // LEAST_SEGMENT_STEPS)
    if wanted < 2:
        return 1
    return -(-steps // -(-steps // wanted))  # what is left when all but the last have equally many steps


def segment_steps(count: int, steps: int) -> int:
    """Return the steps of every segment but the last, which may have fewer."""
    return -(-steps // max(1, count))


def segments_of(problem: Any) -> int:
    """Return the segments of a convolution's gemm_k (`segments`); neither N nor the device is asked."""
    steps = -(-row_bytes(problem) // STEP_BYTES)
    return segments(problem.p * problem.q, problem.k // problem.groups, problem.groups, steps)


def moved_bytes(problem: Any, planes: int = 1) -> int:
    """Return the bytes of x, of so many planes of weights, residual and y, each moved once."""
    inputs = math.prod(problem.x_shape) + planes * math.prod(problem.weight_shape)
    return inputs * BYTES[problem.dtype] + math.prod(problem.y_shape) * BYTES[problem.out_dtype] * (1 + problem.residual)


def shape_of(problem: Any, elements: bool = False) -> GemmShape:
    """Return a convolution's sizes for the model; `elements` says that x cannot be read in pieces of 16 bytes."""
    return GemmShape(
        pixels=problem.n * problem.p * problem.q,
        columns=problem.k // problem.groups,
        groups=problem.groups,
        depth_bytes=row_bytes(problem),
        element_bytes=BYTES[problem.dtype],
        rate=rate_of(problem),
        planes=planes_of(problem),
        segments=segments_of(problem),
        moved_bytes=moved_bytes(problem, planes_of(problem)),
        elements=elements,
    )


def estimates_of(device: Device) -> Estimates:
    """Return the estimates of a device's architecture."""
    return ESTIMATES.get(device.name, ESTIMATES["sm_80"])


def resident_blocks(shape: GemmShape, tile: Tile, device: Device) -> int:
    """Return how many blocks of a tile a multiprocessor holds at once; 0 where not even one fits."""
    shared = tile.shared_bytes(shape.planes)
    if shared > device.shared_per_block:
        return 0
    by_shared = device.shared_per_multiprocessor // (shared + 1024)  # a block takes 1 KB more than it asked for
    by_registers = device.registers_per_multiprocessor // (tile.threads * tile.registers(shape.planes, shape.segments))
    return max(1, min(by_shared, by_registers, device.threads_per_multiprocessor // tile.threads, 32))


def step_seconds(shape: GemmShape, tile: Tile, device: Device) -> dict[str, float]:
    """Return what a step of one block takes of its multiprocessor's tensor cores, shared memory and share of L2."""
    guess = estimates_of(device)
    multiply_adds = tile.pixels * tile.columns * (STEP_BYTES // shape.element_bytes) * shape.products
    written = STEP_BYTES * (tile.pixels + shape.planes * tile.columns)
    warps = tile.threads // 32
    read = warps * STEP_BYTES * (tile.warp_pixels + shape.planes * tile.warp_columns)
    return {
        "tensor cores": 2 * multiply_adds / (guess.mma_share * getattr(device, shape.rate) / device.multiprocessors),
        "shared memory": (written + read) / (guess.shared_share * 128 * device.clock),
        "L2": written / (guess.l2_share * (guess.elements_share if shape.elements else 1.0) * device.l2_bandwidth / device.multiprocessors),
    }


def in_waves(blocks: int, resident: int, device: Device, unit_seconds: float, least_seconds: float) -> float:
    """Return the time of blocks that run in waves of `resident` on each multiprocessor.

    A block keeps the busiest unit of its multiprocessor for `unit_seconds`, and takes at least `least_seconds` itself.
    """
    full, rest = divmod(blocks, device.multiprocessors * resident)
    last = -(-rest // device.multiprocessors)
    return full * max(resident * unit_seconds, least_seconds) + (max(last * unit_seconds, least_seconds) if rest else 0.0)


def seconds_of(shape: GemmShape, name: str, tile: Tile, split: bool, device: Device) -> Pick | None:
    """Return the estimated time of one tile, or None if its block does not fit the device.

    Blocks run in waves of as many as the device holds (`in_waves`). All waves together take at least as long as memory needs
    to move every operand once.
    """
    resident = resident_blocks(shape, tile, device)
    if not resident:
        return None
    guess = estimates_of(device)
    blocks = shape.groups * -(-shape.pixels // tile.pixels) * -(-shape.columns // tile.columns) * (shape.segments if split else 1)
    steps = segment_steps(shape.segments, shape.steps) if split else shape.steps
    units = step_seconds(shape, tile, device)
    unit = max(units, key=lambda word: units[word])

    inner = in_waves(blocks, resident, device, steps * units[unit], steps * guess.step_seconds)
    full, rest = divmod(blocks, device.multiprocessors * resident)
    memory = shape.moved_bytes / (guess.memory_share * device.bandwidth)
    inner += guess.ramp_seconds * max(0, full - 1) / resident  # of a later wave, while other blocks of its multiprocessor multiply
    total = max(inner, memory) + guess.ramp_seconds + guess.launch_seconds
    if split:
        partial_bytes = 4 * shape.segments * shape.pixels * shape.columns * shape.groups
        total += 2 * partial_bytes / (guess.l2_share * device.l2_bandwidth) + guess.follow_seconds
    crowded = full > 0 or -(-rest // device.multiprocessors) * units[unit] >= guess.step_seconds
    bound = "memory" if memory > inner else unit if crowded else "latency"
    return Pick(name, split, total, bound, blocks, blocks / (device.multiprocessors * resident))


@lru_cache(maxsize=4096)
def _picks(shape: GemmShape, device: Device, names: tuple[str, ...], splittable: bool) -> tuple[Pick, ...]:
    found = (seconds_of(shape, name, EVERY_TILE[name], split, device) for name in names for split in ((False, True) if splittable else (False,)))
    return tuple(answer for answer in found if answer is not None)


def picks(shape: GemmShape, device: Device, names: tuple[str, ...] = tuple(TILES), split: bool = True) -> tuple[Pick, ...]:
    """Return the estimate of every tile that fits the device, whole and (where gemm_k has segments) split."""
    return _picks(shape, device, names, split and shape.segments > 1)


def pick(shape: GemmShape, device: Device, names: tuple[str, ...] = tuple(TILES), split: bool = True) -> Pick:
    """Return the tile of the least estimated time; equal times go to the larger tile, whole before split.

    Parameters
    ----------
    names : tiles that are built, of EVERY_TILE
    split : whether the segments of gemm_k may be blocks of their own
    """
    return min(picks(shape, device, names, split), key=lambda answer: answer.seconds)
