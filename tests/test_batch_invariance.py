"""An image has the same bits in every batch of 1 to 64, in every operation, on the simulator and on the array path."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from conftest import why_not
from doors import Public, run

from atrous import choose, kernels, testing
from atrous.kernels.base import DEVICES
from atrous.problem import parse

LARGEST = 64
#: operations on numbers whose sums round, with shapes whose tiles end within an image
CASES = (
    "c5h4w3_k7r3s2_pad1_f32_bias_silu", "c5h4w3_k40r3s3_pad1_f16_nchw_scale", "c8h3w5_k33r1s1_f32_bias", "c8h3w5_k66r1s1_bf16_nchw",
    "c4h5w4_k4r3s3_pad1_g4_f32", "c3h5w4_k3r9s9_pad4_g3_f16", "c24h7w9_k24r3s3_pad1_g24_f16_nchw_bias", "c5h9w6_k10r5s5_pad2_g5_f32_nchw",
    "c6h4w5_k12r2s3_stride2x1_g3_f64_nchw", "c24h5w6_k24r3s3_pad1_g6_f16_bias", "c32h5w4_k32r3s3_pad1_stride2_g2_bf16",
    "c4h4w4_k5r3s3_same_i8_outi8_scalef32_zp3", "c3h5w5_k4r2s2_pad1_reflect_dil2_f16",
    "c5h5w6_max_r3s2_pad1_stride2x1_f16_indices", "c3h5w6_max_r2s2_f32_nchw", "c5h6w5_avg_r3s3_pad1_stride2_f32", "c3h7w6_avg_r7s6_f16_nchw",
    "c4h5w6_lp3_r2s3_pad1_f32", "c4h5w6_lp2_r5s5_pad2_stride1_bf16_nchw", "c5h5w4_rms_r2s2_f16", "c4h6w5_gaussian_r3s3_pad1_stride1_f32",
    "c4h6w5_custom_r5s4_stride1_f64_nchw", "c16h4w8_tonhwc_f16", "c5h3w7_tonchw_f32_bf16", "c3h4w5_add_gelu_f16", "c16h4w5_add_silu_bf16_nchw",
)  # fmt: skip


def bits(y):
    """Return the bytes of each image of an output, indices too."""
    parts = y if isinstance(y, tuple) else (y,)
    return np.concatenate([np.ascontiguousarray(part).reshape(part.shape[0], -1).view(np.uint8) for part in parts], axis=1)


def batch(problem, inputs, start, stop):
    part = {name: array[start:stop] if name in ("x", "residual", "other") else array for name, array in inputs.items()}
    return dataclasses.replace(problem, n=stop - start), part


@pytest.mark.parametrize("engine", ["simulated", "arrays"])
@pytest.mark.parametrize("case", CASES)
def test_pytorch_196886_an_image_has_the_same_bits_in_every_batch(engine, case, record_property):
    if (reason := why_not(engine)) is not None:
        pytest.skip(reason)
    problem = parse(f"n{LARGEST}{case}")
    inputs = testing.random_inputs(problem, 11)
    doors = [Public(engine)]
    if engine == "simulated" and problem._operation == "conv2d":
        doors = [Public(engine, answer.kernel) for answer in choose.options(problem, DEVICES["simulated"]) if answer.reason is None]
    for door in doors:
        together = bits(run(door, problem, inputs))
        assert len(np.unique(together, axis=0)) == LARGEST, "images that differ"
        for size in range(1, LARGEST + 1):
            start = size * 7 % (LARGEST + 1 - size)
            np.testing.assert_array_equal(
                bits(run(door, *batch(problem, inputs, start, start + size))), together[start : start + size], err_msg=f"{size} images"
            )
    record_property("batch_invariant", LARGEST * len(doors))


def test_every_kind_and_kernel_is_among_them():
    problems = [parse(f"n1{case}") for case in CASES]
    assert {problem.kind for problem in problems if hasattr(problem, "kind")} == {"max", "avg", "lp", "rms", "weighted"}
    takers = {answer.kernel for problem in problems for answer in choose.options(problem, DEVICES["simulated"]) if answer.reason is None}
    # test_conv_pool_edges.py, test_conv_first_pool.py and test_conv_separable.py compare batches of pairs
    assert takers == {kernel.name for kernel in kernels.ORDER if kernel.operation not in ("conv2d_pool2d", "separable_conv2d")}
