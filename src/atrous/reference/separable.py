"""What a separable convolution means: the reference's depthwise convolution, rounded as it is stored, and then the reference's 1x1."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..problem import SeparableConv2dProblem
from .conv import conv2d, conv2d_unrounded


def depthwise_of(problem: SeparableConv2dProblem, x: Any, depthwise_weight: Any, depthwise_scale: Any = None, depthwise_bias: Any = None) -> np.ndarray:
    """Return what the 1x1 reads."""
    return np.asarray(conv2d(problem.depthwise, x, depthwise_weight, depthwise_scale, depthwise_bias))


def separable_conv2d(
    problem: SeparableConv2dProblem,
    x: Any,
    depthwise_weight: Any,
    weight: Any,
    depthwise_scale: Any = None,
    depthwise_bias: Any = None,
    scale: Any = None,
    bias: Any = None,
    residual: Any = None,
) -> np.ndarray:
    """Return the 1x1 of the depthwise of x, as `problem` describes both; weight, scale, bias and residual are those of the 1x1.

    Returns
    -------
    numpy.ndarray of problem.y_shape and problem.out_dtype
    """
    between = depthwise_of(problem, x, depthwise_weight, depthwise_scale, depthwise_bias)
    return np.asarray(conv2d(problem.pointwise, between, weight, scale, bias, residual))


def separable_conv2d_unrounded(
    problem: SeparableConv2dProblem,
    x: Any,
    depthwise_weight: Any,
    weight: Any,
    depthwise_scale: Any = None,
    depthwise_bias: Any = None,
    scale: Any = None,
    bias: Any = None,
    residual: Any = None,
) -> np.ndarray:
    """Return what `separable_conv2d` returns before its second rounding; the first is part of the meaning."""
    between = depthwise_of(problem, x, depthwise_weight, depthwise_scale, depthwise_bias)
    return np.asarray(conv2d_unrounded(problem.pointwise, between, weight, scale, bias, residual))
