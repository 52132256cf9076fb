"""in_two: a pair of problems as the launches of the one and then of the other, with what the first gives in scratch between them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..launch import PACKED, Launch
from .base import Device, Kernel, Strides, default_strides
from .parameters import BYTES

#: the scratch that holds what the first gives
BETWEEN = "between"
#: what stands between the names of two kernels
THEN = ", then "
#: operand of a depthwise convolution alone -> that of a separable one, which has no residual of that name
OF_DEPTHWISE = {name: f"depthwise_{name}" for name in ("weight", "scale", "bias", "residual")}


def between_bytes(problem: Any) -> int:
    """Return the bytes of what the first of a pair gives, which one kernel for both never writes."""
    first = problem.parts[0]
    return math.prod(first.y_shape) * BYTES[first.out_dtype]


def of_convolution(problem: Any, strides: Strides) -> Strides:
    """Return the strides of the operands of a convolution that is pooled, of which y is not in memory, or contiguous between the two."""
    return replace(strides, y=default_strides(problem.conv).y, index=(0, 0, 0, 0))


def of_parts(problem: Any, strides: Strides) -> tuple[Strides, Strides]:
    """Return the strides of the operands of both parts, contiguous between the two."""
    if hasattr(problem, "pool"):
        first = of_convolution(problem, strides)
        return first, Strides(x=first.y, y=strides.y, index=strides.y)
    between = default_strides(problem.pointwise).x
    first = Strides(x=strides.x, y=between, weight=strides.depthwise_weight, alignment=strides.alignment, weight_alignment=strides.weight_alignment)
    aligned = strides.weight_alignment  # scratch begins at a multiple of more than that
    return first, Strides(x=between, y=strides.y, weight=strides.weight, residual=strides.residual, alignment=aligned, weight_alignment=aligned)


class InTwo:
    """A kernel for each of a pair, one after the other; `name` says both: "conv_direct, then pool"."""

    header = ""

    def __init__(self, first: Kernel, second: Kernel) -> None:
        self.first = first
        self.second = second
        self.name = first.name + THEN + second.name
        self.operation = "conv2d_pool2d" if second.operation == "pool2d" else "separable_conv2d"

    def declines(self, problem: Any, device: Device) -> str | None:
        """Return why one of the two does not take its part, or None."""
        first, second = problem.parts
        return self.first.declines(first, device) or self.second.declines(second, device)

    def launch(self, problem: Any, strides: Strides | None = None, device: Device | None = None) -> Launch:
        """Return the first's launch, with what it has before and behind itself, and with the second's behind that."""
        of_first, of_second = of_parts(problem, strides or default_strides(problem))
        first = self.first.launch(problem.parts[0], of_first, device)
        names = {"y": BETWEEN}
        if hasattr(problem, "depthwise"):
            names |= OF_DEPTHWISE | {name: _of_depthwise(name) for part in first.sequence for name, _ in part.scratch}
        first = _renamed(first, names)
        second = _renamed(self.second.launch(problem.parts[1], of_second, device), {"x": BETWEEN})
        return replace(
            first,
            scratch=(*first.scratch, *second.scratch, (BETWEEN, between_bytes(problem))),
            before=(*first.before, *second.before),
            after=(*first.after, replace(second, before=(), after=(), scratch=()), *second.after),
        )

    def seconds(self, problem: Any, device: Device) -> float:
        """Return the estimated time: that of both."""
        first, second = problem.parts
        return self.first.seconds(first, device) + self.second.seconds(second, device)

    def account(self, problem: Any, device: Device) -> str:
        """Return what both estimates rest on, in words."""
        first, second = problem.parts
        words = (self.first.account(first, device), self.second.account(second, device))
        return " and ".join(dict.fromkeys(words))

    def variants(self, problem: Any, strides: Strides | None = None) -> Iterator[Launch]:
        """Yield the one sequence: each of the two is proved on its own."""
        yield self.launch(problem, strides)

    def instances(self) -> Iterator[str]:
        """Yield nothing: the instances are those of the two."""
        yield from ()


def _of_depthwise(name: str) -> str:
    """Return the name of a depthwise convolution's scratch beside that of the 1x1."""
    return f"{PACKED}depthwise_{name.removeprefix(PACKED)}" if name.startswith(PACKED) else f"depthwise_{name}"


def _renamed(launch: Launch, names: dict[str, str]) -> Launch:
    """Return a launch, with those before and after it, whose operands and scratch have other names."""
    return replace(
        launch,
        pointers=tuple(names.get(name, name) for name in launch.pointers),
        tensor_maps=tuple(replace(found, operand=names.get(found.operand, found.operand)) for found in launch.tensor_maps),
        scratch=tuple((names.get(name, name), size) for name, size in launch.scratch),
        before=tuple(_renamed(part, names) for part in launch.before),
        after=tuple(_renamed(part, names) for part in launch.after),
    )
