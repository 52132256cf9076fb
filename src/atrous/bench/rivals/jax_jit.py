"""JAX: a jitted function in the problem's own layout, convolved by XLA, which takes cuDNN or its own kernels as it finds best."""

from __future__ import annotations

import importlib
import importlib.metadata
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...problem import Conv2dProblem, Pool2dProblem
from ...testing import Inputs
from ..contest import Contestant
from .shared import (
    check_convolution,
    check_pooling,
    composed,
    in_float32,
    is_global,
    mean_divisors,
    padding_to_the_end,
    per_channel,
    why_not,
    with_weight_in,
)

NAME = "jax jit"
UNCAPTURED = "JAX gives no CUDA graph of its kernels to replay on rotated buffers; its wall time is measured"
DTYPES = ("float16", "bfloat16", "float32")
#: layout -> the order of the weights that jax' users keep with it, in our letters and in its own
WEIGHTS = {"NHWC": ("RSCK", "HWIO"), "NCHW": ("KCRS", "OIHW")}


def available(device: str) -> str | None:
    """Return None if JAX is here and reaches the device, else the sentence why not."""
    if (reason := why_not("jax")) is not None or device == "cpu":
        return reason
    try:
        return None if importlib.import_module("jax").devices("gpu") else "jax finds no GPU"
    except RuntimeError as failure:
        return f"jax is installed and finds no GPU: {failure}"


def version() -> str:
    """Return JAX' version."""
    return importlib.metadata.version("jax")


def contestants(problem: Any, inputs: Inputs, device: str) -> list[Contestant]:
    """Return the operation; of float32 on a GPU also as JAX computes it unasked, in TF32."""
    found = [_contestant(NAME, problem, inputs, device, "")]
    if device == "cuda" and not isinstance(problem, Pool2dProblem) and problem.dtype == "float32" and problem.precision == "float32":
        found.append(_contestant(f"{NAME}, its default", problem, inputs, device, "tf32"))
    return found


def _contestant(name: str, problem: Any, inputs: Inputs, device: str, precision: str) -> Contestant:
    jax = importlib.import_module("jax")
    place = jax.devices("cpu" if device == "cpu" else "gpu")[0]
    jitted = jax.jit(operation(problem, precision))
    arrays = with_weight_in(inputs, problem, WEIGHTS[problem.layout][0])
    operands = {name: jax.device_put(array, place) for name, array in arrays.items()}
    last: list[Any] = [None]

    def call() -> None:
        last[0] = jitted(**operands)

    words: dict[str, Any] = dict(uncaptured=UNCAPTURED, unfused=True, precision=precision)
    return Contestant(name, call, lambda: np.asarray(last[0]), wait=lambda: jax.block_until_ready(last[0]), **words)


def operation(problem: Any, precision: str = "") -> Callable[..., Any]:
    """Return compute(x, weight, ...) on JAX arrays, or raise Unsupported."""
    return composed(problem, lambda conv: _convolution(conv, precision), _pooling)


def _convolution(problem: Conv2dProblem, precision: str) -> Callable[..., Any]:
    check_convolution(problem, "jax", DTYPES, crops=True)
    lax = importlib.import_module("jax").lax
    top, bottom, left, right = problem.pads
    words = dict(
        window_strides=problem.stride, padding=((top, bottom), (left, right)), rhs_dilation=problem.dilation, feature_group_count=problem.groups,
        dimension_numbers=(problem.layout, WEIGHTS[problem.layout][1], problem.layout),
        # unasked, XLA multiplies float32 in TF32 on a GPU
        precision=lax.Precision.DEFAULT if "tf32" in (precision, problem.precision) else lax.Precision.HIGHEST,
    )  # fmt: skip
    channel, activate = per_channel(problem), _activation(problem.activation)

    def compute(x: Any, weight: Any, scale: Any = None, bias: Any = None, residual: Any = None) -> Any:
        y = lax.conv_general_dilated(x, weight, **words)
        y = y if scale is None else y * scale.reshape(channel)
        y = y if bias is None else y + bias.reshape(channel)
        return activate(y if residual is None else y + residual)

    return compute


def _activation(activation: tuple[Any, ...]) -> Callable[[Any], Any]:
    jax = importlib.import_module("jax")
    name, *numbers = activation
    wide = lambda function, name: in_float32(lambda y, dtype: y.astype(dtype), function, name)  # noqa: E731
    if name == "clip":
        return lambda y: jax.numpy.clip(y, *numbers)
    if name in ("gelu", "gelu_tanh"):
        return wide(lambda y: jax.nn.gelu(y, approximate=name == "gelu_tanh"), name)
    found = getattr(jax.nn, {"none": "identity", "hardswish": "hard_swish"}.get(name, name))
    return wide(lambda y: found(y, *numbers), name)


def _pooling(problem: Pool2dProblem) -> Callable[..., Any]:
    check_pooling(problem, "jax", DTYPES)
    jnp, lax = importlib.import_module("jax.numpy"), importlib.import_module("jax").lax
    axes = tuple(problem.layout.index(letter) for letter in "HW")

    def four(values: tuple[Any, Any], other: Any) -> list[Any]:
        return [values[axes.index(axis)] if axis in axes else other for axis in range(4)]

    windows = lambda x, start, reduce: lax.reduce_window(  # noqa: E731
        x, start, reduce, four((problem.r, problem.s), 1), four(problem.stride, 1), four(padding_to_the_end(problem), (0, 0)),
        window_dilation=four(problem.dilation, 1),
    )  # fmt: skip
    if problem.kind == "max":
        return (lambda x: x.max(axes, keepdims=True)) if is_global(problem) else lambda x: windows(x, -math.inf, lax.max)
    if is_global(problem):
        return lambda x: x.mean(axes, dtype="float32", keepdims=True).astype(x.dtype)
    divisors = mean_divisors(problem)
    table = divisors if isinstance(divisors, float) else jnp.asarray(np.expand_dims(divisors, [axis for axis in range(4) if axis not in axes]), "float32")
    return lambda x: (windows(x.astype("float32"), 0.0, lax.add) / table).astype(x.dtype)
