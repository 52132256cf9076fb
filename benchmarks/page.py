"""Writes the page of measurements: one HTML file that asks for nothing outside itself, losses first."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from drawing import Bar, around, quantity, ratio_bars, row_height
from evidence import METRICS, Document, Evidence, Layer, NetworkSum, Suite, by_family, floor_share, losses, networks, summarise
from page_parts import call_costs, roofline, scaling_plots

from atrous.bench.ratios import in_figures

HERE = Path(__file__).resolve().parent
SHOWN = 20  # losses in sight; the others are folded away
NEVER = "never run on a device"


def text(words: Any) -> str:
    """Return words as HTML."""
    return html.escape(str(words))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = (), wide: Iterable[int] = ()) -> str:
    """Return a table of cells that are HTML already; columns of numbers stand to the right, wide ones are broken into lines."""
    kinds = {**dict.fromkeys(numbers, ' class="n"'), **dict.fromkeys(wide, ' class="wide"')}
    lines = ["<tr>" + "".join(f"<th{kinds.get(index, '')}>{text(cell)}</th>" for index, cell in enumerate(head)) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td{kinds.get(index, '')}>{cell}</td>" for index, cell in enumerate(row)) + "</tr>" for row in rows]
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def coloured(ratio: float, verdict: str = "") -> str:
    """Return a ratio, coloured where it is lost or won outside the noise."""
    return f'<span class="{verdict}">{in_figures(ratio)}</span>' if verdict in ("lost", "won") else in_figures(ratio)


def tiles(layers: list[Layer]) -> str:
    """Return the figures in large type: how many layers were lost, level and won, and the mean ratio."""
    summary = summarise(layers)
    if summary is None:
        return "<p>No rival was measured.</p>"
    verdicts = [layer.verdict(str(layer.best)) for layer in layers if layer.compared]
    cells = [
        (str(verdicts.count("lost")), "lost", f"of {len(verdicts)} lost to the fastest rival of the layer, outside the noise"),
        (str(verdicts.count("level")), "", "within the noise"),
        (str(verdicts.count("won")), "won", "won outside the noise"),
        (in_figures(summary.mean), "", f"geometric mean of the fastest rival's time / ours, {in_figures(summary.worst)} to {in_figures(summary.best)}"),
    ]
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b class="{kind}">{text(figure)}</b><span>{text(words)}</span></div>' for figure, kind, words in cells)
        + "</div>"
    )


def loss_table(layers: list[Layer]) -> str:
    """Return every layer lost outside the noise, the worst first."""
    found = losses(layers)
    if not found:
        return "<p>None.</p>"

    def row(layer: Layer) -> list[str]:
        rival = str(layer.best)
        low, high = layer.range(rival)
        assert layer.ours is not None
        times = (quantity(layer.ours.median, "s"), quantity(layer.times[rival].median, "s"))
        ratio = f"{coloured(layer.ratio(rival), 'lost')} <span class=soft>({in_figures(low)} to {in_figures(high)})</span>"
        return [ratio, text(layer.name), text(layer.setting), text(layer.family), *times, text(rival), f"<code>{text(layer.case)}</code>"]

    head = ["ratio (range)", "layer", "setting", "family", "ours", "rival's", "fastest rival", "case"]
    seen = table(head, map(row, found[:SHOWN]), (4, 5))
    folded = f"<details><summary>the other {len(found) - SHOWN}</summary>{table(head, map(row, found[SHOWN:]), (4, 5))}</details>" if len(found) > SHOWN else ""
    return seen + folded


def family_table(suite: Suite, metric: str) -> str:
    """Return ratios by family against the fastest rival and against each, the worst family first."""
    rivals, floors = suite.rivals(metric), floor_share(suite.of(metric))
    rows = []
    for family, layers in [*by_family(suite.of(metric)).items(), ("all", suite.of(metric))]:
        cells = [summarise(layers), *(summarise(layers, rival) for rival in rivals)]
        if cells[0]:
            found = ["{} <span class=soft>{}</span>".format(*str(cell).split(" ", 1)) if cell else "" for cell in cells]
            rows.append([f"<b>{text(family)}</b>", f"{cells[0].lost} of {cells[0].layers}", *found, *([floor_share(layers)] if floors else [])])
    return table(["family", "lost", "fastest rival of each layer", *rivals, *(["the floor / ours"] if floors else [])], rows, (1,))


def bar(layer: Layer, place: int) -> Bar | None:
    """Return the bar of a layer against its fastest rival."""
    if not layer.compared or layer.ours is None:
        return None
    rival = str(layer.best)
    verdict, (low, high) = layer.verdict(rival), layer.range(rival)
    times = f"ours {quantity(layer.ours.median, 's')}, {rival} {quantity(layer.times[rival].median, 's')}"
    tip = f"{layer.name}, {layer.setting}\n{rival} / ours = {in_figures(layer.ratio(rival))} ({in_figures(low)} to {in_figures(high)})\n{times}\n{layer.case}"
    return Bar(layer.ratio(rival), low, high, f"s{place % 6}" + (" level" if verdict == "level" else ""), tip)


def family_bars(suite: Suite, metric: str) -> str:
    """Return a figure a family with a bar a layer and setting, all on one axis; the worst family and the worst layer first."""
    settings = suite.settings(metric)
    compared = [layer for layer in suite.of(metric) if layer.compared]
    if not compared:
        return ""
    axis = around([value for layer in compared for value in (1.0, *layer.range(str(layer.best)))], margin=0.04)
    figures = []
    for family, layers in by_family(compared).items():
        rows: dict[str, dict[str, Layer]] = {}
        for layer in layers:
            rows.setdefault(layer.name, {})[layer.setting] = layer
        order = sorted(rows, key=lambda name: min(layer.ratio(str(layer.best)) for layer in rows[name].values()))
        bars = [[bar(rows[name][setting], place) if setting in rows[name] else None for place, setting in enumerate(settings)] for name in order]
        step = f'style="height:{row_height(len(settings))}px"'
        single = "" if len(settings) > 1 else ' class="single"'
        names = "".join(f'<span {step} title="{text(name)}"><i><bdi>{text(name)}</bdi></i></span>' for name in order)
        values = "".join(f"<span {step}{single}>" + "".join(f"<em>{in_figures(one.ratio)}</em>" for one in row if one) + "</span>" for row in bars)
        drawn = ratio_bars(bars, axis, f"fastest rival's time / ours, {family}")
        caption = f"<figcaption>{text(family)} <small>{text(summarise(layers))}</small></figcaption>"
        figures.append(f'<figure>{caption}<div class="bars"><div class="names">{names}</div>{drawn}<div class="values">{values}</div></div></figure>')
    keys = "".join(f'<span><i class="key s{place % 6}"></i>{text(setting)}</span>' for place, setting in enumerate(settings))
    words = "Bars start at 1: to the right we are faster, to the left the rival is. Pale: within the noise. The thin line is the range over the rounds."
    return f'<p>{words}</p><div class="legend">{keys}</div>{"".join(figures)}'


def network_table(found: list[NetworkSum]) -> str:
    """Return the sums over whole networks, the worst first."""

    def row(entry: NetworkSum) -> list[str]:
        layers = f"{entry.layers}" if entry.layers == entry.of else f"{entry.layers} of {entry.of}"
        times = (quantity(entry.ours, "s"), quantity(entry.theirs, "s"))
        return [coloured(entry.ratio, "lost" if entry.ratio < 1 else "won"), text(entry.net), text(entry.setting), *times, text(entry.rival), layers]

    return table(["ratio", "network", "setting", "ours", "rival's", "fastest rival on the whole", "kinds of layers"], map(row, found), (3, 4))


def trust(document: Document) -> str:
    """Return what is needed to trust a file's figures: where, when, with what, who was absent, what was left out."""
    facts = document.facts
    where = facts.get("where") or {name: facts[name] for name in ("processor", "cores", "python") if name in facts}
    rows = [
        ["file", f"<code>{text(document.path.name)}</code>"],
        ["measures", text(facts["measures"])],
        ["date", text(facts["date"])],
        ["commit", text(facts["commit"])],
    ]
    rows += [[text(name.replace("_", " ")), text(plain(value))] for name, value in where.items() if value is not None]
    rows += [["versions", text(plain(facts["versions"]))]] if facts.get("versions") else []
    rows += [["settings", text(plain(facts["settings"]))]] if facts.get("settings") else []
    rows += [[f"absent: {text(name)}", text(reason)] for name, reason in facts.get("rivals", {}).items() if reason]
    said = table(["", ""], rows, wide=(1,))
    skipped = [[text(row["contestant"]), f"<code>{text(row['case'])}</code>", text(row["reason"])] for row in facts.get("skipped", ())]
    if skipped:
        said += (
            f"<details><summary>{len(skipped)} left out, each with its reason</summary>{table(['contestant', 'case', 'reason'], skipped, wide=(2,))}</details>"
        )
    return said


def plain(value: Any) -> str:
    """Return a value of a results file in words."""
    if isinstance(value, dict):
        return ", ".join(f"{str(name).replace('_', ' ')} {plain(one)}" for name, one in value.items() if one is not None)
    return ", ".join(map(plain, value)) if isinstance(value, list) else str(value)


def spread_words(layers: list[Layer]) -> str:
    """Return in words how far rounds of one contestant lie apart."""
    ratios = sorted(timing.spread[1] / timing.spread[0] for layer in layers for timing in layer.times.values())
    rounds = sorted({len(timing.seconds) for layer in layers for timing in layer.times.values()})
    middle, late = ratios[len(ratios) // 2], ratios[math.ceil(0.9 * len(ratios)) - 1]
    slow = f"the slowest round of a contestant on a layer is {middle:.2f} times the fastest (median), {late:.2f} at the 90th percentile"
    return f"{' or '.join(map(str, rounds))} rounds; {slow}."


def suite_sections(suite: Suite, roofs: dict[str, Any] | None) -> str:
    """Return all sections of one measurement of the suite."""
    parts = []
    for metric in suite.metrics:
        layers = suite.of(metric)
        parts.append(f"<p class=soft>{text(METRICS[metric])}. {text(spread_words(layers))}</p>{tiles(layers)}")
        parts.append(f"<h3>Losses: the fastest rival is faster, outside the noise</h3>{loss_table(layers)}")
        parts.append(
            f"<h3>Families</h3><p>Rival's time / ours: geometric mean (worst to best layer; layers). The worst family first.</p>{family_table(suite, metric)}"
        )
        parts.append(f"<h3>Whole networks, the sum of their layers</h3>{network_table(networks(layers))}")
        parts.append(f"<h3>Every layer against its fastest rival</h3>{family_bars(suite, metric)}")
        if metric != "issue":
            parts.append(f"<h3>Every layer under its roof</h3>{roofline(suite, metric, roofs)}")
    absent = "".join(f"<li><b>{text(name)}</b>: {text(reason)}</li>" for name, reason in suite.absent.items())
    return "".join(parts) + (f"<h3>Absent rivals</h3><ul>{absent}</ul>" if absent else "")


def roofs_for(suite: Suite, facts: Document | None) -> dict[str, Any] | None:
    """Return the measured roofs of a file of CPU facts that was made on the same processor with as many threads."""
    if facts is None or suite.facts.get("settings", {}).get("device") == "cuda":
        return None
    here, there = suite.facts["where"], facts.facts["where"]
    return facts.facts.get("roofs") if all(here[name] == there[name] for name in ("processor", "threads")) else None


def render(evidence: Evidence) -> str:
    """Return the page."""
    sections: list[tuple[str, str, str]] = []
    if evidence.cpu:
        words = "<p>The NumPy path beside libraries with kernels of their own; one run, interleaved rounds, results checked before they are timed.</p>"
        sections.append(("cpu", "On a CPU", words + suite_sections(evidence.cpu, roofs_for(evidence.cpu, evidence.facts))))
    for index, suite in enumerate(evidence.devices):
        name = (suite.facts["where"]["gpu"] or {}).get("name", "an unnamed GPU")
        sections.append((f"device{index}", f"On {name}", suite_sections(suite, None)))
    if not evidence.devices:
        sections.append(("device", "On a GPU", f"<p>The CUDA kernels: {NEVER}. No figure is given until one is measured.</p>"))
    if evidence.scaling:
        sections.append(("scaling", "How time grows", scaling_plots(evidence.scaling)))
    if evidence.issue or evidence.facts:
        sections.append(("costs", "What a call, an import and an install cost", call_costs(evidence.issue, evidence.facts)))
    said = "".join(f"<h3>{text(document.facts['measures'])}</h3>{trust(document)}" for document in evidence.documents)
    sections.append(("trust", "What these figures rest on", said))
    links = "".join(f'<a href="#{name}">{text(title)}</a>' for name, title, _ in sections)
    body = "".join(f'<section id="{name}"><h2>{text(title)}</h2>{inside}</section>' for name, title, inside in sections)
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">"
        f"<title>atrous: measurements</title><style>{(HERE / 'page.css').read_text(encoding='utf-8')}</style></head>"
    )
    words = "Ratio = a rival's time / ours: above 1 we are faster, below 1 the rival is. What is lost stands first."
    intro = f"<h1>atrous, measured beside the field</h1><p>{words}</p>"
    script = (HERE / "page.js").read_text(encoding="utf-8")
    return f'{head}\n<body><main>{intro}<nav>{links}</nav>{body}</main><div id="tip" hidden></div><script>{script}</script></body></html>\n'
