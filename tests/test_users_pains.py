"""What users of other libraries ran into, by the number of their report: here it is right, on the reference and on every engine."""

from __future__ import annotations

import math

import numpy as np
import pytest
from doors import Public, run

import atrous
from atrous import ProblemError, choose, testing
from atrous.arguments import FLOAT_DTYPES, INPUT_DTYPES, LAYOUTS
from atrous.kernels.base import DEVICES
from atrous.problem import Conv2dProblem, parse


def square(values, dtype="float32", layout="NHWC"):
    """Return an image of one channel."""
    x = np.array(values, np.float64).astype(testing.numpy_dtype(dtype))
    return x[None, :, :, None] if layout == "NHWC" else x[None, None]


def flat(y):
    return np.asarray(y).astype(np.float64).reshape(-1).tolist()


@pytest.mark.parametrize("dtype", INPUT_DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_pytorch_18631_depthwise_takes_a_kernel_of_its_own_size(dtype, layout):
    """One filter a channel: a CUDA kernel serves it in every dtype and layout, and its cost grows with C and not with C squared."""
    problems = [parse(f"n2c{c}h9w8_k{c}r3s3_pad1_g{c}_{short_name(dtype)}{'' if layout == 'NHWC' else '_nchw'}") for c in (32, 64, 640)]
    device = DEVICES["sm_90"]
    for problem in problems:
        kernel = choose.choose(problem, device)
        assert problem.flops == 2 * 2 * 9 * 8 * 9 * problem.c
        assert kernel.launch(problem).grid[0] <= 2 * 9 * 8 * problem.c // 32
    inputs = testing.exact_inputs(problems[0], 3)
    testing.assert_matches(run(Public("simulated"), problems[0], inputs), testing.expected_output(problems[0], inputs), problems[0])


def short_name(dtype):
    return {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "float64": "f64", "int8": "i8", "uint8": "u8"}[dtype]


def test_pytorch_34977_neither_layout_is_a_cliff(monkeypatch):
    """NHWC, NCHW, and one dressed as the other: one kernel, x never copied, the same numbers."""
    launches = []
    from atrous.engines import simulated

    prepare = simulated.prepare
    monkeypatch.setattr(simulated, "prepare", lambda launch: launches.append(launch) or prepare(launch))
    random = np.random.default_rng(0)
    x, weight = random.normal(size=(2, 9, 8, 24)).astype("float32"), random.normal(size=(20, 3, 3, 24)).astype("float32")
    nchw, kcrs = np.ascontiguousarray(x.transpose(0, 3, 1, 2)), np.ascontiguousarray(weight.transpose(0, 3, 1, 2))
    forms = [
        (x, weight, "NHWC"),
        (nchw.transpose(0, 2, 3, 1), kcrs.transpose(0, 2, 3, 1), "NHWC"),  # views of the other layout
        (nchw, kcrs, "NCHW"),
        (x.transpose(0, 3, 1, 2), weight.transpose(0, 3, 1, 2), "NCHW"),
    ]
    results = []
    for array, filters, layout in forms:
        y = atrous.conv2d(array, filters, padding=1, layout=layout, engine="simulated")
        results.append(y if layout == "NHWC" else y.transpose(0, 2, 3, 1))
        plan = atrous.plan_conv2d(array.shape, filters, padding=1, layout=layout, engine="simulated")
        assert plan.workspace_bytes == 0
    # float32 filters are split into two tf32 each as they are packed
    assert {launch.name.partition("<")[0] for launch in launches} == {"conv_igemm_sm80", "pack_weight"}
    for y in results[1:]:
        np.testing.assert_allclose(y, results[0], rtol=0, atol=1e-4)


def test_pytorch_107514_float32_is_never_tf32_unasked(door):
    """4097 needs 13 bits; TF32 keeps 11 of them and would give 4096."""
    assert Conv2dProblem.make((1, 3, 3, 1), (1, 1, 1, 1), dtype="float32").precision == "float32"
    for weight in (1.0, 3.0):
        for window in ((1, 1), (2, 2)):
            filters = np.full((1, *window, 1), weight, "float32")
            assert flat(door.conv2d(square([[4097.0] * 2] * 2), filters))[0] == 4097.0 * weight * math.prod(window)


@pytest.mark.parametrize("p", [2.3273891720497133, 0.5, 1.5, 3.0, 1.0, 2.0])
def test_pytorch_184037_norms_of_negative_numbers(door, p):
    """|x|^p and not x^p: no NaN where p is not whole, no sign where it is odd."""
    x = square([[-1.5, 2.0, -3.0], [0.0, -0.25, 4.0]])
    single = np.asarray(door.lp_pool2d(x, 1, p, stride=1)).astype(np.float64)
    np.testing.assert_allclose(single.reshape(-1), np.abs(x).reshape(-1), rtol=2e-6)
    (whole,) = flat(door.lp_pool2d(x, (2, 3), p))
    assert whole == pytest.approx(sum(abs(v) ** p for v in (-1.5, 2, -3, 0, -0.25, 4)) ** (1 / p), rel=2e-6)


def windows_by_definition(size, kernel, stride, dilation, low, high):
    """Count windows one by one: those that fit, and one that hangs over where they leave a rest and it starts before the cells end."""
    count, start, covered = 0, -low, -low
    while (end := start + dilation * (kernel - 1)) < size + high:
        count, start, covered = count + 1, start + stride, end + 1
    return count + (covered < size + high and start < size)


@pytest.mark.parametrize("pads", [(0, 0), (1, 1), (0, 1), (2, 1)])
def test_pytorch_183528_ceil_mode_has_no_window_without_a_cell(door, pads):
    """Every size, window and stride: as many windows as the definition counts, a real cell in each, no NaN and no -inf."""
    for size in range(3, 8):
        for kernel, stride, dilation in ((2, 2, 1), (3, 2, 1), (2, 3, 1), (3, 1, 1), (2, 2, 2), (3, 4, 1)):
            if max(pads) > kernel - 1:
                continue
            x = -1.0 - np.arange(size, dtype="float32").reshape(1, 1, size, 1)
            words = dict(stride=(1, stride), padding=((0, 0), pads), dilation=(1, dilation), ceil_mode=True)
            if dilation * (kernel - 1) + 1 > size + sum(pads):
                continue
            y, mean = flat(door.max_pool2d(x, (1, kernel), **words)), flat(door.avg_pool2d(x, (1, kernel), count_include_pad=True, **words))
            assert len(y) == len(mean) == windows_by_definition(size, kernel, stride, dilation, *pads), (size, kernel, stride, dilation)
            for i, value in enumerate(y):
                cells = [i * stride - pads[0] + tap * dilation for tap in range(kernel)]
                assert value == max(-1.0 - cell for cell in cells if 0 <= cell < size)
            assert np.isfinite(mean).all()


@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_pytorch_39846_and_tensorflow_125965_nan_in_a_maximum(door, dtype, layout):
    """NaN in any place of a window is its maximum, beside infinities too, and the index is that of the first NaN."""
    for place in range(6):
        for rest in (1.0, math.inf, -math.inf):
            values = np.full(6, rest)
            values[place] = math.nan
            x = square(values.reshape(2, 3), dtype, layout)
            y, index = door.max_pool2d(x, (2, 3), layout=layout, return_indices=True)
            assert math.isnan(flat(y)[0]) and flat(index) == [place]
            assert math.isnan(flat(door.max_pool2d(x, (2, 3), layout=layout))[0])
            omitted = flat(door.max_pool2d(x, (2, 3), layout=layout, nan="omit"))
            assert omitted == [rest]
    clean = door.max_pool2d(square([[1, math.nan, 2, 3]], dtype, layout), (1, 2), layout=layout)
    assert math.isnan(flat(clean)[0]) and flat(clean)[1] == 3, "and the neighbour is untouched"


def test_pytorch_3867_same_with_a_stride(door):
    """ceil(size / stride) outputs for every size, stride, window and dilation; the odd cell of padding comes last."""
    for size in range(1, 9):
        x = np.arange(1.0, size + 1, dtype="float32").reshape(1, 1, size, 1)
        for kernel in (1, 2, 3, 4):
            for stride in (1, 2, 3, 5):
                for dilation in (1, 2):
                    outputs = -(-size // stride)
                    padding = max(0, (outputs - 1) * stride + dilation * (kernel - 1) + 1 - size)
                    padded = [0.0] * (padding // 2) + flat(x) + [0.0] * (padding - padding // 2 + stride)
                    expected = [sum(padded[i * stride + tap * dilation] for tap in range(kernel)) for i in range(outputs)]
                    words = dict(padding="same", stride=(1, stride), dilation=(1, dilation))
                    assert flat(door.conv2d(x, np.ones((1, 1, kernel, 1), "float32"), **words)) == expected
                    if padding < dilation or kernel == 1:  # else a window could lie wholly in padding, which has no maximum
                        assert len(flat(door.max_pool2d(x, (1, kernel), **words))) == outputs


@pytest.mark.parametrize("stride", [0, (0, 1), (1, 0), -1, (2, -3)])
def test_pytorch_27598_a_stride_of_0_is_refused(door, stride):
    """A sentence, where others divided by zero."""
    x, filters = np.ones((1, 4, 4, 2), "float32"), np.ones((3, 2, 2, 2), "float32")
    calls = [lambda: door.conv2d(x, filters, stride=stride)]
    for name in ("max_pool2d", "avg_pool2d", "l2_pool2d", "rms_pool2d", "weighted_avg_pool2d"):
        calls.append(lambda name=name: getattr(door, name)(x, 2, stride=stride))
    for call in calls:
        with pytest.raises(ProblemError, match="stride"):
            call()
