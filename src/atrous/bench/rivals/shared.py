"""What several rivals ask of a problem: is it one that they take, how far is it padded, and what does a mean divide by."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...problem import Conv2dProblem, ConvPool2dProblem, Pool2dProblem
from ...testing import Inputs
from ..contest import Unsupported

#: GPU contestants that compute all their sets of buffers in one graph have so many sets, at least and at most
LEAST_SETS, MOST_SETS = 20, 64


def why_not(package: str) -> str | None:
    """Return None if a package is here and loads, else the sentence why not."""
    if importlib.util.find_spec(package) is None:
        return f"{package} is not installed"
    try:
        importlib.import_module(package)
    except (ImportError, OSError, AttributeError, RuntimeError) as failure:  # as packages fail whose libraries or partners do not fit
        return f"{package} is installed but failed to load, because {failure}"
    return None


def sets_like(first: dict[str, Any], count: int, copy: Callable[[Any], Any]) -> list[dict[str, Any]]:
    """Return `count` sets of buffers: the operands that are there, and copies of them, made on the device."""
    return [first, *({name: copy(array) for name, array in first.items()} for _ in range(1, count))]


def with_weight_in(inputs: Inputs, problem: Any, order: str) -> Inputs:
    """Return operands with the weight, where there is one, in another order of its axes: "RSCK"."""
    return {name: transposed(array, problem.weight_layout, order) if name == "weight" else array for name, array in inputs.items()}


def composed(problem: Any, convolution: Callable[[Conv2dProblem], Any], pooling: Callable[[Pool2dProblem], Any]) -> Callable[..., Any]:
    """Return compute(x, weight, ...) of a problem from a library's convolution and pooling, one after the other for a pair."""
    if isinstance(problem, ConvPool2dProblem):
        conv, pool = convolution(problem.conv), pooling(problem.pool)
        return lambda x, **operands: pool(conv(x, **operands))
    found: Callable[..., Any] = convolution(problem) if isinstance(problem, Conv2dProblem) else pooling(problem)
    return found


def check_convolution(problem: Conv2dProblem, library: str, dtypes: Sequence[str], crops: bool = False) -> None:
    """Raise Unsupported unless a convolution is of one of these dtypes throughout, and padded with zeros, not below 0 but where the library crops."""
    _check_dtype(problem, library, dtypes)
    if problem.out_dtype != problem.dtype or any(dtype not in (None, problem.dtype) for dtype in (problem.bias, problem.scale)):
        raise Unsupported(f"{library} convolves operands and gives results of one dtype")
    if problem.padding_mode != "zeros":
        raise Unsupported(f"{library}'s convolution pads with zeros alone")
    if not crops and min(problem.pads) < 0:
        raise Unsupported(f"{library}'s convolution does not crop")


def check_pooling(problem: Pool2dProblem, library: str, dtypes: Sequence[str], dilated: bool = True) -> None:
    """Raise Unsupported unless a pooling is a maximum or a mean, of one of these dtypes, that gives values alone."""
    _check_dtype(problem, library, dtypes)
    if problem.kind not in ("max", "avg"):
        raise Unsupported(f"{library} has no {problem.kind} pooling")
    if problem.return_indices:
        raise Unsupported(f"{library}'s maximum gives no indices")
    if problem.nan != "propagate":
        raise Unsupported(f"{library} does not pass over a NaN")
    if not dilated and problem.dilation != (1, 1):
        raise Unsupported(f"{library}'s pooling takes no dilation with these strides and paddings")
    if min(problem.pads) < 0:
        raise Unsupported(f"{library}'s pooling does not crop")


def _check_dtype(problem: Any, library: str, dtypes: Sequence[str]) -> None:
    if problem.dtype not in dtypes:
        raise Unsupported(f"{library} is asked for {' and '.join(dtypes)} here, not for {problem.dtype}")


def is_global(problem: Pool2dProblem) -> bool:
    """Return whether a pooling has one window, of the whole image."""
    return (problem.r, problem.s) == (problem.h, problem.w) and not any(problem.pads) and problem.divisor is None


def padding_to_the_end(problem: Pool2dProblem) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the (low, high) padding of rows and columns with which rounding down gives the sizes that ceil_mode rounds up to."""
    found = []
    for axis, (size, taps, outputs) in enumerate(((problem.h, problem.r, problem.p), (problem.w, problem.s, problem.q))):
        low, high = problem.pads[2 * axis : 2 * axis + 2]
        reach = (outputs - 1) * problem.stride[axis] + (taps - 1) * problem.dilation[axis] + 1
        found.append((low, max(high, reach - size - low)))
    return found[0], found[1]


def mean_divisors(problem: Pool2dProblem) -> np.ndarray | float:
    """Return what each window's sum is divided by: a number where it is one for all, else an array (P, Q)."""
    if problem.divisor is not None:
        return problem.divisor
    counts = []
    for axis, (size, taps, outputs) in enumerate(((problem.h, problem.r, problem.p), (problem.w, problem.s, problem.q))):
        low, high = problem.pads[2 * axis : 2 * axis + 2]
        first, last = (-low, size + high) if problem.count_include_pad else (0, size)
        starts = np.arange(outputs)[:, None] * problem.stride[axis] - low + np.arange(taps)[None, :] * problem.dilation[axis]
        counts.append(((starts >= first) & (starts < last)).sum(1))
    table = np.multiply.outer(*counts).astype(np.float64)
    return float(table[0, 0]) if (table == table[0, 0]).all() else table


def transposed(array: np.ndarray, axes: str, target: str) -> np.ndarray:
    """Return an array whose axes are these letters with them in another order, contiguous."""
    return np.ascontiguousarray(array.transpose([axes.index(letter) for letter in target]))


def per_channel(problem: Any) -> tuple[int, ...]:
    """Return the shape in which an array (K,) meets an output in the problem's layout."""
    return (1, 1, 1, -1) if problem.layout == "NHWC" else (1, -1, 1, 1)


def captured_by_cupy(cupy: Any, calls: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
    """Return the replay of a CUDA graph of calls, which ran once before so that CuPy's pool holds what they take.

    The last result of each of them is kept, as a caller keeps it: memory of one that is dropped would be the next one's, still in L2.
    """
    stream = cupy.cuda.Stream(non_blocking=True)
    kept: dict[Callable[[], Any], Any] = {}
    with stream:
        for call in calls:
            kept[call] = call()
        stream.synchronize()
        kept.clear()
        stream.begin_capture()
        try:
            for call in calls:
                kept[call] = call()
        except BaseException:
            with contextlib.suppress(Exception):  # as a capture that failed ends; a stream left in it would refuse all that comes after
                stream.end_capture()
            raise
        graph = stream.end_capture()
    return lambda: (graph.launch(stream), kept)[0]


def in_float32(cast: Callable[[Any, Any], Any], function: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
    """Return an activation computed in float32 and rounded once, as a compiler fuses it; those that round nothing stay in their dtype."""
    if name in ("none", "relu", "relu6"):
        return function
    return lambda y: cast(function(cast(y, "float32")), y.dtype)
