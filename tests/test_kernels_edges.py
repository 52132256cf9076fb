"""What a second reader tried to break the convolution kernels with: tails, strides, odd addresses, special values, batches."""

from __future__ import annotations

import numpy as np
import pytest
from doors import Public, run

import atrous
from atrous import choose, kernels, testing
from atrous.engines import simulated
from atrous.kernels.base import DEVICES
from atrous.problem import parse
from atrous.redzones import FLOAT_POISON, Guarded, Host
from atrous.sequence import Bound, scratch_of

pytestmark = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))

SCHEDULES = ("in-order", "reverse", "random:3")
KERNELS = ("conv_direct", "conv_pointwise")
LARGEST = 2**31 - 1

#: case -> what it may trip over
EDGES = {
    "n1c1h1w1_k1r1s1_f32": "one of everything",
    "n1c17h3w4_k65r2s1_bf16": "one beyond the tiles of channels",
    "n1c15h3w4_k63r2s2_f16_nchw": "one short of them",
    "n1c129h3w3_k127r1s1_f64": "many steps of float64, the last of one channel",
    "n1c31h3w4_k33r2s1_pad0:1:0:0_u8_zp255": "idle slots hold the zero point",
    "n1c33h3w3_k32r2s2_i8_zp-128_nchw": "the lowest zero point; a narrow tile of one group",
    "n1c997h2w2_k2r2s2_f32": "a prime number of channels",
    "n1c66h3w3_k66r2s2_g2_f32": "33 channels a group: tiles end within each",
    "n1c33h4w3_k121r2s3_pad1_g11_f16": "11 channels a group: a tile holds parts of four",
    "n1c35h4w3_k245r2s1_g35_i8_zp5_nchw": "7 channels a group; the last tile is a rest of groups",
    "n1c33h5w4_k33r3s3_pad1_g33_f64": "33 groups of one channel in tiles of 32 slots",
    "n1c65h3w3_k65r3s3_pad1_g65_f32_nchw": "one group past two tiles",
    "n1c5h4w4_k200r2s2_g5_f16": "a multiplier above the narrow tile",
    "n1c6h3w3_k96r2s2_g3_bf16_nchw": "groups as wide as the narrow tile",
    "n1c2h1w127_k3r1s1_f32": "a pixel short of a tile",
    "n1c2h129w1_k33r1s1_f16_nchw": "a pixel beyond one",
    "n65c2h1w1_k3r1s1_f32": "a narrow tile and a pixel, each an image",
    "n129c3h1w1_k33r1s1_bf16_nchw": "one image a tile",
    "n43c2h2w3_k3r2s2_same_f32": "tiles across images",
    "n3c5h5w7_k65r1s1_f32_nchw": "images start off 16 bytes",
    "n2c16h4w8_k64r1s1_f16_nchw": "16-byte pieces along pixels",
    "n2c24h3w3_k64r1s1_f16": "16-byte pieces along channels, the last step half full",
    "n1c3h1009w2005_k3r2s3_pad3x1_stride900x600_dil1000x997_f32": "dilations larger than most images",
    f"n1c2h5w6_k3r2s2_stride{LARGEST}_f32": "a stride that leaves one output",
    f"n1c2h5w6_k40r1s1_dil{LARGEST}_f16_nchw": "a dilation between no taps",
    f"n1c2h5w6_k3r2s2_pad{LARGEST - 5}:0:{LARGEST - 6}:0_stride{LARGEST}_dil{LARGEST - 1}_f32": "padding up to 2^31 - 1 cells",
    f"n1c2h5w6_k3r2s2_pad0:{LARGEST - 5}:0:{LARGEST - 6}_stride{LARGEST}_dil{LARGEST - 1}_i8_zp5_nchw": "and at the other end",
    f"n1c2h5w6_k3r2s2_pad{LARGEST - 5}:0:{LARGEST - 6}:0_stride{LARGEST}_dil{LARGEST - 1}_replicate_f32": "read from the edge",
    "n1c3h5w6_k3r2s2_pad90_stride40_f32_bias": "windows wholly in padding",
    "n1c2h5w6_k3r1s1_pad-2:-2:-3:-2_f32_bias": "a crop to one cell",
    "n1c3h6w6_k3r2s2_pad5:-3:-3:5_reflect_f32": "reflection of what is cropped",
    "n1c3h5w6_k40r3s2_pad5:5:6:6_circular_stride2x3_i8_zp3": "a whole turn on either side",
    "n1c2h5w6_k3r2s2_pad5:5:6:6_dil12x13_circular_f32": "taps that leap over the image",
    "n1c1h40w41_k3r40s40_f32": "1600 taps",
    "n1c33h9w9_k33r15s15_pad7_g33_i8_zp-128": "a filter larger than the image",
    "n1c3h2w2_k5001r2s2_i8": "more columns than the other axes together",
}  # fmt: skip


def takers(problem):
    return [answer.kernel for answer in choose.options(problem, DEVICES["simulated"]) if answer.reason is None]


@pytest.mark.parametrize("case", EDGES)
def test_edge(case, monkeypatch):
    problem = parse(case)
    inputs = testing.exact_inputs(problem, 1)
    expected = testing.expected_output(problem, inputs)
    for schedule in SCHEDULES[:: 2 if problem.flops > 2e6 else 1]:
        monkeypatch.setenv("ATROUS_SIM_SCHEDULE", schedule)
        for kernel in takers(problem):
            testing.assert_matches(run(Public("simulated", kernel), problem, inputs), expected, problem)


def at_odd_address(array):
    view = np.zeros(array.size + 1, array.dtype)[1:].reshape(array.shape)
    view[...] = array
    return view


def backwards(array):
    whole = np.zeros([2 * extent + 1 for extent in array.shape], array.dtype)
    view = whole[tuple(slice(2 * extent, 0, -2) for extent in array.shape)]
    view[...] = array
    return view


def pitched(array):
    whole = np.zeros((*array.shape[:-2], array.shape[-2] + 1, array.shape[-1]), array.dtype)
    view = whole[..., :-1, :]
    view[...] = array
    return view


def transposed(array):
    return np.ascontiguousarray(array.T).T


@pytest.mark.parametrize("dtype", ["f32", "f16_biasf32", "bf16", "f64", "i8_outi8_scalef32_zp5", "u8_outi32_zp255"])
@pytest.mark.parametrize("layout", ["", "_nchw"])
def test_views_give_what_their_copies_give(dtype, layout):
    """Reversed, spaced, pitched, transposed and misaligned operands and outputs; the residual in place too."""
    views = (at_odd_address, backwards, pitched, transposed)
    for shape in ("n2c8h4w8_k16r1s1", "n2c16h5w7_k33r1s1", "n2c32h8w8_k8r3s3_pad1", "n2c6h5w5_k9r2s3_pad1_g3", "n2c8h5w5_k80r2s3_g2"):
        problem = parse(f"{shape}_{dtype}{layout}_residual")
        inputs = testing.exact_inputs(problem, 2)
        expected = testing.expected_output(problem, inputs)
        for kernel in takers(problem):
            for turn in range(4):
                viewed = {name: views[turn - i](inputs[name]) for i, name in enumerate(("x", "weight", "residual"))}
                given = {**inputs, **viewed}
                for out in (views[turn - 3](empty_output(problem)), given["residual"]):
                    testing.assert_matches(run(Into(Public("simulated", kernel), out), problem, given), expected, problem)


def empty_output(problem):
    return np.zeros(problem.y_shape, testing.numpy_dtype(problem.out_dtype))


class Into:
    """A door that writes into `out`."""

    def __init__(self, door, out):
        self.door, self.out = door, out

    def conv2d(self, *operands, **words):
        return self.door.conv2d(*operands, out=self.out, **words)


@pytest.mark.parametrize("axis", range(4))
def test_broadcast_operands(axis):
    for case in ("n2c8h5w5_k40r3s3_f32_residual", "n2c8h5w5_k4r3s3_f16_nchw_residual", "n2c8h8w8_k40r1s1_f32_residual", "n2c8h8w8_k40r1s1_f16_nchw_residual"):
        problem = parse(case)
        one = tuple(slice(0, 1) if i == axis else slice(None) for i in range(4))
        inputs = {name: np.broadcast_to(array[one], array.shape) for name, array in testing.exact_inputs(problem, 3).items()}
        for kernel in takers(problem):
            testing.assert_matches(run(Public("simulated", kernel), problem, inputs), testing.expected_output(problem, inputs), problem)


SPECIAL = (
    "n2c8h4w8_k16r1s1", "n3c17h5w7_k33r1s1", "n2c6h5w5_k9r2s3_pad1_g3", "n2c8h5w5_k80r2s3_pad1_g2", "n1c33h6w6_k33r3s3_g33_pad1_reflect",
    "n2c9h6w6_k99r2s2_g3_pad2_circular", "n1c3h6w6_k40r3s3_pad5", "n129c2h1w1_k3r1s1",
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "f64"])
@pytest.mark.parametrize("layout", ["", "_nchw"])
def test_nan_and_infinity_reach_exactly_their_windows(dtype, layout):
    """One special value in x or in weight, half of the weights 0: the same outputs are NaN or infinite as in the reference."""
    for shape in SPECIAL:
        problem = parse(f"{shape}_{dtype}{layout}")
        for seed, (name, value) in enumerate([("x", np.nan), ("x", np.inf), ("x", -np.inf), ("weight", np.nan), ("weight", np.inf)]):
            random = np.random.default_rng(seed)
            inputs = testing.exact_inputs(problem, seed)
            inputs["weight"][random.random(problem.weight_shape) < 0.5] = 0
            inputs[name].reshape(-1)[random.integers(inputs[name].size)] = value
            for kernel in takers(problem):
                testing.assert_matches(run(Public("simulated", kernel), problem, inputs), testing.expected_output(problem, inputs), problem)


BATCHED = (
    "c9h3w3_k5r1s1", "c40h3w3_k65r1s1", "c7h5w3_k40r3s3_pad1", "c6h5w3_k9r2s2_pad1_g3", "c8h3w5_k80r2s3_pad1_g2", "c4h6w6_k4r3s3_g4_pad1_reflect",
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["f32_bias", "f16_bias", "bf16", "f64", "i8", "u8_outf32_scalef32"])
@pytest.mark.parametrize("layout", ["", "_nchw"])
def test_bits_depend_on_neither_batch_nor_variant_nor_kernel(dtype, layout):
    """Images alone, in slices at odd places and in the whole batch; every variant; both of KERNELS where both serve."""
    for shape in BATCHED:
        problem = parse(f"n67{shape}_{dtype}{layout}")
        inputs = testing.random_inputs(problem, 3)
        together = {kernel: run(Public("simulated", kernel), problem, inputs) for kernel in takers(problem)}
        for kernel, y in together.items():
            first = together[KERNELS[0] if kernel in KERNELS else kernel].view(np.uint8)
            np.testing.assert_array_equal(y.view(np.uint8), first, err_msg=f"{kernel} {problem}")
            for launch in kernels.named(kernel).variants(problem):
                np.testing.assert_array_equal(launched(launch, problem, inputs).view(np.uint8), first, err_msg=f"{launch} {problem}")
            for start, stop in ((0, 1), (33, 34), (66, 67), (1, 67), (5, 38)):
                part = run(Public("simulated", kernel), problem, {**inputs, "x": inputs["x"][start:stop]})
                np.testing.assert_array_equal(part.view(np.uint8), first[start:stop])


def launched(launch, problem, inputs):
    """Return y of one launch and those before and after it, all operands at multiples of 16."""
    held = {name: Guarded(Host(), values.shape, values.dtype.name, values) for name, values in inputs.items()}
    held["y"] = Guarded(Host(), problem.y_shape, problem.out_dtype)
    held |= {name: Guarded(Host(), (size,), "uint8", poison=FLOAT_POISON) for name, size in scratch_of(launch).items()}
    prepared, slots = Bound(launch, simulated.prepare).whole
    prepared.run(tuple(held[slot].pointer if slot in held else 0 for slot in slots), 0)
    y, stray = held["y"].fetch()
    assert stray is None, stray
    return y


def stored(values, dtype, out_dtype, kernel):
    x = np.array(values, dtype).reshape(1, 1, -1, 1)
    return atrous.conv2d(x, np.ones((1, 1, 1, 1), dtype), out_dtype=out_dtype, engine="simulated", kernel=kernel).astype(np.float64).ravel().tolist()


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_store_rounds_once_to_even(kernel):
    infinity = float("inf")
    assert stored([65504, 65519.996, 65520, -65520, 2049, 2051], "float32", "float16", kernel) == [65504, 65504, infinity, -infinity, 2048, 2052]
    assert stored([2.0**-25, 1.5 * 2.0**-24, 2.0**-25 * (1 + 2.0**-23)], "float32", "float16", kernel) == [0, 2.0**-23, 2.0**-24]
    assert stored([257, 259, 3.3961775e38], "float32", "bfloat16", kernel) == [256, 260, infinity]
    # by way of float32 the second would be a tie, and go down
    assert stored([2049, 2049 + 2.0**-30, 1e300], "float64", "float16", kernel) == [2048, 2050, infinity]
    assert stored([257, 257 + 2.0**-40, -1e300], "float64", "bfloat16", kernel) == [256, 258, -infinity]
    assert stored([2.0**-149, -(2.0**-149), 3e-45], "float32", "float32", kernel) == [2.0**-149, -(2.0**-149), 2.0**-148]


@pytest.mark.parametrize("zero", [-128, 0, 127])
@pytest.mark.parametrize("out_zero", [-128, 0, 127])
def test_int8_ties_and_both_ends(zero, out_zero):
    x = np.arange(-128, 128, dtype=np.int8).reshape(1, 1, -1, 1)
    for scale in (0.5, -0.5, 1.5, 1e30, float("nan")):
        y = atrous.conv2d(
            x, np.ones((1, 1, 1, 1), np.int8), scale=np.float32([scale]), padding=((0, 0), (2, 3)), zero_point=zero, out_zero_point=out_zero, out_dtype="int8",
            engine="simulated", kernel="conv_direct",
        )  # fmt: skip
        centred = np.pad(np.arange(-128, 128) - float(zero), (2, 3))
        expected = np.nan_to_num(np.clip(np.rint(centred * scale) + out_zero, -128, 127))
        np.testing.assert_array_equal(y.ravel(), expected)


def test_integer_sums_that_could_wrap_are_refused():
    """33,026 products of 255 * 255 pass 2^31 - 1; one fewer do not, and are summed exactly."""
    assert kernels.named("conv_direct").declines(parse("n1c33026h1w1_k1r1s1_u8"), DEVICES["simulated"]) is not None
    ones = np.full((1, 1, 1, 33_025), 255, np.uint8)
    assert atrous.conv2d(ones, ones, engine="simulated").item() == 33_025 * 255 * 255
    with pytest.raises(atrous.UnsupportedProblem, match="a sum of 33026 products of uint8 can reach 2147515650"):
        atrous.conv2d(np.zeros((1, 1, 1, 33_026), np.uint8), np.zeros((1, 1, 1, 33_026), np.uint8), engine="simulated")
