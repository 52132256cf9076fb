"""conv_first at the end of mapped memory, at the end of 32 bits, and with strides that no array in order has."""

from __future__ import annotations

import sys

import fenced
import numpy as np
import pytest

import atrous
from atrous import reference
from atrous.engines import simulated
from atrous.kernels import conv_first
from atrous.kernels.base import DEVICES
from atrous.kernels.first_patch import dilation_of, row_threads_log2
from atrous.problem import parse

needs_simulator = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))

#: the last patch of each reaches below the image, or beside it, where a fold of the padding would leave it
FULL_TURN = (
    "n2c4h8w8_k16r3s3_pad8_circular_f16", "n1c5h16w16_k33r3s3_pad16:16:3:16_circular_i8_zp3", "n2c100h8w8_k33r3s3_pad8_circular_bf16",
    "n1c3h16w16_k33r3s3_pad16_circular_u8_zp3_nchw",
)  # fmt: skip
EDGES = (
    "n1c3h16w16_k9r7s7_pad3_stride2_f16_bias_residual", "n1c4h16w16_k33r3s3_pad15_reflect_f16_nchw", "n1c1h16w16_k1r5s5_dil3_pad6_u8_zp255",
    "n3c13h4w4_k65r3s3_pad4_replicate_f32_bias", "n1c7h16w16_k8r2s4_pad-1:2:3:-2_stride3x2_bf16",
)  # fmt: skip


@needs_simulator
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="fences memory with mprotect")
@pytest.mark.parametrize("cases", [FULL_TURN, EDGES], ids=["a full turn of padding", "the rest"])
def test_touches_no_byte_beside_its_operands(cases):
    """Every operand's first byte, then its last, lies beside a page that may not be touched: what no output shows ends the process."""
    done = fenced.start("conv_first", cases)
    assert done.returncode == 0, (done.returncode, done.stdout[-400:], done.stderr[-400:])
    assert done.stdout.splitlines()[-1] == f"{cases[-1]} before"


def furthest_of(problem, tile):
    """The largest coordinate that the kernel computes, padding and overshoot of the last patch and of a batch of rows included."""
    plan = conv_first.FirstPlan(problem, tile, DEVICES["sm_80"])
    halo, (dilation_h, _) = plan.halo, dilation_of(problem)
    last = halo.rows - 1 + 8 * (128 >> row_threads_log2(problem, halo, plan.channels))
    below = last // halo.tap_rows * dilation_h + last % halo.tap_rows if halo.tap_rows < dilation_h else last
    row = (plan.row_patches - 1) * plan.rows * problem.stride[0] - problem.pads[0] + below
    return max(row, (plan.column_patches - 1) * plan.columns * problem.stride[1] - problem.pads[2] + halo.columns)


@pytest.mark.parametrize("short", [10, 100, 400, 2000, 5000, 20000, 70000])
@pytest.mark.parametrize("words", ["r1s1_stride7", "r3s3_stride5x3", "r2s2_dil30_stride9", "r1s1_stride15"])
@pytest.mark.parametrize("axis", "hw")
def test_no_coordinate_passes_32_bits(axis, words, short):
    """A crop leaves the last cells of an axis that fills 32 bits, so that the last patch would count beyond them."""
    extent = 2**31 - short
    sizes, crop = ("h{}w90", "-{}:0:0:0") if axis == "h" else ("h90w{}", "0:0:-{}:0")
    problem = parse(f"n1c1{sizes.format(extent)}_k8{words}_pad{crop.format(extent - 500)}_i8")
    if conv_first.KERNEL.declines(problem, DEVICES["sm_80"]) is None:
        assert all(furthest_of(problem, tile) < 2**31 for tile in conv_first.tiles_of(problem))
    else:
        assert short < 70000, "declined where nothing is near"


@needs_simulator
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype, short", [("float16", "f16"), ("int8", "i8")])
def test_views_backwards_and_of_slices(dtype, short, layout):
    """x mirrored along every axis and cut out of a larger array, out a slice of channels: the values of the copies."""
    random = np.random.default_rng(3)
    whole = random.integers(-4, 5, (3, 15, 17, 7)).astype(dtype)
    x = whole[::-1, 1:14, ::-1, 5::-2][:, :, 1:15]  # (3, 13, 14, 3)
    weight = random.integers(-3, 4, (9, 3, 3, 3)).astype(dtype)
    if layout == "NCHW":
        x, weight = x.transpose(0, 3, 1, 2), weight.transpose(0, 3, 1, 2)
    problem = parse(f"n3c3h13w14_k9r3s3_pad1_{short}{'_nchw' if layout == 'NCHW' else ''}")
    expected = reference.conv2d(problem, x=x.copy(), weight=weight.copy())
    room = np.full(tuple(2 * size + 1 for size in expected.shape), 77, expected.dtype)
    part = tuple(slice(1, None, 2) for _ in range(4))
    found = atrous.conv2d(x, weight, padding=1, layout=layout, out=room[part], engine="simulated", kernel="conv_first")
    np.testing.assert_array_equal(found, expected)
    room[part] = 77
    assert (room == 77).all(), "something beside out was written"


@needs_simulator
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_a_residual_that_becomes_the_output(layout):
    random = np.random.default_rng(4)
    x, weight = random.integers(-3, 4, (2, 3, 19, 18)).astype("float16"), random.integers(-2, 3, (33, 3, 3, 3)).astype("float16")
    residual = random.integers(-5, 6, (2, 33, 19, 18)).astype("float16")
    if layout == "NHWC":
        x, weight, residual = (np.ascontiguousarray(array.transpose(0, 2, 3, 1)) for array in (x, weight, residual))
    problem = parse(f"n2c3h19w18_k33r3s3_pad1_f16_residual{'_nchw' if layout == 'NCHW' else ''}")
    expected = reference.conv2d(problem, x=x, weight=weight, residual=residual.copy())
    found = atrous.conv2d(x, weight, padding=1, residual=residual, out=residual, layout=layout, engine="simulated", kernel="conv_first")
    assert found is residual
    np.testing.assert_array_equal(residual, expected)
