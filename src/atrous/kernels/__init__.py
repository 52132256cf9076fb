"""The kernel descriptions, in the order in which they are asked: the most specialised first, the one that takes all last."""

from __future__ import annotations

from . import conv_direct, conv_pointwise, pool
from .base import Kernel

ORDER: tuple[Kernel, ...] = (conv_pointwise.KERNEL, conv_direct.KERNEL, pool.KERNEL)


def for_operation(operation: str) -> tuple[Kernel, ...]:
    """Return the kernels of "conv2d" or "pool2d", in ORDER."""
    return tuple(kernel for kernel in ORDER if kernel.operation == operation)


def named(name: str) -> Kernel | None:
    """Return the description of the kernel called `name`, or None."""
    return next((kernel for kernel in ORDER if kernel.name == name), None)
