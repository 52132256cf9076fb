"""conv2d: the thin door from words and arrays to a problem and a plan."""

from __future__ import annotations

from typing import Any

from .errors import reports
from .operands import gather
from .plan import dense_vectors, execute
from .repeats import again, keep
from .requests import called_conv


@reports("conv2d")
def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
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
    """Convolve images with filters (cross-correlation), with the whole epilogue fused.

    y[n,p,q,k] = act(scale[k] * sum_{r,s,c} x[n, p*stride_h - top + r*dilation_h, q*stride_w - left + s*dilation_w, g*C/G + c]
    * weight[k,r,s,c] + bias[k] + residual[n,p,q,k]); Dumoulin and Visin, arXiv:1603.07285, has the geometry.

    Parameters
    ----------
    x : array (N, H, W, C), or (N, C, H, W) for layout="NCHW"
        float16, bfloat16, float32, float64, int8 or uint8. NumPy, CuPy, torch or any DLPack producer; any strides.
    weight : array (K, R, S, C/G), or (K, C/G, R, S) for "NCHW", or in the order `weight_layout` names
        Same library, device and dtype as x.
    bias, scale : array (K,), optional
        Added after, multiplied before: float of any width (int32 too for integer x).
    stride, dilation : int or (rows, columns), default 1
        In input cells; 1 is dense, 0 is an error.
    padding : int, (rows, columns), ((top, bottom), (left, right)), "valid", "same", "same_lower", "full" or "causal"
        In input cells; negative crops. "same" gives ceil(size / stride) for every stride and dilation.
    groups : int, default 1
        Divides both C and K; groups = C is depthwise.
    padding_mode : "zeros", "reflect", "replicate" or "circular"
        What stands in the padding; read in the loader, x is never copied.
    residual : array of y's shape and dtype, optional
        Added before the activation; may be `out` itself.
    activation : name or (name, number, ...)
        none, relu, relu6, leaky_relu(a), silu, gelu, gelu_tanh, hardswish, sigmoid, tanh, clip(lo, hi).
    precision : "float32", "tf32" or "strict", default "float32"
        For float32 x. TF32 is never used unless asked for.
    out_dtype : dtype or name, optional
        Default that of x; int32 for int8 and uint8. int8 and uint8 outputs round half to even and saturate.
    zero_point, out_zero_point : int, default 0
        What stands for 0 in an int8 or uint8 x or y; padding holds x's.
    out : array, optional
        Written and returned; any strides.
    stream : int or object with __cuda_stream__, optional
        CUDA only; default the library's current stream.
    engine : "compiled", "runtime", "simulated" or "arrays", optional
        Default: the best that serves x's device.
    kernel : name, optional
        Use this kernel, or raise its reason for declining.

    Returns
    -------
    array (N, P, Q, K), or (N, K, P, Q)
        Of x's library, on x's device.

    Raises
    ------
    ProblemError
        If a shape, dtype, device, word or number makes no sense; nothing has run then.
    UnsupportedProblem
        If the named engine or kernel does not take the problem; the message says who declined and why.
    EngineUnavailable
        If the named engine cannot run here.

    Notes
    -----
    float16 and bfloat16 accumulate in float32, int8 and uint8 in int32, float64 in float64; one rounding at the store.

    Examples
    --------
    >>> import numpy as np, atrous
    >>> x = np.arange(36, dtype="float32").reshape(1, 6, 6, 1)
    >>> mean = np.full((1, 3, 3, 1), 1 / 9, "float32")
    >>> y = atrous.conv2d(x, mean)
    >>> y.shape, round(float(y[0, 0, 0, 0]), 3)
    ((1, 4, 4, 1), 7.0)
    """
    arrays = (x, weight, scale, bias, residual, out)
    words = (
        stride, padding, dilation, groups, padding_mode, layout, weight_layout, activation, precision, out_dtype, zero_point, out_zero_point, engine, kernel
    )  # fmt: skip
    y = again(arrays, words, stream)
    if y is not None:
        return y
    library, inputs = gather("conv2d", "x", x, weight=weight, scale=scale, bias=bias, residual=residual)
    options = dict(
        stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode, layout=layout, weight_layout=weight_layout,
        activation=activation, precision=precision, out_dtype=out_dtype, zero_point=zero_point, out_zero_point=out_zero_point,
    )  # fmt: skip
    problem = called_conv("conv2d", inputs, options)
    dense_vectors("conv2d", library, inputs, problem.k)
    y = execute(problem, library, inputs, out, stream, engine, kernel)
    keep(library, problem, (*arrays[:5], y), out is not None, words, inputs)
    return y
