"""The array path: every operation in plain array calls, for NumPy, CuPy and any library of the array standard.

It takes every problem. On NumPy, with BLAS under its matrix product, it serves a machine that has no GPU; on CuPy it
takes what no kernel takes. All arrays of a call belong to one library and one device and are already checked against
the problem; nothing here reads them back to the host. `array_namespace` lists all that is written per library,
`arrays_conv` and `arrays_pool` say how pieces of bounded memory are cut. float16 and bfloat16 accumulate in float32,
integers in the shortest float that holds every partial sum exactly; each output is rounded once.

Every precision word means float32 products here. NumPy has no others; CuPy uses TF32 only where its user has set
CUPY_TF32=1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import config
from . import arrays_conv, arrays_elementwise, arrays_pool

if TYPE_CHECKING:
    from ..problem import Conv2dProblem, ElementwiseProblem, Pool2dProblem


def available() -> str | None:
    """Return None: the array path runs wherever NumPy does."""
    return None


def describe() -> dict[str, str]:
    """Return what serves the products on a CPU."""
    return {"numpy": np.__version__}


def conv2d(problem: Conv2dProblem, x: Any, weight: Any, scale: Any, bias: Any, residual: Any, out: Any) -> None:
    """Write a convolution to `out`.

    Parameters
    ----------
    problem : Conv2dProblem
    x : array of problem.x_shape and problem.dtype, any strides
    weight : array of problem.weight_shape and problem.dtype, any strides
    scale, bias : array (K,), or None
    residual : array of problem.y_shape and problem.out_dtype, or None; may be `out` itself
    out : array of problem.y_shape and problem.out_dtype, any strides
    """
    with np.errstate(all="ignore"):
        arrays_conv.conv2d(problem, config.workspace_bytes(), x, weight, scale, bias, residual, out)


def pool2d(problem: Pool2dProblem, x: Any, tap_weight: Any, out: Any, indices: Any) -> None:
    """Write a pooling to `out`, and the offsets h*W + w of maxima to `indices` where the problem returns them.

    Parameters
    ----------
    problem : Pool2dProblem
    x : array of problem.x_shape and problem.dtype, any strides
    tap_weight : array (R, S), float64 for float64 x, else float32; or None where the kind has no weights
    out : array of problem.y_shape and problem.dtype, any strides
    indices : array of problem.y_shape and problem.index_dtype, any strides, or None
    """
    with np.errstate(all="ignore"):
        arrays_pool.pool2d(problem, config.workspace_bytes(), x, tap_weight, out, indices)


def elementwise(problem: ElementwiseProblem, x: Any, other: Any, out: Any) -> None:
    """Write a sum, or x in another layout or dtype, to `out`.

    Parameters
    ----------
    problem : ElementwiseProblem
    x : array of problem.x_shape and problem.dtype, any strides
    other : array of the same, any strides, or None where nothing is added
    out : array of problem.y_shape and problem.out_dtype, any strides; of a sum it may be x or other itself
    """
    with np.errstate(all="ignore"):
        arrays_elementwise.elementwise(problem, config.workspace_bytes(), x, other, out)


def run(problem: Any, given: dict[str, Any]) -> None:
    """Run a problem of any kind on operands by name: "y" is written, and "index" of maxima that return them; of a pair "between" too."""
    if hasattr(problem, "parts"):
        first = {**given, "y": given["between"]}
        if hasattr(problem, "depthwise"):
            first |= {"residual": None, **{name: given.get(f"depthwise_{name}") for name in ("weight", "scale", "bias")}}
        run(problem.parts[0], first)
        run(problem.parts[1], {**given, "x": given["between"]})
    elif hasattr(problem, "other"):
        elementwise(problem, given["x"], given.get("other"), given["y"])
    elif hasattr(problem, "groups"):
        conv2d(problem, given["x"], given["weight"], given.get("scale"), given.get("bias"), given.get("residual"), given["y"])
    else:
        pool2d(problem, given["x"], given.get("tap_weight"), given["y"], given.get("index"))


def workspace_bytes(problem: Conv2dProblem | Pool2dProblem | ElementwiseProblem) -> int:
    """Return the most bytes that a call holds beyond its outputs on NumPy.

    At most `config.workspace_bytes()`, unless the least piece alone (one output pixel of all channels; pooling:
    one output row of one channel), a copy of weight, or the divisors of a weighted pooling (P*Q numbers) need more.
    """
    budget = config.workspace_bytes()
    if hasattr(problem, "other"):
        return arrays_elementwise.held_bytes(problem, budget)  # type: ignore[arg-type]
    if hasattr(problem, "groups"):
        return arrays_conv.conv_steps(problem, budget).workspace_bytes()
    return arrays_pool.pool_steps(problem, budget).workspace_bytes()
