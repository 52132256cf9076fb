"""What both depthwise kernels share: the windows they know, what they decline, and what their time is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .base import INT32_ELEMENTS, Device
from .gemm_cost import estimates_of
from .parameters import BYTES, ConvArguments, conv_arguments

DTYPES = ("float16", "bfloat16", "float32")
#: (R and S, stride) -> the window of depthwise_window.cuh that knows them
KNOWN = {(3, 1): "Window3", (3, 2): "Window3Stride2", (5, 1): "Window5", (5, 2): "Window5Stride2", (7, 1): "Window7"}
ANY = "AnyWindow"
WINDOWS = (*KNOWN.values(), ANY)
#: shared memory that two blocks of a multiprocessor of 100 KB may ask for, and the most that one may on every device from sm_80 on
SHARED_BYTES = 48 * 1024
MOST_SHARED_BYTES = 96 * 1024
#: the share of the bandwidth that whole rows moved by 16-byte copies reach: a guess
MEMORY_SHARE = 0.85
#: instructions that a multiprocessor issues in a clock, times the lanes of a warp: of sm_80 twice its FMA rate, else that
LANES_A_CLOCK = 128
#: blocks for each that a device holds at once, and the least items of those: so weights are a sixteenth of what they would be
MORE_BLOCKS, ITEMS_OF_BLOCK = 4, 16


@dataclass(frozen=True)
class Window:
    """Strides and dilations that mean something: 1 where there is one output, or one tap."""

    stride: tuple[int, int]
    dilation: tuple[int, int]


def window_of(problem: Any) -> Window:
    """Return the Window of a convolution."""
    outputs, taps = (problem.p, problem.q), (problem.r, problem.s)
    stride = tuple(step if count > 1 else 1 for step, count in zip(problem.stride, outputs))
    dilation = tuple(step if count > 1 else 1 for step, count in zip(problem.dilation, taps))
    return Window(stride, dilation)  # type: ignore[arg-type]


def multiplier_of(problem: Any) -> int:
    """Return the output channels of a channel."""
    return int(problem.k // problem.c)


def normal_arguments(problem: Any, strides: Any) -> ConvArguments:
    """Return ConvArguments with the strides and dilations of `window_of`."""
    conv, window = conv_arguments(problem, strides), window_of(problem)
    (conv.stride_h, conv.stride_w), (conv.dilation_h, conv.dilation_w) = window.stride, window.dilation
    return conv


def depthwise_declines(problem: Any, layout: str, other: str) -> str | None:
    """Return why neither depthwise kernel, or not the one of this layout, takes the convolution, or None."""
    if problem.groups != problem.c:
        return f"there are {problem.groups} groups of {problem.c // problem.groups} channels, and it takes one channel a group"
    if problem.k == 0:
        return "K is 0, and it has nothing to share out"
    if problem.dtype not in DTYPES:
        return f"x is {problem.dtype}, and it takes {', '.join(DTYPES)}"
    if problem.layout != layout:
        return f"the layout is {problem.layout}, which {other} takes"
    top, bottom, left, right = problem.pads
    if max(problem.h + max(0, top) + max(0, bottom), problem.w + max(0, left) + max(0, right)) > INT32_ELEMENTS:
        return f"H = {problem.h} and W = {problem.w} with padding {problem.pads} pass 2^31 - 1, and it counts cells of an axis in 32 bits"
    if problem.k > INT32_ELEMENTS - 2**16:
        return f"K is {problem.k}, and it counts channels in 32 bits"
    return None


def together_of(items: int, slabs: int, resident: int, device: Device) -> int:
    """Return the blocks of a slab: as many as the device holds at once, or more where each still has ITEMS_OF_BLOCK items.

    Blocks that end one by one leave no multiprocessor idle for long; weights are read once for each.
    """
    held = max(1, resident * device.multiprocessors // max(1, slabs))
    more = min(MORE_BLOCKS * resident * device.multiprocessors // max(1, slabs), items // ITEMS_OF_BLOCK)
    return -(-items // max(1, -(-items // max(held, more))))  # equally many items each, but for the last


def turns_of(items: int, slabs: int, together: int, resident: int, device: Device) -> float:
    """Return how many items follow each other on the busiest place for a block."""
    places = resident * device.multiprocessors
    return max(-(-items // max(1, together)), items * slabs / places)


@dataclass(frozen=True)
class Work:
    """What the estimate of a launch rests on."""

    moved_bytes: int
    flops: int
    block_seconds: float  # that items which follow each other on a multiprocessor take at least

    def bounds(self, device: Device, share: float) -> dict[str, float]:
        """Return the seconds that each of memory, arithmetic and latency takes alone; share: of the issued instructions, those that multiply."""
        latency = 0.0 if device.name == "simulated" else self.block_seconds
        return {
            "memory": self.moved_bytes / (MEMORY_SHARE * device.bandwidth),
            "the ordinary units": self.flops / min(device.flops, share * LANES_A_CLOCK * 2 * device.multiprocessors * device.clock),
            "latency": latency,
        }

    def seconds(self, device: Device, share: float) -> float:
        """Return the estimated time."""
        guess = estimates_of(device)
        return max(self.bounds(device, share).values()) + guess.ramp_seconds + guess.launch_seconds

    def bound(self, device: Device, share: float) -> str:
        """Return what bounds it."""
        found = self.bounds(device, share)
        return max(found, key=lambda word: found[word])


def x_bytes(problem: Any) -> int:
    """Return the bytes of x."""
    return math.prod(problem.x_shape) * BYTES[problem.dtype]
