"""benchmarks/gpu.sh as a machine without a GPU can rehearse it: all ten parts run, and what runs them resumes, keeps time, and goes on past failures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import gpu_parts  # noqa: E402
import gpu_runner  # noqa: E402
from gpu_runner import Absent, Part, Session  # noqa: E402

from atrous.bench import suite  # noqa: E402
from atrous.engines import simulated  # noqa: E402

NAMES = [f"{number:02}-{part.name}" for number, part in enumerate(gpu_parts.PARTS, 1)]
#: what each part leaves beside its own record
LEFT = {
    "02-verify": ["02-verify-ledger.json"],
    "03-conformance": ["03-conformance-vectors.npz", "03-conformance-replay.json"],
    "04-tests": ["04-tests-figures.json"],
    "06-micro": ["06-micro-figures.json"],
    "07-suite": ["07-suite-suite-batch32.json"],
    "08-suite-more": ["08-suite-more-suite-batch1.json", "08-suite-more-suite-batch256.json", "08-suite-more-suite-float32.json"],
    "09-others": ["09-others-suite-others.json"],
    "10-report": ["tables.md", "benchmarks.html"],
}


def script(*words):
    """Run gpu.sh as a user does, with this Python."""
    environment = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run(
        ["bash", BENCHMARKS / "gpu.sh", *words], cwd=ROOT.parent, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def record(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))
def test_a_rehearsal_runs_every_part_and_a_second_one_none(tmp_path):
    folder, archive = tmp_path / "out", tmp_path / "all.tar.gz"
    first = script(folder, "--dry-run", "--archive", archive)
    said = first.stdout + first.stderr
    assert first.returncode == 0, said
    table = first.stdout.rstrip().splitlines()[-len(NAMES) :]
    assert [line.split()[0] for line in table] == NAMES, "the table of the parts stands last"
    lacking = {"05-sanitizer"}
    for name in NAMES:
        found = record(folder, name)
        assert found["status"] == ("absent" if name in lacking else "done"), (name, found)
        assert found["dry_run"] and found["line"] and found["commit"] == gpu_parts.commit()
        assert f"{name}: {found['status']}" in first.stdout
        for left in LEFT.get(name, []) if name not in lacking else []:
            assert (folder / left).stat().st_size > 0, left
    assert sum(run["exact_problems"] for run in json.loads((folder / "02-verify-ledger.json").read_text())["runs"]) >= 4
    assert json.loads((folder / "03-conformance-replay.json").read_text())[1] == []
    rows = json.loads((folder / "07-suite-suite-batch32.json").read_text())
    assert len(rows["rows"]) >= 10 and rows["where"]["gpu"] is None and "torch eager" in rows["rivals"]
    others = json.loads((folder / "09-others-suite-others.json").read_text())["rivals"]
    assert others["cudnn-frontend"] and {"jax jit", "onnxruntime", "cupy im2col", "tensorflow jit"} <= set(others), "every rival is there, or its absence said"
    with tarfile.open(archive) as packed:
        assert {f"{name}.json" for name in NAMES} | {"benchmarks.html"} <= set(packed.getnames())

    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if not path.name.startswith(tuple(lacking))}
    begin = time.monotonic()
    again = script(folder, "--dry-run")
    assert again.returncode == 0 and time.monotonic() - begin < 20
    assert again.stdout.count("(done in an earlier run)") == len(NAMES) - len(lacking), "what was absent is asked for again, nothing else"
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="a GPU may be here")
def test_without_a_gpu_it_says_so_and_does_nothing(tmp_path):
    refused = script(tmp_path / "out")
    assert refused.returncode == 2 and "no GPU: nvidia-smi is not on PATH; rehearse with --dry-run" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_the_parts_fit_into_their_time():
    assert len(gpu_parts.PARTS) == 10
    assert sum(part.seconds for part in gpu_parts.PARTS) <= gpu_parts.SECONDS < 600
    layers = suite.read(BENCHMARKS / "gpu_sample.txt")
    assert len({suite.family(layer.problem) for layer in layers}) >= 8 and layers[0].problem.n == 1
    assert set(gpu_parts.NETS) <= set(suite.networks())


def session(folder, **words):
    return Session(folder, "abc1234", False, lambda: dict(os.environ), **words)


def works(run):
    run.python("-c", "print('a word')")
    run.facts["left"] = run.left
    return "it worked"


def breaks(run):
    run.python("-c", "import sys; print('what it said'); sys.exit(3)")


def raises(run):
    return {}["a key"]


def lacks(run):
    raise Absent("the tool is not here")


def stops_early(run):
    run.unfinished.append("3 layers were left")
    return "never shown"


def finds_a_fault(run):
    run.wrong.append("2 of ours not right")
    return "never shown"


def hangs(run):
    """Start a process that starts another, both of which would outlive the part."""
    child = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); print('begun', flush=True); time.sleep(60)"
    grandchild = f"import pathlib, time; time.sleep(3); pathlib.Path({str(run.path('survived'))!r}).touch()"
    run.python("-c", child, grandchild)


def test_one_part_stops_no_other(tmp_path, capsys):
    parts = [Part(work.__name__, 20, work) for work in (works, breaks, raises, lacks, stops_early, finds_a_fault)]
    parts += [Part("hangs", 1.5, hangs), Part("last", 20, works)]
    begin = time.monotonic()
    assert session(tmp_path).run(parts, 23) == 1
    assert time.monotonic() - begin < 20
    found = [record(tmp_path, f"{number:02}-{part.name}") for number, part in enumerate(parts, 1)]
    assert [each["status"] for each in found] == ["done", "failed", "failed", "absent", "unfinished", "failed", "timed out", "done"]
    assert found[1]["line"].startswith("what it said; exit status 3 of:") and "what it said" in found[1]["last_words"]
    assert (found[2]["line"], found[3]["line"]) == ("KeyError: 'a key'", "the tool is not here")
    assert (found[4]["line"], found[5]["line"]) == ("3 layers were left", "2 of ours not right")
    assert "begun" in found[6]["last_words"], "what a command said before its end is kept"
    time.sleep(3)
    assert not list(tmp_path.glob("*survived")), "the whole family of processes was ended"
    assert len(capsys.readouterr().out.splitlines()) == 2 * len(parts) + 2


def test_what_is_done_is_not_run_again(tmp_path, capsys):
    runs = []

    def counted(run):
        runs.append(run.name)
        return "counted"

    parts = [Part("one", 5, counted), Part("two", 5, lacks), Part("three", 5, stops_early)]
    assert session(tmp_path).run(parts, 60) == 0, "what is absent or was cut off by time is no failure"
    assert session(tmp_path).run(parts, 60) == 0 and runs == ["01-one"]
    (tmp_path / "01-one.json").write_text('{"format": 1, "part": "01-o')
    session(tmp_path).run(parts, 60)
    assert len(runs) == 2, "a file that was cut off counts as none"
    Session(tmp_path, "def5678", False, lambda: {}).run(parts, 60)
    assert len(runs) == 3, "another commit is measured anew"
    Session(tmp_path, "def5678", True, lambda: {}).run(parts, 60)
    assert len(runs) == 4, "a rehearsal is no run"
    capsys.readouterr()
    assert Session(tmp_path, "fff0000", False, lambda: {}).run(parts, 60, only=["two"]) == 0
    assert len(runs) == 4 and capsys.readouterr().out.count("left out of this run") == 4


def test_time_is_kept_for_the_parts_behind_and_what_is_spared_falls_to_them(tmp_path):
    left = []

    def looks(run):
        left.append(run.left)
        return "looked"

    parts = [Part("one", 10, looks), Part("two", 30, looks), Part("three", 20, looks)]
    session(tmp_path).run(parts, 100)
    assert [round(seconds) for seconds in left] == [50, 80, 100]
    left.clear()
    session(tmp_path / "short").run(parts, 25)
    assert [round(seconds) for seconds in left] == [10, 25, 25], "with too little for all, the first have theirs"
    assert session(tmp_path / "none").run(parts, 1) == 1, "what was not reached is not done"


def test_side_by_side_commands_are_all_waited_for_and_all_heard(tmp_path):
    def both(run):
        said = run.side_by_side([[sys.executable, "-c", f"import sys; print({number}); sys.exit({number})"] for number in (0, 1)], accept=(0, 1))
        assert run.log.read_text().count("$ ") == 2
        return " and ".join(text.strip() for text in said)

    session(tmp_path).run([Part("both", 20, both)], 30)
    assert record(tmp_path, "01-both")["line"] == "0 and 1"


def test_an_archive_holds_results_and_no_build(tmp_path):
    folder = tmp_path / "out"
    (folder / "site").mkdir(parents=True)
    (folder / "site" / "large.so").touch()
    session(folder, archive=tmp_path / "all.tar.gz").run([Part("works", 20, works)], 30)
    with tarfile.open(tmp_path / "all.tar.gz") as packed:
        assert sorted(packed.getnames()) == ["01-works.json", "01-works.log"]


def test_a_gpu_is_asked_for_its_architecture(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 9.0\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert gpu_parts.architecture() == "90a-real"
    tool.write_text("#!/bin/sh\necho 8.6\n")
    assert gpu_parts.architecture() == "86-real"
    tool.write_text("#!/bin/sh\necho 'no devices were found'\nexit 6\n")
    with pytest.raises(Absent, match="no devices were found"):
        gpu_parts.architecture()


def test_a_checker_under_which_nothing_was_proved_has_found_nothing(tmp_path, monkeypatch):
    tool = tmp_path / "compute-sanitizer"
    tool.write_text("#!/bin/sh\necho \"$PROOF\"\necho '========= ERROR SUMMARY: 0 errors'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for proof, status in (("  0 failures in 12.0 s", "done"), ("  nothing ran", "failed"), ("Device not supported", "absent")):
        monkeypatch.setenv("PROOF", proof)
        session(tmp_path / status).run([Part("sanitizer", 20, gpu_parts.sanitizer)], 30)
        assert record(tmp_path / status, "01-sanitizer")["status"] == status


def test_a_part_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_runner.json, "dumps", lambda *values, **words: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        session(tmp_path).run([Part("works", 20, works)], 30)
    assert not (tmp_path / "01-works.json").exists()
