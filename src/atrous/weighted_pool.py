"""weighted_avg_pool2d: the average of a window by distance from its centre, or by a table of the caller's."""

from __future__ import annotations

from typing import Any

from . import arguments as arg
from .errors import ProblemError, reports, sentence
from .interop import Library, Operand, library_of
from .operands import Operands, gather, same_device
from .plan import execute, packed, tap_dtype, tap_operand
from .problem import Pool2dProblem
from .requests import make_pool


@reports("weighted_avg_pool2d")
def weighted_avg_pool2d(
    x: Any,
    window: Any,
    weights: Any = "gaussian",
    *,
    sigma: float | None = None,
    normalize: str = "valid",
    stride: Any = None,
    padding: Any = "valid",
    dilation: Any = 1,
    ceil_mode: bool = False,
    layout: str = "NHWC",
    out: Any = None,
    stream: Any = None,
    engine: str | None = None,
) -> Any:
    """Return the average of each window, weighted by each tap's distance from its centre.

    y = sum over the real taps of w[r,s] x / sum of w over the real taps (normalize="valid") or over all taps ("full").

    Parameters
    ----------
    x : array (N, H, W, C), or (N, C, H, W) for layout="NCHW"
        float16, bfloat16, float32 or float64. NumPy, CuPy, torch or any DLPack producer; any strides.
    window : int, (rows, columns) or "global"
        Taps along each axis; "global" is all of x, with no stride, padding or dilation.
    weights : "gaussian", "inverse", "binomial", or an (R, S) table
        "gaussian" exp(-d^2 / (2 sigma^2)), "inverse" 1 / (1 + d) with d in input cells from the window's centre,
        "binomial" the product of binomial coefficients; a table is nested lists, or an array of x's library,
        float32 (float64 for float64 x).
    stride : int or (rows, columns), optional
        In input cells; default the window.
    padding : int, (rows, columns), ((top, bottom), (left, right)), "valid", "same", "same_lower", "full" or "causal"
        In input cells; negative crops.
    dilation : int or (rows, columns), default 1
        1 is dense, 0 is an error.
    ceil_mode : bool, default False
        Round the output size up; a window that would start beyond the input and its low padding is left out.
    sigma : float, optional
        Of "gaussian", in input cells; default 0.3*((extent-1)*0.5-1)+0.8 (OpenCV's getGaussianKernel).
    normalize : "valid" or "full"
        Divide by the weights of the real taps, or of all taps.
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
        If a shape, dtype, device, word or number makes no sense, or with normalize="valid" a window lies wholly in padding; nothing has run then.
    UnsupportedProblem
        If x holds integers, or the named engine does not take the problem.
    EngineUnavailable
        If the named engine cannot run here.

    Examples
    --------
    >>> import numpy as np, atrous
    >>> x = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    >>> atrous.weighted_avg_pool2d(x, 2, [[1, 0], [0, 3]])[0, :, :, 0].tolist()
    [[3.75, 5.75], [11.75, 13.75]]
    """
    named = isinstance(weights, str)
    if named:
        arg.one_of("weighted_avg_pool2d", "weights", weights, arg.WEIGHTINGS[:3])
    if sigma is not None and not (named and weights == "gaussian"):
        raise ProblemError(
            sentence("weighted_avg_pool2d", f"sigma is {arg.shown(sigma)} and weights are not 'gaussian'", "sigma only with 'gaussian'", "drop sigma=")
        )
    library, inputs = gather("weighted_avg_pool2d", "x", x)
    options = dict(weighting=weights if named else "custom", sigma=sigma, normalize=normalize, stride=stride, padding=padding, dilation=dilation)
    options |= dict(ceil_mode=ceil_mode, layout=layout)
    problem = make_pool("weighted_avg_pool2d", inputs["x"].shape, window, "weighted", inputs["x"].dtype, options)
    inputs["tap_weight"] = tap_operand(problem, library, inputs["x"]) if named else custom_taps(problem, library, inputs, weights)
    return execute(problem, library, inputs, out, stream, engine, None)


def custom_taps(problem: Pool2dProblem, library: Library, inputs: Operands, table: Any) -> Operand:
    """Return the tap weights a caller gave as an operand [R, S], or raise ProblemError."""
    operation = "weighted_avg_pool2d"
    if isinstance(table, (list, tuple)):
        taps = library.constant(arg.number_table(operation, "weights", table), tap_dtype(problem), inputs["x"])
    elif not hasattr(table, "__dlpack__"):
        came = f"weights is {arg.shown(table)} of type {type(table).__name__}"
        raise ProblemError(sentence(operation, came, "'gaussian', 'inverse', 'binomial' or a table of numbers", "pass one of them"))
    else:
        if library_of(operation, "weights", table) is not library:
            raise ProblemError(
                sentence(
                    operation,
                    f"weights is of type {type(table).__name__} and x is a {library.name} array",
                    f"nested lists or a {library.name} array",
                    "convert weights",
                )
            )
        taps = library.operand(operation, "weights", table)
        same_device(operation, "x", inputs["x"], "weights", taps)
    if taps.shape != (problem.r, problem.s):
        raise ProblemError(
            sentence(operation, f"weights has shape {taps.shape}", f"({problem.r}, {problem.s}), one number a tap", "reshape weights or change the window")
        )
    if taps.dtype != tap_dtype(problem):
        raise ProblemError(
            sentence(operation, f"weights has dtype {taps.dtype} and x {problem.dtype}", tap_dtype(problem), f"convert weights to {tap_dtype(problem)}")
        )
    return packed(operation, library, {"weights": taps})["weights"]
