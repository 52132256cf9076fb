"""The planting of bugs: what the operators do to text, that names of bugs last, and that the last full run left nothing unexplained."""

from __future__ import annotations

import json
import re

import mutants
import mutations
import pytest

SURVIVORS = json.loads((mutants.HERE / "mutants_survivors.json").read_text(encoding="utf-8"))

#: operator -> a line, and what one of its mutants makes of it
PLANTED = {
    "barrier left out": ("  prims::sync_block();", "  ;"),
    "wait left out": ("  prims::wait(&ring.full[slot], parity);", "  ;"),
    "wait too short": ("  prims::wait_copies<kStages - 2>();", "  prims::wait_copies<(kStages - 2) + 1>();"),
    "wrong phase": ("  prims::wait(&ring.full[slot], parity);", "  prims::wait(&ring.full[slot], parity ^ 1);"),
    "wrong bound": ("  if (k >= column_end) return;", "  if (k > column_end) return;"),
    "wrong condition": ("  if (h == 0 && w == 0) {", "  if (h == 0 || w == 0) {"),
    "wrong axis": ("  const int h = p * a.stride_h - a.pad_top;", "  const int h = p * a.stride_h - a.pad_left;"),
    "wrong stride": ("  offset = n * a.x_stride[0];", "  offset = n * a.x_stride[1];"),
    "wrong sum": ("  const int i = row * kRow + column;", "  const int i = row * kRow - column;"),
    "off by one": ("  const int tiles = (n - 1) / kTile + 1;", "  const int tiles = (n - 1) / kTile;"),
    "wrong shift": ("  const int size = 1 << log;", "  const int size = 1 >> log;"),
    "lost sum": ("  sum += x * w;", "  sum = x * w;"),
    "narrow index": ("  const Index row = pixel / a.w;", "  const int32 row = pixel / a.w;"),
    "wrong choice": ("  const int i = min(a, b);", "  const int i = max(a, b);"),
    "lost skip": ("    if (row >= rows) continue;", "    if (row >= rows) ;"),
}


@pytest.fixture
def planted_in(tmp_path, monkeypatch):
    """A function that returns the mutants of a text."""
    monkeypatch.setattr(mutations, "TEXT", tmp_path)

    def plant(text):
        path = tmp_path / "atrous" / "kernels" / "x.cuh"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return list(mutations.of_file(path))

    return plant


def test_every_operator_is_shown():
    assert set(PLANTED) == set(mutations.OPERATORS)


@pytest.mark.parametrize("operator", PLANTED)
def test_an_operator_plants_its_bug(planted_in, operator):
    line, wrong = PLANTED[operator]
    texts = [mutant.apply(line) for mutant in planted_in(line) if mutant.operator == operator]
    assert wrong in texts
    assert line not in texts


def test_declarations_and_comments_are_left_alone(planted_in):
    text = '#include "a < b"\n// a < b\ntemplate <int kA, int kB = kA < 3>\nstatic_assert(kA < kB);\n  static constexpr int kRows = kA + 1;\n'
    assert planted_in(text) == []


def test_a_name_lasts_when_other_lines_come(planted_in):
    before = {mutant.identity: mutant.text for mutant in planted_in("  if (a < b) return;\n")}
    after = {mutant.identity: mutant.text for mutant in planted_in("  sum += x;\n  if (a < b) return;\n")}
    assert before.items() <= after.items()


def test_names_differ():
    names = [mutant.identity for mutant in mutations.every()]
    assert len(set(names)) == len(names) > 1000


def test_a_draw_gives_every_operator_and_file_its_turn():
    everything = mutations.every()
    drawn = mutations.spread(everything, 360)
    assert len(drawn) == 360 and drawn == mutations.spread(everything, 360)
    assert {mutant.operator for mutant in drawn} == {mutant.operator for mutant in everything}
    assert {mutant.file for mutant in drawn} == {mutant.file for mutant in everything}


def test_short_lists_hold_every_template_argument():
    texts = mutants.trimmed(mutants.lists_of_instances())
    arguments = lambda text: set(re.findall(r"\w+", " ".join(re.findall(r"ATROUS_KERNEL\((?:conv_direct|pool)<(.*)>\)", text))))  # noqa: E731
    whole = "\n".join(path.read_text(encoding="utf-8") for path in texts)
    assert arguments("\n".join(texts.values())) == arguments(whole)
    assert sum(text.count("ATROUS_KERNEL") for text in texts.values()) < whole.count("ATROUS_KERNEL") / 2


def test_the_last_full_run_leaves_nothing_unexplained():
    bugs = mutants.planted(mutants.known())
    assert len(bugs) >= 200
    assert mutants.percent_killed(mutants.known()) >= 98
    survived = {result["identity"] for result in bugs if result["fate"] not in mutants.KILLED}
    assert survived == set(SURVIVORS), "each survivor needs a new check, or its explanation in mutants_survivors.json"
    assert all(len(reason.split()) >= 4 for reason in (*SURVIVORS.values(), *mutants.reasons().values()))


def test_the_last_full_run_fits_the_text():
    still = {mutant.identity for mutant in mutations.every()}
    known = [result["identity"] for result in mutants.known()]
    assert sum(identity in still for identity in known) >= 0.9 * len(known), "run tests/proof/mutants.py --full N --write again"
