"""What operations on single elements mean: NumPy, float64 inside, rounded once."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..problem import ElementwiseProblem
from .conv import activate
from .store import store
from .taps import canonical


def elementwise(problem: ElementwiseProblem, x: Any, other: Any = None) -> np.ndarray:
    """Return activation(x + other), or x, in the layout and dtype that `problem` gives y.

    Parameters
    ----------
    problem : ElementwiseProblem
    x : array of problem.x_shape and problem.dtype
    other : array of the same, where the problem adds

    Returns
    -------
    numpy.ndarray of problem.y_shape and problem.out_dtype
    """
    return store(elementwise_unrounded(problem, x, other), problem.out_dtype)


def elementwise_unrounded(problem: ElementwiseProblem, x: Any, other: Any = None) -> np.ndarray:
    """Return what `elementwise` returns before its one rounding, in float64."""
    values = np.asarray(x).astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        if problem.other:
            values = activate(values + np.asarray(other).astype(np.float64), problem.activation)
    return np.ascontiguousarray(canonical(values, problem.layout, problem.out_layout))
