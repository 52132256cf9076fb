"""pool_stream at its edges: strips, rings and lanes that end within an image, odd memory, and the bytes its tilings ask for."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from doors import run
from test_pool_edges import MEMORY, SPECIALS, assert_right

import atrous
from atrous import choose, testing
from atrous.engines import simulated
from atrous.kernels import pool, pool_stream
from atrous.kernels.base import DEVICES
from atrous.problem import Pool2dProblem, parse

CASES = Path(__file__).resolve().parents[1] / "cases"
needs_simulator = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))


class Stream:
    """Pooling by a plan of one kernel on the simulator, as `doors.run` asks for it."""

    def __init__(self, kernel="pool_stream"):
        self.kernel = kernel

    def pool2d(self, kind, x, window, *, out=None, **words):
        plan = atrous.plan_pool2d(x.shape, window, kind, dtype=str(x.dtype), engine="simulated", kernel=self.kernel, **words)
        return plan(x, out=out)

    def max_pool2d(self, x, window, **words):
        return self.pool2d("max", x, window, **words)

    def avg_pool2d(self, x, window, **words):
        return self.pool2d("avg", x, window, **words)

    def lp_pool2d(self, x, window, p, **words):
        return self.pool2d("lp", x, window, p=p, **words)

    def rms_pool2d(self, x, window, **words):
        return self.pool2d("rms", x, window, **words)

    def weighted_avg_pool2d(self, x, window, weights, **words):
        return self.pool2d("weighted", x, window, weights=weights, **words)


def forms(case, dtypes, layouts=("NHWC", "NCHW")):
    """Yield every kind of pooling of the geometry that a max case string names, in these dtypes and layouts, where pool_stream takes it."""
    form = parse(case)
    top, bottom, left, right = form.pads
    sizes = {"N": form.n, "H": form.h, "W": form.w, "C": form.c}
    kinds = [("max", {}), ("max", {"nan": "omit"}), ("avg", {}), ("avg", {"count_include_pad": True}), ("lp", {"power": 3.0}), ("rms", {})]
    kinds += [("lp", {}), ("weighted", {"weighting": "inverse"})]
    for (kind, options), dtype, layout in itertools.product(kinds, dtypes, layouts):
        if kind != "max" and dtype in ("int8", "uint8"):
            continue
        problem = Pool2dProblem.make(
            tuple(sizes[letter] for letter in layout), (form.r, form.s), kind, dtype=dtype, stride=form.stride, dilation=form.dilation,
            padding=((top, bottom), (left, right)), ceil_mode=form.ceil_mode, layout=layout, **options,
        )  # fmt: skip
        if pool_stream.KERNEL.declines(problem, DEVICES["simulated"]) is None:
            yield problem


def check(case, dtypes=("float32",), layouts=("NHWC", "NCHW")):
    """Compare with the reference: exactly on whole numbers, within the a priori bound on random ones."""
    found = list(forms(case, dtypes, layouts))
    assert found, f"{case}: nothing was taken"
    for problem in found:
        for inputs, exact in ((testing.exact_inputs(problem, 3), testing.is_exact(problem)), (testing.random_inputs(problem, 4), problem.kind == "max")):
            expected = testing.expected_output(problem, inputs)
            tolerance = 0 if exact else testing.tolerance(problem, inputs)
            testing.assert_matches(run(Stream(), problem, inputs), expected, problem, tolerance)


GEOMETRIES = {
    "one cell": "n1c3h1w1_max_r1s1_stride1",
    "identity": "n1c3h9w8_max_r1s1_stride1",
    "gaps between windows": "n1c3h22w25_max_r2s1_stride7x5",
    "gaps after padding": "n1c3h22w25_max_r3s3_pad2:3:1:2_stride5x7",
    "seven outputs in flight": "n1c9h16w17_max_r7s7_pad3_stride1",
    "four outputs in flight": "n1c9h16w17_max_r7s5_pad3:2:1:2_stride2x1",
    "three": "n2c9h17w16_max_r5s5_pad2_stride2",
    "two": "n2c17h17w16_max_r3s3_pad1_stride2",
    "wide windows in one row": "n1c3h5w45_max_r1s37_stride1x3",
    "tall windows far apart": "n1c3h45w5_max_r41s1_stride8x1",
    "one row of outputs": "n1c3h9w20_max_r9s3_stride1",
    "one column of outputs": "n1c3h20w9_max_r3s9_stride1",
    "narrow": "n1c5h9w1_max_r3s1_pad1:1:0:0_stride1",
    "every pad negative": "n1c3h9w10_max_r3s2_pad-1:-3:-2:-1_stride2x3",
    "pads crop to one window": "n1c3h9w9_max_r1s2_pad-4:-4:-3:-4_stride1",
    "pads of both signs": "n1c3h9w10_max_r3s2_pad2:-3:-2:1_stride1x2",
    "overhang": "n1c3h11w10_max_r2s3_pad1_stride3_ceil",
    "overhang of a cropped image": "n1c3h9w10_max_r2s3_pad0:-2:0:-1_stride3_ceil",
    "tall": "n1c1h300w1_max_r3s1_pad1:1:0:0_stride1",
    "whole": "n2c11h9w7_max_r9s7_stride1",
    "whole, padded": "n2c11h5w4_max_r9s9_pad2:2:3:2_stride1",
    "whole, dilated": "n2c11h13w13_max_r5s4_dil3x4_stride1",
    "whole of many taps": "n1c40h33w31_max_r33s31_stride1",
    "whole of few channels and many taps": "n1c3h50w43_max_r50s43_stride1",
    "columns far apart": "n1c1h1w4400001_max_r1s1_stride1x4400000",
}


@needs_simulator
@pytest.mark.parametrize("name", GEOMETRIES)
def test_geometries(name):
    check(GEOMETRIES[name])


@needs_simulator
@pytest.mark.parametrize("channels", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 72])
def test_channel_tails(channels):
    check(f"n2c{channels}h6w7_max_r3s2_pad1_stride2x1", ("float16", "int8"))
    check(f"n2c{channels}h5w5_max_r5s5_stride1", ("float16",), ("NHWC",))


@needs_simulator
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "uint8"])
def test_dtypes(dtype):
    for case in ("n2c24h13w9_max_r3s3_pad1_stride1", "n2c24h12w10_max_r2s2", "n1c16h9w8_max_r5s5_pad2_stride1", "n2c40h7w7_max_r7s7"):
        check(case, (dtype,))


@needs_simulator
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 8, 12, 16, 20, 33, 56, 112, 300])
def test_rows_of_every_alignment(width):
    """NCHW copies units of 16, 8, 4 or 2 bytes, as W allows, from wherever a tile begins."""
    check(f"n1c5h6w{width}_max_r3s{min(3, width)}_pad1:1:0:0_stride2x1", ("float16",), ("NCHW",))


@needs_simulator
@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
def test_memory_of_inputs_and_outputs(memory, dtype):
    for shape, layout, window in (((2, 7, 6, 16), "NHWC", (3, 2)), ((2, 16, 7, 8), "NCHW", (3, 2)), ((2, 7, 6, 16), "NHWC", (7, 6))):
        problem = Pool2dProblem.make(shape, window, "max", dtype=dtype, stride=(2, 1), padding=0, layout=layout)
        inputs = testing.exact_inputs(problem, 1)
        out = MEMORY[memory](np.zeros(problem.y_shape, dtype))
        y = Stream().max_pool2d(MEMORY[memory](inputs["x"]), window, stride=(2, 1), layout=layout, out=out)
        np.testing.assert_array_equal(np.asarray(y).astype(np.float64), testing.expected_output(problem, inputs))


@needs_simulator
@pytest.mark.parametrize("nan", ["propagate", "omit"])
@pytest.mark.parametrize("values", SPECIALS, ids=str)
def test_maxima_of_specials(values, nan):
    random = np.random.default_rng(3)
    for words, layout in itertools.product(("r3s3_pad1_stride1", "r7s7_pad3_stride3", "r9s11"), ("", "_nchw")):
        for dtype in ("f32", "f16", "bf16"):
            problem = parse(f"n2c9h9w11_max_{words}{'_omit' if nan == 'omit' else ''}_{dtype}{layout}")
            if pool_stream.KERNEL.declines(problem, DEVICES["simulated"]) is None:
                x = random.choice(values, problem.x_shape).astype(testing.numpy_dtype(problem.dtype))
                assert_right(Stream(), problem, {"x": x})


@needs_simulator
def test_a_window_of_padding_alone_sums_to_nothing():
    for case in ("n1c9h3w3_lp2_r2s2_pad3_stride1_f32", "n1c9h3w3_lp3_r2s2_pad3_stride1_f16_nchw", "n1c3h4w4_avg_r2s2_pad3_stride3_includepad_f32"):
        problem = parse(case)
        assert_right(Stream(), problem, testing.random_inputs(problem, 1))


@needs_simulator
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_small_averages_have_the_bits_of_pool(layout):
    """Below 16 taps sums are added in row-major order, as pool and the kernels that pool a convolution's tile add them."""
    for words in ("r2s2", "r3s3_pad1_stride2", "r3s3_pad1_stride1", "r5s3_stride1x2"):
        problem = parse(f"n2c20h13w15_avg_{words}_f32{'_nchw' if layout == 'NCHW' else ''}")
        x = testing.random_inputs(problem, 8)["x"]
        ours, theirs = (run(Stream(kernel), problem, {"x": x}) for kernel in ("pool_stream", "pool"))
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


@needs_simulator
@pytest.mark.parametrize("case", ["c20h13w15_avg_r5s5_pad2_stride1_f16", "c20h9w8_avg_r9s8_f32", "c9h8w9_lp3_r3s3_stride2_f32_nchw", "c20h9w8_rms_r9s8_f16"])
def test_an_image_has_the_bits_it_has_alone(case):
    problem = parse(f"n5{case}")
    x = testing.random_inputs(problem, 5)["x"]
    together = np.asarray(run(Stream(), problem, {"x": x}))
    for n in range(5):
        alone = np.asarray(run(Stream(), dataclasses.replace(problem, n=1), {"x": x[n : n + 1].copy()}))
        assert alone.tobytes() == together[n : n + 1].tobytes()


@pytest.mark.parametrize("fill", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("words", ["r3s3_pad1_stride1", "r7s5_pad3:3:2:2_stride1", "r5s5_pad2_stride2", "r3s3_pad1_stride2", "r2s2", "r7s6_stride1"])
@needs_simulator
def test_nan_and_infinity_reach_the_windows_that_hold_them_and_no_others(words, fill):
    """Rows in flight, rows merged, the ring's stale cells and the lanes of one window keep them to themselves."""
    for kind, layout in itertools.product(("max", "avg", "lp2", "rms", "inverse"), ("", "_nchw")):
        problem = parse(f"n2c9h15w14_{kind}_{words}_f16{layout}" if words != "r7s6_stride1" else f"n2c9h7w6_{kind}_{words}_f16{layout}")
        if pool_stream.KERNEL.declines(problem, DEVICES["simulated"]) is not None:
            continue
        given = testing.random_inputs(problem, 7)
        plain = np.asarray(run(Stream(), problem, given))
        x = given["x"].copy()
        cells = x if problem.layout == "NHWC" else x.transpose(0, 2, 3, 1)
        places = [(0, 0, 0, 0), (0, 5, 3, 8), (1, 6, 5, 4), (1, problem.h - 1, problem.w - 1, 1)]
        for place in places:
            cells[place] = fill
        y = np.asarray(run(Stream(), problem, {**given, "x": x}))
        y, before = (array if problem.layout == "NHWC" else array.transpose(0, 2, 3, 1) for array in (y, plain))
        held = np.zeros(y.shape, bool)
        for n, h, w, c in places:
            for p, q in np.ndindex(y.shape[1:3]):
                r, s = h + problem.pads[0] - p * problem.stride[0], w + problem.pads[2] - q * problem.stride[1]
                held[n, p, q, c] |= 0 <= r < problem.r and 0 <= s < problem.s
        assert held.any() and y[~held].tobytes() == before[~held].tobytes()
        expected = math.nan if math.isnan(fill) else abs(fill) if kind in ("lp2", "rms") else fill
        if kind != "max" or fill != -math.inf:
            np.testing.assert_array_equal(y[held].astype(np.float64), expected)


@needs_simulator
def test_no_images():
    assert Stream().max_pool2d(np.zeros((0, 6, 6, 8), "float16"), 3).shape == (0, 2, 2, 8)


def test_it_declines_devices_without_its_instructions():
    older = dataclasses.replace(DEVICES["sm_80"], name="sm_75", half_flops=0.0, tf32_flops=0.0, int8_ops=0.0)
    for case in ("n1c8h9w9_max_r3s3_f16", "n1c8h9w9_max_r9s9_f16"):
        assert "sm_75 lacks cp.async and max.NaN" in pool_stream.KERNEL.declines(parse(case), older)
        assert choose.choose(parse(case), older).name == "pool"


DECLINED = {
    "n1c8h9w9_max_r3s3_f64": "float64",
    "n1c8h9w9_max_r3s3_f16_indices": "indices",
    "n1c8h19w9_max_r3s3_dil2_stride1_f16": "dilation along R is 2",
    "n1c8h9w19_max_r1s3_dil1x2_stride1_f16": "dilation along S is 2",
    "n1c8h19w9_max_r8s3_stride1_f16": "8 windows share an input row",
    "n1c8h19w9_lp3_r4s3_stride1_f16": "4 windows share an input row",
    "n1c8h3w5000_max_r2s4000_stride1_f16": "shared memory",
    "n1c1h50w50_inverse_r33s33_stride11_f16": "1089 weights",
    "n1c8h7w7_avg_r7s7_f16_nchw": "49 taps is the whole output",
}


@pytest.mark.parametrize("case", DECLINED)
def test_what_it_declines(case):
    reason = pool_stream.KERNEL.declines(parse(case), DEVICES["sm_80"])
    assert reason and DECLINED[case] in reason


def suite():
    """Return every pooling of the suite's networks."""
    found = []
    for file in sorted(CASES.glob("*.txt")):
        if file.stem in ("pooled", "regressions", "traps", "worked"):
            continue
        for line in file.read_text().splitlines():
            words = line.partition("#")[0].split()
            problem = parse(words[1]) if len(words) > 1 else None
            if isinstance(problem, Pool2dProblem):
                found.append(problem)
    return found


@pytest.mark.parametrize("architecture", ["sm_80", "sm_86", "sm_89", "sm_90", "sm_120"])
def test_the_poolings_of_the_suite_choose_it(architecture):
    problems = suite()
    assert len(problems) >= 25
    for problem, n in itertools.product(problems, (1, 32, 256)):
        assert choose.choose(dataclasses.replace(problem, n=n), DEVICES[architecture]).name == "pool_stream", problem


def test_what_the_suite_asks_for_is_little_more_than_its_bytes():
    """Every block's cells, counted one by one, and y, against x and y once: 1.10 without overlap, 1.35 with it."""
    for problem in suite():
        if pool_stream.is_whole(problem):
            continue
        shape = pool_stream.shape_of(problem)
        strip = pool_stream.choose_strip(shape)
        asked = 1
        for outputs, of_block, taps, stride, pad, size in (
            (problem.p, strip.rows, problem.r, problem.stride[0], problem.pads[0], problem.h),
            (problem.q, strip.columns, problem.s, problem.stride[1], problem.pads[2], problem.w),
        ):
            starts = range(0, outputs, of_block)
            cells = [range(first * stride - pad, (min(first + of_block, outputs) - 1) * stride - pad + taps) for first in starts]
            asked *= sum(sum(0 <= cell < size for cell in block) for block in cells)
        outputs = problem.p * problem.q
        most = 1.10 if problem.stride >= (problem.r, problem.s) else 1.35
        assert (asked + outputs) / (problem.h * problem.w + outputs) <= most, problem


@pytest.mark.parametrize(
    "case", ["n4c64h512w4096_avg_r8s8_f32_nchw", "n8c64h512w8192_avg_r4s4_f32_nchw", "n1c64h64w4096_max_r8s8_f32", "n1c8h9w9999_max_r3s3_i8"]
)
def test_tiles_of_wide_rows_are_as_wide_as_the_ring_holds(case):
    shape = pool_stream.shape_of(parse(case))
    strip = pool_stream.choose_strip(shape)
    assert strip.threads >= 64 and strip.slot_elements * shape.bytes * pool_stream.RING_SLOTS >= pool_stream.RING_BYTES / 3


@pytest.mark.parametrize(
    ("even", "odd"),
    [
        ("n32c64h56w56_max_r3s3_stride2_f16_nchw", "n32c64h55w55_max_r3s3_stride2_f16_nchw"),
        ("n32c64h16w16_max_r2s2_i8_nchw", "n32c64h14w14_max_r2s2_i8_nchw"),
        ("n32c4h224w224_max_r2s2_f16", "n32c3h224w224_max_r2s2_f16"),
    ],
)
def test_rows_that_are_copied_by_elements_are_known_to_take_longer(even, odd):
    device = DEVICES["sm_80"]
    ours, theirs = ([kernel.KERNEL.seconds(parse(case), device) - pool.LAUNCH_SECONDS for case in (even, odd)] for kernel in (pool_stream, pool))
    assert ours[1] / ours[0] > 1.3 * theirs[1] / theirs[0]
    assert choose.choose(parse(even), device).name == "pool_stream" and choose.choose(parse(odd), device).name == "pool"


def test_tilings_fit_a_block_and_depend_on_no_batch():
    for problem in suite():
        for n in (1, 7):
            launch = pool_stream.KERNEL.launch(dataclasses.replace(problem, n=n))
            assert launch.block[0] <= 256 and launch.block[0] % 32 == 0 and launch.shared_bytes <= pool_stream.RING_BYTES
            assert launch.grid[0] == n * pool_stream.KERNEL.launch(dataclasses.replace(problem, n=1)).grid[0]
    assert pool_stream.TAPS_WORTH_SPLITTING == pool.TAPS_WORTH_SPLITTING
