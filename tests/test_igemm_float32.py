"""float32 on tensor cores: to the bit by a NumPy model of splits and promotions, wide whole numbers, infinities, NaN, what is declined."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from atrous import testing
from atrous.engines import simulated
from atrous.kernels import conv_igemm_sm80, gemm_cost
from atrous.kernels.base import DEVICES
from atrous.problem import parse

pytestmark = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))

KERNEL = conv_igemm_sm80.KERNEL
DEVICE = DEVICES["sm_80"]
SLICE = 8  # of gemm_k, summed from 0 and then added in float32


def aligned(array):
    """Return a copy that starts on 256 bytes."""
    memory = np.full(array.nbytes + 256, 0xFF, np.uint8)
    start = -memory.ctypes.data % 256
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def run(launch, problem, inputs):
    """Return what a launch, with those that come with it, makes of the operands."""
    arrays = {name: aligned(array) for name, array in inputs.items()}
    arrays["y"] = aligned(np.full(problem.y_shape, np.nan, np.float32))
    for part in launch.sequence:
        arrays |= {name: aligned(np.full(size, 0xFF, np.uint8)) for name, size in part.scratch if name not in arrays}
    for part in launch.sequence:
        simulated.prepare(part).run(tuple(arrays[name].ctypes.data if name in arrays else 0 for name in part.pointers), 0)
    return arrays["y"].copy()


def nearest(x):
    """Return x to 11 significant bits, halves away from zero."""
    unit = np.ldexp(1.0, np.frexp(x)[1] - 11)
    return np.trunc(x / unit + np.copysign(0.5, x)) * unit


def cut(x):
    return (x.astype(np.float32).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)


def windows(problem, x):
    """Return [outputs, gemm_k] of NHWC x in the order (r, s, c)."""
    top, bottom, left, right = problem.pads
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0))).astype(np.float64)
    rows = [
        padded[n, p * problem.stride[0] :][: problem.r, q * problem.stride[1] :][:, : problem.s].ravel()
        for n in range(problem.n) for p in range(problem.p) for q in range(problem.q)
    ]  # fmt: skip
    return np.stack(rows)


def multiplied(start, x, weight):
    """Return what the simulator's mma makes of one slice: exact products, added in ascending order, rounded to float32 once."""
    total = start.astype(np.float64)
    for k in range(x.shape[1]):
        total = total + x[:, k, None] * weight[None, :, k]
    return total.astype(np.float32)


def expected_bits(problem, inputs, products):
    """Return y as 1 or 3 products of parts make it, slice by slice, segment by segment."""
    x, weight = windows(problem, inputs["x"]), inputs["weight"].reshape(problem.k, -1).astype(np.float64)
    x_parts = nearest(x), cut(x - nearest(x))
    weight_parts = nearest(weight), nearest(weight - nearest(weight))
    depth = x.shape[1]
    segment = 16 * gemm_cost.segment_steps(gemm_cost.segments_of(problem), -(-depth // 16))
    total = np.zeros((len(x), problem.k), np.float32)
    for begin in range(0, depth, segment):
        part = np.zeros_like(total)
        for k in range(begin, min(depth, begin + segment), SLICE):
            piece = slice(k, min(k + SLICE, begin + segment))
            if products == 1:
                part = multiplied(part, x_parts[0][:, piece], weight_parts[0][:, piece])
                continue
            small = np.zeros_like(total)
            for a, b in ((1, 0), (0, 1), (0, 0)):
                small = multiplied(small, x_parts[a][:, piece], weight_parts[b][:, piece])
            part = part + small
        total = total + part
    return total.reshape(problem.y_shape)


@pytest.mark.parametrize("precision", ["float32", "tf32"])
@pytest.mark.parametrize(
    "case",
    [
        "n1c96h5w7_k40r1s1_f32",
        "n2c12h9w8_k33r3s3_pad1_stride2_f32",
        "n1c100h6w6_k72r1s1_f32",
        "n1c20h70w3_k130r2s3_pad1:0:2:1_f32",
        "n1c512h3w3_k24r3s3_pad1_f32",  # several segments
    ],
)
def test_bits_are_those_of_promoted_slices_in_every_variant(case, precision):
    problem = dataclasses.replace(parse(case), precision=precision)
    inputs = testing.random_inputs(problem, 3)
    wanted = expected_bits(problem, inputs, 3 if precision == "float32" else 1)
    names = set()
    for launch in KERNEL.variants(problem):
        names.add(launch.name)
        np.testing.assert_array_equal(run(launch, problem, inputs), wanted, err_msg=launch.name)
    assert len(names) >= 2
    bound = testing.tolerance(problem, inputs)
    assert testing.assert_matches(wanted, testing.expected_output(problem, inputs), problem, bound) < 1


def test_segments_occur_among_the_cases():
    assert gemm_cost.segments_of(parse("n1c512h3w3_k24r3s3_pad1_f32")) > 1


@pytest.mark.parametrize("wide", ["x", "weight"])
def test_whole_numbers_of_19_bits_are_exact(wide):
    """They need both parts of one operand; sums of 100 products stay below 2^24, so that no rounding is right."""
    problem = parse("n1c100h5w5_k40r1s1_f32")
    random = np.random.default_rng(4)
    inputs = {"x": random.integers(-1, 2, problem.x_shape), "weight": random.integers(-1, 2, problem.weight_shape)}
    inputs[wide] = random.integers(-(2**17), 2**17, inputs[wide].shape)
    inputs = {name: array.astype(np.float32) for name, array in inputs.items()}
    wanted = inputs["x"].reshape(25, 100).astype(np.int64) @ inputs["weight"].reshape(40, 100).astype(np.int64).T
    assert (np.abs(inputs[wide]) > 2**12).mean() > 0.9
    for launch in KERNEL.variants(problem):
        np.testing.assert_array_equal(run(launch, problem, inputs).reshape(25, 40), wanted, err_msg=launch.name)


LARGEST = float(np.finfo(np.float32).max)
NEARLY = float(np.array(0x7F7FF000, np.uint32).view(np.float32))  # rounds to an infinity in tf32
#: x at one place and the weight that meets it
SPECIALS = [
    (np.inf, 1.0), (-np.inf, 1.0), (np.inf, -5000.7), (-np.inf, 1e30), (np.inf, 0.0), (np.nan, 1.0), (np.nan, 0.0), (1.0, np.inf), (1.0, -np.inf),
    (-5000.7, np.inf), (3e35, np.inf), (0.0, np.inf), (1.0, np.nan), (0.0, np.nan), (np.inf, np.inf), (np.inf, -np.inf), (np.inf, np.nan), (np.nan, np.inf),
    (LARGEST, 0.5), (-LARGEST, 0.75), (NEARLY, 0.5), (0.5, LARGEST), (0.25, -NEARLY), (2.0**-100, 2.0**-5), (np.inf, 1e-38), (np.inf, 1e-45),
]  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "tf32"])
@pytest.mark.parametrize(("x", "weight"), SPECIALS)
def test_infinities_and_nan_reach_exactly_the_windows_that_hold_them(x, weight, precision):
    problem = dataclasses.replace(parse("n1c12h6w7_k16r3s3_f32"), precision=precision)
    inputs = testing.exact_inputs(problem, 5)
    inputs["weight"][inputs["weight"] == 0] = 1
    inputs = {name: array / np.float32(16) for name, array in inputs.items()}  # so that nothing finite overflows
    inputs["x"][0, 2, 3, 5] = x
    inputs["weight"][7, 1, 1, 5] = weight
    with np.errstate(invalid="ignore", over="ignore"):
        wanted = testing.expected_output(problem, inputs).astype(np.float64)
    if precision == "tf32" and 0 < abs(weight) < 2.0**-137:
        wanted[0, 1, 2, 7] = np.nan  # such a weight is 0 in tf32
    bound = testing.tolerance(problem, inputs)
    for launch in KERNEL.variants(problem):
        y = run(launch, problem, inputs).astype(np.float64)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted), err_msg=launch.name)
        np.testing.assert_array_equal(y[np.isinf(wanted)], wanted[np.isinf(wanted)], err_msg=launch.name)
        usual = np.isfinite(wanted)
        assert (np.abs(y[usual] - wanted[usual]) <= bound[usual]).all(), launch.name


def test_operands_below_the_range_of_their_low_parts_lose_at_most_what_the_page_says():
    problem = parse("n1c96h4w4_k16r1s1_f32")
    random = np.random.default_rng(8)
    inputs = {"x": random.normal(0, 2.0**-125, problem.x_shape).astype(np.float32), "weight": random.normal(0, 1, problem.weight_shape).astype(np.float32)}
    wanted = testing.expected_output(problem, inputs).astype(np.float64)
    lost = 2.0**-136 * np.abs(inputs["weight"].astype(np.float64)).reshape(16, 96).sum(axis=1)
    usual = 96 * 2.0**-24 * (np.abs(inputs["x"].astype(np.float64)).reshape(16, 96) @ np.abs(inputs["weight"].astype(np.float64)).reshape(16, 96).T)
    y = run(KERNEL.launch(problem), problem, inputs).astype(np.float64)
    assert (np.abs(y - wanted).reshape(16, 16) <= lost + usual).all()


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("n1c96h5w7_k40r1s1_f32_strict", "strict"),
        ("n1c64h56w56_k256r1s1_f32", "96"),
        ("n1c3h224w224_k64r3s3_pad1_f32", "27"),
        ("n1c96h5w7_k40r1s1_f32", None),
        ("n1c64h56w56_k256r1s1_f32_tf32", None),
    ],
)
def test_float32_is_declined_where_it_would_not_be_float32(case, said):
    reason = KERNEL.declines(parse(case), DEVICE)
    assert reason is None if said is None else said in reason
