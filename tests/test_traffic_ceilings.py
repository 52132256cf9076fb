"""What the suite's depthwise, grouped and pooling layers ask of memory beside the least that they can move, and their bank conflicts, in both layouts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "proof"))

import traffic

#: layers of more work than this are left to the scoreboard
SHORT = 1_200_000
BOUND = [(name, problem) for name, problem in traffic.layers() if traffic.class_of(problem) in traffic.CEILINGS]
LAYERS = {f"{name} {problem}": problem for name, problem in BOUND if traffic.work_of(problem) <= SHORT}


@pytest.fixture(scope="module")
def records():
    """case -> its record"""
    return {record["case"]: record for record in traffic.records_of([str(problem) for problem in LAYERS.values()])}


@pytest.mark.parametrize("layer", LAYERS)
def test_bytes_beside_the_least(records, layer):
    record = records[str(LAYERS[layer])]
    assert 1 <= record["ratio"] <= traffic.CEILINGS[record["class"]], record["kernel"]


@pytest.mark.parametrize("layer", LAYERS)
def test_main_loops_meet_on_no_bank_but_for_a_reason(records, layer):
    record = records[str(LAYERS[layer])]
    most, _ = traffic.REASONS.get(record["kernel"], (0.0, ""))
    assert record["main_loop_conflicts"] <= most, record["places"]


def test_every_class_and_layout_is_among_them():
    met = {(traffic.class_of(problem), problem.layout) for problem in LAYERS.values()}
    assert met == {(name, layout) for name in traffic.CEILINGS for layout in ("NHWC", "NCHW")}
