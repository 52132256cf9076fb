"""The way of CUDA arrays through plans and engines, on a stand-in for CuPy: kernels run on the simulator in the compiled engine's place."""

from __future__ import annotations

import logging

import fake_cupy
import numpy as np
import pytest
from doors import Public, run

import atrous
from atrous import engines, testing
from atrous.problem import parse

CASES = [
    "n2c8h9w7_k6r3s2_pad1:0:2:1_stride2x1_f32_scale_bias_residual_relu",
    "n2c3h8w9_max_r3s3_pad1_stride2_f16_indices",
    "n1c4h5w5_gaussian_r3s3_stride1_f32",
]


@pytest.fixture
def cupy(monkeypatch):
    monkeypatch.setattr(engines.compiled, "available", lambda: "not built, says the test")
    monkeypatch.setattr(engines.runtime, "available", lambda: "no NVRTC, says the test")
    yield fake_cupy.install(monkeypatch)
    fake_cupy.forget()


@pytest.fixture
def launches(cupy, monkeypatch):
    if engines.simulated.available():
        pytest.skip(engines.simulated.available())
    return fake_cupy.serve_compiled(monkeypatch, cupy)


def on_device(cupy, inputs, device=0):
    with cupy.cuda.Device(device):
        return {name: cupy.asarray(array) for name, array in inputs.items()}


@pytest.mark.parametrize("case", CASES)
def test_cupy_in_gives_cupy_out_through_the_compiled_engine(cupy, launches, case):
    problem = parse(case)
    inputs = testing.random_inputs(problem, 3)
    actual = run(Public(None), problem, on_device(cupy, inputs))
    expected = testing.expected_output(problem, inputs)
    pairs = zip(actual, expected) if isinstance(actual, tuple) else [(actual, expected)]
    for position, (got, want) in enumerate(pairs):
        assert type(got).__module__ == "cupy"
        if position == 0:
            testing.assert_matches(np.asarray(got), want, problem, testing.tolerance(problem, inputs))
        else:
            np.testing.assert_array_equal(np.asarray(got), want)
    assert [stream for _, _, stream in launches] == [7000]


def test_array_path_serves_device_arrays_where_no_kernel_engine_does(cupy, caplog):
    problem = parse(CASES[0])
    inputs = testing.random_inputs(problem, 3)
    with caplog.at_level(logging.DEBUG, "atrous"):
        actual = run(Public(None), problem, on_device(cupy, inputs))
    assert type(actual).__module__ == "cupy"
    testing.assert_matches(np.asarray(actual), testing.expected_output(problem, inputs), problem, testing.tolerance(problem, inputs))
    assert "compiled does not serve" in caplog.text and "runtime does not serve" in caplog.text


class Stream:
    def __cuda_stream__(self):
        return (0, 4242)


@pytest.mark.parametrize(("given", "handle"), [(None, 7001), (99, 99), (Stream(), 4242)])
def test_launches_go_to_the_device_of_x_and_the_stream_of_the_call(cupy, launches, given, handle):
    problem = parse("n1c4h5w5_k4r3s3_f32")
    arrays = on_device(cupy, testing.random_inputs(problem, 1), device=1)
    y = atrous.conv2d(arrays["x"], arrays["weight"], stream=given)
    assert launches[-1][1:] == (1, handle)
    assert y.device.id == 1 and cupy.current == 0


def test_a_plan_with_out_allocates_nothing_and_launches_once(cupy, launches):
    problem = parse("n2c4h6w6_k8r3s3_pad1_f16_bias")
    arrays = on_device(cupy, testing.exact_inputs(problem, 1))
    made = atrous.plan_conv2d(problem.x_shape, arrays["weight"], arrays["bias"], padding=1)
    y = made(arrays["x"])
    before, count = cupy.allocations, len(launches)
    assert made(arrays["x"], out=y) is y
    assert cupy.allocations == before and len(launches) == count + 1
    assert made.engine == "compiled" and made.kernel == "conv_igemm_sm80" and made.workspace_bytes == 0


def test_operands_on_two_devices_are_refused(cupy, launches):
    x, weight = on_device(cupy, {"x": np.ones((1, 4, 4, 2), "f4")}, 0)["x"], on_device(cupy, {"w": np.ones((2, 3, 3, 2), "f4")}, 1)["w"]
    with pytest.raises(atrous.ProblemError, match=r"x is on cuda:0 and weight on cuda:1"):
        atrous.conv2d(x, weight)
    with pytest.raises(atrous.ProblemError, match=r"x is a CuPy array and weight is a NumPy array"):
        atrous.conv2d(x, np.ones((2, 3, 3, 2), "f4"))
    assert not launches


def test_a_named_kernel_is_taken_or_its_reason_raised(cupy, launches):
    x, weight = (on_device(cupy, {"a": np.ones(shape, "f4")})["a"] for shape in ((1, 4, 4, 2), (2, 3, 3, 2)))
    atrous.conv2d(x, weight, kernel="conv_direct")
    assert launches[-1][0].startswith("conv_direct<float32, Nhwc, int32")
    with pytest.raises(atrous.UnsupportedProblem, match="conv_pointwise declines"):
        atrous.conv2d(x, weight, kernel="conv_pointwise")
    with pytest.raises(atrous.ProblemError, match="engine is 'simulated' and x is on cuda:0"):
        atrous.conv2d(x, weight, engine="simulated")
