"""pool_stream and pool_bands at their edges: strips, rings, bands and lanes that end within an image, odd memory, and the bytes their tilings ask for."""

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
from atrous.kernels import pool, pool_bands, pool_stream
from atrous.kernels.base import DEVICES
from atrous.problem import Pool2dProblem, parse

CASES = Path(__file__).resolve().parents[1] / "cases"
needs_simulator = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))


KERNELS = (pool_stream.KERNEL, pool_bands.KERNEL)


def takers(problem):
    """Return the names of the kernels that take a problem."""
    return [kernel.name for kernel in KERNELS if kernel.declines(problem, DEVICES["simulated"]) is None]


class Stream:
    """Pooling by a plan of one kernel on the simulator, as `doors.run` asks for it."""

    def __init__(self, kernel):
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
    """Yield (kernel, problem) of every kind of pooling of the geometry that a max case string names, in these dtypes and layouts, for each taker."""
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
        for kernel in takers(problem):
            yield kernel, problem


def check(case, dtypes=("float32",), layouts=("NHWC", "NCHW")):
    """Compare with the reference: exactly on whole numbers, within the a priori bound on random ones."""
    found = list(forms(case, dtypes, layouts))
    assert found, f"{case}: nothing was taken"
    for kernel, problem in found:
        for inputs, exact in ((testing.exact_inputs(problem, 3), testing.is_exact(problem)), (testing.random_inputs(problem, 4), problem.kind == "max")):
            expected = testing.expected_output(problem, inputs)
            tolerance = 0 if exact else testing.tolerance(problem, inputs)
            testing.assert_matches(run(Stream(kernel), problem, inputs), expected, problem, tolerance)


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
    """Bands begin and end anywhere in a piece of 16 bytes; NHWC copies units of 16, 8, 4 or 2 bytes, as C allows."""
    check(f"n1c5h6w{width}_max_r3s{min(3, width)}_pad1:1:0:0_stride2x1", ("float16",), ("NCHW",))


@needs_simulator
@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
def test_memory_of_inputs_and_outputs(memory, dtype):
    shapes = [((2, 7, 6, 16), "NHWC"), ((2, 16, 7, 8), "NCHW"), ((2, 7, 6, 7), "NHWC"), ((2, 5, 7, 6), "NCHW")]
    for (shape, layout), window in itertools.product(shapes, ((3, 2), (7, 6))):
        problem = Pool2dProblem.make(shape, window, "max", dtype=dtype, stride=(2, 1), padding=0, layout=layout)
        inputs = testing.exact_inputs(problem, 1)
        for kernel in takers(problem):
            out = MEMORY[memory](np.zeros(problem.y_shape, dtype))
            y = Stream(kernel).max_pool2d(MEMORY[memory](inputs["x"]), window, stride=(2, 1), layout=layout, out=out)
            np.testing.assert_array_equal(np.asarray(y).astype(np.float64), testing.expected_output(problem, inputs))


@needs_simulator
@pytest.mark.parametrize("nan", ["propagate", "omit"])
@pytest.mark.parametrize("values", SPECIALS, ids=str)
def test_maxima_of_specials(values, nan):
    random = np.random.default_rng(3)
    for words, layout in itertools.product(("r3s3_pad1_stride1", "r7s7_pad3_stride3", "r9s11"), ("", "_nchw")):
        for dtype in ("f32", "f16", "bf16"):
            problem = parse(f"n2c9h9w11_max_{words}{'_omit' if nan == 'omit' else ''}_{dtype}{layout}")
            for kernel in takers(problem):
                x = random.choice(values, problem.x_shape).astype(testing.numpy_dtype(problem.dtype))
                assert_right(Stream(kernel), problem, {"x": x})


@needs_simulator
def test_a_window_of_padding_alone_sums_to_nothing():
    for case in ("n1c9h3w3_lp2_r2s2_pad3_stride1_f32", "n1c9h3w3_lp3_r2s2_pad3_stride1_f16_nchw", "n1c3h4w4_avg_r2s2_pad3_stride3_includepad_f32"):
        problem = parse(case)
        for kernel in takers(problem):
            assert_right(Stream(kernel), problem, testing.random_inputs(problem, 1))


@needs_simulator
@pytest.mark.parametrize("kernel", ["pool_stream", "pool_bands"])
def test_small_averages_have_the_bits_of_pool(kernel):
    """Below 16 taps sums are added in row-major order, as pool and the kernels that pool a convolution's tile add them."""
    for words in ("r2s2", "r3s3_pad1_stride2", "r3s3_pad1_stride1", "r5s3_stride1x2"):
        problem = parse(f"n2c20h13w15_avg_{words}_f32{'_nchw' if kernel == 'pool_bands' else ''}")
        x = testing.random_inputs(problem, 8)["x"]
        ours, theirs = (run(Stream(name), problem, {"x": x}) for name in (kernel, "pool"))
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


@needs_simulator
@pytest.mark.parametrize(
    "case",
    [
        "c20h13w15_avg_r5s5_pad2_stride1_f16",
        "c20h9w8_avg_r9s8_f32",
        "c9h8w9_lp3_r3s3_stride2_f32_nchw",
        "c20h9w8_rms_r9s8_f16",
        "c7h7w7_avg_r7s7_f16_nchw",
        "c9h13w9_rms_r3s3_pad1_f16",
    ],
)
def test_an_image_has_the_bits_it_has_alone(case):
    problem = parse(f"n5{case}")
    kernel = takers(problem)[-1]
    x = testing.random_inputs(problem, 5)["x"]
    together = np.asarray(run(Stream(kernel), problem, {"x": x}))
    for n in range(5):
        alone = np.asarray(run(Stream(kernel), dataclasses.replace(problem, n=1), {"x": x[n : n + 1].copy()}))
        assert alone.tobytes() == together[n : n + 1].tobytes()


@pytest.mark.parametrize("fill", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("words", ["r3s3_pad1_stride1", "r7s5_pad3:3:2:2_stride1", "r5s5_pad2_stride2", "r3s3_pad1_stride2", "r2s2", "r7s6_stride1"])
@needs_simulator
def test_nan_and_infinity_reach_the_windows_that_hold_them_and_no_others(words, fill):
    """Rows in flight, rows merged, the ring's stale cells and the lanes of one window keep them to themselves."""
    shape = "n2c9h15w14" if words != "r7s6_stride1" else "n2c9h7w6"
    problems = [parse(f"{shape}_{kind}_{words}_f16{layout}") for kind, layout in itertools.product(("max", "avg", "lp2", "rms", "inverse"), ("", "_nchw"))]
    for problem, kernel in [(taken, kernel) for taken in problems for kernel in takers(taken)]:
        given = testing.random_inputs(problem, 7)
        plain = np.asarray(run(Stream(kernel), problem, given))
        x = given["x"].copy()
        cells = x if problem.layout == "NHWC" else x.transpose(0, 2, 3, 1)
        places = [(0, 0, 0, 0), (0, 5, 3, 8), (1, 6, 5, 4), (1, problem.h - 1, problem.w - 1, 1)]
        for place in places:
            cells[place] = fill
        y = np.asarray(run(Stream(kernel), problem, {**given, "x": x}))
        y, before = (array if problem.layout == "NHWC" else array.transpose(0, 2, 3, 1) for array in (y, plain))
        held = np.zeros(y.shape, bool)
        for n, h, w, c in places:
            for p, q in np.ndindex(y.shape[1:3]):
                r, s = h + problem.pads[0] - p * problem.stride[0], w + problem.pads[2] - q * problem.stride[1]
                held[n, p, q, c] |= 0 <= r < problem.r and 0 <= s < problem.s
        assert held.any() and y[~held].tobytes() == before[~held].tobytes()
        expected = math.nan if math.isnan(fill) else abs(fill) if problem.kind in ("lp", "rms") else fill
        if problem.kind != "max" or fill != -math.inf:
            np.testing.assert_array_equal(y[held].astype(np.float64), expected)


@needs_simulator
def test_no_images():
    assert Stream("pool_stream").max_pool2d(np.zeros((0, 6, 6, 8), "float16"), 3).shape == (0, 2, 2, 8)
    assert Stream("pool_bands").max_pool2d(np.zeros((0, 8, 6, 6), "float16"), 3, layout="NCHW").shape == (0, 8, 2, 2)


def test_it_declines_devices_without_its_instructions():
    older = dataclasses.replace(DEVICES["sm_80"], name="sm_75", half_flops=0.0, tf32_flops=0.0, int8_ops=0.0)
    for case in ("n1c8h9w9_max_r3s3_f16", "n1c8h9w9_max_r9s9_f16", "n1c8h9w9_max_r3s3_f16_nchw"):
        for kernel in KERNELS:
            assert "sm_75 lacks cp.async and max.NaN" in kernel.declines(parse(case), older)
        assert choose.choose(parse(case), older).name == "pool"


#: case -> what each of KERNELS says
DECLINED = {
    "n1c9h9w9_max_r3s3_f64": ("float64", "float64"),
    "n1c9h9w9_max_r3s3_f16_indices": ("indices", "indices"),
    "n1c9h19w9_max_r3s3_dil2_stride1_f16": ("dilation along R is 2", "dilation along R is 2"),
    "n1c9h9w19_max_r1s3_dil1x2_stride1_f16": ("dilation along S is 2", "dilation along S is 2"),
    "n1c9h19w9_max_r8s3_stride1_f16": ("8 windows share an input row", "8 windows share an input row"),
    "n1c9h19w9_lp3_r4s3_stride1_f16": ("4 windows share an input row", "4 windows share an input row"),
    "n1c9h3w5000_max_r2s4000_stride1_f16": ("shared memory", "shared memory"),
    "n1c1h50w50_inverse_r33s33_stride11_f16": ("1089 weights", "1089 weights"),
    "n1c7h7w7_inverse_r7s7_f16": ("49 taps is the whole output", None),
    "n1c8h7w7_max_r3s3_f16": (None, "the C = 8 channels of a pixel are whole vectors of 16 bytes, which pool_stream takes"),
    "n1c8h7w7_max_r3s3_f16_nchw": ("the layout is NCHW, which pool_bands takes", None),
}


@pytest.mark.parametrize("case", DECLINED)
def test_what_they_decline(case):
    for kernel, words in zip(KERNELS, DECLINED[case]):
        reason = kernel.declines(parse(case), DEVICES["sm_80"])
        assert reason is None if words is None else words in reason, kernel.name


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
def test_the_poolings_of_the_suite_choose_them(architecture):
    problems = suite()
    assert len(problems) >= 25
    for problem, n, layout in itertools.product(problems, (1, 32, 256), ("NHWC", "NCHW")):
        chosen = choose.choose(dataclasses.replace(problem, n=n, layout=layout), DEVICES[architecture]).name
        assert chosen == ("pool_bands" if layout == "NCHW" or problem.c == 6 else "pool_stream"), problem


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


@pytest.mark.parametrize("case", ["n1c64h64w4096_max_r8s8_f32", "n1c8h9w9999_max_r3s3_i8"])
def test_tiles_of_wide_rows_are_as_wide_as_the_ring_holds(case):
    shape = pool_stream.shape_of(parse(case))
    strip = pool_stream.choose_strip(shape)
    assert strip.threads >= 64 and strip.slot_elements * shape.bytes * pool_stream.RING_SLOTS >= pool_stream.RING_BYTES / 3


def test_rows_that_are_copied_by_elements_are_known_to_take_longer():
    device, even, odd = DEVICES["sm_80"], parse("n32c4h224w224_max_r2s2_f16"), parse("n32c3h224w224_max_r2s2_f16")
    ours, theirs = ([kernel.KERNEL.seconds(problem, device) - pool.LAUNCH_SECONDS for problem in (even, odd)] for kernel in (pool_stream, pool_bands))
    assert ours[1] / ours[0] > 1.3 * theirs[1] / theirs[0]
    assert choose.choose(even, device).name == choose.choose(odd, device).name == "pool_bands"


#: case -> the most words of a bank that the lanes of a warp read beyond one, on average
STEPS = {"n32c512h14w14_max_r2s2_f16_nchw": 0.25, "n32c480h28w28_max_r3s3_stride2_ceil_f16_nchw": 0.35, "n32c512h14w14_max_r3s3_pad1_stride1_f16_nchw": 0.35}


def test_threads_of_bands_go_on_where_they_meet_few_banks():
    """Counted here from the head's words: the cells that the lanes of each warp of a full item read at a time."""
    for case, most in STEPS.items():
        problem = parse(case)
        plan = pool_bands.plan_of(problem, DEVICES["sm_90"])
        met = {step: [] for step in (1, plan.run_step)}
        runs, plane = plan.planes * plan.parts, plan.bands * problem.w if plan.bands == problem.h else plan.x_pitch
        rows = -(-plan.strip_rows // plan.parts) * problem.stride[0]
        for step, found in met.items():
            order = [run for first in range(step) for run in range(first, -(-runs // step) * step, step)]
            assert sorted(order)[:runs] == list(range(runs))
            lanes = [(run, q) for run in order for q in range(plan.run_lanes)]
            cells = [run // plan.parts * plane + run % plan.parts * rows * problem.w + q * problem.stride[1] for run, q in lanes]
            cells = [cell if run < runs and q < problem.q else None for cell, (run, q) in zip(cells, lanes)]
            for first in range(0, len(cells) - 31, 32):
                words = {cell // 2 for cell in cells[first : first + 32] if cell is not None}
                found.append(max(sum(word % 32 == bank for word in words) for bank in range(32)) - 1)
        mean = {step: sum(found) / len(found) for step, found in met.items()}
        assert mean[plan.run_step] <= min(most, mean[1]), (case, mean)


def test_plans_of_bands_fit_every_device_and_give_every_output_once():
    for problem, (architecture, device), n in itertools.product(suite(), DEVICES.items(), (1, 7)):
        problem = dataclasses.replace(problem, n=n, layout="NCHW")
        launch, plan = pool_bands.KERNEL.launch(problem, None, device), pool_bands.plan_of(problem, device)
        assert launch.shared_bytes <= min(96 * 1024, device.shared_per_block) and launch.block[0] <= 256, architecture
        assert plan.planes * plan.groups >= n * problem.c > plan.planes * (plan.groups - 1) and 1 <= launch.grid[0] <= plan.items
        assert plan.strip_rows * plan.strips >= problem.p > plan.strip_rows * (plan.strips - 1)


def test_tilings_of_rings_fit_a_block_and_depend_on_no_batch():
    for problem in suite():
        for n in (1, 7):
            launch = pool_stream.KERNEL.launch(dataclasses.replace(problem, n=n))
            assert launch.block[0] <= 256 and launch.block[0] % 32 == 0 and launch.shared_bytes <= pool_stream.RING_BYTES
            assert launch.grid[0] == n * pool_stream.KERNEL.launch(dataclasses.replace(problem, n=1)).grid[0]
    assert pool_stream.TAPS_WORTH_SPLITTING == pool.TAPS_WORTH_SPLITTING
