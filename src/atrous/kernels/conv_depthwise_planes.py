"""conv_depthwise_planes: one channel a group in NCHW; bands of whole rows, copied as memory holds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..launch import Launch
from .base import DEVICES, GRID_LIMIT, PIECE, Device, Strides, default_strides, most_of
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
    together_of,
    turns_of,
    window_of,
    x_bytes,
)
from .gemm_cost import moved_bytes
from .parameters import BYTES, CPP_TYPES, ConvArguments, PlaneRunsArguments, PlanesArguments, pointer_names
from .row_items import every_plan, resident_blocks
from .runs import Places, Runs, best_step, lanes_of

THREADS, WARP = 256, 32
#: window -> registers of a thread, as ptxas counts them at most
REGISTERS = {"Window3": 80, "Window3Stride2": 80, "Window5": 104, "Window5Stride2": 104, "Window7": 128, ANY: 64}
#: window -> of all instructions of a row and of its outputs' way to y, counted by hand, the share of those that multiply, of 16-bit and of
#: 32-bit elements. No device has confirmed it
SHARES = {
    "Window3": (0.18, 0.16), "Window3Stride2": (0.13, 0.13), "Window5": (0.35, 0.30), "Window5Stride2": (0.24, 0.24), "Window7": (0.48, 0.43),
    ANY: (0.12, 0.12),
}  # fmt: skip
EVEN = 16  # channels of 16-bit elements whose runs begin where sectors of 32 bytes do, however large a plane is
RUN = 4  # outputs that a thread finishes at a time
#: outputs of an item: 16 for each thread, so that what a block does between two barriers hides what it waits there for
ITEM_OUTPUTS = 16 * THREADS
#: what an item takes a block at least, and a row of a thread's column: guesses
ITEM_SECONDS, ROW_SECONDS = 0.8e-6, 0.05e-6


def known_window(problem: Any) -> str:
    """Return the window that knows R, S and the stride."""
    window = window_of(problem)
    if problem.r != problem.s or window.dilation != (1, 1) or window.stride[0] != window.stride[1]:
        return ANY
    return KNOWN.get((problem.r, window.stride[0]), ANY)


def share_of(problem: Any) -> float:
    """Return the share of LANES_A_CLOCK that the products reach."""
    return SHARES[known_window(problem)][BYTES[problem.dtype] == 4]


def runs_of(problem: Any) -> int:
    """Return the threads that share a row: of 16-bit elements one takes two columns where their cells are neighbours."""
    two = BYTES[problem.dtype] == 2 and known_window(problem) in ("Window3", "Window5", "Window7")
    return int(-(-problem.q // 2) if two else problem.q)


@dataclass(frozen=True)
class Plan:
    """How many planes a block has, how they are cut into strips and parts, and how many blocks of a slab run together."""

    problem: Any
    planes: int
    strip_rows: int
    together: int = 1

    @property
    def slabs(self) -> int:
        """Blocks side by side that cover the output channels."""
        return -(-self.problem.k // self.planes)

    @property
    def strips(self) -> int:
        """Strips of an image."""
        return -(-self.problem.p // self.strip_rows)

    @property
    def items(self) -> int:
        """Items of a slab."""
        return int(self.problem.n * self.strips)

    @property
    def bands(self) -> int:
        """The most rows of x that a strip's windows hold."""
        window = window_of(self.problem)
        return int(min(self.problem.h, (self.strip_rows - 1) * window.stride[0] + (self.problem.r - 1) * window.dilation[0] + 1))

    @property
    def x_planes(self) -> int:
        """The most planes of x that a block's channels belong to."""
        multiplier = multiplier_of(self.problem)
        if self.planes % multiplier == 0:
            return self.planes // multiplier
        return 1 if multiplier % self.planes == 0 else min((self.planes - 1) // multiplier + 2, int(self.problem.c))

    @property
    def x_pitch(self) -> int:
        """Elements of a staged band: whole pieces, wherever in a piece it begins."""
        piece = PIECE // BYTES[self.problem.dtype]
        return int(-(-(self.bands * self.problem.w + piece - 1) // piece) * piece)

    @property
    def y_pitch(self) -> int:
        """Sums of a strip: whole runs, wherever in a run it begins."""
        return int(-(-(self.strip_rows * self.problem.q + RUN - 1) // RUN) * RUN)

    @property
    def shared_bytes(self) -> int:
        """Bytes of two slots, of the sums, the weights and the terms."""
        taps = self.problem.r * self.problem.s
        return 2 * self.x_planes * self.x_pitch * BYTES[self.problem.dtype] + 4 * self.planes * (self.y_pitch + taps + 2)

    @property
    def run_lanes(self) -> int:
        """Threads of a run, a row of a part of a plane."""
        return lanes_of(runs_of(self.problem))

    @property
    def run_step(self) -> int:
        """The step from run to run by which the lanes of a warp meet least in a bank."""
        p, window, count = self.problem, window_of(self.problem), self.planes * self.parts
        if count == 1:
            return 1
        element, part_rows, columns = BYTES[p.dtype], -(-self.strip_rows // self.parts), -(-p.q // runs_of(p))
        x_plane, y_plane = p.h * p.w if self.bands == p.h else self.x_pitch, p.p * p.q if self.strip_rows == p.p else self.y_pitch
        x = Places(x_plane * element // multiplier_of(p), part_rows * window.stride[0] * p.w * element, columns * window.stride[1] * element, element)
        y = Places(4 * y_plane, 4 * part_rows * p.q, 4 * columns, 4)
        return best_step(Runs(count, self.parts, runs_of(p), 1, x, y))

    @property
    def parts(self) -> int:
        """Parts of a strip, until every thread has a column of one; a known window's part reads R - 1 rows for nothing."""
        least = 1 if known_window(self.problem) == ANY else self.problem.r
        return max(1, min(-(-THREADS // (self.planes * self.run_lanes)), self.strip_rows // least))

    @property
    def threads(self) -> int:
        """Threads of a block: whole warps."""
        return int(min(THREADS, -(-self.planes * self.run_lanes * self.parts // WARP) * WARP))

    @property
    def blocks(self) -> int:
        """Blocks of the launch."""
        return self.together * self.slabs


def first_plan(problem: Any) -> Plan | None:
    """Return the plan with the longest strips, and then the most planes, that an item has; None where not even one row fits."""
    for most in (SHARED_BYTES, MOST_SHARED_BYTES):
        if (rows := most_of(problem.p, partial(_fits, problem, most, planes=1))) > 0:
            rows = -(-problem.p // -(-problem.p // rows))  # strips of equal height
            return Plan(problem, _planes_of(problem, max(1, ITEM_OUTPUTS // (rows * problem.q)), partial(_fits, problem, most, rows)), rows)
    return None


def _fits(problem: Any, most: int, rows: int, planes: int) -> bool:
    return Plan(problem, planes, rows).shared_bytes <= most


def _planes_of(problem: Any, most: int, fits: Callable[[int], bool]) -> int:
    """Return at most so many planes that fit, in slabs of equal size: those of whole channels where they fit, else those that read a channel least often."""
    multiplier = multiplier_of(problem)
    if (channels := most_of(min(problem.c, most // multiplier), lambda count: fits(count * multiplier))) > 0:
        size = -(-problem.c // -(-problem.c // channels))
        even = -(-size // EVEN) * EVEN
        return int(even if even <= channels else size // EVEN * EVEN or size) * multiplier
    # slabs that meet a channel, on average: one more for each that straddles two
    reads = {planes: (multiplier + planes - math.gcd(multiplier, planes)) / planes for planes in range(1, min(most, multiplier - 1) + 1)}
    return min((planes for planes in reads if fits(planes)), key=lambda planes: (reads[planes], planes), default=1)


def plan_of(problem: Any, device: Device) -> Plan:
    """Return the plan for a device: fewer planes, then shorter strips, where multiprocessors would be left without a block."""
    plan = first_plan(problem)
    assert plan is not None
    resident = resident_of(plan, device)
    wanted = resident * device.multiprocessors
    if plan.items * plan.slabs < device.multiprocessors:
        fewer = max(1, plan.planes * plan.items * plan.slabs // wanted)
        plan = replace(plan, planes=_planes_of(problem, fewer, partial(_fits, problem, plan.shared_bytes, plan.strip_rows)))
    if (blocks := plan.items * plan.slabs) < device.multiprocessors:
        # a strip of fewer than 2 * R rows reads a third of them twice
        strips = max(plan.strips, min(plan.strips * -(-wanted // max(1, blocks)), problem.p // (2 * problem.r)))
        plan = replace(plan, strip_rows=-(-problem.p // strips))
    return replace(plan, together=together_of(plan.items, plan.slabs, resident_of(plan, device), device))


def resident_of(plan: Plan, device: Device) -> int:
    """Return how many blocks a multiprocessor holds at once."""
    return resident_blocks(plan, REGISTERS[known_window(plan.problem)], device)


def planes_arguments(problem: Any, strides: Strides, plan: Plan) -> bytes:
    """Return the bytes of PlaneRunsArguments, pointers zero."""
    names = ("items", "slabs", "planes", "x_planes", "strips", "strip_rows", "parts", "x_pitch", "y_pitch")
    fields = {name: getattr(plan, name) for name in names}
    planes = PlanesArguments(conv=normal_arguments(problem, strides), multiplier=multiplier_of(problem), **fields)
    return bytes(PlaneRunsArguments(planes=planes, run_step=plan.run_step, run_lanes=plan.run_lanes))


class ConvDepthwisePlanes:
    """Description of csrc/include/atrous/kernels/conv_depthwise_planes.cuh."""

    name = "conv_depthwise_planes"
    operation = "conv2d"
    header = "atrous/kernels/conv_depthwise_planes.cuh"

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why this kernel does not take the convolution, or None."""
        if reason := depthwise_declines(problem, "NCHW", "conv_depthwise"):
            return reason
        if problem.padding_mode != "zeros":
            return f"the padding mode is {problem.padding_mode!r}, and it takes zeros, which it does not stage"
        if first_plan(problem) is None:
            return f"{problem.r} rows of {problem.w} cells, dilated by {problem.dilation[0]}, pass {MOST_SHARED_BYTES} bytes of shared memory"
        if (most := problem.n * problem.p * problem.k) > GRID_LIMIT:
            return f"{most} blocks, one a row of a plane, are more than a grid's {GRID_LIMIT}"
        return None

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the launch for operands of these strides (default: contiguous) on a device (default: the simulated one)."""
        return self._launch(problem, strides, plan_of(problem, device or DEVICES["simulated"]))

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the launches for all devices, and each with a block for every item: all give the same bits."""
        for plan in every_plan(plan_of, problem):
            yield self._launch(problem, strides, plan)

    def _launch(self, problem: Any, strides: Strides | None, plan: Plan) -> Launch:
        return Launch(
            name=f"{self.name}<{CPP_TYPES[problem.dtype]}, {known_window(problem)}>",
            header=self.header,
            grid=(plan.blocks, 1, 1),
            block=(plan.threads, 1, 1),
            shared_bytes=-(-plan.shared_bytes // PIECE) * PIECE,
            parameters=planes_arguments(problem, strides or default_strides(problem), plan),
            pointers=pointer_names(ConvArguments),
        )

    def _work(self, problem: Any, plan: Plan, device: Device) -> Work:
        again = plan.strips * plan.bands / max(1, problem.h)  # rows of x, with those of two strips
        moved = moved_bytes(problem) + int(x_bytes(problem) * max(0.0, again - 1))
        turns = turns_of(plan.items, plan.slabs, plan.together, resident_of(plan, device), device)
        rows = -(-plan.strip_rows // plan.parts) * -(-plan.planes * runs_of(problem) * plan.parts // plan.threads)
        return Work(moved, problem.flops, turns * (ITEM_SECONDS + rows * ROW_SECONDS))

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time."""
        return self._work(problem, plan_of(problem, device), device).seconds(device, share_of(problem))

    def account(self, problem: Any, device: Device) -> str:
        """Return what the estimate rests on, in words."""
        plan, window = plan_of(problem, device), known_window(problem)
        blocks = f"{plan.blocks} blocks of {plan.planes} planes, strips of {plan.strip_rows} rows"
        bound = self._work(problem, plan, device).bound(device, share_of(problem))
        return f"memory ({device.bandwidth / 1e12:.3g} TB/s) or the ordinary units with {window}, {blocks}, bound by {bound}"

    def instances(self) -> Iterator[str]:
        """Yield every name that `variants` can give."""
        for dtype in DTYPES:
            for window in WINDOWS:
                yield f"{self.name}<{CPP_TYPES[dtype]}, {window}>"


KERNEL = ConvDepthwisePlanes()
