"""Array libraries, small whole numbers and their expected outputs, shared by the tests of interop and of plans."""

from __future__ import annotations

import numpy as np
import pytest

import atrous
from atrous import reference
from atrous.problem import Conv2dProblem, Pool2dProblem


def numbers(shape, dtype="float32", seed=0):
    """Return small whole numbers, whose sums are exact in every dtype used here."""
    low = 0 if dtype == "uint8" else -4
    return np.random.default_rng(seed).integers(low, 5, shape).astype(dtype)


X = numbers((2, 7, 6, 4))
WEIGHT = numbers((3, 3, 2, 4), seed=1)
BIAS = numbers((3,), seed=2)
CONV = Conv2dProblem.make(X.shape, WEIGHT.shape, dtype="float32", bias="float32", padding=1, stride=2)
POOL = Pool2dProblem.make(X.shape, (3, 2), "max", dtype="float32", padding=1)
CONV_Y = reference.conv2d(CONV, X, WEIGHT, None, BIAS)
POOL_Y = reference.pool2d(POOL, X)


class Producer:
    """Nothing but DLPack, over a NumPy array."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **words):
        return self.array.__dlpack__(**words)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def optional(name):
    return pytest.importorskip(name, reason=f"{name} is not installed")


def as_numpy(array):
    return array


def numpy_library():
    return np.array, as_numpy, np.ndarray


def torch_library():
    torch = optional("torch")
    return (lambda a: torch.from_numpy(np.array(a))), (lambda t: t.numpy()), torch.Tensor


def strict_library():
    strict = optional("array_api_strict")
    return (lambda a: strict.asarray(np.array(a))), np.asarray, type(strict.zeros(1))


def jax_library():
    jax = optional("jax.numpy")
    return (lambda a: jax.asarray(np.array(a))), np.asarray, type(jax.zeros(1))


def bare_library():
    return Producer, np.asarray, np.ndarray  # its module has no from_dlpack, so NumPy answers


LIBRARIES = {"numpy": numpy_library, "torch": torch_library, "array-api-strict": strict_library, "jax": jax_library, "bare DLPack": bare_library}


@pytest.fixture(params=LIBRARIES)
def library(request):
    """(from NumPy, to NumPy, type of results) of a library."""
    return LIBRARIES[request.param]()


@pytest.fixture(params=["arrays", "simulated"])
def engine(request):
    reason = atrous.engine_reasons()[request.param]
    if reason:
        pytest.skip(reason)
    return request.param


def equal(actual, expected):
    actual = np.asarray(actual)
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)
