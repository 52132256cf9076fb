"""conv_pool at the end of mapped memory, on views, with windows at the edge of what the convolution gives, and with no images."""

from __future__ import annotations

import sys

import fenced
import numpy as np
import pytest

import atrous
from atrous import kernels, reference, routes, testing, verify
from atrous.engines import simulated
from atrous.kernels import conv_direct, conv_igemm_sm80, conv_pool, pool
from atrous.kernels.base import DEVICES
from atrous.problem import parse

needs_simulator = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))

CASES = (
    "n2c8h8w8_k16r3s3_pad8_circular_f16+max_r3s3_pad1_stride2", "n1c16h9w10_k66r3s3_pad1_bf16_bias_residual_relu+avg_r3s3_pad1_stride2_ceil_includepad",
    "n3c16h5w6_k34r2s3_pad2_g2_f16_residual+max_r2s2_pad1:0:0:1_stride3", "n1c8h1w1_k1r1s1_f16+max_r1s1",
)  # fmt: skip


@pytest.fixture
def offered(monkeypatch):
    order = (conv_igemm_sm80.KERNEL, conv_direct.KERNEL, pool.KERNEL, conv_pool.KERNEL)
    monkeypatch.setattr(kernels, "ORDER", order)
    monkeypatch.setattr(verify, "ORDER", order)
    routes.route.cache_clear()
    yield
    routes.route.cache_clear()


@needs_simulator
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="fences memory with mprotect")
def test_touches_no_byte_beside_its_operands():
    done = fenced.start("conv_pool", CASES)
    assert done.returncode == 0, (done.returncode, done.stdout[-400:], done.stderr[-400:])
    assert done.stdout.splitlines()[-1] == f"{CASES[-1]} before"


@needs_simulator
def test_views_backwards_and_a_slice_of_channels(offered):
    """x mirrored and cut out, out every second element: whole numbers, so the reference's to the bit."""
    case = "n3c8h13w14_k20r3s3_pad1_f16+max_r3s3_pad1_stride2"
    problem, random = parse(case), np.random.default_rng(5)
    assert conv_pool.KERNEL.declines(problem, DEVICES["simulated"]) is None
    whole = random.integers(-4, 5, (3, 15, 17, 24)).astype("float16")
    x, weight = whole[::-1, 1:14, ::-1, 8:16][:, :, 1:15], random.integers(-3, 4, (20, 3, 3, 8)).astype("float16")
    expected = reference.conv2d_pool2d(problem, x=x.copy(), weight=weight)
    expected = expected[0] if isinstance(expected, tuple) else expected
    for step in (1, 2):
        room = np.full(tuple(2 * size + 1 for size in expected.shape), 77, "float16")
        part = tuple(slice(1, 1 + step * size, step) for size in expected.shape)
        words = dict(padding=1, window=3, pool_stride=2, pool_padding=1, engine="simulated", kernel="conv_pool")
        np.testing.assert_array_equal(atrous.conv2d_pool2d(x, weight, out=room[part], **words), expected)
        room[part] = 77
        assert (room == 77).all(), "something beside out was written"


@needs_simulator
@pytest.mark.parametrize("case", ["n1c8h9w9_k16r3s3_stride2000000000_f16+max_r1s1", "n2c8h3w3_k16r3s3_pad1_stride2147483647_bf16+max_r3s3_pad1"])
def test_a_stride_that_no_second_output_follows(case, offered):
    """The pixels of a tile that are none of the patch lie strides away, beyond 32 bits."""
    problem = parse(case)
    prover = verify.Prover("simulated", kernel="conv_pool")
    prover.prove(problem, 4, [("in-order", 0, "latest")], random_too=True)
    assert prover.ledger.runs and not prover.ledger.failures, prover.ledger.failures[:1]


def test_no_images(offered):
    y = atrous.conv2d_pool2d(np.zeros((0, 8, 8, 8), "float16"), np.zeros((16, 3, 3, 8), "float16"), engine="simulated", kernel="conv_pool")
    assert y.shape == (0, 3, 3, 16) and y.dtype == np.float16


@needs_simulator
@pytest.mark.parametrize("case", ["c320h5w6_k66r3s3_pad1_f16_bias+max_r2s2_pad1", "c8h20w9_k8r3s3_bf16+avg_r3s3_stride2_ceil"])
def test_bits_of_an_image_alone_and_in_a_batch(case, offered):
    problem = parse(f"n5{case}")
    inputs = testing.random_inputs(problem, 6)

    def bits(problem, inputs):
        prover = verify.Prover("simulated", kernel="conv_pool")
        for candidate in prover.candidates(problem, 0):
            trial = verify.Trial("simulated", problem, 0, "conv_pool", candidate.instance, "random", ("random", 3, "random"))
            yield prover._outputs(trial, candidate.launch, inputs)["y"].view(np.uint16)

    found = list(bits(problem, inputs))
    for image in range(5):
        for y in bits(parse(f"n1{case}"), {**inputs, "x": inputs["x"][image : image + 1].copy()}):
            assert all((y[0] == other[image]).all() for other in found)
