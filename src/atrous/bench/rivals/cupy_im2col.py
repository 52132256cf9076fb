"""CuPy as one writes a convolution in it: windows gathered by a strided view, and one matrix product (im2col)."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...problem import Conv2dProblem, Pool2dProblem
from ...testing import Inputs
from ..contest import Contestant, Unsupported, sets_of
from .shared import (
    captured_by_cupy,
    check_convolution,
    check_pooling,
    composed,
    is_global,
    mean_divisors,
    padding_to_the_end,
    sets_like,
    why_not,
    with_weight_in,
)  # fmt: skip

NAME = "cupy im2col"
DTYPES = ("float16", "float32", "float64")


def available(device: str) -> str | None:
    """Return None if CuPy is here and reaches a GPU, else the sentence why not."""
    if device != "cuda":
        return "CuPy computes on a GPU alone"
    if (reason := why_not("cupy")) is not None:
        return reason
    return None if importlib.import_module("cupy").cuda.is_available() else "cupy is installed and finds no CUDA device"


def version() -> str:
    """Return CuPy's version."""
    return str(importlib.import_module("cupy").__version__)


def contestants(problem: Any, inputs: Inputs, device: str) -> list[Contestant]:
    """Return the composition; its intermediate arrays come from CuPy's pool at every call."""
    cupy = importlib.import_module("cupy")
    compute = operation(cupy, problem)
    first = {name: cupy.asarray(array) for name, array in with_weight_in(inputs, problem, "KRSC").items()}
    sets = sets_like(first, sets_of(problem, inputs), lambda array: array.copy())
    last: list[Any] = [None]

    def run_on(operands: dict[str, Any]) -> Any:
        last[0] = compute(**operands)
        return last[0]

    calls = [functools.partial(run_on, operands) for operands in sets]
    output = lambda: cupy.asnumpy(last[0])  # noqa: E731
    wait = cupy.cuda.runtime.deviceSynchronize
    graph = lambda several: (captured_by_cupy(cupy, several), output)  # noqa: E731
    return [Contestant(NAME, calls[0], output, rotate=calls, capture=graph, wait=wait, unfused=True)]


def operation(xp: Any, problem: Any) -> Callable[..., Any]:
    """Return compute(x, weight, ...) on arrays of `xp`, or raise Unsupported."""
    return composed(problem, functools.partial(_convolution, xp), functools.partial(_pooling, xp))


def windows(xp: Any, x: Any, problem: Any, pads: tuple[tuple[int, int], tuple[int, int]], value: float) -> Any:
    """Return the view (N, P, Q, R, S, C) of the windows of an NHWC array, padded first where it has padding."""
    if any(map(any, pads)):
        x = xp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=value)
    n, h, w, c = x.strides
    (down, right), (dh, dw) = problem.stride, problem.dilation
    shape = (problem.n, problem.p, problem.q, problem.r, problem.s, problem.c)
    return xp.lib.stride_tricks.as_strided(x, shape, (n, down * h, right * w, dh * h, dw * w, c))


def _convolution(xp: Any, problem: Conv2dProblem) -> Callable[..., Any]:
    check_convolution(problem, "CuPy", DTYPES)
    top, bottom, left, right = problem.pads
    groups, nhwc = problem.groups, problem.layout == "NHWC"
    rows, taps = problem.n * problem.p * problem.q, problem.r * problem.s * problem.c // groups
    activate = _activation(xp, problem.activation)

    def compute(x: Any, weight: Any, scale: Any = None, bias: Any = None, residual: Any = None) -> Any:
        view = windows(xp, x if nhwc else x.transpose(0, 2, 3, 1), problem, ((top, bottom), (left, right)), 0.0)
        if groups == 1:
            y = view.reshape(rows, taps) @ weight.reshape(problem.k, taps).T
        else:
            parts = view.reshape(*view.shape[:5], groups, problem.c // groups).transpose(5, 0, 1, 2, 3, 4, 6).reshape(groups, rows, taps)
            y = (parts @ weight.reshape(groups, problem.k // groups, taps).transpose(0, 2, 1)).transpose(1, 0, 2)
        y = y.reshape(problem.n, problem.p, problem.q, problem.k)
        y = y if scale is None else y * scale
        y = y if bias is None else y + bias
        y = y if residual is None else y + (residual if nhwc else residual.transpose(0, 2, 3, 1))
        return _in_layout(xp, activate(y), nhwc)

    return compute


def _in_layout(xp: Any, y: Any, nhwc: bool) -> Any:
    return y if nhwc else xp.ascontiguousarray(y.transpose(0, 3, 1, 2))


def _activation(xp: Any, activation: tuple[Any, ...]) -> Callable[[Any], Any]:
    name, *numbers = activation
    plain: dict[str, Callable[[Any], Any]] = {
        "none": lambda y: y,
        "relu": lambda y: xp.maximum(y, 0),
        "relu6": lambda y: xp.clip(y, 0, 6),
        "clip": lambda y: xp.clip(y, *numbers),
        "leaky_relu": lambda y: xp.where(y > 0, y, y * y.dtype.type(numbers[0])),
        "tanh": xp.tanh,
    }
    if name not in plain:
        raise Unsupported(f"CuPy has no {name}")
    return plain[name]


def _pooling(xp: Any, problem: Pool2dProblem) -> Callable[..., Any]:
    check_pooling(problem, "CuPy", DTYPES)
    nhwc = problem.layout == "NHWC"
    axes = tuple(problem.layout.index(letter) for letter in "HW")
    wide = "float64" if problem.dtype == "float64" else "float32"
    if is_global(problem):
        if problem.kind == "max":
            return lambda x: x.max(axes, keepdims=True)
        return lambda x: x.mean(axes, dtype=wide, keepdims=True).astype(x.dtype)
    pads, value = padding_to_the_end(problem), -math.inf if problem.kind == "max" else 0.0
    divisors = np.asarray(mean_divisors(problem), wide)
    table = xp.asarray(divisors.reshape((1, *divisors.shape, 1)) if divisors.ndim else divisors)

    def compute(x: Any) -> Any:
        view = windows(xp, x if nhwc else x.transpose(0, 2, 3, 1), problem, pads, value)
        y = view.max((3, 4)) if problem.kind == "max" else (view.sum((3, 4), dtype=wide) / table).astype(x.dtype)
        return _in_layout(xp, y, nhwc)

    return compute
