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
    "06-tests": ["06-tests-figures.json", "06-tests-figures-runtime.json"],
    "05-micro": ["05-micro-figures.json"],
    "04-suite": ["04-suite-suite-batch32.json"],
    "07-suite-more": ["07-suite-more-suite-batch1.json", "07-suite-more-suite-batch256.json", "07-suite-more-suite-float32.json"],
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
    lacking = {"08-sanitizer"}
    for name in NAMES:
        found = record(folder, name)
        assert found["status"] == ("absent" if name in lacking else "done"), (name, found)
        assert found["dry_run"] and found["line"] and found["commit"] == gpu_parts.commit()
        assert f"{name}: {found['status']}" in first.stdout
        for left in LEFT.get(name, []) if name not in lacking else []:
            assert (folder / left).stat().st_size > 0, left
    assert sum(run["exact_problems"] for run in json.loads((folder / "02-verify-ledger.json").read_text())["runs"]) >= 4
    assert json.loads((folder / "03-conformance-replay.json").read_text())[1] == []
    rows = json.loads((folder / "04-suite-suite-batch32.json").read_text())
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


def the_run(folder, seconds=20.0):
    folder.mkdir(parents=True, exist_ok=True)
    return gpu_runner.Run(folder, "01-part", time.monotonic() + seconds, False, dict(os.environ))


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
    session(tmp_path / "capped").run([Part("one", 10, looks, most=12), *parts[1:]], 100)
    assert [round(seconds) for seconds in left] == [12, 80, 100], "a part that cannot use more has no more"
    left.clear()
    session(tmp_path / "short").run(parts, 25)
    assert [round(seconds) for seconds in left] == [10, 25, 25], "with too little for all, the first have theirs"
    assert session(tmp_path / "none").run(parts, 1) == 1, "what was not reached is not done"


def test_a_step_that_fails_or_hangs_stops_no_other(tmp_path):
    def parted(run):
        hanging = lambda: run.python("-c", "import time; time.sleep(60)", seconds=0.5)  # noqa: E731
        return run.each(lambda: "one", lambda: works(run), hanging, lambda: works(run), *([lambda: raises(run)] if run.name == "02-fails" else []))

    session(tmp_path).run([Part("hangs", 20, parted), Part("fails", 20, parted)], 40)
    hung, failed = record(tmp_path, "01-hangs"), record(tmp_path, "02-fails")
    assert hung["status"] == "timed out" and hung["line"].startswith("its time was over during:") and len(hung["commands"]) == 3
    assert failed["status"] == "failed" and failed["line"].startswith("KeyError: 'a key'; its time was over")
    assert the_run(tmp_path / "good").each(lambda: "one", lambda: "two") == "one; two"


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


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Put a script on PATH under a name."""

    def put(name, text):
        path = tmp_path / "tools" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}:{os.environ['PATH']}")
    return put


def test_a_checker_under_which_nothing_was_proved_has_found_nothing(tmp_path, tool, monkeypatch):
    tool("compute-sanitizer", "echo \"$PROOF\"\necho '========= ERROR SUMMARY: 0 errors'")
    for proof, status in (("  0 failures in 12.0 s", "done"), ("  nothing ran", "failed"), ("Device not supported", "absent")):
        monkeypatch.setenv("PROOF", proof)
        session(tmp_path / status).run([Part("sanitizer", 20, gpu_parts.sanitizer)], 30)
        assert record(tmp_path / status, "01-sanitizer")["status"] == status


def test_one_checker_s_errors_or_hang_leave_the_other_its_turn(tmp_path, tool, monkeypatch):
    tool("compute-sanitizer", 'echo "  0 failures in 12.0 s"; [ "$2" = racecheck ] || eval "$MEMCHECK"; echo "========= $2 SUMMARY: 0 hazards displayed"')
    for does, status in (("exec sleep 60", "timed out"), ("echo '========= ERROR SUMMARY: 7 errors'; exit 99", "failed")):
        monkeypatch.setenv("MEMCHECK", does)
        session(tmp_path / status).run([Part("sanitizer", 4, gpu_parts.sanitizer, most=4)], 30)
        found = record(tmp_path / status, "01-sanitizer")
        assert found["status"] == status and found["facts"]["racecheck"] == "racecheck: racecheck SUMMARY: 0 hazards displayed"
        assert [words.split()[1:5] for words in found["commands"]] == [["--tool", name, "--report-api-errors", "no"] for name in ("memcheck", "racecheck")]


def test_a_gpu_that_does_not_answer_in_time_stops_nothing(tmp_path, tool, monkeypatch, capsys):
    tool("nvidia-smi", "exec sleep 30")
    monkeypatch.setattr(gpu_parts, "SMI_SECONDS", 0.2)
    with pytest.raises(gpu_parts.Silent, match=r"nvidia-smi gave no answer in 0.2 s"):
        gpu_parts.architecture()
    assert gpu_parts.gpu_facts() == "none: nvidia-smi gave no answer in 0.2 s"
    asked = []

    def python(run, *words, **options):
        asked.append(run.environment.get("ATROUS_CUDA_ARCHITECTURES"))
        return '{"atrous": "1", "engines": {"compiled": null}, "built": {}}'

    monkeypatch.setattr(gpu_runner.Run, "python", python)
    run = the_run(tmp_path / "out")
    gpu_parts.build(run)
    assert asked == [None, None] and run.facts["architectures"] == "those of every build, as nvidia-smi gave no answer in 0.2 s"
    assert gpu_parts.main([str(tmp_path / "all"), "--only", "build"]) == 0
    assert "GPU: nvidia-smi gave no answer in 0.2 s" in capsys.readouterr().out


def test_what_some_processes_proved_is_not_lost_with_one_that_hangs(tmp_path, monkeypatch):
    counts = dict(failures=[], exact_problems=5, bounded_runs={})

    def two_of_three(run, commands, accept):
        whole, half, _ = (Path(words[-1]) for words in commands)
        whole.write_text(json.dumps({"runs": [counts]}))
        half.write_text('{"runs": [')
        raise gpu_runner.TimedOut("its time was over")

    monkeypatch.setattr(gpu_runner.Run, "side_by_side", two_of_three)
    monkeypatch.setattr(gpu_parts, "cores", lambda: 5)
    session(tmp_path).run([Part("verify", 20, gpu_parts.verify)], 30)
    assert record(tmp_path, "01-verify")["status"] == "timed out"
    assert json.loads((tmp_path / "01-verify-ledger.json").read_text())["runs"] == [counts]
    assert not list(tmp_path.glob("01-verify-[0-9]*"))


def test_probes_that_fail_are_named_and_the_others_replayed(tmp_path, monkeypatch):
    def python(run, *words, accept=(0,)):
        if "--record" in words:
            assert accept == (0, 1)
            return "3 outputs of probes on it\nfailed: mma.0: it stopped\nthe device was lost at mma.0, and nothing ran after it"
        Path(words[-1]).write_text("[3, []]")
        return ""

    monkeypatch.setattr(gpu_parts, "device_engine", lambda run: "compiled")
    monkeypatch.setattr(gpu_runner.Run, "python", python)
    session(tmp_path).run([Part("conformance", 20, gpu_parts.conformance)], 30)
    found = record(tmp_path, "01-conformance")
    said = "3 outputs recorded; 0 differ on the simulator; failed: mma.0: it stopped; the device was lost at mma.0, and nothing ran after it"
    assert (found["status"], found["line"]) == ("failed", said)


def test_tests_that_crash_leave_those_of_the_other_engine_their_turn(tmp_path, monkeypatch):
    asked = []

    def python(run, *words, **options):
        asked.append(words[words.index("-k") + 1])
        if len(asked) == 1:
            raise gpu_runner.Failed("a worker crashed; exit status 3")
        Path(words[words.index("--figures") + 1]).write_text('{"tests_passed": 3, "tests_skipped": 0, "tests_failed": 0}')
        return "3 passed"

    monkeypatch.setattr(gpu_parts, "missing", lambda *names: None)
    monkeypatch.setattr(gpu_runner.Run, "python", python)
    session(tmp_path).run([Part("tests", 20, gpu_parts.tests)], 30)
    assert asked == ["not runtime", "runtime-0 or (runtime and bits)"]
    assert (record(tmp_path, "01-tests")["status"], record(tmp_path, "01-tests")["line"]) == ("failed", "a worker crashed; exit status 3")


STANDS_FOR_RUN = """
import json, os, pathlib, sys, time
path = pathlib.Path(sys.argv[sys.argv.index("--resume") + 1])
under_way = path.with_name(path.name + ".under-way")
document = json.loads(path.read_text()) if path.exists() else {"rows": [], "skipped": [], "rivals": {}}
start, does = len(document["rows"]), os.environ["DOES"].split()
if under_way.exists():
    under_way.unlink()
    document["skipped"].append({"contestant": "all", "case": "c", "reason": "failed: a run was ended during it"})
document["rows"].append({"layer": str(start), "case": "c"})
path.write_text(json.dumps(document))
word = does[min(start, len(does) - 1)]
if word == "hangs":
    under_way.touch()
    time.sleep(60)
if word == "crashes":
    under_way.touch()
    os.kill(os.getpid(), 11)
sys.exit(int(word))
"""


@pytest.mark.parametrize(
    ("does", "starts", "status", "line"),
    [
        ("3 3 0", 3, "done", "here: 3 layers"),
        ("3 crashes 0", 3, "failed", "here: 3 layers, 0 of ours not right, 1 layers stepped over, the first c: failed: a run was ended during it"),
        ("3 3 3 3 3 3 3 3", 6, "done", "here: 6 layers"),
        ("hangs", 1, "timed out", "here: its time was over during:"),
        ("1", 1, "failed", "here: 1 layers; exit status 1: "),
    ],
)
def test_a_measurement_goes_on_behind_what_took_its_gpu(tmp_path, monkeypatch, does, starts, status, line):
    (tmp_path / "run.py").write_text(STANDS_FOR_RUN)
    monkeypatch.setattr(gpu_parts, "BENCHMARKS", tmp_path)
    monkeypatch.setattr(gpu_parts, "LEAST_SECONDS", 0.5)
    monkeypatch.setattr(gpu_parts, "LAST_LAYER_SECONDS", 1.0)
    monkeypatch.setenv("DOES", does)
    seconds = 4 if does == "hangs" else 40
    session(tmp_path / "out").run([Part("suite", seconds, lambda run: gpu_parts.measured(run, "here", 1.0), most=seconds)], 60)
    found = record(tmp_path / "out", "01-suite")
    assert (found["status"], len(found["commands"])) == (status, starts) and found["line"].startswith(line), found
    assert found["commands"][0].endswith("01-suite-suite-here.json") and "--layer-seconds 30" in found["commands"][0]


def test_a_part_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_runner.json, "dumps", lambda *values, **words: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        session(tmp_path).run([Part("works", 20, works)], 30)
    assert not (tmp_path / "01-works.json").exists()
