"""The report: ratios, noise, sums over networks and the README's tables, on results made by hand."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import made_results as made
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import evidence  # noqa: E402
import report  # noqa: E402


def suite_of(tmp_path, **options):
    return evidence.suite_of(*evidence.Document(tmp_path / "suite.json", made.suite(**options)))


def test_a_ratio_is_the_rivals_time_over_ours(tmp_path):
    suite = suite_of(tmp_path)
    layer = suite.layers[0]
    assert (layer.best, layer.setting, suite.metrics) == ("torch channels_last", "batch 1, float32", ["wall"])
    assert layer.ratio("torch channels_last") == pytest.approx(0.8, rel=1e-3)
    assert layer.ratio("torch contiguous") == pytest.approx(1.5, rel=1e-3)
    assert layer.verdict("torch channels_last") == "lost" and layer.verdict("torch contiguous") == "won"


def test_within_overlapping_spreads_nothing_is_lost_or_won(tmp_path):
    suite = suite_of(tmp_path, jitter=0.15)
    assert {layer.verdict("torch channels_last") for layer in suite.layers} == {"level"}
    assert evidence.losses(suite.layers) == []
    low, high = suite.layers[0].range("torch channels_last")
    assert low == pytest.approx(0.8 * 0.85 / 1.15, rel=1e-2) and high == pytest.approx(0.8 * 1.15 / 0.85, rel=1e-2)


def test_a_plan_stands_in_where_no_call_was_measured(tmp_path):
    suite = suite_of(tmp_path, speeds={"atrous plan": 1.0, "torch channels_last": 3.0})
    assert evidence.summarise(suite.layers).mean == pytest.approx(3.0, rel=1e-3)


def test_families_are_sorted_worst_first(tmp_path):
    suite = suite_of(tmp_path, speeds={"atrous": lambda name, batch: 9.0 if "pool1" in name else 0.5 * batch, "a": 1.0, "b": 4.0})
    families = evidence.by_family(suite.layers)
    assert next(iter(families)) == "pool_max"
    pooled = evidence.summarise(families["pool_max"])
    assert pooled.mean == pytest.approx(1 / 9, rel=1e-3) and (pooled.layers, pooled.lost) == (2, 2)
    dense = evidence.summarise(families["conv3x3"])
    assert dense.mean == pytest.approx(math.sqrt(2 * 0.25), rel=1e-3) and (dense.layers, dense.lost) == (4, 2)
    assert (dense.worst, dense.best) == (pytest.approx(0.25, rel=1e-3), pytest.approx(2, rel=1e-3))
    assert [layer.name for layer in evidence.losses(suite.layers)][:2] == ["net/pool1"] * 2


def test_a_network_is_the_sum_of_its_layers_against_one_rival(tmp_path):
    lacking = {"atrous": 1.0, "quick": lambda name, batch: None if "pool" in name else 0.1, "whole": 2.0}
    found = {(entry.net, entry.setting): entry for entry in evidence.networks(suite_of(tmp_path, speeds=lacking).layers)}
    whole, thin = found["net", "batch 8, float32"], found["thin", "batch 8, float32"]
    assert (whole.rival, whole.layers, whole.of) == ("whole", 6, 6) and whole.ratio == pytest.approx(2, rel=1e-3)
    assert (thin.rival, thin.layers) == ("quick", 2) and thin.ratio == pytest.approx(0.1, rel=1e-3)
    layers = [layer for layer in suite_of(tmp_path, speeds=lacking).layers if (layer.net, layer.setting) == ("thin", "batch 8, float32")]
    assert {layer.count for layer in layers} == {4, 1}
    assert thin.ours == pytest.approx(sum(layer.count * layer.ours.median for layer in layers))


def test_the_newest_of_each_kind_counts(tmp_path):
    gpu = {**made.HEAD["where"], "gpu": made.GPU}
    paths = made.write(
        tmp_path,
        a_new=made.suite(date="2026-03-01"),
        b_old=made.suite(date="2026-02-01"),
        c_device=made.suite(metrics=("kernel", "wall"), where=gpu),
        d_cpu_beside_a_gpu=made.suite(date="2026-01-01", where=gpu),
        e_other={"measures": "micro", "format": 2, "date": "2026-01-01"},
        f_old_form={"date": "2026-09-09", "runs": []},
        g_issue=made.issue_cost(),
    )
    found = evidence.gather(paths)
    assert found.cpu.path.stem == "a_new" and [suite.path.stem for suite in found.devices] == ["c_device"]
    assert found.issue.path.stem == "g_issue" and found.facts is None and found.scaling is None
    assert evidence.place(made.suite(metrics=("kernel",), where=gpu)) == "Some GPU"


def test_a_contestant_that_is_there_twice_is_refused(tmp_path):
    facts = made.suite()
    with pytest.raises(SystemExit, match="twice"):
        evidence.suite_of(tmp_path / "suite.json", facts | {"rows": facts["rows"] + facts["rows"][:1]})


def test_tables_say_what_was_lost_and_who_was_absent(tmp_path):
    found = evidence.gather(made.write(tmp_path, suite=made.suite(), issue=made.issue_cost()))
    text = report.speed_tables(found)
    assert "16 of 16 layers are lost outside the noise" in text
    assert "| **all families** | 16 of 16 | 0.80 (0.80 to 0.80; 8) | 0.80 (0.80 to 0.80; 8) |" in text
    assert "jax is absent: jax is not installed; pip install jax brings it" in text
    assert "A Processor, 2 threads; numpy 2.4.6, torch 2.13.0; 2026-01-02, commit abc1234" in text
    assert "never run on a device" in report.device_tables(found)
    device = made.suite(metrics=("kernel", "wall"), where={**made.HEAD["where"], "gpu": made.GPU})
    text = report.device_tables(evidence.gather(made.write(tmp_path, device=device)))
    assert "the floor / ours" not in text
    assert "Some GPU, driver 600.1, A Processor" in text and text.index("CUDA graph") < text.index("host's clock")
    assert "| plan(x, out=y)" not in text and "| `plan(x, out=y)` | 3.20 (3.10 to 3.30) | 3.5, met |" in report.issue_table(found.issue)


def test_a_floor_that_is_known_is_shown_and_a_version_is_said_once(tmp_path):
    device = made.suite(metrics=("kernel",), where={**made.HEAD["where"], "gpu": made.GPU, "openblas_coretype": "Haswell"})
    device["versions"] = {"numpy": "2.4.6", "torch": "2.13.0", "atrous": "0.1.0", "torch eager": "2.13.0"}
    for row in device["rows"]:
        row["floor_seconds"] = min(row["seconds"]) / (4 if row["family"] == "grouped" else 2)
    text = report.device_tables(evidence.gather(made.write(tmp_path, device=device)))
    assert "| the floor / ours |" in text and "| 0.20 (0.20 at worst) |" not in text
    assert re.search(r"\| grouped .*\| 0\.2\d \(0\.2\d at worst\) \|", text)
    assert "; numpy 2.4.6, torch 2.13.0, OPENBLAS_CORETYPE=Haswell; " in text


def test_tables_have_as_many_cells_in_every_row(tmp_path):
    text = report.speed_tables(evidence.gather(made.write(tmp_path, suite=made.suite())))
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_what_stands_between_marks_is_replaced_and_the_rest_kept():
    text = "a\n<!-- x -->\nold\n<!-- y -->\nb\n"
    assert report.between(text, ("<!-- x -->", "<!-- y -->"), "new") == "a\n<!-- x -->\nnew\n<!-- y -->\nb\n"
    with pytest.raises(SystemExit, match="no <!-- z -->"):
        report.between(text, ("<!-- z -->", "<!-- y -->"), "new")


def test_out_writes_everything_into_a_folder_and_leaves_the_readme(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    paths = made.write(tmp_path / "in", suite=made.suite(), facts=made.cpu_facts(), scaling=made.scaling(), issue=made.issue_cost())
    readme = report.README.read_bytes()
    words = [sys.executable, str(ROOT / "benchmarks" / "report.py"), "--out", str(tmp_path / "out"), *map(str, paths)]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert report.README.read_bytes() == readme
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["benchmarks.html", "cpu-families.png", "cpu-roofline.png", "scaling.png", "tables.md"]
    for name, source in (("cpu-families.png", "suite.json"), ("cpu-roofline.png", "suite.json, facts.json"), ("scaling.png", "scaling.json")):
        with image.open(tmp_path / "out" / name) as picture:
            assert picture.info["Source"] == source and min(picture.size) > 300
            assert len(picture.convert("RGB").getcolors(2**24)) > 20
