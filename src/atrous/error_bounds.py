"""How far a right implementation can be from the exact value, before its last rounding: bounds of convolutions, poolings and sums, a priori."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from . import weighting
from .problem import Conv2dProblem, ElementwiseProblem, Pool2dProblem
from .reference import conv2d_unrounded, pool2d_unrounded
from .reference.store import INTEGERS

Inputs = dict[str, np.ndarray]

#: dtype -> (significand bits with the hidden one, exponent of the smallest subnormal)
FLOATS = {"float16": (11, -24), "bfloat16": (8, -133), "float32": (24, -149), "float64": (53, -1074)}
#: activation -> the largest slope of its curve
SLOPES = {"silu": 1.1, "gelu": 1.13, "gelu_tanh": 1.13, "hardswish": 1.5, "sigmoid": 0.25}
#: Rounding errors of one evaluation of exp, tanh, erf or pow, and of the few operations around it, in units of the accumulator.
EVALUATION = 16


def _unit(problem: Conv2dProblem | Pool2dProblem | ElementwiseProblem) -> float:
    return 2.0**-53 if problem.dtype == "float64" else 2.0**-24


def _gamma(steps: float, unit: float) -> float:
    """Return the bound of the relative error of `steps` roundings: n*u / (1 - n*u)."""
    return steps * unit / (1 - steps * unit)


def half_ulp(magnitude: np.ndarray, dtype: str) -> np.ndarray:
    """Return half a unit in the last place of numbers of this magnitude in a dtype."""
    bits, smallest = FLOATS[dtype]
    exponent = np.frexp(np.where(np.isfinite(magnitude), magnitude, 0.0))[1]
    return np.ldexp(0.5, np.maximum(exponent - bits, smallest))


def conv_error(problem: Conv2dProblem, wide: Inputs, of_x: np.ndarray | None = None) -> np.ndarray:
    """Return the bound of a convolution's own errors, and of those that its x brings, which are at most `of_x`."""
    unit = _unit(problem)
    taps = problem.r * problem.s * (problem.c // problem.groups)
    real = replace(problem, dtype="float64", out_dtype="float64", scale=None, bias=None, residual=False, precision="float32", zero_point=0, out_zero_point=0)
    plain = replace(real, activation=("none",))
    if problem.dtype in INTEGERS:
        if not (problem.scale or problem.bias or problem.residual) and problem.activation == ("none",):
            return np.zeros(problem.y_shape)
        magnitude = np.abs(conv2d_unrounded(plain, wide["x"] - problem.zero_point, wide["weight"]))
        error = np.zeros(problem.y_shape)
    else:
        carried = 0.0 if of_x is None else conv2d_unrounded(plain, of_x, np.abs(wide["weight"]))
        magnitude = conv2d_unrounded(plain, np.abs(wide["x"]), np.abs(wide["weight"])) + carried
        error = carried + _gamma(taps + 1, unit) * magnitude + taps * 2.0 ** (-1074 if problem.dtype == "float64" else -149)
        if problem.precision == "tf32":
            error = error + (2 * 2.0**-10 + 2.0**-20) * magnitude  # ten stored bits an operand, rounded or cut
    channel = (1, -1, 1, 1) if problem.layout == "NCHW" else (1, 1, 1, -1)
    if problem.scale:
        scale = np.abs(wide["scale"]).reshape(channel)
        error, magnitude = error * scale, magnitude * scale
    if problem.bias:
        magnitude = magnitude + np.abs(wide["bias"]).reshape(channel)
    if problem.residual:
        magnitude = magnitude + np.abs(wide["residual"])
    if problem.scale or problem.bias or problem.residual or problem.dtype in INTEGERS:
        error = error + _gamma(6, unit) * (magnitude + error)
    return _through_activation(problem.activation, error, magnitude, unit)


def elementwise_error(problem: ElementwiseProblem, wide: Inputs) -> np.ndarray:
    """Return the bound of the errors of a sum of two arrays, or of none."""
    if not problem.other:
        return np.zeros(problem.y_shape)
    unit, magnitude = _unit(problem), np.abs(wide["x"]) + np.abs(wide["other"])
    return _through_activation(problem.activation, _gamma(1, unit) * magnitude, magnitude, unit)


def _through_activation(activation: tuple[Any, ...], error: np.ndarray, magnitude: np.ndarray, unit: float) -> np.ndarray:
    name, *numbers = activation
    if name in ("none", "relu", "relu6", "clip"):
        return error + unit * max([abs(x) for x in numbers if math.isfinite(x)], default=0.0)
    if name == "leaky_relu":
        return max(1.0, abs(numbers[0])) * (error + 2 * unit * magnitude)
    return SLOPES.get(name, 1.0) * error + EVALUATION * unit * np.maximum(magnitude + error, 1.0)


def pool_error(problem: Pool2dProblem, wide: Inputs) -> np.ndarray:
    """Return the bound of the errors of a pooling of exact cells."""
    if problem.kind == "max":
        return np.zeros(problem.y_shape)
    unit, taps = _unit(problem), problem.r * problem.s
    real = replace(problem, dtype="float64")
    if problem.kind in ("lp", "rms"):
        power = problem.power if problem.kind == "lp" else 2.0
        relative = _gamma(taps + EVALUATION, unit) / min(1.0, power) + EVALUATION * unit
        return relative * pool2d_unrounded(real, wide["x"])
    if problem.kind == "avg":
        return _gamma(taps + 2, unit) * pool2d_unrounded(replace(real, divisor=problem.divisor and abs(problem.divisor)), np.abs(wide["x"]))
    if "tap_weight" in wide:
        weights = wide["tap_weight"]
    else:
        weights = np.array(weighting.tap_weights(problem.weighting, (problem.r, problem.s), problem.dilation, problem.sigma))
    custom = replace(real, weighting="custom", sigma=None)
    ones = np.ones_like(wide["x"])
    # sums of |w| |x| and of |w|, each over the sum of |w|: the ratio to the sum of w itself matters where weights change sign
    size = pool2d_unrounded(custom, np.abs(wide["x"]), np.abs(weights))
    absolute = pool2d_unrounded(replace(custom, normalize="full"), ones, np.abs(weights)) * np.abs(weights).sum()
    signed = pool2d_unrounded(replace(custom, normalize="full"), ones, weights) * weights.sum()
    if problem.normalize == "full":
        size, absolute, signed = size * np.abs(weights).sum() / absolute, np.abs(weights).sum(), weights.sum()
    y = np.abs(pool2d_unrounded(custom, wide["x"], weights))
    return _gamma(taps + 3, unit) * (size + y) * np.abs(absolute / signed)
