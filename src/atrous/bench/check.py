"""Whether a result is right, at any size: all of a small output, of a large one a random part that the reference computes from the cells it needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .. import testing
from ..error_bounds import FLOATS, SLOPES, half_ulp
from ..errors import AtrousError
from ..problem import ConvPool2dProblem, Pool2dProblem
from ..reference import conv2d_unrounded
from ..reference.store import numpy_dtype
from ..testing import Inputs
from .sample import sampled

WHOLE_STEPS = 2**24  # multiply-adds that the reference does in a fraction of a second
POOL_ROUNDINGS = 8  # half units of a pooling written as several operations (powers, a mean, a product, a root)


class WrongResult(AtrousError):
    """A result that is farther from the exact value than its bound: a sentence that says where."""


def worst_error(problem: Any, inputs: Inputs, actual: Any, *, seed: int = 0, unfused: bool = False, precision: str = "") -> tuple[float, int]:
    """Return the worst error in units of its bound, and how many outputs were checked.

    Parameters
    ----------
    problem, inputs : as `atrous.testing` takes them
    actual : array of problem.y_shape and problem.out_dtype
    seed : int
        Of the part that is checked where the output is large.
    unfused : bool
        Allow a rounding to the output's dtype after each operation of the epilogue.
    precision : "tf32", optional
        Allow products in it, though the problem asks for more.

    Raises
    ------
    WrongResult
        If an element is out of bounds, or the shape or dtype is another.
    """
    actual = np.asarray(actual)
    dtype = numpy_dtype(problem.out_dtype)
    if actual.shape != problem.y_shape or actual.dtype != dtype:
        raise WrongResult(f"{problem}: shape {actual.shape} of {actual.dtype}, expected {problem.y_shape} of {dtype}")
    parts = [(problem, inputs, actual)] if problem.flops <= WHOLE_STEPS else sampled(problem, inputs, actual, np.random.default_rng(seed))
    worst, checked = 0.0, 0
    for small, operands, got in parts:
        small = _plain_maximum(small)
        bound = testing.tolerance(_with_precision(small, precision), operands)
        if unfused:
            bound = bound + _roundings(small, operands)
        try:
            worst = max(worst, testing.assert_matches(got, testing.expected_output(small, operands), small, bound))
        except AssertionError as difference:
            what = "" if small is problem else f"{problem}, of which a part was computed: "
            raise WrongResult(f"{what}{difference}") from None
        checked += got.size
    return worst, checked


def _plain_maximum(problem: Any) -> Any:
    return replace(problem, return_indices=False) if isinstance(problem, Pool2dProblem) and problem.return_indices else problem


def _with_precision(problem: Any, precision: str) -> Any:
    if not precision or isinstance(problem, Pool2dProblem):
        return problem
    if isinstance(problem, ConvPool2dProblem):
        return replace(problem, conv=replace(problem.conv, precision=precision))
    return replace(problem, precision=precision)


def _roundings(problem: Any, inputs: Inputs) -> np.ndarray | float:
    """Return what rounding after every operation can add to the error, element by element."""
    if isinstance(problem, Pool2dProblem):
        exact = np.abs(np.asarray(testing.expected_output(problem, inputs), dtype=np.float64))
        return 0.0 if problem.kind == "max" else POOL_ROUNDINGS * half_ulp(exact, problem.out_dtype)
    if problem.out_dtype not in FLOATS:
        return 0.0
    conv = problem.conv if isinstance(problem, ConvPool2dProblem) else problem
    channel = (1, -1, 1, 1) if conv.layout == "NCHW" else (1, 1, 1, -1)
    y = conv2d_unrounded(replace(conv, scale=None, bias=None, residual=False, activation=("none",)), inputs["x"], inputs["weight"])
    total = half_ulp(np.abs(y), conv.out_dtype)
    if conv.scale:
        scale = np.asarray(inputs["scale"]).astype(np.float64).reshape(channel)
        y, total = y * scale, total * np.abs(scale) + half_ulp(np.abs(y * scale), conv.out_dtype)
    for name, shape in (("bias", channel), ("residual", conv.y_shape)):
        if name in inputs:
            y = y + np.asarray(inputs[name]).astype(np.float64).reshape(shape)
            total = total + half_ulp(np.abs(y), conv.out_dtype)
    total = SLOPES.get(conv.activation[0], 1.0) * total
    # of a pooled convolution the largest of all: a maximum or a mean of the window adds no more
    return total if conv is problem else float(total.max()) + half_ulp(np.abs(y).max(keepdims=True), conv.out_dtype)
