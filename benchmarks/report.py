"""Writes the README's tables of speed and of issue cost, the page of measurements and its pictures from the newest committed measurements.

    python benchmarks/report.py                     writes README.md, docs/benchmarks.html and docs/benchmarks/*.png
    python benchmarks/report.py --check             says whether README.md and the page are what the newest measurements give
    python benchmarks/report.py --out DIR [FILE..]  writes tables.md, benchmarks.html and *.png into DIR, from these files instead

The page stands in the repository once a measurement of the suite does.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import page
from drawing import quantity
from evidence import METRICS, ROOT, Document, Evidence, Suite, by_family, committed, floor_share, gather, losses, networks, summarise

from atrous.bench.ratios import in_figures

README = ROOT / "README.md"
PAGE = ROOT / "docs" / "benchmarks.html"
PICTURES = ROOT / "docs" / "benchmarks"
SPEED = ("<!-- speed:begin -->", "<!-- speed:end -->")
ISSUE = ("<!-- issue:begin -->", "<!-- issue:end -->")
DEVICE = ("<!-- device:begin -->", "<!-- device:end -->")
ALL = "all families"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; all columns but the first hold numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def family_table(suite: Suite, metric: str, columns: dict[str, Callable[[Any], Any]], lost: bool) -> str:
    """Return Markdown: a line a family, the worst first, and all of them last; a column gives a summary of layers."""
    lines = []
    layers = suite.of(metric)
    for family, members in [*by_family(layers).items(), (ALL, layers)]:
        overall = summarise(members)
        if overall:
            cells = [str(column(members) or "") for column in columns.values()]
            lines.append([f"**{ALL}**" if family == ALL else family, *([f"{overall.lost} of {overall.layers}"] if lost else []), *cells])
    return markdown(["family", *(["lost"] if lost else []), *columns], lines)


def metric_tables(suite: Suite, metric: str) -> str:
    """Return the tables of one metric: against the fastest rival by setting, then, folded, against each rival and the sums over networks."""

    def at(setting: str) -> Callable[[Any], Any]:
        return lambda layers: summarise(layer for layer in layers if layer.setting == setting)

    def against(rival: str) -> Callable[[Any], Any]:
        return lambda layers: summarise(layers, rival)

    layers = [layer for layer in suite.of(metric) if layer.compared]
    if not layers:
        return f"{METRICS[metric]}: no rival was measured."
    lost = losses(layers)
    said = f"{METRICS[metric]}, against the fastest rival of each layer: {len(lost)} of {len(layers)} layers are lost outside the noise"
    if lost:
        worst = [f"{one.name} at {one.setting.partition(',')[0]} ({in_figures(one.ratio(str(one.best)))}, {one.best})" for one in lost[:3]]
        said += f"; the worst are {'; '.join(worst)}"
    floors: dict[str, Callable[[Any], Any]] = {"the floor / ours": floor_share} if floor_share(layers) else {}
    parts = [
        f"{said}.",
        family_table(suite, metric, {setting: at(setting) for setting in suite.settings(metric)} | floors, lost=True),
        "<details><summary>Against each rival, and whole networks</summary>",
        family_table(suite, metric, {rival: against(rival) for rival in suite.rivals(metric)}, lost=False),
        network_table(suite, metric),
        "</details>",
    ]
    return "\n\n".join(parts)


def network_table(suite: Suite, metric: str) -> str:
    """Return Markdown: the sum of each network's layers, the worst ratio first."""
    lines = []
    for entry in networks(suite.of(metric)):
        times = (quantity(entry.ours, "s"), f"{quantity(entry.theirs, 's')}, {entry.rival}")
        lines.append([entry.net, entry.setting, in_figures(entry.ratio), *times, f"{entry.layers} of {entry.of}"])
    return markdown(["network, the sum of its layers", "setting", "ratio", "ours", "fastest rival on the whole", "kinds of layers"], lines)


def link(path: Path) -> str:
    """Return a Markdown link to a results file, relative to the repository where it is in it."""
    return f"[{path.name}]({path.relative_to(ROOT).as_posix()})" if path.is_relative_to(ROOT) else path.name


def suite_tables(suite: Suite) -> str:
    """Return everything that the README says of one measurement of the suite."""
    facts = suite.facts
    where, versions = facts["where"], facts["versions"]
    gpu = where["gpu"] if facts.get("settings", {}).get("device") == "cuda" else None
    machine = f"{gpu['name']}, driver {gpu['driver']}, {where['processor']}" if gpu else f"{where['processor']}, {where['threads']} threads"
    first = {version: name for name, version in reversed(versions.items()) if name != "atrous"}  # torch once, not once a rival made of it
    with_what = ", ".join(f"{name} {version}" for name, version in versions.items() if first.get(version) == name)
    with_what += f", OPENBLAS_CORETYPE={where['openblas_coretype']}" if where.get("openblas_coretype") else ""
    absent = "".join(f"; {name} is absent: {reason.rstrip('.')}" for name, reason in suite.absent.items())
    foot = (
        f"Rival's time / ours, so below 1 is slower than the rival: geometric mean (worst to best layer; layers). {machine}; {with_what}; "
        f"{facts['date']}, commit {facts['commit']}; all figures in {link(suite.path)}{absent}. "
        "Every layer is drawn in [the page](docs/benchmarks.html) and the [pictures](docs/benchmarks)."
    )
    return "\n\n".join([*(metric_tables(suite, metric) for metric in suite.metrics), foot])


def speed_tables(evidence: Evidence) -> str:
    """Return what the README says of speed on a CPU."""
    if evidence.cpu is None:
        return "On a CPU: not measured."
    intro = "On a CPU, the array path beside libraries with kernels of their own, over the layers of the networks in `cases/`, "
    intro += "in one run and interleaved (`benchmarks/run.py`)."
    return f"{intro}\n\n{suite_tables(evidence.cpu)}"


def device_tables(evidence: Evidence) -> str:
    """Return what the README says of speed on GPUs."""
    if not evidence.devices:
        return f"On a GPU, no figure is given until one is measured. Beside cuDNN, torch.compile, JAX and onnxruntime (`benchmarks/gpu.sh`): {page.NEVER}."
    return "\n\n".join(suite_tables(suite) for suite in evidence.devices)


def issue_table(document: Document) -> str:
    """Return the Markdown of what a call costs before the GPU has work."""
    facts = document.facts
    lines = ["| call | microseconds: median (least to largest) | goal |", "|---|---|---|"]
    for row in facts["rows"]:
        times, budget = row["microseconds"], row["budget"]
        middle = statistics.median(times)
        goal = "" if budget is None else f"{budget:g}, {'met' if middle <= budget else 'missed'}"
        lines.append(f"| `{row['what']}` | {middle:.2f} ({min(times):.2f} to {max(times):.2f}) | {goal} |")
    where = f"{facts['processor']}, Python {facts['python']}, {facts['date']}, commit {facts['commit']}"
    lines += ["", f"CPU time. {where}, load average {facts['load average']:.1f}."]
    return "\n".join(lines)


def between(text: str, marks: tuple[str, str], inside: str) -> str:
    """Return a text with what stands between two marks replaced."""
    before, begin, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise SystemExit(f"README.md has no {marks[0]} ... {marks[1]}")
    return f"{before}{marks[0]}\n{inside}\n{marks[1]}{after}"


def tables(evidence: Evidence) -> dict[tuple[str, str], str]:
    """Return what stands between each pair of marks."""
    found = {SPEED: speed_tables(evidence), DEVICE: device_tables(evidence)}
    return {**found, ISSUE: issue_table(evidence.issue)} if evidence.issue else found


def written(text: str, evidence: Evidence) -> str:
    """Return the README's text with all tables put in."""
    for marks, inside in tables(evidence).items():
        text = between(text, marks, inside)
    return text


def check(evidence: Evidence) -> int:
    """Say whether the README and the page hold the newest figures."""
    wanted = {README: written(README.read_text(encoding="utf-8"), evidence)}
    if evidence.cpu or evidence.devices:
        wanted[PAGE] = page.render(evidence)
    stale = [path.relative_to(ROOT).as_posix() for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    print(
        f"{' and '.join(stale)} {'do' if len(stale) > 1 else 'does'} not hold the newest figures: run benchmarks/report.py"
        if stale
        else "the newest figures are there"
    )
    return int(bool(stale))


def draw(evidence: Evidence, folder: Path) -> None:
    """Write the pictures, or say why there are none."""
    if importlib.util.find_spec("matplotlib") is None:
        print("no pictures: matplotlib is not installed; pip install '.[plot]' brings it", file=sys.stderr)
        return
    import pictures

    pictures.save(evidence, folder)


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="results files (default: those in benchmarks/results)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if README.md or the page is not up to date")
    parser.add_argument("--out", type=Path, help="write tables.md, the page and the pictures into this folder")
    chosen = parser.parse_args()
    if chosen.files and not chosen.out:
        parser.error("files other than the repository's need --out")
    evidence = gather(chosen.files or committed())
    if chosen.check:
        return check(evidence)
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        (chosen.out / "tables.md").write_text("\n\n".join(tables(evidence).values()) + "\n", encoding="utf-8")
        (chosen.out / "benchmarks.html").write_text(page.render(evidence), encoding="utf-8")
        draw(evidence, chosen.out)
        return 0
    README.write_text(written(README.read_text(encoding="utf-8"), evidence), encoding="utf-8")
    if evidence.cpu or evidence.devices:
        PAGE.write_text(page.render(evidence), encoding="utf-8")
        draw(evidence, PICTURES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
