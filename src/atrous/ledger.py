"""What a run of checks counted: kernel runs by kernel, instance, dtype and schedule, the worst error, and every failure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import ProblemError, sentence

FORMAT = 1
COUNTERS = ("exact_runs", "bounded_runs", "instances", "exact_instances", "dtypes", "orders", "unrun")
SETS = ("schedules", "instance_schedules")


@dataclass
class Ledger:
    """Counts of one run; ledgers of several processes add up."""

    problems: int = 0  # drawn, and taken by at least one kernel
    exact_problems: int = 0  # of them, those with one right answer to the bit that were run
    exact_runs: Counter[str] = field(default_factory=Counter)  # kernel runs on whole numbers with tolerance 0, by kernel
    bounded_runs: Counter[str] = field(default_factory=Counter)  # kernel runs on random numbers within the a priori bound, by kernel
    instances: Counter[str] = field(default_factory=Counter)  # kernel runs, by name of the instantiation
    exact_instances: Counter[str] = field(default_factory=Counter)  # of them, those on whole numbers
    dtypes: Counter[str] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)  # by the schedule's word and its landing word
    schedules: dict[str, set[str]] = field(default_factory=dict)  # kernel, helpers too -> the different schedules it ran in
    instance_schedules: dict[str, set[str]] = field(default_factory=dict)  # instantiation -> those that it ran in
    worst_ratio: float = 0.0  # largest error in units of the bound
    worst_case: str = ""
    failures: list[dict[str, Any]] = field(default_factory=list)
    unrun: Counter[str] = field(default_factory=Counter)  # kernel runs left out since the kernel had failed too often, by kernel
    lost: dict[str, Any] | None = None  # the failure at which the device was lost, with what it answered since

    @property
    def runs(self) -> int:
        """Kernel runs of either kind."""
        return self.exact_runs.total() + self.bounded_runs.total()

    def count(self, names: Iterable[str], whole: bool, schedule: str | None) -> None:
        """Count one run of instantiations, on whole numbers or not, and the schedule that the simulator followed."""
        for name in names:
            self.instances[name] += 1
            self.exact_instances[name] += whole
            if schedule is not None:
                self.instance_schedules.setdefault(name, set()).add(schedule)
                self.schedules.setdefault(name.partition("<")[0], set()).add(schedule)

    def add(self, other: Ledger) -> None:
        """Add the counts of another ledger."""
        for name in ("problems", "exact_problems"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in COUNTERS:
            getattr(self, name).update(getattr(other, name))
        for name in SETS:
            for key, seen in getattr(other, name).items():
                getattr(self, name).setdefault(key, set()).update(seen)
        if other.worst_ratio > self.worst_ratio:
            self.worst_ratio, self.worst_case = other.worst_ratio, other.worst_case
        self.failures += other.failures
        self.lost = self.lost or other.lost

    def whole(self) -> dict[str, Any]:
        """Return everything as plain data, from which `from_whole` makes the same ledger."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**found, **{name: {key: sorted(seen) for key, seen in found[name].items()} for name in SETS}}

    @classmethod
    def from_whole(cls, data: dict[str, Any]) -> Ledger:
        """Return the ledger of what `whole` returned."""
        made = cls(**data)
        for name in COUNTERS:
            setattr(made, name, Counter(getattr(made, name)))
        for name in SETS:
            setattr(made, name, {key: set(seen) for key, seen in getattr(made, name).items()})
        return made

    def summary(self) -> dict[str, Any]:
        """Return everything as plain data, of the schedules only how many differ."""
        return {**self.whole(), **{name: {key: len(seen) for key, seen in sorted(getattr(self, name).items())} for name in SETS}}


def append(path: Path, record: dict[str, Any]) -> None:
    """Append a record to a JSON file {"format", "runs"}, made if it is not there.

    Raises
    ------
    ProblemError
        If the file holds something else, or cannot be read or written.
    """
    held: dict[str, Any] = {"format": FORMAT, "runs": []}
    try:
        if path.exists() and (text := path.read_text(encoding="utf-8")).strip():
            held = json.loads(text)
        if not isinstance(held, dict) or held.get("format") != FORMAT or not isinstance(held.get("runs"), list):
            raise ValueError("it holds no ledger")
        held["runs"].append(record)
        path.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
    except (OSError, ValueError) as failure:
        raise ProblemError(
            sentence("verify", f"the ledger is {str(path)!r}, and {failure}", "a file that can be written, new or of earlier runs", "name another file")
        ) from failure
