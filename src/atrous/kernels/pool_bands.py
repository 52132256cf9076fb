"""pool_bands: pooling of bands of whole rows, copied as memory holds them: in NCHW, and in NHWC where C fills no vectors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..launch import Launch
from .base import DEVICES, GRID_LIMIT, INT32_ELEMENTS, PIECE, Device, Strides, default_strides, most_of
from .depthwise import LANES_A_CLOCK, MEMORY_SHARE, MOST_SHARED_BYTES, SHARED_BYTES, together_of, turns_of
from .parameters import BYTES, CPP_TYPES, PoolArguments, PoolBandsArguments, pointer_names, pool_arguments
from .pool import LAUNCH_SECONDS, TAPS_WORTH_SPLITTING, reduction_of
from .pool_stream import INTEGERS, MOST_WEIGHTS, REDUCTION_NAMES, STREAMED, rows_declines, streams_declines
from .row_items import every_plan, resident_blocks
from .runs import Places, Runs, best_step, lanes_of

THREADS, WARP = 256, 32
#: registers of a thread, as ptxas counts them at most
REGISTERS = 72
#: outputs, or lanes that share one, of an item: 16 for each thread, so that what a block does between two barriers hides what it waits there for
ITEM_UNITS = 16 * THREADS
#: instructions of a lane for a tap, a row and an output: counted by hand, confirmed by no device
OF_TAP, OF_ROW, OF_OUTPUT = 4, 6, 16
#: of a norm's tap, and of its merge, in units of an average's
NORM_TAPS = 5
#: what an item takes a block at least, whose first is part of any launch: a guess
ITEM_SECONDS = 0.8e-6


def is_whole(problem: Any) -> bool:
    """Return whether lanes share the one window of a plane: it has taps enough."""
    return bool(problem.p == problem.q == 1 and problem.r * problem.s >= TAPS_WORTH_SPLITTING)


def log_lanes_of(problem: Any) -> int:
    """Return log2 of the lanes that share a window, about 8 taps each."""
    return min(5, (-(-problem.r * problem.s // 8) - 1).bit_length()) if is_whole(problem) else 0


@dataclass(frozen=True)
class Planes:
    """The planes that blocks go through: those of each image, or of all images as one where they follow each other."""

    images: int
    of_image: int
    x_image: int
    x_plane: int
    y_image: int
    y_plane: int


def planes_of(problem: Any, strides: Strides) -> Planes:
    """Return the Planes of operands of these strides."""
    n, c, x, y = problem.n, problem.c, strides.x, strides.y
    if problem.layout == "NHWC":
        return Planes(1, n, 0, x[0], 0, y[0])
    if n == 1 or (x[0] == c * x[3] and y[0] == c * y[3]):
        return Planes(1, n * c, 0, x[3], 0, y[3])
    return Planes(n, c, x[0], x[3], y[0], y[3])


@dataclass(frozen=True)
class Plan:
    """How many planes an item has, how many rows its strips, and how many blocks there are."""

    problem: Any
    planes: int
    strip_rows: int
    images: int = 1
    of_image: int = 1
    together: int = 1

    @property
    def inner(self) -> int:
        """Neighbours of a column."""
        return int(self.problem.c) if self.problem.layout == "NHWC" else 1

    @property
    def groups(self) -> int:
        """Groups of planes of an image."""
        return -(-self.of_image // self.planes)

    @property
    def strips(self) -> int:
        """Strips of a plane."""
        return -(-self.problem.p // self.strip_rows)

    @property
    def items(self) -> int:
        """Items of the launch."""
        return self.images * self.groups * self.strips

    @property
    def bands(self) -> int:
        """The most rows of x that a strip's windows hold."""
        p = self.problem
        return int(min(p.h, (self.strip_rows - 1) * (p.stride[0] if p.p > 1 else 1) + (p.r - 1) * p.dilation[0] + 1))

    @property
    def x_pitch(self) -> int:
        """Elements of a staged band: whole pieces, wherever in a piece it begins."""
        return self._pieces(self.bands * self.problem.w * self.inner)

    @property
    def y_pitch(self) -> int:
        """Outputs of a strip: whole pieces, wherever in a piece they begin."""
        return self._pieces(self.strip_rows * self.problem.q * self.inner)

    def _pieces(self, elements: int) -> int:
        piece = PIECE // BYTES[self.problem.dtype]
        return -(-(elements + piece - 1) // piece) * piece

    @property
    def shared_bytes(self) -> int:
        """Bytes of two slots, of the outputs and of the weights."""
        p = self.problem
        return self.planes * (2 * self.x_pitch + self.y_pitch) * BYTES[p.dtype] + (4 * p.r * p.s if p.kind == "weighted" else 0)

    @property
    def units(self) -> int:
        """Threads that a plane's strip has work for, were each to walk all of it."""
        return self.inner << log_lanes_of(self.problem) if is_whole(self.problem) else self.run_lanes

    @property
    def run_lanes(self) -> int:
        """Threads of a run."""
        return lanes_of(int(self.problem.q * self.inner))

    @property
    def parts(self) -> int:
        """Parts of a strip, until every thread has a column of one; a part reads up to R - 1 rows for nothing."""
        if is_whole(self.problem):
            return 1
        least = -(-self.problem.r // self.problem.stride[0])
        return max(1, min(-(-THREADS // (self.planes * self.units)), self.strip_rows // least))

    @property
    def threads(self) -> int:
        """Threads of a block: whole warps."""
        return min(THREADS, -(-self.planes * self.units * self.parts // WARP) * WARP)

    @property
    def run_step(self) -> int:
        """The step from run to run, a row of a part of a plane, by which the lanes of a warp meet least in a bank."""
        p, count = self.problem, self.planes * self.parts
        if is_whole(p) or count == 1:
            return 1
        part_rows = -(-self.strip_rows // self.parts)
        element, row, width = BYTES[p.dtype], int(p.w * self.inner), int(p.q * self.inner)
        x_plane, y_plane = p.h * row if self.bands == p.h else self.x_pitch, p.p * width if self.strip_rows == p.p else self.y_pitch
        stride_h, stride_w = p.stride[0] if p.p > 1 else 1, p.stride[1] if p.q > 1 else 1
        x = Places(x_plane * element, part_rows * stride_h * row * element, stride_w * self.inner * element, element)
        y = Places(y_plane * element, part_rows * width * element, self.inner * element, element)
        return best_step(Runs(count, self.parts, width, self.inner, x, y))


def _fits(problem: Any, most: int, rows: int, planes: int) -> bool:
    return Plan(problem, planes, rows).shared_bytes <= most


def first_plan(problem: Any) -> Plan | None:
    """Return the plan with the longest strips, and then the most planes, that an item has; None where not even one row fits."""
    for most in (SHARED_BYTES, MOST_SHARED_BYTES):
        if (rows := most_of(problem.p, partial(_fits, problem, most, planes=1))) > 0:
            rows = -(-problem.p // -(-problem.p // rows))  # strips of equal height
            one = Plan(problem, 1, rows)
            return replace(one, planes=max(1, most_of(max(1, ITEM_UNITS // (rows * one.units)), partial(_fits, problem, most, rows))))
    return None


def plan_of(problem: Any, device: Device, strides: Strides | None = None) -> Plan:
    """Return the plan for a device: fewer planes, then shorter strips, where multiprocessors would be left without a block."""
    plan = first_plan(problem)
    assert plan is not None
    planes = planes_of(problem, strides or default_strides(problem))
    plan = replace(plan, images=planes.images, of_image=planes.of_image, planes=max(1, min(plan.planes, planes.of_image)))
    plan = replace(plan, planes=-(-plan.of_image // max(1, plan.groups)) or 1)  # groups of equal size
    wanted = resident_of(plan, device) * device.multiprocessors
    if plan.items < device.multiprocessors:
        plan = replace(plan, planes=max(1, plan.planes * plan.items // wanted))
    if plan.items < device.multiprocessors and not is_whole(problem):
        # a strip of fewer than 2 * R rows reads a third of them twice
        strips = max(plan.strips, min(plan.strips * -(-wanted // max(1, plan.items)), problem.p // (2 * problem.r)))
        plan = replace(plan, strip_rows=-(-problem.p // strips))
    return replace(plan, together=together_of(plan.items, 1, resident_of(plan, device), device))


def resident_of(plan: Plan, device: Device) -> int:
    """Return how many blocks a multiprocessor holds at once."""
    return resident_blocks(plan, REGISTERS, device)


class PoolBands:
    """Description of csrc/include/atrous/kernels/pool_bands.cuh."""

    name = "pool_bands"
    operation = "pool2d"
    header = "atrous/kernels/pool_bands.cuh"

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take the pooling, or None."""
        if reason := streams_declines(problem, device):
            return reason
        if problem.layout == "NHWC" and problem.c * BYTES[problem.dtype] % PIECE == 0:
            return f"the C = {problem.c} channels of a pixel are whole vectors of {PIECE} bytes, which pool_stream takes"
        if problem.n * problem.c > INT32_ELEMENTS - 2**16:
            return f"N * C is {problem.n * problem.c}, and it counts planes in 32 bits"
        if not is_whole(problem) and (reason := rows_declines(problem)):
            return reason
        if problem.kind == "weighted" and problem.r * problem.s > MOST_WEIGHTS:
            return f"{problem.r * problem.s} weights are more than the {MOST_WEIGHTS} that it keeps in shared memory"
        if first_plan(problem) is None:
            return f"{problem.r} rows of {problem.w} cells of a plane pass {MOST_SHARED_BYTES} bytes of shared memory"
        if (most := problem.n * problem.c * problem.p) > GRID_LIMIT:
            return f"{most} blocks, one a row of a plane, are more than a grid's {GRID_LIMIT}"
        return None

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the launch for operands of these strides (default: contiguous) on a device (default: the simulated one)."""
        return self._launch(problem, strides, plan_of(problem, device or DEVICES["simulated"], strides))

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the launches for all devices, and each with a block for every item: all give the same bits."""
        for plan in every_plan(lambda problem, device: plan_of(problem, device, strides), problem):
            yield self._launch(problem, strides, plan)

    def _launch(self, problem: Any, strides: Strides | None, plan: Plan) -> Launch:
        strides = strides or default_strides(problem)
        planes, whole = planes_of(problem, strides), is_whole(problem)
        pool = PoolArguments.from_buffer_copy(pool_arguments(problem, strides, {"log_lanes_t": log_lanes_of(problem)}))
        if problem.p == 1:
            pool.stride_h = problem.r
        names = ("items", "inner", "groups", "planes", "strips", "strip_rows", "parts", "x_pitch", "y_pitch", "run_step", "run_lanes")
        fields = {name: getattr(plan, name) for name in names}
        fields |= {name: getattr(planes, name) for name in ("x_image", "x_plane", "y_image", "y_plane")}
        by_rows = problem.r * problem.s >= TAPS_WORTH_SPLITTING  # below, sums are those of pool and of the kernels that pool a tile
        return Launch(
            name=f"{self.name}<{CPP_TYPES[problem.dtype]}, {reduction_of(problem)}>",
            header=self.header,
            grid=(plan.together, 1, 1),
            block=(plan.threads, 1, 1),
            shared_bytes=-(-plan.shared_bytes // PIECE) * PIECE,
            parameters=bytes(PoolBandsArguments(pool=pool, image_planes=planes.of_image, by_rows=by_rows, is_whole=whole, **fields)),
            pointers=pointer_names(PoolBandsArguments),
        )

    def _bounds(self, problem: Any, device: Device) -> dict[str, float]:
        """Return the seconds that each of memory, instructions and latency takes alone, by hand-counted instructions."""
        plan, p = plan_of(problem, device), problem
        x, y = math.prod(p.x_shape), math.prod(p.y_shape)
        again = 0 if is_whole(p) else max(0.0, plan.strips * plan.bands / max(1, p.h) - 1)
        moved = (x * (1 + again) + y) * BYTES[p.dtype]
        tap = OF_TAP * (NORM_TAPS if p.kind in ("lp", "rms") else 1)
        if is_whole(p):
            lanes = 1 << log_lanes_of(p)
            steps = lanes * ((-(-p.r * p.s // lanes) + lanes.bit_length()) * (2 * tap) + OF_OUTPUT)
        else:
            rows, in_flight = min(p.stride[0], p.r), -(-p.r // p.stride[0])
            by_cells = p.kind == "weighted" or (p.kind == "avg" and p.r * p.s < TAPS_WORTH_SPLITTING)
            per_row = p.s * (tap + in_flight - 1) if by_cells else p.s * tap + in_flight * tap / 2
            steps = rows * (per_row + OF_ROW) + OF_OUTPUT
            part_rows = -(-plan.strip_rows // plan.parts)
            steps *= 1 + max(0, p.r - p.stride[0]) / (part_rows * p.stride[0])  # rows that a part adds for its neighbours' outputs
        more = turns_of(plan.items, 1, plan.together, resident_of(plan, device), device) - 1
        return {
            "memory": moved / (MEMORY_SHARE * device.bandwidth),
            "the ordinary units": y * steps / (LANES_A_CLOCK * device.multiprocessors * device.clock),
            "latency": 0.0 if device.name == "simulated" else ITEM_SECONDS * max(0.0, more),
        }

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time."""
        return max(self._bounds(problem, device).values()) + LAUNCH_SECONDS

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        plan, bounds = plan_of(problem, device), self._bounds(problem, device)
        blocks = f"{plan.together} blocks, items of {plan.planes} planes and {plan.strip_rows} rows"
        return f"memory ({device.bandwidth / 1e12:.3g} TB/s) or the ordinary units, {blocks}, bound by {max(bounds, key=lambda word: bounds[word])}"

    def instances(self) -> Iterator[str]:
        """Yield every name that `variants` can give."""
        for dtype in STREAMED:
            for reduction in REDUCTION_NAMES if dtype not in INTEGERS else REDUCTION_NAMES[:1]:
                yield f"{self.name}<{CPP_TYPES[dtype]}, {reduction}>"


KERNEL = PoolBands()
