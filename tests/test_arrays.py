"""The array path on NumPy and on array-api-strict: exactness, bounds, pieces, memory, strides and repeatable bits."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest

from atrous import config, testing
from atrous.engines import array_namespace, arrays, arrays_conv, arrays_epilogue, arrays_pool
from atrous.problem import Conv2dProblem, parse
from atrous.reference import tap_weights
from atrous.reference.store import numpy_dtype

SEEDS = 600
STRICT_SEEDS = 300
CHUNK = 50


def call(problem, inputs, out=None, indices=None, library=None):
    """Run a problem through the engine; return y, or (y, indices), as arrays of the library (default NumPy)."""
    inputs = dict(inputs)
    if getattr(problem, "weighting", "") and "tap_weight" not in inputs:
        inputs["tap_weight"] = tap_weights(problem).astype("float64" if problem.dtype == "float64" else "float32")
    if library is not None:
        inputs = {name: library.asarray(array) for name, array in inputs.items()}

    def empty(dtype):
        if library is not None:
            return library.empty(problem.y_shape, dtype=getattr(library, dtype))
        return np.full(problem.y_shape, 99, numpy_dtype(dtype))

    out = empty(problem.out_dtype) if out is None else out
    if isinstance(problem, Conv2dProblem):
        arrays.conv2d(problem, inputs["x"], inputs["weight"], inputs.get("scale"), inputs.get("bias"), inputs.get("residual"), out)
        return out
    if problem.return_indices and indices is None:
        indices = empty(problem.index_dtype)
    arrays.pool2d(problem, inputs["x"], inputs.get("tap_weight"), out, indices)
    return (out, indices) if problem.return_indices else out


def check(problem, seed, library=None):
    """Compare whole numbers to the bit, where one answer is right, and random numbers with their bound."""
    for make, exact in ((testing.exact_inputs, testing.is_exact(problem)), (testing.random_inputs, False)):
        inputs = make(problem, seed)
        got, want = call(problem, inputs, library=library), testing.expected_output(problem, inputs)
        if isinstance(got, tuple):
            np.testing.assert_array_equal(np.asarray(got[1]), want[1], err_msg=str(problem))
            got, want = got[0], want[0]
        testing.assert_matches(np.asarray(got), want, problem, None if exact else testing.tolerance(problem, inputs))


def has_narrow_floats(problem):
    words = [problem.dtype, problem.out_dtype, getattr(problem, "scale", None), getattr(problem, "bias", None)]
    return any(word in ("float16", "bfloat16") for word in words)


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_random_problems_on_numpy(first):
    for seed in range(first, first + CHUNK):
        check(testing.random_problem(seed), seed)


@pytest.mark.parametrize("first", range(0, STRICT_SEEDS, CHUNK))
def test_the_same_text_on_the_array_standard(first):
    strict = pytest.importorskip("array_api_strict")
    problems = [(seed, testing.random_problem(seed)) for seed in range(first, first + CHUNK)]
    taken = [(seed, problem) for seed, problem in problems if not has_narrow_floats(problem)]  # the standard has neither type
    assert len(taken) > CHUNK // 4
    for seed, problem in taken:
        check(problem, seed, strict)


@pytest.mark.parametrize("limit", [1, 700, 9000])
@pytest.mark.parametrize("library", ["numpy", "array_api_strict"])
def test_pieces_of_any_size_give_the_right_answer(monkeypatch, limit, library):
    space = None if library == "numpy" else pytest.importorskip(library)
    for module, name in ((arrays_conv, "PRODUCT_BYTES"), (arrays_conv, "ELEMENTWISE_BYTES"), (arrays_pool, "PIECE_BYTES")):
        monkeypatch.setattr(module, name, limit)
    forget()
    try:
        for seed in range(120 if space is None else 40):
            problem = testing.random_problem(seed)
            if space is None or not has_narrow_floats(problem):
                check(problem, seed, space)
    finally:
        monkeypatch.undo()
        forget()


def forget():
    arrays_conv.conv_steps.cache_clear()
    arrays_pool.pool_steps.cache_clear()


ALONE = [
    "n8c5h9w11_k7r3s3_pad1_f32",
    "n8c64h14w14_k32r3s3_pad1_stride2_f32_scale_bias_gelu",
    "n8c64h7w7_k48r1s1_f32_bias_relu",
    "n8c64h7w7_k48r1s1_f32_nchw",
    "n8c16h13w9_k24r3s3_pad1_f32_nchw_relu",
    "n8c32h1w1_k10r1s1_f32",
    "n8c6h5w5_k16r5s5_f32",
    "n8c32h10w10_k64r3s3_pad1_g8_f16",
    "n8c24h10w10_k48r3s3_pad1_g24_f32",
    "n8c40h12w12_k40r3s3_dil2_reflect_pad2_f64",
    "n8c16h80w80_k16r3s3_pad1_bf16_residual",
    "n8c7h9w11_avg_r3s3_pad1_stride2_f32",
    "n8c7h9w11_gaussian_r3s3_f32",
    "n8c7h9w11_lp3_r2s3_f16",
    "n8c7h9w11_lp2.5_r2s3_f64",
    "n8c64h30w30_rms_r3s3_stride1_pad1_f32",
    "n8c64h30w30_max_r3s3_stride1_pad1_f32",
]


@pytest.mark.parametrize(
    "case",
    [
        "n2c3h17w9_k4r3s3_pad6_dil6_f32_bias", "n2c6h23w8_k4r3s2_pad9:2:1:0_dil8x1_stride3x1_g2_f32_nchw", "n1c4h12w12_k4r3s3_pad5_dil5_reflect_f32",
        "n1c4h12w12_k4r2s3_pad11x1_dil11x1_circular_f32_nchw", "n2c3h19w5_k4r3s1_pad-1:8:0:0_dil7x1_i8_zp3", "n1c2h5w5_k3r3s3_pad9_dil9_f16",
        "n1c2h40w3_k3r4s1_dil13x1_stride2x1_f64",
    ],
)  # fmt: skip
@pytest.mark.parametrize("library", ["numpy", "array_api_strict"])
def test_rows_far_apart_are_copied_alone(monkeypatch, case, library):
    """A dilation that leaves most rows under the windows unread: a strip for each filter row, and the same answer."""
    problem, space = parse(case), None if library == "numpy" else pytest.importorskip(library)
    if space is not None and has_narrow_floats(problem):
        pytest.skip("the array standard has no 16-bit floats")
    monkeypatch.setattr(arrays_conv, "PRODUCT_BYTES", 700)
    forget()
    try:
        steps = arrays_conv.conv_steps(problem, config.workspace_bytes())
        assert steps.apart and steps.strip_extents(2, 1)[0] == 2
        for seed in range(3):
            check(problem, seed, space)
    finally:
        forget()


def test_no_row_is_copied_that_no_tap_reads():
    """A filter of three rows 24 apart: a piece of a row copies 3 rows and not the 49 between the first and the last."""
    steps = arrays_conv.conv_steps(parse("n1c2048h65w65_k256r3s3_pad24_dil24_f32"), 2**30)
    pieces = -(-65 // steps.rows) * -(-65 // steps.columns)
    assert steps.apart and pieces * 3 * steps.strip_extents(steps.rows, steps.columns)[0] <= 3 * 65 * 2


@pytest.mark.parametrize("case", ALONE)
def test_an_image_gives_the_same_bits_alone_and_in_any_batch(case):
    problem = parse(case)
    inputs = testing.random_inputs(problem, 3)
    batch = call(problem, inputs)
    again = call(problem, inputs)
    assert batch.tobytes() == again.tobytes(), "two runs differ"
    for count in (1, 3):
        for first in (0, 8 - count):
            part = dataclasses.replace(problem, n=count)
            some = {name: array[first : first + count] if name in ("x", "residual") else array for name, array in inputs.items()}
            assert call(part, some).tobytes() == batch[first : first + count].tobytes(), f"images {first} to {first + count} of 8"


def test_a_large_image_in_pieces_gives_the_same_bits_in_any_batch(monkeypatch):
    monkeypatch.setenv("ATROUS_WORKSPACE_MIB", "1")
    for case in ("n4c16h70w50_k24r3s3_pad1_f32_bias", "n4c32h60w60_k32r3s3_g32_pad1_f32", "n4c48h64w64_avg_r3s3_stride1_f32"):
        problem = parse(case)
        inputs = testing.random_inputs(problem, 5)
        alone = [call(dataclasses.replace(problem, n=1), {**inputs, "x": inputs["x"][i : i + 1]}) for i in range(4)]
        assert call(problem, inputs).tobytes() == np.concatenate(alone).tobytes()


HEAVY = [
    "n400c16h14w14_k16r3s3_pad1_f32",
    "n400c16h14w14_avg_r3s3_f16",
    "n4c64h56w56_k64r3s3_pad1_f32",
    "n4c64h56w56_k64r3s3_pad1_f16_nchw",
    "n2c64h56w56_k128r1s1_f16_bias_gelu",
    "n2c64h56w56_k128r1s1_f32_residual_relu",
    "n2c32h60w60_k64r3s3_pad1_i8_outi8_scalef32_biasf32_zp3_outzp-4",
    "n2c32h60w60_k64r3s3_pad1_g4_f64_silu",
    "n2c96h60w60_k96r5s5_pad2_g96_f32_hardswish",
    "n2c32h60w60_k32r3s3_pad1_f32_circular_wrsck_tanh",
    "n1c8h1100w1100_k8r3s3_pad1_f32_bias_relu",
    "n1c8h40w30000_k8r3s3_f32_bias",
    "n4c64h60w60_max_r3s3_stride2_pad1_f32",
    "n4c64h60w60_max_r3s3_stride2_pad1_f32_indices",
    "n4c64h60w60_max_r3s3_stride2_pad1_f16_omit",
    "n4c64h60w60_avg_global_f16",
    "n4c64h60w60_lp3_r3s3_f64",
    "n4c64h60w60_lp2_r3s3_f32",
    "n4c64h60w60_rms_r3s3_stride1_f32_nchw",
    "n4c64h60w60_gaussian_r3s3_stride1_f32",
    "n1c256h40w3000_avg_r3s3_stride1_f16",
]


@pytest.mark.parametrize("case", HEAVY)
@pytest.mark.parametrize("mib", [1, 4, 256])
def test_memory_stays_within_the_stated_workspace(monkeypatch, case, mib):
    monkeypatch.setenv("ATROUS_WORKSPACE_MIB", str(mib))
    problem = parse(case)
    stated = arrays.workspace_bytes(problem)
    assert stated <= mib * 2**20, "nothing here needs a piece larger than the setting"
    inputs = testing.random_inputs(problem, 1)
    if getattr(problem, "weighting", ""):
        inputs["tap_weight"] = tap_weights(problem).astype("float32")
    out = np.empty(problem.y_shape, numpy_dtype(problem.out_dtype))
    indices = np.empty(problem.y_shape, problem.index_dtype) if getattr(problem, "return_indices", False) else None
    call(problem, inputs, out, indices)  # what stays (imports, remembered steps) is no workspace
    tracemalloc.start()
    try:
        call(problem, inputs, out, indices)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= stated + 32 * 1024, f"held {peak} of {stated} bytes stated"  # the rest: Python's own objects and NumPy's cast buffers


def scattered(array):
    """Return an equal view whose axes are all strided, one backwards, and none of whose rows is contiguous."""
    wide = np.zeros(tuple(2 * size + 1 for size in array.shape), array.dtype)
    view = wide[tuple(slice(1, None, 2) for _ in array.shape)]
    view = view[..., ::-1]
    view[...] = array
    return view


SPREAD = [
    "n2c6h7w5_k4r3s3_pad1_f32_scale_bias_relu",
    "n2c6h7w5_k4r1s1_f32",
    "n2c6h7w5_k4r1s1_f32_nchw_residual",
    "n2c6h7w5_k6r3s2_g6_f32",
    "n2c6h7w5_k6r3s3_g2_f32_nchw",
    "n2c6h7w5_k4r3s3_f32_wrsck",
    "n2c6h7w5_k4r3s3_f16",
    "n2c6h7w5_max_r2s2_f32_indices",
    "n2c6h7w5_avg_r3s3_pad1_stride1_f16",
    "n2c6h7w5_binomial_r3s3_f32_nchw",
]


@pytest.mark.parametrize("case", SPREAD)
def test_any_strides_of_inputs_and_outputs(case):
    problem = parse(case)
    inputs = testing.exact_inputs(problem, 2)
    spread = {name: scattered(array) for name, array in inputs.items()}
    out = scattered(np.zeros(problem.y_shape, numpy_dtype(problem.out_dtype)))
    hull = out.base if out.base.base is None else out.base.base
    indices = scattered(np.zeros(problem.y_shape, "int32")) if getattr(problem, "return_indices", False) else None
    got, want = call(problem, spread, out, indices), testing.expected_output(problem, inputs)
    if indices is not None:
        np.testing.assert_array_equal(indices, want[1])
        got, want = got[0], want[0]
    testing.assert_matches(got, want, problem)
    out[...] = 0
    assert not hull.any(), "cells between the output's were written"


@pytest.mark.parametrize("case", ["n2c6h7w5_k4r3s3_pad1_f32_residual_relu", "n2c6h7w5_k4r1s1_f32_residual", "n2c6h7w5_k8r3s3_g2_i8_residual"])
def test_the_residual_may_be_the_output(case):
    problem = parse(case)
    inputs = testing.exact_inputs(problem, 4)
    want = testing.expected_output(problem, inputs)
    out = inputs["residual"]
    testing.assert_matches(call(problem, inputs, out), want, problem)


def test_erf_is_the_standard_librarys():
    x = np.concatenate([np.linspace(-7, 7, 20001), [0.46875, -0.46875, 4.0, 1e-300, 5e-324, 1e300, -1e300, math.inf, -math.inf, 0.0]])
    with np.errstate(all="ignore"):
        got = arrays_epilogue.erf(array_namespace.namespace_of(x), x)
    want = np.array([math.erf(value) for value in x])
    assert np.abs(got - want).max() < 4e-16
    small = np.abs(x) <= 0.46875
    assert np.abs(got[small] - want[small]).max() < 2e-16
    with np.errstate(all="ignore"):
        assert np.isnan(arrays_epilogue.erf(array_namespace.namespace_of(x), np.array([math.nan]))).all()


def test_float64_sums_are_rounded_once_to_bfloat16():
    problem = parse("n1c1h1w3_k1r1s1_f64_outbf16")
    # 1 + 2^-8 is half way between two bfloat16; what lies above it is beyond float32
    x = np.array([1 + 2**-8, 1 + 2**-8 + 2**-40, 1 + 2**-8 - 2**-40]).reshape(1, 1, 3, 1)
    got = call(problem, {"x": x, "weight": np.ones((1, 1, 1, 1))})
    assert got.astype(float).ravel().tolist() == [1.0, 1.0078125, 1.0]


@pytest.mark.parametrize("case", ["n1c3h9w9_k4r3s3_pad1_f32", "n1c4h9w9_k4r3s3_pad1_g4_f32", "n1c4h9w9_k8r3s3_pad1_f16_nchw"])
def test_nan_and_infinity_reach_exactly_the_windows_that_hold_them(case):
    problem = parse(case)
    inputs = testing.random_inputs(problem, 6)
    axes = problem.layout
    for value in (math.nan, math.inf):
        x = np.abs(inputs["x"]).copy()
        cell = tuple({"N": 0, "H": 4, "W": 6, "C": 1}[letter] for letter in axes)
        x[cell] = value
        weight = np.abs(inputs["weight"]) + np.asarray(1, inputs["weight"].dtype)
        y = np.asarray(call(problem, {"x": x, "weight": weight}), dtype=np.float64)
        y = y if axes == "NHWC" else y.transpose(0, 2, 3, 1)
        hit = np.zeros((9, 9), bool)
        hit[3:6, 5:8] = True
        channels = [1] if problem.groups > 1 else range(problem.k)
        for k in range(problem.k):
            np.testing.assert_array_equal(~np.isfinite(y[0, :, :, k]), hit if k in channels else False)


@pytest.mark.parametrize(("dtype", "x", "want"), [
    ("float16", (300.0, 300.0), 424.25), ("float32", (3e30, 4e30), 5e30), ("float64", (3e300, 4e300), 5e300),
    ("float64", (3e-300, 4e-300), 5e-300), ("float64", (3e-320, 4e-320), 5e-320), ("float64", (math.inf, 1.0), math.inf), ("float32", (0.0, 0.0), 0.0),
])  # fmt: skip
def test_norms_neither_overflow_nor_vanish(dtype, x, want):
    problem = dataclasses.replace(parse("n1c1h1w2_lp2_r1s2_f32"), dtype=dtype)
    got = call(problem, {"x": np.array(x, dtype=dtype).reshape(1, 1, 2, 1)})
    np.testing.assert_allclose(got.astype(float).ravel(), [want], rtol=1e-3 if dtype == "float16" else 1e-6, atol=5e-324)


def test_large_powers_are_scaled_window_by_window():
    problem = parse("n1c1h1w4_lp200_r1s2_f32")
    got = call(problem, {"x": np.array([1e30, 1e30, 1e-30, -1e-30], "float32").reshape(1, 1, 4, 1)})
    np.testing.assert_allclose(got.ravel(), [1e30 * 2 ** (1 / 200), 1e-30 * 2 ** (1 / 200)], rtol=1e-6)


def test_integer_sums_are_exact_beyond_float32():
    problem = parse("n1c1200h1w1_k1r1s1_u8")
    x = np.full((1, 1, 1, 1200), 255, "uint8")
    x[..., 0] = 254
    assert call(problem, {"x": x, "weight": np.full((1, 1, 1, 1200), 255, "uint8")}).item() == 255 * 255 * 1199 + 254 * 255


@pytest.mark.parametrize("zero_point", [0, 7])
def test_nan_becomes_0_in_integers(zero_point):
    problem = parse(f"n1c1h1w2_k2r1s1_i8_outi8_scalef32_outzp{zero_point}")
    scale = np.array([math.nan, 1.0], "float32")
    got = call(problem, {"x": np.full((1, 1, 2, 1), 3, "int8"), "weight": np.ones((2, 1, 1, 1), "int8"), "scale": scale})
    assert got.ravel().tolist() == [0, 3 + zero_point] * 2


@pytest.mark.parametrize(
    ("nan", "values", "positions"), [("propagate", [math.nan, math.nan, math.nan, 1], [1, 3, 4, 6]), ("omit", [2, 3, math.nan, 1], [0, 2, 4, 6])]
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("indices", [True, False])
def test_nan_in_maxima(nan, values, positions, dtype, indices):
    problem = dataclasses.replace(parse("n1c1h1w8_max_r1s2_f32"), dtype=dtype, nan=nan, return_indices=indices)
    x = np.array([2, math.nan, 3, math.nan, math.nan, math.nan, 1, -math.inf], dtype).reshape(1, 1, 8, 1)
    got = call(problem, {"x": x})
    if indices:
        assert got[1].ravel().tolist() == positions
        got = got[0]
    np.testing.assert_array_equal(got.astype(float).ravel(), values)


def test_the_overhang_of_ceil_mode_reads_no_cropped_cell():
    problem = parse("n1c1h6w1_max_r2s1_pad0:-1:0:0_stride2x1_ceil_f32_indices")
    y, index = call(problem, {"x": np.arange(6, dtype="float32").reshape(1, 6, 1, 1)})
    assert (y.ravel().tolist(), index.ravel().tolist()) == ([1.0, 3.0, 4.0], [1, 3, 4])
