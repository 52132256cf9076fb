"""conv_grouped: its edges in every variant, its bits, what is not finite, its views, its tiles, and what it declines."""

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
from atrous.kernels import grouped_rows
from atrous.kernels.base import DEVICES
from atrous.kernels.conv_grouped import KERNEL, plan_of, registers_of
from atrous.problem import parse
from atrous.sampling import random_grouped

sys.path.insert(0, str(Path(__file__).parent / "proof"))

import traffic

needs_simulator = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))
HEADERS = Path(__file__).resolve().parents[1] / "csrc/include/atrous"

#: case -> what it may trip over
EDGES = {
    "n2c8h9w9_k8r3s3_pad1_g2_f16_bias_relu": "two groups of 4: one piece",
    "n1c12h7w5_k12r3s3_pad1_g3_f16": "three: half a piece, copies of 8 bytes, half a tile",
    "n1c68h5w9_k68r3s3_pad1_g17_bf16_residual": "17: slabs, and a last one of one group",
    "n1c8h9w7_k24r3s3_pad1_g2_f16": "a tile that ends in another group than it begins",
    "n1c12h7w7_k60r3s3_pad1_g3_f16_bias": "slabs that begin within a group, and within a pair of groups",
    "n1c8h6w6_k136r3s3_pad1_g2_bf16": "more tiles a group than a slab",
    "n1c8h6w6_k14r3s3_pad1_g2_f16_scale": "4 channels of 7 filters: the pieces of 8",
    "n1c32h9w70_k32r3s3_pad1_g8_bf16_bias_relu6_scale": "more columns than a block",
    "n2c64h15w30_k64r3s3_pad1_g8_f16_bias_leaky_relu0.25_scale": "8 channels, a product that is not full",
    "n1c16h1w1_k16r3s3_pad1_g2_f16_bias": "one pixel",
    "n1c40h7w7_k5r3s3_pad1_g5_f16": "one filter a group",
    "n1c10h9w9_k14r3s3_pad1_g2_f16": "5 channels, element by element",
    "n1c24h9w9_k88r3s3_pad1_g2_bf16_bias": "12 channels in pieces of 16, 44 filters",
    "n1c64h14w14_k64r3s3_pad1_g4_f16_residual": "16 channels",
    "n1c32h14w34_k16r3s3_pad1_stride2_g2_bf16_silu": "and half as many filters, stride 2",
    "n1c36h9w8_k36r3s3_pad1_g3_bf16_bias": "12 channels: copies of 8 bytes",
    "n1c40h6w9_k40r3s3_pad1_stride2_g2_f16": "20 channels",
    "n1c72h9w11_k72r3s3_pad1_g3_f16": "24: tiles of two groups in a warp",
    "n2c96h7w6_k96r3s3_pad1_stride2_g4_bf16_gelu": "and stride 2",
    "n2c56h9w11_k56r3s3_pad1_g2_f16_bias": "28 channels: a last piece of 8 bytes",
    "n1c124h6w7_k28r3s3_pad1_stride2_g4_bf16": "31, element by element; x of two groups in a warp",
    "n1c75h9w37_k75r3s3_pad1_stride2_g3_f16": "25, more columns than a warp",
    "n1c56h9w70_k16r3s3_pad1_stride2_g2_f16": "two groups of four pieces in a cell, of a warp alone",
    "n1c24h17w13_k24r3s3_pad1_stride2_g6_f16": "stride 2 of 4 channels, rows that no window holds",
    "n1c16h18w35_k16r3s3_pad1_stride2_g2_bf16": "odd rows in even chunks",
    "n1c16h12w19_k16r3s3_pad1_stride1x2_g2_f16": "another stride for columns",
    "n1c16h13w12_k16r3s3_pad1_stride2x1_g4_f16": "and for rows",
    "n1c16h20w22_k16r3s3_dil2_pad2_g2_f16": "two phases",
    "n1c16h20w21_k16r3s3_dil3_pad3_stride6_g4_f16": "one phase, of stride 2",
    "n1c16h20w21_k16r3s3_dil3_pad3_stride2_g2_bf16": "nine phases of stride 2",
    "n1c16h20w21_k16r3s3_dil2_pad4_stride2_g2_bf16": "stride and dilation alike",
    "n1c16h19w23_k16r3s3_dil4x2_pad4x2_stride4x1_g2_f16": "one phase of rows, two of columns",
    "n1c8h5w63_k8r3s3_stride1x31_dil1x7_g2_f16": "a stride between outputs of no phase",
    "n1c8h4w40_k8r3s3_pad100000000x1_dil100000000x1_g2_f16": "rows so far away that their offset passes 32 bits",
    "n1c16h3w2_k16r3s3_pad6_g2_bf16": "windows wholly in padding",
    "n1c16h12w13_k16r3s3_pad0:2:3:1_g2_f16": "four different pads",
    "n1c16h12w13_k16r3s3_pad-2:1:-1:-3_g4_f16": "crops",
    "n2c24h9w7_k24r3s3_pad1_g3_f16_residual_bias_outf32": "a wider output with a residual",
    "n1c24h9w7_k24r3s3_pad1_g6_bf16_outf64": "and the widest",
    "n70c16h3w3_k16r3s3_pad1_g2_f16": "many images a block",
    "n1c16h200w5_k16r3s3_pad1_g4_f16": "strips",
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
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("case", ["n1c16h9w12_k16r3s3_pad1_g4_f16", "n1c32h9w12_k32r3s3_dil2_pad2_stride4_g2_bf16", "n1c16h9w12_k16r3s3_pad4:2:1:3_g2_f16"])
def test_padding_that_is_not_zeros(case, mode):
    found = prover()
    found.prove(parse(f"{case}_{mode}"), 2, schedules=[("random", 5, "random")], random_too=True)
    assert not found.ledger.failures, found.ledger.failures[0]


@needs_simulator
@pytest.mark.parametrize("first", range(0, 240, 80))
def test_random_problems(first):
    found = prover()
    for seed in range(first, first + 80):
        problem = random_grouped(seed)
        if KERNEL.declines(problem, DEVICES["simulated"]) is None:
            found.prove(problem, seed)
    assert not found.ledger.failures, found.ledger.failures[0]
    assert found.ledger.problems >= 30


def test_random_problems_meet_every_instance():
    device, found = DEVICES["simulated"], set()
    for problem in map(random_grouped, range(300)):
        if KERNEL.declines(problem, device) is None:
            found.add(KERNEL.launch(problem).name)
    assert found == set(KERNEL.instances()) and len(found) == 20


def outputs(problem, inputs):
    """Yield the launch and output of every variant."""
    door = prover()
    for candidate in door.candidates(problem, 0):
        trial = verify.Trial("simulated", problem, 0, KERNEL.name, candidate.instance, "whole", ("random", 7, "random"))
        yield candidate.launch, door._outputs(trial, candidate.launch, inputs)["y"]


#: every number of pieces and both strides, with whole and with padded pieces
KINDS = (
    "c24h9w10_k24r3s3_pad1_g6_f16", "c12h9w10_k12r3s3_pad1_stride2_g3_bf16", "c32h9w10_k32r3s3_pad1_g4_bf16", "c18h9w10_k12r3s3_pad1_stride2_g3_f16",
    "c48h9w10_k48r3s3_pad1_g3_f16", "c24h9w10_k24r3s3_pad1_stride2_g2_bf16", "c48h9w10_k48r3s3_pad1_g2_bf16", "c40h9w10_k24r3s3_pad1_stride2_g2_f16",
    "c56h9w10_k56r3s3_pad1_g2_f16", "c75h9w10_k24r3s3_pad1_stride2_g3_bf16",
)  # fmt: skip


@needs_simulator
@pytest.mark.parametrize("case", KINDS)
def test_special_values_reach_exactly_their_windows(case):
    """Neither another group, nor an output that does not exist, meets them."""
    problem = parse(f"n1{case}")
    for seed, value in enumerate([np.nan, np.inf, -np.inf]):
        inputs = testing.exact_inputs(problem, seed)
        inputs["x"].reshape(-1)[np.random.default_rng(seed).integers(inputs["x"].size)] = value
        expected = testing.expected_output(problem, inputs)
        for _, y in outputs(problem, inputs):
            testing.assert_matches(y, expected, problem)


@needs_simulator
@pytest.mark.parametrize("case", KINDS)
@pytest.mark.parametrize("operand", ["x", "weight"])
def test_a_group_of_infinities_leaves_the_others_finite(case, operand):
    """Each group in turn is infinite or no number everywhere, in x or in its weights."""
    problem = parse(f"n1{case}")
    inputs = testing.exact_inputs(problem, 5)
    each = problem.c // problem.groups if operand == "x" else problem.k // problem.groups
    for group, value in itertools.product(range(problem.groups), (np.inf, np.nan)):
        mine = slice(group * each, (group + 1) * each)
        changed = {**inputs, operand: inputs[operand].copy()}
        changed[operand][(..., mine) if operand == "x" else mine] = value
        expected = testing.expected_output(problem, changed)
        others = np.isfinite(expected.astype(np.float64)).all((0, 1, 2))
        assert others.sum() == problem.k - problem.k // problem.groups
        for _, y in outputs(problem, changed):
            testing.assert_matches(y, expected, problem)


@needs_simulator
@pytest.mark.parametrize("case", KINDS)
def test_an_infinite_weight_meets_the_zeros_of_padding(case):
    """0 times infinity is NaN at the edges of the image, as the reference has it."""
    problem = parse(f"n1{case}")
    inputs = testing.exact_inputs(problem, 1)
    inputs["weight"].reshape(-1)[::149] = np.inf
    expected = testing.expected_output(problem, inputs)
    assert np.isnan(expected).any() and not np.isnan(expected).all()
    for _, y in outputs(problem, inputs):
        testing.assert_matches(y, expected, problem)


@needs_simulator
@pytest.mark.parametrize("case", ["c24h30w33_k24r3s3_pad1_g6_f16", "c16h31w14_k16r3s3_pad1_stride2_g2_bf16", "c48h30w9_k48r3s3_pad1_g2_f16_bias_silu"])
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


def whole(random, shape):
    return random.integers(-3, 4, shape).astype(np.float16)


@needs_simulator
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [4, 8, 12, 16, 24, 28])
def test_views_and_a_residual_that_is_the_output(channels, stride):
    """x in parts of a larger array, y in a slice of channels or of rows, and the residual in the memory of y."""
    random = np.random.default_rng(channels)
    x, weight = whole(random, (2, 12, 13, 3 * channels)), whole(random, (3 * channels, 3, 3, channels))
    words = dict(padding=1, stride=stride, groups=3, engine="simulated")
    wanted = atrous.conv2d(x, weight, kernel="conv_direct", **words)
    big = np.full(tuple(2 * size + 3 for size in x.shape), np.nan, np.float16)
    for offset, step in itertools.product((0, 1), (1, 2)):
        view = big[tuple(slice(offset, offset + step * size, step) for size in x.shape)]
        view[...] = x
        np.testing.assert_array_equal(atrous.conv2d(view, weight, kernel="conv_grouped", **words), wanted)
    np.testing.assert_array_equal(
        atrous.conv2d(x[:, ::-1], weight, kernel="conv_grouped", **words), atrous.conv2d(x[:, ::-1].copy(), weight, kernel="conv_direct", **words)
    )
    for offset, step in itertools.product((0, 1), (1, 2)):
        room = np.full(tuple(2 * size + 3 for size in wanted.shape), 5, np.float16)
        y = room[tuple(slice(offset, offset + step * size, step) for size in wanted.shape)]
        atrous.conv2d(x, weight, residual=y, out=y, kernel="conv_grouped", **words)
        np.testing.assert_array_equal(y, wanted + np.float16(5))
        y[...] = 5
        assert (room == 5).all(), "a cell beside the output was written"


@needs_simulator
@pytest.mark.parametrize("channels", [4, 8, 16])
def test_channels_of_a_larger_array_that_begin_within_a_piece(channels):
    """What lies before and behind the channels is NaN; runs of 16, of 8 and of fewer bytes."""
    random, words = np.random.default_rng(1), dict(padding=1, groups=2, engine="simulated")
    x, weight = whole(random, (2, 7, 9, 2 * channels)), whole(random, (2 * channels, 3, 3, channels))
    wanted = atrous.conv2d(x, weight, kernel="conv_direct", **words)
    residual = whole(random, wanted.shape)
    for first, total in itertools.product((0, 2, 4, 8), (2 * channels + 8, 2 * channels + 12)):
        room, other = np.full((2, 7, 9, total), np.nan, np.float16), np.full((2, 7, 9, total), np.nan, np.float16)
        room[..., first : first + 2 * channels] = x
        other[..., first : first + 2 * channels] = residual
        view, added = room[..., first : first + 2 * channels], other[..., first : first + 2 * channels]
        np.testing.assert_array_equal(atrous.conv2d(view, weight, residual=added, kernel="conv_grouped", **words), wanted + residual)


@needs_simulator
@pytest.mark.parametrize("order", ["KRSC", "RSCK", "CSRK", "SKCR"])
@pytest.mark.parametrize("case", ["n1c24h6w7_k24r3s3_pad2_g6_f16", "n1c48h6w7_k48r3s3_pad2_g3_bf16"])
def test_filters_in_any_order(case, order):
    found = prover()
    found.prove(parse(f"{case}_w{order.lower()}"), 2)
    assert not found.ledger.failures and found.ledger.problems == 1


@needs_simulator
def test_empty_batches_launch_nothing():
    x, weight = np.zeros((0, 9, 9, 16), np.float16), np.zeros((16, 3, 3, 8), np.float16)
    assert atrous.conv2d(x, weight, groups=2, engine="simulated", kernel="conv_grouped").shape == (0, 7, 7, 16)
    assert atrous.conv2d(np.zeros((2, 9, 9, 16), np.float16), weight[:0], groups=2, engine="simulated").shape == (2, 7, 7, 0)


@pytest.mark.parametrize(
    "case, sentence",
    [
        ("n1c16h9w9_k16r3s3_g8_f16", "there are 8 groups of 2 channels, and it takes two groups or more, of 4 to 31 channels"),
        ("n1c64h9w9_k64r3s3_g2_f16", "there are 2 groups of 32 channels"),
        ("n1c62h9w9_k64r3s3_g2_f16", None),
        ("n1c16h9w9_k16r3s3_f16", "there is one group"),
        ("n1c16h9w9_k16r3s3_g2_f32_tf32", "x is float32, and it takes float16, bfloat16"),
        ("n1c16h9w9_k16r3s3_g2_i8", "x is int8"),
        ("n1c16h9w9_k16r3s3_g2_f16_nchw", "the layout is NCHW, and it takes NHWC"),
        ("n1c16h9w9_k16r3s1_g2_f16", "the filter is 3x1, and it takes 3x3"),
        ("n1c16h9w9_k16r5s5_g2_f16", "the filter is 5x5"),
        ("n1c16h19w19_k16r3s3_stride3_g2_f16", "outputs whose windows share cells are (3, 3) of the window's cells apart, and it takes strides of 1 and 2"),
        ("n1c16h19w19_k16r3s3_stride6_dil2_g2_f16", "(3, 3) of the window's cells apart"),
        ("n1c16h19w19_k16r3s3_stride6_dil3_g2_f16", None),
        ("n1c16h4w99_k16r3s3_stride7_g2_f16", "(1, 7) of the window's cells apart"),
        ("n1c16h4w4_k16r3s3_stride7_g2_f16", None),
        ("n60000000c16h90w90_k16r3s3_g2_f16", "blocks, one a row, are more than a grid's"),
        ("n1c8h3w2147483000_k8r3s3_pad1:1:900:-900_g2_f16", "pass 2^31 - 1"),
    ],
)
def test_what_it_declines(case, sentence):
    reason = KERNEL.declines(parse(case), DEVICES["sm_80"])
    assert reason is None if sentence is None else sentence in reason, reason


def test_a_device_without_tensor_cores_is_told():
    device = dataclasses.replace(DEVICES["sm_80"], name="sm_75", half_flops=0.0)
    assert "lacks mma.sync" in KERNEL.declines(parse("n1c16h9w9_k16r3s3_g2_f16"), device)


def drawn_tiles():
    """Yield every tile that a few hundred problems get."""
    problems = [problem for problem in map(random_grouped, range(300)) if KERNEL.declines(problem, DEVICES["sm_80"]) is None]
    for shape in sorted({grouped_rows.shape_of(problem) for problem in problems}, key=str):
        yield from grouped_rows.tiles_of(shape)


def test_every_launch_fits_every_device():
    """Shared memory and threads within what a block may have, on any device and at any batch; two blocks share a multiprocessor's."""
    most = [parse("n1c56h9w70_k16r3s3_pad1_stride2_g2_f16"), parse("n1c112h9w70_k96r3s3_pad1_stride2_g4_f16")]
    for problem, n in itertools.product([*map(random_grouped, range(150)), *most], (1, 40)):
        problem = dataclasses.replace(problem, n=n)
        if KERNEL.declines(problem, DEVICES["sm_80"]) is None:
            for launch in KERNEL.variants(problem):
                assert launch.shared_bytes <= (52 if problem.c // problem.groups > 24 else 48) * 1024 and launch.shared_bytes % 16 == 0
                assert launch.block[0] in (32, 64, 96, 128) and launch.grid[0] >= 1


def test_numbers_are_those_of_the_kernels_text():
    """Blocks, steps and chunks under way, as grouped_rows.cuh has them."""
    text = (HEADERS / "grouped_rows.cuh").read_text()
    blocks = {name: int(count) for name, count in re.findall(r"using (\w+) = PiecesOfGroup<\d, (\d)>;", text)}
    assert {**blocks, "GroupsOf4": int(re.search(r"struct GroupsOf4.*?kBlocks = (\d);", text, re.DOTALL)[1])} == grouped_rows.BLOCKS
    ahead = re.search(r"kAhead = kStride == 1 \? (\d) : (\d);", text)
    assert {1: int(ahead[1]), 2: int(ahead[2])} == grouped_rows.AHEAD
    threads = int(re.search(r"kGroupedThreads = (\d+);", text)[1])
    assert threads == 32 * grouped_rows.MOST_WARPS
    for tile in drawn_tiles():
        assert registers_of(tile) * threads * grouped_rows.BLOCKS[tile.shape.kind] <= 65536


def places_of(tile):
    """Return the place in a staged row of every (cell, piece): grouped_cell() and grouped_place()."""
    stride = tile.shape.columns.stride
    cell, piece = np.meshgrid(np.arange((tile.columns - 1) * stride + 3), np.arange(tile.cell_pieces), indexing="ij")
    place = cell if stride == 1 else cell % 2 * tile.plane_cells + cell // 2
    return place * tile.cell_pieces + (piece ^ (place >> (3 - tile.bank_bits) & ((1 << tile.bank_bits) - 1)))


def test_each_piece_of_a_cell_has_a_place_of_its_own_in_its_row():
    for tile in drawn_tiles():
        place = places_of(tile)
        assert np.unique(place).size == place.size and place.max() * 16 < tile.row_bytes, tile


def test_the_pixels_of_a_matrix_lie_in_all_banks():
    """8 neighbouring outputs of each tap read 16 bytes of different banks, and so do the pieces that neighbouring threads copy."""
    met = set()
    for tile in drawn_tiles():
        place, stride = places_of(tile), tile.shape.columns.stride
        for tap, piece, first in itertools.product(range(3), range(tile.cell_pieces), range(0, tile.columns, 8)):
            read = place[tap + stride * np.arange(first, first + 8), piece]
            assert np.unique(read % 8).size == 8, tile
        met.add((tile.cell_pieces, stride))
        copied = place[::stride].reshape(-1)  # neighbouring threads copy what follows in a plane
        assert all(np.unique(row).size == 8 for row in copied[: copied.size // 8 * 8].reshape(-1, 8) % 8), tile
    assert {(1, 1), (2, 1), (4, 1), (6, 1), (2, 2), (4, 2)} <= met, met


def test_strips_only_where_multiprocessors_would_idle():
    for case, rows in (("n1c128h56w56_k128r3s3_pad1_g32_f16", 56), ("n64c128h56w56_k128r3s3_pad1_g32_f16", 56)):
        problem = parse(case)
        assert plan_of(problem, DEVICES["simulated"]).strip_rows == rows
    assert plan_of(parse("n1c128h56w56_k128r3s3_pad1_g32_f16"), DEVICES["sm_90"]).strip_rows < 56
    assert plan_of(parse("n64c128h56w56_k128r3s3_pad1_g32_f16"), DEVICES["sm_90"]).strip_rows == 56


#: channels of a group in pieces of 16 and 8 bytes, with both strides
HALVED = ("n1c96h30w45_k96r3s3_pad1_g8_f16", "n1c96h30w45_k96r3s3_pad1_stride2_g8_bf16", "n1c112h28w28_k112r3s3_pad1_g4_f16", "n1c80h15w16_k80r3s3_pad1_g4_f16")


@needs_simulator
def test_halves_of_pieces_come_once_and_leave_by_8_bytes():
    """Sectors of x are asked for once, those of two slabs twice, and those of y two or three times; copies meet in no bank, but where even cells end."""
    for record in traffic.records_of(list(HALVED), kernel="conv_grouped"):
        problem = parse(record["case"])
        least = 2 * (problem.n * problem.h * problem.w * problem.c + problem.k * 9 * 8 * -(-problem.c // problem.groups // 8)) / 32
        assert record["global_read_sectors"] <= 1.45 * least, (record["case"], record["places"])
        assert record["global_write_sectors"] <= 3 * 2 * problem.n * problem.p * problem.q * problem.k / 32, (record["case"], record["places"])
        assert record["main_loop_conflicts"] <= (0.1 if "stride2" in record["case"] else 0), (record["case"], record["places"])
