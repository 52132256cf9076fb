"""finish_splits: partial sums added in the order of their segments, bit for bit, and every epilogue exact on whole numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from simulator_runs import SCHEDULES

from atrous import testing
from atrous.engines import simulated
from atrous.kernels.base import default_strides
from atrous.kernels.finish_splits import KERNEL, PARTIAL_SUMS, partial_bytes
from atrous.problem import parse
from atrous.redzones import Guarded, memory_for
from atrous.reference.conv import _epilogue
from atrous.reference.store import store

PROBLEMS = 150
MOST_SEGMENTS = 9


def drawn(seed):
    """Return a convolution whose dtype a tensor core takes, with one right answer to the bit, and a number of segments."""
    random = np.random.default_rng([seed, 77])
    while True:
        problem = testing.random_problem(int(random.integers(2**31)), "conv")
        if problem.dtype != "float64" and testing.is_exact(problem):
            return problem, int(random.integers(1, MOST_SEGMENTS + 1))


def finished(problem, segments, partial, inputs, schedule=("in-order", 0, "latest")):
    """Run the kernel between red zones; return y. partial: (segments, N, P, Q, K); what its rows hold beyond K is poison."""
    memory = memory_for("simulated")
    rows = np.full((*partial.shape[:-1], -(-problem.k // 4) * 4), -1, np.int32).view(partial.dtype)
    rows[..., : problem.k] = partial
    assert rows.nbytes == partial_bytes(problem, segments)
    operands = {name: Guarded(memory, array.shape, array.dtype.name, array) for name, array in {**inputs, PARTIAL_SUMS: rows}.items()}
    operands["y"] = Guarded(memory, problem.y_shape, problem.out_dtype)
    launch = KERNEL.launch(problem, None, segments)
    simulated.prepare(launch).run(tuple(operands[slot].pointer if slot in operands else 0 for slot in launch.pointers), 0, schedule)
    found = {name: operand.fetch() for name, operand in operands.items()}
    assert {stray for _, stray in found.values()} == {None}
    return found["y"][0]


def expected(problem, total, inputs):
    """Return y by the definition of the epilogue, in float64, rounded once."""
    y = _epilogue(problem, total, inputs.get("scale"), inputs.get("bias"), inputs.get("residual"))
    return store(np.ascontiguousarray(y.transpose(["NHWC".index(letter) for letter in problem.layout])), problem.out_dtype)


@pytest.mark.parametrize("seed", range(PROBLEMS))
def test_random_problems(seed):
    """Whole partial sums through every epilogue that has one right answer to the bit."""
    problem, segments = drawn(seed)
    random = np.random.default_rng([seed, 78])
    inputs = {name: array for name, array in testing.exact_inputs(problem, seed).items() if name not in ("x", "weight")}
    kind = np.float32 if problem.dtype.startswith(("float", "bfloat")) else np.int32
    partial = random.integers(-9, 10, (segments, problem.n, problem.p, problem.q, problem.k)).astype(kind)
    y = finished(problem, segments, partial, inputs, (*SCHEDULES[seed % len(SCHEDULES)], "latest"))
    total = partial.astype(np.float64 if kind is np.float32 else np.int64).sum(0)
    np.testing.assert_array_equal(y, expected(problem, total, inputs))


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 31, 32, 33, 70, 130])
def test_segments_are_added_in_ascending_order(layout, k):
    """Sums that round: another order gives other bits, and a part of float64 or a fused add would too."""
    problem = parse(f"n2c4h7w9_k{k}r1s1_f32{'_nchw' if layout == 'nchw' else ''}")
    random = np.random.default_rng(k)
    for segments in (1, 2, 3, 5, 12):
        partial = (random.standard_normal((segments, 2, 7, 9, k)) * 10.0 ** random.integers(-3, 4, (segments, 2, 7, 9, k))).astype(np.float32)
        total = partial[0]
        for one in partial[1:]:
            total = total + one
        y = finished(problem, segments, partial, {})
        assert total.dtype == np.float32
        np.testing.assert_array_equal(canonical_view(problem, y).view(np.uint32), total.view(np.uint32))
        if segments > 4:
            other = partial[-1]
            for one in partial[-2::-1]:
                other = other + one
            assert (other != total).any(), "the order shows in the bits"


def canonical_view(problem, y):
    return np.ascontiguousarray(y.transpose([problem.layout.index(letter) for letter in "NHWC"]))


def test_a_channel_slice_of_a_larger_output():
    """y between its neighbours: only its own channels are written."""
    problem = parse("n1c4h5w5_k6r1s1_f32")
    partial = np.random.default_rng(3).standard_normal((2, 1, 5, 5, 6)).astype(np.float32)
    rows = np.zeros((2, 1, 5, 5, 8), np.float32)
    rows[..., :6] = partial
    whole = np.full((1, 5, 5, 16), 7, np.float32)
    strides = dataclasses.replace(default_strides(problem), y=(400, 80, 16, 1))
    launch = KERNEL.launch(problem, strides, 2)
    addresses = {PARTIAL_SUMS: rows.ctypes.data, "y": whole.ctypes.data + 4 * 3}
    simulated.prepare(launch).run(tuple(addresses.get(slot, 0) for slot in launch.pointers), 0)
    np.testing.assert_array_equal(whole[..., 3:9], partial[0] + partial[1])
    assert (whole[..., :3] == 7).all() and (whole[..., 9:] == 7).all()


def test_every_instance_is_among_them():
    met = {KERNEL.launch(problem, None, segments).name for problem, segments in map(drawn, range(PROBLEMS))}
    assert met == set(KERNEL.instances())
