"""What a pooled convolution means: the reference's convolution, rounded as it is stored, and then the reference's pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..problem import ConvPool2dProblem
from .conv import conv2d
from .pool import pool2d, pool2d_unrounded


def conv2d_pool2d(
    problem: ConvPool2dProblem,
    x: Any,
    weight: Any,
    scale: Any = None,
    bias: Any = None,
    residual: Any = None,
) -> np.ndarray:
    """Return pool(conv(x)) as `problem` describes both; the operands are those of the convolution.

    Returns
    -------
    numpy.ndarray of problem.y_shape and problem.out_dtype
    """
    return np.asarray(pool2d(problem.pool, conv2d(problem.conv, x, weight, scale, bias, residual)))


def conv2d_pool2d_unrounded(
    problem: ConvPool2dProblem,
    x: Any,
    weight: Any,
    scale: Any = None,
    bias: Any = None,
    residual: Any = None,
) -> np.ndarray:
    """Return what `conv2d_pool2d` returns before its second rounding; the first is part of the meaning."""
    return np.asarray(pool2d_unrounded(problem.pool, conv2d(problem.conv, x, weight, scale, bias, residual)))
