"""The meaning battery: small checks of every rule against literals worked out by hand and against brute force.

Each check takes a door (see doors.py) and raises AssertionError. The same checks run on the reference, on every engine
and on every planted bug.
"""

from __future__ import annotations

import math

import brute_arrays
import numpy as np
from doors import run

from atrous import testing
from atrous.problem import parse
from cases import FOLDER, read_cases

CHECKS = {}


def check(function):
    """Register a check under its name."""
    CHECKS[function.__name__] = function
    return function


def row(*values, dtype="float32"):
    """Return one image of one row and one channel: (1, 1, W, 1)."""
    return np.array(values, dtype=dtype).reshape(1, 1, -1, 1)


def image(rows, dtype="float32"):
    """Return one image of one channel: (1, H, W, 1)."""
    return np.array(rows, dtype=dtype)[None, :, :, None]


def pixel(*channels, dtype="float32"):
    """Return one image of one pixel: (1, 1, 1, C)."""
    return np.array(channels, dtype=dtype).reshape(1, 1, 1, -1)


def same(actual, expected, dtype="float32"):
    """Assert that an array of one image and channel holds exactly these numbers."""
    actual = np.asarray(actual)
    assert actual.dtype == np.dtype(dtype), f"dtype {actual.dtype}, expected {dtype}"
    expected = np.array(expected, dtype=np.float64)
    flat = expected.size == max(expected.shape, default=1)
    shown = actual.astype(np.float64)
    shown = shown.reshape(-1) if flat else shown[0, :, :, 0]
    np.testing.assert_array_equal(shown, expected.reshape(shown.shape) if flat and shown.size == expected.size else expected)


def near(actual, expected, relative=1e-6):
    """Assert that an array holds these numbers up to a few roundings."""
    np.testing.assert_allclose(np.asarray(actual, dtype=np.float64).reshape(-1), expected, rtol=relative)


@check
def cross_correlation(door):
    same(door.conv2d(image([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), image([[1, 0], [0, 2]])), [[11, 14], [20, 23]])
    same(door.conv2d(row(1, 2, 3), row(1, 10)), [21, 32])


@check
def head_and_tail_pads(door):
    same(door.conv2d(row(1, 2), row(1, 10), padding=((0, 0), (1, 0))), [10, 21])
    same(door.conv2d(row(1, 2), row(1, 10), padding=((0, 0), (0, 1))), [21, 2])
    column = image([[1], [2]])
    same(door.conv2d(column, image([[1], [10]]), padding=((1, 0), (0, 0))), [10, 21])
    same(door.conv2d(column, image([[1], [10]]), padding=((0, 1), (0, 0))), [21, 2])


@check
def dilation_axes(door):
    x = image([[10 * h + w for w in range(4)] for h in range(4)])
    same(door.conv2d(x, image([[1, 2], [3, 4]]), dilation=(2, 3)), [0 + 6 + 60 + 92, 10 + 26 + 90 + 132])
    same(door.conv2d(row(1, 2, 3, 4, 5), row(1, 10, 100), dilation=2), [1 + 30 + 500])


@check
def stride_axes(door):
    x = image([[10 * h + w for w in range(5)] for h in range(4)])
    same(door.conv2d(x, image([[1]]), stride=(3, 2)), [[0, 2, 4], [30, 32, 34]])


@check
def bias_per_channel(door):
    weight = np.zeros((3, 1, 1, 1), dtype="float32")
    same(door.conv2d(pixel(5), weight, np.array([1, -2, 3], dtype="float32")), [1, -2, 3])


@check
def groups_and_multiplier(door):
    weight = np.array([1, 10, 100, 1000], dtype="float32").reshape(4, 1, 1, 1)
    same(door.conv2d(pixel(1, 2), weight, groups=2), [1, 10, 200, 2000])
    weight = np.array([[1, 10], [100, 1000]], dtype="float32").reshape(2, 1, 1, 2)
    same(door.conv2d(pixel(1, 2, 3, 4), weight, groups=2), [21, 4300])


@check
def named_paddings(door):
    ones = row(1, 1, 1)
    x = row(1, 2, 3, 4, 5)
    same(door.conv2d(x, ones), [6, 9, 12])
    same(door.conv2d(x, ones, padding="same"), [3, 6, 9, 12, 9])
    same(door.conv2d(x, ones, padding="same", stride=2), [3, 9, 9])
    same(door.conv2d(x, ones, padding="same", dilation=2), [4, 6, 9, 6, 8])
    same(door.conv2d(x, ones, padding="same", stride=2, dilation=2), [4, 9, 8])
    same(door.conv2d(row(1, 2, 3, 4), row(1, 1), padding="same"), [3, 5, 7, 4])
    same(door.conv2d(row(1, 2, 3, 4), row(1, 1), padding="same_lower"), [1, 3, 5, 7])
    same(door.conv2d(row(1, 2), row(1, 10), padding="full"), [10, 21, 2])
    same(door.conv2d(row(1, 2, 3), row(1, 10), padding="causal"), [10, 21, 32])
    same(door.conv2d(row(1, 2, 3), row(1, 10), padding="causal", dilation=2), [10, 20, 31])


@check
def negative_padding_crops(door):
    same(door.conv2d(row(1, 2, 3, 4, 5), row(1), padding=((0, 0), (-1, -2))), [2, 3])
    same(door.conv2d(row(1, 2, 3), row(1), padding=((0, 0), (2, -1)), padding_mode="reflect"), [3, 2, 1, 2])
    same(door.max_pool2d(row(9, 2, 3, 4, 8), (1, 3), padding=((0, 0), (-1, -1))), [4])
    # the overhang of a ceil-mode window does not bring cropped cells back
    words = {"stride": (1, 2), "padding": ((0, 0), (0, -1)), "ceil_mode": True}
    same(door.max_pool2d(row(1, 2, 3, 9), (1, 2), **words), [2, 3])
    same(door.avg_pool2d(row(1, 2, 3, 9), (1, 2), **words), [1.5, 3])


@check
def padding_modes(door):
    pad = ((0, 0), (2, 2))
    same(door.conv2d(row(1, 2, 3), row(1), padding=pad), [0, 0, 1, 2, 3, 0, 0])
    same(door.conv2d(row(1, 2, 3), row(1), padding=pad, padding_mode="reflect"), [3, 2, 1, 2, 3, 2, 1])
    same(door.conv2d(row(1, 2, 3), row(1), padding=pad, padding_mode="replicate"), [1, 1, 1, 2, 3, 3, 3])
    same(door.conv2d(row(1, 2, 3), row(1), padding=pad, padding_mode="circular"), [2, 3, 1, 2, 3, 1, 2])


@check
def epilogue_order(door):
    f32 = {"dtype": "float32"}
    operands = {"scale": np.array([3], **f32), "residual": pixel(1)}
    bias = np.array([-10], **f32)
    same(door.conv2d(pixel(2), pixel(1), bias, **operands), [-3])
    same(door.conv2d(pixel(2), pixel(1), bias, activation="relu", **operands), [0])
    same(door.conv2d(pixel(2), pixel(1), bias, activation=("clip", -2, 7), **operands), [-2])
    same(door.conv2d(pixel(2), pixel(1), np.array([5], **f32), activation="relu6", **operands), [6])


@check
def activations(door):
    x, one = pixel(-2.0, 0.0, 1.0, 4.0), np.eye(4, dtype="float32").reshape(4, 1, 1, 4)
    for activation, values in {
        "relu": [0, 0, 1, 4],
        "relu6": [0, 0, 1, 4],
        ("leaky_relu", 0.25): [-0.5, 0, 1, 4],
        "leaky_relu": [-0.02, 0, 1, 4],
        "silu": [-0.238405844, 0, 0.731058579, 3.92805516],
        "gelu": [-0.0455002639, 0, 0.841344746, 3.99987332],
        "gelu_tanh": [-0.0454023059, 0, 0.841191991, 3.99992975],
        "hardswish": [-1 / 3, 0, 2 / 3, 4],
        "sigmoid": [0.119202922, 0.5, 0.731058579, 0.98201379],
        "tanh": [-0.96402758, 0, 0.761594156, 0.999329300],
        ("clip", -1, 2.5): [-1, 0, 1, 2.5],
    }.items():
        near(door.conv2d(x, one, activation=activation), values, 4e-6)
    near(door.conv2d(pixel(3e38), pixel(1), activation="hardswish"), [3e38])  # 6 * y overflows, y does not


@check
def precision_is_kept(door):
    same(door.conv2d(pixel(2049), pixel(1)), [2049])
    same(door.conv2d(pixel(1 + 2**-20), pixel(1)), [1 + 2**-20])
    same(door.conv2d(pixel(1), pixel(1 + 2**-20)), [1 + 2**-20])
    same(door.conv2d(pixel(1 + 2**-40, dtype="float64"), pixel(1, dtype="float64")), [1 + 2**-40], "float64")
    same(door.avg_pool2d(row(2049, 2051), (1, 2)), [2050])
    ones = np.ones((1, 1, 1, 4096), dtype="float16")
    same(door.conv2d(ones, ones), [4096], "float16")  # a float16 sum stops at 2048
    same(door.conv2d(ones[..., :2049], ones[..., :2049], out_dtype="float32"), [2049])
    same(door.avg_pool2d(np.ones((1, 64, 64, 1), dtype="float16"), "global"), [1], "float16")


@check
def layouts(door):
    x = np.array([[[[1, 2]], [[10, 20]]]], dtype="float32")  # N1 C2 H1 W2
    weight = np.array([[[[1]], [[3]]], [[[5]], [[7]]]], dtype="float32")  # K2 C2 R1 S1
    y = door.conv2d(x, weight, layout="NCHW")
    assert np.asarray(y).tolist() == [[[[31, 62]], [[75, 150]]]]
    swapped = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
    y = door.conv2d(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), swapped, weight_layout="RSCK")
    assert np.asarray(y).tolist() == [[[[31, 75], [62, 150]]]]


@check
def integers(door):
    x = row(3, 5, dtype="int8")
    ones = row(1, 1, 1, dtype="int8")
    pad = ((0, 0), (1, 1))
    same(door.conv2d(x, ones, padding=pad), [8, 8], "int32")
    same(door.conv2d(x, ones, padding=pad, zero_point=1), [6, 6], "int32")
    same(door.conv2d(row(-128, -128, dtype="int8"), row(-128, 127, dtype="int8")), [128], "int32")
    x = row(3, 5, 7, 100, -100, dtype="int8")
    two = row(1, dtype="int8")
    half = np.array([0.5], dtype="float32")
    same(door.conv2d(x, two, scale=half, out_dtype="int8"), [2, 2, 4, 50, -50], "int8")
    same(door.conv2d(x, two, scale=half, out_dtype="uint8", out_zero_point=10), [12, 12, 14, 60, 0], "uint8")
    same(door.conv2d(x, two, scale=4 * half, out_dtype="int8"), [6, 10, 14, 127, -128], "int8")
    same(door.conv2d(x, two, np.array([7], dtype="int32"), scale=4 * half, activation="relu"), [13, 17, 21, 207, 0], "int32")


@check
def zero_sizes(door):
    assert np.asarray(door.conv2d(np.zeros((0, 4, 5, 2), "float32"), np.ones((3, 2, 2, 2), "float32"))).shape == (0, 3, 4, 3)
    assert np.asarray(door.conv2d(np.zeros((1, 4, 5, 2), "float32"), np.ones((0, 2, 2, 2), "float32"))).shape == (1, 3, 4, 0)
    assert np.asarray(door.max_pool2d(np.zeros((0, 4, 5, 2), "float32"), 2)).shape == (0, 2, 2, 2)


@check
def nan_and_infinity_stay_in_their_windows(door):
    y = np.asarray(door.conv2d(row(1, math.nan, 3, 4, math.inf, 6, 7), row(1, 1)))[0, 0, :, 0]
    assert np.isnan(y).tolist() == [True, True, False, False, False, False]
    assert np.isinf(y).tolist() == [False, False, False, True, True, False]
    y = np.asarray(door.avg_pool2d(row(1, math.nan, 3, 4, 5), (1, 2), stride=1))[0, 0, :, 0]
    assert np.isnan(y).tolist() == [True, True, False, False]
    # padding is the number 0, and 0 times NaN or infinity is NaN
    y = np.asarray(door.conv2d(row(1, 2, 3), row(math.nan, 1, 1), padding=((0, 0), (1, 1))))
    assert np.isnan(y).all()
    same(door.conv2d(row(1, 2, 3), row(math.inf, 1, 1), padding=((0, 0), (1, 1))), [math.nan, math.inf, math.inf])
    weight = np.ones((2, 1, 1, 2), dtype="float32")
    y = np.asarray(door.conv2d(pixel(1, 1, math.nan, 1), weight, groups=2)).reshape(-1)
    assert np.isnan(y).tolist() == [False, True]


@check
def padding_never_wins_a_maximum(door):
    x = image([[-4, -3], [-2, -1]])
    same(door.max_pool2d(x, 2, stride=1, padding=1), [[-4, -3, -3], [-2, -1, -1], [-2, -1, -1]])
    same(door.max_pool2d(row(-128, -127, dtype="int8"), (1, 2), stride=1, padding=((0, 0), (1, 1))), [-128, -127, -127], "int8")
    same(door.max_pool2d(row(-math.inf, -math.inf), (1, 3), stride=1, padding=((0, 0), (1, 1))), [-math.inf, -math.inf])
    same(door.max_pool2d(row(-1e38, -3e38), (1, 2), stride=1), [np.float32(-1e38)])


@check
def maxima_ties_and_nan(door):
    y, index = door.max_pool2d(image([[1, 7, 7], [7, 2, 0]]), (2, 2), stride=1, return_indices=True)
    same(y, [7, 7])
    assert np.asarray(index).reshape(-1).tolist() == [1, 1] and np.asarray(index).dtype == np.int32
    x = row(1, math.nan, 5, math.nan, math.nan, 2)
    y, index = door.max_pool2d(x, (1, 3), return_indices=True)
    assert np.isnan(np.asarray(y)).all() and np.asarray(index).reshape(-1).tolist() == [1, 3]
    y, index = door.max_pool2d(x, (1, 2), nan="omit", return_indices=True)
    same(y, [1, 5, 2])
    assert np.asarray(index).reshape(-1).tolist() == [0, 2, 5]
    y, index = door.max_pool2d(row(math.nan, math.nan), (1, 3), stride=1, padding=((0, 0), (1, 1)), nan="omit", return_indices=True)
    assert np.isnan(np.asarray(y)).all() and np.asarray(index).reshape(-1).tolist() == [0, 0]
    y, index = door.max_pool2d(row(-math.inf, -math.inf), (1, 3), stride=1, padding=((0, 0), (2, 0)), return_indices=True)
    assert np.asarray(index).reshape(-1).tolist() == [0, 0]


@check
def ceil_mode(door):
    same(door.max_pool2d(row(1, 2, 3, 4, 5), (1, 2), ceil_mode=True), [2, 4, 5])
    same(door.max_pool2d(row(1, 2, 3, 4, 5), (1, 2)), [2, 4])
    # a third window would start at 6, in the padding past the end: 5 cells and 1 before them
    same(door.max_pool2d(row(1, 2, 3, 4, 5), (1, 2), stride=(1, 3), padding=((0, 0), (1, 1)), ceil_mode=True), [1, 4])


@check
def average_divisors(door):
    x, words = row(1, 2, 3, 4, 5, 6), {"stride": (1, 2), "padding": ((0, 0), (1, 1))}
    same(door.avg_pool2d(x, (1, 3), **words), [1.5, 3, 5])
    same(door.avg_pool2d(x, (1, 3), count_include_pad=True, **words), [1, 3, 5])
    # the fourth window holds 6, one cell of padding and one of overhang, which nobody counts
    same(door.avg_pool2d(x, (1, 3), ceil_mode=True, **words), [1.5, 3, 5, 6])
    same(door.avg_pool2d(x, (1, 3), ceil_mode=True, count_include_pad=True, **words), [1, 3, 5, 3])
    same(door.avg_pool2d(x, (1, 3), divisor=2, **words), [1.5, 4.5, 7.5])
    same(door.avg_pool2d(row(1, 2, 3, 4, 5), (1, 2), stride=1, dilation=(1, 3)), [2.5, 3.5])
    same(door.avg_pool2d(row(2, 4, 6), (1, 2), stride=1, padding=((0, 0), (2, 0)), dilation=(1, 2)), [2, 4, 4])


@check
def norms(door):
    same(door.lp_pool2d(row(-3, -4), (1, 2), 1), [7])
    same(door.l2_pool2d(row(-3, -4), (1, 2)), [5])
    same(door.lp_pool2d(row(-3, 4, -5, 1), (1, 2), math.inf), [4, 5])
    same(door.l2_pool2d(row(300, 300, dtype="float16"), (1, 2)), [424.25], "float16")
    near(door.l2_pool2d(row(1e30, 1e30), (1, 2)), [math.sqrt(2) * 1e30])
    near(door.l2_pool2d(row(3e-30, 4e-30), (1, 2)), [5e-30])
    x = row(0, 0, 1, -math.inf, math.nan, 2, math.inf, math.nan)
    for power in (0.5, 1, 2, 3, math.inf):
        same(door.lp_pool2d(x, (1, 2), power), [0, math.inf, math.nan, math.nan])
    same(door.rms_pool2d(row(60000, -60000, dtype="float16"), (1, 2)), [60000], "float16")
    near(door.lp_pool2d(row(-1, 2), (1, 2), 3), [9 ** (1 / 3)])
    near(door.lp_pool2d(row(4, -9), (1, 2), 0.5), [25])
    same(door.lp_pool2d(row(1, -2, 3), (1, 2), 1, ceil_mode=True), [3, 3])
    same(door.lp_pool2d(row(1, -2, 3), (1, 2), 1, padding=((0, 0), (2, 1))), [0, 3, 3])
    near(door.rms_pool2d(row(3, 4), (1, 2)), [math.sqrt(12.5)])
    same(door.rms_pool2d(row(3, 4, 5), (1, 2), padding=((0, 0), (1, 0)), stride=(1, 3)), [3])


@check
def weighted_averages(door):
    x, pad = row(2, 4, 6), ((0, 0), (1, 1))
    near(door.weighted_avg_pool2d(x, (1, 3), "inverse", stride=1, padding=pad), [8 / 3, 4, 16 / 3])
    near(door.weighted_avg_pool2d(x, (1, 3), "inverse", stride=1, padding=pad, normalize="full"), [2, 4, 4])
    near(door.weighted_avg_pool2d(x, (1, 3), "binomial", stride=1, padding=pad), [8 / 3, 4, 16 / 3])
    near(door.weighted_avg_pool2d(x, (1, 3), "binomial", stride=1, padding=pad, normalize="full"), [2, 4, 4])
    near(door.weighted_avg_pool2d(row(1, 0, 0), (1, 3), "gaussian", sigma=1.0), [0.2740686194])
    near(door.weighted_avg_pool2d(row(1, 0, 0), (1, 3), "gaussian"), [0.2389942656])  # sigma 0.8
    near(door.weighted_avg_pool2d(row(1, 9, 0, 9, 0), (1, 3), "gaussian", sigma=1.0, dilation=(1, 2)), [0.1065069789])
    near(door.weighted_avg_pool2d(row(1, 0, 0, 5, 5), (1, 2), [[3.0, 1.0]], stride=(1, 3)), [0.75, 5])


def agrees(door, text, seed=0, negative=False):
    """Assert that a case on whole numbers agrees with brute force: to the bit where one answer is right, else nearly."""
    problem = parse(text)
    inputs = testing.exact_inputs(problem, seed, negative)
    actual, expected = run(door, problem, inputs), brute_arrays.expected(problem, inputs)
    if isinstance(expected, tuple) and not problem.return_indices:
        expected = expected[0]
    if isinstance(expected, tuple):
        np.testing.assert_array_equal(np.asarray(actual[1]), expected[1], err_msg=f"{text}: indices")
        actual, expected = actual[0], expected[0]
    bound = None
    if not testing.is_exact(problem):
        unit = {"float16": 2**-10, "bfloat16": 2**-7}.get(problem.out_dtype, 2**-20)
        bound = unit * (np.abs(expected) + np.abs(inputs["x"].astype(np.float64)).max())
    testing.assert_matches(actual, expected, problem, bound)


def _register(case):
    def against_brute_force(door):
        agrees(door, case.text)
        agrees(door, case.text, seed=1, negative=True)

    against_brute_force.__name__ = case.name
    CHECKS[case.name] = against_brute_force


for _file in ("traps.txt", "regressions.txt"):
    for _case in read_cases(FOLDER / _file):
        _register(_case)


def failures(door):
    """Return {check: why} of the checks that a door fails."""
    found = {}
    for name, function in CHECKS.items():
        try:
            function(door)
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return found
