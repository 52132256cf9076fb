"""conv_pool on the simulator: to the bit conv_igemm_sm80 and then pool, with every tile, in every order; what it declines, and what it saves."""

from __future__ import annotations

import dataclasses
import math
import shlex

import numpy as np
import pytest
from test_conv_pool import apart, fused, same_bits

from atrous import choose, cli, kernels, routes, testing, verify
from atrous.engines import simulated
from atrous.kernels import conv_direct, conv_pool, pool
from atrous.kernels.base import DEVICES, default_strides
from atrous.kernels.parameters import BYTES
from atrous.problem import parse
from atrous.sampling import random_pair
from cases import FOLDER, read_cases

REASON = simulated.available()
needs_simulator = pytest.mark.skipif(REASON is not None, reason=str(REASON))
#: what is special -> the case
EDGES = {
    "windows side by side": "n2c16h16w18_k64r3s3_pad1_f16_bias_relu+max_r2s2",
    "more outputs than a patch": "n1c8h40w37_k8r3s3_pad1_bf16_relu+max_r3s3_pad1_stride2",
    "ceil overhang": "n2c16h13w15_k24r3s3_pad1_f16_bias_relu+max_r3s3_stride2_ceil",
    "asymmetric pads": "n1c8h12w9_k16r3s2_pad2:0:1:1_f16+max_r3s2_pad1:0:0:1_stride2x1",
    "cropped": "n1c8h14w13_k16r1s1_f16+max_r2s2_pad-1:0:0:-2",
    "dilated windows": "n1c8h19w17_k16r3s3_bf16+max_r2s3_dil3x2_stride2",
    "stride over the window": "n1c8h17w19_k8r3s3_f16+max_r2s2_stride3x4",
    "one window": "n3c8h5w6_k72r3s3_f16_scalef32_bias+max_r3s4",
    "groups and a tail of channels": "n2c48h9w9_k70r3s3_pad1_g2_f16_biasf32_silu+max_r2s2",
    "residual": "n2c16h10w11_k40r3s3_pad1_f16_bias_residual_relu+max_r3s3_pad1_stride2",
    "one output channel": "n1c32h11w12_k1r3s3_pad1_bf16+max_r2s2",
    "mirrored x": "n1c8h9w10_k16r3s3_pad2:1:1:2_reflect_f16+max_r3s3_pad1_stride2",
    "wrapped x, dilated": "n1c8h9w10_k16r3s3_pad2_circular_dil2_f16+avg_r2s2",
    "segments": "n2c320h5w6_k66r3s3_pad1_f16_bias+max_r2s2_pad1",
    "means": "n2c16h13w12_k24r3s3_pad1_f16_bias_relu+avg_r3s3_pad1_stride2",
    "means with padding counted": "n1c16h13w12_k24r3s3_pad1_bf16+avg_r3s3_pad1_stride2_ceil_includepad",
    "means over a divisor": "n1c16h12w12_k24r1s1_f16+avg_r2s2_div2.5",
    "omitted NaN": "n1c16h12w12_k24r1s1_f16+max_r2s2_omit",
    "ten taps in a row": "n1c8h6w30_k16r1s3_f16+avg_r1s10_stride1x2",
}


@pytest.fixture
def fresh_routes():
    """Forget which launches were prepared, before and after a test that changes what is picked."""
    routes.route.cache_clear()
    yield
    routes.route.cache_clear()


def special(inputs, seed):
    """Return the operands with a NaN, both infinities and a negative zero in x."""
    flat = inputs["x"].reshape(-1)
    flat[np.random.default_rng(seed).choice(flat.size, 4)] = (np.nan, np.inf, -np.inf, -0.0)
    return inputs


def each_tile_equals_the_two(problem, inputs, monkeypatch):
    """Run every tile that serves; return their names."""
    expected = apart(problem, inputs, engine="simulated", kernel="conv_igemm_sm80")
    for tile in conv_pool.tiles_of(problem):
        monkeypatch.setattr(conv_pool.ConvPool, "_pick", lambda self, problem, device, tile=tile: (tile, 1e-9))
        routes.route.cache_clear()
        assert conv_pool.KERNEL.launch(problem).name.endswith(f", {tile}>")
        same_bits(fused(problem, inputs, engine="simulated", kernel="conv_pool"), expected)
    return conv_pool.tiles_of(problem)


@needs_simulator
@pytest.mark.parametrize("case", EDGES.values(), ids=EDGES)
def test_edges_to_the_bit(case, fresh_routes, monkeypatch):
    problem = parse(case)
    assert conv_pool.KERNEL.declines(problem, DEVICES["simulated"]) is None
    assert each_tile_equals_the_two(problem, special(testing.random_inputs(problem, 1), 2), monkeypatch)


@needs_simulator
def test_random_pairs_to_the_bit(fresh_routes, monkeypatch):
    ran = []
    for seed in range(400):
        problem = random_pair(seed)
        if conv_pool.KERNEL.declines(problem, DEVICES["simulated"]) is None:
            inputs = testing.random_inputs(problem, seed)
            ran += each_tile_equals_the_two(problem, special(inputs, seed) if seed % 3 == 0 else inputs, monkeypatch)
    assert all(ran.count(tile) >= 8 for tile in conv_pool.TILES_BUILT), ran


@needs_simulator
@pytest.mark.parametrize("case", EDGES.values(), ids=EDGES)
def test_edges_between_red_zones_in_every_order(case):
    prover = verify.Prover("simulated", kernel="conv_pool")
    schedules = [verify.schedule_number(number) for number in range(12)]
    prover.prove(parse(case), 4, schedules, random_too=True)
    assert not prover.ledger.failures, prover.ledger.failures[:1]
    assert prover.ledger.runs >= 12


DECLINED = {
    "n1c8h9w9_k8r3s3_f64+max_r2s2": "x is float64",
    "n1c8h9w9_k8r3s3_f16_outf32+max_r2s2": "gives float32",
    "n1c8h9w9_k8r3s3_f16_nchw+max_r2s2": "x is NCHW",
    "n1c12h9w9_k8r3s3_f16+max_r2s2": "C/G = 12 are 24 bytes",
    "n1c8h9w9_k8r3s3_f16+max_r4s4": "the window has 16 taps",
    "n1c8h99w9_k8r33s3_f16+max_r2s2": "the filter is 33x3",
    "n1c8h99w99_k8r1s1_f16+max_r2s2_dil40": "one window covers 1681 outputs",
}


@pytest.mark.parametrize("case", DECLINED)
def test_declines_in_a_sentence(case):
    assert DECLINED[case] in conv_pool.KERNEL.declines(parse(case), DEVICES["sm_80"])


def test_declines_where_the_convolution_alone_adds_in_another_order():
    offered = (conv_pool.KERNEL, conv_direct.KERNEL, pool.KERNEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "ORDER", offered)
        [reason] = [answer.reason for answer in choose.options(parse(EDGES["residual"]), DEVICES["sm_80"]) if answer.kernel == "conv_pool"]
    assert "conv_direct, which adds in another order" in reason


def test_x_in_odd_places_runs_in_two():
    problem = parse(EDGES["means"])
    strides = default_strides(problem)
    assert conv_pool.KERNEL.launch(problem, strides).name.startswith("conv_pool<")
    odd = dataclasses.replace(strides, x=(13 * 12 * 20, 12 * 20, 20, 1))  # 40 bytes from pixel to pixel
    for launch in (conv_pool.KERNEL.launch(problem, odd), conv_pool.KERNEL.launch(problem, dataclasses.replace(strides, alignment=8))):
        assert launch.names[-1].startswith("pool<") and ("between", 2 * 13 * 12 * 24 * 2) in launch.scratch


@pytest.mark.parametrize("tile", conv_pool.TILES_BUILT)
def test_patches_cover_every_window_and_fit_the_tile(tile):
    for case in [*EDGES.values(), *(case.text for case in read_cases(FOLDER / "pooled.txt"))]:
        problem = parse(case)
        patch, pooling = conv_pool.patch_of(problem, tile), problem.pool
        assert patch.rows * patch.columns <= conv_pool.TILES[tile].pixels
        for windows, count, of_all, cells, stride, taps, dilation in (
            (patch.window_rows, patch.row_patches, pooling.p, patch.rows, pooling.stride[0], pooling.r, pooling.dilation[0]),
            (patch.window_columns, patch.column_patches, pooling.q, patch.columns, pooling.stride[1], pooling.s, pooling.dilation[1]),
        ):
            assert windows * count >= of_all > windows * (count - 1)
            assert (windows - 1) * stride + (taps - 1) * dilation == cells - 1
        assert conv_pool.shared_bytes(problem, tile, 0) <= 49152


def test_a_patch_of_three_by_three_windows_computes_a_fifth_twice():
    patch = conv_pool.patch_of(parse("n1c64h112w112_k64r3s3_pad1_f16+max_r3s3_pad1_stride2"), "Tile128x64")
    assert (patch.rows * patch.columns) <= 128 and patch.window_rows * patch.window_columns >= 24


def test_explain_says_what_is_saved_and_which_way_is_taken():
    text = choose.explain_case("n32c64h224w224_k64r3s3_pad1_f16_bias_relu+max_r2s2", "sm_80")
    rows = {row["kernel"]: row for row in text.rows}
    assert rows["conv_pool"]["chosen"], text
    assert f"{32 * 224 * 224 * 64 * 2:,} bytes" in text and "windows a block" in text and "fused: " in text
    two = next(row for name, row in rows.items() if name.endswith(", then pool_stream"))
    assert two["microseconds"] > rows["conv_pool"]["microseconds"]


ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90")
FIRST, WIDE = "conv_first_pool", "conv_pool"
ANOTHER_ORDER = "adds in another order"
#: pair -> (the kernel that may do both, where it does, why it declines elsewhere, or None where two launches are estimated quicker)
CHOSEN = {
    "resnet50/conv1": (FIRST, ARCHITECTURES, None),
    "vgg16/conv1_2": (WIDE, ARCHITECTURES, None),
    "vgg16/conv2_2": (WIDE, ("sm_80", "sm_89"), None),
    "vgg16/conv3_3": (WIDE, ("sm_89",), None),
    "vgg16/conv4_3": (WIDE, (), None),
    "vgg16/conv5_3": (WIDE, (), None),
    "googlenet/conv1": (FIRST, ARCHITECTURES, None),
    "googlenet/conv2": (WIDE, (), None),
    "lenet5/c1": (FIRST, ("sm_80", "sm_86"), ANOTHER_ORDER),
    "lenet5/c3": (FIRST, ("sm_86",), ANOTHER_ORDER),
    "resnet50-bf16/conv1": (FIRST, ARCHITECTURES, None),
    "vgg16-f32/conv3_3": (WIDE, (), "x is float32"),
    "vgg16-i8/conv3_3": (WIDE, (), "x is int8"),
}


@pytest.mark.parametrize("n", [1, 32, 100])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("case", read_cases(FOLDER / "pooled.txt"), ids=lambda case: case.name)
def test_the_pairs_of_the_nets_say_what_they_get_and_why(case, architecture, n):
    """One kernel where it takes the pair and is estimated quicker at the ranking batch, whatever N is."""
    kernel, fused_on, refusal = CHOSEN[case.name.removeprefix("pooled/")]
    text = choose.explain_problem(choose.at_batch(parse(case.text), n), DEVICES[architecture])
    one = next(row for row in text.rows if row["kernel"] == kernel)
    two = next(row for row in text.rows if ", then pool" in row["kernel"])
    assert (one["chosen"], two["chosen"]) == (architecture in fused_on, architecture not in fused_on), text
    between = f"{n * math.prod(parse(case.text).conv.y_shape) * BYTES[parse(case.text).conv.out_dtype]:,} bytes"
    assert any(between in line for line in text.splitlines() if ("fused: " if one["chosen"] else "in two: ") in line), text
    other = next(row for row in text.rows if row["kernel"] == (FIRST if kernel == WIDE else WIDE))
    assert other["reason"], text
    if refusal is not None and not one["chosen"]:
        assert refusal in one["reason"] and two["reason"] is None
    else:
        quicker, slower = (one, two) if one["chosen"] else (two, one)
        assert quicker["ranked_microseconds"] < slower["ranked_microseconds"]
        assert "times the convolution's outputs" in one["account"] and " bytes" in str(two["launch"])


@needs_simulator
def test_random_problems_reach_every_instance():
    prover = verify.Prover("simulated", data="whole")
    names = list(conv_pool.KERNEL.instances())
    assert len(names) == 4 and set(names) <= set(verify.every_instance())
    assert prover.reach(names, 1, iter(range(5000))) == [] and not prover.ledger.failures


@needs_simulator
@pytest.mark.parametrize("kernel", [None, "conv_direct"])
def test_a_pair_is_verified_by_its_case(kernel, capsys):
    case = "n1c8h7w8_k16r3s3_f16_bias+max_r2s2"
    words = ["verify", "--engine", "simulated", "--case", case, *(["--kernel", kernel] if kernel else [])]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert ("conv_direct 36, pool_stream 36" if kernel else "conv_pool 36") in out
    problem = parse("n1c3h6w6_k4r3s3_f32+avg_r2s2")  # which no one kernel takes
    [candidate] = verify.Prover("simulated").candidates(problem, 4)
    assert candidate.kernel.endswith(", then pool_stream") and " + pool_stream<" in candidate.instance
    trial = verify.Trial("simulated", problem, 4, candidate.kernel, candidate.instance, "random", None)
    assert cli.main(shlex.split(trial.command())[1:]) == 0
