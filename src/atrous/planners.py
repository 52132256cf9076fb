"""plan_conv2d and plan_pool2d: a plan from shapes, words and weights."""

from __future__ import annotations

from typing import Any

from . import arguments as arg
from .errors import ProblemError, reports, sentence
from .plan import Plan, packed
from .requests import dtype_name, make_pool, planned_conv


@reports("plan_conv2d")
def plan_conv2d(
    x_shape: Any,
    weight: Any,
    bias: Any = None,
    *,
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
    """Return a Plan that convolves inputs of one shape: `y = plan(x)` or `plan(x, residual=r, out=y, stream=s)`.

    Parameters are those of `conv2d`, except:

    Parameters
    ----------
    x_shape : four ints
        Shape of the inputs to come, in `layout`.
    dtype : dtype or name, optional
        Dtype of the inputs to come; must be weight's, which is the default.
    residual : bool, default False
        Whether each call brings a residual.

    Returns
    -------
    Plan
        It holds its own packed copy of weight, scale and bias.

    Raises
    ------
    ProblemError, UnsupportedProblem, EngineUnavailable
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, atrous
    >>> plan = atrous.plan_conv2d((8, 28, 28, 3), np.ones((16, 3, 3, 3), "float32"), padding="same")
    >>> plan(np.ones((8, 28, 28, 3), "float32")).shape
    (8, 28, 28, 16)
    """
    words = dict(
        stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode, layout=layout, weight_layout=weight_layout,
        activation=activation, precision=precision, out_dtype=out_dtype, zero_point=zero_point, out_zero_point=out_zero_point,
    )  # fmt: skip
    given = dict(weight=weight, scale=scale, bias=bias)
    library, constants, problem = planned_conv("plan_conv2d", x_shape, dtype, given, residual, words)
    return Plan(problem, library, packed("plan_conv2d", library, constants), engine, kernel)


@reports("plan_pool2d")
def plan_pool2d(
    x_shape: Any, window: Any, kind: str, *, dtype: Any, weights: Any = None, engine: str | None = None, kernel: str | None = None, **options: Any
) -> Plan:
    """Return a Plan that pools inputs of one shape: `y = plan(x)`, or (y, indices) with return_indices=True.

    Parameters
    ----------
    x_shape : four ints
        Shape of the inputs to come, in `layout`.
    window : int, (rows, columns) or "global"
    kind : "max", "avg", "lp", "l2", "rms" or "weighted"
    dtype : dtype or name
        Dtype of the inputs to come.
    weights : "gaussian", "inverse", "binomial", optional
        Of kind "weighted"; default "gaussian". A table of one's own goes to `weighted_avg_pool2d`.
    **options
        Those of the function of that kind: stride, padding, dilation, ceil_mode, layout, nan, return_indices,
        count_include_pad, divisor, p, sigma, normalize.

    Raises
    ------
    ProblemError, UnsupportedProblem, EngineUnavailable
        As the function of that kind.

    Examples
    --------
    >>> import numpy as np, atrous
    >>> plan = atrous.plan_pool2d((1, 4, 4, 1), 2, "max", dtype="float32")
    >>> plan(np.arange(16, dtype="float32").reshape(1, 4, 4, 1))[0, :, :, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """
    operation = "plan_pool2d"
    arg.one_of(operation, "kind", kind, ("max", "avg", "lp", "l2", "rms", "weighted"))
    allowed = {"stride", "padding", "dilation", "ceil_mode", "layout", "nan", "return_indices", "count_include_pad", "divisor", "p", "sigma", "normalize"}
    for name in options:
        if name not in allowed:
            raise ProblemError(sentence(operation, f"option {name!r} was given", f"one of {', '.join(sorted(allowed))}", "correct the name"))
    if kind == "weighted":
        options["weighting"] = arg.one_of(operation, "weights", "gaussian" if weights is None else weights, arg.WEIGHTINGS[:3])
    elif weights is not None:
        raise ProblemError(sentence(operation, f"weights is {arg.shown(weights)} and kind is {kind!r}", "weights only with kind 'weighted'", "drop weights="))
    if "p" in options:
        if kind != "lp":
            raise ProblemError(sentence(operation, f"p is {arg.shown(options['p'])} and kind is {kind!r}", "p only with kind 'lp'", "drop p="))
        options["power"] = options.pop("p")
    if dtype is None:
        raise ProblemError(sentence(operation, "dtype is None", f"one of {', '.join(arg.INPUT_DTYPES)}", "pass the dtype of the inputs to come"))
    problem = make_pool(operation, x_shape, window, "lp" if kind == "l2" else kind, dtype_name(operation, "dtype", dtype) or "", options)
    return Plan(problem, None, {}, engine, kernel)
