"""Calls of the CUDA runtime counted, failed one by one, and captured: on the fake runtime behind the compiled module.

What the fake cannot show is said in fake_device.py.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections import Counter
from pathlib import Path

import fake_cupy
import fake_device
import numpy as np
import pytest
from doors import Public, run

import atrous
from atrous import testing
from atrous.engines import compiled
from atrous.problem import parse

sys.path.insert(0, str(Path(__file__).parent / "proof"))

import faults
import faulty_objects

CONV = "n2c8h6w5_k16r3s3_pad1_f32_bias"
CASES = (CONV, "n2c8h6w5_k16r1s1_f16_bias", "n2c8h6w5_max_r3s3_pad1_stride1_f32", "n1c4h5w5_gaussian_r3s3_stride1_f32")
ALLOCATIONS, WAITS = ("cudaMalloc",), ("cudaStreamSynchronize", "cudaMemcpyAsync")
LAUNCHES = ("cudaLaunchKernelExC", "cuLaunchKernel")


@pytest.fixture(params=["compiled", "runtime"])
def served(request, monkeypatch):
    """(the fake device, CuPy, the engine) for both engines that a device has."""
    if fake_device.library()[0] is None:
        pytest.skip("the simulator, which holds the fake runtime, was not built")
    yield *fake_cupy.serve_device(monkeypatch, request.param), request.param
    fake_cupy.forget()


@pytest.fixture
def device(monkeypatch):
    """The fake device under the compiled engine, and CuPy."""
    if fake_device.library()[0] is None:
        pytest.skip("the simulator, which holds the fake runtime, was not built")
    yield fake_cupy.serve_device(monkeypatch)
    fake_cupy.forget()


class Prepared:
    """A case with its arrays on the device, its plan, and what the reference makes of it."""

    def __init__(self, case, cupy, seed=1):
        self.problem = parse(case)
        self.inputs = testing.exact_inputs(self.problem, seed)
        self.arrays = {name: cupy.asarray(array) for name, array in self.inputs.items()}
        self.out = cupy.empty(self.problem.y_shape, np.dtype(self.problem.out_dtype))
        self.plan = faults.plan_of(self.problem, self.arrays)

    def check(self, y):
        bound = None if testing.is_exact(self.problem) else testing.tolerance(self.problem, self.inputs)
        testing.assert_matches(np.array(y), testing.expected_output(self.problem, self.inputs), self.problem, bound)


def tallied(names):
    """Return how many of the calls were allocations, waits and launches."""
    count = Counter(names)
    return tuple(sum(count[name] for name in group) for group in (ALLOCATIONS, WAITS, LAUNCHES))


# ---- counts


@pytest.mark.parametrize("case", CASES)
def test_a_plan_with_out_is_one_launch_no_allocation_no_wait(served, case):
    device, cupy, _ = served
    made = Prepared(case, cupy)
    made.plan(made.arrays["x"])  # the table of a named weighting, and a kernel compiled at run time, are made once
    for _ in range(3):
        with device.counted() as names:
            assert made.plan(made.arrays["x"], out=made.out) is made.out
        assert tallied(names) == (0, 0, 1), names
        made.check(made.out)


def test_a_call_that_a_plan_remembers_asks_for_the_device_and_launches(device):
    device, cupy = device
    made = Prepared(CONV, cupy)
    for _ in range(2):
        made.plan(made.arrays["x"], out=made.out)
    with device.counted() as names:
        made.plan(made.arrays["x"], out=made.out)
    assert names == ["cudaGetDevice", "cudaLaunchKernelExC"]


@pytest.mark.parametrize("case", CASES[:3])
def test_a_function_is_one_allocation_one_launch_no_wait(served, case):
    device, cupy, _ = served
    made = Prepared(case, cupy)
    for _ in range(2):
        with device.counted() as names:
            y = run(Public(None), made.problem, made.arrays)
        assert tallied(names) == (1, 0, 1), names
        made.check(y)


def test_pytorch_31500_no_call_holds_workspace(served):
    """A convolution in PyTorch took up to 48 GiB beside its output; here a kernel has nothing but its output."""
    device, cupy, _ = served
    for case in CASES[:3]:
        made = Prepared(case, cupy)
        before = device.live_bytes
        with device.counted() as names:
            y = made.plan(made.arrays["x"])
        assert made.plan.workspace_bytes == 0
        assert names.count("cudaMalloc") == 1 and device.live_bytes - before == y.nbytes
        del y


def test_pytorch_2759_the_first_call_of_a_new_shape_costs_no_more_than_twice_a_steady_one(device):
    """The first call of a new shape took a hundred times as long where algorithms were tried out; here nothing is tried."""
    device, cupy = device
    weight = cupy.asarray(np.ones((8, 3, 3, 4), "f4"))
    atrous.conv2d(cupy.asarray(np.ones((1, 9, 9, 4), "f4")), weight)
    for size in (5, 6, 7):
        x = cupy.asarray(np.ones((1, size, size, 4), "f4"))
        counted = []
        for _ in range(2):
            with device.counted() as names:
                atrous.conv2d(x, weight)
            counted.append(names)
        first, steady = counted
        assert tallied(first) == tallied(steady) == (1, 0, 1)
        assert len(first) <= 2 * len(steady), (first, steady)


# ---- graphs


@pytest.mark.parametrize("case", CASES)
def test_pytorch_87794_a_captured_plan_replays(served, case):
    """Capture failed where a call allocated or waited; a plan does neither."""
    device, cupy, _ = served
    made = Prepared(case, cupy)
    made.plan(made.arrays["x"])
    np.asarray(made.out)[...] = 77
    with device.capture(4242) as graphs:
        made.plan(made.arrays["x"], out=made.out, stream=4242)
        made.plan(made.arrays["x"], out=made.out, stream=4242)
    assert (np.asarray(made.out) == 77).all(), "a launch ran while it was captured"
    assert device.graph_launches(graphs[0]) == 2
    device.replay(graphs[0])
    made.check(made.out)
    other = Prepared(case, cupy, seed=2)
    np.asarray(made.arrays["x"])[...] = other.inputs["x"]
    device.replay(graphs[0])
    made.inputs["x"] = other.inputs["x"]
    made.check(made.out)


def test_an_output_allocated_in_a_capture_is_refused_and_the_next_call_is_right(device):
    device, cupy = device
    made = Prepared(CONV, cupy)
    with pytest.raises(fake_device.RuntimeFailure, match="cudaErrorStreamCaptureInvalidated"), device.capture(4242):
        with pytest.raises(atrous.CudaError, match=r"\[conv2d\] .*cudaErrorStreamCaptureUnsupported"):
            run(Public(None), made.problem, made.arrays)
        with pytest.raises(atrous.CudaError, match="cudaErrorStreamCaptureInvalidated"):
            made.plan(made.arrays["x"], out=made.out, stream=4242)
    made.check(run(Public(None), made.problem, made.arrays))


def test_a_launch_on_the_legacy_stream_spoils_a_capture(device):
    device, cupy = device
    made = Prepared(CONV, cupy)
    spoiled = pytest.raises(fake_device.RuntimeFailure, match="Invalidated")
    with spoiled, device.capture(4242), pytest.raises(atrous.CudaError, match="cudaErrorStreamCaptureImplicit"):
        made.plan(made.arrays["x"], out=made.out, stream=0)


# ---- the runtime layer of the module


def large(device, name, shared_bytes):
    """Return the launch of one block of a pool kernel on no image, with this much dynamic shared memory."""
    size = device.module.parameter_bytes(name)
    return device.module.Prepared(name, (1, 1, 1), (256, 1, 1), (1, 1, 1), shared_bytes, bytes(size), 1)


def test_a_smaller_launch_leaves_a_larger_one_its_shared_memory(device):
    """A kernel has one limit a device; lowered for a second launch, it refused the first one's next run."""
    device, _ = device
    name = next(name for name in device.module.kernels() if name.startswith("pool<"))
    first, second = large(device, name, 100 * 1024), large(device, name, 64 * 1024)
    with device.capture(4242), device.counted() as names:  # never run: only the launches' checks are wanted
        first.run((0,), 4242)
        second.run((0,), 4242)
        first.run((0,), 4242)
    assert names.count("cudaLaunchKernelExC") == 3
    with pytest.raises(atrous.CudaError, match="cudaErrorInvalidValue"):
        large(device, name, 228 * 1024).run((0,), 4242)


@pytest.mark.parametrize("words", [dict(block=(4096, 1, 1)), dict(grid=(0, 1, 1))])
def test_a_failed_launch_leaves_no_error_for_the_next_library(device, words):
    device, _ = device
    name = device.module.kernels()[0]
    shape = dict(grid=(1, 1, 1), block=(32, 1, 1), cluster=(1, 1, 1), shared_bytes=0) | words
    prepared = device.module.Prepared(name, **shape, parameters=bytes(device.module.parameter_bytes(name)), pointer_count=0)
    with pytest.raises(atrous.CudaError, match=r"CUDA error 9, cudaErrorInvalidConfiguration"):
        prepared.run((), 0)
    assert device.left_error() == 0


def test_a_missing_device_is_remembered_and_a_failing_one_is_not(device):
    device, _ = device
    device.reset(0)
    assert "no device answers" in compiled.available()
    device.reset(1)
    assert "no device answers" in compiled.available()
    compiled.available.cache_clear()
    device.fail(1)
    with pytest.raises(atrous.CudaError, match="cudaErrorUnknown"):
        compiled.available()
    assert compiled.available() is None
    compiled.available.cache_clear()
    device.fail(1)
    assert "cudaErrorUnknown" in atrous.engine_reasons()["compiled"]


def test_a_fault_inside_a_kernel_stays_until_the_process_ends(device):
    device, cupy = device
    made = Prepared(CONV, cupy)
    made.plan(made.arrays["x"], out=made.out)
    device.fail(2, fake_device.ILLEGAL_ADDRESS, later=True)
    made.plan(made.arrays["x"], out=made.out)  # the launch itself succeeds
    for _ in range(2):
        with pytest.raises(atrous.CudaError, match=r"\[conv2d\].*cudaErrorIllegalAddress"):
            made.plan(made.arrays["x"], out=made.out)
    device.reset()
    made.check(made.plan(made.arrays["x"], out=made.out))


def test_a_write_past_an_allocation_is_seen(device):
    device, _ = device
    before = device.live_bytes
    memory = device.allocate(100)
    assert device.damaged == 0
    ctypes.memset(memory.ctypes.data + 100, 0, 1)
    assert device.damaged == 1
    del memory
    assert device.damaged == 1 and device.live_bytes == before


# ---- faults


@pytest.mark.parametrize("engine", faults.ENGINES)
def test_every_fault_is_told_and_leaves_nothing_behind(engine, record_property):
    if fake_device.library()[0] is None:
        pytest.skip("the simulator, which holds the fake runtime, was not built")
    tally = faults.prove(6, (engine,), most=8)
    assert not tally.wrong, "\n".join(tally.wrong[:5])
    assert tally.faults > 200
    record_property("injected_faults", tally.faults)


def test_every_fault_of_a_users_own_objects_is_told(record_property):
    tally = faulty_objects.prove()
    assert not tally.wrong, "\n".join(tally.wrong[:5])
    record_property("injected_faults", tally.faults)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_an_output_that_fits_no_memory_is_a_sentence(library):
    x = np.ones((1, 1, 1, 1), "f4")
    x = x if library == "numpy" else pytest.importorskip("torch", reason="torch is not installed").from_numpy(x)
    with pytest.raises(atrous.OutOfMemory, match=r"\[conv2d\] memory ran out .*; expected room for the output"):
        atrous.conv2d(x, x, padding=2**24)


@pytest.mark.parametrize("on_device", [True, False])
def test_a_plan_lets_go_of_the_arrays_of_a_call(device, on_device):
    _, cupy = device
    made = Prepared(CONV, cupy)
    arrays = {name: cupy.asarray(array) if on_device else array.copy() for name, array in made.inputs.items()}
    plan, out = faults.plan_of(made.problem, arrays), made.out if on_device else np.empty(made.problem.y_shape, "f4")
    for _ in range(2):
        plan(arrays["x"], out=out)
    references = [weakref.ref(arrays.pop("x")), weakref.ref(out)]
    del out, made
    assert all(reference() is None for reference in references)
