"""The brute force on arrays: operands to nested lists, results back to arrays in the problem's layout."""

from __future__ import annotations

import brute
import numpy as np

from atrous import weighting
from atrous.problem import Conv2dProblem

INTEGERS = ("int8", "uint8", "int32")


def lists(array, layout, order):
    """Return an array as nested lists of Python numbers with its axes in `order`."""
    axes = [layout.index(letter) for letter in order]
    array = np.asarray(array)
    return np.transpose(array if array.dtype.kind in "iu" else array.astype(np.float64), axes).tolist()


def laid_out(nested, layout, dtype=np.float64):
    """Return nested lists [n][p][q][channel] as an array in `layout`."""
    array = np.array(nested, dtype=dtype)
    return array if layout == "NHWC" else array.transpose(0, 3, 1, 2)


def expected(problem, inputs):
    """Return what brute force says of a problem before its rounding; of a maximum (values, indices)."""
    x = lists(inputs["x"], problem.layout, "NHWC")
    if isinstance(problem, Conv2dProblem):
        vectors = {name: np.asarray(inputs[name]).astype(np.float64).tolist() for name in ("scale", "bias") if name in inputs}
        if "residual" in inputs:
            vectors["residual"] = lists(inputs["residual"], problem.layout, "NHWC")
        y = laid_out(brute.conv2d(problem, x, lists(inputs["weight"], problem.weight_layout, "KRSC"), **vectors), problem.layout)
        if problem.out_dtype in INTEGERS:
            limits = np.iinfo(problem.out_dtype)
            y = np.vectorize(lambda v: brute.stored_integer(v, limits.min, limits.max, problem.out_zero_point), otypes=[np.int64])(y)
        return y
    taps = inputs.get("tap_weight")
    if problem.kind == "weighted" and taps is None:
        taps = weighting.tap_weights(problem.weighting, (problem.r, problem.s), problem.dilation, problem.sigma)
    y, index = brute.pool2d(problem, x, None if taps is None else np.asarray(taps, dtype=np.float64).tolist())
    return laid_out(y, problem.layout) if index is None else (laid_out(y, problem.layout), laid_out(index, problem.layout, np.int64))
