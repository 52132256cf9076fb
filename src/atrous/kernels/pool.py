"""pool: takes every pooling; one walk over each window, from a patch of x in shared memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from ..arguments import FLOAT_DTYPES, INPUT_DTYPES, LAYOUTS
from ..launch import Launch
from .base import GRID_LIMIT, Device, Strides, default_strides, index_widths
from .parameters import BYTES, CPP_TYPES, PoolArguments, pointer_names, pool_arguments

THREADS = 256
WARP = 32
#: bytes of a block's patch: eight blocks of 256 threads fill a multiprocessor, and eight patches its shared memory
PATCH_BYTES = 24 * 1024
#: windows of fewer taps are walked by one lane: merging would cost more than the walk
TAPS_WORTH_SPLITTING = 16
EXTENT_LIMIT = 2**30  # the kernel adds two coordinates in 32 bits
LAUNCH_SECONDS = 2.5e-6
REDUCTIONS = {"avg": "AverageReduction", "lp": "LpReduction", "rms": "LpReduction", "weighted": "WeightedReduction"}


def reduction_of(problem: Any) -> str:
    """Return the C++ name of the reduction of reductions.cuh that computes the problem's kind."""
    if problem.kind == "max":
        return "MaxIndexReduction" if problem.return_indices else "MaxReduction"
    return REDUCTIONS[problem.kind]


@dataclass(frozen=True)
class Axis:
    """One axis of a tile's patch: how many windows of the tile lie along it, and the step's taps."""

    outputs: int
    taps: int
    cell_step: int  # 0: every window's taps on their own
    output_pitch: int
    tap_pitch: int

    @property
    def slots(self) -> int:
        """Cells of the patch along the axis."""
        if not self.cell_step:
            return self.outputs * self.output_pitch
        return (self.outputs - 1) * self.output_pitch + (self.taps - 1) * self.tap_pitch + 1


def axis(outputs: int, taps: int, stride: int, dilation: int) -> Axis:
    """Return the smaller form of an axis: neighbours a common divisor apart, or the taps on their own."""
    step = math.gcd(stride if outputs > 1 else 0, dilation if taps > 1 else 0) or 1
    shared = Axis(outputs, taps, step, stride // step if outputs > 1 else 0, dilation // step if taps > 1 else 0)
    alone = Axis(outputs, taps, 0, taps, 1)
    return alone if alone.slots < shared.slots else shared


@dataclass(frozen=True)
class Tiling:
    """How a block's threads and its patch divide the work: log2 of lanes, and the taps of a step."""

    log_lanes_c: int
    log_lanes_p: int
    log_lanes_q: int
    log_lanes_t: int
    rows: Axis
    columns: Axis
    patch_elements: int
    steps: int

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return 1 << (self.log_lanes_c + self.log_lanes_p + self.log_lanes_q + self.log_lanes_t)

    def fields(self) -> dict[str, int]:
        """Return the fields of PoolArguments that carry it."""
        lanes = {name: value for name, value in asdict(self).items() if name.startswith("log_")}
        both = (("h", self.rows), ("w", self.columns))
        layout = {f"{name}_{letter}": getattr(of, name) for letter, of in both for name in ("cell_step", "output_pitch", "tap_pitch")}
        return {**lanes, **layout, "rows_in_step": self.rows.taps, "taps_in_step": self.columns.taps}


@dataclass(frozen=True)
class Shape:
    """What a tiling depends on: never N, so that an image gives the same bits in any batch."""

    p: int
    q: int
    c: int
    r: int
    s: int
    stride: tuple[int, int]
    dilation: tuple[int, int]
    bytes: int
    channels_last: bool

    @property
    def chunk(self) -> int:
        """Elements of a vector copy, PoolTile::kChunk."""
        return min(8, 16 // self.bytes)

    @property
    def owned(self) -> int:
        """Channels or planes of a thread, PoolTile::kOwned."""
        return self.chunk if self.channels_last else (2 if self.bytes == 8 else 4)


def shape_of(problem: Any) -> Shape:
    """Return the Shape of a Pool2dProblem."""
    p = problem
    return Shape(p.p, p.q, p.c, p.r, p.s, p.stride, p.dilation, BYTES[p.dtype], p.layout == "NHWC")


def _patch_elements(shape: Shape, lanes_c: int, lanes_t: int, rows: Axis, columns: Axis) -> int:
    """Return the elements of the patch, as PatchPitch lays it out, with room for the skew of an unaligned row."""
    if shape.channels_last:
        return rows.slots * columns.slots * shape.owned * (lanes_c + (lanes_t > 1))
    chunk = shape.chunk
    row = (columns.slots + 2 * (chunk - 1)) // chunk * chunk
    return shape.owned * lanes_c * rows.slots * row


def _most(count: int, fits: Any) -> int:
    """Return the largest number of 1..count for which `fits`, which holds below any number it holds for; at least 1."""
    low, high = 1, count
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _tiling(shape: Shape, logs: tuple[int, int, int, int]) -> Tiling | None:
    """Return the tiling with these log2 of lanes along c, p, q and taps, or None where not even one tap fits."""
    lanes_c, lanes_p, lanes_q, lanes_t = (1 << log for log in logs)

    def patch(r: int, s: int) -> tuple[Axis, Axis, int]:
        rows = axis(lanes_p, r, shape.stride[0], shape.dilation[0])
        columns = axis(lanes_q, s, shape.stride[1], shape.dilation[1])
        return rows, columns, _patch_elements(shape, lanes_c, lanes_t, rows, columns)

    def fits(r: int, s: int) -> bool:
        return patch(r, s)[2] * shape.bytes <= PATCH_BYTES

    # Sums take the taps in row-major order, so a step is whole window rows or a part of one.
    r = s = 1
    if fits(1, shape.s):
        r, s = _most(shape.r, lambda rows: fits(rows, shape.s)), shape.s
    elif fits(1, 1):
        s = _most(shape.s, lambda taps: fits(1, taps))
    else:
        return None
    rows, columns, elements = patch(r, s)
    return Tiling(*logs, rows, columns, elements, -(-shape.r // r) * -(-shape.s // s))


def _cost(shape: Shape, tiling: Tiling) -> float:
    """Return an estimate in cycles: of eight images on 132 multiprocessors, plus one block alone.

    A multiprocessor moves about 32 bytes a cycle from L2 and memory and issues about 100 of its 128 lanes; a step of
    the patch waits about 1,000 cycles, shared by the blocks that fit. A run of neighbours costs one 32-byte sector more
    than it holds, which is why short runs lose.
    """
    lanes_c, lanes_t = 1 << tiling.log_lanes_c, 1 << tiling.log_lanes_t
    rows_in_tile, columns_in_tile = 1 << tiling.log_lanes_p, 1 << tiling.log_lanes_q
    cells = tiling.rows.slots * tiling.columns.slots * tiling.steps
    if shape.channels_last:
        channel_tiles = float(-(-shape.c // (lanes_c * shape.owned)))
        moved = cells * (lanes_c * shape.owned * shape.bytes + 32)
    else:
        channel_tiles = shape.c / (lanes_c * shape.owned)
        run = tiling.columns.slots * max(1, tiling.columns.cell_step) * shape.bytes
        moved = lanes_c * shape.owned * tiling.rows.slots * tiling.steps * (run + 32)
    tiles = channel_tiles * -(-shape.p // rows_in_tile) * -(-shape.q // columns_in_tile)
    copies = moved / 16 / tiling.threads
    taps = -(-shape.r * shape.s // lanes_t)
    instructions = 300 + 25 * copies + taps * (10 + 5 * shape.owned) + tiling.log_lanes_t * 8 * shape.owned
    alone = tiling.steps * 1000 + instructions * 4
    resident = max(1, min(2048 // tiling.threads, 16))
    busy = max(moved / 32, instructions * tiling.threads / 100) + tiling.steps * 1000 / resident
    return 8 * tiles * busy / 132 + alone


def _log2_up(value: int) -> int:
    return max(0, value - 1).bit_length()


@lru_cache(maxsize=4096)
def choose_tiling(shape: Shape) -> Tiling:
    """Return the tiling of least estimated cost; ties go to the first, so the choice is a function of the shape alone."""
    units = -(-shape.c // shape.owned)
    most_c = min(4, _log2_up(units)) if shape.channels_last else min(5, max(2, _log2_up(units)))
    split = shape.r * shape.s >= TAPS_WORTH_SPLITTING
    best: tuple[float, Tiling] | None = None
    for log_t in (0, 2, 3, 5) if split else (0,):
        for log_c in range(most_c + 1):
            for log_q in range(min(_log2_up(shape.q), 8 - log_t - log_c) + 1):
                for log_p in range(min(_log2_up(shape.p), 8 - log_t - log_c - log_q) + 1):
                    # A block is whole warps: where the outputs do not fill one, lanes stay idle.
                    idle = max(0, 5 - log_t - log_c - log_q - log_p)
                    tiling = _tiling(shape, (log_c, log_p, log_q + idle, log_t))
                    if tiling is None:
                        continue
                    cost = _cost(shape, tiling)
                    if best is None or cost < best[0]:
                        best = cost, tiling
    assert best is not None  # 32 lanes along the columns with one tap a step always fit
    return best[1]


def blocks(problem: Any, shape: Shape, tiling: Tiling) -> int:
    """Return how many tiles of channels, columns, rows and images cover the output."""
    images, channels = (problem.n, problem.c) if shape.channels_last else (1, problem.n * problem.c)
    channel_tiles = -(-channels // (shape.owned << tiling.log_lanes_c))
    return images * channel_tiles * -(-problem.p >> tiling.log_lanes_p) * -(-problem.q >> tiling.log_lanes_q)


class Pool:
    """Description of csrc/include/atrous/kernels/pool.cuh."""

    name = "pool"
    operation = "pool2d"
    header = "atrous/kernels/pool.cuh"

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take the pooling, or None."""
        for letter, size, pads in (("H", problem.h, problem.pads[:2]), ("W", problem.w, problem.pads[2:])):
            if size + abs(pads[0]) + abs(pads[1]) >= EXTENT_LIMIT:
                return f"{letter} = {size} with padding {pads} reaches 2^30, and it adds two coordinates in 32 bits"
        if problem.r * problem.s >= 2**31:
            return f"R * S is {problem.r * problem.s}, and it numbers taps in 32 bits"
        if problem.layout == "NCHW" and problem.n * problem.c >= 2**31 - THREADS:
            return f"N * C is {problem.n * problem.c}, and it numbers planes in 32 bits"
        shape = shape_of(problem)
        count = blocks(problem, shape, choose_tiling(shape))
        return f"{count} blocks are more than a grid's {GRID_LIMIT}" if count > GRID_LIMIT else None

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the launch for operands of these strides (default: contiguous); the same on every device."""
        return next(self.variants(problem, strides))

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the launch of each index width that reaches every element."""
        strides = strides or default_strides(problem)
        for index in index_widths(problem, strides):
            yield self._launch(problem, strides, index)

    def _launch(self, problem: Any, strides: Strides, index: str) -> Launch:
        shape = shape_of(problem)
        tiling = choose_tiling(shape)
        return Launch(
            name=f"pool<{CPP_TYPES[problem.dtype]}, {problem.layout.capitalize()}, {index}, {reduction_of(problem)}>",
            header=self.header,
            grid=(blocks(problem, shape, tiling), 1, 1),
            block=(tiling.threads, 1, 1),
            shared_bytes=-(-tiling.patch_elements * shape.bytes // 16) * 16,
            parameters=pool_arguments(problem, strides, tiling.fields()),
            pointers=pointer_names(PoolArguments),
        )

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time: x and y moved once at 0.6 of the bandwidth, or about 8 operations a tap and 30 an output.

        Tiles share halos, half of whose bytes memory gives twice; a cell is read and converted for every window that holds it.
        """
        moved = (math.prod(problem.x_shape) + math.prod(problem.y_shape)) * BYTES[problem.dtype]
        if problem.return_indices:
            moved += math.prod(problem.y_shape) * BYTES[problem.index_dtype]
        operations = 8 * problem.flops + 30 * math.prod(problem.y_shape)
        return max(moved / (0.6 * device.bandwidth), operations / device.flops) + LAUNCH_SECONDS

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        return f"memory ({device.bandwidth / 1e12:.3g} TB/s) or the ordinary units ({device.flops / 1e12:.3g} TFLOP/s), 8 operations a tap"

    def instances(self) -> Iterator[str]:
        """Yield every name that `variants` can give."""
        for dtype in INPUT_DTYPES:
            maxima = ("MaxReduction", "MaxIndexReduction")
            for reduction in (*maxima, *sorted(set(REDUCTIONS.values()))) if dtype in FLOAT_DTYPES else maxima:
                for layout in LAYOUTS:
                    for index in ("int32", "int64"):
                        yield f"pool<{CPP_TYPES[dtype]}, {layout.capitalize()}, {index}, {reduction}>"


KERNEL = Pool()
