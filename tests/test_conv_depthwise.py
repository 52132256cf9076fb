"""conv_depthwise and conv_depthwise_planes: their edges in every variant, their bits, their views, and what they decline."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path

import numpy as np
import pytest

import atrous
from atrous import testing, verify
from atrous.engines import simulated
from atrous.kernels import conv_depthwise, conv_depthwise_planes
from atrous.kernels.base import DEVICES
from atrous.problem import parse
from atrous.sampling import random_depthwise

KERNELS = {"": conv_depthwise.KERNEL, "_nchw": conv_depthwise_planes.KERNEL}
needs_simulator = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))

#: case, in both layouts -> what it may trip over
EDGES = {
    "n1c1h1w1_k1r1s1_g1_f16": "one of everything",
    "n2c8h9w9_k8r3s3_pad1_g8_f16_bias_relu": "one piece of channels",
    "n2c72h15w30_k72r3s3_pad1_g72_f16_bias_relu6_scale": "more columns than a strip of threads, slabs",
    "n1c20h8w7_k20r3s3_pad1_g20_f16": "channels that end within a piece",
    "n1c3h8w7_k3r3s3_pad1_g3_f32": "and of float32",
    "n2c16h17w13_k16r3s3_pad1_stride2_g16_bf16": "stride 2, rows that no window holds",
    "n1c16h18w14_k16r5s5_pad2_stride2_g16_f16_silu": "odd rows in even chunks",
    "n1c16h16w15_k16r5s5_pad2_g16_f32_bias": "five ages",
    "n1c24h12w11_k24r7s7_pad3_g24_f16": "seven",
    "n1c8h9w40_k8r7s7_pad3_g8_f32": "four columns a thread",
    "n1c8h3w2_k8r7s7_pad6_g8_bf16": "windows larger than x",
    "n1c8h4w1_k8r3s3_pad9_g8_f16_bias": "windows wholly in padding",
    "n1c16h12w13_k16r3s3_pad0:2:3:1_g16_f16": "four different pads",
    "n1c16h12w13_k16r3s3_pad-2:1:-1:-3_g16_f16": "crops",
    "n1c8h20w21_k8r3s3_pad2_stride5_g8_f16": "rows between windows",
    "n1c8h20w21_k8r2s4_stride5x3_g8_f32": "in one axis",
    "n1c8h20w22_k8r3s3_dil2_pad2_g8_f16": "two phases",
    "n1c8h20w21_k8r3s3_dil3_pad3_stride2_g8_f32": "phases of stride 2",
    "n1c8h20w21_k8r5s5_dil2_pad4_stride2_g8_bf16": "stride and dilation alike",
    "n1c8h19w23_k8r3s3_dil4x2_pad4x2_stride6x1_g8_f16": "six outputs in two phases",
    "n1c8h19w40_k8r3s3_dil9x17_pad9x17_g8_f16": "more phases than outputs a phase",
    "n1c5h9w9_k10r3s3_pad1_g5_f16_bias": "two filters a channel",
    "n2c8h9w9_k24r3s3_pad1_g8_f32": "three",
    "n1c3h9w8_k39r3s2_stride2_g3_bf16": "more than a piece of them",
    "n2c24h9w7_k24r3s3_pad1_g24_f16_residual_bias_outf32": "a wider output with a residual",
    "n1c24h9w7_k24r3s3_pad1_g24_f32_outf16_residual_gelu": "a narrower one",
    "n1c16h9w7_k16r3s3_pad1_g16_bf16_outf64": "and the widest",
    "n1c40h7w7_k40r9s4_pad4x2_g40_f16": "a window that is not square",
    "n1c8h40w9_k8r31s5_pad15x2_g8_f16": "rows in a long ring",
    "n70c16h3w3_k16r3s3_pad1_g16_f16": "many images a block",
    "n1c8h4w40_k8r3s3_pad100000000x1_dil100000000x1_g8_f32": "rows so far away that their offset passes 32 bits",
    "n1c8h5w63_k8r3s3_stride1x31_dil1x7_g8_f16": "a stride between outputs of no phase",
    "n2c2h5w115_k32r5s4_stride1x9_g2_f32": "more filters a channel than a block has planes",
}  # fmt: skip


def prover(kernel):
    return verify.Prover("simulated", kernel=kernel.name)


@needs_simulator
@pytest.mark.parametrize("layout", KERNELS)
@pytest.mark.parametrize("case", EDGES)
@pytest.mark.parametrize("seed", [2, 3], ids=["aligned", "beside"])
def test_edge(case, layout, seed):
    """Every variant, whole numbers to the bit and random ones within the bound; at aligned addresses and one element beside them."""
    found, problem = prover(KERNELS[layout]), parse(case + layout)
    assert KERNELS[layout].declines(problem, DEVICES["simulated"]) is None
    found.prove(problem, seed, schedules=[("random", 5, "random"), ("greedy", 3, "latest")], random_too=True)
    assert not found.ledger.failures, found.ledger.failures[0]
    assert found.ledger.bounded_runs.total() >= 2


@needs_simulator
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("case", ["n1c16h9w12_k16r3s3_pad1_g16_f16", "n1c9h9w12_k9r3s3_dil2_pad2_stride2_g9_f32", "n1c8h9w12_k8r5s3_pad4:2:1:3_g8_f16"])
def test_padding_that_is_not_zeros(case, mode):
    found, problem = prover(KERNELS[""]), parse(f"{case}_{mode}")
    found.prove(problem, 2, schedules=[("random", 5, "random")], random_too=True)
    assert not found.ledger.failures, found.ledger.failures[0]


@needs_simulator
@pytest.mark.parametrize("first", range(0, 240, 80))
def test_random_problems(first):
    ledgers = {kernel.name: prover(kernel) for kernel in KERNELS.values()}
    for seed in range(first, first + 80):
        problem = random_depthwise(seed)
        kernel = KERNELS["" if problem.layout == "NHWC" else "_nchw"]
        if kernel.declines(problem, DEVICES["simulated"]) is None:
            ledgers[kernel.name].prove(problem, seed)
    for found in ledgers.values():
        assert not found.ledger.failures, found.ledger.failures[0]
        assert found.ledger.problems >= 8


def outputs(kernel, problem, inputs):
    """Yield the launch and output of every variant."""
    door = prover(kernel)
    for candidate in door.candidates(problem, 0):
        trial = verify.Trial("simulated", problem, 0, kernel.name, candidate.instance, "whole", ("random", 7, "random"))
        yield candidate.launch, door._outputs(trial, candidate.launch, inputs)["y"]


@needs_simulator
@pytest.mark.parametrize("layout", KERNELS)
@pytest.mark.parametrize(
    "case", ["n2c16h12w13_k16r3s3_pad1_g16_f16", "n2c12h12w13_k12r5s5_g12_f32", "n1c8h12w13_k8r3s3_dil2_stride2_g8_bf16", "n1c4h9w9_k8r3s2_g4_f16"]
)
def test_special_values_reach_exactly_their_windows(case, layout):
    """Sums of an output that does not exist, or not yet, never meet one that does."""
    problem = parse(case + layout)
    for seed, value in enumerate([np.nan, np.inf, -np.inf]):
        inputs = testing.exact_inputs(problem, seed)
        inputs["x"].reshape(-1)[np.random.default_rng(seed).integers(inputs["x"].size)] = value
        expected = testing.expected_output(problem, inputs)
        for _, y in outputs(KERNELS[layout], problem, inputs):
            testing.assert_matches(y, expected, problem)


@needs_simulator
@pytest.mark.parametrize("layout", KERNELS)
@pytest.mark.parametrize("form", ["r3s3_pad1", "r3s3_pad1_stride2", "r5s5_pad2", "r5s5_pad2_stride2", "r7s7_pad3", "r4s3_pad2", "r3s3_pad2_dil2"])
@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
def test_an_infinite_weight_meets_the_zeros_of_padding(layout, form, dtype):
    """0 times infinity is NaN at the edges of the image, as the reference has it."""
    problem = parse(f"n1c16h10w9_k16{form}_g16_{dtype}{layout}")
    inputs = testing.exact_inputs(problem, 1)
    inputs["weight"].reshape(-1)[::149] = np.inf
    expected = testing.expected_output(problem, inputs)
    assert np.isnan(expected).any() and not np.isnan(expected).all()
    for _, y in outputs(KERNELS[layout], problem, inputs):
        testing.assert_matches(y, expected, problem)


@needs_simulator
@pytest.mark.parametrize("layout", KERNELS)
@pytest.mark.parametrize(
    "case", ["c16h30w33_k16r3s3_pad1_g16_f16", "c9h31w14_k9r5s5_pad2_stride2_g9_f32", "c8h40w9_k8r3s3_dil2_pad2_g8_bf16", "c6h60w9_k12r4s3_pad1_g6_f16"]
)
def test_bits_depend_on_neither_strips_nor_blocks_nor_batch(case, layout):
    problem, kernel = parse(f"n5{case}{layout}"), KERNELS[layout]
    inputs = testing.random_inputs(problem, 3)
    launches, found = zip(*outputs(kernel, problem, inputs), strict=True)
    assert len({(launch.grid, launch.parameters) for launch in launches}) >= 2
    for y in found:
        np.testing.assert_array_equal(y.view(np.uint8), found[0].view(np.uint8))
    for image in range(5):
        for _, y in outputs(kernel, parse(f"n1{case}{layout}"), {**inputs, "x": inputs["x"][image : image + 1].copy()}):
            np.testing.assert_array_equal(y[0].view(np.uint8), found[0][image].view(np.uint8))


@needs_simulator
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("stride", [1, 2])
def test_views_and_a_residual_that_is_the_output(layout, stride):
    """x in parts of a larger array, y in a slice of channels or of rows, and the residual in the memory of y."""
    random, kernel = np.random.default_rng(3), {"NHWC": "conv_depthwise", "NCHW": "conv_depthwise_planes"}[layout]
    x = random.integers(-3, 4, (2, 12, 13, 16) if layout == "NHWC" else (2, 16, 12, 13)).astype(np.float16)
    weight = random.integers(-3, 4, (16, 3, 3, 1) if layout == "NHWC" else (16, 1, 3, 3)).astype(np.float16)
    words = dict(padding=1, stride=stride, groups=16, layout=layout, engine="simulated")
    wanted = atrous.conv2d(x, weight, kernel="conv_direct", **words)
    big = np.full(tuple(2 * size + 3 for size in x.shape), np.nan, np.float16)
    for offset, step in itertools.product((0, 1), (1, 2)):
        view = big[tuple(slice(offset, offset + step * size, step) for size in x.shape)]
        view[...] = x
        np.testing.assert_array_equal(atrous.conv2d(view, weight, kernel=kernel, **words), wanted)
    np.testing.assert_array_equal(
        atrous.conv2d(x[:, ::-1], weight, kernel=kernel, **words), atrous.conv2d(x[:, ::-1].copy(), weight, kernel="conv_direct", **words)
    )
    for offset, step in itertools.product((0, 1), (1, 2)):
        room = np.full(tuple(2 * size + 3 for size in wanted.shape), 5, np.float16)
        y = room[tuple(slice(offset, offset + step * size, step) for size in wanted.shape)]
        atrous.conv2d(x, weight, residual=y, out=y, kernel=kernel, **words)
        np.testing.assert_array_equal(y, wanted + np.float16(5))
        y[...] = 5
        assert (room == 5).all(), "a cell beside the output was written"


@needs_simulator
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("gap", [1, 2, 3])
def test_whole_rows_with_gaps_between_images_or_planes(gap, dtype):
    """Rows of x are neighbours, but a piece of 16 bytes that one begins in is not all of x: what lies in the gaps is NaN, and reaches no output."""
    random, words = np.random.default_rng(gap), dict(padding=1, groups=6, layout="NCHW", engine="simulated")
    weight = random.integers(-3, 4, (6, 1, 3, 3)).astype(dtype)
    rooms = [np.full(shape, np.nan, dtype) for shape in ((2, 6 + gap, 7, 7), (2, 6, 7 + gap, 7), (2, 6, 7, 7 + gap))]
    for view in (rooms[0][:, :6], rooms[1][:, :, :7], rooms[2][..., gap:]):
        view[...] = random.integers(-3, 4, view.shape)
        wanted = atrous.conv2d(view.copy(), weight, kernel="conv_direct", **words)
        np.testing.assert_array_equal(atrous.conv2d(view, weight, kernel="conv_depthwise_planes", **words), wanted)


@needs_simulator
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_a_residual_of_other_strides_than_y(layout):
    random, kernel = np.random.default_rng(3), {"NHWC": "conv_depthwise", "NCHW": "conv_depthwise_planes"}[layout]
    shape, filters = ((2, 9, 11, 16), (16, 3, 3, 1)) if layout == "NHWC" else ((2, 16, 9, 11), (16, 1, 3, 3))
    x, weight, residual = (random.integers(-3, 4, size).astype(np.float16) for size in (shape, filters, shape))
    words = dict(padding=1, groups=16, layout=layout, engine="simulated")
    wanted = atrous.conv2d(x, weight, kernel="conv_direct", **words) + residual
    room = np.full(tuple(size + 2 for size in shape), np.nan, np.float16)
    for view in (room[tuple(slice(1, 1 + size) for size in shape)], room[tuple(slice(size) for size in shape)]):
        view[...] = residual
        np.testing.assert_array_equal(atrous.conv2d(x, weight, residual=view, kernel=kernel, **words), wanted)
    y = np.full(room.shape, np.nan, np.float16)[tuple(slice(size) for size in shape)]
    np.testing.assert_array_equal(atrous.conv2d(x, weight, residual=residual, out=y, kernel=kernel, **words), wanted)


@pytest.mark.parametrize("order", ["KRSC", "RSCK", "CSRK", "SKCR"])
@needs_simulator
def test_filters_in_any_order(order):
    problem = parse(f"n1c24h6w7_k24r3s5_pad2_g24_f16_w{order.lower()}")
    found = prover(KERNELS[""])
    found.prove(problem, 2)
    assert not found.ledger.failures and found.ledger.problems == 1


@needs_simulator
def test_empty_batches_launch_nothing():
    x, weight = np.zeros((0, 9, 9, 8), np.float16), np.zeros((8, 3, 3, 1), np.float16)
    assert atrous.conv2d(x, weight, groups=8, engine="simulated").shape == (0, 7, 7, 8)
    assert atrous.conv2d(np.zeros((2, 9, 9, 8), np.float16), weight[:0], groups=8, engine="simulated").shape == (2, 7, 7, 0)


@pytest.mark.parametrize(
    "case, sentence",
    [
        ("n1c8h9w9_k8r3s3_g4_f16", "there are 4 groups of 2 channels, and it takes one channel a group"),
        ("n1c8h9w9_k8r3s3_g8_i8", "x is int8, and it takes float16, bfloat16, float32"),
        ("n1c8h9w9_k8r3s3_g8_f64_nchw", "x is float64"),
        ("n1c8h9w9_k8r3s3_g8_f16_nchw", "the layout is NCHW, which conv_depthwise_planes takes"),
        ("n1c8h999w999_k8r99s99_g8_f16", "rows for windows of 99x99 with stride (1, 1) and their weights pass 98304 bytes"),
        ("n60000c8h9w600_k8r1s1_g8_f16", None),
        ("n60000000c8h9w9000_k8r1s1_g8_f16", "blocks, one a row, are more than a grid's"),
        ("n1c2h3w2147483000_k2r3s3_pad1:1:900:-900_g2_f16", "pass 2^31 - 1"),
        ("n1c8h5w2118_k8r3s3_stride1x701_dil1x7_g8_f16", None),  # a stride between outputs of no phase
    ],
)
def test_what_the_rows_decline(case, sentence):
    reason = KERNELS[""].declines(parse(case), DEVICES["sm_80"])
    assert reason is None if sentence is None else sentence in reason


@pytest.mark.parametrize(
    "case, sentence",
    [
        ("n1c8h9w9_k8r3s3_g4_f16_nchw", "there are 4 groups of 2 channels"),
        ("n1c8h9w9_k8r3s3_g8_f16", "the layout is NHWC, which conv_depthwise takes"),
        ("n1c8h9w9_k8r3s3_pad1_reflect_g8_f16_nchw", "the padding mode is 'reflect', and it takes zeros"),
        ("n1c8h9w9000_k8r3s3_g8_f32_nchw", "3 rows of 9000 cells, dilated by 1, pass 98304 bytes"),
        ("n6000000c80h90w9_k80r3s3_g80_f16_nchw", "blocks, one a row of a plane, are more than a grid's"),
        ("n1c2h3w2500_k4r3s3_pad1_g2_f32_nchw", None),  # the band of one channel fits, those of two do not
    ],
)
def test_what_the_planes_decline(case, sentence):
    reason = KERNELS["_nchw"].declines(parse(case), DEVICES["sm_80"])
    assert reason is None if sentence is None else sentence in reason


#: several filters a channel, with few outputs or bands that fill a slot: fewer planes than filters may belong to more channels
MANY_FILTERS = (
    "n1c2h5w1150_k32r5s40_stride1x9_g2_f32", "n1c3h7w700_k39r5s9_pad2_stride1x5_g3_f32", "n1c5h9w1500_k60r3s3_stride1x7_g5_f16", "n1c2h9w40_k96r3s3_g2_f32"
)  # fmt: skip


@pytest.mark.parametrize("layout", KERNELS)
def test_every_launch_fits_every_device(layout):
    """Shared memory and threads within what a block may have, strips that cover the outputs, on any device and at any batch."""
    problems = [dataclasses.replace(random_depthwise(seed), n=n) for seed, n in itertools.product(range(150), (1, 40))]
    problems += [dataclasses.replace(parse(case), n=n) for case, n in itertools.product(MANY_FILTERS, (1, 2, 30, 500))]
    for problem in problems:
        problem = dataclasses.replace(problem, layout="NCHW" if layout else "NHWC", weight_layout="", padding_mode="zeros")
        if KERNELS[layout].declines(problem, DEVICES["sm_80"]) is not None:
            continue
        for launch in KERNELS[layout].variants(problem):
            assert launch.shared_bytes <= 99 * 1024 and launch.shared_bytes % 16 == 0
            assert launch.block[0] % 32 == 0 and 32 <= launch.block[0] <= 256 and launch.grid[0] >= 1


def test_windows_are_those_of_the_kernels_text():
    """Threads, registers and chunks under way, as depthwise_window.cuh has them."""
    text = (Path(__file__).resolve().parents[1] / "csrc/include/atrous/depthwise_window.cuh").read_text()
    known = re.search(r"kThreads = (\d+), kBlocks = kOfOne;", text)
    ahead = re.search(r"kAhead = kStride == 1 \? (\d) : (\d);", text)
    any_window = re.search(r"kThreads = (\d+), kBlocks = (\d), kAhead = (\d);", text)
    found = {name: tuple(map(int, numbers)) for name, *numbers in re.findall(r"using (\w+) = SquareWindow<(\d), (\d), (\d)>;", text)}
    assert known and ahead and any_window and {(size, stride): name for name, (size, stride, _) in found.items()} == conv_depthwise.KNOWN
    numbers = {name: (int(known[1]), blocks, int(ahead[stride])) for name, (_, stride, blocks) in found.items()}
    numbers["AnyWindow"] = tuple(map(int, any_window.groups()))
    for name, (threads, blocks, under_way) in numbers.items():
        assert conv_depthwise.MOST_THREADS[name] == threads and conv_depthwise.AHEAD[name] == under_way
        assert conv_depthwise.REGISTERS[name] == min(256, 65536 // (blocks * threads) // 8 * 8)


def test_phases_cut_an_axis_into_convolutions_without_dilation():
    """Each output in one phase, and in no two phases a common cell."""
    for outputs_, stride, dilation in itertools.product((1, 2, 7, 12), (1, 2, 3, 4, 6), (1, 2, 3, 4, 9)):
        axis = conv_depthwise.Axis.of(outputs_, stride, dilation)
        cells: dict[int, int] = {}
        met = []
        for phase in range(axis.phases):
            for j, p in enumerate(range(phase, outputs_, axis.apart)):
                met.append(p)
                assert j < axis.outputs
                for tap in range(4):
                    cell = p * stride + tap * dilation
                    assert cell == phase * stride + dilation * (j * axis.stride + tap)
                    assert cells.setdefault(cell, phase) == phase
        assert sorted(met) == list(range(outputs_))


def tiles():
    """Yield every tile that a few hundred problems get."""
    shapes = {conv_depthwise.shape_of(problem) for problem in map(random_depthwise, range(300)) if problem.layout == "NHWC"}
    for shape in sorted(shapes, key=str):
        yield from conv_depthwise.tiles_of(shape)


def test_each_piece_of_a_cell_has_a_place_of_its_own_in_its_row():
    for tile in tiles():
        cell, lane = np.meshgrid(np.arange(tile.cells), np.arange(tile.cell_lanes))
        place = cell // tile.group_cells * tile.group_pieces + cell % tile.group_cells * tile.cell_lanes + lane  # staged_piece()
        assert np.unique(place).size == place.size and place.max() < tile.row_pieces, tile


def test_neighbours_read_128_bytes_of_different_banks():
    """Threads go through the banks 128 bytes at a time: of x each to its own, of weights to as many as there are pieces."""
    met = set()
    for tile in tiles():
        if tile.shape.multiplier > 1:
            continue
        sharing = tile.lanes * tile.shares  # threads that share a cell
        thread = np.arange(sharing * tile.column_lanes)
        part = thread // sharing * tile.group_pieces * tile.shares + thread % sharing  # of 4 channels
        for first in range(0, thread.size, 8 * tile.shares):
            own = part[first : first + 8 * tile.shares]
            assert np.unique(own % (8 * tile.shares)).size == own.size, tile
        for first in range(0, thread.size, 8):
            read = np.unique(thread[first : first + 8] % sharing)
            assert np.unique(read % 8).size == read.size, tile
        met.add(tile.lanes)
    assert {1, 3, 4, 8, 12} <= met, met
