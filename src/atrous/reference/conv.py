"""What a convolution means: NumPy, one tap at a time, float64 inside (int64 for integers), rounded once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..problem import Conv2dProblem
from .store import INTEGERS, store
from .taps import canonical, gather, rows_and_columns, source_table


def conv2d(
    problem: Conv2dProblem,
    x: Any,
    weight: Any,
    scale: Any = None,
    bias: Any = None,
    residual: Any = None,
) -> np.ndarray:
    """Return the convolution that `problem` describes.

    y[n,p,q,k] = act(scale[k] * sum_{r,s,c} x[n, p*stride_h - top + r*dilation_h, q*stride_w - left + s*dilation_w, g*C/G + c]
    * weight[k,r,s,c] + bias[k] + residual[n,p,q,k])

    Parameters
    ----------
    problem : Conv2dProblem
        Sizes, window, padding, dtypes, layouts and epilogue.
    x : array of problem.x_shape and problem.dtype
    weight : array of problem.weight_shape and problem.dtype
    scale, bias : array (K,), optional
    residual : array of problem.y_shape and problem.out_dtype, optional

    Returns
    -------
    numpy.ndarray of problem.y_shape and problem.out_dtype

    Notes
    -----
    Padding of mode "zeros" holds the number 0 (the zero point of an integer x), and 0 times an infinite or NaN
    weight is NaN, as IEEE 754 has it.
    """
    return store(conv2d_unrounded(problem, x, weight, scale, bias, residual), problem.out_dtype)


def conv2d_unrounded(
    problem: Conv2dProblem,
    x: Any,
    weight: Any,
    scale: Any = None,
    bias: Any = None,
    residual: Any = None,
) -> np.ndarray:
    """Return what `conv2d` returns before its one rounding: float64, or int64 for integers without an epilogue."""
    with np.errstate(invalid="ignore", over="ignore"):
        total = _sums(problem, canonical(x, problem.layout, "NHWC"), canonical(weight, problem.weight_layout, "KRSC"))
        y = _epilogue(problem, total, scale, bias, residual)
    return np.ascontiguousarray(canonical(y, "NHWC", problem.layout))


def _sums(problem: Conv2dProblem, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the (N, P, Q, K) sums of x (N, H, W, C) times weight (K, R, S, C/G), in float64 or int64."""
    wide = np.int64 if problem.dtype in INTEGERS else np.float64
    x = x.astype(wide) - wide(problem.zero_point)
    weight = weight.astype(wide)
    rows, columns = rows_and_columns(problem)
    rows = source_table(problem.padding_mode, rows, problem.h)
    columns = source_table(problem.padding_mode, columns, problem.w)
    inputs, outputs = problem.c // problem.groups, problem.k // problem.groups
    total = np.zeros((problem.n, problem.p, problem.q, problem.k), dtype=wide)
    for r in range(problem.r):
        for s in range(problem.s):
            tap = gather(x, rows[:, r], columns[:, s], 0)
            for g in range(problem.groups):
                of_group = slice(g * outputs, (g + 1) * outputs)
                channels = tap[..., g * inputs : (g + 1) * inputs]
                total[..., of_group] += np.einsum("npqc,kc->npqk", channels, weight[of_group, r, s])
    return total


def _epilogue(problem: Conv2dProblem, total: np.ndarray, scale: Any, bias: Any, residual: Any) -> np.ndarray:
    """Return the sums (N, P, Q, K) after scale, bias, residual, activation and the output's zero point, in this order."""
    untouched = scale is None and bias is None and residual is None and problem.activation == ("none",)
    if untouched and total.dtype == np.int64:
        return total + problem.out_zero_point
    y = total.astype(np.float64)
    if scale is not None:
        y = y * np.asarray(scale).astype(np.float64)
    if bias is not None:
        y = y + np.asarray(bias).astype(np.float64)
    if residual is not None:
        y = y + canonical(residual, problem.layout, "NHWC").astype(np.float64)
    y = activate(y, problem.activation)
    if problem.out_dtype in INTEGERS:
        y = np.rint(y) + problem.out_zero_point
    return y


def activate(y: np.ndarray, activation: tuple[Any, ...]) -> np.ndarray:
    """Return the activation (name, number, ...) of float64 values; NaN stays NaN."""
    name, *numbers = activation
    if name == "none":
        return y
    if name == "relu":
        return np.maximum(y, 0.0)
    if name == "relu6":
        return np.clip(y, 0.0, 6.0)
    if name == "leaky_relu":
        return np.where(y > 0, y, numbers[0] * y)
    if name == "silu":
        return y * _sigmoid(y)
    if name == "gelu":
        return 0.5 * y * (1 + _erf(y / math.sqrt(2)))
    if name == "gelu_tanh":
        return 0.5 * y * (1 + np.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))
    if name == "hardswish":
        return y * (np.clip(y + 3, 0.0, 6.0) / 6)
    if name == "sigmoid":
        return _sigmoid(y)
    if name == "tanh":
        return np.tanh(y)
    if name == "clip":
        return np.clip(y, *numbers)
    raise ValueError(f"activation {activation!r}")


def _sigmoid(y: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-y))


def _erf(y: np.ndarray) -> np.ndarray:
    return np.array([math.erf(value) for value in y.flat], dtype=np.float64).reshape(y.shape)
