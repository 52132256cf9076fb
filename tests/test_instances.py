"""The table of proved instances: each with exact and bounded runs, schedules, and runs under the sanitizers and the race check."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from atrous import verify
from atrous.engines import simulated
from atrous.ledger import Ledger
from atrous.verify import every_instance

sys.path.insert(0, str(Path(__file__).parent / "proof"))
import instances

RECORD = {"instances": {"one": 5, "two": 3}, "exact_instances": {"one": 4, "two": 3}, "instance_schedules": {"one": 5, "two": 2}}


@pytest.mark.skipif(not instances.TABLE.exists(), reason="no full run of the scoreboard has written the table yet")
def test_no_instance_has_zero_of_any_proof():
    assert instances.complaints(instances.committed(), every_instance()) == []


def test_a_zero_a_missing_and_an_unknown_instance_are_named(tmp_path, monkeypatch):
    records = dict.fromkeys(instances.VARIANTS, RECORD)
    rows = instances.counts(records, ["one", "two"])
    assert rows == {"one": (4, 1, 5, 5, 5), "two": (3, 0, 2, 3, 3)}
    assert instances.complaints(rows, ["one", "two"]) == ["two has no bounded runs"]
    missing, unknown, _ = instances.complaints(rows, ["two", "three"])
    assert "three is not among" in missing and "one is listed" in unknown
    monkeypatch.setattr(instances, "TABLE", tmp_path / "instances.tsv")
    instances.TABLE.write_text(instances.text(rows))
    assert instances.committed() == rows


@pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))
def test_a_prover_counts_by_instance():
    prover = verify.Prover("simulated")
    for seed in range(40):
        prover.prove(verify.any_problem(seed), seed)
    ledger = prover.ledger
    assert sum(ledger.exact_instances.values()) >= ledger.exact_runs.total() > 0
    assert set(ledger.instance_schedules) == set(ledger.instances)
    assert all(0 < len(seen) <= ledger.instances[name] for name, seen in ledger.instance_schedules.items())
    twice = Ledger.from_whole(ledger.whole())
    twice.add(ledger)
    assert twice.exact_instances["none"] == 0 and twice.instance_schedules == ledger.instance_schedules
    assert all(twice.exact_instances[name] == 2 * count for name, count in ledger.exact_instances.items())
