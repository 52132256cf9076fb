"""The sign of zero in maxima: +0 is above -0 wherever the two stand, whatever takes the maximum."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from test_conv_pool import same_bits

import atrous
from atrous import choose, reference
from atrous.engines import simulated
from atrous.kernels import pool_bands, pool_stream
from atrous.kernels.base import DEVICES
from atrous.problem import Pool2dProblem, parse
from atrous.testing import numpy_dtype

needs_simulator = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))
STREAMS = {"pool_stream": pool_stream.KERNEL, "pool_bands": pool_bands.KERNEL}
FLOATS = ("float32", "float16", "bfloat16", "float64")


def zeros(shape, dtype, seed):
    """Return zeros of either sign, most of them negative, and among them negative numbers and a few of 1."""
    return np.random.default_rng(seed).choice([-0.0, 0.0, -2.0, 1.0], shape, p=[0.8, 0.1, 0.08, 0.02]).astype(numpy_dtype(dtype))


def largest(x, window, stride):
    """Return the maximum of every window of NHWC cells, one cell at a time, and +0 for a maximum of 0 that any +0 gives."""
    (n, h, w, c), (r, s) = x.shape, window
    y = np.empty((n, (h - r) // stride + 1, (w - s) // stride + 1, c), x.dtype)
    for image, p, q, channel in np.ndindex(y.shape):
        cells = [float(v) for v in x[image, p * stride : p * stride + r, q * stride : q * stride + s, channel].ravel()]
        most = max(cells)
        y[image, p, q, channel] = most if most else (0.0 if any(v == 0 and not np.signbit(v) for v in cells) else -0.0)
    return y


def takers():
    """Return what may take a maximum alone: the reference, the array path, and every pooling kernel on the simulator."""
    return ["reference", "arrays", *(pytest.param(name, marks=needs_simulator) for name in ("pool", "pool_stream", "pool_bands"))]


def taken(taker, problem, x):
    if taker == "reference":
        return reference.pool2d(problem, x, None)
    words = dict(stride=problem.stride, layout=problem.layout, nan=problem.nan, dtype=problem.dtype)
    words |= dict(engine="arrays") if taker == "arrays" else dict(engine="simulated", kernel=taker)
    return np.asarray(atrous.plan_pool2d(x.shape, (problem.r, problem.s), "max", **words)(x))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("taker", takers())
def test_plus_zero_is_above_minus_zero(taker, dtype):
    for window, nan, layout in itertools.product(((2, 2), (3, 2), (9, 8)), ("propagate", "omit"), ("NHWC", "NCHW")):
        cells = zeros((2, 9, 8, 19), dtype, 5)
        x = np.ascontiguousarray(cells if layout == "NHWC" else cells.transpose(0, 3, 1, 2))
        problem = Pool2dProblem.make(x.shape, window, "max", dtype=dtype, stride=2, layout=layout, nan=nan)
        if taker in STREAMS and STREAMS[taker].declines(problem, DEVICES["simulated"]) is not None:
            continue
        expected = largest(cells, window, 2)
        assert len({float(v) for v in expected.ravel()}) > 1 and (expected == 0).any()
        same_bits(taken(taker, problem, x), expected if layout == "NHWC" else expected.transpose(0, 3, 1, 2))


def test_the_kernels_that_stream_rows_are_asked_in_their_layouts():
    problem = parse("n2c19h9w8_max_r2s2_f16")
    for layout, takes in (("NHWC", "pool_stream"), ("NCHW", "pool_bands")):
        assert STREAMS[takes].declines(dataclasses.replace(problem, layout=layout), DEVICES["simulated"]) is None


PAIRS = {
    "conv_pool": "n1c8h8w8_k8r1s1_f16_hardswish+max_r2s2",
    "conv_first_pool": "n1c3h16w16_k8r7s7_pad3_stride2_f16_hardswish+max_r2s2",
}


@needs_simulator
@pytest.mark.parametrize("kernel", PAIRS)
def test_a_pooled_convolution_has_the_zeros_of_the_two_calls(kernel):
    """hardswish gives -0 below -3 and +0 at 0; the filters of channel 0 are the identity."""
    problem = parse(PAIRS[kernel])
    [reason] = [answer.reason for answer in choose.options(problem, DEVICES["simulated"]) if answer.kernel == kernel]
    assert reason is None
    conv = problem.conv
    x = np.zeros(conv.x_shape, np.float16)
    x[..., 0] = np.random.default_rng(2).choice([-4.0, -4.0, -4.0, 0.0, -1.0], x.shape[:3])
    step = conv.stride[0]
    x[0, : 2 * step : step, : 2 * step : step, 0] = [[-4, 0], [-4, -4]]
    weight = np.zeros(conv.weight_shape, np.float16)
    weight[0, conv.r // 2, conv.s // 2, 0] = 1
    words = dict(activation="hardswish", padding=conv.r // 2, stride=step, engine="simulated")
    fused = np.asarray(atrous.conv2d_pool2d(x, weight, window=2, kernel=kernel, **words))
    between = np.asarray(atrous.conv2d(x, weight, **words))
    assert np.signbit(between[0, :2, :2, 0]).tolist() == [[True, False], [True, True]]
    same_bits(fused, largest(between, (2, 2), 2))
    for pooling in ("pool", "pool_stream"):
        same_bits(fused, taken(pooling, problem.pool, between))


@pytest.mark.parametrize("cells", [(-0.0, 0.0), (0.0, -0.0)])
@pytest.mark.parametrize("engine", ["arrays", pytest.param("simulated", marks=needs_simulator)])
def test_an_index_names_the_first_of_equals_and_y_is_its_cell(engine, cells):
    x = np.array(cells, np.float32).reshape(1, 1, 2, 1)
    y, index = atrous.max_pool2d(x, (1, 2), return_indices=True, engine=engine)
    assert index.item() == 0 and np.signbit(y.item()) == np.signbit(cells[0])
