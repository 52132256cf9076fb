"""The reference against brute force, its one rounding against a search of all representable numbers, its tables against words."""

from __future__ import annotations

import bisect
import math
from dataclasses import replace
from fractions import Fraction

import brute_arrays
import numpy as np
import pytest

from atrous import reference, testing, weighting
from atrous.problem import parse
from atrous.reference.store import numpy_dtype, store
from atrous.reference.taps import source, source_table, tap_positions
from atrous.sampling import KINDS, random_problem


def unrounded(problem, inputs):
    return (reference.conv2d_unrounded if hasattr(problem, "groups") else reference.pool2d_unrounded)(problem, **inputs)


@pytest.mark.parametrize("batch", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_brute_force_agrees(kind, batch):
    """The reference before its rounding, on random floats, to 1e-12 of the largest sum."""
    for seed in range(12 * batch, 12 * batch + 12):
        problem = random_problem(seed, kind)
        if problem.flops > 60_000:
            continue
        inputs = testing.random_inputs(problem, seed)
        actual, expected = unrounded(problem, inputs), brute_arrays.expected(problem, inputs)
        if kind == "max":
            if problem.return_indices:
                np.testing.assert_array_equal(actual[1], expected[1], err_msg=str(problem))
                actual = actual[0]
            expected = expected[0]
        if getattr(problem, "out_dtype", "") in ("int8", "uint8", "int32"):
            actual = store(actual, problem.out_dtype)
        np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-12, err_msg=str(problem))


@pytest.mark.parametrize("kind", KINDS)
def test_output_has_the_problem_s_shape_dtype_and_layout(kind):
    for seed in range(40):
        problem = random_problem(seed, kind)
        inputs = testing.random_inputs(problem, seed)
        y = (reference.conv2d if kind == "conv" else reference.pool2d)(problem, **inputs)
        y, index = y if isinstance(y, tuple) else (y, None)
        assert y.shape == problem.y_shape and y.dtype == numpy_dtype(problem.out_dtype) and y.flags.c_contiguous
        if index is not None:
            assert index.shape == problem.y_shape and index.dtype == np.int32


@pytest.mark.parametrize("kind", KINDS)
def test_layout_changes_nothing_but_the_order(kind):
    for seed in range(20):
        problem = random_problem(seed, kind)
        if problem.layout == "NCHW":
            continue
        inputs = testing.random_inputs(problem, seed)
        y = unrounded(problem, inputs)
        turned = {name: array.transpose(0, 3, 1, 2) if name in ("x", "residual") else array for name, array in inputs.items()}
        again = unrounded(replace(problem, layout="NCHW"), turned)
        for one, other in zip(*(pair if isinstance(pair, tuple) else (pair,) for pair in (y, again)), strict=True):
            np.testing.assert_array_equal(one, other.transpose(0, 2, 3, 1))


def representable(dtype):
    """Return all finite numbers of a 16-bit dtype, ascending, with their bits."""
    bits = np.arange(2**16, dtype=np.uint16)
    with np.errstate(invalid="ignore"):  # signalling NaNs are among them
        values = bits.view(numpy_dtype(dtype)).astype(np.float64)
    return sorted((float(value), int(code)) for value, code in zip(values, bits, strict=True) if math.isfinite(value) and not (value == 0 and code))


def nearest(table, value):
    """Return the representable number next to a finite value, ties to the even code, by exact comparison."""
    place = bisect.bisect_left(table, (value,))
    around = table[max(0, place - 1) : place + 1]
    return min(around, key=lambda entry: (abs(Fraction(entry[0]) - Fraction(value)), entry[1] & 1))[0]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_one_rounding_to_half_precision(dtype):
    """Nearest, ties to even, in one step: also a hair beside a tie, where a stop at float32 would fall onto it."""
    table = representable(dtype)
    random = np.random.default_rng(1)
    picks = random.choice(len(table) - 1, 400)
    values = []
    for pick in picks:
        low, high = table[pick][0], table[pick + 1][0]
        middle = (low + high) / 2
        values += [middle, np.nextafter(middle, low), np.nextafter(middle, high), low + (high - low) * random.random(), low]
    np.testing.assert_array_equal(store(np.array(values), dtype).astype(np.float64), [nearest(table, value) for value in values])


@pytest.mark.parametrize("dtype, largest", [("float16", 65504.0), ("bfloat16", 3.3895313892515355e38), ("float32", 3.4028234663852886e38)])
def test_rounding_overflows_at_half_an_ulp_beyond_the_largest(dtype, largest):
    ulp = largest - float(np.nextafter(np.array(largest, dtype=numpy_dtype(dtype)), np.array(0, dtype=numpy_dtype(dtype))))
    stored = store(np.array([largest + 0.49 * ulp, largest + 0.5 * ulp, -largest - 0.5 * ulp, np.inf, np.nan]), dtype).astype(np.float64)
    np.testing.assert_array_equal(stored, [largest, np.inf, -np.inf, np.inf, np.nan])


def test_rounding_keeps_the_sign_of_zero():
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        assert np.signbit(store(np.array([-0.0, 0.0, -1e-320]), dtype).astype(np.float64)).tolist() == [True, False, True]


def test_integers_round_half_to_even_and_saturate():
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.5, -128.5, -129, 1e30, -np.inf, np.nan])
    assert store(values, "int8").tolist() == [0, 2, 2, 0, -2, 126, 127, -128, -128, 127, -128, 0]
    assert store(values, "uint8").tolist() == [0, 2, 2, 0, 0, 126, 128, 0, 0, 255, 0, 0]
    assert store(np.array([2.0**31, -(2.0**40), 3.5]), "int32").tolist() == [2**31 - 1, -(2**31), 4]


def test_the_only_rounding_is_at_the_store():
    """1 + 2^-11 twice: float16 sums lose both halves of an ulp, one rounding of the exact sum keeps them."""
    problem = parse("n1c2h1w1_k1r1s1_f16_bias")
    x, weight = np.array([1.0, 2**-11]), np.ones(2)
    y = reference.conv2d(problem, *(a.astype("float16").reshape(1, 1, 1, 2) for a in (x, weight)), bias=np.array([2**-11], "float16"))
    assert float(y[0, 0, 0, 0]) == 1 + 2**-10


def test_where_padded_coordinates_come_from():
    assert [source("zeros", i, 3) for i in range(-2, 5)] == [-1, -1, 0, 1, 2, -1, -1]
    assert [source("reflect", i, 3) for i in range(-2, 5)] == [2, 1, 0, 1, 2, 1, 0]
    assert [source("replicate", i, 3) for i in range(-4, 5)] == [0, 0, 0, 0, 0, 1, 2, 2, 2]
    assert [source("circular", i, 3) for i in range(-3, 6)] == [0, 1, 2] * 3
    assert source_table("zeros", tap_positions(2, 3, 2, 1, 1), 3).tolist() == [[-1, 0, 1], [1, 2, -1]]
    with pytest.raises(ValueError, match="mirror"):
        source("mirror", -1, 3)


def test_a_nan_weight_reaches_every_output_of_its_channel():
    """Padding is the number 0, and 0 times NaN is NaN: the taps of a filter are all used everywhere."""
    problem = parse("n1c1h1w3_k2r1s3_pad0x1_f32")
    weight = np.ones((2, 1, 3, 1), "float32")
    weight[0, 0, 0, 0] = np.nan
    y = reference.conv2d(problem, np.ones((1, 1, 3, 1), "float32"), weight)
    assert np.isnan(y[..., 0]).all() and y[0, 0, :, 1].tolist() == [2, 3, 2]


def test_tap_weights():
    assert weighting.tap_weights("binomial", (2, 4)) == ((1, 3, 3, 1), (1, 3, 3, 1))
    assert weighting.tap_weights("inverse", (1, 3), (1, 2)) == ((1 / 3, 1, 1 / 3),)
    (row,) = weighting.tap_weights("gaussian", (1, 2), sigma=0.5)
    assert row == pytest.approx([math.exp(-0.5), math.exp(-0.5)], rel=1e-15)
    assert weighting.default_sigma((3, 3), (1, 1)) == pytest.approx(0.8)
    assert weighting.default_sigma((3, 2), (3, 1)) == pytest.approx(1.4)  # an extent of 7
    corner = weighting.tap_weights("inverse", (3, 3), (3, 4))[0][0]
    assert corner == pytest.approx(1 / 6)
    with pytest.raises(ValueError, match="custom"):
        weighting.tap_weights("custom", (2, 2))


def test_tap_weights_of_a_problem_are_its_formula():
    problem = parse("n1c1h9w9_gaussian1.5_r3s2_dil2x1_stride1_f32")
    table = reference.tap_weights(problem)
    assert table.shape == (3, 2) and table.dtype == np.float64
    assert table[0, 0] == pytest.approx(math.exp(-(2**2 + 0.5**2) / (2 * 1.5**2)), rel=1e-14)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.0, 7.5])
def test_norms_neither_overflow_nor_vanish(power):
    problem = replace(parse("n1c1h1w2_lp2_r1s2_f64"), power=power)
    for magnitude in (1e-300, 1.0, 1e300):
        y = reference.pool2d(problem, np.array([3 * magnitude, -4 * magnitude]).reshape(1, 1, 2, 1))
        assert float(y[0, 0, 0, 0]) == pytest.approx((3**power + 4**power) ** (1 / power) * magnitude, rel=1e-13)


def test_norms_of_specials():
    problem = parse("n1c1h1w8_lp3_r1s2_f64")
    y = reference.pool2d(problem, np.array([0, 0, 1, -np.inf, np.nan, 2, np.inf, np.nan]).reshape(1, 1, 8, 1))
    np.testing.assert_array_equal(y.reshape(-1), [0, np.inf, np.nan, np.nan])


def test_a_cropped_cell_is_gone():
    """The overhang of a ceil-mode window over cropped cells reads nothing."""
    problem = parse("n1c1h1w4_max_r1s2_pad0:0:0:-1_stride1x2_ceil_indices_f32")
    y, index = reference.pool2d(problem, np.array([1, 2, 3, 9], "float32").reshape(1, 1, 4, 1))
    assert (y.reshape(-1).tolist(), index.reshape(-1).tolist()) == ([2, 3], [0 + 1, 2])
