"""Reads measurements of the suite (JSON of format 2) and condenses them: ratios by layer, family and network, and what was lost.

A ratio is everywhere a rival's median / ours: above 1 we are faster. It is outside the noise where the two spreads over
the rounds, least to largest, do not overlap.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from atrous.bench.ratios import Ratio, geomean, in_figures, median, ratio
from atrous.problem import parse

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
FORMAT = 2
#: whom a ratio is for, the first that a layer has: what most users call, then the plan that packed its weights before
OURS = ("atrous", "atrous plan")
#: what stands before the rest of a file's tables
METRICS = {
    "kernel": "Time on the device, replayed from a CUDA graph with a cold L2",
    "wall": "Time of a call on the host's clock",
    "issue": "CPU time to issue a call",
}


@dataclass(frozen=True)
class Timing:
    """One contestant on one layer: the median of every round, in seconds."""

    seconds: tuple[float, ...]
    kernel: str = ""

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the largest round."""
        return min(self.seconds), max(self.seconds)


@dataclass
class Layer:
    """One layer at one batch, dtype and layout, by one metric: our time and every rival's."""

    name: str
    net: str
    count: int
    family: str
    case: str
    setting: str
    metric: str
    flops: int
    bytes: int
    floor: float | None
    times: dict[str, Timing] = field(default_factory=dict)

    @property
    def ours(self) -> Timing | None:
        """Our time, the first of OURS that was measured."""
        return next((self.times[name] for name in OURS if name in self.times), None)

    @property
    def rivals(self) -> dict[str, Timing]:
        """The others' times."""
        return {name: timing for name, timing in self.times.items() if not name.startswith("atrous")}

    @property
    def best(self) -> str | None:
        """The fastest rival."""
        rivals = self.rivals
        return min(rivals, key=lambda name: rivals[name].median) if rivals else None

    def _ratio(self, rival: str) -> Ratio:
        assert self.ours is not None
        return ratio(self.times[rival].seconds, self.ours.seconds)

    def ratio(self, rival: str) -> float:
        """Return a rival's median / ours."""
        return self._ratio(rival).value

    def range(self, rival: str) -> tuple[float, float]:
        """Return the least and the largest ratio that any two rounds give."""
        found = self._ratio(rival)
        return found.low, found.high

    def verdict(self, rival: str) -> str:
        """Return "lost" or "won", or "level" where the spreads overlap."""
        found = self._ratio(rival)
        return "level" if not found.outside_noise else "lost" if found.value < 1 else "won"

    @property
    def compared(self) -> bool:
        """Whether there is a ratio."""
        return self.ours is not None and self.best is not None


class Summary(NamedTuple):
    """Ratios of several layers: their geometric mean, the worst, the best, how many, and how many were lost outside the noise."""

    mean: float
    worst: float
    best: float
    layers: int
    lost: int

    def __str__(self) -> str:
        return f"{in_figures(self.mean)} ({in_figures(self.worst)} to {in_figures(self.best)}; {self.layers})"


class NetworkSum(NamedTuple):
    """A network's layers, each as often as it has it: our seconds, those of the rival that is fastest on the whole, over `layers` of `of` layers."""

    net: str
    setting: str
    ours: float
    rival: str
    theirs: float
    layers: int
    of: int

    @property
    def ratio(self) -> float:
        """The rival's sum / ours."""
        return self.theirs / self.ours


@dataclass(frozen=True)
class Suite:
    """One measurement of the suite."""

    path: Path
    facts: dict[str, Any]
    layers: list[Layer]

    @property
    def metrics(self) -> list[str]:
        """The metrics it has, in the order of METRICS."""
        return [metric for metric in METRICS if any(layer.metric == metric for layer in self.layers)]

    def of(self, metric: str) -> list[Layer]:
        """Return the layers of a metric."""
        return [layer for layer in self.layers if layer.metric == metric]

    def settings(self, metric: str) -> list[str]:
        """Return batches, dtypes and layouts in the file's order."""
        return list(dict.fromkeys(layer.setting for layer in self.of(metric)))

    def rivals(self, metric: str) -> list[str]:
        """Return the rivals that were measured, in the file's order."""
        return list(dict.fromkeys(name for layer in self.of(metric) for name in layer.rivals))

    @property
    def absent(self) -> dict[str, str]:
        """Rivals that could not take part -> why."""
        return {name: reason for name, reason in self.facts["rivals"].items() if reason}


def setting_of(case: str) -> str:
    """Return "batch 8, float32", with the layout where it is not NHWC."""
    problem = parse(case)
    return f"batch {problem.x_shape[0]}, {problem.dtype}" + ("" if problem.layout == "NHWC" else f", {problem.layout}")


def suite_of(path: Path, facts: dict[str, Any]) -> Suite:
    """Return a measurement of the suite from the contents of its file."""
    found: dict[tuple[str, str, str], Layer] = {}
    for row in facts["rows"]:
        key = row["layer"], row["case"], row["metric"]
        if key not in found:
            words = {name: row[name] for name in ("net", "count", "family", "case", "metric", "flops", "bytes")}
            found[key] = Layer(row["layer"], setting=setting_of(row["case"]), floor=row["floor_seconds"], **words)
        if row["contestant"] in found[key].times:
            raise SystemExit(f"{path} has {row['contestant']} twice on {row['layer']}, {row['case']}, {row['metric']}")
        found[key].times[row["contestant"]] = Timing(tuple(row["seconds"]), row["kernel"])
    return Suite(path, facts, list(found.values()))


def place(facts: dict[str, Any]) -> str:
    """Return "cpu", or the name of the GPU that the times of a file are of."""
    timed_there = facts.get("settings", {}).get("device") == "cuda" or any(row.get("metric") == "kernel" for row in facts.get("rows", ()))
    return (facts["where"]["gpu"] or {}).get("name", "an unnamed GPU") if timed_there else "cpu"


class Document(NamedTuple):
    """One results file."""

    path: Path
    facts: dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """The newest file of every kind."""

    cpu: Suite | None = None
    devices: tuple[Suite, ...] = ()
    facts: Document | None = None
    scaling: Document | None = None
    issue: Document | None = None

    @property
    def documents(self) -> list[Document]:
        """The files, those of the suite first."""
        suites = [suite for suite in (self.cpu, *self.devices) if suite]
        return [*(Document(suite.path, suite.facts) for suite in suites), *(one for one in (self.facts, self.scaling, self.issue) if one)]


def gather(paths: Iterable[Path]) -> Evidence:
    """Return the newest of every kind by its date, then its name; files of other kinds are passed over."""
    newest: dict[tuple[str, str], Document] = {}
    for path in sorted(paths, key=lambda path: path.name):
        facts = json.loads(path.read_text(encoding="utf-8"))
        kind = facts.get("measures")
        if kind != "issue cost" and facts.get("format") != FORMAT:
            continue
        where = place(facts) if kind == "suite" else "cpu"
        if (kind, where) not in newest or facts["date"] >= newest[kind, where].facts["date"]:
            newest[kind, where] = Document(path, facts)
    suites = {where: suite_of(*document) for (kind, where), document in newest.items() if kind == "suite"}
    return Evidence(
        suites.pop("cpu", None),
        tuple(suites.values()),
        *(newest.get((kind, "cpu")) for kind in ("cpu facts", "scaling", "issue cost")),
    )


def committed() -> list[Path]:
    """Return the repository's results files."""
    return sorted(RESULTS.glob("*/*.json"))


def summarise(layers: Iterable[Layer], rival: str | None = None) -> Summary | None:
    """Return the ratios against a rival, or against the fastest of each layer; None where no layer has one."""
    pairs = [(layer, rival or layer.best) for layer in layers if layer.compared and (rival is None or rival in layer.times)]
    ratios = [layer.ratio(name) for layer, name in pairs if name]
    if not ratios:
        return None
    lost = sum(layer.verdict(name) == "lost" for layer, name in pairs if name)
    return Summary(geomean(ratios), min(ratios), max(ratios), len(ratios), lost)


def floor_share(layers: Iterable[Layer]) -> str:
    """Return in words which share of our time the roofline's floor is: geometric mean and the worst layer; "" where no floor is known."""
    shares = [layer.floor / layer.ours.median for layer in layers if layer.floor and layer.ours]
    return f"{in_figures(geomean(shares))} ({in_figures(min(shares))} at worst)" if shares else ""


def by_family(layers: Iterable[Layer]) -> dict[str, list[Layer]]:
    """Return the layers of each family, the family that does worst against the fastest rivals first; those with no ratio last."""
    found: dict[str, list[Layer]] = {}
    for layer in layers:
        found.setdefault(layer.family, []).append(layer)

    def place(family: str) -> float:
        summary = summarise(found[family])
        return summary.mean if summary else math.inf

    return {family: found[family] for family in sorted(found, key=place)}


def losses(layers: Iterable[Layer]) -> list[Layer]:
    """Return the layers that the fastest rival does faster outside the noise, the worst first."""
    lost = [layer for layer in layers if layer.compared and layer.verdict(str(layer.best)) == "lost"]
    return sorted(lost, key=lambda layer: layer.ratio(str(layer.best)))


def networks(layers: list[Layer]) -> list[NetworkSum]:
    """Return the sums of every network and setting, the worst ratio first.

    The rival is one and the same for all layers: the fastest of those that did the most of them. Layers that it does not
    do are left out of both sums, and the count says so.
    """
    groups: dict[tuple[str, str], list[Layer]] = {}
    for layer in layers:
        groups.setdefault((layer.net, layer.setting), []).append(layer)
    found = []
    for (net, setting), members in groups.items():
        best = None
        for rival in dict.fromkeys(name for layer in members for name in layer.rivals):
            shared = [layer for layer in members if layer.ours and rival in layer.times]
            ours = sum(layer.count * layer.ours.median for layer in shared if layer.ours)
            theirs = sum(layer.count * layer.times[rival].median for layer in shared)
            entry = NetworkSum(net, setting, ours, rival, theirs, len(shared), len(members))
            if shared and (best is None or (entry.layers, -entry.ratio) > (best.layers, -best.ratio)):
                best = entry
        if best:
            found.append(best)
    return sorted(found, key=lambda entry: entry.ratio)
