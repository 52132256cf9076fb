"""in_two: a pooled convolution as the launches of a convolution and of a pooling, with the convolution's output in scratch between them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..launch import Launch
from .base import Device, Kernel, Strides, default_strides
from .parameters import BYTES

#: the scratch that holds the convolution's output
BETWEEN = "between"
#: what stands between the names of two kernels
THEN = ", then "


def between_bytes(problem: Any) -> int:
    """Return the bytes of the convolution's output, which one kernel for both never writes."""
    return math.prod(problem.conv.y_shape) * BYTES[problem.conv.out_dtype]


def of_convolution(problem: Any, strides: Strides) -> Strides:
    """Return the strides of the convolution's operands, of which y is not in memory, or contiguous between the two."""
    return replace(strides, y=default_strides(problem.conv).y, index=(0, 0, 0, 0))


class InTwo:
    """A kernel of each kind, one after the other; `name` says both: "conv_direct, then pool"."""

    operation = "conv2d_pool2d"
    header = ""

    def __init__(self, conv: Kernel, pool: Kernel) -> None:
        self.conv = conv
        self.pool = pool
        self.name = conv.name + THEN + pool.name

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why one of the two does not take its part, or None."""
        return self.conv.declines(problem.conv, device) or self.pool.declines(problem.pool, device)

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the convolution's launch, with the pooling's behind what it has behind itself."""
        strides = strides or default_strides(problem)
        first_strides = of_convolution(problem, strides)
        first = self.conv.launch(problem.conv, first_strides, device)
        second = self.pool.launch(problem.pool, Strides(x=first_strides.y, y=strides.y, index=strides.y), device)
        scratch = (*first.scratch, (BETWEEN, between_bytes(problem)))
        after = (*(_renamed(launch, "y") for launch in first.after), _renamed(second, "x"))
        return replace(_renamed(first, "y"), scratch=scratch, after=after)

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time: that of both."""
        return self.conv.seconds(problem.conv, device) + self.pool.seconds(problem.pool, device)

    def account(self, problem: Any, device: Device) -> str:
        """Return what both estimates rest on, in words."""
        words = (self.conv.account(problem.conv, device), self.pool.account(problem.pool, device))
        return " and ".join(dict.fromkeys(words))

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the one sequence: each of the two is proved on its own."""
        yield self.launch(problem, strides)

    def instances(self) -> Iterator[str]:
        """Yield nothing: the instances are those of the two."""
        yield from ()


def _renamed(launch: Launch, operand: str) -> Launch:
    """Return a launch that finds in scratch what it knows as `operand`."""
    pointers = tuple(BETWEEN if name == operand else name for name in launch.pointers)
    maps = tuple(replace(found, operand=BETWEEN) if found.operand == operand else found for found in launch.tensor_maps)
    return replace(launch, pointers=pointers, tensor_maps=maps)
