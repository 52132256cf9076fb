"""Tools to prove a kernel right, one's own too: exact inputs, a priori error bounds, and a comparison that explains itself."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from . import weighting
from .problem import Conv2dProblem, ConvPool2dProblem, ElementwiseProblem, Pool2dProblem
from .reference import conv2d, conv2d_pool2d_unrounded, conv2d_unrounded, elementwise_unrounded, pool2d_unrounded
from .reference.store import INTEGERS, numpy_dtype, store
from .sampling import random_problem

__all__ = ["assert_matches", "exact_inputs", "expected_output", "is_exact", "random_inputs", "random_problem", "tolerance"]

Problem = Conv2dProblem | Pool2dProblem | ConvPool2dProblem | ElementwiseProblem
Inputs = dict[str, np.ndarray]

EXACT_SUM = 2**22  # float32 counts to 2^24; two bits are left for scale, bias and residual
#: dtype -> (significand bits with the hidden one, exponent of the smallest subnormal)
FLOATS = {"float16": (11, -24), "bfloat16": (8, -133), "float32": (24, -149), "float64": (53, -1074)}
#: activation -> the largest slope of its curve
SLOPES = {"silu": 1.1, "gelu": 1.13, "gelu_tanh": 1.13, "hardswish": 1.5, "sigmoid": 0.25}
#: Rounding errors of one evaluation of exp, tanh, erf or pow, and of the few operations around it, in units of the accumulator.
EVALUATION = 16


def exact_inputs(problem: Problem, seed: int = 0, negative: bool = False) -> Inputs:
    """Return operands of small whole numbers whose sums are exact in the accumulator, in any order of adding.

    Parameters
    ----------
    problem : Conv2dProblem, Pool2dProblem or ConvPool2dProblem
    seed : int
    negative : bool
        Every element of x below 0 (uint8: below the zero point where there is one), so that padding that takes
        part in a maximum shows.

    Returns
    -------
    dict of numpy.ndarray
        The operands by name, as `atrous.reference` takes them: "x", "weight" and, where the problem has them,
        "scale" (powers of two), "bias" (distinct in neighbouring channels) and "residual"; pools: "x", and
        "tap_weight" where the weighting is "custom".

    Notes
    -----
    The output may be rounded, once, from an exact value. Compare with tolerance 0 where `is_exact(problem)`.
    """
    if isinstance(problem, ConvPool2dProblem):
        return exact_inputs(problem.conv, seed, negative)
    random = np.random.default_rng(seed)
    if isinstance(problem, ElementwiseProblem):
        return {name: _halves(random, problem.dtype, problem.x_shape, negative) for name in ("x", "other")[: 1 + problem.other]}
    if isinstance(problem, Pool2dProblem):
        inputs = {"x": _whole(random, problem.dtype, 9, problem.x_shape, 0, negative)}
        if problem.weighting == "custom":
            inputs["tap_weight"] = random.integers(1, 5, (problem.r, problem.s)).astype(_tap_dtype(problem))
        return inputs
    x_most, weight_most = _exact_magnitudes(problem)
    inputs = {
        "x": _whole(random, problem.dtype, x_most, problem.x_shape, problem.zero_point, negative),
        "weight": _whole(random, problem.dtype, weight_most, problem.weight_shape, 0, False),
    }
    if problem.scale:
        inputs["scale"] = _powers_of_two(random, problem).astype(numpy_dtype(problem.scale))
    if problem.bias:
        channel = np.arange(problem.k)
        inputs["bias"] = ((1 + channel % 120) * np.where(channel % 2, -1, 1)).astype(numpy_dtype(problem.bias))
    if problem.residual:
        inputs["residual"] = _whole(random, problem.out_dtype, 8, problem.y_shape, 0, False)
    return inputs


def _tap_dtype(problem: Pool2dProblem) -> str:
    return "float64" if problem.dtype == "float64" else "float32"


def _exact_magnitudes(problem: Conv2dProblem) -> tuple[int, int]:
    """Return the largest |x - zero point| and |weight| with which no partial sum passes EXACT_SUM."""
    taps = problem.r * problem.s * (problem.c // problem.groups)
    if problem.dtype not in INTEGERS:
        return (4, 3) if 12 * taps <= EXACT_SUM else (1, 1)
    return 255, max(1, min(127, EXACT_SUM // (255 * taps)))


def _whole(random: Any, dtype: str, most: int, shape: tuple[int, ...], zero: int, negative: bool) -> np.ndarray:
    limits = np.iinfo(dtype) if dtype in INTEGERS else None
    low, high = (zero - most, zero - 1) if negative else (zero - most, zero + most)
    if limits is not None:
        low, high = max(low, limits.min), max(limits.min, min(high, limits.max))
    return random.integers(low, high + 1, shape).astype(numpy_dtype(dtype))


def _halves(random: Any, dtype: str, shape: tuple[int, ...], negative: bool) -> np.ndarray:
    """Return halves beyond what 8 bits hold, so that stores of sums round ties and saturate; integers span their range."""
    if dtype in INTEGERS:
        return _whole(random, dtype, 255, shape, 0, negative)
    return (random.integers(-600, 0 if negative else 601, shape) / 2).astype(numpy_dtype(dtype))


def _powers_of_two(random: Any, problem: Conv2dProblem) -> np.ndarray:
    exponent = -6 if problem.out_dtype in ("int8", "uint8") else 0  # brings the sums of 8-bit products near the output's range
    return random.choice([-1.0, 1.0], problem.k) * np.exp2(exponent + random.integers(-1, 2, problem.k))


def random_inputs(problem: Problem, seed: int = 0) -> Inputs:
    """Return operands of random numbers, named as in `exact_inputs`; compare with `tolerance(problem, inputs)`.

    Floats are normal, weights divided by the square root of the taps so that sums stay near 1; integers span
    their whole range.
    """
    if isinstance(problem, ConvPool2dProblem):
        return random_inputs(problem.conv, seed)
    random = np.random.default_rng(seed)

    def draw(dtype: str, shape: tuple[int, ...], deviation: float = 1.0) -> np.ndarray:
        if dtype in ("int8", "uint8"):
            limits = np.iinfo(dtype)
            return random.integers(limits.min, limits.max + 1, shape).astype(dtype)
        values = random.normal(0.0, deviation, shape)
        return (np.rint(values * 1000) if dtype == "int32" else values).astype(numpy_dtype(dtype))

    inputs = {"x": draw(problem.dtype, problem.x_shape)}
    if isinstance(problem, ElementwiseProblem):
        return inputs | ({"other": draw(problem.dtype, problem.x_shape)} if problem.other else {})
    if isinstance(problem, Pool2dProblem):
        if problem.weighting == "custom":
            inputs["tap_weight"] = random.uniform(0.1, 2.0, (problem.r, problem.s)).astype(_tap_dtype(problem))
        return inputs
    taps = problem.r * problem.s * (problem.c // problem.groups)
    inputs["weight"] = draw(problem.dtype, problem.weight_shape, 1 / math.sqrt(taps))
    if problem.scale:
        usual = 1.0 if problem.dtype not in INTEGERS else 50 / (74 * 74 * math.sqrt(taps))
        inputs["scale"] = (usual * random.uniform(0.5, 1.5, problem.k)).astype(numpy_dtype(problem.scale))
    if problem.bias:
        inputs["bias"] = draw(problem.bias, (problem.k,))
    if problem.residual:
        inputs["residual"] = draw(problem.out_dtype, problem.y_shape)
    return inputs


def is_exact(problem: Problem) -> bool:
    """Return whether `exact_inputs` of the problem leave one right answer to the bit.

    So it is where the epilogue or the division can round but once: no transcendental activation, no root, a
    divisor that one correctly rounded float32 division followed by the store serves; and maxima of such convolutions.
    """
    if isinstance(problem, ConvPool2dProblem):
        return problem.pool.kind == "max" and is_exact(problem.conv)
    if isinstance(problem, ElementwiseProblem):
        return _is_plain(problem.activation)
    if isinstance(problem, Conv2dProblem):
        taps = problem.r * problem.s * (problem.c // problem.groups)
        return _is_plain(problem.activation) and taps <= EXACT_SUM // 255
    if problem.kind == "max":
        return True
    if problem.kind == "lp":
        return problem.power in (1.0, math.inf)
    # a quotient of whole numbers lies at least 1 / (midpoint * divisor) away from a midpoint of two half-precision neighbours
    if problem.kind == "avg":
        divisor = problem.divisor
        return problem.r * problem.s <= 2048 if divisor is None else _is_short(divisor) and abs(divisor) >= 1
    if problem.weighting == "custom":
        return problem.r * problem.s <= 512
    return problem.weighting == "binomial" and problem.r + problem.s <= 13


def _is_plain(activation: tuple[Any, ...]) -> bool:
    name, *numbers = activation
    return name in ("none", "relu", "relu6") or (name in ("leaky_relu", "clip") and all(_is_short(x) for x in numbers))


def _is_short(number: float) -> bool:
    return abs(number) <= 128 and number * 256 == int(number * 256)


def expected_output(problem: Problem, inputs: Inputs) -> Any:
    """Return the reference's output before its rounding to the output's dtype (float64 or int64; max: with its indices)."""
    if isinstance(problem, Conv2dProblem):
        return conv2d_unrounded(problem, **inputs)
    if isinstance(problem, ConvPool2dProblem):
        return conv2d_pool2d_unrounded(problem, **inputs)
    if isinstance(problem, ElementwiseProblem):
        return elementwise_unrounded(problem, **inputs)
    return pool2d_unrounded(problem, **inputs)


def tolerance(problem: Problem, inputs: Inputs) -> np.ndarray:
    """Return, for each element of the output, how far a right implementation can be from the exact value.

    gamma(n) * sum |x| |weight| for n multiply-adds in the accumulator's precision, carried through scale, bias,
    residual and activation by their slopes, plus half a unit in the last place of the output's dtype. It is 0 for
    maxima and for integers without an epilogue; for other integers a whole number, beyond the reference's rounding.
    A pooled convolution's is the largest or mean bound of its window, with what the pooling itself rounds.

    Parameters
    ----------
    problem : Conv2dProblem, Pool2dProblem or ConvPool2dProblem
    inputs : dict of arrays by name, as `exact_inputs` returns them

    Returns
    -------
    numpy.ndarray of problem.y_shape, float64
    """
    if isinstance(problem, ConvPool2dProblem):
        return _pair_tolerance(problem, inputs)
    wide = {name: np.asarray(array).astype(np.float64) for name, array in inputs.items()}
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        if isinstance(problem, ElementwiseProblem):
            error = _elementwise_error(problem, wide)
        else:
            error = _pool_error(problem, wide) if isinstance(problem, Pool2dProblem) else _conv_error(problem, inputs, wide)
        if problem.out_dtype in INTEGERS:
            return np.ceil(error)
        if isinstance(problem, Pool2dProblem) and problem.kind == "max":
            return error
        exact = np.asarray(expected_output(problem, inputs), dtype=np.float64)
        return error + half_ulp(np.abs(exact) + error, problem.out_dtype)


def _pair_tolerance(problem: ConvPool2dProblem, inputs: Inputs) -> np.ndarray:
    pool, bound = replace(problem.pool, dtype="float64"), tolerance(problem.conv, inputs)
    between = np.abs(conv2d(problem.conv, **inputs).astype(np.float64))
    if problem.out_dtype not in INTEGERS:  # the expected value was rounded in between, as the actual one was
        bound = bound + half_ulp(between, problem.out_dtype)
    if pool.kind == "max":
        return np.asarray(pool2d_unrounded(pool, bound))
    pool = replace(pool, divisor=pool.divisor and abs(pool.divisor))
    error = pool2d_unrounded(pool, bound) + _pool_error(problem.pool, {"x": between + bound})
    return error + half_ulp(pool2d_unrounded(pool, between) + error, problem.out_dtype)


def _unit(problem: Problem) -> float:
    return 2.0**-53 if problem.dtype == "float64" else 2.0**-24


def _gamma(steps: float, unit: float) -> float:
    """Return the bound of the relative error of `steps` roundings: n*u / (1 - n*u)."""
    return steps * unit / (1 - steps * unit)


def half_ulp(magnitude: np.ndarray, dtype: str) -> np.ndarray:
    bits, smallest = FLOATS[dtype]
    exponent = np.frexp(np.where(np.isfinite(magnitude), magnitude, 0.0))[1]
    return np.ldexp(0.5, np.maximum(exponent - bits, smallest))


def _conv_error(problem: Conv2dProblem, inputs: Inputs, wide: Inputs) -> np.ndarray:
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
        magnitude = conv2d_unrounded(plain, np.abs(wide["x"]), np.abs(wide["weight"]))
        error = _gamma(taps + 1, unit) * magnitude + taps * 2.0 ** (-1074 if problem.dtype == "float64" else -149)
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


def _elementwise_error(problem: ElementwiseProblem, wide: Inputs) -> np.ndarray:
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


def _pool_error(problem: Pool2dProblem, wide: Inputs) -> np.ndarray:
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


def assert_matches(actual: Any, expected: Any, problem: Problem, bound: Any = None) -> float:
    """Raise AssertionError unless every element of `actual` is within `bound` of `expected`; return the worst ratio.

    Parameters
    ----------
    actual : array of problem.y_shape and problem.out_dtype
        What the implementation gave; anything that numpy.asarray takes.
    expected : array of problem.y_shape
        `expected_output(problem, inputs)`, or an array already of the output's dtype.
    problem : Conv2dProblem, Pool2dProblem or ConvPool2dProblem
        Its case string is in the message, to rerun the case.
    bound : array of problem.y_shape or a number, optional
        `tolerance(problem, inputs)`; default: equal to the bit (all NaN alike, +0 and -0 alike).

    Returns
    -------
    float
        The largest |actual - expected| / bound, 0 where all is equal.
    """
    got = np.asarray(actual)
    want = np.asarray(expected)
    dtype = numpy_dtype(problem.out_dtype)
    if got.shape != problem.y_shape or got.dtype != dtype:
        raise AssertionError(f"{problem}: shape {got.shape} of {got.dtype}, expected {problem.y_shape} of {dtype}")
    rounded = want if want.dtype == dtype else store(want, problem.out_dtype)
    got64, want64, rounded64 = (array.astype(np.float64) for array in (got, want, rounded))
    allowed = np.zeros(want.shape) if bound is None else np.broadcast_to(np.asarray(bound, dtype=np.float64), want.shape)
    if bound is None or problem.out_dtype in INTEGERS:
        want64 = rounded64
    elif want.dtype == dtype:
        allowed = allowed + half_ulp(np.abs(want64), problem.out_dtype)  # of the expected value's own rounding
    with np.errstate(invalid="ignore", divide="ignore"):
        equal = (got64 == rounded64) | (np.isnan(got64) & np.isnan(rounded64))
        distance = np.abs(got64 - want64)
        ratio = np.where(equal, 0.0, distance / allowed)
    ratio = np.where(np.isnan(ratio), np.inf, ratio)  # one special value for another, or for a number
    wrong = ratio > 1
    if wrong.any():
        raise AssertionError(_difference(problem, got64, want64, allowed, ratio, wrong))
    return float(ratio.max(initial=0.0))


def _difference(problem: Problem, got: np.ndarray, want: np.ndarray, allowed: np.ndarray, ratio: np.ndarray, wrong: np.ndarray) -> str:
    axes = {"NHWC": "npqk", "NCHW": "nkpq"}[getattr(problem, "out_layout", problem.layout)]

    def place(flat: Any) -> str:
        at = np.unravel_index(int(flat), want.shape)
        named = ", ".join(f"{axis}={int(i)}" for axis, i in zip(axes, at, strict=True))
        return f"[{named}] is {got[at]:.9g}, expected {want[at]:.9g} within {allowed[at]:.3g}"

    first = place(np.flatnonzero(wrong)[0])
    worst = place(np.argmax(ratio))
    return (
        f"{problem}: {int(wrong.sum())} of {wrong.size} elements differ; first y{first}; worst ratio {ratio.max():.3g} at y{worst}; rerun the case '{problem}'"
    )
