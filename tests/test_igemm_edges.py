"""The edges of conv_igemm_sm80: sizes near 2^31, odd memory, what is not finite, what does not fit; every variant and the public functions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulator_runs import LANDINGS

import atrous
from atrous import testing
from atrous.engines import simulated
from atrous.kernels.base import DEVICES, default_strides
from atrous.kernels.conv_igemm_sm80 import KERNEL
from atrous.kernels.gemm_cost import segments_of
from atrous.problem import parse
from atrous.redzones import FLOAT_POISON, Guarded, memory_for
from atrous.reference.store import numpy_dtype
from atrous.sequence import Bound, scratch_of

pytestmark = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))

NAMED = {"engine": "simulated", "kernel": "conv_igemm_sm80"}
#: of geometry that no array of real size has, and of few outputs
GEOMETRIES = [
    f"n1c8h5w4_k9r2s1_pad{2**31 - 10}:0:0:0_dil{2**31 - 10}x1_f16",  # the first tap lies 2^31 - 10 cells above the image
    f"n2c8h4w5_k9r1s2_pad0:0:0:{2**31 - 10}_dil1x{2**31 - 10}_bf16",
    f"n1c16h5w4_k9r2s2_pad{2**30}:0:{2**30}:0_stride{2**30}_u8_zp255",  # the second window starts on the image
    f"n1c16h5w4_k9r2s2_pad{2**30}:0:{2**30}:0_stride{2**30}_dil2_i8_zp-128",
    f"n1c8h3w3_k9r2s2_pad{2**30}:{2**30 - 8}:7:0_stride{2**28}x3_dil{2**30}x4_replicate_f16",
    f"n1c8h{2**20}w1_k3r1s1_pad-{2**20 - 3}:0:0:0_f16",  # all but 3 rows are cropped
    "n1c8h5w5_k9r3s3_pad4:4:3:4_dil4x5_reflect_f16",
    "n2c8h5w4_k9r3s3_pad5:5:4:3_dil7x5_circular_bf16",
    "n1c13h5w4_k9r3s3_pad5:5:4:3_dil7x5_circular_f16",
]
CASES = [
    "n2c8h40w3_k5r32s1_pad7_f16",
    "n1c8h3w33_k5r2s32_pad1:0:30:1_bf16",
    "n1c8h32w33_k9r32s32_f16",
    "n2c3h33w32_k7r32s32_pad1_reflect_f16",
    "n3c16h9w7_k1r3s3_pad1_f16_nchw",
    "n3c16h9w7_k1r3s3_pad1_i8_zp7",
    "n3c16h9w7_k6r3s3_g2_pad1_u8_zp255_outu8_outzp255_scalef32_biasi32",
    "n3c18h9w7_k6r3s3_g6_pad1_i8_zp-128_outi8_outzp-128_scalef32_nchw",
    "n2c40h3w3_k35r3s3_g5_pad1_f16_bias_residual_relu",
    "n1c1h9w7_k3r10s10_pad4_f32",
    "n1c128h3w3_k35r3s3_pad1_bf16_residual",
    "n1c129h3w3_k35r3s3_pad1_f16_nchw_scale",
    "n1c512h3w3_k33r3s3_pad1_i8_zp-9",
]


def real_of(array):
    return array.astype(np.float64)


def cell(mode, at, extent):
    """Return where padded coordinates are read, and whether there is a cell."""
    inside = (at >= 0) & (at < extent)
    if mode == "zeros":
        return np.where(inside, at, 0), inside
    if mode == "replicate":
        return np.clip(at, 0, extent - 1), at == at
    if mode == "circular":
        return at % extent, at == at
    at = np.abs(at)
    return np.where(at >= extent, 2 * (extent - 1) - at, at), at == at


def by_definition(problem, inputs):
    """Return the sums [N, P, Q, K] in float64, by the formula alone; x is never padded."""
    x = real_of(inputs["x"]).transpose(["NHWC".index(letter) if problem.layout == "NHWC" else "NCHW".index(letter) for letter in "NHWC"])
    weight = real_of(inputs["weight"]).transpose([problem.weight_layout.index(letter) for letter in "KRSC"])
    y = np.zeros((problem.n, problem.p, problem.q, problem.k))
    per_group, columns = problem.c // problem.groups, problem.k // problem.groups
    for r in range(problem.r):
        h, real_h = cell(problem.padding_mode, np.arange(problem.p) * problem.stride[0] - problem.pads[0] + r * problem.dilation[0], problem.h)
        for s in range(problem.s):
            w, real_w = cell(problem.padding_mode, np.arange(problem.q) * problem.stride[1] - problem.pads[2] + s * problem.dilation[1], problem.w)
            cells = np.where((real_h[:, None] & real_w[None])[None, :, :, None], x[:, h][:, :, w] - problem.zero_point, 0)
            for g in range(problem.groups):
                mine = slice(g * columns, (g + 1) * columns)
                y[..., mine] += cells[..., g * per_group : (g + 1) * per_group] @ weight[mine, r, s].T
    return y


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


def variants(problem, shift=0):
    """Yield every launch, with a schedule that changes from one to the next."""
    strides = default_strides(problem)
    if shift:
        strides = replace(strides, alignment=2, weight_alignment=2)
    for number, launch in enumerate(KERNEL.variants(problem, strides)):
        yield launch, LANDINGS[number % len(LANDINGS)]


def public(problem, inputs, **words):
    top, bottom, left, right = problem.pads
    names = ("stride", "dilation", "groups", "padding_mode", "layout", "weight_layout", "activation", "precision", "out_dtype", "zero_point", "out_zero_point")
    given = {name: getattr(problem, name) for name in names} | {"padding": ((top, bottom), (left, right))} | NAMED
    return atrous.conv2d(inputs["x"], inputs["weight"], inputs.get("bias"), **given, scale=inputs.get("scale"), residual=inputs.get("residual"), **words)


@pytest.mark.parametrize("case", GEOMETRIES)
def test_axes_of_almost_2e31_cells(case):
    problem = parse(case)
    assert KERNEL.declines(problem, DEVICES["sm_80"]) is None
    inputs = testing.exact_inputs(problem, 1)
    expected = by_definition(problem, inputs)
    assert expected.any()
    for launch, schedule in variants(problem):
        np.testing.assert_array_equal(real_of(run(problem, launch, inputs, schedule)), expected, err_msg=launch.name)
    np.testing.assert_array_equal(real_of(public(problem, inputs)), expected)


@pytest.mark.parametrize("case", CASES)
def test_every_variant_is_exact(case):
    problem = parse(case)
    assert KERNEL.declines(problem, DEVICES["sm_80"]) is None
    inputs = testing.exact_inputs(problem, 2)
    expected = testing.expected_output(problem, inputs)
    for launch, schedule in variants(problem):
        testing.assert_matches(run(problem, launch, inputs, schedule), expected, problem)
    testing.assert_matches(public(problem, inputs), expected, problem)
    if problem.dtype not in ("int8", "uint8", "float32"):
        for launch, schedule in list(variants(problem, shift=1))[:2]:
            testing.assert_matches(run(problem, launch, inputs, schedule, shift=1), expected, problem)


def test_a_tile_of_columns_past_2e31_is_declined():
    """A tile of 128 columns counts up to 127 past K, in an int."""
    for k in (2**31 - 65, 2**31 - 127):
        assert f"K is {k}, and it counts them in 32 bits" in (KERNEL.declines(parse(f"n1c8h1w1_k{k}r1s1_f16"), DEVICES["sm_80"]) or "")
    assert KERNEL.declines(parse(f"n1c8h1w1_k{2**31 - 129}r1s1_f16"), DEVICES["sm_80"]) is None


@pytest.mark.parametrize("case", ["n0c8h4w4_k20r1s1_f16", "n1c8h4w4_k0r3s3_f16", "n1c12h4w4_k0r3s3_f32_tf32"])
def test_empty_outputs_have_a_launch_and_none_runs(case):
    problem = parse(case)
    inputs = {"x": np.ones(problem.x_shape, problem.dtype), "weight": np.ones(problem.weight_shape, problem.dtype)}
    assert public(problem, inputs).shape == problem.y_shape
    for launch in (KERNEL.launch(problem), *KERNEL.variants(problem)):
        assert launch.grid[0] == 0


def memory_like(random, shape, dtype, late=0):
    """Return an array that begins so many elements after a multiple of 256 bytes, filled with noise."""
    itemsize = np.dtype(dtype).itemsize
    flat = np.empty(int(np.prod(shape)) + late + 256, dtype)
    start = (-flat.ctypes.data % 256) // itemsize + late
    view = flat[start : start + int(np.prod(shape))].reshape(shape)
    view[...] = random.integers(-3, 4, shape)
    return view


ODD_X = {
    "one element late": lambda a: a,
    "every other column": lambda a: a[:, :, ::2],
    "from right to left": lambda a: a[:, ::-1, ::-1],
    "channels backwards": lambda a: a[..., ::-1],
    "one image for all": lambda a: np.broadcast_to(a[:1], a.shape),
    "one row for all": lambda a: np.broadcast_to(a[:, :1], a.shape),
    "one channel for all": lambda a: np.broadcast_to(a[..., :1], a.shape),
    "a slice of channels": lambda a: a[..., 8:24],
    "an odd slice of channels": lambda a: a[..., 3:19],
}


@pytest.mark.parametrize("late", [0, 1])
@pytest.mark.parametrize("odd", ODD_X)
def test_x_of_any_memory(odd, late):
    random = np.random.default_rng(5)
    x = ODD_X[odd](memory_like(random, (2, 7, 6, 32), np.float16, late))
    weight = memory_like(random, (11, 3, 3, x.shape[3]), np.float16, late)[::-1]  # filters backwards: packed
    problem = atrous.problem.Conv2dProblem.make(x.shape, weight.shape, dtype="float16", padding=1)
    expected = by_definition(problem, {"x": x, "weight": weight})
    np.testing.assert_array_equal(real_of(public(problem, {"x": x, "weight": weight})), expected)
    plan = atrous.plan_conv2d(x.shape, weight, dtype="float16", padding=1, **NAMED)
    np.testing.assert_array_equal(real_of(plan(np.ascontiguousarray(x))), expected)
    np.testing.assert_array_equal(real_of(plan(x)), expected)  # another alignment, another loader, the same packed weight
    other = memory_like(random, (3, 9, 5, x.shape[3]), np.float16, late)
    bigger = replace(problem, n=3, h=9, w=5)
    np.testing.assert_array_equal(real_of(plan.for_input(other.shape)(other)), by_definition(bigger, {"x": other, "weight": weight}))


def test_strides_of_axes_of_one_cell_mean_nothing():
    random = np.random.default_rng(6)
    x = memory_like(random, (1, 1, 6, 16), np.float16)
    weight = memory_like(random, (9, 2, 3, 16), np.float16)
    problem = atrous.problem.Conv2dProblem.make(x.shape, weight.shape, dtype="float16", padding=1, stride=(1, 2))
    expected = by_definition(problem, {"x": x, "weight": weight})
    for step in (2, 2**40 + 2, -(2**61)):
        odd = np.lib.stride_tricks.as_strided(x, x.shape, (step, step, *x.strides[2:]))
        np.testing.assert_array_equal(real_of(public(problem, {"x": odd, "weight": weight})), expected)


@pytest.mark.parametrize(
    "case", ["n2c16h6w7_k24r3s3_pad1_f16_residual_bias", "n1c512h3w3_k24r3s3_pad1_f16_residual_bias", "n2c16h6w7_k24r3s3_pad1_f16_nchw_residual_bias"]
)
def test_outputs_of_any_memory_and_in_place(case):
    problem = parse(case)
    inputs = testing.exact_inputs(problem, 3)
    expected = testing.expected_output(problem, inputs)
    axis = problem.layout.index("C")
    for first, more in ((0, 0), (8, 16), (3, 10), (1, 0)):
        whole = np.full([size + (first + more) * (i == axis) for i, size in enumerate(problem.y_shape)], 77, np.float16)
        out = whole[tuple(slice(first, first + problem.k) if i == axis else slice(None) for i in range(4))]
        for residual in (inputs["residual"], inputs["residual"][..., ::-1].copy()[..., ::-1], out):
            out[...] = inputs["residual"]
            got = public(problem, {**inputs, "residual": residual}, out=out)
            testing.assert_matches(np.ascontiguousarray(got), expected, problem)
        rest = np.delete(whole, range(first, first + problem.k), axis)
        assert (rest == 77).all()
    backwards = np.empty(problem.y_shape, np.float16)[:, ::-1, ::-1, ::-1]
    testing.assert_matches(np.ascontiguousarray(public(problem, inputs, out=backwards)), expected, problem)


@pytest.mark.parametrize("odd", [1, 2, 4])
def test_scale_and_bias_at_odd_addresses(odd):
    problem = parse("n1c16h6w7_k40r3s3_pad1_f16_scalef16_biasf32_residual")
    inputs = testing.exact_inputs(problem, 4)
    expected = testing.expected_output(problem, inputs)
    moved = {}
    for name, array in inputs.items():
        moved[name] = np.empty(array.size + odd, array.dtype)[odd:].reshape(array.shape)
        moved[name][...] = array
    testing.assert_matches(public(problem, moved), expected, problem)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "case",
    [
        "n2c8h7w6_k9r3s2_pad1_dil2x1_f16",
        "n2c13h7w6_k9r3s2_pad2_bf16_nchw",
        "n2c24h7w6_k9r3s3_pad1_f32",
        "n1c264h2w2_k5r3s2_pad1_f32",
        "n2c24h7w6_k9r3s3_pad1_f32_tf32",
        "n2c16h7w6_k8r3s3_pad1_g2_reflect_f16",
    ],
)
def test_what_is_not_finite_reaches_its_windows_alone(case, value):
    problem = parse(case)
    inputs = {name: np.abs(array) + np.array(1, array.dtype) for name, array in testing.exact_inputs(problem, 5).items()}
    for at in ((0, 1, 1, 3), (-1, -1, -1, -1)):
        x = inputs["x"].copy()
        x.transpose([problem.layout.index(letter) for letter in "NHWC"])[at] = value
        expected = by_definition(problem, {**inputs, "x": np.where(np.isfinite(real_of(x)), x, 0)})
        marks = by_definition(problem, {"x": ~np.isfinite(real_of(x)), "weight": np.ones(problem.weight_shape)}) > 0
        assert marks.any() and not marks.all()
        expected[marks] = value
        for launch, schedule in variants(problem):
            y = real_of(run(problem, launch, {**inputs, "x": x}, schedule)).transpose([problem.layout.index(letter) for letter in "NHWC"])
            np.testing.assert_array_equal(
                y, expected if problem.dtype != "bfloat16" else real_of(expected.astype(numpy_dtype("bfloat16"))), err_msg=launch.name
            )


@pytest.mark.parametrize("case", ["n1c16h5w5_k20r1s1_f16", "n1c16h5w5_k20r1s1_bf16", "n1c256h2w2_k20r2s3_pad1_f16"])
def test_what_does_not_fit_the_output_is_infinite(case):
    problem = parse(case)
    most = {"float16": 2.0**15, "bfloat16": 2.0**127}[problem.dtype]
    inputs = {"x": np.full(problem.x_shape, most, numpy_dtype(problem.dtype)), "weight": np.zeros(problem.weight_shape, numpy_dtype(problem.dtype))}
    inputs["weight"][:10, ..., 0] = 4
    inputs["weight"][10:, ..., 0] = -4
    for launch, schedule in variants(problem):
        y = real_of(run(problem, launch, inputs, schedule))
        assert (y[..., :10] == np.inf).all() and (y[..., 10:] == -np.inf).all(), launch.name


@pytest.mark.parametrize(("out", "low", "high"), [("i8", -128, 127), ("u8", 0, 255), ("i32", -(2**31), 2**31 - 1)])
def test_integers_saturate(out, low, high):
    scale = "" if out == "i32" else "_scalef32"
    problem = parse(f"n1c32h5w5_k20r3s3_pad1_i8_out{out}{scale}_biasi32")
    inputs = {"x": np.full(problem.x_shape, 127, np.int8), "weight": np.full(problem.weight_shape, 127, np.int8)}
    inputs["weight"][10:] = -128
    inputs["bias"] = np.where(np.arange(20) < 10, 2**31 - 1, -(2**31)).astype(np.int32)
    if scale:
        inputs["scale"] = np.ones(20, np.float32)
    for launch, schedule in variants(problem):
        y = run(problem, launch, inputs, schedule)
        assert (y[..., :10] == high).all() and (y[..., 10:] == low).all(), launch.name


@pytest.mark.parametrize(
    "case", ["c40h5w4_k35r3s3_pad1_g5_f16", "c257h3w3_k20r3s3_pad1_bf16_bias_gelu", "c64h4w4_k33r3s3_pad1_f32_residual", "c36h4w4_k33r3s3_pad1_f32_tf32_nchw"]
)
def test_the_same_bits_in_every_batch_and_variant(case):
    together = parse(f"n5{case}")
    inputs = testing.random_inputs(together, 6)
    found = {run(together, launch, inputs, schedule).tobytes() for launch, schedule in variants(together)}
    assert len(found) == 1
    images = np.frombuffer(next(iter(found)), np.uint8).reshape(5, -1)
    alone = parse(f"n1{case}")
    for image in (0, 4):
        part = {name: array[image : image + 1] if name in ("x", "residual") else array for name, array in inputs.items()}
        for launch, schedule in variants(alone):
            assert run(alone, launch, part, schedule).tobytes() == images[image].tobytes(), launch.name


@pytest.mark.parametrize("case", ["n1c32h4w4_k20r1s1_bf16", "n1c16h4w4_k20r1s1_f32_tf32", "n1c512h2w2_k5r2s2_pad1_bf16"])
def test_no_variant_alone_gives_minus_zero(case):
    """Products too small for float32, all below 0: segments are added to 0, so that a sum of -0 would show which tile made it."""
    problem = parse(case)
    small = np.array(2.0**-100, numpy_dtype(problem.dtype))
    inputs = {"x": np.full(problem.x_shape, small), "weight": np.full(problem.weight_shape, -small)}
    assert len({run(problem, launch, inputs, schedule).tobytes() for launch, schedule in variants(problem)}) == 1


def test_some_cases_are_split():
    assert any(segments_of(parse(case)) > 1 for case in CASES)
