"""What the rows of a results file say in all: sums over the layers with their counts, ratios against ours, wins and losses outside the noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .ratios import Ratio, geomean, in_figures, median, ratio

Row = dict[str, Any]
#: of our contestants the first that a layer has is the one that ratios are taken against
OURS = ("atrous plan", "atrous")
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


@dataclass(frozen=True)
class Total:
    """One contestant over all layers that both it and we were measured on."""

    contestant: str
    seconds: float  # sum of count * median
    ours: float  # the same of ours, over the same layers
    layers: int
    ratios: tuple[Ratio, ...]

    @property
    def geomean(self) -> float:
        """Geometric mean of its medians over ours, a layer a share."""
        return geomean([each.value for each in self.ratios])

    def count(self, faster: bool) -> int:
        """Return on how many layers we are faster (or slower), outside the noise."""
        return sum(each.outside_noise and (each.value > 1) == faster for each in self.ratios)


def is_ours(contestant: str) -> bool:
    """Return whether a contestant is of this library."""
    return contestant in OURS


def by_layer(rows: Sequence[Row], metric: str) -> dict[tuple[str, str], dict[str, Row]]:
    """Return {(layer, case): {contestant: row}} of one metric, in the order of the rows."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        if row["metric"] == metric:
            found.setdefault((row["layer"], row["case"]), {})[row["contestant"]] = row
    return found


def ours_of(contestants: dict[str, Row]) -> Row | None:
    """Return our row of a layer: the plan's where there is one."""
    return next((contestants[name] for name in OURS if name in contestants), None)


def best_rival(contestants: dict[str, Row]) -> Row | None:
    """Return the rival's row with the least median, or None where there is no rival."""
    others = [row for name, row in contestants.items() if not is_ours(name)]
    return min(others, key=lambda row: median(row["seconds"])) if others else None


def layer_ratio(contestants: dict[str, Row]) -> Ratio | None:
    """Return the best rival's time over ours, or None where one of the two is missing."""
    ours, other = ours_of(contestants), best_rival(contestants)
    return None if ours is None or other is None else ratio(other["seconds"], ours["seconds"])


def totals(rows: Sequence[Row], metric: str) -> list[Total]:
    """Return a Total for every contestant, ours first."""
    layers = by_layer(rows, metric)
    names = list(dict.fromkeys(name for contestants in layers.values() for name in contestants))
    found = []
    for name in sorted(names, key=lambda name: not is_ours(name)):
        pairs = [(found[name], mine) for found in layers.values() if name in found and (mine := ours_of(found)) is not None]
        sums = [math.fsum(row["count"] * median(row["seconds"]) for row in side) for side in zip(*pairs, strict=True)] or [0.0, 0.0]
        found.append(Total(name, sums[0], sums[1], len(pairs), tuple(ratio(theirs["seconds"], mine["seconds"]) for theirs, mine in pairs)))
    return [total for total in found if total.layers]


def in_words(seconds: float) -> str:
    """Return a time with its unit: "1.23 ms"."""
    scale, unit = next(((scale, unit) for scale, unit in UNITS if seconds >= scale), UNITS[-1])
    return f"{seconds / scale:.3g} {unit}" if seconds / scale < 1000 else f"{seconds / scale:.0f} {unit}"


def ratio_in_words(found: Ratio | None) -> str:
    """Return a ratio, in brackets where it is inside the noise."""
    if found is None:
        return ""
    return in_figures(found.value) if found.outside_noise else f"({in_figures(found.value)})"


def total_in_words(total: Total, layers: int) -> str:
    """Return the line of a contestant: its sum, and for a rival how it compares with ours."""
    words = f"{total.contestant:<28} {in_words(total.seconds):>9}"
    if total.layers < layers:
        words += f" over {total.layers} of {layers} kinds"
    if is_ours(total.contestant):
        return words
    even = total.layers - total.count(True) - total.count(False)
    each = f"we are faster on {total.count(True)}, slower on {total.count(False)}, inside the noise on {even}"
    return f"{words}; {in_figures(total.seconds / total.ours)} of ours, geomean {in_figures(total.geomean)}; {each}"
