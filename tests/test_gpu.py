"""Every kernel on a real device, through both engines that launch there: exact on whole numbers, bounded on others, inside red zones."""

from __future__ import annotations

import numpy as np
import pytest
from doors import run
from test_kernels import RED, assert_right, takers

import atrous
from atrous import engines, testing

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


class Device:
    """The public functions on copies in device memory, their first output between red zones of 0xFF."""

    def __init__(self, cupy, engine, problem, kernel):
        self.cupy, self.engine, self.problem, self.kernel = cupy, engine, problem, kernel

    def __getattr__(self, name):
        def call(*arrays, **words):
            move = lambda array: self.cupy.asarray(array) if isinstance(array, np.ndarray) else array  # noqa: E731
            dtype = testing.numpy_dtype(self.problem.out_dtype)
            size = int(np.prod(self.problem.y_shape)) * dtype.itemsize
            whole = self.cupy.full(size + 2 * RED, 0xFF, "uint8")
            out = whole[RED : RED + size].view(dtype).reshape(self.problem.y_shape)
            if getattr(self.problem, "return_indices", False):
                out = (out, self.cupy.full(self.problem.y_shape, -1, self.problem.index_dtype))
            named = {"kernel": self.kernel} if name == "conv2d" else {}
            words = {word: move(value) for word, value in words.items()}
            y = getattr(atrous, name)(*map(move, arrays), out=out, engine=self.engine, **named, **words)
            edges = self.cupy.asnumpy(whole)
            assert (edges[:RED] == 0xFF).all() and (edges[-RED:] == 0xFF).all(), f"{self.problem}: written beside y"
            return tuple(map(self.cupy.asnumpy, y)) if isinstance(y, tuple) else self.cupy.asnumpy(y)

        return call


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_problems_on_a_device(cupy, device_engine, batch):
    for seed in range(9_000_000 + batch * PROBLEMS, 9_000_000 + (batch + 1) * PROBLEMS):
        problem = testing.random_problem(seed)
        for kernel in takers(problem):
            door = Device(cupy, device_engine, problem, kernel)
            if testing.is_exact(problem):
                inputs = testing.exact_inputs(problem, seed, negative=seed % 3 == 0)
                assert_right(problem, inputs, run(door, problem, inputs))
            inputs = testing.random_inputs(problem, seed)
            assert_right(problem, inputs, run(door, problem, inputs), testing.tolerance(problem, inputs))


@pytest.mark.parametrize("case", ["n9c24h7w6_k20r3s2_pad1_stride2x1_f32_scale_bias", "n9c24h7w6_k70r1s1_f32_scale_bias"])
def test_bits_depend_neither_on_the_batch_nor_on_the_run(cupy, device_engine, case):
    problem = atrous.parse(case)
    inputs = {name: cupy.asarray(array) for name, array in testing.random_inputs(problem, 5).items()}
    words = dict(stride=problem.stride, padding=(problem.pads[:2], problem.pads[2:]), engine=device_engine, scale=inputs["scale"])
    together = cupy.asnumpy(atrous.conv2d(inputs["x"], inputs["weight"], inputs["bias"], **words))
    for image in range(problem.n):
        alone = atrous.conv2d(inputs["x"][image : image + 1].copy(), inputs["weight"], inputs["bias"], **words)
        np.testing.assert_array_equal(cupy.asnumpy(alone)[0].view(np.uint32), together[image].view(np.uint32))
