"""A problem run through the public functions: how tests turn a case string into a call."""

from __future__ import annotations

from typing import Any

import atrous
from atrous import weighting
from atrous.problem import Conv2dProblem, Pool2dProblem

SHARED = ("dilation", "layout")


def call(problem: Conv2dProblem | Pool2dProblem, inputs: dict[str, Any], **where: Any) -> Any:
    """Run a problem on its operands through the public function; `where` holds engine=, kernel=, out= ..."""
    top, bottom, left, right = problem.pads
    words: dict[str, Any] = dict(stride=problem.stride, dilation=problem.dilation, layout=problem.layout, padding=((top, bottom), (left, right)))
    if isinstance(problem, Conv2dProblem):
        names = "groups padding_mode weight_layout activation precision out_dtype zero_point out_zero_point"
        words |= {name: getattr(problem, name) for name in names.split()}
        words |= {name: inputs.get(name) for name in ("scale", "residual")}
        return atrous.conv2d(inputs["x"], inputs["weight"], inputs.get("bias"), **words, **where)
    words["ceil_mode"] = problem.ceil_mode
    window = (problem.r, problem.s)
    if problem.kind == "max":
        return atrous.max_pool2d(inputs["x"], window, nan=problem.nan, return_indices=problem.return_indices, **words, **where)
    if problem.kind == "avg":
        return atrous.avg_pool2d(inputs["x"], window, count_include_pad=problem.count_include_pad, divisor=problem.divisor, **words, **where)
    if problem.kind == "lp":
        return atrous.lp_pool2d(inputs["x"], window, problem.power, **words, **where)
    if problem.kind == "rms":
        return atrous.rms_pool2d(inputs["x"], window, **words, **where)
    table = inputs["tap_weight"] if problem.weighting == "custom" else problem.weighting
    return atrous.weighted_avg_pool2d(inputs["x"], window, table, sigma=problem.sigma, normalize=problem.normalize, **words, **where)


def tap_table(problem: Pool2dProblem) -> Any:
    """Return the tap weights of a named weighting, or None."""
    if problem.weighting in ("", "custom"):
        return None
    return weighting.tap_weights(problem.weighting, (problem.r, problem.s), problem.dilation, problem.sigma)
