"""How one kernel is chosen among several, and how explain accounts for it."""

from __future__ import annotations

import dataclasses

import pytest

from atrous import choose, kernels
from atrous.kernels.base import DEVICES
from atrous.problem import parse

LAYER = "n1c64h56w56_k64r3s3_pad1_f16"


BATCHES = (1, 2, 3, 8, 31, 100, 10_000)
#: channels, filters, groups, window
SHAPES = [(c, k, 1, "r1s1") for c in (1, 16, 33, 256, 2048) for k in (1, 24, 32, 33, 65, 1000)]
SHAPES += [(c, k, 1, window) for c in (3, 64, 520) for k in (16, 96, 512) for window in ("r3s3_pad1", "r7s7_pad3_stride2", "r1s1_stride2", "r1s7_pad0x3")]
SHAPES += [(64, 64, 64, "r3s3_pad1"), (128, 128, 32, "r3s3_pad1"), (256, 256, 2, "r1s1"), (96, 192, 3, "r5s5_pad2")]


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32", "f32_tf32", "f64", "i8", "u8_zp3", "f16_nchw"])
def test_a_batch_never_changes_the_kernel(dtype, device):
    """Kernels may add in different orders, so an image would have other bits in another batch."""
    for c, k, groups, window in SHAPES:
        for size in ("h7w7", "h14w28", "h112w56"):
            shape = f"c{c}{size}_k{k}{window}" + (f"_g{groups}" if groups > 1 else "")
            chosen = {choose.choose(parse(f"n{n}{shape}_{dtype}"), device).name for n in BATCHES}
            assert len(chosen) == 1, (shape, chosen)


@dataclasses.dataclass
class Made:
    """A kernel that takes everything in a fixed time and a time per image."""

    name: str
    fixed: float
    each: float
    operation = "conv2d"
    header = "atrous/kernels/none.cuh"

    def declines(self, problem, device):
        return None

    def seconds(self, problem, device):
        return self.fixed + self.each * problem.n

    def launch(self, problem, strides=None, device=None):
        return None

    def account(self, problem, device):
        return f"units of {self.name}"


@pytest.fixture
def two(monkeypatch):
    """One kernel that starts quickly and one that works quickly: they cross between 10 and 11 images."""
    made = (Made("starts", 1e-6, 1e-6), Made("works", 6e-6, 0.5e-6))
    monkeypatch.setattr(kernels, "ORDER", made)
    return made


@pytest.mark.parametrize("n", [0, 1, 10, 11, 32, 10_000])
def test_kernels_are_ranked_at_one_batch(two, n):
    assert choose.choose(parse(LAYER.replace("n1", f"n{n}")), DEVICES["sm_80"]).name == "works"


def test_explain_says_where_the_batch_would_have_chosen_otherwise(two):
    told = choose.explain_case(LAYER)
    assert [row["kernel"] for row in told.rows if row["chosen"]] == ["works"]
    assert [row["microseconds"] for row in told.rows[:2]] == pytest.approx([2, 6.5])
    assert [row["ranked_microseconds"] for row in told.rows[:2]] == pytest.approx([33, 22])
    assert "starts is estimated quicker at N = 1; kernels are ranked at N = 32 (works 22.00 us, starts 33.00 us)" in told
    assert "-> works: takes it, about 6.50 us on units of works" in told
    assert "starts: would take about 2.00 us on units of starts" in told
    assert "ranked at" not in choose.explain_case(LAYER.replace("n1", "n11"))


def test_the_ranking_asks_for_nothing_but_the_batch():
    problem = parse("n7c9h5w6_k12r2s3_pad1:0:2:1_stride2x1_dil1x2_g3_i8_zp5_biasf32_scalef32_residual_relu_outi8")
    other = choose.at_batch(problem, 32)
    assert other == dataclasses.replace(problem, n=32) and hash(other) == hash(dataclasses.replace(problem, n=32))
    assert (other.p, other.q, other.y_shape) == (problem.p, problem.q, (32, problem.p, problem.q, 12))
    assert problem.n == 7 and choose.at_batch(problem, 7) is problem


@pytest.mark.parametrize(
    ("case", "rate", "units"),
    [
        ("n64c512h28w28_k512r3s3_pad1_f16", 312e12, "16-bit tensor cores"),
        ("n64c512h28w28_k512r3s3_pad1_bf16", 312e12, "16-bit tensor cores"),
        ("n64c512h28w28_k512r3s3_pad1_i8", 624e12, "8-bit tensor cores"),
        ("n64c512h28w28_k512r3s3_pad1_f32_tf32", 156e12, "tf32 tensor cores"),
        ("n64c512h28w28_k512r3s3_pad1_f32", 52e12, "tf32 tensor cores, three products"),
        ("n64c512h28w28_k512r3s3_pad1_f32_strict", 19.5e12, "float32 FMA"),
        ("n64c512h28w28_k512r3s3_pad1_f64", 19.5e12, "float32 FMA"),
    ],
)
def test_the_floor_is_that_of_the_units_that_could_do_it(case, rate, units):
    flops = 2 * 64 * 28 * 28 * 512 * 512 * 9
    assert f"floor on sm_80 {flops / rate * 1e6:.3f} us (compute-bound, {units}; estimate)" in choose.explain_case(case)


def test_every_kernel_accounts_for_its_estimate():
    cases = (LAYER, "n1c64h56w56_k64r1s1_f32", "n1c64h56w56_max_r3s3_f16", "n1c64h56w56_k64r3s3_g64_f16", "n1c3h56w56_k64r3s3_f16")
    for case in (*cases, "n0c3h56w56_k64r3s3_f16", "n1c3h56w56_k0r3s3_f16"):
        for row in choose.explain_case(case).rows[:-1]:
            assert row["reason"] or len(row["account"].split()) > 2, row
    account = {row["kernel"]: row.get("account") for row in choose.explain_case("n8c3h224w224_k64r7s7_pad3_stride2_f16").rows}["conv_first"]
    assert account.startswith("tensor cores (312 TFLOP/s) with Tile128x64, ") and "patches of" in account and ", bound by " in account
