"""separable_conv2d and plan_separable_conv2d: a depthwise convolution and the 1x1 of what it gives, in one kernel where one takes both."""

from __future__ import annotations

from typing import Any

from .errors import reports
from .plan import Plan, dense_vectors, execute, packed
from .requests import make_separable, planned_separable, separable_operands


@reports("separable_conv2d")
def separable_conv2d(
    x: Any,
    depthwise_weight: Any,
    pointwise_weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    padding_mode: str = "zeros",
    layout: str = "NHWC",
    weight_layout: str | None = None,
    depthwise_scale: Any = None,
    depthwise_bias: Any = None,
    depthwise_activation: Any = None,
    scale: Any = None,
    residual: Any = None,
    activation: Any = None,
    precision: str = "float32",
    out_dtype: Any = None,
    out: Any = None,
    stream: Any = None,
    engine: str | None = None,
    kernel: str | None = None,
) -> Any:
    """Convolve each channel with filters of its own, and mix the channels by a 1x1: the bits of two calls of `conv2d`.

    y = conv2d(conv2d(x, depthwise_weight, groups=C, ...), pointwise_weight, ...). What the depthwise gives is rounded to
    x's dtype and is the input of the 1x1. Where one kernel takes both, it stays on the chip; else both run one after the
    other, and `explain` says why.

    Parameters
    ----------
    x : array (N, H, W, C), or (N, C, H, W)
        float16, bfloat16, float32 or float64.
    depthwise_weight : array (C*M, R, S, 1), or (C*M, 1, R, S)
        M filters a channel; filter k reads channel k // M.
    pointwise_weight : array (K, 1, 1, C*M), or (K, C*M, 1, 1)
    stride, padding, dilation, padding_mode
        Those of `conv2d`, of the depthwise: the 1x1 takes every pixel that it gives.
    layout, weight_layout, precision
        Those of `conv2d`, of both.
    depthwise_scale, depthwise_bias : array (C*M,), optional
    depthwise_activation : name or (name, number, ...), optional
        The epilogue of the depthwise.
    bias, scale, residual, activation, out_dtype
        Those of `conv2d`, of the 1x1.
    out : array, optional
        Written and returned; any strides.
    stream, engine
        Those of `conv2d`.
    kernel : name, optional
        A kernel for both, which then runs or raises its reason for declining; or one of `conv2d`'s, which then computes
        the depthwise before the 1x1's own.

    Returns
    -------
    array (N, P, Q, K), or (N, K, P, Q)
        Of x's library, on x's device.

    Raises
    ------
    ProblemError
        If a shape, dtype, device, word or number makes no sense; nothing has run then.
    UnsupportedProblem
        If the named engine or kernel does not take the problem, or x holds integers.
    EngineUnavailable
        If the named engine cannot run here.

    Examples
    --------
    >>> import numpy as np, atrous
    >>> x = np.arange(72, dtype="float32").reshape(1, 6, 6, 2)
    >>> mean = np.full((2, 3, 3, 1), 1 / 9, "float32")
    >>> y = atrous.separable_conv2d(x, mean, np.ones((1, 1, 1, 2), "float32"))
    >>> y.shape, round(float(y[0, 0, 0, 0]), 3)
    ((1, 4, 4, 1), 29.0)
    """
    name = "separable_conv2d"
    arrays = dict(
        x=x, depthwise_weight=depthwise_weight, pointwise_weight=pointwise_weight, depthwise_scale=depthwise_scale, depthwise_bias=depthwise_bias,
        scale=scale, bias=bias, residual=residual,
    )  # fmt: skip
    words = dict(
        stride=stride, padding=padding, dilation=dilation, padding_mode=padding_mode, layout=layout, weight_layout=weight_layout,
        depthwise_activation=depthwise_activation, activation=activation, precision=precision, out_dtype=out_dtype,
    )  # fmt: skip
    library, inputs = separable_operands(name, "x", arrays)
    problem = make_separable(name, inputs["x"].shape, inputs["x"].dtype, inputs, words, "residual" in inputs)
    dense_vectors(name, library, inputs, problem.depthwise.k, "depthwise_")
    dense_vectors(name, library, inputs, problem.pointwise.k)
    return execute(problem, library, inputs, out, stream, engine, kernel)


@reports("plan_separable_conv2d")
def plan_separable_conv2d(
    x_shape: Any,
    depthwise_weight: Any,
    pointwise_weight: Any,
    bias: Any = None,
    *,
    dtype: Any = None,
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    padding_mode: str = "zeros",
    layout: str = "NHWC",
    weight_layout: str | None = None,
    depthwise_scale: Any = None,
    depthwise_bias: Any = None,
    depthwise_activation: Any = None,
    scale: Any = None,
    residual: bool = False,
    activation: Any = None,
    precision: str = "float32",
    out_dtype: Any = None,
    engine: str | None = None,
    kernel: str | None = None,
) -> Plan:
    """Return a Plan of a separable convolution for inputs of one shape: `y = plan(x)` or `plan(x, residual=r, out=y, stream=s)`.

    Parameters are those of `separable_conv2d`, except x_shape, dtype and residual, which are those of `plan_conv2d`.

    Returns
    -------
    Plan
        Its workspace_bytes are 0 where one kernel does both; else they hold what the depthwise gives.

    Raises
    ------
    ProblemError, UnsupportedProblem, EngineUnavailable
        As `separable_conv2d`.

    Examples
    --------
    >>> import numpy as np, atrous
    >>> weights = np.ones((3, 3, 3, 1), "float32"), np.ones((16, 1, 1, 3), "float32")
    >>> plan = atrous.plan_separable_conv2d((8, 28, 28, 3), *weights, padding="same", stride=2)
    >>> plan(np.ones((8, 28, 28, 3), "float32")).shape
    (8, 14, 14, 16)
    """
    name = "plan_separable_conv2d"
    given = dict(
        depthwise_weight=depthwise_weight, pointwise_weight=pointwise_weight, depthwise_scale=depthwise_scale, depthwise_bias=depthwise_bias,
        scale=scale, bias=bias,
    )  # fmt: skip
    words = dict(
        stride=stride, padding=padding, dilation=dilation, padding_mode=padding_mode, layout=layout, weight_layout=weight_layout,
        depthwise_activation=depthwise_activation, activation=activation, precision=precision, out_dtype=out_dtype,
    )  # fmt: skip
    library, constants, problem = planned_separable(name, x_shape, dtype, given, residual, words)
    return Plan(problem, library, packed(name, library, constants), engine, kernel)
