"""benchmarks/run.py and benchmarks/compare.py: resuming, saving after every layer, paired ratios, and verdicts only outside the noise."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import pytest
from fake_rival import Rival, install

from atrous.bench import contest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import compare
import run as suite_run

NET = "one n1c8h9w9_k8r3s3_pad1_f16_relu x2\ntwo n1c8h9w9_max_r3s3_f16\nthree n1c8h9w9_k8r3s3_pad1_f16_relu\n"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(contest, "TURN_SECONDS", {"cpu": 0.0})
    monkeypatch.setattr(contest, "PAUSE_SECONDS", {"cpu": 0.0})
    monkeypatch.setattr(suite_run, "limit_threads", lambda count: None)
    return install(monkeypatch, Rival("fake"), Rival("jax", absent="jax is not installed"))


@pytest.fixture
def words(tmp_path):
    own = tmp_path / "mine.txt"
    own.write_text(NET)
    return ["--nets", str(own), "--device", "cpu", "--rounds", "2", "--batch", "1", "2"]


def test_every_layer_batch_and_rival_has_its_rows(quick, words, tmp_path, capsys):
    path = tmp_path / "out.json"
    assert suite_run.main([*words, "--out", str(path)]) == 0
    document = json.loads(path.read_text())
    assert len(document["rows"]) == 2 * 3 * 3  # batches, layers, contestants
    assert {row["case"] for row in document["rows"]} == {f"n{batch}c8h9w9_{rest}" for batch in (1, 2) for rest in ("k8r3s3_pad1_f32_relu", "max_r3s3_f32")}
    assert document["rivals"] == {"fake": None, "jax": "jax is not installed"}
    said = capsys.readouterr()
    assert "jax: absent: jax is not installed" in said.err and "wall: 6 layers" in said.out


def test_a_run_that_is_cut_off_is_resumed_where_it_was(quick, words, tmp_path, monkeypatch):
    path = tmp_path / "out.json"
    measure, seen = suite_run.measure_all, []

    def cut(bench, *others):
        inner = bench.measure

        def after_two(each):
            if len(seen) == 2:
                raise KeyboardInterrupt
            seen.append(each)
            return inner(each)

        bench.measure = after_two
        return measure(bench, *others)

    monkeypatch.setattr(suite_run, "measure_all", cut)
    with pytest.raises(KeyboardInterrupt):
        suite_run.main([*words, "--resume", str(path)])
    first = json.loads(path.read_text())
    assert {row["layer"] for row in first["rows"]} == {"mine/one", "mine/two"} and not list(tmp_path.glob("*.part"))
    monkeypatch.setattr(suite_run, "measure_all", measure)
    calls = quick[0].calls
    assert suite_run.main([*words, "--resume", str(path)]) == 0
    whole = json.loads(path.read_text())
    assert whole["rows"][: len(first["rows"])] == first["rows"] and len(whole["rows"]) == 18
    calls = quick[0].calls
    assert suite_run.main([*words, "--resume", str(path)]) == 0
    assert quick[0].calls == calls and json.loads(path.read_text())["rows"] == whole["rows"]


def test_a_file_of_other_settings_is_not_resumed(quick, words, tmp_path, capsys):
    path = tmp_path / "out.json"
    assert suite_run.main([*words, "--resume", str(path)]) == 0
    assert suite_run.main([*words, "--resume", str(path), "--rounds", "3"]) == 2
    assert "was measured with settings" in capsys.readouterr().err


def test_no_layer_begins_after_the_deadline(quick, words, tmp_path, capsys):
    path = tmp_path / "out.json"
    assert suite_run.main([*words, "--out", str(path), "--seconds", "1e-9"]) == 1  # nothing was measured
    assert "6 layers were left for want of time" in capsys.readouterr().out


def test_only_measures_what_matches(quick, words, tmp_path):
    path = tmp_path / "out.json"
    assert suite_run.main([*words, "--out", str(path), "--only", "pool_max", "--against", "none"]) == 0
    assert {row["layer"] for row in json.loads(path.read_text())["rows"]} == {"mine/two"}


def results(tmp_path, name, **speeds):
    """Write a results file of three cases; speeds: contestant -> seconds, or a list a case."""
    where = dict(gpu=None, processor="A Processor", cores=2, threads=2, python="3.12.1", system="Linux x86_64")
    settings = dict(device="cpu", data="normal", rotated_bytes=1, rounds=5)
    document = dict(format=2, measures="suite", date="2026-01-02", commit=name, where=where, versions={"numpy": "2.0"}, settings=settings, rows=[])
    for contestant, seconds in speeds.items():
        for number in range(3):
            middle = seconds[number] if isinstance(seconds, list) else seconds
            rounds = [middle * factor for factor in (0.99, 1.0, 1.01, 0.995, 1.005)]
            row = dict(case=f"case{number}", contestant=contestant.replace("_", " "), metric="wall", seconds=rounds)
            document["rows"] += [row, copy.deepcopy(row)]  # a case that two networks share
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(document))
    return path


def compared(capsys, *words):
    code = compare.main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_regression_outside_the_noise_ends_with_1_and_is_named(tmp_path, capsys):
    old, new = results(tmp_path, "old", atrous=1.0, torch_eager=1.0), results(tmp_path, "new", atrous=[1.0, 1.3, 1.0], torch_eager=1.0)
    code, out, _ = compared(capsys, old, new)
    assert code == 1 and "2 regressions outside the noise" in out  # the case, and the mean of three that it pulls down
    assert "  slower 0.769 (0.754 to 0.785) case1" in out and "case0" not in out
    assert "atrous, wall: 3 cases" in out and "torch eager (control), wall: 3 cases, old / new geomean 1.000" in out


def test_a_gain_and_a_rival_s_loss_end_with_0(tmp_path, capsys):
    old, new = results(tmp_path, "old", atrous=1.0, torch_eager=1.0), results(tmp_path, "new", atrous=0.8, torch_eager=1.5)
    code, out, _ = compared(capsys, old, new)
    assert code == 0 and "geomean 1.250 (rounds 1.250 to 1.250): faster outside the noise" in out and "0 regressions" in out


def test_differences_inside_the_noise_or_below_the_least_have_no_verdict(tmp_path, capsys):
    old, new = results(tmp_path, "old", atrous=1.0), results(tmp_path, "new", atrous=[1.015, 0.985, 1.03])
    code, out, _ = compared(capsys, old, new)
    assert code == 0 and "no difference outside the noise" in out and "case2" not in out
    assert compared(capsys, old, new, "--least", "0.02")[0] == 1


def test_a_large_difference_of_medians_whose_spreads_overlap_has_no_verdict(tmp_path, capsys):
    old, new = results(tmp_path, "old", atrous=1.0), results(tmp_path, "new", atrous=1.5)
    document = json.loads(new.read_text())
    for row in document["rows"]:
        row["seconds"] = [0.9, 1.5, 1.6, 1.5, 1.5]
    new.write_text(json.dumps(document))
    code, out, _ = compared(capsys, old, new)
    assert code == 0 and "geomean 0.667 (rounds 0.631 to 1.100): no difference outside the noise" in out


def test_a_small_loss_everywhere_is_a_regression_of_the_mean(tmp_path, capsys):
    old, new = results(tmp_path, "old", atrous=1.0), results(tmp_path, "new", atrous=1.03)
    code, out, _ = compared(capsys, old, new)
    assert code == 1 and "slower outside the noise" in out and "case0" not in out


def test_files_of_other_places_get_no_verdict(tmp_path, capsys):
    old, new = results(tmp_path, "old", atrous=1.0), results(tmp_path, "new", atrous=2.0)
    document = json.loads(new.read_text())
    document["where"]["threads"] = 4
    new.write_text(json.dumps(document))
    code, out, err = compared(capsys, old, new)
    assert code == 2 and "threads is 2 in the old file and 4 in the new" in err and "slower" not in out
    code, out, _ = compared(capsys, old, new, "--anyway")
    assert code == 0 and "geomean 0.500" in out and "no verdict" in out and "slower" not in out


def test_what_is_no_results_file_is_refused(tmp_path, capsys):
    good, bad = results(tmp_path, "old", atrous=1.0), tmp_path / "bad.json"
    bad.write_text('{"rows": []}')
    assert compared(capsys, good, bad)[0] == 2 and compared(capsys, good, tmp_path / "none.json")[0] == 2
    assert compared(capsys, good, results(tmp_path, "new", other=1.0))[0] == 2
