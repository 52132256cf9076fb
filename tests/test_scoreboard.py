"""The scoreboard: floors hold and only rise, the README's table is the committed figures', and a missing figure is a complaint."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import scoreboard
from figures import FIGURES, Figure, shown

ROOT = Path(__file__).resolve().parents[1]
FLOORS = json.loads(scoreboard.FLOORS.read_text(encoding="utf-8"))
KEYS = {figure.key: figure for figure in FIGURES if figure.key}


def test_floors_name_figures():
    for floors in FLOORS.values():
        assert set(floors) <= set(KEYS)


def test_a_figure_at_its_floor_passes_and_one_below_is_named():
    for floors in FLOORS.values():
        assert scoreboard.below(dict(floors), floors, only=False) == []
        for key, floor in floors.items():
            worse = floor + 1 if KEYS[key].falls else floor - 1
            (complaint,) = scoreboard.below({**floors, key: worse}, floors, only=False)
            assert KEYS[key].text in complaint


def test_a_missing_figure_is_named_unless_only_some_were_asked_for():
    floors = FLOORS["full"]
    assert len(scoreboard.below({}, floors, only=False)) == len(floors)
    assert scoreboard.below({}, floors, only=True) == []


def test_what_a_tool_says_beside_its_figures_is_left_out():
    assert scoreboard.plain_figures("faults", {"faults": 9, "wrong": ["one"], "seconds": 3}) == {"faults": 9, "faults_wrong": 1}


def test_a_failed_tool_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(scoreboard, "ROOT", tmp_path)
    assert scoreboard.measure({"one": ["python3", "-c", "import sys; open(sys.argv[1], 'w').write('{\"faults\": 7}')"], "two": ["false"]}) == ["two"]
    assert scoreboard.gather(["one", "two"]) == {"faults": 7}


def test_counts_add_up_and_the_worst_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(scoreboard, "ROOT", tmp_path)

    def tool(**figures):
        return ["python3", "-c", f"import sys; open(sys.argv[1], 'w').write({json.dumps(figures)!r})"]

    commands = {"one": tool(reports=1, worst_ratio=0.5, schedules_least=7), "two": tool(reports=2, worst_ratio=0.25, schedules_least=9)}
    assert scoreboard.measure(commands) == []
    figures = scoreboard.gather(commands)
    assert (figures["reports"], figures["worst_ratio"], figures["schedules_least"]) == (3, 0.5, 9)


@pytest.mark.skipif(not scoreboard.RESULTS.exists(), reason="no full run's figures are committed yet")
def test_readme_holds_the_committed_figures():
    text = scoreboard.README.read_text(encoding="utf-8")
    figures = json.loads(scoreboard.RESULTS.read_text(encoding="utf-8"))
    assert scoreboard.BEGIN in text and scoreboard.END in text
    assert text == scoreboard.written(text, figures, FLOORS["full"])
    assert scoreboard.below(figures, FLOORS["full"], only=False) == []


def test_floors_only_rise():
    """In every commit that this checkout knows, each floor was as low as it is now, or lower."""
    path = scoreboard.FLOORS.relative_to(ROOT).as_posix()
    git = ["git", "-C", str(ROOT)]
    known = subprocess.run([*git, "log", "--format=%H", "--", path], capture_output=True, text=True)
    if known.returncode or not known.stdout:
        pytest.skip("no history of the floors here: not a git checkout, or not committed yet")
    for commit in known.stdout.split():
        then = json.loads(subprocess.run([*git, "show", f"{commit}:{path}"], check=True, capture_output=True, text=True).stdout)
        for kind, floors in then.items():
            for key, floor in floors.items():
                now = FLOORS[kind][key]
                assert now <= floor if KEYS[key].falls else now >= floor, f"the {kind} floor of {key} fell from {floor} to {now} since {commit[:7]}"


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (40000, "40,000"), (98.25, "98.25"), (0.99961, "0.9996"), (None, "not measured")])
def test_values_are_shown(value, text):
    assert shown(Figure("faults", "", ""), value) == text
    if value is not None:
        assert shown(Figure("line_percent", "", "", "%"), value) == text + " %"


def test_what_only_a_device_gives_is_said_never_to_have_run():
    assert shown(Figure("", "", ""), None) == "never run on a device"
    assert shown(KEYS["conformance_outputs"], None) == "0 recorded"
    assert shown(KEYS["conformance_outputs"], 380) == "380"
