"""The parts of the page that are plots on two axes or bars of amounts: rooflines, scaling, and the cost of a call."""

from __future__ import annotations

import html
import itertools
import statistics
from typing import Any

from drawing import Plot, amount_bars, around, quantity
from evidence import Document, Layer, Suite

#: colour -> its name and the families it stands for; the others are dense convolutions
GROUPS = {
    "g0": ("dense convolution", ()),
    "g1": ("1x1 convolution", ("conv1x1", "conv1x1_strided")),
    "g2": ("depthwise and grouped", ("depthwise", "depthwise_7x7", "depthwise_large", "grouped")),
    "g3": ("pooling", ("pool_max", "pool_avg", "pool_global", "pool_lp", "pool_weighted")),
}
ROOFLINE_HEIGHT, SCALING_HEIGHT = 300, 190
AXES = {"batch": "batch", "channels": "channels, in and out", "size": "image height and width"}
AMOUNTS = {
    "import": "Time to import, fresh process",
    "first call": "Import and first convolution, fresh process",
    "install size": "Bytes on disk of the installed package",
    "peak memory": "Peak resident memory of one layer, fresh process",
}


def group(family: str) -> str:
    """Return the colour of a family."""
    return next((colour for colour, (_, families) in GROUPS.items() if family in families), "g0")


def roofline(suite: Suite, metric: str, roofs: dict[str, Any] | None) -> str:
    """Return a plot a setting: achieved rate over arithmetic intensity, a point a layer, the measured roofs as lines."""
    layers = [layer for layer in suite.of(metric) if layer.ours]
    if not layers:
        return ""
    rates = [layer.flops / layer.ours.median for layer in layers if layer.ours]
    across = around([layer.flops / layer.bytes for layer in layers])
    up = around(rates + ([roofs["flops_per_second"]] if roofs else []))
    figures = []
    for setting in suite.settings(metric):
        members = [layer for layer in layers if layer.setting == setting]
        figures.append(one_roofline(members, setting, Plot(across, up, ROOFLINE_HEIGHT), roofs))
    keys = "".join(f'<span><i class="key {colour}"></i>{name}</span>' for colour, (name, _) in GROUPS.items())
    words = "Operations a second, ours, over operations a byte that must be moved at least; a comparison or addition of a pooling counts as one."
    if roofs:
        rate, flow = quantity(roofs["flops_per_second"], "FLOP/s"), quantity(roofs["bytes_per_second"], "B/s")
        said = f"{words} Dashed: what this processor was measured to do, {rate} in {roofs['product']}, {flow} in {roofs['copy']}."
    else:
        said = f"{words} No roofs are drawn: none was measured on this machine."
    return f'<p>{html.escape(said)}</p><div class="legend">{keys}</div><div class="pair">{"".join(figures)}</div>'


def one_roofline(layers: list[Layer], setting: str, plot: Plot, roofs: dict[str, Any] | None) -> str:
    """Return the figure of one setting."""
    plot.grid(plot.x.ticks(), plot.y.ticks(), name_y=quantity)
    if roofs:
        rate, flow = roofs["flops_per_second"], roofs["bytes_per_second"]
        start, bend = max(plot.x.low, plot.y.low / flow), rate / flow
        if start < bend:
            end = min(bend, plot.x.high)
            plot.line((start, start * flow), (end, end * flow), "roof")
        if bend < plot.x.high:
            plot.line((max(bend, plot.x.low), rate), (plot.x.high, rate), "roof")
    for layer in layers:
        assert layer.ours is not None
        intensity, rate = layer.flops / layer.bytes, layer.flops / layer.ours.median
        tip = f"{layer.name}, {layer.setting}\n{quantity(rate, 'FLOP/s')} at {intensity:.3g} FLOP/byte, {quantity(layer.ours.median, 's')}\n{layer.case}"
        plot.dot(intensity, rate, f"layer {group(layer.family)}", tip)
    caption = f"<figcaption>{html.escape(setting)} <small>FLOP/s; {len(layers)} layers</small></figcaption>"
    return f'<figure>{caption}{plot.svg("roofline, " + setting)}<div class="across">FLOP/byte</div></figure>'


def scaling_plots(document: Document) -> str:
    """Return a plot for every operation and axis: time over size, a line a contestant, and the fitted exponents."""
    rows, fits = document.facts["rows"], document.facts["fits"]
    contestants = list(dict.fromkeys(row["contestant"] for row in rows))
    figures = []
    for operation, axis in dict.fromkeys((row["operation"], row["axis"]) for row in rows):
        chosen = [row for row in rows if (row["operation"], row["axis"]) == (operation, axis)]
        times = [statistics.median(row["seconds"]) for row in chosen]
        plot = Plot(around(row["value"] for row in chosen), around(times, margin=0.1), SCALING_HEIGHT)
        plot.grid(sorted({row["value"] for row in chosen}), plot.y.ticks(most=4), name_y=lambda value: quantity(value, "s"))
        said = []
        for index, contestant in enumerate(contestants):
            points = [(row["value"], statistics.median(row["seconds"])) for row in chosen if row["contestant"] == contestant]
            for start, end in itertools.pairwise(points):
                plot.line(start, end, f"g{index % 4}")
            for value, seconds in points:
                plot.dot(value, seconds, f"g{index % 4}", f"{contestant}, {operation}, {axis} {value}\n{quantity(seconds, 's')}")
            fit = next((fit for fit in fits if (fit["operation"], fit["axis"], fit["contestant"]) == (operation, axis, contestant)), None)
            if fit:
                said.append(f'<span><i class="key g{index % 4}"></i>{html.escape(contestant)}: {fit["exponent"]:.2f} ± {fit["standard_error"]:.2f}</span>')
        caption = f"<figcaption>{html.escape(operation)} <small>time over {html.escape(AXES.get(axis, axis))}</small></figcaption>"
        figures.append(f'<figure>{caption}{plot.svg(f"{operation}, {axis}")}<div class="legend">{"".join(said)}</div></figure>')
    base = ", ".join(f"{name}: {case}" for name, case in document.facts["settings"]["cases"].items())
    words = "Time against one size at a time, the others held. Under each plot the exponent e of time ~ size^e, by least squares on the logarithms, "
    words += "and its standard error."
    return f'<p>{words} <span class="soft">{html.escape(base)}</span></p><div class="pair">{"".join(figures)}</div>'


def call_costs(issue: Document | None, facts: Document | None) -> str:
    """Return bars of what a call costs before there is work, and of what a user feels: import, first call, disk, memory."""
    figures = []
    if issue:
        rows = []
        for row in issue.facts["rows"]:
            seconds = 1e-6 * statistics.median(row["microseconds"])
            goal = f", goal {quantity(1e-6 * row['budget'], 's')} {'met' if 1e6 * seconds <= row['budget'] else 'missed'}" if row["budget"] else ""
            rows.append((row["what"], seconds, quantity(seconds, "s") + goal, "s1"))
        caption = "<figcaption>CPU time of a call <small>with a launch that does nothing</small></figcaption>"
        figures.append(f"<figure>{caption}{amount_bars(rows, 'cost of a call')}</figure>")
    for what, words in AMOUNTS.items() if facts else ():
        assert facts is not None
        rows = [amount(row) for row in facts.facts["rows"] if row["what"] == what]
        if rows:
            figures.append(f"<figure><figcaption>{words}</figcaption>{amount_bars(rows, words)}</figure>")
    return f'<div class="pair">{"".join(figures)}</div>'


def amount(row: dict[str, Any]) -> tuple[str, float, str, str]:
    """Return (name, value, text, kind) of a row of CPU facts."""
    value = statistics.median(row["values"])
    unit = {"seconds": "s", "bytes": "B"}[row["unit"]]
    goal = f", goal {quantity(row['budget'], unit)} {'met' if value <= row['budget'] else 'missed'}" if row.get("budget") else ""
    return row["package"], value, quantity(value, unit) + goal, "s1" if row["package"] == "atrous" else "other"
