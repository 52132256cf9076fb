"""Every kernel on every case it accepts, on the simulator; and the array path beside it: exact on whole numbers, bounded on others."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from doors import Public, run

from atrous import choose, kernels, testing
from atrous.engines import simulated
from atrous.kernels.base import DEVICES, default_strides
from atrous.kernels.parameters import BYTES
from atrous.problem import parse

SIMULATED = DEVICES["simulated"]
ARRAYS = Public("arrays")
BATCHES = 110
EXACT_IN_BATCH = 50
SCHEDULES = ("in-order", "reverse", "random:{seed}")

pytestmark = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))


def takers(problem):
    return [answer.kernel for answer in choose.options(problem, SIMULATED) if answer.reason is None]


def assert_right(problem, inputs, actual, bound=None):
    expected = testing.expected_output(problem, inputs)
    if isinstance(actual, tuple):
        np.testing.assert_array_equal(actual[1], expected[1], err_msg=str(problem))
        actual, expected = actual[0], expected[0]
    elif isinstance(expected, tuple):
        expected = expected[0]
    return testing.assert_matches(actual, expected, problem, bound)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_problems(batch, monkeypatch, record_property):
    """EXACT_IN_BATCH problems bit-exact on whole numbers and every drawn problem within its bound on random floats."""
    monkeypatch.setenv("ATROUS_SIM_SCHEDULE", SCHEDULES[batch % 3].format(seed=batch))
    exact, runs, bounded, worst, seed = 0, 0, 0, 0.0, batch * 100_000
    while exact < EXACT_IN_BATCH:
        seed += 1
        problem = testing.random_problem(seed)
        whole = testing.exact_inputs(problem, seed, negative=seed % 3 == 0)
        for kernel in takers(problem):
            door = Public("simulated", kernel)
            if testing.is_exact(problem):
                assert_right(problem, whole, run(door, problem, whole))
                runs += 1
            if seed % 4 == 0:
                inputs = testing.random_inputs(problem, seed)
                bound = testing.tolerance(problem, inputs)
                worst = max(worst, assert_right(problem, inputs, run(door, problem, inputs), bound))
                bounded += 1
        if testing.is_exact(problem):
            assert takers(problem), f"no kernel takes {problem}"
            assert_right(problem, whole, run(ARRAYS, problem, whole))
            exact += 1
        if seed % 4 == 0:
            inputs = testing.random_inputs(problem, seed)
            assert_right(problem, inputs, run(ARRAYS, problem, inputs), testing.tolerance(problem, inputs))
    record_property("simulated_exact", exact)
    record_property("simulated_launches_exact", runs)
    record_property("simulated_bounded", bounded)
    record_property("worst_ratio", worst)


RED = 64  # bytes of 0xFF on both sides of y


@pytest.mark.parametrize("batch", range(10))
def test_launches_stay_inside_y_with_either_index_width(batch, monkeypatch, record_property):
    """Prepared launches write y wholly and nothing else, with 32-bit and with 64-bit indices, on strided operands too."""
    monkeypatch.setenv("ATROUS_SIM_SCHEDULE", SCHEDULES[batch % 3].format(seed=batch))
    checked, seed = 0, 7_000_000 + batch * 10_000
    while checked < 20:
        seed += 1
        problem = testing.random_problem(seed)
        if not testing.is_exact(problem) or getattr(problem, "kind", "") == "weighted":
            continue
        inputs = testing.exact_inputs(problem, seed)
        expected = testing.expected_output(problem, inputs)
        if isinstance(expected, tuple):
            expected = expected[0]
        for name in takers(problem):
            launch = kernels.named(name).launch(problem, default_strides(problem))
            for wide in (False, True):
                spelled = launch.name.replace("int32", "int64") if wide else launch.name
                outputs = {"y": guarded(problem.y_shape, problem.out_dtype)}
                if getattr(problem, "return_indices", False):
                    outputs["index"] = guarded(problem.y_shape, problem.index_dtype)
                given = {**inputs, **{key: view for key, (view, _) in outputs.items()}}
                pointers = tuple(given[slot].__array_interface__["data"][0] if slot in given else 0 for slot in launch.pointers)
                simulated.prepare(dataclasses.replace(launch, name=spelled)).run(pointers, 0)
                testing.assert_matches(outputs["y"][0], expected, problem)
                for key, (_, whole) in outputs.items():
                    assert (whole[:RED] == 0xFF).all() and (whole[-RED:] == 0xFF).all(), f"{spelled} wrote beside {key} of {problem}"
        checked += 1
    record_property("guarded_problems", checked)


def guarded(shape, dtype):
    """Return an array of 0xFF bytes with red zones on both sides, and the bytes around it."""
    size = int(np.prod(shape)) * BYTES[dtype]
    whole = np.full(size + 2 * RED, 0xFF, np.uint8)
    return whole[RED : RED + size].view(testing.numpy_dtype(dtype)).reshape(shape), whole


@pytest.mark.parametrize("kernel", ["conv_direct", "conv_pointwise"])
def test_an_image_alone_or_in_a_batch_has_the_same_bits(kernel):
    """Batch invariance of the kernels, on floats whose sums round."""
    problem = parse("n9c24h7w6_k20r1s1_f32_bias" if kernel == "conv_pointwise" else "n9c24h7w6_k20r3s2_pad1_stride2x1_f32_bias")
    inputs = testing.random_inputs(problem, 5)
    together = run(Public("simulated", kernel), problem, inputs)
    for image in range(problem.n):
        one = {**inputs, "x": inputs["x"][image : image + 1].copy()}
        alone = run(Public("simulated", kernel), problem, one)
        np.testing.assert_array_equal(alone[0].view(np.uint32), together[image].view(np.uint32))
