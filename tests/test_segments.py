"""Segments of gemm_k: every tile, segments together or apart, gives the same bits, so that an image has the same bits alone and in a batch."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from simulator_runs import SCHEDULES

from atrous import testing
from atrous.engines import simulated
from atrous.kernels.base import DEVICES
from atrous.kernels.conv_igemm_sm80 import KERNEL, LOADERS, MOST_WORKSPACE, splits
from atrous.kernels.finish_splits import PARTIAL_SUMS
from atrous.kernels.gemm_cost import SEGMENT_TILES, TILES, segments_of
from atrous.kernels.mma_types import POLICIES
from atrous.kernels.parameters import BYTES, GemmArguments
from atrous.problem import parse
from atrous.redzones import FLOAT_POISON, Guarded, memory_for
from atrous.sequence import Bound, scratch_of

#: dtype -> the words of a case of that arithmetic
WORDS = {"float16": "f16", "bfloat16": "bf16", "float32": "f32", "int8": "i8_outi8_scalef32_zp3", "uint8": "u8_outi32"}
RANDOM = 15


def run(problem, launch, inputs, schedule=("in-order", 0, "latest")):
    """Run a launch with those before and after it, between red zones, scratch full of NaN; return y."""
    memory = memory_for("simulated")
    operands = {name: Guarded(memory, array.shape, array.dtype.name, array) for name, array in inputs.items()}
    operands["y"] = Guarded(memory, problem.y_shape, problem.out_dtype)
    operands |= {name: Guarded(memory, (size,), "uint8", poison=FLOAT_POISON) for name, size in scratch_of(launch).items()}
    prepared, slots = Bound(launch, simulated.prepare).whole
    prepared.run(tuple(operands[slot].pointer if slot in operands else 0 for slot in slots), 0, schedule)
    found = {name: operand.fetch() for name, operand in operands.items()}
    assert {stray for _, stray in found.values()} == {None}
    return found["y"][0]


def bits(y):
    return np.ascontiguousarray(y).view(np.uint8)


def drawn(seed):
    """Return a random convolution that this family takes and cuts."""
    random = np.random.default_rng([seed, 91])
    while True:
        problem = testing.random_problem(int(random.integers(2**31)), "conv")
        in_pieces = problem.layout == "NHWC" and problem.c // problem.groups * BYTES[problem.dtype] % 16 == 0
        if in_pieces and KERNEL.declines(problem, DEVICES["simulated"]) is None and segments_of(problem) > 1:
            return problem


@pytest.mark.parametrize("dtype", POLICIES)
def test_an_image_alone_and_split_and_in_a_batch_of_64_not_split_has_the_same_bits(dtype):
    channels = 256 // BYTES[dtype]
    of = lambda n: parse(f"n{n}c{channels}h4w5_k24r3s3_pad1_{WORDS[dtype]}")  # noqa: E731
    alone, batch = of(1), of(64)
    device = dataclasses.replace(DEVICES["sm_80"], multiprocessors=4)  # of which 64 images fill every one
    one, many = KERNEL.launch(alone, device=device), KERNEL.launch(batch, device=device)
    assert one.after and not many.after, "split alone, not in the batch"
    inputs = testing.random_inputs(batch, 17)
    together = run(batch, many, inputs)
    assert len(np.unique(bits(together).reshape(64, -1), axis=0)) == 64, "images that differ"
    for image in (0, 1, 31, 63):
        mine = {name: array[image : image + 1] if name in ("x", "residual") else array for name, array in inputs.items()}
        np.testing.assert_array_equal(bits(run(alone, one, mine))[0], bits(together)[image])


@pytest.mark.parametrize("seed", range(RANDOM))
def test_every_tile_with_segments_together_or_apart_gives_the_same_bits(seed):
    problem = drawn(seed)
    inputs = testing.random_inputs(problem, seed)
    launches = list(KERNEL.variants(problem))
    assert {bool(launch.after) for launch in launches} == {False, True}
    first = run(problem, launches[0], inputs)
    for number, launch in enumerate(launches[1:]):
        schedule = (*SCHEDULES[(seed + number) % len(SCHEDULES)], "latest")
        np.testing.assert_array_equal(bits(run(problem, launch, inputs, schedule)), bits(first), err_msg=f"{problem}: {launch.names}")


@pytest.mark.parametrize("case", ["n3c128h7w8_k136r3s3_pad1_f16_bias_relu", "n3c256h9w8_k200r3s3_pad2_g2_stride1x2_bf16_residual"])
def test_large_tiles_that_sum_segments_give_the_bits_of_the_others(case):
    """With both loaders, more than one block each way, and tails of pixels and columns."""
    problem = parse(case)
    assert segments_of(problem) > 1 and problem.n * problem.p * problem.q > 128
    inputs = testing.random_inputs(problem, 41)
    launches = {launch.name.partition("Mma, ")[2].rstrip(">"): launch for launch in KERNEL.variants(problem) if not launch.after}
    assert set(launches) == {f"{loader}, {tile}" for loader in LOADERS for tile in (*SEGMENT_TILES, "Tile64x64", "Tile64x32")}
    expected = run(problem, launches["Pieces, Tile64x32"], inputs)
    for number, (name, launch) in enumerate(launches.items()):
        schedule = (*SCHEDULES[number % len(SCHEDULES)], "latest")
        np.testing.assert_array_equal(bits(run(problem, launch, inputs, schedule)), bits(expected), err_msg=name)


@pytest.mark.parametrize("dtype", WORDS)
def test_segment_tiles_are_for_whole_launches_of_16_bits(dtype):
    for case in (f"n2c256h4w5_k24r3s3_pad1_{WORDS[dtype]}", f"n2c16h4w5_k24r3s3_pad1_{WORDS[dtype]}"):
        problem = parse(case)
        whole = {launch.name.rpartition(" ")[2].rstrip(">") for launch in KERNEL.variants(problem) if not launch.after}
        apart = {launch.name.rpartition(" ")[2].rstrip(">") for launch in KERNEL.variants(problem) if launch.after}
        assert (set(SEGMENT_TILES) <= whole) == (BYTES[dtype] == 2 and segments_of(problem) > 1)
        assert not set(SEGMENT_TILES) & (apart | (whole if BYTES[dtype] != 2 else set())) and apart in (set(), set(TILES))


@pytest.mark.parametrize("seed", range(RANDOM))
def test_whole_numbers_are_exact_with_segments_apart(seed):
    problem = drawn(1000 + seed)
    inputs = testing.exact_inputs(problem, seed)
    expected = testing.expected_output(problem, inputs)
    bound = None if testing.is_exact(problem) else testing.tolerance(problem, inputs)
    for launch in KERNEL.variants(problem):
        if launch.after:
            testing.assert_matches(run(problem, launch, inputs), expected, problem, bound)


def test_segments_show_in_the_bits():
    """A sum in one piece rounds elsewhere: were the segments of one launch other than those of another, the tests above would tell."""
    problem = parse("n1c256h4w5_k40r3s3_pad1_f16_outf32")
    launch = next(iter(KERNEL.variants(problem)))
    inputs = testing.random_inputs(problem, 3)
    whole = GemmArguments.from_buffer_copy(launch.parameters)
    whole.segment_steps = 10_000
    other = run(problem, dataclasses.replace(launch, parameters=bytes(whole)), inputs)
    assert (other != run(problem, launch, inputs)).any()


@pytest.mark.parametrize("n", [1, 20, 400, 4000])
def test_the_workspace_is_bounded_by_64_mebibytes_or_the_output(n):
    problem = parse(f"n{n}c512h7w7_k512r3s3_pad1_f16")
    assert segments_of(problem) > 1
    apart = [launch for launch in KERNEL.variants(problem) if launch.after]
    assert bool(apart) == splits(problem) == (n <= 400 and n * 49 * 512 * 4 * segments_of(problem) <= 64 * 2**20)
    most = max(MOST_WORKSPACE, math.prod(problem.y_shape) * 2)
    for launch in apart:
        assert dict(launch.scratch)[PARTIAL_SUMS] <= most
    assert not KERNEL.launch(problem, device=DEVICES["sm_80"]).after or splits(problem)
