"""What rounds of times say when compared: medians, spreads, ratios, geometric means, and whether a difference is outside the noise."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

FEWEST = 3


@dataclass(frozen=True)
class Ratio:
    """One median over another, with what its rounds allow it to be."""

    value: float
    low: float  # least of theirs over most of ours
    high: float  # most of theirs over least of ours
    outside_noise: bool


def median(seconds: Sequence[float]) -> float:
    """Return the median of the rounds."""
    return statistics.median(seconds)


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Return their median over ours: above 1 we are faster; outside the noise where the two spreads (least to most) do not overlap.

    Fewer than FEWEST rounds have no spread to speak of, and so no verdict.
    """
    enough = min(len(theirs), len(ours)) >= FEWEST
    apart = enough and (max(ours) < min(theirs) or max(theirs) < min(ours))
    return Ratio(median(theirs) / median(ours), min(theirs) / max(ours), max(theirs) / min(ours), apart)


def geomean(values: Sequence[float]) -> float:
    """Return the geometric mean; NaN of nothing."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def in_figures(value: float) -> str:
    """Return a ratio with two decimals, and of one below a tenth two figures: 0.0015 is no 0.00."""
    return f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"
