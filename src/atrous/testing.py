"""Tools to prove a kernel right, one's own too: exact inputs, a priori error bounds, and a comparison that explains itself."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from .error_bounds import conv_error, elementwise_error, half_ulp, pool_error
from .problem import Conv2dProblem, ConvPool2dProblem, ElementwiseProblem, Pool2dProblem, SeparableConv2dProblem
from .reference import conv2d, conv2d_pool2d_unrounded, conv2d_unrounded, elementwise_unrounded, pool2d_unrounded, separable_conv2d_unrounded
from .reference.store import INTEGERS, numpy_dtype, store
from .sampling import random_problem

__all__ = ["assert_matches", "exact_inputs", "expected_output", "is_exact", "random_inputs", "random_problem", "tolerance"]

Problem = Conv2dProblem | Pool2dProblem | ConvPool2dProblem | SeparableConv2dProblem | ElementwiseProblem
Inputs = dict[str, np.ndarray]

EXACT_SUM = 2**22  # float32 counts to 2^24; two bits are left for scale, bias and residual


def exact_inputs(problem: Problem, seed: int = 0, negative: bool = False) -> Inputs:
    """Return operands of small whole numbers whose sums are exact in the accumulator, in any order of adding.

    Parameters
    ----------
    problem : Conv2dProblem, Pool2dProblem, ConvPool2dProblem or SeparableConv2dProblem
    seed : int
    negative : bool
        Every element of x below 0 (uint8: below the zero point where there is one), so that padding that takes
        part in a maximum shows.

    Returns
    -------
    dict of numpy.ndarray
        The operands by name, as `atrous.reference` takes them: "x", "weight" and, where the problem has them,
        "scale" (powers of two), "bias" (distinct in neighbouring channels) and "residual"; of a depthwise before a 1x1
        "depthwise_weight", "depthwise_scale" and "depthwise_bias" too; pools: "x", and
        "tap_weight" where the weighting is "custom".

    Notes
    -----
    The output may be rounded, once, from an exact value. Compare with tolerance 0 where `is_exact(problem)`.
    """
    if isinstance(problem, ConvPool2dProblem):
        return exact_inputs(problem.conv, seed, negative)
    if isinstance(problem, SeparableConv2dProblem):
        return _of_both(exact_inputs(problem.depthwise, seed, negative), exact_inputs(problem.pointwise, seed + 1))
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


def _of_both(first: Inputs, second: Inputs) -> Inputs:
    """Return the operands of a separable convolution from those of its two parts."""
    return {name if name == "x" else f"depthwise_{name}": array for name, array in first.items()} | {name: second[name] for name in second if name != "x"}


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
    if isinstance(problem, SeparableConv2dProblem):
        return _of_both(random_inputs(problem.depthwise, seed), random_inputs(problem.pointwise, seed + 1))
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
    if isinstance(problem, SeparableConv2dProblem):
        return _is_exact_pair(problem)
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


def _is_exact_pair(problem: SeparableConv2dProblem) -> bool:
    """Return whether a depthwise of small whole numbers is exact before it is rounded, and sums of what is rounded are exact in the 1x1."""
    first, second = problem.parts
    if first.activation[0] not in ("none", "relu", "relu6") or not (is_exact(first) and is_exact(second)):
        return False
    most = 2 * 12 * first.r * first.s + 120  # scale, sums, bias
    held = 2**10 if second.precision == "tf32" else 2**15  # of tf32 11 bits, of float16 the range
    return most <= held and 2 * 3 * most * second.c <= EXACT_SUM  # in halves, which scale leaves


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
    if isinstance(problem, SeparableConv2dProblem):
        return separable_conv2d_unrounded(problem, **inputs)
    if isinstance(problem, ElementwiseProblem):
        return elementwise_unrounded(problem, **inputs)
    return pool2d_unrounded(problem, **inputs)


def tolerance(problem: Problem, inputs: Inputs) -> np.ndarray:
    """Return, for each element of the output, how far a right implementation can be from the exact value.

    gamma(n) * sum |x| |weight| for n multiply-adds in the accumulator's precision, carried through scale, bias,
    residual and activation by their slopes, plus half a unit in the last place of the output's dtype. It is 0 for
    maxima and for integers without an epilogue; for other integers a whole number, beyond the reference's rounding.
    A pooled convolution's is the largest or mean bound of its window, with what the pooling itself rounds; a separable
    one's what its 1x1 makes of the depthwise's, with what it rounds itself.

    Parameters
    ----------
    problem : Conv2dProblem, Pool2dProblem, ConvPool2dProblem or SeparableConv2dProblem
    inputs : dict of arrays by name, as `exact_inputs` returns them

    Returns
    -------
    numpy.ndarray of problem.y_shape, float64
    """
    if isinstance(problem, ConvPool2dProblem):
        return _pair_tolerance(problem, inputs)
    if isinstance(problem, SeparableConv2dProblem):
        return _separable_tolerance(problem, inputs)
    wide = {name: np.asarray(array).astype(np.float64) for name, array in inputs.items()}
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        if isinstance(problem, ElementwiseProblem):
            error = elementwise_error(problem, wide)
        else:
            error = pool_error(problem, wide) if isinstance(problem, Pool2dProblem) else conv_error(problem, wide)
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
    error = pool2d_unrounded(pool, bound) + pool_error(problem.pool, {"x": between + bound})
    return error + half_ulp(pool2d_unrounded(pool, between) + error, problem.out_dtype)


def _separable_tolerance(problem: SeparableConv2dProblem, inputs: Inputs) -> np.ndarray:
    first, second = problem.parts
    own = {name.removeprefix("depthwise_"): array for name, array in inputs.items() if name == "x" or name.startswith("depthwise_")}
    rest = {name: np.asarray(array).astype(np.float64) for name, array in inputs.items() if name != "x" and not name.startswith("depthwise_")}
    between = conv2d(first, **own).astype(np.float64)
    # the expected value was rounded in between, as the actual one was
    bound = tolerance(first, own) + half_ulp(np.abs(between), first.out_dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        error = conv_error(second, {"x": between, **rest}, bound)
        exact = np.asarray(expected_output(problem, inputs), dtype=np.float64)
        return error + half_ulp(np.abs(exact) + error, problem.out_dtype)


def assert_matches(actual: Any, expected: Any, problem: Problem, bound: Any = None) -> float:
    """Raise AssertionError unless every element of `actual` is within `bound` of `expected`; return the worst ratio.

    Parameters
    ----------
    actual : array of problem.y_shape and problem.out_dtype
        What the implementation gave; anything that numpy.asarray takes.
    expected : array of problem.y_shape
        `expected_output(problem, inputs)`, or an array already of the output's dtype.
    problem : Conv2dProblem, Pool2dProblem, ConvPool2dProblem or SeparableConv2dProblem
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
