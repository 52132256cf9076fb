"""TensorFlow on the CPU: a tf.function compiled by XLA, NHWC."""

from __future__ import annotations

import importlib
import importlib.metadata
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...problem import Conv2dProblem, Pool2dProblem
from ...testing import Inputs
from ..contest import Contestant, Unsupported
from .shared import check_convolution, check_pooling, composed, in_float32, is_global, mean_divisors, padding_to_the_end, why_not, with_weight_in

NAME = "tensorflow jit"
DTYPES = ("float16", "bfloat16", "float32")


def available(device: str) -> str | None:
    """Return None on a CPU with TensorFlow, else the sentence why not."""
    if device != "cpu":
        return "TensorFlow is asked to compete on the CPU alone: its XLA on a GPU is JAX'"
    return why_not("tensorflow")


def version() -> str:
    """Return TensorFlow's version."""
    return str(importlib.import_module("tensorflow").__version__)


def contestants(problem: Any, inputs: Inputs, device: str) -> list[Contestant]:
    """Return the compiled function."""
    compute = operation(problem)
    tf = importlib.import_module("tensorflow")
    tf.get_logger().setLevel("ERROR")  # it warns of functions made in a loop, which here are problems
    jitted = tf.function(compute, jit_compile=True, autograph=False)
    with tf.device("/CPU:0"):
        operands = {name: tf.constant(array) for name, array in with_weight_in(inputs, problem, "RSCK").items()}
    last: list[Any] = [None]

    def call() -> None:
        with tf.device("/CPU:0"):
            last[0] = jitted(**operands)

    return [Contestant(NAME, call, lambda: np.asarray(last[0].numpy()), unfused=True)]


def operation(problem: Any) -> Callable[..., Any]:
    """Return compute(x, weight, ...) on tensors, or raise Unsupported."""
    if problem.layout != "NHWC":
        raise Unsupported("TensorFlow on a CPU computes NHWC alone")
    return composed(problem, _convolution, _pooling)


def _convolution(problem: Conv2dProblem) -> Callable[..., Any]:
    check_convolution(problem, "TensorFlow", DTYPES)
    tf = importlib.import_module("tensorflow")
    top, bottom, left, right = problem.pads
    words = dict(strides=problem.stride, padding=[[0, 0], [top, bottom], [left, right], [0, 0]], dilations=problem.dilation)
    activate = _activation(tf, problem.activation)

    def compute(x: Any, weight: Any, scale: Any = None, bias: Any = None, residual: Any = None) -> Any:
        y = tf.nn.conv2d(x, weight, **words)
        y = y if scale is None else y * scale
        y = y if bias is None else tf.nn.bias_add(y, bias)
        return activate(y if residual is None else y + residual)

    return compute


def _activation(tf: Any, activation: tuple[Any, ...]) -> Callable[[Any], Any]:
    wide = lambda function, name: in_float32(tf.cast, function, name)  # noqa: E731
    name, *numbers = activation
    if name in ("gelu", "gelu_tanh"):
        return wide(lambda y: tf.nn.gelu(y, approximate=name == "gelu_tanh"), name)
    if name == "clip":
        return lambda y: tf.clip_by_value(y, *numbers)
    if name == "hardswish":
        return wide(lambda y: y * tf.nn.relu6(y + 3) / 6, name)
    if name == "none":
        return lambda y: y
    found = getattr(tf.nn, name)
    return wide(lambda y: found(y, *numbers), name)


def _pooling(problem: Pool2dProblem) -> Callable[..., Any]:
    check_pooling(problem, "TensorFlow", DTYPES, dilated=False)
    tf = importlib.import_module("tensorflow")
    window, axes = (problem.r, problem.s), (1, 2)
    pads = [[0, 0], *map(list, padding_to_the_end(problem)), [0, 0]]
    padded = any(map(any, pads))
    if problem.kind == "max":
        if is_global(problem):
            return lambda x: tf.reduce_max(x, axes, keepdims=True)
        around = (lambda x: tf.pad(x, pads, constant_values=tf.constant(-math.inf, x.dtype))) if padded else (lambda x: x)
        return lambda x: tf.nn.max_pool2d(around(x), window, problem.stride, "VALID")
    if is_global(problem):
        return lambda x: tf.cast(tf.reduce_mean(tf.cast(x, "float32"), axes, keepdims=True), x.dtype)
    factors = problem.r * problem.s / np.asarray(mean_divisors(problem))  # avg_pool2d divides by the whole window
    table = tf.constant(factors.reshape((1, *factors.shape, 1)) if factors.ndim else factors, "float32")
    spread = (lambda x: tf.pad(x, pads)) if padded else (lambda x: x)
    return lambda x: tf.cast(tf.nn.avg_pool2d(spread(tf.cast(x, "float32")), window, problem.stride, "VALID") * table, x.dtype)
