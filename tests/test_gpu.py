"""Every kernel on a real device, through both engines that launch there: exact on whole numbers, bounded on others, inside red zones."""

from __future__ import annotations

import numpy as np
import pytest

import atrous
from atrous import engines, testing, verify

BATCHES, PROBLEMS = 10, 60

pytestmark = pytest.mark.gpu


@pytest.fixture(params=["compiled", "runtime"])
def device_engine(request):
    """An engine that can launch here, by name."""
    if reason := getattr(engines, request.param).available():
        pytest.skip(f"{request.param}: {reason}")
    return request.param


@pytest.fixture
def cupy():
    """CuPy with a device under it."""
    module = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not module.cuda.is_available():
        pytest.skip("CuPy sees no CUDA device")
    return module


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_problems_on_a_device(cupy, device_engine, batch):
    prover = verify.Prover(device_engine)
    for seed in range(9_000_000 + batch * PROBLEMS, 9_000_000 + (batch + 1) * PROBLEMS):
        prover.prove(testing.random_problem(seed), seed)
    assert not prover.ledger.failures, prover.ledger.failures


def test_every_built_instance_on_a_device(cupy):
    if reason := engines.compiled.available():
        pytest.skip(f"compiled: {reason}")
    prover = verify.Prover("compiled")
    assert prover.reach(verify.every_instance(), 4, iter(range(60_000_000, 60_200_000))) == []
    assert not prover.ledger.failures, prover.ledger.failures


@pytest.mark.parametrize("case", ["n9c24h7w6_k20r3s2_pad1_stride2x1_f32_scale_bias", "n9c24h7w6_k70r1s1_f32_scale_bias"])
def test_bits_depend_neither_on_the_batch_nor_on_the_run(cupy, device_engine, case):
    problem = atrous.parse(case)
    inputs = {name: cupy.asarray(array) for name, array in testing.random_inputs(problem, 5).items()}
    words = dict(stride=problem.stride, padding=(problem.pads[:2], problem.pads[2:]), engine=device_engine, scale=inputs["scale"])
    together = cupy.asnumpy(atrous.conv2d(inputs["x"], inputs["weight"], inputs["bias"], **words))
    for image in range(problem.n):
        alone = atrous.conv2d(inputs["x"][image : image + 1].copy(), inputs["weight"], inputs["bias"], **words)
        np.testing.assert_array_equal(cupy.asnumpy(alone)[0].view(np.uint32), together[image].view(np.uint32))
