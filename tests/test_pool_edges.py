"""Pooling at its edges: the corners where a patch, a step, a lane, a vector or a number's range ends."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from doors import run

from atrous import error_bounds, testing, weighting
from atrous.problem import Pool2dProblem, parse

KINDS = {
    "max": {"return_indices": True},
    "avg": {},
    "avg with pads": {"count_include_pad": True},
    "lp": {"power": 3.0},
    "rms": {},
    "weighted": {"weighting": "inverse"},
}


def assert_right(door, problem, inputs):
    """Assert that the door's answer is the reference's, to the bit for maxima and within the a priori bound for sums."""
    actual, expected = run(door, problem, inputs), testing.expected_output(problem, inputs)
    if isinstance(expected, tuple):
        np.testing.assert_array_equal(actual[1], expected[1], err_msg=str(problem))
        actual, expected = actual[0], expected[0]
    testing.assert_matches(actual, expected, problem, testing.tolerance(problem, inputs))


def every_kind(door, case, dtypes=("float32",)):
    """Check every kind of pooling of the geometry that a max case string names, in both layouts."""
    form = parse(case)
    for (kind, options), layout, dtype in itertools.product(KINDS.items(), ("NHWC", "NCHW"), dtypes):
        if kind != "max" and dtype in ("int8", "uint8"):
            continue
        sizes = {"N": form.n, "H": form.h, "W": form.w, "C": form.c}
        top, bottom, left, right = form.pads
        problem = Pool2dProblem.make(
            tuple(sizes[letter] for letter in layout), (form.r, form.s), kind.split()[0], dtype=dtype, stride=form.stride, dilation=form.dilation,
            padding=((top, bottom), (left, right)), ceil_mode=form.ceil_mode, layout=layout, **options,
        )  # fmt: skip
        assert_right(door, problem, testing.random_inputs(problem, form.c))


@pytest.mark.parametrize("channels", [1, 2, 3, 7, 8, 9, 16, 17, 31, 33, 64, 65])
def test_channel_tails(door, channels):
    every_kind(door, f"n2c{channels}h5w6_max_r3s2_pad1_stride2x1", ("float16", "float64", "int8"))


GEOMETRIES = {
    "identity": "n1c3h9w8_max_r1s1_stride1",
    "gaps": "n1c3h22w25_max_r2s1_stride7x5",
    "one long row": "n1c3h5w45_max_r1s37_stride1x3",
    "one long column": "n1c3h45w5_max_r41s1_stride2x1",
    "window of many steps": "n1c2h40w36_max_r31s31_stride4",
    "window larger than the image": "n1c3h5w5_max_r31s31_pad15_stride1",
    "dilated window larger than the image": "n1c2h20w20_max_r31s31_pad29:30:29:30_stride3_dil2",
    "stride and dilation share a divisor": "n1c5h22w25_max_r2s3_pad1_stride6x4_dil4x6",
    "stride divides dilation": "n1c5h30w25_max_r2s3_pad1_stride3x9_dil9x3",
    "coprime stride and dilation": "n1c5h22w25_max_r2s3_pad1_stride5x7_dil7x3",
    "one real tap": "n1c5h3w3_max_r3s3_pad1000_stride1_dil1000",
    "every pad negative": "n1c3h9w10_max_r3s2_pad-1:-3:-2:-1_stride2x3",
    "pads crop to one window": "n1c3h9w9_max_r1s2_pad-4:-4:-3:-4_stride1",
    "pads of both signs": "n1c3h9w10_max_r3s2_pad2:-3:-2:1_stride1x2_dil2",
    "overhang": "n1c3h11w10_max_r2s3_pad1_stride3_ceil",
    "overhang beyond pads, dilated": "n1c3h11w10_max_r3s2_pad0:1:1:0_stride4_dil2_ceil",
    "overhang of a cropped image": "n1c3h9w10_max_r2s3_pad0:-2:0:-1_stride3_ceil",
    "tall": "n1c1h1000w1_max_r3s1_pad1:1:0:0_stride1",
    "planes across images": "n7c3h3w3_max_r2s2_stride1",
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_geometries(door, name):
    every_kind(door, GEOMETRIES[name])


@pytest.mark.parametrize("power", [0.01, 0.1, 0.5, 1.0, 2.0, 50.0, 1000.0, 1e6, math.inf])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_norms_across_the_range_of_numbers(door, dtype, power):
    """(sum |x|^p)^(1/p) of (t, t) is t * 2^(1/p), for t from the smallest number to the largest."""
    bits, smallest = error_bounds.FLOATS[dtype]
    kind = testing.numpy_dtype(dtype)
    # the sizes whose norm is below the largest number, 2^most
    most = {"float16": 16, "float64": 1024}.get(dtype, 128)
    shown = [e for e in (smallest, smallest + bits, -10, 0, 10, most - 2) if e + 1 / power < most]
    for exponent in shown:
        x = np.ldexp(1.0, exponent).astype(kind)
        x = np.array([x, -x], dtype=kind).reshape(1, 1, 2, 1)
        y = float(np.asarray(door.lp_pool2d(x, (1, 2), power)).reshape(()))
        whole = math.floor(1 / power)
        exact = math.ldexp(2 ** (1 / power - whole), exponent + whole)
        step = math.ldexp(1, max(math.frexp(exact)[1] - bits, smallest))
        rounding = 2.0**-53 if dtype == "float64" else 2.0**-24
        assert abs(y - exact) <= step + (200 + 40 / power) * rounding * exact, (exponent, y, exact)


def test_low_powers_count_small_cells(door):
    """|x|^0.1 of 1e-30 is 0.001, beside 1000 of 1e30: a quotient of 1e-60 is no float32."""
    x = np.array([1e30] + [1e-30] * 15, dtype="float32").reshape(1, 4, 4, 1)
    expected = (1000 + 15 * 0.001) ** 10
    for cells in (x, x[:, ::-1, ::-1]):
        y = door.lp_pool2d(np.ascontiguousarray(cells), 4, 0.1)
        np.testing.assert_allclose(np.asarray(y, dtype=np.float64).reshape(()), expected, rtol=1.2e-5)  # without them 1.5e-4 less


def test_low_powers_overflow_only_in_the_output(door):
    """16^(1/p) passes float32 where the norm of tiny cells does not."""
    x = np.full((1, 4, 4, 1), 2.0**-140, dtype="float32")
    y = np.asarray(door.lp_pool2d(x, 4, 1 / 64), dtype=np.float64).reshape(())  # 2^-140 * 16^64
    np.testing.assert_allclose(y, 2.0**116, rtol=1e-3)


def test_root_mean_square_of_extremes(door):
    for dtype in ("float16", "float32", "float64"):
        largest = np.finfo(dtype).max
        y = door.rms_pool2d(np.full((1, 5, 5, 3), largest), 5)
        np.testing.assert_allclose(np.asarray(y, dtype=np.float64) / float(largest), 1, rtol=1e-3)
    smallest = np.float64(5e-324)
    x = np.array([7, -3], dtype="float64").reshape(1, 1, 2, 1) * smallest
    assert np.asarray(door.rms_pool2d(x, (1, 2))).reshape(()) == 5 * smallest  # sqrt(29) = 5.39, rounded once


@pytest.mark.parametrize("window", [(40, 40), (70, 70), (140, 3), (1, 1100)])
def test_binomial_weights_of_large_windows(door, window):
    """Weights beyond float32, and beyond float64, still weigh."""
    x = np.full((1, *window, 1), 3, dtype="float32")
    x[0, 0, 0, 0] = 1e6  # weighs nothing beside 2^(R + S - 2)
    y = np.asarray(door.weighted_avg_pool2d(x, window, "binomial")).reshape(())
    np.testing.assert_allclose(y, 3, rtol=1e-4)


@pytest.mark.parametrize("sigma", [1e-300, 1e-3, 0.05, 1e6])
def test_narrow_gaussians_keep_the_nearest_taps(door, sigma):
    x = np.array([[1, 2], [4, 9]], dtype="float32").reshape(1, 2, 2, 1)
    np.testing.assert_allclose(np.asarray(door.weighted_avg_pool2d(x, 2, sigma=sigma)).reshape(()), 4, rtol=1e-6)
    column = np.array([100, 1, 3, 100], dtype="float32").reshape(1, 4, 1, 1)
    if sigma < 1:
        np.testing.assert_allclose(np.asarray(door.weighted_avg_pool2d(column, (4, 1), sigma=sigma)).reshape(()), 2, rtol=1e-6)


def test_a_window_of_far_taps_alone_has_an_average(door):
    """At the right edge a window of 27 columns has its last taps alone on the map, 17 sigma and more from its centre."""
    x = np.arange(1, 41, dtype="float32").reshape(1, 1, 40, 1)
    y = np.asarray(door.weighted_avg_pool2d(x, (1, 27), sigma=0.75, stride=1, padding=((0, 0), (26, 26)))).reshape(-1)
    assert y[0] == 1 and y[-1] == 40  # one tap alone
    assert np.isfinite(y).all() and y.min() >= 1 and y.max() <= 40 * (1 + 2e-6)  # up to the rounding of 27 products
    np.testing.assert_allclose(y[14:52], np.arange(2, 40), rtol=0.05)  # the centre is on the map, with a tap on both sides


def test_tables_of_ordinary_windows_are_the_formulas():
    (row,) = weighting.tap_weights("gaussian", (1, 2), sigma=0.1)
    assert row == (math.exp(-12.5), math.exp(-12.5))
    assert weighting.tap_weights("binomial", (1, 41))[0][20] == math.comb(40, 20)
    assert max(weighting.tap_weights("binomial", (1, 2000))[0]) < 2.0**64


SPECIALS = [[math.nan, math.nan, -math.inf, -math.inf, 1.0], [math.nan, -math.inf], [-math.inf], [0.0, -0.0], [2.0]]


@pytest.mark.parametrize("nan", ["propagate", "omit"])
@pytest.mark.parametrize("values", SPECIALS, ids=str)
def test_maxima_of_specials_and_ties(door, values, nan):
    random = np.random.default_rng(3)
    for words, layout in itertools.product(("r3s3_pad1_stride1", "r7s7_pad3_stride3", "r9s11", "r3s3_pad2_stride2_dil2"), ("", "_nchw")):
        omit = "_omit" if nan == "omit" else ""
        for dtype in ("f32", "f16"):
            problem = parse(f"n2c9h9w11_max_{words}{omit}_indices_{dtype}{layout}")
            assert_right(door, problem, {"x": random.choice(values, problem.x_shape).astype(problem.dtype)})


@pytest.mark.parametrize(("dtype", "least"), [("int8", -128), ("uint8", 0)])
def test_the_integer_minimum_is_found(door, dtype, least):
    x = np.full((1, 5, 5, 9), least, dtype=dtype)
    y, index = door.max_pool2d(x, 3, stride=1, padding=1, return_indices=True)
    assert (np.asarray(y) == least).all()
    assert np.asarray(index)[0, :, :, 4].tolist() == [[max(0, h - 1) * 5 + max(0, w - 1) for w in range(5)] for h in range(5)]


MEMORY = {
    "unaligned start": lambda a: np.concatenate([np.zeros(1, a.dtype), a.ravel()])[1:].reshape(a.shape),
    "one channel of padding": lambda a: np.pad(a, ((0, 0), (0, 0), (0, 0), (0, 1)))[..., :-1],
    "unaligned slice": lambda a: np.pad(a, ((0, 0), (0, 0), (0, 0), (1, 15)))[..., 1:-15],
    "aligned slice": lambda a: np.pad(a, ((0, 0), (0, 0), (0, 0), (16, 0)))[..., 16:],
    "backwards": lambda a: np.ascontiguousarray(a[::-1, ::-1, ::-1, ::-1])[::-1, ::-1, ::-1, ::-1],
    "every second": lambda a: np.repeat(np.repeat(a, 2, axis=2), 2, axis=3)[:, :, ::2, ::2],
    "other order": lambda a: np.ascontiguousarray(a.transpose(3, 1, 0, 2)).transpose(2, 1, 3, 0),
}


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("dtype", ["float16", "float64", "int8"])
def test_memory_of_inputs_and_outputs(door, engine, memory, dtype):
    for shape, layout in (((2, 7, 6, 16), "NHWC"), ((2, 16, 7, 8), "NCHW")):
        problem = Pool2dProblem.make(shape, (3, 2), "max", dtype=dtype, stride=(2, 1), padding=1, layout=layout, return_indices=True)
        inputs = testing.exact_inputs(problem, 1)
        x = MEMORY[memory](inputs["x"])
        y, index = testing.expected_output(problem, inputs)
        words = {"stride": (2, 1), "padding": 1, "layout": layout, "return_indices": True}
        if engine != "reference":
            words["out"] = tuple(MEMORY[memory](np.zeros(problem.y_shape, kind)) for kind in (dtype, "int32"))
        values, places = door.max_pool2d(x, (3, 2), **words)
        np.testing.assert_array_equal(np.asarray(values).astype(np.float64), y)
        np.testing.assert_array_equal(np.asarray(places), index)


def test_broadcast_inputs(door):
    x = np.broadcast_to(np.arange(16, dtype="float32"), (2, 6, 6, 16))
    y = np.asarray(door.avg_pool2d(x, 3, padding=1, stride=2))
    np.testing.assert_array_equal(y, np.broadcast_to(x[0, 0, 0], y.shape))


@pytest.mark.parametrize("kind", ["max", "avg", "lp", "weighted"])
def test_neighbours_and_batches_do_not_matter(door, kind):
    """NaN in one image and inf in one channel stay there, and an image alone has the bits it has in a batch."""
    options = {"lp": {"power": 3.0}, "weighted": {"weighting": "gaussian"}}.get(kind, {})
    for layout, shape in (("NHWC", (5, 19, 21, 5)), ("NCHW", (5, 5, 19, 21))):
        for window, words in (((5, 5), {"padding": "same", "stride": 2}), ((2, 3), {"stride": 1}), ("global", {})):
            problem = Pool2dProblem.make(shape, window, kind, dtype="float32", layout=layout, **words, **options)
            alone = Pool2dProblem.make((1, *shape[1:]), window, kind, dtype="float32", layout=layout, **words, **options)
            inputs = testing.random_inputs(problem, 2)
            clean = np.asarray(run(door, problem, inputs))
            poisoned = inputs["x"].copy()
            last = (slice(None),) * (1 if layout == "NCHW" else 3) + (4,)
            poisoned[1], poisoned[last] = math.nan, math.inf
            keep = np.ones(clean.shape, dtype=bool)
            keep[1], keep[last] = False, False
            dirty = np.asarray(run(door, problem, {"x": poisoned}))
            np.testing.assert_array_equal(dirty[keep], clean[keep])
            one = np.asarray(run(door, alone, {"x": inputs["x"][3:4].copy()}))
            np.testing.assert_array_equal(one[0], clean[3])
