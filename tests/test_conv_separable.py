"""conv_separable on the simulator: to the bit conv_depthwise and then conv_igemm_sm80, with every tile, in every order; what it declines, and what it saves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fenced
import numpy as np
import pytest
from test_conv_pool import same_bits
from test_conv_pool_kernel import special
from test_separable import apart, drawn, fused, part, words_of

import atrous
from atrous import choose, cli, kernels, testing, verify
from atrous.engines import simulated
from atrous.kernels import conv_direct, conv_separable
from atrous.kernels.base import DEVICES
from atrous.problem import parse
from atrous.sampling import random_separable

sys.path.insert(0, str(Path(__file__).parent / "proof"))

import builds
import traffic

REASON = simulated.available()
needs_simulator = pytest.mark.skipif(REASON is not None, reason=str(REASON))
#: what is special -> the case
EDGES = {
    "one of everything": "n1c8h3w3_k8r3s3_g8_f16+k1r1s1",
    "one channel": "n1c1h5w6_k1r3s3_pad1_g1_f16+k3r1s1",
    "channels of no whole piece": "n1c20h9w9_k20r3s3_pad1_g20_f16_bias_sigmoid+k16r1s1_bias",
    "more of them": "n1c75h7w9_k75r3s3_pad1_g75_bf16_bias+k70r1s1",
    "whole tiles": "n2c32h16w16_k32r3s3_pad1_g32_f16_bias_relu6+k64r1s1_bias_relu6",
    "edges on both sides": "n1c32h19w21_k32r3s3_pad1_g32_bf16_bias_relu+k32r1s1_bias",
    "stride 2": "n2c40h17w18_k40r3s3_pad1_stride2_g40_f16_scalef32_silu+k24r1s1_scale",
    "stride of rows alone": "n1c16h30w9_k16r3s3_stride3x1_g16_f16+k16r1s1",
    "stride of columns alone": "n1c16h10w30_k16r3s3_stride1x2_g16_f16+k16r1s1",
    "infinity beside channels that are none": "n1c1h5w6_k1r3s3_pad1_g1_f16_clip70000:80000+k3r1s1",
    "five": "n1c24h12w13_k24r5s5_pad2_g24_bf16_biasf32_hardswish+k40r1s1_residual",
    "five, stride 2": "n1c16h15w17_k16r5s5_pad2_stride2_g16_f16+k72r1s1_biasf32_relu",
    "seven": "n1c8h10w11_k8r7s7_pad3_g8_f16+k128r1s1_gelu",
    "seven, stride 2": "n1c16h22w21_k16r7s7_pad3_stride2_g16_bf16_relu+k8r1s1",
    "rows of another number": "n1c16h14w12_k16r5s3_pad2x1_g16_f16+k16r1s1",
    "rows apart": "n1c16h16w12_k16r3s3_pad3x1_dil3x1_g16_f16_bias+k32r1s1",
    "channels past a step": "n1c72h9w9_k72r3s3_pad1_g72_f16_bias_sigmoid+k66r1s1_bias",
    "several turns of two slices": "n1c168h8w9_k168r3s3_pad1_g168_f16_bias+k100r1s1_bias",
    "one row": "n1c16h1w70_k16r1s3_pad0x1_g16_f16+k16r1s1",
    "one column": "n1c16h40w3_k16r3s3_pad1x0_g16_f16+k16r1s1",
    "four pads": "n1c16h12w13_k16r3s3_pad0:2:3:1_g16_f16_bias+k16r1s1",
    "cropped": "n1c16h14w13_k16r3s3_pad-2:1:-1:-3_g16_f16+k16r1s1",
    "mirrored": "n2c16h9w10_k16r3s3_pad2:1:1:2_g16_reflect_f16+k16r1s1",
    "wrapped, stride 2": "n1c16h9w10_k16r3s3_pad2_stride2_g16_circular_bf16+k16r1s1",
    "its edge repeated": "n1c16h5w6_k16r5s5_pad6_g16_replicate_f16+k16r1s1",
    "a wider output": "n1c16h9w9_k16r3s3_pad1_g16_f16+k20r1s1_outf32_residual_biasf32",
    "a narrower one": "n1c16h9w9_k16r3s3_pad1_g16_f16_bias+k20r1s1_outbf16_residual",
    "weights in other orders": "n1c32h9w9_k32r3s3_pad1_g32_f16_wrskc+k40r1s1_wrskc",
    "weights of rows first": "n1c32h9w9_k32r3s3_pad1_g32_f16_wcksr+k40r1s1_wcrsk",
}


def two(problem, inputs):
    """Return the two calls, on the kernels whose sums it adds like."""
    first, second = problem.parts
    words = {name: getattr(first, name) for name in ("stride", "dilation", "groups", "padding_mode", "weight_layout", "activation")}
    words["padding"] = (first.pads[:2], first.pads[2:])
    between = atrous.conv2d(inputs["x"], **part(problem, inputs, "depthwise_"), **words, engine="simulated", kernel="conv_depthwise")
    words = {name: getattr(second, name) for name in ("weight_layout", "activation", "out_dtype")}
    return atrous.conv2d(between, residual=inputs.get("residual"), **part(problem, inputs), **words, engine="simulated", kernel="conv_igemm_sm80")


def one(problem, inputs):
    """Return every output of every launch of the kernel between red zones."""
    prover = verify.Prover("simulated", kernel="conv_separable")
    for candidate in prover.candidates(problem, 0):
        trial = verify.Trial("simulated", problem, 0, "conv_separable", candidate.instance, "random", ("random", 3, "random"))
        yield prover._outputs(trial, candidate.launch, inputs)["y"]


def is_offered(problem):
    """Return whether the two alone run on the kernels that it adds like."""
    [reason] = [answer.reason for answer in choose.options(problem, DEVICES["simulated"]) if answer.kernel == "conv_separable"]
    return reason is None


@needs_simulator
@pytest.mark.parametrize("case", EDGES.values(), ids=EDGES)
def test_edges_to_the_bit(case):
    problem = parse(case)
    assert conv_separable.KERNEL.declines(problem, DEVICES["simulated"]) is None
    inputs = special(testing.random_inputs(problem, 1), 2)
    expected = two(problem, inputs)
    for y in one(problem, inputs):
        same_bits(y, expected)
    if problem.depthwise.weight_layout == problem.weight_layout and is_offered(problem):
        same_bits(fused(problem, inputs, engine="simulated", kernel="conv_separable"), expected)


@needs_simulator
def test_random_problems_to_the_bit():
    ran = []
    for seed in range(220):
        problem = random_separable(seed)
        if conv_separable.KERNEL.declines(problem, DEVICES["simulated"]) is None:
            inputs = testing.random_inputs(problem, seed)
            inputs = special(inputs, seed) if seed % 3 == 0 else inputs
            expected = two(problem, inputs)
            for y in one(problem, inputs):
                same_bits(y, expected)
            ran.append(conv_separable.tile_of(problem))
    assert all(ran.count(tile) >= 12 for tile in conv_separable.TILES_BUILT), ran


@needs_simulator
@pytest.mark.parametrize("case", EDGES.values(), ids=EDGES)
def test_edges_between_red_zones_in_every_order(case):
    prover = verify.Prover("simulated", kernel="conv_separable")
    prover.prove(parse(case), 4, [verify.schedule_number(number) for number in range(12)], random_too=True)
    assert not prover.ledger.failures, prover.ledger.failures[:1]
    assert prover.ledger.runs >= 12


@needs_simulator
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="fences memory with mprotect")
def test_touches_no_byte_beside_its_operands():
    cases = [EDGES[name] for name in ("edges on both sides", "stride 2", "four pads", "cropped", "wrapped, stride 2", "channels past a step")]
    done = fenced.start("conv_separable", cases)
    assert done.returncode == 0, (done.returncode, done.stdout[-400:], done.stderr[-400:])
    assert done.stdout.splitlines()[-1] == f"{cases[-1]} before"


@needs_simulator
@pytest.mark.parametrize("case", ["c40h19w9_k40r3s3_pad1_g40_f16_bias_relu+k66r1s1_bias", "c16h10w20_k16r5s5_pad2_stride2_g16_bf16+k8r1s1_silu"])
def test_bits_of_an_image_alone_and_in_a_batch(case):
    problem = parse(f"n5{case}")
    inputs = testing.random_inputs(problem, 6)
    together = list(one(problem, inputs))
    for image in range(5):
        for y in one(parse(f"n1{case}"), {**inputs, "x": inputs["x"][image : image + 1].copy()}):
            for other in together:
                same_bits(y[0], other[image])


@needs_simulator
@pytest.mark.parametrize("form", ["r3s3_pad1", "r5s5_pad2_stride2", "r7s7_pad3"])
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_special_values_reach_exactly_their_windows(form, dtype):
    """An infinite weight meets the zeros of padding as the reference has it; a NaN of x reaches the outputs that hold it, and no others."""
    problem = parse(f"n1c16h11w12_k16{form}_g16_{dtype}+k24r1s1")
    for name in ("x", "depthwise_weight", "weight"):
        for value in (np.inf, np.nan):
            inputs = testing.exact_inputs(problem, 3)
            inputs[name].reshape(-1)[np.random.default_rng(4).integers(inputs[name].size)] = value
            expected = testing.expected_output(problem, inputs)
            assert not np.isfinite(expected).all()
            for y in one(problem, inputs):
                testing.assert_matches(y, expected, problem)


@needs_simulator
def test_views_backwards_and_a_slice_of_channels():
    """x mirrored and cut out of channels, out every second element: whole numbers, so the reference's to the bit."""
    problem = parse("n3c16h13w14_k16r3s3_pad1_stride2_g16_f16_bias_relu+k20r1s1_bias_residual")
    inputs = testing.exact_inputs(problem, 5)
    expected = testing.expected_output(problem, inputs).astype(np.float16)
    whole = np.full((3, 15, 17, 32), np.nan, np.float16)
    view = whole[::-1, 1:14, ::-1, 8:24][:, :, 1:15]
    view[...] = inputs["x"]
    for step in (1, 2):
        room = np.full(tuple(2 * size + 1 for size in expected.shape), 77, np.float16)
        cut = tuple(slice(1, 1 + step * size, step) for size in expected.shape)
        fused(problem, {**inputs, "x": view}, out=room[cut], engine="simulated", kernel="conv_separable")
        np.testing.assert_array_equal(room[cut], expected)
        room[cut] = 77
        assert (room == 77).all(), "something beside out was written"


@needs_simulator
def test_a_plan_packs_both_weights_once_and_has_no_workspace():
    problem = parse("n2c32h9w10_k32r3s3_pad1_g32_f16_bias_relu6+k48r1s1_bias_residual")
    inputs = testing.random_inputs(problem, 8)
    more = words_of(problem) | {"depthwise_bias": inputs["depthwise_bias"], "residual": True, "engine": "simulated", "kernel": "conv_separable"}
    plan = atrous.plan_separable_conv2d(problem.x_shape, inputs["depthwise_weight"], inputs["weight"], inputs["bias"], **more)
    assert plan.kernel == "conv_separable" and plan.workspace_bytes == 0
    assert plan.packed_bytes == 2 * (2 * 32 * 9 + 32 * 48 + 32 + 48)  # its copies, and the taps with channels fastest
    out, expected = np.zeros(problem.y_shape, np.float16), two(problem, inputs)
    for _ in range(2):
        same_bits(plan(inputs["x"], residual=inputs["residual"], out=out), expected)


@pytest.mark.parametrize("name", ["edges on both sides", "wrapped, stride 2", "channels past a step", "several turns of two slices"])
def test_no_race_and_nothing_read_that_nobody_wrote_in_any_order(name):
    arguments, environment = builds.command("race")
    words = ["verify", "--engine", "simulated", "--kernel", "conv_separable", "--case", EDGES[name]]
    done = subprocess.run([*arguments, "-m", "atrous", *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "conv_separable 36" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]


def test_it_moves_x_once_with_its_halo_and_y_once():
    """Sectors asked for: of x those of the halo, of the weights all for every block, y once."""
    (found,) = traffic.records_of(["n1c64h24w24_k64r3s3_pad1_g64_f16_bias+k64r1s1_bias"], "conv_separable")
    least, blocks = 24 * 24 * 64 * 2 // 32, 9
    assert found["global_write_sectors"] == least
    weights, terms = (64 * 64 + 9 * 64) * 2 // 32, 2 * 64 * 2 // 32
    # tiles of 8 x 8 of an image of 24 x 24: 9, 10 and 9 rows and columns of x that are no padding
    x = 28 * 28 * 64 * 2 // 32
    # two warps of pixels and the block's own copy fetch the terms
    assert found["global_read_sectors"] <= x + blocks * (weights + 2 * terms)
    assert found["read_footprint"] <= least + weights + terms


def test_no_bank_is_asked_twice_where_slices_are_computed():
    forms = ("r3s3_pad1", "r3s3_pad1_stride2", "r5s5_pad2", "r5s5_pad2_stride2", "r7s7_pad3", "r7s7_pad3_stride2", "r1s3_pad0x1")
    sizes = (("h16w16", 64), ("h15w19", 24), ("h5w70", 64))
    cases = [f"n1c64{size}_k64{form}_g64_f16_bias+k{k}r1s1_bias" for form in forms for size, k in sizes]
    offered = [case for case in [*EDGES.values(), *cases] if is_offered(parse(case))]
    assert len(offered) >= 35
    for found in traffic.records_of(offered, "conv_separable"):
        assert found["main_loop_conflicts"] == 0, (found["case"], {place: sums for place, sums in found["places"].items() if sums["shared_conflicts"]})


@needs_simulator
@pytest.mark.parametrize("axis", range(3))
def test_x_of_one_step_that_is_no_whole_pieces(axis):
    """Images, rows or pixels 4 elements further apart: any of them alone keeps copies of 16 bytes from x."""
    problem = parse("n2c32h19w21_k32r3s3_pad1_g32_bf16_bias_relu+k32r1s1_bias")
    inputs = testing.random_inputs(problem, 10)
    steps = [20_000, 800, 32]  # 21 pixels of at most 36 elements in a row of at most 804
    steps[axis] += 4
    x = np.lib.stride_tricks.as_strided(np.zeros(60_000, inputs["x"].dtype), inputs["x"].shape, [2 * step for step in (*steps, 1)])
    x[...] = inputs["x"]
    same_bits(fused(problem, {**inputs, "x": x}, engine="simulated", kernel="conv_separable"), two(problem, inputs))


DECLINED = {
    "n1c8h9w9_k8r3s3_g8_f32+k8r1s1": "x is float32",
    "n1c8h9w9_k8r3s3_g8_f16_outf32+k8r1s1": "gives float32",
    "n1c8h9w9_k8r3s3_g8_f16_nchw+k8r1s1": "x is NCHW",
    "n1c8h9w9_k16r3s3_g8_f16+k8r1s1": "2 filters a channel",
    "n1c8h9w9_k8r3s3_g8_f16+k129r1s1": "K is 129",
    "n1c8h9w9_k8r3s3_g8_f16+k0r1s1": "K is 0",
    "n1c8h9w9_k8r3s4_g8_f16+k8r1s1": "the window has 4 columns",
    "n1c8h9w19_k8r3s3_stride3_g8_f16+k8r1s1": "3 columns with stride 3",
    "n1c8h9w9_k8r3s3_dil2_g8_f16+k8r1s1": "dilation 2",
    "n1c640h7w7_k640r3s3_pad1_g640_f16+k96r1s1": "added in 2 segments",
    "n1c8h2000w9_k8r900s3_g8_f16+k8r1s1": "shared memory",
    "n1c8h1100000000w3_k8r3s3_pad1_g8_f16+k8r1s1": "reaches 2^30",
}


@pytest.mark.parametrize("case", DECLINED)
def test_declines_in_a_sentence(case):
    assert DECLINED[case] in conv_separable.KERNEL.declines(parse(case), DEVICES["sm_80"])


def test_declines_where_a_convolution_alone_adds_in_another_order(monkeypatch):
    problem = parse("n32c64h112w112_k64r3s3_pad1_g64_f16_bias_relu6+k128r1s1_bias_relu6")
    for left_out, word in (("conv_depthwise", "the depthwise alone runs on"), ("conv_igemm_sm80", "the 1x1 alone runs on")):
        monkeypatch.setattr(kernels, "ORDER", tuple(kernel for kernel in kernels.ORDER if kernel.name != left_out))
        [reason] = [answer.reason for answer in choose.options(problem, DEVICES["sm_80"]) if answer.kernel == "conv_separable"]
        assert reason.startswith(word) and "which adds in another order" in reason
        monkeypatch.undo()
    assert conv_direct.KERNEL.name not in conv_separable.KERNEL.adds_like


def test_each_convolution_alone_runs_on_the_kernel_that_it_adds_like():
    """A short depthwise convolution is quicker on tensor cores, which add its windows in another order than conv_depthwise."""
    offered = 0
    for problem in [parse("n1c8h3w3_k8r3s3_g8_f16+k8r1s1"), *(random_separable(seed) for seed in range(150))]:
        for device in DEVICES.values():
            [reason] = [answer.reason for answer in choose.options(problem, device) if answer.kernel == "conv_separable"]
            if reason is None:
                assert [choose.choose(part, device).name for part in problem.parts] == ["conv_depthwise", "conv_igemm_sm80"], (device.name, problem)
                offered += 1
    assert offered >= 100


@needs_simulator
def test_x_in_odd_places_has_the_bits_of_the_two_calls():
    """Beside whole pieces, channels apart, backwards: the same launch, by elements."""
    problem = parse(EDGES["edges on both sides"])
    inputs = testing.random_inputs(problem, 9)
    expected = two(problem, inputs)
    for shape, cut in (((1, 19, 21, 36), np.s_[..., 3:35]), ((1, 19, 21, 64), np.s_[..., ::2]), ((1, 19, 42, 32), np.s_[:, :, ::-2, ::-1])):
        view = np.zeros(shape, inputs["x"].dtype)[cut]
        view[...] = inputs["x"]
        same_bits(fused(problem, {**inputs, "x": view}, engine="simulated", kernel="conv_separable"), expected)


@pytest.mark.parametrize("case", [*EDGES.values(), "n1c32h112w112_k32r3s3_pad1_g32_f16+k64r1s1", "n1c96h112w112_k96r3s3_pad1_stride2_g96_f16+k24r1s1"])
def test_tiles_cover_every_output_and_the_halo_every_window(case):
    problem = parse(case)
    depthwise, halo = problem.depthwise, conv_separable.halo_of(problem)
    rows, columns = halo.outputs
    assert rows * columns == 64 and halo.columns % 2 == 0
    row_tiles, column_tiles = conv_separable.tiles_of(problem, halo)
    assert rows * row_tiles >= depthwise.p > rows * (row_tiles - 1) and columns * column_tiles >= depthwise.q > columns * (column_tiles - 1)
    stride = depthwise.stride[1] if depthwise.q > 1 else 1
    # the last cell of the last group of columns, past which nothing is read
    assert halo.columns >= (columns - 1) * stride + depthwise.s
    assert halo.rows * halo.row_cells <= halo.slice_cells
    assert conv_separable.shared_bytes(problem, halo) <= conv_separable.MOST_SHARED_BYTES


def test_eight_by_eight_outputs_of_three_by_three_read_a_hundred_cells():
    halo = conv_separable.halo_of(parse("n1c64h56w56_k64r3s3_pad1_g64_f16+k128r1s1"))
    assert (halo.outputs, halo.rows, halo.columns, halo.cells) == ((8, 8), 10, 10, 100)


def test_explain_says_what_is_saved_and_which_way_is_taken():
    case = "n32c64h112w112_k64r3s3_pad1_g64_f16_bias_relu6+k128r1s1_bias_relu6"
    text = choose.explain_case(case, "sm_80")
    rows = {row["kernel"]: row for row in text.rows}
    assert rows["conv_separable"]["chosen"], text
    assert f"fused: the {32 * 112 * 112 * 64 * 2:,} bytes" in text and "8 x 8 pixels a block, x read 1.56 times" in text
    assert rows["conv_depthwise, then conv_igemm_sm80"]["microseconds"] > rows["conv_separable"]["microseconds"]


@pytest.mark.parametrize("architecture", ["sm_80", "sm_86", "sm_89", "sm_90"])
@pytest.mark.parametrize("n", [1, 32, 100])
def test_one_kernel_is_chosen_where_it_is_estimated_quicker(architecture, n):
    cases = ("c32h112w112_k32r3s3_pad1_g32_f16+k64r1s1", "c576h14w14_k576r3s3_pad1_g576_f16+k96r1s1", "c960h7w7_k960r3s3_pad1_g960_f16+k160r1s1")
    for case in cases:
        text = choose.explain_case(f"n{n}{case}", architecture)
        taken = [row for row in text.rows if row["reason"] is None]
        best = min(taken, key=lambda row: row["ranked_microseconds"])
        assert best["chosen"], text


@needs_simulator
def test_random_problems_reach_every_instance():
    prover = verify.Prover("simulated", data="whole")
    names = list(conv_separable.KERNEL.instances())
    assert len(names) == 6 and set(names) <= set(verify.every_instance())
    assert prover.reach(names, 1, iter(range(5000))) == [] and not prover.ledger.failures


@needs_simulator
@pytest.mark.parametrize("kernel", [None, "conv_direct"])
def test_a_separable_convolution_is_verified_by_its_case(kernel, capsys):
    case = "n1c8h7w8_k8r3s3_g8_f16_bias+k16r1s1"
    words = ["verify", "--engine", "simulated", "--case", case, *(["--kernel", kernel] if kernel else [])]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert ("conv_direct 36" if kernel else "conv_separable 36") in out


@needs_simulator
def test_near_what_the_kernels_of_the_two_choose():
    ran = 0
    for seed, problem in drawn(40):
        if conv_separable.KERNEL.declines(problem, DEVICES["simulated"]) is None:
            inputs = testing.random_inputs(problem, seed)
            same_bits(fused(problem, inputs, engine="simulated"), apart(problem, inputs, engine="simulated"))
            ran += 1
    assert ran >= 8


def test_most_edges_are_offered_to_callers():
    assert sum(is_offered(parse(case)) for case in EDGES.values()) >= len(EDGES) // 2
