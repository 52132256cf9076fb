"""The scaling measurement: its problems, its fitted exponents, and that a run that was cut off goes on where it stopped."""

from __future__ import annotations

import json
import math
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import scaling  # noqa: E402

from atrous.bench import contest, rivals  # noqa: E402

SIZES = {"batch": (1, 2, 4), "size": (4, 8)}


def test_an_exponent_is_recovered_with_its_standard_error():
    sizes = [1, 2, 4, 8, 16, 32]
    slope, error = scaling.fit(sizes, [3e-4 * size**1.5 for size in sizes])
    assert slope == pytest.approx(1.5) and error < 1e-9
    noise = random.Random(0)
    found = [scaling.fit(sizes, [size**1.5 * math.exp(noise.gauss(0, 0.1)) for size in sizes]) for _ in range(400)]
    deviation = math.sqrt(sum((slope - 1.5) ** 2 for slope, _ in found) / len(found))
    assert deviation == pytest.approx(math.sqrt(sum(error**2 for _, error in found) / len(found)), rel=0.15)


def test_one_size_changes_at_a_time():
    found = {point[:3]: point.problem for point in scaling.points()}
    assert len(found) == 2 * sum(map(len, scaling.SIZES.values()))
    base = scaling.parse(scaling.CASES["conv2d"])
    assert found["conv2d", "channels", 256].c == found["conv2d", "channels", 256].k == 256
    assert found["conv2d", "batch", 32].n == 32 and found["conv2d", "batch", 32].x_shape[1:] == base.x_shape[1:]
    assert found["max_pool2d", "size", 112].x_shape[1:3] == (112, 112)
    assert found["max_pool2d", "channels", 16].c == 16


def tiny(monkeypatch):
    monkeypatch.setattr(scaling, "CASES", {"conv2d": "n1c2h6w6_k2r3s3_pad1", "max_pool2d": "n1c2h6w6_max_r2s2"})
    return contest.Options(rounds=2, turn_seconds=0.0, pause_seconds=0.0)


def test_every_point_is_measured_once(monkeypatch, tmp_path):
    options, kept = tiny(monkeypatch), []
    document = dict(rows=[], skipped=[], fits=[])
    ours = rivals.module("atrous_plans")
    scaling.measure(document, [ours], options, SIZES, lambda: kept.append(len(document["rows"])))
    assert kept == list(range(2, 21, 2)) and document["skipped"] == []
    assert {row["contestant"] for row in document["rows"]} == {"atrous", "atrous plan"}
    assert all(len(row["seconds"]) == 2 and row["error"] <= 1 for row in document["rows"])
    assert {(fit["axis"], fit["points"]) for fit in document["fits"]} == {("batch", 3)}, "two points leave no error to state"
    rows = list(document["rows"])
    document["rows"] = rows[:6]
    scaling.measure(document, [ours], options, SIZES)
    assert document["rows"][:6] == rows[:6] and [(row["axis"], row["value"]) for row in document["rows"]] == [(row["axis"], row["value"]) for row in rows]


def test_a_wrong_rival_is_named_and_not_timed(monkeypatch):
    def wrong(problem, inputs, device):
        found = rivals.module("atrous_plans").contestants(problem, inputs, device)[0]
        return [contest.Contestant("off by one", found.call, lambda: found.output() + 1)]

    document = dict(rows=[], skipped=[], fits=[])
    scaling.measure(document, [SimpleNamespace(contestants=wrong)], tiny(monkeypatch), {"batch": (1,)})
    assert document["rows"] == [] and {row["contestant"] for row in document["skipped"]} == {"off by one"}
    assert "wrong result" in document["skipped"][0]["reason"]


def test_points_of_another_commit_are_not_kept(tmp_path):
    fresh = dict(measures="scaling", commit="abc", settings={}, versions={}, where={"processor": "A"}, rows=[])
    path = tmp_path / "scaling.json"
    assert scaling.opened(path, fresh) is fresh
    for change, kept in (({}, True), ({"commit": "def"}, False), ({"where": {"processor": "B"}}, False), ({"settings": {"rounds": 1}}, False)):
        path.write_text(json.dumps(fresh | {"rows": [1]} | change))
        assert (scaling.opened(path, fresh)["rows"] == [1]) == kept, change
