"""The operations by their public names, served by the reference or by an engine: what the meaning tests knock at."""

from __future__ import annotations

import functools

import numpy as np

from atrous import reference
from atrous.problem import Conv2dProblem, ElementwiseProblem, Pool2dProblem


class Reference:
    """The public functions' words resolved by the problem classes, the numbers by `atrous.reference`.

    `conv` and `pool` are the seams where a planted bug goes.
    """

    def conv(self, problem, x, weight, scale, bias, residual):
        return reference.conv2d(problem, x, weight, scale, bias, residual)

    def pool(self, problem, x, tap_weight):
        return reference.pool2d(problem, x, tap_weight)

    def conv2d(self, x, weight, bias=None, *, scale=None, residual=None, out_dtype=None, **words):
        words |= {name: str(array.dtype) for name, array in (("scale", scale), ("bias", bias)) if array is not None}
        out = str(np.dtype(out_dtype)) if out_dtype else None
        problem = Conv2dProblem.make(x.shape, weight.shape, dtype=str(x.dtype), residual=residual is not None, out_dtype=out, **words)
        return self.conv(problem, x, weight, scale, bias, residual)

    def _pool2d(self, kind, x, window, tap_weight=None, **words):
        return self.pool(Pool2dProblem.make(x.shape, window, kind, dtype=str(x.dtype), **words), x, tap_weight)

    def max_pool2d(self, x, window, **words):
        return self._pool2d("max", x, window, **words)

    def avg_pool2d(self, x, window, **words):
        return self._pool2d("avg", x, window, **words)

    def lp_pool2d(self, x, window, p=2.0, **words):
        return self._pool2d("lp", x, window, power=p, **words)

    def l2_pool2d(self, x, window, **words):
        return self.lp_pool2d(x, window, 2.0, **words)

    def rms_pool2d(self, x, window, **words):
        return self._pool2d("rms", x, window, **words)

    def weighted_avg_pool2d(self, x, window, weights="gaussian", **words):
        if isinstance(weights, str):
            return self._pool2d("weighted", x, window, weighting=weights, **words)
        return self._pool2d("weighted", x, window, np.asarray(weights), weighting="custom", **words)


class Public:
    """The public functions with `engine=` filled in, and `kernel=` for convolutions."""

    def __init__(self, engine, kernel=None):
        self.engine = engine
        self.kernel = kernel

    def __getattr__(self, name):
        import atrous

        named = {"kernel": self.kernel} if self.kernel and name == "conv2d" else {}
        return functools.partial(getattr(atrous, name), engine=self.engine, **named)


def run(door, problem, inputs):
    """Run a problem on its operands through a door, pads passed as four numbers."""
    if isinstance(problem, ElementwiseProblem):
        words = {"activation": problem.activation} if problem.other else {}
        return getattr(door, problem._operation)(*inputs.values(), out_dtype=problem.out_dtype, **words)
    top, bottom, left, right = problem.pads
    words = {"stride": problem.stride, "dilation": problem.dilation, "layout": problem.layout, "padding": ((top, bottom), (left, right))}
    if isinstance(problem, Conv2dProblem):
        for name in ["groups", "padding_mode", "weight_layout", "activation", "precision", "out_dtype", "zero_point", "out_zero_point"]:
            words[name] = getattr(problem, name)
        return door.conv2d(inputs["x"], inputs["weight"], inputs.get("bias"), scale=inputs.get("scale"), residual=inputs.get("residual"), **words)
    words["ceil_mode"] = problem.ceil_mode
    x, window = inputs["x"], (problem.r, problem.s)
    if problem.kind == "max":
        return door.max_pool2d(x, window, nan=problem.nan, return_indices=problem.return_indices, **words)
    if problem.kind == "avg":
        return door.avg_pool2d(x, window, count_include_pad=problem.count_include_pad, divisor=problem.divisor, **words)
    if problem.kind == "lp":
        return door.lp_pool2d(x, window, problem.power, **words)
    if problem.kind == "rms":
        return door.rms_pool2d(x, window, **words)
    weights = inputs.get("tap_weight", problem.weighting)
    return door.weighted_avg_pool2d(x, window, weights, sigma=problem.sigma, normalize=problem.normalize, **words)
