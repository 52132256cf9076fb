"""conv_first: its halos by brute force, its edges in every tile, what it declines, and which layers choose it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from atrous import choose, testing, verify
from atrous.engines import simulated
from atrous.kernels import conv_first
from atrous.kernels.base import DEVICES
from atrous.kernels.first_patch import MOST_HALO_BYTES, chunk_channels, chunks, dilation_of, halo_of, patch_of, run_pieces
from atrous.problem import parse
from cases import FOLDER, read_cases

KERNEL = conv_first.KERNEL
#: of the tensor-core family, whose first layers these are
ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90")

needs_simulator = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))

WINDOWS = (
    "n1c3h40w40_k8r3s3_pad1_f16", "n1c1h40w40_k8r5s2_stride3x4_f16", "n1c5h40w40_k8r3s3_dil2x3_pad2_i8", "n1c3h60w60_k8r3s3_dil12_pad12_bf16",
    "n1c7h60w60_k8r2s4_dil9x5_stride2x3_f16", "n1c2h60w60_k8r3s3_dil40x30_pad40_f32_tf32", "n1c3h70w70_k8r7s7_dil1x2_stride2_f16", "n1c1h9w9_k1r1s1_dil5_f16",
)  # fmt: skip


@pytest.mark.parametrize("case", WINDOWS)
@pytest.mark.parametrize("patch", [(1, 1), (1, 9), (9, 1), (4, 8), (8, 16)])
def test_every_cell_of_a_halo_has_one_place_and_every_tap_finds_it(case, patch):
    """The places that the kernel computes, against a dictionary of all cells that the patch's windows hold."""
    problem = parse(case)
    rows, columns = min(patch[0], problem.p), min(patch[1], problem.q)
    channels, size = chunk_channels(problem), conv_first.BYTES[problem.dtype]
    halo, (dilation_h, dilation_w) = halo_of(problem, rows, columns, channels), dilation_of(problem)
    places: dict[int, tuple[int, int, int]] = {}
    for row, column, r, s in itertools.product(range(rows), range(columns), range(problem.r), range(problem.s)):
        cell = column * problem.stride[1]
        start = row * problem.stride[0] * halo.row_bytes + (cell % dilation_w * halo.phase_columns + cell // dilation_w) * channels * size
        assert start % 4 * (not conv_first.begins_within_words(problem, channels)) == 0, "a pixel that begins within a word"
        start += r * halo.tap_rows * halo.row_bytes
        for channel in range(channels):
            place = start + (s * channels + channel) * size
            wanted = (row * problem.stride[0] + r * dilation_h, cell + s * dilation_w, channel)
            assert places.setdefault(place, wanted) == wanted, "two cells in one place"
            assert place // halo.row_bytes < halo.rows and wanted[1] < halo.columns
        # the furthest that a lane reads: the last word of the last piece, and the one behind it
        assert start + run_pieces(problem, channels) * 16 + 4 <= halo.bytes
    assert len(set(places.values())) == len(places), "a cell in two places"


@pytest.mark.parametrize("case", WINDOWS)
def test_patches_cover_an_image_and_fit(case):
    problem = parse(case)
    for pixels in (64, 128):
        rows, columns = patch_of(problem, pixels, chunk_channels(problem))
        assert 1 <= rows * columns <= pixels and rows <= problem.p and columns <= problem.q
        assert halo_of(problem, rows, columns, chunk_channels(problem)).bytes <= MOST_HALO_BYTES


@pytest.mark.parametrize("dtype, word", [("f16", 2), ("i8", 4), ("f32_tf32", 1)])
def test_chunks_cover_the_channels_and_know_no_image(dtype, word):
    for c, (r, s) in itertools.product((1, 2, 3, 5, 7, 9, 15, 33, 63, 100, 515), ((1, 1), (3, 3), (7, 7), (5, 31))):
        found = {chunk_channels(parse(f"n{n}c{c}h{h}w{h}_k8r{r}s{s}_pad15_{dtype}")) for n, h in ((1, 33), (7, 90))}
        (channels,) = found
        problem = parse(f"n1c{c}h33w33_k8r{r}s{s}_pad15_{dtype}")
        count = chunks(problem, channels)
        assert (count - 1) * channels < c <= count * channels, "a chunk without channels, or channels without a chunk"
        assert channels == c or channels % word == 0


#: case -> what it may trip over
EDGES = {
    "n1c1h1w1_k1r1s1_f16": "one of everything",
    "n2c3h23w29_k64r7s7_pad3_stride2_f16_bias_relu": "the first layer of many a net, small",
    "n2c3h23w29_k65r7s7_pad3_stride2_f16_nchw_bias": "channels first, a column beyond the tile",
    "n1c3h14w15_k33r3s3_pad1_f16": "pixels that begin within a word",
    "n1c3h14w15_k33r3s3_pad1_i8_zp-128": "at each of its bytes",
    "n1c1h19w18_k31r5s5_pad2_u8_zp255_stride3x1": "and a zero point",
    "n1c2h9w131_k8r2s3_stride1x4_bf16": "a patch of one row",
    "n1c2h131w3_k8r2s3_bf16": "and of one column",
    "n3c4h9w9_k24r3s3_f16_nchw_residual": "images apart",
    "n1c4h9w9_k8r3s4_f16": "weights that lie in such rows already",
    "n1c5h9w9_k130r3s3_pad1_bf16": "three tiles of columns",
    "n1c7h9w10_k8r4s3_pad-1:2:3:-2_f16_nchw": "crops and pads",
    "n1c9h9w9_k8r3s3_pad1_reflect_f16": "reflected",
    "n1c11h9w9_k8r3s3_pad3_replicate_stride2_i8_zp7": "replicated",
    "n1c17h7w9_k8r3s3_pad3:2:4:1_circular_u8_zp9": "wrapped around",
    "n1c33h8w9_k70r3s3_pad1_f16": "a channel that does not count, and weights that go round",
    "n2c100h8w9_k33r3s3_pad1_f16_nchw": "two chunks",
    "n1c103h6w6_k9r3s3_pad1_i8_zp3": "chunks of bytes, the last one short",
    "n1c515h4w5_k9r3s2_f16": "many chunks",
    "n1c3h40w41_k10r3s3_dil14x9_pad9_bf16": "rows and columns between taps that no window holds",
    "n1c3h40w41_k10r2s3_dil3x2_stride2x3_f16_nchw": "columns in phases",
    "n1c3h20w21_k10r2s3_dil2_stride2_f16": "even strides, odd places in a phase",
    "n1c3h40w40_k16r9s9_stride4_f32_tf32": "words of one element",
    "n1c3h17w17_k8r6s6_pad2_f32_bias": "three products, 108 of gemm_k",
    "n1c13h12w12_k40r3s3_pad1_f32_nchw": "and 117",
    "n1c1h40w41_k3r40s40_f16": "1600 taps",
    "n70c1h2w2_k3r2s2_f16": "a pixel an image",
    "n1c3h6w6_k9r3s3_pad5_f16_silu": "windows wholly in padding",
}


def prover():
    return verify.Prover("simulated", kernel="conv_first")


@needs_simulator
@pytest.mark.parametrize("case", EDGES)
def test_edge(case):
    """Every tile and number of blocks, whole numbers to the bit and random ones within the bound, in three orders."""
    found = prover()
    found.prove(parse(case), 2, schedules=[("in-order", 0, "latest"), ("random", 5, "random"), ("greedy", 3, "earliest")], random_too=True)
    assert not found.ledger.failures, found.ledger.failures[0]
    assert found.ledger.exact_runs.total() + found.ledger.bounded_runs.total() >= 6


def outputs(problem, inputs):
    """Yield the output of every variant."""
    door = prover()
    for candidate in door.candidates(problem, 0):
        trial = verify.Trial("simulated", problem, 0, "conv_first", candidate.instance, "whole", ("random", 7, "random"))
        yield candidate.launch, door._outputs(trial, candidate.launch, inputs)["y"]


@needs_simulator
@pytest.mark.parametrize("layout", ["", "_nchw"])
@pytest.mark.parametrize(
    "case",
    ["n2c3h12w13_k9r3s3_f16", "n2c5h8w9_k33r3s4_pad1_bf16", "n2c3h12w13_k9r7s5_pad2_stride2_f32", "n1c1h12w9_k8r3s3_dil2_pad2_f16", "n1c37h6w6_k8r2s3_f16"],
)
def test_special_values_reach_exactly_their_windows(case, layout):
    """The cells past a run's end belong to other pixels, and rows past the last to nobody."""
    problem = parse(case + layout)
    for seed, value in enumerate([np.nan, np.inf, -np.inf] * 3):
        inputs = testing.exact_inputs(problem, seed)
        inputs["x"].reshape(-1)[np.random.default_rng(seed).integers(inputs["x"].size)] = value
        expected = testing.expected_output(problem, inputs)
        for _, y in outputs(problem, inputs):
            testing.assert_matches(y, expected, problem)


@needs_simulator
@pytest.mark.parametrize("case", ["c3h15w17_k70r7s7_pad3_stride2_f16", "c5h9w9_k33r3s3_pad1_bf16_nchw", "c100h6w7_k9r3s3_f16", "c13h9w9_k70r3s3_pad1_f32"])
def test_bits_depend_on_neither_patch_nor_tile_nor_batch(case):
    problem = parse(f"n5{case}")
    inputs = testing.random_inputs(problem, 3)
    launches, found = zip(*outputs(problem, inputs), strict=True)
    assert len({launch.name for launch in launches}) >= 2
    for y in found:
        np.testing.assert_array_equal(y.view(np.uint8), found[0].view(np.uint8))
    for image in range(5):
        for _, y in outputs(parse(f"n1{case}"), {**inputs, "x": inputs["x"][image : image + 1].copy()}):
            np.testing.assert_array_equal(y[0].view(np.uint8), found[0][image].view(np.uint8))


@pytest.mark.parametrize(
    "case, sentence",
    [
        ("n1c3h9w9_k8r3s3_f64", "x is float64, and tensor cores take float16"),
        ("n1c3h99w99_k8r7s7_f32_strict", "the precision is 'strict', and tensor cores round"),
        ("n1c3h9w9_k8r3s3_f32", "gemm_k is 27, and below 96 three products of tf32 lose more than sequential float32"),
        ("n1c6h9w9_k8r3s3_g2_f16", "there are 2 groups, and it takes 1"),
        ("n1c64h9w9_k8r3s3_f16", "C = 64 fills whole pieces of 16 bytes"),
        ("n1c3h9w9999_k8r1s3_dil3000_f16", "a window spans 6001 columns"),
        ("n1c1h9999w9999_k8r90s90_stride90_f16", "pass 65536 bytes of shared memory with one channel"),
        ("n1c33027h1w1_k1r1s1_u8", "a sum of 33027 products of uint8 can reach"),
    ],
)
def test_what_it_declines(case, sentence):
    assert sentence in KERNEL.declines(parse(case), DEVICES["sm_80"])


FIRST = [("resnet50", "conv1"), ("vgg16", "conv1_1"), ("googlenet", "conv1"), ("deeplabv3_r50_os8", "conv1")]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("net, layer", FIRST)
def test_first_layers_choose_it(net, layer, architecture):
    (text,) = (case.text for case in read_cases(FOLDER / f"{net}.txt") if case.name == f"{net}/{layer}")
    for dtype, layout in itertools.product(("f16", "bf16"), ("", "_nchw")):
        found = choose.choose(parse(text.replace("_f16", f"_{dtype}") + layout), DEVICES[architecture])
        assert found.name == "conv_first", (dtype, layout)
