"""A whole matrix product of cp.async, ldmatrix and mma on the simulator: exact in every schedule, and wrong where a bug is planted."""

from __future__ import annotations

import importlib
import itertools
import struct

import numpy as np
import pytest

from atrous.engines import simulated
from atrous.probes import gemm_sm80

if simulated.available() is not None:
    pytest.skip(str(simulated.available()), allow_module_level=True)

sim = importlib.import_module("atrous._sim")

ORDERS = [("in-order", 0), ("reverse", 0), ("greedy", 0), *(("random", seed) for seed in range(4))]
LANDINGS = ("latest", "earliest", "random")
SCHEDULES = [(word, seed, landing) for (word, seed), landing in itertools.product(ORDERS, LANDINGS)]


@pytest.fixture(autouse=True)
def _in_order():
    sim.set_schedule("in-order", 0)
    yield
    sim.set_schedule("in-order", 0)


def run(kernel, y, x, w, probe):
    """Run the kernel of a probe, or another that takes the same, and return y."""
    parameters = struct.pack("=QQQq8i", 0, 0, 0, 0, *probe.size, *[0] * (8 - len(probe.size)))
    prepared = sim.Prepared(kernel, probe.grid, probe.block, (1, 1, 1), 0, parameters, 3)
    prepared.run(tuple(array.ctypes.data for array in (x, w, y)), 0)
    return y


SHAPES = [("float16", "SwizzledRows", 70, 66, 117), ("bfloat16", "SwizzledRows", 1, 65, 200), ("float32", "SwizzledRows", 33, 130, 59)]
SHAPES += [("float16", "PaddedRows", 64, 64, 64), ("int8", "SwizzledRows", 70, 40, 201), ("uint8", "PaddedRows", 70, 41, 77)]
SHAPES += [("float16", "SwizzledRows", 5, 3, extent) for extent in (1, 8, 31, 32, 33, 64, 65, 96)]


def product(element, rows_word, rows, columns, depth, seed, order=""):
    """Return (y of the simulated product, the product) of random small integers."""
    random = np.random.default_rng(seed)
    low = 0 if element == "uint8" else -8
    a, b = random.integers(low, 9, (rows, depth)), random.integers(low, 9, (columns, depth))
    probe = gemm_sm80.gemm(element, rows_word, rows, columns, depth)
    kernel = probe.kernel[:-1] + order + ">"
    y = np.full((rows, columns), -1, gemm_sm80.ELEMENTS[element][1])
    run(kernel, y, gemm_sm80.stored(a, element), gemm_sm80.stored(b, element), probe)
    return y, a @ b.T


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_product_in_stages_is_exact(schedule):
    sim.set_schedule(*schedule)
    for shape in SHAPES:
        y, expected = product(*shape, seed=schedule[1])
        np.testing.assert_array_equal(y, expected, err_msg=str(shape))


def test_a_product_of_reals_is_as_near_as_its_sums():
    random = np.random.default_rng(5)
    a, b = random.normal(0, 1, (40, 300)).astype(np.float16), random.normal(0, 1, (50, 300)).astype(np.float16)
    probe = gemm_sm80.gemm("float16", "SwizzledRows", 40, 50, 300)
    y = np.zeros((40, 50), np.float32)
    run(probe.kernel, y, gemm_sm80.stored(a, "float16"), gemm_sm80.stored(b, "float16"), probe)
    a, b = a.astype(np.float64), b.astype(np.float64)
    # one rounding of 2^-24 for each of the 19 instructions along the depth
    assert (np.abs(y - a @ b.T) <= 19 * 2.0**-24 * (np.abs(a) @ np.abs(b.T))).all()


def wrong_in(rows_word, order):
    """Return the schedules in which a product is wrong."""
    found = []
    for schedule in SCHEDULES:
        sim.set_schedule(*schedule)
        y, expected = product("float16", rows_word, 70, 66, 200, seed=1, order=order)
        if not np.array_equal(y, expected):
            found.append(schedule)
    return found


def test_a_reader_with_another_swizzle_is_wrong_everywhere():
    assert wrong_in("WronglySwizzledRows", "") == SCHEDULES


#: a step that begins wrongly -> schedules that must show it in the values
WRONG_STEPS = {
    "TooFewWaited": [(word, 0, "latest") for word in ("in-order", "reverse", "greedy", "random")],
    "NoBarrier": [(word, 0, landing) for word in ("in-order", "reverse", "greedy") for landing in LANDINGS],
    "WarpBarrier": [("greedy", 0, landing) for landing in LANDINGS],
    "BarrierFirst": [(word, 0, "latest") for word in ("in-order", "reverse", "greedy")],
    "CopiesFirst": [("greedy", 0, "earliest")],
}


@pytest.mark.parametrize("step", WRONG_STEPS)
def test_a_step_that_begins_wrongly_is_seen(step):
    assert set(WRONG_STEPS[step]) <= set(wrong_in("SwizzledRows", f", {step}"))


def test_an_overwritten_stage_shows_in_no_other_schedule():
    """Only copies that land at once, while one warp runs ahead, spoil what another still reads: why both words exist."""
    assert {(word, landing) for word, _, landing in wrong_in("SwizzledRows", ", CopiesFirst")} <= {("greedy", "earliest"), ("greedy", "random")}
