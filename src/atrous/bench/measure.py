"""Layers measured into a results file: every rival's ways beside ours, in one contest a problem; a file cut off at any time loses one layer."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import choose
from ..errors import AtrousError, ProblemError, sentence
from . import record, rivals, suite
from .contest import Contestant, ContextLost, Options, Outcome, inputs_of, run


@dataclass(frozen=True)
class Wanted:
    """A layer as it is to be measured: at its batch, dtype and layout."""

    layer: suite.Layer
    problem: Any

    @property
    def case(self) -> str:
        """The case string of what is measured."""
        return str(self.problem)


@dataclass
class Bench:
    """Who is measured, how and where, and the results so far.

    Parameters
    ----------
    options : Options
    against : list of plug-ins
        Those that cannot run here are named in the results with the reason, and take no part.
    engine : str, optional
        Of ours; default the best that is here.
    """

    options: Options
    against: list[Any]
    engine: str | None = None
    where: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(init=False)
    lost: str = field(init=False, default="")

    def __post_init__(self) -> None:
        ours = rivals.module(rivals.OURS)
        reason = ours.available(self.options.device)
        if reason is not None:
            raise ProblemError(sentence("bench", f"the device is {self.options.device!r} and {reason}", "a device that is here", "pass --device cpu"))
        absent = rivals.presence(self.against, self.options.device)
        self._taking = [ours, *(rival for rival in self.against if absent[rival.NAME] is None)]
        versions = {rival.NAME: rival.version() for rival in self._taking}
        settings = self.options.settings() | dict(engine=self.engine)
        self.document = record.document("suite", settings, absent, versions, **self.where)

    def measure(self, wanted: Wanted) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Measure one layer, add what was found to the document, and return its rows and who was skipped.

        `lost` says so where the GPU is lost to this process: another one can measure the layers that come next.
        A problem that is in the document already is not measured again: its rows are given this layer's name.
        """
        rows, skipped = self.known(wanted.case)
        if not rows and not skipped:
            outcome = self._contest(wanted.problem)
            rows, skipped, self.lost = outcome.rows, outcome.skipped, outcome.lost
        facts = self._facts(wanted)
        rows = [{**row, **facts} for row in rows]
        skipped = [{**skip, "case": wanted.case, "layer": wanted.layer.name} for skip in skipped]
        self.document["rows"] += rows
        self.document["skipped"] += skipped
        return rows, skipped

    def known(self, case: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the rows of a case, and who was skipped in it, as the first layer that has it found them."""
        found = []
        for part in ("rows", "skipped"):
            of_case = [row for row in self.document[part] if row["case"] == case]
            found.append([row for row in of_case if row["layer"] == of_case[0]["layer"]])
        return found[0], found[1]

    def has(self, wanted: Wanted) -> bool:
        """Return whether the document holds this layer already."""
        return any((row["layer"], row["case"]) == (wanted.layer.name, wanted.case) for part in ("rows", "skipped") for row in self.document[part])

    def resume(self, path: Path) -> None:
        """Go on with a results file of the same settings, or raise ProblemError."""
        before = json.loads(path.read_text(encoding="utf-8"))
        for name in ("format", "measures", "commit", "settings", "versions", "rivals"):
            if before.get(name) != self.document[name]:
                came = f"{path} was measured with {name} {before.get(name)!r} and this is {self.document[name]!r}"
                raise ProblemError(sentence("bench", came, "a file to go on with", "measure into another file"))
        self.document |= {"rows": before["rows"], "skipped": before["skipped"], "date": before["date"]}

    def save(self, path: Path) -> None:
        """Write the document; a reader never sees half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(path.name + ".part")
        half.write_text(json.dumps(self.document, indent=1) + "\n", encoding="utf-8")
        half.replace(path)

    def _contest(self, problem: Any) -> Outcome:
        outcome = Outcome(self.options.device)
        inputs = inputs_of(problem, self.options.seed)
        taking: list[Contestant] = []
        with contextlib.suppress(ContextLost):  # the outcome says so
            for rival in self._taking:
                self.options.report(f"preparing {rival.NAME}")
                words = {"engine": self.engine} if rival is self._taking[0] else {}
                with outcome.noting(rival.NAME):
                    taking += rival.contestants(problem, inputs, self.options.device, **words)
        if not outcome.lost:
            early, outcome = outcome, run(problem, inputs, taking, self.options)
            outcome.skipped[:0] = early.skipped
        if self.options.device == "cuda" and not outcome.lost:
            taking.clear()
            _release()
        return outcome

    def _facts(self, wanted: Wanted) -> dict[str, Any]:
        layer, problem = wanted.layer, wanted.problem
        return {
            "layer": layer.name,
            "net": layer.net,
            "count": layer.count,
            "family": suite.family(problem),
            "case": wanted.case,
            "flops": problem.flops,
            "bytes": choose.minimum_bytes(problem),
            "floor_seconds": floor_seconds(problem) if self.options.device == "cuda" else None,
        }


def wanted(layers: list[suite.Layer], **changes: Any) -> Iterator[Wanted | tuple[suite.Layer, str]]:
    """Yield every layer at a batch, dtype and layout, or (layer, sentence) where it has none such."""
    for layer in layers:
        try:
            yield Wanted(layer, suite.at(layer.problem, **changes))
        except AtrousError as refusal:
            yield layer, str(refusal)


def floor_seconds(problem: Any) -> float | None:
    """Return the roofline floor on the first GPU by its data sheet, or None where its architecture is not known."""
    if "cupy" not in sys.modules:
        return None
    try:
        device = choose.device_named("sm_" + importlib.import_module("cupy").cuda.Device(0).compute_capability)
    except ProblemError:
        return None
    return max(problem.flops / choose.arithmetic_rate(problem, device)[0], choose.minimum_bytes(problem) / device.bandwidth)


def default_device() -> str:
    """Return "cuda" where a GPU and what holds arrays on it are here, else "cpu"."""
    return "cuda" if rivals.module(rivals.OURS).available("cuda") is None else "cpu"


def _release() -> None:
    """Give the GPU memory that libraries keep back, so that the next layer's contestants all find some."""
    gc.collect()
    if "cupy" in sys.modules:
        sys.modules["cupy"].get_default_memory_pool().free_all_blocks()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
