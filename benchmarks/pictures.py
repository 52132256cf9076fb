"""Draws the measurements as PNG pictures: ratios by family, every layer against its fastest rival, rooflines and scaling."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from evidence import Document, Evidence, Suite, by_family, summarise
from matplotlib.figure import Figure
from page import roofs_for
from page_parts import AXES, GROUPS, group

from atrous.bench.ratios import in_figures

INK, FAINT, PAPER = "#1b1f2a", "#5b6472", "#ffffff"
SETTINGS = ("#60a5fa", "#1d4ed8", "#f59e0b", "#b45309", "#a78bfa", "#6d28d9")
COLOURS = {"g0": "#1d4ed8", "g1": "#0f9d76", "g2": "#d97706", "g3": "#b83280"}
RESOLUTION = 130


def save(evidence: Evidence, folder: Path) -> list[Path]:
    """Draw everything that there is into a folder; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, tuple[Figure, list[Path]]] = {}
    for name, suite in [*([("cpu", evidence.cpu)] if evidence.cpu else []), *((f"gpu{index}", one) for index, one in enumerate(evidence.devices))]:
        metric = suite.metrics[0]
        if any(layer.compared for layer in suite.of(metric)):
            found[f"{name}-families"] = families(suite, metric), [suite.path]
        facts = evidence.facts
        roofs = roofs_for(suite, facts)
        found[f"{name}-roofline"] = roofline(suite, metric, roofs), [suite.path, *([facts.path] if facts and roofs else [])]
    if evidence.scaling:
        found["scaling"] = scaling(evidence.scaling), [evidence.scaling.path]
    paths = []
    for name, (figure, sources) in found.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=RESOLUTION, facecolor=PAPER, metadata={"Source": ", ".join(path.name for path in sources)})
    return paths


def tidy(axes: Any) -> None:
    """Take away what is not needed around a plot."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, which="major", color="#e3e6eb", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT, labelsize=8)


def families(suite: Suite, metric: str) -> Figure:
    """Every layer as a dot in its family's row, the worst family at the top, and the geometric mean as a bar."""
    compared = [layer for layer in suite.of(metric) if layer.compared]
    groups, settings = by_family(compared), suite.settings(metric)
    figure = Figure(figsize=(9, 1.3 + 0.42 * len(groups)), layout="constrained")
    axes = figure.add_subplot()
    for row, layers in enumerate(groups.values()):
        for place, setting in enumerate(settings):
            members = [layer for layer in layers if layer.setting == setting]
            y = row + 0.6 * ((place + 0.5) / len(settings) - 0.5)
            label = setting if row == 0 else None
            axes.scatter(
                [layer.ratio(str(layer.best)) for layer in members], [y] * len(members), s=16, color=SETTINGS[place % 6], alpha=0.75, lw=0, label=label
            )
        summary = summarise(layers)
        if summary:
            axes.plot([summary.mean] * 2, [row - 0.38, row + 0.38], color=INK, linewidth=2)
            axes.annotate(in_figures(summary.mean), (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=INK)
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(groups)), list(groups))
    axes.set_ylim(len(groups) - 0.4, -0.6)
    tidy(axes)
    axes.set_xlabel("fastest rival's time / ours (right of 1: we are faster); bar and number: geometric mean", color=FAINT, fontsize=9)
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9)
    return figure


def roofline(suite: Suite, metric: str, roofs: dict[str, Any] | None) -> Figure:
    """Achieved rate over arithmetic intensity, a point a layer, a panel a setting."""
    settings = suite.settings(metric)
    reach = [layer.flops / layer.bytes for layer in suite.of(metric)]
    figure = Figure(figsize=(4.6 * min(2, len(settings)), 3.8 * -(-len(settings) // 2)), layout="constrained")
    panels = figure.subplots(-(-len(settings) // 2), min(2, len(settings)), squeeze=False, sharex=True, sharey=True).flat
    for axes, setting in zip(panels, settings):
        for colour, (name, _) in GROUPS.items():
            points = [layer for layer in suite.of(metric) if layer.setting == setting and group(layer.family) == colour and layer.ours]
            rates = [layer.flops / layer.ours.median / 1e9 for layer in points if layer.ours]
            label = name if setting == settings[0] else None
            axes.scatter([layer.flops / layer.bytes for layer in points], rates, s=18, color=COLOURS[colour], alpha=0.8, lw=0, label=label)
        if roofs:
            rate, flow = roofs["flops_per_second"], roofs["bytes_per_second"]
            line = sorted([min(reach), rate / flow, max(reach)])
            axes.plot(line, [min(rate, x * flow) / 1e9 for x in line], color=INK, linestyle="--", linewidth=1.2)
        axes.set(xscale="log", yscale="log")
        axes.set_title(setting, fontsize=10, color=INK)
        tidy(axes)
    figure.supxlabel("operations a byte" + ("; dashed: measured roofs" if roofs else "; no roofs: none measured"), fontsize=9, color=FAINT)
    figure.supylabel("GFLOP/s, ours", fontsize=9, color=FAINT)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def scaling(document: Document) -> Figure:
    """Time over one size at a time, a line a contestant, with the fitted exponents."""
    rows, fits = document.facts["rows"], document.facts["fits"]
    operations, axes_names = list(dict.fromkeys(row["operation"] for row in rows)), list(dict.fromkeys(row["axis"] for row in rows))
    contestants = list(dict.fromkeys(row["contestant"] for row in rows))
    figure = Figure(figsize=(3.6 * len(axes_names), 3.1 * len(operations)), layout="constrained")
    panels = figure.subplots(len(operations), len(axes_names), squeeze=False)
    for i, operation in enumerate(operations):
        for j, axis in enumerate(axes_names):
            axes = panels[i][j]
            for index, contestant in enumerate(contestants):
                points = [row for row in rows if (row["operation"], row["axis"], row["contestant"]) == (operation, axis, contestant)]
                fit = next((fit for fit in fits if (fit["operation"], fit["axis"], fit["contestant"]) == (operation, axis, contestant)), None)
                label = f"{contestant}: {fit['exponent']:.2f} ± {fit['standard_error']:.2f}" if fit else contestant
                times = [1e3 * statistics.median(row["seconds"]) for row in points]
                axes.plot([row["value"] for row in points], times, "o-", ms=4, color=COLOURS[f"g{index % 4}"], label=label)
            axes.set(xscale="log", yscale="log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
            axes.set_xticks(sorted({row["value"] for row in rows if (row["operation"], row["axis"]) == (operation, axis)}))
            axes.set_title(f"{operation} over {AXES.get(axis, axis)}", fontsize=9, color=INK)
            axes.legend(frameon=False, fontsize=7)
            tidy(axes)
    figure.supylabel("milliseconds", fontsize=9, color=FAINT)
    return figure
