"""The kernel descriptions, in the order in which they are asked: the most specialised first, the one that takes all last."""

from __future__ import annotations

from . import conv_direct, conv_first, conv_igemm_sm80, conv_pointwise, conv_pool, finish_splits, packing, pool
from .base import Helper, Kernel

ORDER: tuple[Kernel, ...] = (conv_first.KERNEL, conv_igemm_sm80.KERNEL, conv_pointwise.KERNEL, conv_direct.KERNEL, pool.KERNEL)

#: what launches of those bring with them: kernels that are built and proved like them, and given no problem
HELPERS: tuple[Helper, ...] = (finish_splits.KERNEL, packing.KERNEL, conv_pool.KERNEL)


def for_operation(operation: str) -> tuple[Kernel, ...]:
    """Return the kernels of "conv2d", "pool2d" or "conv2d_pool2d", in ORDER."""
    return tuple(kernel for kernel in ORDER if kernel.operation == operation)


def named(name: str) -> Kernel | None:
    """Return the description of the kernel called `name`, or None."""
    return next((kernel for kernel in ORDER if kernel.name == name), None)
