"""pool_stream: pooling that reads each input row once, down strips of output rows, or one window shared by lanes."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..launch import Launch
from .base import GRID_LIMIT, Device, Strides, default_strides
from .parameters import BYTES, CPP_TYPES, PoolArguments, PoolStreamArguments, pointer_names, pool_arguments
from .pool import EXTENT_LIMIT, LAUNCH_SECONDS, TAPS_WORTH_SPLITTING, reduction_of

THREADS = 256
WARP = 32
SECTOR = 32  # bytes that memory moves at least
VECTOR = 16  # bytes of a thread's channels
RING_SLOTS = 4
#: outputs of a column whose windows share an input row, kMostInFlight
MOST_IN_FLIGHT = {"max": 7, "avg": 7, "weighted": 7, "lp": 3, "rms": 3}
#: bytes of a block's ring: four blocks share a multiprocessor, and three rows of each on their way outlast its latency
RING_BYTES = 40 * 1024
#: of a weighted average, behind the ring
MOST_WEIGHTS = 1024
#: images that a tiling is chosen for
IMAGES = 32
#: bytes asked for over the least bytes: tilings beyond are taken only where none is below
MOST_REQUESTS = 1.12
STREAMED, INTEGERS = ("float32", "float16", "bfloat16", "int8", "uint8"), ("int8", "uint8")
REDUCTION_NAMES = ("MaxReduction", "AverageReduction", "LpReduction", "WeightedReduction")


@dataclass(frozen=True)
class Shape:
    """What a tiling depends on: never N, so that an image gives the same bits in any batch."""

    p: int
    q: int
    c: int
    r: int
    s: int
    stride_h: int
    stride_w: int
    bytes: int
    h: int
    w: int

    @property
    def owned(self) -> int:
        """Channels of a thread, kStreamOwned."""
        return VECTOR // self.bytes

    @property
    def in_flight(self) -> int:
        """Outputs of a column whose windows share an input row."""
        return (self.r - 1) // self.stride_h + 1


@dataclass(frozen=True)
class Strip:
    """How a block walks: lanes along the channels, output columns, output rows, and the ring's layout."""

    log_lanes_c: int
    columns: int
    rows: int
    pitch: int
    slot_elements: int

    @property
    def threads(self) -> int:
        """Threads of a block, whole warps."""
        return -(-(self.columns << self.log_lanes_c) // WARP) * WARP

    def blocks_of_an_image(self, shape: Shape) -> int:
        """Return how many blocks cover the outputs of an image."""
        return -(-shape.c // (shape.owned << self.log_lanes_c)) * -(-shape.q // self.columns) * -(-shape.p // self.rows)


def shape_of(problem: Any) -> Shape:
    """Return the Shape of a Pool2dProblem; one output of an axis is given a stride that ends its window."""
    p = problem
    stride = p.stride[0] if p.p > 1 else p.r, p.stride[1] if p.q > 1 else 1
    return Shape(p.p, p.q, p.c, p.r, p.s, *stride, BYTES[p.dtype], p.h, p.w)


def staged_rows(shape: Shape, rows: int) -> int:
    """Return the input rows of a strip of so many output rows."""
    return (rows - 1) * min(shape.stride_h, shape.r) + shape.r


def staged_columns(shape: Shape, columns: int) -> int:
    """Return the input columns of a tile of so many output columns."""
    return (columns - 1) * shape.stride_w + shape.s


def pitch_of(shape: Shape, log_lanes_c: int, columns: int) -> int:
    """Return the elements from a staged column to the next.

    The 8 lanes that shared memory serves at a time read 16 bytes each; where they lie on several columns, columns move
    apart by vectors until those are on different banks. With one lane along the channels and an even stride none does.
    """
    lanes = 1 << log_lanes_c

    def banks(vectors: int) -> int:
        return len({(lane // lanes * shape.stride_w * vectors + lane % lanes) % 8 for lane in range(8)})

    return max(range(lanes, lanes + 4), key=lambda vectors: (banks(vectors), -vectors)) * shape.owned


def requests(shape: Shape, strip: Strip) -> float:
    """Return the cells that all blocks ask for and the outputs, over the cells and outputs that there are."""
    rows = _asked(shape.p, strip.rows, shape.r, shape.stride_h, staged_rows(shape, strip.rows), shape.h)
    columns = _asked(shape.q, strip.columns, shape.s, shape.stride_w, staged_columns(shape, strip.columns), shape.w)
    outputs = shape.p * shape.q
    return (rows * columns + outputs) / (shape.h * shape.w + outputs)


def _asked(outputs: int, of_block: int, taps: int, stride: int, staged: int, size: int) -> int:
    """Return how many cells of an axis the blocks along it stage: neighbours share what their windows share, padding is not staged."""
    blocks = -(-outputs // of_block)
    return min(blocks * staged, size + (blocks - 1) * max(0, taps - stride))


def sectors(shape: Shape, strip: Strip) -> float:
    """Return the bytes of the 32-byte sectors that a run of neighbours touches over its own, where blocks part a row."""
    run, size = (shape.owned << strip.log_lanes_c) * shape.bytes, shape.c * shape.bytes
    parted = run < size and not (run % SECTOR == size % SECTOR == 0)
    return 1 + SECTOR / run if parted else 1.0


def copied_alone(problem: Any) -> bool:
    """Return whether pixels hold no whole number of 4 bytes, the least that is copied without waiting for it."""
    return bool(problem.c * BYTES[problem.dtype] % 4)


def _cost(shape: Shape, strip: Strip) -> float:
    """Return an estimate in cycles: of IMAGES images on 132 multiprocessors, plus one block alone.

    A multiprocessor moves about 18 bytes a cycle from memory and issues for 128 lanes; a run of neighbours costs one
    32-byte sector more than it holds, unless it is all of a row. A block alone waits for its rows, three of which are on
    their way.
    """
    rows, columns = staged_rows(shape, strip.rows), staged_columns(shape, strip.columns)
    lanes = shape.owned << strip.log_lanes_c
    moved = columns * (lanes * shape.bytes + (0 if lanes >= shape.c else SECTOR)) + strip.columns * lanes * shape.bytes * strip.rows / rows
    words = shape.owned * shape.bytes / 4
    instructions = 30 + 10 * columns * lanes * shape.bytes / VECTOR / strip.threads + (shape.s + shape.in_flight) * (2 + words)
    step = max(moved / 18, strip.threads * instructions / 100)
    return IMAGES * strip.blocks_of_an_image(shape) * (rows + 2) * step / 132 + rows * 250 + 1000


def _slot_of(shape: Shape, log_lanes_c: int, columns: int) -> tuple[int, int]:
    """Return the pitch and the elements of a staged row of so many output columns."""
    pitch = pitch_of(shape, log_lanes_c, columns)
    return pitch, pitch * staged_columns(shape, columns)


def _most_columns(shape: Shape, log_lanes_c: int) -> int:
    """Return the most output columns that a block has threads for and whose ring fits; 0 where not even one does."""
    return bisect_right(
        range(1, min(shape.q, THREADS >> log_lanes_c) + 1),
        RING_BYTES,
        key=lambda columns: _slot_of(shape, log_lanes_c, columns)[1] * RING_SLOTS * shape.bytes,
    )


def _strips(shape: Shape) -> Iterator[Strip]:
    """Yield the strips whose ring fits, the same for the same shape."""
    lanes_limit = max(0, -(-shape.c // shape.owned) - 1).bit_length()
    heights = {-(-shape.p // strips) for strips in (*range(1, min(shape.p, 16) + 1), max(1, shape.p // 8))}
    for log_lanes_c in range(min(lanes_limit, 5) + 1):
        most = _most_columns(shape, log_lanes_c)
        if not most:
            continue
        fewest = -(-shape.q // most)
        for columns in sorted({-(-shape.q // min(shape.q, fewest + more)) for more in range(4)}, reverse=True):
            pitch, slot = _slot_of(shape, log_lanes_c, columns)
            for rows in sorted(heights):
                yield Strip(log_lanes_c, columns, rows, pitch, slot)


@lru_cache(maxsize=4096)
def choose_strip(shape: Shape) -> Strip | None:
    """Return the strip of least estimated cost among those that ask for little twice, or None where not even one column's ring fits."""
    found = [(max(requests(shape, strip), MOST_REQUESTS), _cost(shape, strip), number, strip) for number, strip in enumerate(_strips(shape))]
    return min(found)[3] if found else None


def is_whole(problem: Any) -> bool:
    """Return whether lanes share the one window of an image: it has taps enough."""
    return problem.p == problem.q == 1 and problem.r * problem.s >= TAPS_WORTH_SPLITTING and problem.kind != "weighted"


def whole_lanes(shape: Shape) -> tuple[int, int]:
    """Return log2 of the lanes along the channels and of those that share the window: 32 to THREADS, about 8 taps a lane.

    64 or 128 bytes of channels go to a block, less where the window takes all lanes that few channels leave.
    """
    most_c = min((-(-shape.c // shape.owned) - 1).bit_length(), 3)
    log_lanes_t = min(8 - min(most_c, 2), max(3, (-(-shape.r * shape.s // 8) - 1).bit_length()))
    log_lanes_c = min(most_c, 8 - log_lanes_t)
    return log_lanes_c, max(log_lanes_t, 5 - log_lanes_c)


def streams_declines(problem: Any, device: Device) -> str | None:
    """Return why neither kernel that streams rows takes the pooling, or None."""
    if problem.dtype not in STREAMED:
        return f"x is {problem.dtype}, and it keeps sums in float32 and maxima in words of 32 bits"
    if not device.half_flops:
        return f"{device.name} lacks cp.async and max.NaN, which came with sm_80"
    if problem.return_indices:
        return "indices are asked for, and it keeps maxima without their places"
    for letter, size, pads in (("H", problem.h, problem.pads[:2]), ("W", problem.w, problem.pads[2:])):
        if size + abs(pads[0]) + abs(pads[1]) >= EXTENT_LIMIT:
            return f"{letter} = {size} with padding {pads} reaches 2^30, and it adds two coordinates in 32 bits"
    if problem.r * problem.s >= 2**31:
        return f"R * S is {problem.r * problem.s}, and it counts taps in 32 bits"
    return None


def rows_declines(problem: Any) -> str | None:
    """Return why no thread walks down the windows' rows, or None."""
    for axis, taps, dilation in (("R", problem.r, problem.dilation[0]), ("S", problem.s, problem.dilation[1])):
        if taps > 1 and dilation > 1:
            return f"the dilation along {axis} is {dilation}, and it takes neighbouring cells"
    in_flight, most = shape_of(problem).in_flight, MOST_IN_FLIGHT[problem.kind]
    if in_flight > most:
        return f"{in_flight} windows share an input row, and it keeps {most} outputs of a column"
    return None


class PoolStream:
    """Description of csrc/include/atrous/kernels/pool_stream.cuh."""

    name = "pool_stream"
    operation = "pool2d"
    header = "atrous/kernels/pool_stream.cuh"

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take the pooling, or None."""
        if reason := streams_declines(problem, device):
            return reason
        if problem.layout != "NHWC":
            return "the layout is NCHW, which pool_bands takes"
        reason = None if is_whole(problem) else self._declines_strips(problem)
        if reason:
            return reason
        count = self._blocks(problem)
        return f"{count} blocks are more than a grid's {GRID_LIMIT}" if count > GRID_LIMIT else None

    def _declines_strips(self, problem: Any) -> str | None:
        if problem.p == problem.q == 1 and problem.r * problem.s >= TAPS_WORTH_SPLITTING:
            return f"one window of {problem.r * problem.s} taps is the whole output, and it shares one among lanes without weights"
        if reason := rows_declines(problem):
            return reason
        if problem.kind == "weighted" and problem.r * problem.s > MOST_WEIGHTS:
            return f"{problem.r * problem.s} weights are more than the {MOST_WEIGHTS} that it keeps in shared memory"
        if choose_strip(shape_of(problem)) is None:
            return f"four rows of windows of S = {problem.s} columns are more than its {RING_BYTES // 1024} KiB of shared memory"
        return None

    def _blocks(self, problem: Any) -> int:
        shape = shape_of(problem)
        if is_whole(problem):
            return int(problem.n) * -(-shape.c // (shape.owned << whole_lanes(shape)[0]))
        strip = choose_strip(shape)
        assert strip is not None
        return int(problem.n) * strip.blocks_of_an_image(shape)

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the launch for operands of these strides (default: contiguous); the same on every device."""
        shape = shape_of(problem)
        if is_whole(problem):
            log_lanes_c, log_lanes_t = whole_lanes(shape)
            threads, fields = 1 << (log_lanes_c + log_lanes_t), {"rows_in_strip": 1, "columns_in_tile": 1}
            states = threads // WARP << log_lanes_c if threads > WARP else 0
            state_bytes = VECTOR if problem.kind == "max" else shape.owned * 4 * (1 if problem.kind == "avg" else 2)
            way, shared = "Whole", states * state_bytes
        else:
            strip = choose_strip(shape)
            assert strip is not None
            log_lanes_c, log_lanes_t, threads = strip.log_lanes_c, 0, strip.threads
            fields = {"rows_in_strip": strip.rows, "columns_in_tile": strip.columns, "pitch": strip.pitch, "slot_elements": strip.slot_elements}
            weight_bytes = problem.r * problem.s * 4 if problem.kind == "weighted" else 0
            way, shared = "Strips", strip.slot_elements * RING_SLOTS * shape.bytes + weight_bytes
        lanes = {"log_lanes_c": log_lanes_c, "log_lanes_t": log_lanes_t}
        pool = PoolArguments.from_buffer_copy(pool_arguments(problem, strides or default_strides(problem), lanes))
        if problem.p == 1:
            pool.stride_h = problem.r
        by_rows = problem.r * problem.s >= TAPS_WORTH_SPLITTING  # below, sums are those of pool and of the kernels that pool a tile
        return Launch(
            name=f"pool_stream<{CPP_TYPES[problem.dtype]}, {way}, {reduction_of(problem)}>",
            header=self.header,
            grid=(self._blocks(problem), 1, 1),
            block=(threads, 1, 1),
            shared_bytes=-(-shared // 16) * 16,
            parameters=bytes(PoolStreamArguments(pool=pool, by_rows=by_rows, **fields)),
            pointers=pointer_names(PoolStreamArguments),
        )

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the one launch: it reaches every element of any strides."""
        yield self.launch(problem, strides)

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time: y and x moved once at 0.9 of the bandwidth, or 4 operations a step of a row.

        Where threads copy and wait for single elements, 0.6 of the bandwidth, and 24 operations a cell more.
        """
        moved, steps = self._work(problem)
        alone = not is_whole(problem) and copied_alone(problem)
        operations = 4 * steps + (24 * math.prod(problem.x_shape) if alone else 0)
        return max(moved / ((0.6 if alone else 0.9) * device.bandwidth), operations / device.flops) + LAUNCH_SECONDS

    def _work(self, problem: Any) -> tuple[float, float]:
        """Return the bytes moved and the steps of all channels.

        Of cells and sectors that neighbouring blocks both stage half counts; of outputs that are stored one by one, four times their bytes.
        """
        x, y = math.prod(problem.x_shape), math.prod(problem.y_shape)
        if is_whole(problem):
            return (x + y) * BYTES[problem.dtype], problem.flops
        shape, strip = shape_of(problem), choose_strip(shape_of(problem))
        assert strip is not None
        asked = requests(shape, strip) * (x + y)
        twice = asked - (x + y) + (asked - y) * (sectors(shape, strip) - 1)
        row_steps = (shape.s + shape.in_flight) * min(shape.stride_h, shape.r)
        cell_steps = shape.r * shape.s
        by_cells = problem.kind == "weighted" or (problem.kind == "avg" and cell_steps < TAPS_WORTH_SPLITTING)
        scattered = 3 * y if problem.c * BYTES[problem.dtype] % VECTOR else 0
        return (x + y + scattered + max(0.0, twice) / 2) * BYTES[problem.dtype], y * (cell_steps if by_cells else min(row_steps, cell_steps))

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        units = f"memory ({device.bandwidth / 1e12:.3g} TB/s) or the ordinary units ({device.flops / 1e12:.3g} TFLOP/s), 4 operations a step"
        if is_whole(problem):
            return f"{units}; {1 << whole_lanes(shape_of(problem))[1]} lanes a window"
        strip = choose_strip(shape_of(problem))
        assert strip is not None
        return f"{units}; strips of {strip.rows} rows, {strip.columns} columns wide"

    def instances(self) -> Iterator[str]:
        """Yield every name that `variants` can give."""
        for way, dtype in itertools.product(("Strips", "Whole"), STREAMED):
            for reduction in REDUCTION_NAMES if dtype not in INTEGERS else REDUCTION_NAMES[:1]:
                if way == "Strips" or reduction != "WeightedReduction":
                    yield f"pool_stream<{CPP_TYPES[dtype]}, {way}, {reduction}>"


KERNEL = PoolStream()
