"""The kernel descriptions, in the order in which they are asked: the most specialised first, the one that takes all last."""

from __future__ import annotations

from typing import Any

from . import (
    conv_depthwise,
    conv_depthwise_large,
    conv_depthwise_planes,
    conv_direct,
    conv_first,
    conv_first_pool,
    conv_grouped,
    conv_igemm_sm80,
    conv_pointwise,
    conv_pool,
    conv_separable,
    elementwise,
    finish_splits,
    packing,
    pool,
    pool_bands,
    pool_stream,
    transpose,
)
from .base import Helper, Kernel

ORDER: tuple[Kernel, ...] = (
    conv_first.KERNEL,
    conv_igemm_sm80.KERNEL,
    conv_pointwise.KERNEL,
    conv_depthwise.KERNEL,
    conv_depthwise_planes.KERNEL,
    conv_grouped.KERNEL,
    conv_depthwise_large.KERNEL,
    conv_direct.KERNEL,
    pool_stream.KERNEL,
    pool_bands.KERNEL,
    pool.KERNEL,
    conv_first_pool.KERNEL,
    conv_pool.KERNEL,
    conv_separable.KERNEL,
    transpose.KERNEL,
    elementwise.KERNEL,
)

#: what launches of those bring with them: kernels that are built and proved like them, and given no problem
HELPERS: tuple[Helper, ...] = (finish_splits.KERNEL, packing.KERNEL)


def operation_of(problem: Any) -> str:
    """Return which kernels a problem is given to: those of "conv2d", "pool2d", "conv2d_pool2d", "separable_conv2d" or "elementwise"."""
    if hasattr(problem, "depthwise"):
        return "separable_conv2d"
    if hasattr(problem, "pool"):
        return "conv2d_pool2d"
    if hasattr(problem, "other"):
        return "elementwise"
    return "conv2d" if hasattr(problem, "groups") else "pool2d"


def for_operation(operation: str) -> tuple[Kernel, ...]:
    """Return the kernels of "conv2d", "pool2d", "conv2d_pool2d", "separable_conv2d" or "elementwise", in ORDER."""
    return tuple(kernel for kernel in ORDER if kernel.operation == operation)


def named(name: str) -> Kernel | None:
    """Return the description of the kernel called `name`, or None."""
    return next((kernel for kernel in ORDER if kernel.name == name), None)
