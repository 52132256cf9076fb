"""The pooling operations: thin doors from words and arrays to a problem and a plan."""

from __future__ import annotations

from typing import Any

from .errors import reports
from .operands import gather
from .plan import execute
from .requests import make_pool


def max_pool2d(
    x: Any,
    window: Any,
    *,
    stride: Any = None,
    padding: Any = "valid",
    dilation: Any = 1,
    ceil_mode: bool = False,
    nan: str = "propagate",
    return_indices: bool = False,
    layout: str = "NHWC",
    out: Any = None,
    stream: Any = None,
    engine: str | None = None,
) -> Any:
    """Return the largest value of each window; padding never wins.

    y[n,p,q,c] = max over the real taps (r, s) of x[n, p*stride_h - top + r*dilation_h, q*stride_w - left + s*dilation_w, c].

    Parameters
    ----------
    x : array (N, H, W, C), or (N, C, H, W) for layout="NCHW"
        float16, bfloat16, float32, float64, int8 or uint8. NumPy, CuPy, torch or any DLPack producer; any strides.
    window : int, (rows, columns) or "global"
        Taps along each axis; "global" is all of x, with no stride, padding or dilation.
    stride : int or (rows, columns), optional
        In input cells; default the window.
    padding : int, (rows, columns), ((top, bottom), (left, right)), "valid", "same", "same_lower", "full" or "causal"
        In input cells; negative crops.
    dilation : int or (rows, columns), default 1
        1 is dense, 0 is an error.
    ceil_mode : bool, default False
        Round the output size up; a window that would start beyond the input and its low padding is left out.
    nan : "propagate" or "omit"
        Whether a NaN wins its window or is passed over (a window of nothing but NaN gives NaN).
    return_indices : bool, default False
        Also return where each maximum stands: h*W+w in its plane, the first in row-major window order on ties.
    out : array, or pair of arrays with return_indices, optional
        Written and returned; any strides.
    stream, engine
        As in `conv2d`.

    Returns
    -------
    array (N, P, Q, C), or (N, C, P, Q)
        Of x's library and dtype; with return_indices a pair of it and the indices (int32, int64 from 2^31 cells a plane).

    Raises
    ------
    ProblemError
        If a shape, dtype, device, word or number makes no sense, or a window lies wholly in padding; nothing has run then.
    UnsupportedProblem
        If the named engine does not take the problem.
    EngineUnavailable
        If the named engine cannot run here.

    Examples
    --------
    >>> import numpy as np, atrous
    >>> x = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    >>> atrous.max_pool2d(x, 2)[0, :, :, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """
    return run_pool(
        "max_pool2d",
        x,
        window,
        "max",
        out,
        stream,
        engine,
        nan=nan,
        return_indices=return_indices,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        layout=layout,
    )


def avg_pool2d(
    x: Any,
    window: Any,
    *,
    stride: Any = None,
    padding: Any = "valid",
    dilation: Any = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    divisor: float | None = None,
    layout: str = "NHWC",
    out: Any = None,
    stream: Any = None,
    engine: str | None = None,
) -> Any:
    """Return the mean of each window.

    y = sum over the real taps of x, over: `divisor` if given; the taps inside the explicitly padded input if
    `count_include_pad`; else the real taps. Taps are counted, not extent.

    Parameters
    ----------
    x : array (N, H, W, C), or (N, C, H, W) for layout="NCHW"
        float16, bfloat16, float32 or float64. NumPy, CuPy, torch or any DLPack producer; any strides.
    window : int, (rows, columns) or "global"
        Taps along each axis; "global" is all of x, with no stride, padding or dilation.
    stride : int or (rows, columns), optional
        In input cells; default the window.
    padding : int, (rows, columns), ((top, bottom), (left, right)), "valid", "same", "same_lower", "full" or "causal"
        In input cells; negative crops.
    dilation : int or (rows, columns), default 1
        1 is dense, 0 is an error.
    ceil_mode : bool, default False
        Round the output size up; a window that would start beyond the input and its low padding is left out.
    count_include_pad : bool, default False
        Count padding as zeros (torch's default is True); overhang of ceil_mode is never counted.
    divisor : number, optional
        Divide by this instead; not 0.
    out : array, optional
        Written and returned; any strides.
    stream, engine
        As in `conv2d`.

    Returns
    -------
    array (N, P, Q, C), or (N, C, P, Q)
        Of x's library and dtype.

    Raises
    ------
    ProblemError
        If a shape, dtype, device, word or number makes no sense, or a window whose mean excludes padding lies wholly in it; nothing has run then.
    UnsupportedProblem
        If x holds integers, or the named engine does not take the problem.
    EngineUnavailable
        If the named engine cannot run here.

    Examples
    --------
    >>> import numpy as np, atrous
    >>> x = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    >>> atrous.avg_pool2d(x, 2)[0, :, :, 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    return run_pool(
        "avg_pool2d",
        x,
        window,
        "avg",
        out,
        stream,
        engine,
        count_include_pad=count_include_pad,
        divisor=divisor,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        layout=layout,
    )


def lp_pool2d(
    x: Any,
    window: Any,
    p: float = 2.0,
    *,
    stride: Any = None,
    padding: Any = "valid",
    dilation: Any = 1,
    ceil_mode: bool = False,
    layout: str = "NHWC",
    out: Any = None,
    stream: Any = None,
    engine: str | None = None,
) -> Any:
    """Return the p-norm of each window: a sum, not a mean.

    y = (sum over the real taps of |x|^p)^(1/p), scaled so that no power overflows; p = inf is max |x|.

    Parameters
    ----------
    x : array (N, H, W, C), or (N, C, H, W) for layout="NCHW"
        float16, bfloat16, float32 or float64. NumPy, CuPy, torch or any DLPack producer; any strides.
    window : int, (rows, columns) or "global"
        Taps along each axis; "global" is all of x, with no stride, padding or dilation.
    p : float, default 2.0
        Real and > 0, or inf.
    stride : int or (rows, columns), optional
        In input cells; default the window.
    padding : int, (rows, columns), ((top, bottom), (left, right)), "valid", "same", "same_lower", "full" or "causal"
        In input cells; negative crops.
    dilation : int or (rows, columns), default 1
        1 is dense, 0 is an error.
    ceil_mode : bool, default False
        Round the output size up; a window that would start beyond the input and its low padding is left out.
    out : array, optional
        Written and returned; any strides.
    stream, engine
        As in `conv2d`.

    Returns
    -------
    array (N, P, Q, C), or (N, C, P, Q)
        Of x's library and dtype.

    Raises
    ------
    ProblemError
        If a shape, dtype, device, word or number makes no sense; nothing has run then.
    UnsupportedProblem
        If x holds integers, or the named engine does not take the problem.
    EngineUnavailable
        If the named engine cannot run here.

    Examples
    --------
    >>> import numpy as np, atrous
    >>> x = np.array([300, 300], "float16").reshape(1, 1, 2, 1)
    >>> float(atrous.lp_pool2d(x, (1, 2))[0, 0, 0, 0])
    424.25
    """
    return run_pool(
        "lp_pool2d", x, window, "lp", out, stream, engine, power=p, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode, layout=layout
    )


def l2_pool2d(
    x: Any,
    window: Any,
    *,
    stride: Any = None,
    padding: Any = "valid",
    dilation: Any = 1,
    ceil_mode: bool = False,
    layout: str = "NHWC",
    out: Any = None,
    stream: Any = None,
    engine: str | None = None,
) -> Any:
    """Return the Euclidean norm of each window: `lp_pool2d` with p = 2.

    y = sqrt(sum over the real taps of x^2).

    Parameters
    ----------
    x : array (N, H, W, C), or (N, C, H, W) for layout="NCHW"
        float16, bfloat16, float32 or float64. NumPy, CuPy, torch or any DLPack producer; any strides.
    window : int, (rows, columns) or "global"
        Taps along each axis; "global" is all of x, with no stride, padding or dilation.
    stride : int or (rows, columns), optional
        In input cells; default the window.
    padding : int, (rows, columns), ((top, bottom), (left, right)), "valid", "same", "same_lower", "full" or "causal"
        In input cells; negative crops.
    dilation : int or (rows, columns), default 1
        1 is dense, 0 is an error.
    ceil_mode : bool, default False
        Round the output size up; a window that would start beyond the input and its low padding is left out.
    out : array, optional
        Written and returned; any strides.
    stream, engine
        As in `conv2d`.

    Returns
    -------
    array (N, P, Q, C), or (N, C, P, Q)
        Of x's library and dtype.

    Raises
    ------
    ProblemError
        If a shape, dtype, device, word or number makes no sense; nothing has run then.
    UnsupportedProblem
        If x holds integers, or the named engine does not take the problem.
    EngineUnavailable
        If the named engine cannot run here.

    Examples
    --------
    >>> import numpy as np, atrous
    >>> x = np.array([3, 4], "float32").reshape(1, 1, 2, 1)
    >>> float(atrous.l2_pool2d(x, (1, 2))[0, 0, 0, 0])
    5.0
    """
    return run_pool(
        "l2_pool2d", x, window, "lp", out, stream, engine, power=2.0, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode, layout=layout
    )


def rms_pool2d(
    x: Any,
    window: Any,
    *,
    stride: Any = None,
    padding: Any = "valid",
    dilation: Any = 1,
    ceil_mode: bool = False,
    layout: str = "NHWC",
    out: Any = None,
    stream: Any = None,
    engine: str | None = None,
) -> Any:
    """Return the root mean square of each window: the mean variant of `l2_pool2d`.

    y = sqrt(sum over the real taps of x^2 / number of real taps).

    Parameters
    ----------
    x : array (N, H, W, C), or (N, C, H, W) for layout="NCHW"
        float16, bfloat16, float32 or float64. NumPy, CuPy, torch or any DLPack producer; any strides.
    window : int, (rows, columns) or "global"
        Taps along each axis; "global" is all of x, with no stride, padding or dilation.
    stride : int or (rows, columns), optional
        In input cells; default the window.
    padding : int, (rows, columns), ((top, bottom), (left, right)), "valid", "same", "same_lower", "full" or "causal"
        In input cells; negative crops.
    dilation : int or (rows, columns), default 1
        1 is dense, 0 is an error.
    ceil_mode : bool, default False
        Round the output size up; a window that would start beyond the input and its low padding is left out.
    out : array, optional
        Written and returned; any strides.
    stream, engine
        As in `conv2d`.

    Returns
    -------
    array (N, P, Q, C), or (N, C, P, Q)
        Of x's library and dtype.

    Raises
    ------
    ProblemError
        If a shape, dtype, device, word or number makes no sense, or a window lies wholly in padding; nothing has run then.
    UnsupportedProblem
        If x holds integers, or the named engine does not take the problem.
    EngineUnavailable
        If the named engine cannot run here.

    Examples
    --------
    >>> import numpy as np, atrous
    >>> x = np.array([1, 7], "float32").reshape(1, 1, 2, 1)
    >>> float(atrous.rms_pool2d(x, (1, 2))[0, 0, 0, 0])
    5.0
    """
    return run_pool("rms_pool2d", x, window, "rms", out, stream, engine, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode, layout=layout)


@reports()
def run_pool(operation: str, x: Any, window: Any, kind: str, out: Any, stream: Any, engine: str | None, **options: Any) -> Any:
    """Check a call, make its problem, and run it."""
    library, inputs = gather(operation, "x", x)
    problem = make_pool(operation, inputs["x"].shape, window, kind, inputs["x"].dtype, options)
    return execute(problem, library, inputs, out, stream, engine, None)
