"""conv_depthwise_large: its edges in every variant, its bits, what is not finite, its views, its banks, and what it declines."""

from __future__ import annotations

import dataclasses
import itertools
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import atrous
from atrous import testing, verify
from atrous.engines import simulated
from atrous.kernels import conv_depthwise_large
from atrous.kernels.base import DEVICES
from atrous.problem import parse
from atrous.sampling import random_large_depthwise

sys.path.insert(0, str(Path(__file__).parent / "proof"))

import traffic

KERNEL = conv_depthwise_large.KERNEL
needs_simulator = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))

#: case -> what it may trip over
EDGES = {
    "n1c8h9w9_k8r9s9_g8_f16": "one output",
    "n1c8h9w12_k8r9s9_stride5x1_g8_f16": "a stride between rows of which there is one",
    "n1c8h9w9_k8r9s9_pad4_g8_bf16": "one tile more than a column",
    "n2c16h12w20_k16r9s9_pad4_g16_bf16_bias_relu": "a whole slab, three tiles of columns",
    "n1c24h10w11_k24r9s13_pad4x6_g24_f16_bias_relu6_scale": "half a slab",
    "n1c20h7w7_k20r13s13_pad6_g20_f16": "channels that end within a piece",
    "n1c3h8w61_k3r9s9_pad4_g3_bf16": "eight tiles in two passes",
    "n1c1h40w3_k1r31s9_pad15x4_g1_f16_silu": "three tiles of rows",
    "n1c8h5w40_k8r9s31_pad4x15_g8_f16": "five octets",
    "n1c16h14w14_k16r27s27_pad13_g16_f16_bias_relu": "rows and columns of padding longer than the image",
    "n3c8h7w7_k8r13s13_pad6_g8_f16": "images that share a tile of rows",
    "n21c8h3w2_k8r9s9_pad4_g8_bf16": "more of them, and windows larger than x",
    "n2c8h4w3_k8r9s9_pad12_g8_f16_bias": "windows wholly in padding",
    "n1c8h3w4_k8r9s9_pad60x40_g8_f16_bias": "tiles wholly in padding",
    "n1c8h20w21_k8r10s12_pad4:5:5:6_g8_f16": "even windows",
    "n1c8h24w26_k8r9s11_pad-2:3:1:-3_g8_f16": "crops",
    "n1c8h24w40_k8r9s9_pad-1:0:-9:2_g8_bf16": "a crop of more than an octet",
    "n1c2h30w30_k2r31s31_pad15_g2_f16": "the largest window",
    "n1c8h20w18_k8r9s25_pad4x12_g8_f16": "four octets",
    "n2c9h12w9_k9r9s10_pad5_g9_f16_residual_bias_outf32": "a wider output with a residual",
    "n1c8h11w9_k8r11s9_pad4_g8_bf16_gelu_outf64": "and the widest",
    "n1c40h9w9_k40r9s9_pad4_g40_f16_residual": "three slabs",
    "n2c16h33w17_k16r9s9_pad4_g16_f16": "a row tile of one row",
    "n1c8h20w56_k8r9s29_pad4x14_g8_f16": "all sums of a warp, over five octets each: 2 x 7 tiles",
    "n1c8h20w30_k8r9s27_pad4x13_g8_bf16": "2 x 4",
    "n4c8h14w14_k8r9s27_pad4x13_g8_f16": "4 x 2",
    "n6c8h16w7_k8r9s29_pad4x14_g8_f16": "6 x 1",
}  # fmt: skip


def prover():
    return verify.Prover("simulated", kernel=KERNEL.name)


@needs_simulator
@pytest.mark.parametrize("case", EDGES)
@pytest.mark.parametrize("seed", [2, 3], ids=["aligned", "beside"])
def test_edge(case, seed):
    """Every variant, whole numbers to the bit and random ones within the bound; at aligned addresses and one element beside them."""
    found, problem = prover(), parse(case)
    assert KERNEL.declines(problem, DEVICES["simulated"]) is None
    found.prove(problem, seed, schedules=[("random", 5, "random"), ("greedy", 3, "latest")], random_too=True)
    assert not found.ledger.failures, found.ledger.failures[0]
    assert found.ledger.bounded_runs.total() >= 2


@needs_simulator
@pytest.mark.parametrize("first", range(0, 90, 30))
def test_random_problems(first):
    found = prover()
    for seed in range(first, first + 30):
        problem = random_large_depthwise(seed)
        if KERNEL.declines(problem, DEVICES["simulated"]) is None:
            found.prove(problem, seed)
    assert not found.ledger.failures, found.ledger.failures[0]
    assert found.ledger.problems >= 10


def outputs(problem, inputs):
    """Yield the launch and output of every variant."""
    door = prover()
    for candidate in door.candidates(problem, 0):
        trial = verify.Trial("simulated", problem, 0, KERNEL.name, candidate.instance, "whole", ("random", 7, "random"))
        yield candidate.launch, door._outputs(trial, candidate.launch, inputs)["y"]


#: cases of several strips, tiles, images and slabs
SPREAD = (
    "n2c16h20w26_k16r9s11_pad4x5_g16_f16",
    "n1c3h40w12_k3r13s9_g3_bf16",
    "n5c20h7w6_k20r13s13_pad6_g20_f16",
    "n2c8h24w24_k8r9s9_pad-2:4:-3:0_g8_bf16_bias",
)


def prove_specials(problem, inputs):
    expected = testing.expected_output(problem, inputs)
    for _, y in outputs(problem, inputs):
        testing.assert_matches(y, expected, problem)
    return expected


@needs_simulator
@pytest.mark.parametrize("case", SPREAD)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_special_values_reach_exactly_their_windows(case, value):
    """The zeros of a band beside the filter never meet them, nor do those of another row, image or channel."""
    problem = parse(case)
    inputs = testing.exact_inputs(problem, 1)
    inputs["x"].reshape(-1)[np.random.default_rng(1).integers(inputs["x"].size, size=2)] = value
    expected = prove_specials(problem, inputs)
    assert np.isfinite(expected).any()


@needs_simulator
@pytest.mark.parametrize("case", SPREAD)
def test_an_infinite_weight_meets_the_zeros_of_padding(case):
    """0 times infinity is NaN at the edges of the image, as the reference has it, even where an octet of zeros is left out; other channels are finite."""
    problem = parse(case)
    inputs = testing.exact_inputs(problem, 1)
    inputs["weight"].reshape(-1)[1] = np.inf
    inputs["weight"].reshape(-1)[-2] = np.nan
    expected = prove_specials(problem, inputs)
    assert np.isnan(expected).any() and np.isfinite(expected).any()


@needs_simulator
def test_special_values_meet_each_other_and_zeros():
    """Infinity times 0, infinity times infinity, opposite infinities: what the definition gives, in every output."""
    problem = parse("n2c8h12w13_k8r9s9_pad4_g8_f16_bias_relu")
    inputs, random = testing.exact_inputs(problem, 2), np.random.default_rng(3)
    for name, count in (("x", 12), ("weight", 3)):
        inputs[name].reshape(-1)[random.integers(inputs[name].size, size=count)] = random.choice([np.inf, -np.inf], count)
    inputs["weight"].reshape(-1)[::5] = 0
    prove_specials(problem, inputs)


@needs_simulator
@pytest.mark.parametrize("case", SPREAD)
def test_outputs_beside_special_values_keep_their_bits(case):
    """An output whose window holds none has the bits that it has where there is none at all."""
    problem = parse(case)
    inputs = testing.random_inputs(problem, 4)
    plain = [y for _, y in outputs(problem, inputs)]
    spoilt = dict(inputs, x=inputs["x"].copy())
    spoilt["x"][0, problem.h // 2, problem.w // 2, 0] = np.nan
    with np.errstate(invalid="ignore"):
        touched = np.isnan(testing.expected_output(problem, spoilt))
    assert touched.any() and not touched.all()
    for (_, y), before in zip(outputs(problem, spoilt), plain, strict=True):
        np.testing.assert_array_equal(y[~touched].view(np.uint8), before[~touched].view(np.uint8))
        assert np.isnan(y[touched].astype(np.float32)).all()


@needs_simulator
@pytest.mark.parametrize("x, weight", [(-0.0, 1.0), (0.0, -1.0), (-0.0, -1.0)])
def test_a_sum_of_zeros_is_a_positive_one(x, weight):
    y = atrous.conv2d(
        np.full((1, 9, 9, 8), x, np.float16), np.full((8, 9, 9, 1), weight, np.float16), padding=4, groups=8, engine="simulated", kernel=KERNEL.name
    )
    assert (y == 0).all() and not np.signbit(y).any()


@needs_simulator
def test_the_largest_numbers_overflow_alone():
    """Products of finite numbers that pass float32 are infinite, as a sum in float32 is; a column whose windows do not hold them is finite."""
    problem = parse("n1c8h9w40_k8r9s9_pad4_g8_bf16")
    x, weight = np.full(problem.x_shape, 1e-30, np.float32), np.full(problem.weight_shape, 3e38, np.float32)
    x[0, :, 20] = 3e38
    inputs = {name: array.astype(testing.numpy_dtype("bfloat16")) for name, array in (("x", x), ("weight", weight))}
    for _, y in outputs(problem, inputs):
        found = np.isinf(y.astype(np.float32)).any((0, 1, 3))
        assert np.flatnonzero(found).tolist() == list(range(16, 25)) and not np.isnan(y.astype(np.float32)).any()


@needs_simulator
@pytest.mark.parametrize("case", [case[2:] for case in SPREAD])
def test_bits_depend_on_neither_strips_nor_blocks_nor_batch(case):
    problem = parse(f"n5{case}")
    inputs = testing.random_inputs(problem, 3)
    launches, found = zip(*outputs(problem, inputs), strict=True)
    assert len({(launch.grid, launch.parameters) for launch in launches}) >= 2
    for y in found:
        np.testing.assert_array_equal(y.view(np.uint8), found[0].view(np.uint8))
    for image in range(5):
        for _, y in outputs(parse(f"n1{case}"), {**inputs, "x": inputs["x"][image : image + 1].copy()}):
            np.testing.assert_array_equal(y[0].view(np.uint8), found[0][image].view(np.uint8))


@needs_simulator
def test_views_and_a_residual_that_is_the_output():
    """x in parts of a larger array, y in a slice of channels or of rows, and the residual in the memory of y."""
    random = np.random.default_rng(3)
    x = random.integers(-3, 4, (2, 12, 13, 16)).astype(np.float16)
    weight = random.integers(-3, 4, (16, 9, 11, 1)).astype(np.float16)
    words = dict(padding=(4, 5), groups=16, engine="simulated")
    wanted = atrous.conv2d(x, weight, kernel="conv_direct", **words)
    big = np.full(tuple(2 * size + 3 for size in x.shape), np.nan, np.float16)
    for offset, step in itertools.product((0, 1), (1, 2)):
        view = big[tuple(slice(offset, offset + step * size, step) for size in x.shape)]
        view[...] = x
        np.testing.assert_array_equal(atrous.conv2d(view, weight, kernel=KERNEL.name, **words), wanted)
    np.testing.assert_array_equal(
        atrous.conv2d(x[:, ::-1], weight, kernel=KERNEL.name, **words), atrous.conv2d(x[:, ::-1].copy(), weight, kernel="conv_direct", **words)
    )
    for offset, step in itertools.product((0, 1), (1, 2)):
        room = np.full(tuple(2 * size + 3 for size in wanted.shape), 5, np.float16)
        y = room[tuple(slice(offset, offset + step * size, step) for size in wanted.shape)]
        atrous.conv2d(x, weight, residual=y, out=y, kernel=KERNEL.name, **words)
        np.testing.assert_array_equal(y, wanted + np.float16(5))
        y[...] = 5
        assert (room == 5).all(), "a cell beside the output was written"


@needs_simulator
def test_a_residual_of_other_strides_than_y():
    random = np.random.default_rng(3)
    x, weight, residual = (random.integers(-3, 4, size).astype(np.float16) for size in ((2, 9, 11, 16), (16, 9, 9, 1), (2, 9, 11, 16)))
    words = dict(padding=4, groups=16, engine="simulated")
    wanted = atrous.conv2d(x, weight, kernel="conv_direct", **words) + residual
    room = np.full((4, 11, 13, 18), np.nan, np.float16)
    for view in (room[1:3, 1:10, 1:12, 1:17], room[:2, :9, :11, :16]):
        view[...] = residual
        np.testing.assert_array_equal(atrous.conv2d(x, weight, residual=view, kernel=KERNEL.name, **words), wanted)


@pytest.mark.parametrize("order", ["KRSC", "RSCK", "CSRK", "SKCR"])
@needs_simulator
def test_filters_in_any_order(order):
    found = prover()
    found.prove(parse(f"n1c24h6w7_k24r9s10_pad5_g24_f16_w{order.lower()}"), 2)
    assert not found.ledger.failures and found.ledger.problems == 1


@pytest.mark.parametrize(
    "case, sentence",
    [
        ("n1c8h19w19_k8r9s9_g4_f16", "there are 4 groups of 2 channels, and it takes one channel a group"),
        ("n1c8h19w19_k8r9s9_g8_f32", "x is float32, and it takes float16, bfloat16"),
        ("n1c8h19w19_k8r9s9_g8_i8", "x is int8"),
        ("n1c8h19w19_k8r9s9_g8_f16_nchw", "the layout is NCHW, which conv_depthwise_planes takes"),
        ("n1c8h19w19_k16r9s9_g8_f16", "there are 2 filters a channel, and it takes one"),
        ("n1c8h19w19_k8r8s9_g8_f16", "the filter is 8x9, and it takes 9x9 to 31x31"),
        ("n1c8h49w49_k8r9s32_g8_f16", "the filter is 9x32, and it takes 9x9 to 31x31"),
        ("n1c8h19w19_k8r9s9_stride2_g8_f16", "the stride is (2, 2) and the dilation (1, 1), and it takes 1"),
        ("n1c8h29w29_k8r9s9_dil1x2_g8_f16", "the stride is (1, 1) and the dilation (1, 2), and it takes 1"),
        ("n1c8h19w19_k8r9s9_pad4_reflect_g8_f16", "the padding mode is 'reflect', and it takes zeros"),
        ("n60000000c800h90w900_k800r9s9_g800_f16", "blocks, one a tile, are more than a grid's"),
        ("n1c1h1w2147483638_k1r9s10_pad4:4:9:0_f16", "passes 2^31 - 1 by the end of its last octet"),
        ("n1c1h1w2147483630_k1r9s10_pad4:4:9:0_f16", None),
        ("n1100000000c8h10w9_k8r9s9_g8_f16", "2200000000 blocks, one a tile, are more than a grid's"),
        ("n1c8h19w19_k8r9s9_g8_bf16", None),
        ("n1c512h14w14_k512r27s27_pad13_g512_f16", None),
    ],
)
def test_what_it_declines(case, sentence):
    reason = KERNEL.declines(parse(case), DEVICES["sm_80"])
    assert reason is None if sentence is None else sentence in reason


def test_without_mma_it_declines():
    old = dataclasses.replace(DEVICES["sm_80"], name="sm_75", half_flops=0.0)
    assert "sm_75 lacks mma.sync" in KERNEL.declines(parse("n1c8h19w19_k8r9s9_g8_bf16"), old)


SUITE = (
    "n1c128h56w56_k128r31s31_pad15_g128_f16", "n1c256h28w28_k256r29s29_pad14_g256_f16",
    "n1c512h14w14_k512r27s27_pad13_g512_f16", "n1c1024h7w7_k1024r13s13_pad6_g1024_f16",
)  # fmt: skip


def drawn():
    """Yield problems of many shapes and batches that the kernel takes."""
    problems = [random_large_depthwise(seed) for seed in range(80)]
    problems += map(parse, (*SUITE, "n1c64h224w224_k64r31s31_pad15_g64_f16", "n1c64h600w1000_k64r9s9_g64_bf16", *EDGES))
    for problem, n in itertools.product(problems, (1, 3, 32, 256)):
        problem = dataclasses.replace(problem, n=n, layout="NHWC", weight_layout="")
        assert KERNEL.declines(problem, DEVICES["sm_80"]) is None
        yield problem


@pytest.mark.parametrize("device", DEVICES.values(), ids=list(DEVICES))
def test_every_plan_fits_its_device(device):
    """Shared memory and threads within what a block may have, items that cover the outputs, tiles that a warp holds."""
    met = set()
    for problem in drawn():
        plan, launch = conv_depthwise_large.plan_of(problem, device), KERNEL.launch(problem, None, device)
        assert launch.shared_bytes == plan.shared_bytes <= device.shared_per_block and launch.shared_bytes % 16 == 0
        assert launch.block[0] == 32 * plan.channels and 1 <= launch.grid[0] == plan.together * plan.slabs
        assert plan.strips * plan.strip_rows >= problem.p and plan.column_groups * plan.group_tiles * 8 >= problem.q
        assert plan.passes * plan.pass_tiles >= plan.group_tiles and plan.pass_tiles <= conv_depthwise_large.TILES[plan.tile][0]
        assert plan.images == 1 or plan.strips == 1
        assert launch.name in set(KERNEL.instances())
        met.add(plan.tile)
    assert met == set(conv_depthwise_large.TILES)


def test_no_plan_has_more_blocks_than_are_counted():
    """Images of few rows among them, of which a strip may be half a tile."""
    few = [parse(f"n3c{k}h{p + 8}w{q + 8}_k{k}r9s9_g{k}_f16") for p, q, k in itertools.product((1, 2, 16, 17, 47, 300), (1, 9, 57, 449), (1, 8, 40))]
    for problem in itertools.chain(few, drawn()):
        plans = conv_depthwise_large.possible_plans(conv_depthwise_large.shape_of(problem), problem.n)
        assert max(plan.items * plan.slabs for plan in plans) <= conv_depthwise_large.most_blocks(problem), problem


def test_no_launch_is_proved_on_a_device_that_has_no_room_for_it():
    """Variants are those of all devices; a GPU of 99 KB a block is asked for none that needs more."""
    problem = parse(SUITE[0])
    door = prover()
    assert max(candidate.launch.shared_bytes for candidate in door.candidates(problem, 0)) > 99 * 1024
    door.engine, door.device = "compiled", DEVICES["sm_86"]
    found = door.candidates(problem, 0)
    assert found and max(candidate.launch.shared_bytes for candidate in found) <= 99 * 1024


def test_octets_hold_every_tap_under_a_tile():
    """By the definition: column q - pad + s lies in one of the octets from the tile's number on, and a real one among those staged."""
    shapes = {conv_depthwise_large.shape_of(problem) for problem in drawn()}
    for shape in shapes:
        band = conv_depthwise_large.band_of(shape)
        assert 0 <= band.shift < 8 and 2 <= band.octets <= 5
        q, s = np.meshgrid(np.arange(shape.q), np.arange(shape.s))
        w = q - shape.pad_left + s
        octet = (w + shape.pad_left + band.shift) // 8
        assert (octet >= q // 8).all() and (octet < q // 8 + band.octets).all(), shape
        real = (w >= 0) & (w < shape.w)
        assert (octet[real] >= band.first).all() and (octet[real] < band.end).all(), shape
        pairs = {(int(tile), int(i)) for tile, i in zip(q[real] // 8, octet[real], strict=True)}
        assert len(pairs) <= band.products(shape.tiles) <= shape.tiles * band.octets
        for tiles in (1, 2, 7):
            ends = [min(first + tiles + band.octets - 1, band.end) - max(first, band.first) for first in range(shape.tiles)]
            assert band.staged(tiles) >= max(ends)


def test_replknet_layers_multiply_no_octet_of_padding():
    """Whole octets of x begin where x does: 2 octets of 14 columns and 1 of 7, each met by every tile that needs it."""
    shapes = [conv_depthwise_large.shape_of(parse(case)) for case in SUITE]
    assert [conv_depthwise_large.band_of(shape).products(shape.tiles) for shape in shapes] == [29, 14, 4, 1]


def test_rows_of_a_matrix_lie_on_different_banks():
    """8 rows that ldmatrix reads, of one image or two, real, of padding or beyond the last output, at 8 places modulo 128 bytes."""
    for problem, device in itertools.product(drawn(), (DEVICES["sm_86"], DEVICES["sm_90"])):
        plan = conv_depthwise_large.plan_of(problem, device)
        index = np.arange(-(-plan.images * plan.strip_rows // 16) * 16)
        image, row = index // plan.strip_rows, index % plan.strip_rows
        place = image * plan.image_pieces + row * plan.row_pieces
        for rows in place.reshape(-1, 8):
            assert np.unique(rows % 8).size == rows.size, (problem, plan)


def test_constants_are_those_of_the_kernels_text():
    folder = Path(__file__).resolve().parents[1] / "csrc/include/atrous"
    text = (folder / "depthwise_large.cuh").read_text() + (folder / "kernels/conv_depthwise_large.cuh").read_text()
    numbers = {name: int(value) for name, value in re.findall(r"constexpr int (k\w+) = (\d+);", text)}
    own = conv_depthwise_large
    assert (numbers["kOctet"], numbers["kMostOctets"], numbers["kRowTile"], numbers["kLargeZeros"]) == (
        own.OCTET,
        own.MOST_OCTETS,
        own.ROW_TILE,
        own.ZERO_BYTES,
    )
    assert numbers["kLargeThreads"] == 32 * max(own.CHANNELS) and 65536 // numbers["kLargeThreads"] == own.REGISTERS
    assert {name: (int(columns), int(rows)) for name, columns, rows in re.findall(r"using (\w+) = LargeTile<(\d), (\d)>;", text)} == own.TILES
    # what a row of zeros must hold: any place modulo 128 bytes, and every octet under the windows of a pass
    assert numbers["kLargeZeros"] % 128 == 0 and numbers["kLargeZeros"] >= 112 + 16 * (own.MOST_PASS + own.MOST_OCTETS - 1)


@needs_simulator
def test_suite_layers_move_each_byte_once():
    """At most 1.10 of the least bytes, and no bank conflict in the main loop; with 32 channels, which are two slabs."""
    fewer = [re.sub(r"c\d+h(.*)k\d+r(.*)g\d+", r"c32h\1k32r\2g32", case) for case in SUITE]
    for record in traffic.records_of(fewer, kernel=KERNEL.name):
        assert record["ratio"] <= 1.10, (record["case"], record["ratio"])
        assert record["main_loop_conflicts"] == 0, record["case"]
