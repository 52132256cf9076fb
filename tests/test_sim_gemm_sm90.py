"""The matrix product of TMA, mbarrier and wgmma on the simulator: right in every schedule, and wrong in every planted way."""

from __future__ import annotations

import dataclasses

import ml_dtypes
import numpy as np
import pytest

from atrous.engines import simulated

if simulated.available() is not None:
    pytest.skip(str(simulated.available()), allow_module_level=True)

from atrous.probes import gemm_sm90

SCHEDULES = [
    (word, seed, landing)
    for word, seed in (("in-order", 0), ("reverse", 0), ("greedy", 1), ("random", 2))
    for landing in ("latest", "earliest", "random")
]  # fmt: skip
DTYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16), "float16": np.dtype(np.float16)}


def aligned(shape, dtype):
    """Return a poisoned array on a multiple of 128 bytes, which a tensor map needs 16 of."""
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.full(size + 128, 0xFF, np.uint8)
    start = -raw.ctypes.data % 128
    return raw[start : start + size].view(dtype).reshape(shape)


def multiply(probe, element, schedule=("in-order", 0, "latest"), seed=0):
    """Run one product; return y and what it must be."""
    given = probe.draw(seed)
    x, w = (aligned(given[name].shape, DTYPES[element]) for name in ("x", "w"))
    x[...], w[...] = (given[name].view(DTYPES[element]) for name in ("x", "w"))
    y = aligned(probe.output[0], DTYPES[element])
    simulated.prepare(probe.launch()).run(tuple(array.ctypes.data for array in (x, w, y)), 0, schedule)
    return y, (x.astype(np.float64) @ w.astype(np.float64).T).astype(np.float32).astype(DTYPES[element])


@pytest.mark.parametrize("probe", gemm_sm90.PROBES, ids=lambda probe: probe.name)
def test_product(probe):
    y, expected = multiply(probe, probe.output[1])
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_every_schedule(schedule):
    """Three tiles by one block, with more steps than stages; tails in every dimension."""
    y, expected = multiply(gemm_sm90.gemm("bfloat16", 264, 104, 328, 1), "bfloat16", schedule)
    np.testing.assert_array_equal(y, expected)


#: what a mistake shows as, in some schedule: a part of the sentence, or a wrong product (None); a missing fence of the proxies keeps it right
MISTAKES = [
    ("NoWaitForEmpty", None),
    ("NoWaitForFull", None),
    ("EarlyRelease", None),
    ("NoOutputWait", None),
    ("MissingBytes", "mbarrier"),
    ("NoSumsFence", "is the first after a wgmma_wait; expected a wgmma_fence"),
    ("NoSumsWait", None),
]
#: wrong in every schedule
WRONG_NUMBERS = ("StepOfElements", "WrongStride", "WrongSwizzle")


@pytest.mark.parametrize("rules", WRONG_NUMBERS)
@pytest.mark.parametrize("schedule", SCHEDULES[:4], ids=str)
def test_wrong_numbers_of_a_descriptor_show(rules, schedule):
    probe = gemm_sm90.gemm("bfloat16", 128, 128, 64, 1)
    y, expected = multiply(dataclasses.replace(probe, kernel=f"test_gemm_sm90<{rules}>"), "bfloat16", schedule)
    assert not np.array_equal(y, expected)


def test_a_warp_too_few_is_named():
    probe = gemm_sm90.gemm("bfloat16", 128, 128, 64, 1)
    with pytest.raises(RuntimeError, match="a block of 352 threads is not whole warpgroups"):
        multiply(dataclasses.replace(probe, block=(352, 1, 1)), "bfloat16")


@pytest.mark.parametrize("rules,sentence", MISTAKES)
def test_a_mistake_is_found(rules, sentence):
    probe = dataclasses.replace(gemm_sm90.gemm("bfloat16", 264, 104, 712, 1), kernel=f"test_gemm_sm90<{rules}>")
    found = []
    for schedule in SCHEDULES:
        try:
            y, expected = multiply(probe, "bfloat16", schedule)
        except RuntimeError as error:
            assert sentence is None or sentence in str(error)
            found.append(schedule)
        else:
            if not np.array_equal(y, expected):
                found.append(schedule)
    assert found, f"{rules} gives the right product in every schedule"
    if sentence is not None:
        assert len(found) == len(SCHEDULES)
