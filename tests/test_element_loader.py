"""conv_igemm_sm80 with x of any strides: exact on the simulator, and with the bits that pieces of 16 bytes give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulator_runs import LANDINGS

from atrous import testing
from atrous.engines import simulated
from atrous.kernels.base import alignment_of, default_strides
from atrous.kernels.conv_igemm_sm80 import KERNEL
from atrous.problem import parse
from atrous.redzones import FLOAT_POISON, Guarded, memory_for
from atrous.sequence import Bound, scratch_of

#: every padding mode, groups, tails of channels, columns and pixels, cropped and one-sided padding, long filters
CASES = [
    "n2c8h9w8_k33r3s3_pad1_f16",
    "n1c16h12w13_k70r3s2_pad2:1:0:1_stride2x1_dil1x2_bf16",
    "n2c48h9w9_k66r3s3_g3_pad1_f16",
    "n1c8h12w12_k16r5s5_pad2_reflect_f16",
    "n1c16h9w12_k40r5s3_pad2_circular_bf16",
    "n1c24h11w10_k16r3s3_pad4_replicate_dil2_f16",
    "n1c8h20w40_k16r3s32_pad1_f16",
    "n1c136h7w7_k130r1s1_f16",
    "n1c16h7w9_k36r3s3_pad1_f32",
    "n1c12h7w9_k36r3s3_pad1_f32_tf32",
    "n2c32h7w6_k40r3s3_pad1_u8_zp9",
]
#: C/G that ends within a piece, which only Elements take
ODD_CASES = ["n2c3h9w8_k33r3s3_pad1_f16", "n1c13h12w13_k70r3s2_pad2:1:0:1_stride2x1_bf16", "n2c15h9w9_k66r3s3_g3_pad1_f16", "n1c130h5w7_k20r1s1_f16"]
ODD_CASES += ["n1c13h7w6_k20r3s3_pad1_f32", "n1c13h7w6_k20r3s3_pad1_f32_tf32", "n1c21h7w6_k36r3s3_pad2_i8_zp-7", "n1c18h7w6_k9r3s2_u8"]
ODD_CASES += ["n1c33h7w6_k9r3s3_pad-1:0:2:1_f16", "n1c5h12w12_k16r5s5_pad2_reflect_f16"]


def in_layout(case, layout):
    return parse(case + ("_nchw" if layout == "NCHW" else ""))


def run(problem, launch, inputs, schedule=("in-order", 0, "latest"), shift=0):
    """Run a sequence between red zones, on operands that begin so many elements late; return y."""
    memory = memory_for("simulated")
    operands = {name: Guarded(memory, array.shape, array.dtype.name, array, shift) for name, array in inputs.items()}
    operands["y"] = Guarded(memory, problem.y_shape, problem.out_dtype, None, shift)
    operands |= {name: Guarded(memory, (size,), "uint8", poison=FLOAT_POISON) for name, size in scratch_of(launch).items()}
    prepared, slots = Bound(launch, simulated.prepare).whole
    prepared.run(tuple(operands[slot].pointer if slot in operands else 0 for slot in slots), 0, schedule)
    found = {name: operand.fetch() for name, operand in operands.items()}
    assert {stray for _, stray in found.values()} == {None}
    return found["y"][0]


def of_loader(problem, loader, strides=None):
    return [launch for launch in KERNEL.variants(problem, strides) if f" {loader}," in launch.name]


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("case", CASES + ODD_CASES)
def test_whole_numbers_are_exact(case, layout):
    problem = in_layout(case, layout)
    inputs = testing.exact_inputs(problem, 1)
    expected = testing.expected_output(problem, inputs)
    launches = of_loader(problem, "Elements")
    assert launches
    for launch in launches:
        testing.assert_matches(run(problem, launch, inputs), expected, problem)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("case", ODD_CASES[:3])
def test_schedules_and_odd_addresses(case, layout):
    problem = in_layout(case, layout)
    inputs = testing.exact_inputs(problem, 2)
    expected = testing.expected_output(problem, inputs)
    strides = replace(default_strides(problem), alignment=alignment_of(2), weight_alignment=alignment_of(2))
    for number, schedule in enumerate(LANDINGS):
        launch = of_loader(problem, "Elements", strides)[number % 2]
        testing.assert_matches(run(problem, launch, inputs, schedule, shift=1), expected, problem)


@pytest.mark.parametrize("case", CASES)
def test_the_bits_are_those_of_pieces(case):
    """Random numbers, whose sums tell the order of their terms: every loader, tile and layout, and an image in a batch."""
    nhwc, nchw = in_layout(case, "NHWC"), in_layout(case, "NCHW")
    inputs = testing.random_inputs(nhwc, 3)
    turned = {name: np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if name in ("x", "residual") else array for name, array in inputs.items()}
    if nchw.weight_layout != nhwc.weight_layout:
        turned["weight"] = np.ascontiguousarray(inputs["weight"].transpose(["KRSC".index(letter) for letter in nchw.weight_layout]))
    found = {run(nhwc, launch, inputs).tobytes() for launch in KERNEL.variants(nhwc)}
    found |= {run(nchw, launch, turned).transpose(0, 2, 3, 1).tobytes() for launch in KERNEL.variants(nchw)}
    assert of_loader(nhwc, "Pieces")
    assert len(found) == 1
    single = replace_batch(nhwc, 1)
    one = {**inputs, "x": inputs["x"][-1:]}
    alone = {run(single, launch, one).tobytes() for launch in KERNEL.variants(single)}
    assert alone == {np.frombuffer(next(iter(found)), np.uint8)[-len(next(iter(alone))) :].tobytes()}


def replace_batch(problem, n):
    """Return the same convolution of n images."""
    return parse(str(problem).replace(f"n{problem.n}c", f"n{n}c", 1))


def test_the_loader_follows_from_strides_and_alignment():
    problem = parse("n2c16h9w8_k32r3s3_pad1_f16")
    strides = default_strides(problem)
    assert "Pieces" in KERNEL.launch(problem).name
    assert "Elements" in KERNEL.launch(problem, replace(strides, alignment=8)).name
    assert "Elements" in KERNEL.launch(problem, replace(strides, x=(*strides.x[:2], 20, 1))).name
    assert "Elements" in KERNEL.launch(in_layout("n2c16h9w8_k32r3s3_pad1_f16", "NCHW")).name
    assert "Elements" in KERNEL.launch(parse("n2c12h9w8_k32r3s3_pad1_f16")).name
    assert "Pieces" in KERNEL.launch(parse("n2c24h9w8_k33r3s3_g3_pad1_f16")).name
    assert "Elements" in KERNEL.launch(parse("n2c36h9w8_k33r3s3_g3_pad1_f16")).name
