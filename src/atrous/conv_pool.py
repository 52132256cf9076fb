"""conv2d_pool2d and plan_conv2d_pool2d: a convolution and the pooling of what it gives, in one kernel where one takes both."""

from __future__ import annotations

from typing import Any

from .errors import reports
from .operands import gather
from .plan import Plan, dense_vectors, execute, packed
from .requests import called_conv, make_pair, planned_conv


@reports("conv2d_pool2d")
def conv2d_pool2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    pool: str = "max",
    window: Any = 2,
    pool_stride: Any = None,
    pool_padding: Any = "valid",
    pool_dilation: Any = 1,
    ceil_mode: bool = False,
    nan: str = "propagate",
    count_include_pad: bool = False,
    divisor: float | None = None,
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: str = "NHWC",
    weight_layout: str | None = None,
    scale: Any = None,
    residual: Any = None,
    activation: Any = None,
    precision: str = "float32",
    out_dtype: Any = None,
    zero_point: int = 0,
    out_zero_point: int = 0,
    out: Any = None,
    stream: Any = None,
    engine: str | None = None,
    kernel: str | None = None,
) -> Any:
    """Convolve images with filters and pool the result: the bits of `max_pool2d` or `avg_pool2d` of `conv2d`.

    y = pool(conv2d(x, weight, ...)). The convolution's output is rounded to its out_dtype and then pooled. Where one
    kernel takes both, that output stays on the chip; else both run one after the other, and `explain` says why.

    Parameters
    ----------
    x, weight, bias, scale, stride, padding, dilation, groups, padding_mode, layout, weight_layout, activation, precision
        Those of `conv2d`.
    pool : "max" or "avg", default "max"
    window : int, (rows, columns) or "global", default 2
        Of the pooling, in outputs of the convolution.
    pool_stride, pool_padding, pool_dilation
        stride (default the window), padding and dilation of the pooling, in outputs of the convolution.
    ceil_mode, nan, count_include_pad, divisor
        Those of `max_pool2d` and `avg_pool2d`.
    residual : array of the convolution's output shape and dtype, optional
        Added before the activation, so before the pooling.
    out_dtype, zero_point, out_zero_point
        Those of `conv2d`. Integers must be requantised: out_dtype "int8" or "uint8", or "float32".
    out : array, optional
        Written and returned; any strides.
    stream, engine
        Those of `conv2d`.
    kernel : name, optional
        A kernel for both, which then runs or raises its reason for declining; or one of the convolution's, which then
        runs before the pooling's own.

    Returns
    -------
    array (N, P, Q, K), or (N, K, P, Q), where P and Q are the pooling's
        Of x's library, on x's device.

    Raises
    ------
    ProblemError
        If a shape, dtype, device, word or number makes no sense; nothing has run then.
    UnsupportedProblem
        If the named engine or kernel does not take the problem, or the mean of integers is asked for.
    EngineUnavailable
        If the named engine cannot run here.

    Examples
    --------
    >>> import numpy as np, atrous
    >>> x = np.arange(36, dtype="float32").reshape(1, 6, 6, 1)
    >>> mean = np.full((1, 3, 3, 1), 1 / 9, "float32")
    >>> y = atrous.conv2d_pool2d(x, mean, pool="max", window=2)
    >>> y.shape, y[0, :, :, 0].round(3).tolist()
    ((1, 2, 2, 1), [[14.0, 16.0], [26.0, 28.0]])
    """
    name = "conv2d_pool2d"
    library, inputs = gather(name, "x", x, weight=weight, scale=scale, bias=bias, residual=residual)
    words = dict(
        stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode, layout=layout, weight_layout=weight_layout,
        activation=activation, precision=precision, out_dtype=out_dtype, zero_point=zero_point, out_zero_point=out_zero_point,
    )  # fmt: skip
    pooling = dict(
        pool_stride=pool_stride, pool_padding=pool_padding, pool_dilation=pool_dilation, ceil_mode=ceil_mode,
        nan=nan, count_include_pad=count_include_pad, divisor=divisor,
    )  # fmt: skip
    conv = called_conv(name, inputs, words)
    problem = make_pair(name, conv, pool, window, pooling)
    dense_vectors(name, library, inputs, conv.k)
    return execute(problem, library, inputs, out, stream, engine, kernel)


@reports("plan_conv2d_pool2d")
def plan_conv2d_pool2d(
    x_shape: Any,
    weight: Any,
    bias: Any = None,
    *,
    pool: str = "max",
    window: Any = 2,
    pool_stride: Any = None,
    pool_padding: Any = "valid",
    pool_dilation: Any = 1,
    ceil_mode: bool = False,
    nan: str = "propagate",
    count_include_pad: bool = False,
    divisor: float | None = None,
    dtype: Any = None,
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: str = "NHWC",
    weight_layout: str | None = None,
    scale: Any = None,
    residual: bool = False,
    activation: Any = None,
    precision: str = "float32",
    out_dtype: Any = None,
    zero_point: int = 0,
    out_zero_point: int = 0,
    engine: str | None = None,
    kernel: str | None = None,
) -> Plan:
    """Return a Plan that convolves and pools inputs of one shape: `y = plan(x)` or `plan(x, residual=r, out=y, stream=s)`.

    Parameters are those of `conv2d_pool2d`, except x_shape, dtype and residual, which are those of `plan_conv2d`.

    Returns
    -------
    Plan
        Its workspace_bytes are 0 where one kernel does both; else they hold the convolution's output.

    Raises
    ------
    ProblemError, UnsupportedProblem, EngineUnavailable
        As `conv2d_pool2d`.

    Examples
    --------
    >>> import numpy as np, atrous
    >>> plan = atrous.plan_conv2d_pool2d((8, 28, 28, 3), np.ones((16, 3, 3, 3), "float32"), padding="same", window=2)
    >>> plan(np.ones((8, 28, 28, 3), "float32")).shape
    (8, 14, 14, 16)
    """
    name = "plan_conv2d_pool2d"
    words = dict(
        stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode, layout=layout, weight_layout=weight_layout,
        activation=activation, precision=precision, out_dtype=out_dtype, zero_point=zero_point, out_zero_point=out_zero_point,
    )  # fmt: skip
    pooling = dict(
        pool_stride=pool_stride, pool_padding=pool_padding, pool_dilation=pool_dilation, ceil_mode=ceil_mode,
        nan=nan, count_include_pad=count_include_pad, divisor=divisor,
    )  # fmt: skip
    given = dict(weight=weight, scale=scale, bias=bias)
    library, constants, conv = planned_conv(name, x_shape, dtype, given, residual, words)
    return Plan(make_pair(name, conv, pool, window, pooling), library, packed(name, library, constants), engine, kernel)
