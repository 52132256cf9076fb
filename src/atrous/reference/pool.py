"""What every pooling means: NumPy, all taps of a window laid side by side, float64 inside, rounded once."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import weighting
from ..problem import Pool2dProblem
from .store import store
from .taps import NOWHERE, canonical, gather, rows_and_columns


def pool2d(problem: Pool2dProblem, x: Any, tap_weight: Any = None) -> Any:
    """Return the pooling that `problem` describes.

    Parameters
    ----------
    problem : Pool2dProblem
        Sizes, window, padding, dtype, layout and the options of its kind.
    x : array of problem.x_shape and problem.dtype
    tap_weight : array (R, S), optional
        Weights of the taps; needed by the weighting "custom", computed for the others.

    Returns
    -------
    numpy.ndarray of problem.y_shape and problem.dtype; with `return_indices` a pair of it and the offsets h*W + w
    """
    if problem.kind != "max" or not problem.return_indices:
        return store(pool2d_unrounded(problem, x, tap_weight), problem.dtype)
    y, index = pool2d_unrounded(problem, x)
    return store(y, problem.dtype), index


def pool2d_unrounded(problem: Pool2dProblem, x: Any, tap_weight: Any = None) -> Any:
    """Return what `pool2d` returns before its one rounding, in float64; the indices of a maximum are final."""
    cells = canonical(x, problem.layout, "NHWC").astype(np.float64)
    rows, columns = rows_and_columns(problem)
    rows = _real_cells(rows, problem.h, problem.pads[1])
    columns = _real_cells(columns, problem.w, problem.pads[3])
    pairs = [(rows[:, r], columns[:, s]) for r in range(problem.r) for s in range(problem.s)]
    taps = np.stack([gather(cells, row, column, 0.0) for row, column in pairs])  # (R*S, N, P, Q, C)
    real = np.stack([(row != NOWHERE)[:, None] & (column != NOWHERE)[None, :] for row, column in pairs])[:, None, :, :, None]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        if problem.kind == "max":
            return _maximum(problem, taps, real, pairs)
        if problem.kind == "avg":
            y = _average(problem, taps, real)
        elif problem.kind == "lp":
            y = _norm(taps, problem.power)
        elif problem.kind == "rms":
            y = _root_mean_square(taps, real)
        else:
            weights = tap_weights(problem) if tap_weight is None else np.asarray(tap_weight).astype(np.float64)
            y = _weighted(problem, taps, real, weights)
    return _in_layout(problem, y)


def tap_weights(problem: Pool2dProblem) -> np.ndarray:
    """Return the (R, S) float64 weights of a weighted pooling whose weighting is a formula."""
    window = (problem.r, problem.s)
    return np.array(weighting.tap_weights(problem.weighting, window, problem.dilation, problem.sigma), dtype=np.float64)


def _real_cells(positions: np.ndarray, size: int, high: int) -> np.ndarray:
    """Return the table of tap coordinates with NOWHERE in padding, in overhang and on cells that negative padding crops."""
    return np.where((positions >= 0) & (positions < size + min(0, high)), positions, NOWHERE)


def _in_layout(problem: Pool2dProblem, y: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(canonical(y, "NHWC", problem.layout))


def _maximum(problem: Pool2dProblem, taps: np.ndarray, real: np.ndarray, pairs: list[Any]) -> Any:
    """Return the maximum of each window, +0 above -0; with indices the first tap, in row-major order, that nothing real exceeds."""
    nan = real & np.isnan(taps)
    number = real & ~nan
    largest = np.where(number, taps, -np.inf).max(axis=0)
    winner = number & (taps == largest)
    winner = np.where(nan.any(axis=0), nan, winner) if problem.nan == "propagate" else np.where(number.any(axis=0), winner, nan)
    if not problem.return_indices:
        above = winner & ~np.signbit(taps)  # of equals only zeros differ in sign
        winner = np.where(above.any(axis=0), above, winner)
    chosen = winner.argmax(axis=0)[None]
    y = _in_layout(problem, np.take_along_axis(taps, chosen, axis=0)[0])
    if not problem.return_indices:
        return y
    offsets = np.stack([row[:, None] * problem.w + column[None, :] for row, column in pairs])[:, None, :, :, None]
    index = np.take_along_axis(np.broadcast_to(offsets, taps.shape), chosen, axis=0)[0].astype(problem.index_dtype)
    return y, _in_layout(problem, index)


def _average(problem: Pool2dProblem, taps: np.ndarray, real: np.ndarray) -> np.ndarray:
    total = taps.sum(axis=0)
    if problem.divisor is not None:
        return total / problem.divisor
    if not problem.count_include_pad:
        return total / real.sum(axis=0)
    counts = []
    for positions, size, low, high in zip(rows_and_columns(problem), (problem.h, problem.w), problem.pads[::2], problem.pads[1::2], strict=True):
        counts.append(((positions >= -low) & (positions < size + high)).sum(axis=1))
    return total / (counts[0][:, None] * counts[1][None, :])[None, :, :, None]


def _norm(taps: np.ndarray, power: float, count: Any = 1) -> np.ndarray:
    """Return (sum |x|^p / count)^(1/p), with x divided by a power of two near the largest so that no |x|^p overflows or vanishes."""
    magnitude = np.abs(taps)
    largest = magnitude.max(axis=0)
    if np.isinf(power):
        return largest
    usual = np.isfinite(largest) & (largest > 0)
    exponent = np.where(usual, np.frexp(np.where(usual, largest, 1.0))[1], 0)
    scaled = np.ldexp(magnitude, -exponent)
    # a high power of a number in [0.5, 1) vanishes, so there the largest itself becomes 1; low powers keep sums of whole numbers exact
    top = np.where(usual, scaled.max(axis=0), 1.0) if power > 64 else 1.0
    powers = (scaled / top) ** power
    if power < 1:  # lifts what the scaling loses below the normal numbers back to where it counts
        powers = np.where(scaled < np.finfo(np.float64).tiny, magnitude**power * np.exp2(-exponent * power), powers)
    return np.ldexp((powers.sum(axis=0) / count) ** (1 / power) * top, exponent)


def _root_mean_square(taps: np.ndarray, real: np.ndarray) -> np.ndarray:
    return _norm(taps, 2.0, real.sum(axis=0))


def _weighted(problem: Pool2dProblem, taps: np.ndarray, real: np.ndarray, weights: np.ndarray) -> np.ndarray:
    column = weights.reshape(-1, 1, 1, 1, 1)
    total = np.where(real, taps * column, 0.0).sum(axis=0)
    return total / (column.sum() if problem.normalize == "full" else np.where(real, column, 0.0).sum(axis=0))
