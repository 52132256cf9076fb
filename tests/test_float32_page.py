"""What docs/float32.md says of sums of float32 on tensor cores: its table is that of the figures, and the model behind them adds as it is described."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import float32_error  # noqa: E402
import tensor_core_sums as sums  # noqa: E402

FACTS = json.loads(float32_error.newest().read_text())


def one(core, start, x, weight):
    """Return one mma of a single output; operands are padded to its depth."""
    x, weight = (np.array([*values, *[0.0] * (sums.SLICE - len(values))]) for values in (x, weight))
    return float(sums.mma(core, np.array(start), x, weight))


def test_the_page_holds_the_newest_figures():
    run = subprocess.run([sys.executable, str(ROOT / "benchmarks/float32_error.py"), "--check"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_figures_are_of_every_dense_layer_of_the_suite():
    assert [row["layers"] for row in FACTS["rows"]] == [layer.names for layer in float32_error.layers()]
    assert len(FACTS["rows"]) > 100


@pytest.mark.parametrize("core", [core.name for core in sums.MODELS])
def test_three_products_are_below_sequential_float32_in_every_layer_that_is_taken(core):
    taken = [row for row in FACTS["rows"] if row["gemm_k"] >= 96]
    assert len(taken) > 80
    for row in taken:
        for kind in float32_error.KINDS:
            assert row[kind][f"every 8, {core}"][0] < row[kind]["sequential"][0], (row["case"], kind)


def test_below_that_they_are_not_everywhere():
    refused = [row for row in FACTS["rows"] if row["gemm_k"] < 96]
    assert any(row[kind]["every 8, Ampere, Ada"][0] > row[kind]["sequential"][0] for row in refused for kind in float32_error.KINDS if row["gemm_k"] == 64)


def test_model_cuts_terms_below_the_largest():
    """1 + 2^-24 * m: of terms 24 bits behind the largest one bit is left on Ampere, none of the pessimistic model's 23."""
    assert one(sums.AMPERE, 1.0, [2.0**-24, 2.0**-24], [1, 1]) == 1 + 2.0**-23
    assert one(sums.PESSIMISTIC, 1.0, [2.0**-24, 2.0**-24], [1, 1]) == 1
    assert one(sums.AMPERE, 1.0, [2.0**-25] * 4, [1] * 4) == 1
    assert one(sums.HOPPER, 1.0, [2.0**-25] * 4, [1] * 4) == 1 + 2.0**-23


def test_model_cuts_sums_toward_zero():
    assert one(sums.AMPERE, 2.0**24, [1.0], [1]) == 2.0**24
    assert one(sums.AMPERE, 2.0**24, [1.75], [1]) == 2.0**24
    assert one(sums.AMPERE, -(2.0**24), [-1.75], [1]) == -(2.0**24)
    assert one(sums.AMPERE, 2.0**24, [1.0] * 4, [1] * 4) == 2.0**24 + 4


def test_model_rounds_between_blocks_of_neighbours():
    """Two products of one block make a last bit together, apart they are cut one by one."""
    apart, together = [2.0**-24, 0, 0, 0, 2.0**-24], [2.0**-24, 2.0**-24]
    assert one(sums.AMPERE, 1.0, apart, [1] * 5) == 1 and one(sums.AMPERE, 1.0, together, [1] * 2) == 1 + 2.0**-23
    assert one(sums.HOPPER, 1.0, apart, [1] * 5) == 1 + 2.0**-23


@pytest.mark.parametrize("core", sums.MODELS)
@pytest.mark.parametrize("depth", [96, 100, 576])
def test_bound_of_the_page_holds_for_numbers_that_strain_it(core, depth):
    """Random magnitudes over many powers of two, all of one sign, and mantissas full of ones: below n / 8 + the model's constant."""
    random = np.random.default_rng(depth)
    cuts = sums.SLICE / core.block * (core.block * 2.0 ** (24 - core.bits) + 2)
    for magnitude in (0, 4, 12):
        x = random.choice([1.0, 2 - 2.0**-12, 2 - 2.0**-23, 1 + 2.0**-11 - 2.0**-23], (40, 1, depth)) * np.exp2(random.integers(-magnitude, 1, (40, 1, depth)))
        weight = random.choice([1.0, 2 - 2.0**-12, 1 + 2.0**-11 + 2.0**-23, 1 + 2.0**-11 - 2.0**-23], (1, 40, depth))
        exact = np.array([[math.fsum(row * column) for column in weight[0]] for row in x[:, 0]])
        error = np.abs(sums.split_sums(core, x, weight, 8) - exact) / (exact * float32_error.UNIT)
        assert error.max() <= depth / 8 + 8 + cuts + 0.1
        assert error.max() <= depth


def test_sequential_is_that_of_fused_multiply_adds():
    random = np.random.default_rng(1)
    x, weight = (random.normal(0, 1, 50).astype(np.float32).astype(np.float64) for _ in range(2))
    total = np.float32(0)
    for a, b in zip(x, weight):
        total = np.float32(math.fsum([float(total), float(a) * float(b)]))
    assert sums.sequential(x[None], weight[None])[0] == total
