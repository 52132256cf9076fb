"""Convolution of 8-bit integers on tensor cores, on the simulator: every variant to the bit, zero points at both ends, sums that wrap on the way."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from atrous import reference
from atrous.engines import simulated
from atrous.kernels.base import DEVICES
from atrous.kernels.conv_igemm_sm80 import KERNEL
from atrous.problem import parse

pytestmark = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))

SCHEDULES = (("in-order", 0, "latest"), ("random", 1, "random"), ("greedy", 2, "earliest"), ("reverse", 0, "latest"))
RANGES = {"int8": (-128, 127), "uint8": (0, 255)}

#: case -> what it reaches
CASES = {
    "n2c32h7w6_k40r3s3_pad1_i8": "weights as they lie; a rest of pixels and of columns",
    "n2c32h7w6_k40r3s3_pad1_u8": "the same without signs",
    "n2c32h7w6_k40r3s3_pad1_i8_zp-128": "the lowest zero point in the padding",
    "n2c32h7w6_k40r3s3_pad1_i8_zp127": "the highest",
    "n1c16h9w5_k33r3s2_pad2:0:1:3_stride2x1_u8_zp255": "an odd K, a piece a tap, other padding on every side",
    "n1c16h9w5_k33r3s2_pad2:0:1:3_dil2_u8_zp1": "padding between taps",
    "n3c96h4w4_k72r2s2_pad1_g3_i8_zp5": "32 channels a group, whose columns have a rest",
    "n1c64h3w3_k16r5s5_pad4_u8_zp128": "a filter larger than the image",
    "n1c48h2w3_k8r1s1_pad3_u8_zp77": "windows that lie in padding alone",
    "n1c32h6w5_k20r3s3_pad2_reflect_i8_zp-9": "padding that holds cells of x",
    "n1c32h6w5_k20r3s3_pad2_replicate_u8_zp200": "the same at the edges",
    "n1c32h6w5_k20r3s3_pad2_circular_i8_zp100": "the same around the image",
    "n1c32h6w5_k20r3s3_pad-1:1:0:-2_u8_zp3": "padding that crops",
    "n40c16h3w3_k9r1s1_i8_zp11": "several tiles of pixels across images",
    "n1c512h3w3_k24r3s3_pad1_u8_zp99": "72 steps, in segments",
    "n2c32h7w6_k40r3s3_pad1_i8_zp4_outi8_outzp-7_scalef32_biasi32_residual_relu": "requantised",
    "n2c32h7w6_k40r3s3_pad1_u8_zp4_outu8_outzp19_scalef32": "requantised without signs",
    "n2c32h7w6_k40r3s3_pad1_u8_zp4_outf32_scalef32_biasf32_silu": "to floats",
}


def operands_of(problem, seed):
    """Return operands over the whole range of their types, with scales that bring sums near the output's."""
    random = np.random.default_rng(seed)
    low, high = RANGES[problem.dtype]
    draw = lambda shape, low, high, dtype: random.integers(low, high, shape, endpoint=True).astype(dtype)  # noqa: E731
    found = {"x": draw(problem.x_shape, low, high, problem.dtype), "weight": draw(problem.weight_shape, low, high, problem.dtype)}
    if problem.scale:
        found["scale"] = (2.0 ** -random.integers(6, 12, problem.k)).astype(problem.scale)
    if problem.bias:
        found["bias"] = draw(problem.k, -100, 100, problem.bias)
    if problem.residual:
        found["residual"] = draw(problem.y_shape, -30, 30, problem.out_dtype)
    return found


def run(launch, operands, y, schedule):
    """Run a launch and those that pack for it; scratch holds anything at first."""
    memory = {name: np.full(size + 256, 0xA5, np.uint8) for part in launch.sequence for name, size in part.scratch}
    pointers = {name: array.ctypes.data + -array.ctypes.data % 256 for name, array in memory.items()}
    pointers |= {name: array.ctypes.data for name, array in {**operands, "y": y}.items()}
    for part in launch.sequence:
        simulated.prepare(part).run(tuple(pointers.get(name, 0) for name in part.pointers), 0, schedule)


def aligned(array):
    """Return a copy that starts on 256 bytes."""
    memory = np.empty(array.nbytes + 256, np.uint8)
    start = -memory.ctypes.data % 256
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def outputs_of(problem, operands, only=""):
    """Yield the name and the output of every variant, or of those with a word in their name."""
    operands = {name: aligned(array) for name, array in operands.items()}
    for number, launch in enumerate(launch for launch in KERNEL.variants(problem) if only in launch.name):
        y = aligned(np.full(problem.y_shape, 99, problem.out_dtype))
        run(launch, operands, y, SCHEDULES[number % len(SCHEDULES)])
        yield launch.name, y


@pytest.mark.parametrize("case", CASES)
def test_every_variant_is_exact(case):
    problem = parse(case)
    assert KERNEL.declines(problem, DEVICES["sm_80"]) is None
    operands = operands_of(problem, 1)
    expected = reference.conv2d(problem, *(operands.get(name) for name in ("x", "weight", "scale", "bias", "residual")))
    names = set()
    for name, y in outputs_of(problem, operands):
        if problem.out_dtype == "float32":
            np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-30, err_msg=name)
        else:
            assert_array_equal(y, expected, err_msg=name)
        names.add(name)
    assert len(names) >= 4, "every tile"


def test_what_zero_points_leave_at_the_border():
    """x all 0 under a zero point of 255: each real tap adds -255 * 255 in each of 16 channels."""
    problem = parse("n1c16h4w4_k8r3s3_pad1_u8_zp255")
    operands = {"x": np.zeros(problem.x_shape, np.uint8), "weight": np.full(problem.weight_shape, 255, np.uint8)}
    taps = np.outer([2, 3, 3, 2], [2, 3, 3, 2])
    for name, y in outputs_of(problem, operands):
        assert_array_equal(y[0], -255 * 255 * 16 * np.broadcast_to(taps[..., None], (4, 4, 8)), err_msg=name)


def test_an_x_of_zero_points_gives_nothing():
    for zero_point in (-128, 127):
        problem = parse(f"n1c48h5w4_k10r3s3_pad2_i8_zp{zero_point}")
        operands = {**operands_of(problem, 3), "x": np.full(problem.x_shape, zero_point, np.int8)}
        for name, y in outputs_of(problem, operands):
            assert not y.any(), name


@pytest.mark.parametrize(
    ("case", "x", "weight", "total"),
    [
        # 33024 * 255 * 255 is the most that int32 holds of whole pieces
        ("n1c33024h1w1_k8r1s1_u8", 255, 255, 2147385600),
        ("n1c33024h1w1_k8r1s1_u8_zp255", 0, 255, -2147385600),
        # 65792 * 255 * 255 passes 2^31, and even 2^32 - 2^24; 65792 * 127 * 255 does not
        ("n1c65792h1w1_k8r1s1_u8_zp128", 255, 255, 2130673920),
        ("n1c65536h1w1_k8r1s1_i8_zp1", 127, -128, -1056964608),
    ],
)
def test_sums_that_wrap_on_the_way(case, x, weight, total):
    problem = parse(case)
    assert KERNEL.declines(problem, DEVICES["sm_80"]) is None
    operands = {"x": np.full(problem.x_shape, x, problem.dtype), "weight": np.full(problem.weight_shape, weight, problem.dtype)}
    for name, output in outputs_of(problem, operands, only="Tile64x32"):
        assert output.ravel().tolist() == [total] * 8, name


def test_sums_that_may_pass_int32_are_declined():
    for case, most in (
        ("n1c33040h1w1_k8r1s1_u8", 33040 * 65025),
        ("n1c33040h1w1_k8r1s1_u8_zp255", 33040 * 65025),
        ("n1c65808h1w1_k8r1s1_u8_zp128", 65808 * 128 * 255),
    ):
        assert f"can reach {most}, and it adds them in int32" in KERNEL.declines(parse(case), DEVICES["sm_80"])


def test_rows_too_long_when_padded_are_declined():
    # 2^21 - 15 channels are 2^21 in whole pieces, times 32 x 32 taps 2^31
    reason = KERNEL.declines(parse("n1c2097137h32w32_k1r32s32_i8"), DEVICES["sm_80"])
    assert reason is not None and f"are {2**31} elements" in reason
