"""to_nhwc, to_nchw and add: what stands between the convolutions of a graph, from words and arrays to a problem and its route."""

from __future__ import annotations

from typing import Any

from . import arguments as arg
from .errors import reports
from .operands import gather
from .plan import execute
from .requests import dtype_name, elementwise_problem


@reports("to_nhwc")
def to_nhwc(x: Any, *, out_dtype: Any = None, out: Any = None, stream: Any = None, engine: str | None = None) -> Any:
    """Return images with their channels last: y[n,h,w,c] = x[n,c,h,w], each element cast to `out_dtype`.

    Parameters
    ----------
    x : array (N, C, H, W)
        float16, bfloat16, float32, float64, int8 or uint8. NumPy, CuPy, torch or any DLPack producer; any strides.
    out_dtype : dtype or name, optional
        One of these; default that of x. Floats round to nearest, ties to even; integers round half to even and
        saturate, and NaN becomes 0.
    out : array (N, H, W, C), optional
        Written and returned; any strides, so that a slice of the channels of a larger array is one.
    stream : int or object with __cuda_stream__, optional
        CUDA only; default the library's current stream.
    engine : "compiled", "runtime", "simulated" or "arrays", optional
        Default: the best that serves x's device.

    Returns
    -------
    array (N, H, W, C)
        Of x's library, on x's device.

    Raises
    ------
    ProblemError
        If a shape, dtype or device makes no sense, or out shares memory with x; nothing has run then.
    UnsupportedProblem
        If the named engine does not take the problem.
    EngineUnavailable
        If the named engine cannot run here.

    Examples
    --------
    >>> import numpy as np, atrous
    >>> x = np.arange(12, dtype="float32").reshape(1, 3, 2, 2)
    >>> atrous.to_nhwc(x, out_dtype="float16")[0, 0, 1].tolist()
    [1.0, 5.0, 9.0]
    """
    return _moved("to_nhwc", "tonhwc", x, out_dtype, out, stream, engine)


@reports("to_nchw")
def to_nchw(x: Any, *, out_dtype: Any = None, out: Any = None, stream: Any = None, engine: str | None = None) -> Any:
    """Return images with their channels first: y[n,c,h,w] = x[n,h,w,c], each element cast to `out_dtype`.

    Parameters
    ----------
    x : array (N, H, W, C)
        As in `to_nhwc`.
    out_dtype, stream, engine
        As in `to_nhwc`.
    out : array (N, C, H, W), optional
        Written and returned; any strides.

    Returns
    -------
    array (N, C, H, W)
        Of x's library, on x's device.

    Raises
    ------
    ProblemError, UnsupportedProblem, EngineUnavailable
        As `to_nhwc`.

    Examples
    --------
    >>> import numpy as np, atrous
    >>> x = np.arange(12, dtype="float32").reshape(1, 2, 2, 3)
    >>> atrous.to_nchw(x)[0, 1].tolist()
    [[1.0, 4.0], [7.0, 10.0]]
    """
    return _moved("to_nchw", "tonchw", x, out_dtype, out, stream, engine)


@reports("add")
def add(x: Any, other: Any, *, activation: Any = None, out_dtype: Any = None, out: Any = None, stream: Any = None, engine: str | None = None) -> Any:
    """Return activation(x + other) of two arrays of one shape: what joins two branches of a graph.

    The sum and the activation are float32 arithmetic at least, float64 for float64 arrays; one rounding at the store.

    Parameters
    ----------
    x : array of four axes in any order
        float16, bfloat16, float32, float64, int8 or uint8, but not the int32 that `conv2d` gives for 8-bit integers where it is
        asked for no other. NumPy, CuPy, torch or any DLPack producer; any strides.
    other : array of x's shape and dtype
        Any strides; nothing is broadcast.
    activation : name or (name, number, ...), optional
        Those of `conv2d`.
    out_dtype : dtype or name, optional
        Of the result; default that of x. Casts as in `to_nhwc`: sums of integers saturate.
    out : array of x's shape, optional
        Written and returned; any strides. It may be x or other itself.
    stream, engine
        As in `to_nhwc`.

    Returns
    -------
    array of x's shape
        Of x's library, on x's device.

    Raises
    ------
    ProblemError, UnsupportedProblem, EngineUnavailable
        As `to_nhwc`.

    Examples
    --------
    >>> import numpy as np, atrous
    >>> x = np.array([-3, 1, 100], "int8").reshape(1, 1, 1, 3)
    >>> atrous.add(x, x, activation="relu").ravel().tolist()
    [0, 2, 127]
    """
    library, inputs = gather("add", "x", x, other=other)
    activation = arg.activation_tuple("add", activation)
    shape = arg.shape4("add", "x", inputs["x"].shape, "NHWC")
    problem = elementwise_problem(shape, "add", inputs["x"].dtype, dtype_name("add", "out_dtype", out_dtype), activation)
    return execute(problem, library, inputs, out, stream, engine, None)


def _moved(operation: str, verb: str, x: Any, out_dtype: Any, out: Any, stream: Any, engine: str | None) -> Any:
    """Return x in the other layout."""
    library, inputs = gather(operation, "x", x)
    shape = arg.shape4(operation, "x", inputs["x"].shape, "NCHW" if verb == "tonhwc" else "NHWC")
    problem = elementwise_problem(shape, verb, inputs["x"].dtype, dtype_name(operation, "out_dtype", out_dtype), ("none",))
    return execute(problem, library, inputs, out, stream, engine, None)
