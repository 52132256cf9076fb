"""The nine promises of docs/conventions.md, a test each, named after it; more of each is proved where its parts are tested."""

from __future__ import annotations

import mmap

import fake_cupy
import numpy as np
import pytest
from doors import Public, run

import atrous
from atrous import config, engines, testing
from atrous.problem import parse

CASES = {
    "direct": "n5c24h7w6_k20r3s2_pad1_stride2x1_f32_bias",
    "narrow": "n5c12h7w6_k12r3s3_pad1_g12_f16_nchw",
    "pointwise": "n5c24h7w6_k70r1s1_f32_bias_relu",
    "lp": "n5c9h8w7_lp2_r3s3_pad1_stride2_f32",
    "average": "n5c9h20w20_avg_r20s20_f32",
    "gaussian": "n5c9h8w7_gaussian_r3s3_pad1_stride1_f32_nchw",
}


def bits(array):
    return np.ascontiguousarray(array).view(np.uint8).tobytes()


@pytest.mark.parametrize("engine", ["arrays", "simulated"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_1_same_bits_from_run_to_run_and_alone_or_in_any_batch(engine, case):
    if reason := getattr(engines, engine).available():
        pytest.skip(reason)
    problem = parse(case)
    inputs = testing.random_inputs(problem, 5)
    together = run(Public(engine), problem, inputs)
    assert bits(run(Public(engine), problem, inputs)) == bits(together)
    for image in range(problem.n):
        alone = run(Public(engine), problem, {**inputs, "x": inputs["x"][image : image + 1].copy()})
        assert bits(alone[0]) == bits(together[image]), f"image {image} of {case}"


@pytest.mark.parametrize("case", ["n2c40h6w7_k72r3s2_pad1_f16", "n2c8h6w7_k8r3s3_pad1_g8_f32_nchw", "n2c40h6w8_k72r1s1_f32", "n2c20h9w7_max_r3s3_f16"])
def test_2_64_bit_indices_where_2_to_31_elements_are_possible(case, monkeypatch):
    """Two images 2^31 elements apart, in memory that is reserved and never touched between them."""
    if engines.simulated.available():
        pytest.skip(engines.simulated.available())
    names = []
    prepare = engines.simulated.prepare
    monkeypatch.setattr(engines.simulated, "prepare", lambda launch: names.append(launch.name) or prepare(launch))
    problem = parse(case)
    inputs = testing.exact_inputs(problem, 1)
    x, y = apart(problem.x_shape, problem.dtype), apart(problem.y_shape, problem.out_dtype)
    x[...] = inputs["x"]
    if hasattr(problem, "groups"):
        pads = (problem.pads[:2], problem.pads[2:])
        atrous.conv2d(x, inputs["weight"], padding=pads, groups=problem.groups, layout=problem.layout, out=y, engine="simulated")
    else:
        atrous.max_pool2d(x, (problem.r, problem.s), out=y, engine="simulated")
    testing.assert_matches(y.copy(), testing.expected_output(problem, inputs), problem)
    assert names and not any("int32" in name for name in names)  # those of one width count in 64 bits


def apart(shape, dtype, gap=2**31 + 2**26):
    """Return an array whose first axis steps over `gap` elements of sparse memory."""
    dtype = np.dtype(dtype)
    size = (gap * (shape[0] - 1) + int(np.prod(shape))) * dtype.itemsize
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000))
    inner = np.empty(shape[1:], dtype).strides
    return np.lib.stride_tricks.as_strided(np.frombuffer(memory, dtype), shape, (gap * dtype.itemsize, *inner))


@pytest.fixture
def device(monkeypatch):
    """A stand-in for a CUDA device: (CuPy, the list of launches)."""
    if engines.simulated.available():
        pytest.skip(engines.simulated.available())
    cupy = fake_cupy.install(monkeypatch)
    yield cupy, fake_cupy.serve_compiled(monkeypatch, cupy)
    fake_cupy.forget()


def test_3_a_plan_with_out_allocates_nothing(device):
    cupy, launches = device
    x, weight = cupy.asarray(np.ones((1, 6, 6, 4), "f4")), cupy.asarray(np.ones((8, 3, 3, 4), "f4"))
    made = atrous.plan_conv2d(x.shape, weight)
    y = cupy.empty((1, 4, 4, 8), "f4")
    before = cupy.allocations
    assert made(x, out=y) is y
    assert cupy.allocations == before and len(launches) == 1


def test_4_workspace_is_bounded_and_stated(monkeypatch):
    weight = np.ones((64, 3, 3, 64), "f4")
    assert atrous.plan_conv2d((8, 56, 56, 64), weight, engine="simulated").workspace_bytes == 0
    held = atrous.plan_conv2d((8, 56, 56, 64), weight).workspace_bytes
    assert 0 < held <= config.workspace_bytes() == 256 * 2**20
    monkeypatch.setenv("ATROUS_WORKSPACE_MIB", "2")
    assert atrous.plan_conv2d((8, 56, 56, 64), weight).workspace_bytes <= 2 * 2**20


def test_5_the_first_call_of_a_new_shape_is_one_launch(device):
    cupy, launches = device
    weight = cupy.asarray(np.ones((8, 3, 3, 4), "f4"))
    for size in (5, 6, 7):
        atrous.conv2d(cupy.asarray(np.ones((1, size, size, 4), "f4")), weight)
    assert len(launches) == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_6_nan_and_inf_reach_exactly_the_outputs_whose_windows_hold_them(door, value):
    x = np.ones((2, 7, 6, 4), "f4")
    x[1, 3, 2, 1] = value
    weight = np.ones((6, 3, 2, 2), "f4")
    y = np.asarray(door.conv2d(x, weight, groups=2, padding=1))
    expected = np.zeros(y.shape, bool)
    expected[1, 2:5, 2:4, :3] = True  # rows 3-2+1 .. 3+1, columns 2-1+1 .. 2+1, the filters of group 0
    np.testing.assert_array_equal(~np.isfinite(y), expected)
    pooled = np.asarray(door.avg_pool2d(x, (3, 2), stride=1))
    expected = np.zeros(pooled.shape, bool)
    expected[1, 1:4, 1:3, 1] = True
    np.testing.assert_array_equal(~np.isfinite(pooled), expected)


def test_7_a_bad_call_is_refused_before_anything_runs(device):
    cupy, launches = device
    x, weight = cupy.asarray(np.ones((1, 5, 5, 4), "f4")), cupy.asarray(np.ones((8, 3, 3, 4), "f4"))
    out = cupy.asarray(np.full((1, 4, 4, 8), 9, "f4"))
    with pytest.raises(atrous.ProblemError, match=r"\[conv2d\] out has shape .*; expected \(1, 3, 3, 8\).*; .*\."):
        atrous.conv2d(x, weight, out=out)
    assert not launches and (out == 9).all()
    assert atrous.conv2d(x, weight).shape == (1, 3, 3, 8)


@pytest.mark.parametrize(("dtype", "layout"), [("float16", "NHWC"), ("float64", "NCHW"), ("float32", "NHWC")])
def test_8_device_dtype_and_layout_stay(device, dtype, layout):
    cupy, _ = device
    shape, filters = ((2, 5, 6, 4), (8, 3, 3, 4)) if layout == "NHWC" else ((2, 4, 5, 6), (8, 4, 3, 3))
    for where in range(fake_cupy.DEVICES):
        with cupy.cuda.Device(where):
            y = atrous.conv2d(cupy.asarray(np.ones(shape, dtype)), cupy.asarray(np.ones(filters, dtype)), layout=layout)
        assert y.dtype == dtype and y.device.id == where
        assert y.shape == ((2, 3, 4, 8) if layout == "NHWC" else (2, 8, 3, 4))


def test_9_an_array_of_kind_x_gives_a_result_of_kind_x(device):
    cupy, _ = device
    assert type(atrous.max_pool2d(np.ones((1, 4, 4, 2), "f4"), 2)) is np.ndarray
    assert type(atrous.max_pool2d(cupy.asarray(np.ones((1, 4, 4, 2), "f4")), 2)) is cupy.ndarray
    strict = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    assert type(atrous.max_pool2d(strict.ones((1, 4, 4, 2), dtype=strict.float32), 2)) is type(strict.ones(1))
