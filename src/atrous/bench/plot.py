"""Draws a results file: every layer's times as bars, one colour a contestant, with the least and most of the rounds."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from .ratios import median
from .summary import by_layer, is_ours

INCHES_A_BAR, INCHES_A_GAP, WIDTH, RIM = 0.16, 0.22, 10.0, 1.6
OURS_COLOURS, THEIR_COLOURS = ("#1d4ed8", "#93c5fd"), ("#c2410c", "#fdba74", "#15803d", "#86efac", "#7e22ce", "#d8b4fe", "#525252", "#a3a3a3")


def draw(document: dict[str, Any], path: Path) -> None:
    """Write a picture of the first metric that the document has."""
    figures = importlib.import_module("matplotlib.figure")
    metric = next(metric for metric in ("kernel", "wall", "issue") if by_layer(document["rows"], metric))
    layers = by_layer(document["rows"], metric)
    names = list(dict.fromkeys(name for contestants in layers.values() for name in contestants))
    ours, theirs = iter(OURS_COLOURS), iter(THEIR_COLOURS * len(names))
    colours = {name: next(ours if is_ours(name) else theirs) for name in names}
    bars, gap = len(names) * INCHES_A_BAR, INCHES_A_GAP
    figure = figures.Figure(figsize=(WIDTH, RIM + len(layers) * (bars + gap)), layout="constrained")
    axes = figure.add_subplot()
    for place, name in enumerate(names):
        found = [(index, row["seconds"]) for index, contestants in enumerate(layers.values()) if (row := contestants.get(name)) is not None]
        at = [index * (bars + gap) + place * INCHES_A_BAR for index, _ in found]
        middle = [1e3 * median(seconds) for _, seconds in found]
        spread = [[value - 1e3 * min(seconds) for value, (_, seconds) in zip(middle, found)], [1e3 * max(s) - v for v, (_, s) in zip(middle, found)]]
        axes.barh(at, middle, INCHES_A_BAR, xerr=spread, color=colours[name], label=name, error_kw=dict(elinewidth=0.8, ecolor="#1b1f2a"))
    axes.set_yticks([index * (bars + gap) + (bars - INCHES_A_BAR) / 2 for index in range(len(layers))])
    axes.set_yticklabels([case if layer.startswith("case/") else f"{layer} x{_count(layers[layer, case])}" for layer, case in layers], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(f"{metric} time, milliseconds: median of {document['settings']['rounds']} rounds, least to most")
    where = document["where"]
    axes.set_title(f"{where['gpu']['name'] if where['gpu'] else where['processor']}, {document['date']}, commit {document['commit']}", fontsize=9)
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def _count(contestants: dict[str, Any]) -> int:
    return int(next(iter(contestants.values()))["count"])
