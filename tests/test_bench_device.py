"""What a contest meets on a GPU alone: long calls, results that share memory in a graph, failures that take the device from the process, hangs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import types
import weakref
from pathlib import Path

import pytest
from fake_rival import Rival, install

from atrous.bench import contest, context, measure, record, suite
from atrous.bench.rivals import atrous_plans, shared, torch_eager
from atrous.problem import parse

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import run as suite_run  # noqa: E402

CASE = "n1c8h9w9_k8r3s3_pad1_f32_relu"
QUICK = dict(rounds=3, turn_seconds=0.0, pause_seconds=0.0)
NET = "one n1c8h9w9_k8r3s3_pad1_f32_relu\ntwo n1c8h9w9_max_r3s3_f32\nthree n1c8h9w9_k4r1s1_f32\n"


def device_that(answers):
    """Return a module CuPy whose device answers as a function does."""
    return types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=types.SimpleNamespace(deviceSynchronize=answers)))


@pytest.fixture
def device(monkeypatch):
    """A device that a test can break for good: `lose` raises what every later call then raises too."""
    found = types.SimpleNamespace(lost=False)

    def answer():
        if found.lost:
            raise RuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered\nand more")

    def lose():
        found.lost = True
        answer()

    found.lose = lose
    monkeypatch.setitem(sys.modules, "cupy", device_that(answer))
    monkeypatch.setattr(atrous_plans, "available", lambda device: None)
    monkeypatch.setattr(atrous_plans, "_Gpu", atrous_plans._Cpu)
    monkeypatch.setattr(contest, "ROTATED_BYTES", 0)
    monkeypatch.setattr(measure, "_release", lambda: None)
    monkeypatch.setattr(measure, "floor_seconds", lambda problem: None)
    return found


def test_an_error_of_one_call_is_not_taken_for_a_lost_device(monkeypatch, device):
    assert context.lost() is None
    told = iter([RuntimeError("cudaErrorInvalidConfiguration")])

    def once():
        for failure in told:
            raise failure

    monkeypatch.setitem(sys.modules, "cupy", device_that(once))
    assert context.lost() is None
    device.lost = True
    monkeypatch.delitem(sys.modules, "cupy")
    assert context.lost() is None


def test_who_takes_the_device_away_is_named_and_nothing_is_measured_after_it(monkeypatch, device):
    culprit, behind = Rival("culprit"), Rival("behind")
    install(monkeypatch, culprit, behind)
    culprit.before = lambda problem: device.lose()
    bench = measure.Bench(contest.Options("cuda", metrics=("wall",), **QUICK), [culprit, behind])
    rows, skipped = bench.measure(measure.Wanted(suite.Layer("case/one", CASE, 1), parse(CASE)))
    assert rows == [] and behind.calls == 0 and "cudaErrorIllegalAddress" in bench.lost and "\n" not in bench.lost
    assert [skip["contestant"] for skip in skipped] == ["culprit mode"]
    assert skipped[0]["reason"].startswith("failed: RuntimeError: cudaErrorIllegalAddress") and skipped[0]["reason"].endswith(
        "no CUDA call of the process succeeds"
    )


def test_what_was_measured_before_the_device_was_lost_is_kept(monkeypatch, device):
    problem = parse(CASE)
    inputs = contest.inputs_of(problem)
    y = atrous_plans.functional(problem, inputs, "arrays")()
    breaks = contest.Contestant("breaks", lambda: None, lambda: y)
    holds = contest.Contestant("holds", lambda: None, lambda: y)
    monkeypatch.setattr(contest, "issue_turn", lambda contestant: device.lose if contestant is breaks else lambda: 1.0)
    outcome = contest.run(problem, inputs, [holds, breaks], contest.Options("cuda", metrics=("wall", "issue"), **QUICK))
    assert {(row["contestant"], row["metric"]) for row in outcome.rows} == {("holds", "wall"), ("breaks", "wall")}
    assert outcome.lost and [skip["contestant"] for skip in outcome.skipped] == ["breaks, issue"]


def test_a_turn_that_fails_costs_that_contestant_s_times_alone(monkeypatch):
    problem = parse(CASE)
    inputs = contest.inputs_of(problem)
    y = atrous_plans.functional(problem, inputs, "arrays")()
    several = [contest.Contestant(name, lambda: None, lambda: y) for name in "abc"]
    turns = iter([1.0, 1.0, 1.0, MemoryError("none left"), *[1.0] * 9])

    def turn():
        found = next(turns)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(contest, "wall_turn", lambda contestant, budget: turn)
    monkeypatch.setattr(contest, "interruptions", lambda: 0)
    outcome = contest.run(problem, inputs, several, contest.Options(**QUICK))
    assert {row["contestant"]: row["seconds"] for row in outcome.rows} == {"a": [1.0] * 3, "c": [1.0] * 3}
    assert outcome.skipped == [{"contestant": "b, wall", "reason": "failed: MemoryError: none left"}] and not outcome.lost


@pytest.mark.parametrize("seconds, sets, calls, cold", [(0.0, 100, 100, True), (0.0, 3, 21, True), (0.01, 100, (3, 5), False), (0.04, 3, 2, False)])
def test_long_calls_are_not_replayed_by_the_hundred(monkeypatch, seconds, sets, calls, cold):
    problem = parse(CASE)
    inputs = contest.inputs_of(problem)
    y = atrous_plans.functional(problem, inputs, "arrays")()
    monkeypatch.setattr(contest, "ROTATED_BYTES", contest.bytes_of(problem, inputs) * sets - 1)
    ran, graphs = [], []

    def call_on(number):
        def call():
            ran.append(number)
            time.sleep(seconds)

        return call

    def capture(several):
        graphs.append(several)
        return lambda: [call() for call in several], lambda: y

    rotate = [call_on(number) for number in range(sets)]
    contestant = contest.Contestant("slow", rotate[0], lambda: y, rotate=rotate, capture=capture)
    turn = contest.kernel_turn(problem, inputs, contestant, contest.Options("cuda", **{**QUICK, "turn_seconds": 0.005}))
    least, most = calls if isinstance(calls, tuple) else (calls, calls)
    assert least <= len(graphs[0]) <= most and graphs[0][-1] is rotate[-1] and turn.cold is cold
    before = len(ran)
    taken = turn.take()
    if seconds:
        assert len(ran) - before == len(graphs[0]), "one replay is enough"
        assert seconds <= taken < 2 * seconds


class Result:
    """What a call makes."""


def calls_that_make_results(count):
    """Return calls that each make a result, those that are alive, and the most that ever were."""
    alive, most = weakref.WeakSet(), [0]

    def make():
        made = Result()
        alive.add(made)
        most[0] = max(most[0], len(alive))
        return made

    last = [None]

    def call_on():
        def call():
            last[0] = make()
            return last[0]

        return call

    return [call_on() for _ in range(count)], alive, most


def fake_torch():
    stream = types.SimpleNamespace(wait_stream=lambda other: None)
    graph = types.SimpleNamespace(replay=lambda: None)
    words = dict(Stream=lambda: stream, current_stream=lambda: stream, stream=lambda one: contextlib.nullcontext(), synchronize=lambda: None)
    return types.SimpleNamespace(cuda=types.SimpleNamespace(CUDAGraph=lambda: graph, graph=lambda one: contextlib.nullcontext(), **words))


class FakeStream(contextlib.nullcontext):
    """A stream of CuPy that may be captured."""

    capturing = False

    def synchronize(self):
        assert not self.capturing

    def begin_capture(self):
        self.capturing = True

    def end_capture(self):
        assert self.capturing
        self.capturing = False
        return types.SimpleNamespace(launch=lambda stream: None)


def fake_cupy(stream):
    return types.SimpleNamespace(cuda=types.SimpleNamespace(Stream=lambda non_blocking: stream))


@pytest.mark.parametrize("library", ["torch", "cupy"])
def test_results_in_a_graph_share_no_memory_and_no_more_of_them_are_kept_than_sets(monkeypatch, library):
    calls, alive, most = calls_that_make_results(5)
    monkeypatch.setitem(sys.modules, "torch", fake_torch())
    replay = torch_eager.captured(calls * 4) if library == "torch" else shared.captured_by_cupy(fake_cupy(FakeStream()), calls * 4)
    replay()
    assert len(alive) == 5 and most[0] <= 6, "a result that is dropped gives its memory to the next"


def test_a_capture_that_fails_is_ended():
    stream = FakeStream()
    failures = iter([None, ValueError("the second time")])

    def call():
        failure = next(failures)
        if failure:
            raise failure

    with pytest.raises(ValueError, match="the second time"):
        shared.captured_by_cupy(fake_cupy(stream), [call])
    assert not stream.capturing


@pytest.fixture
def words(tmp_path, monkeypatch):
    own = tmp_path / "mine.txt"
    own.write_text(NET)
    monkeypatch.setattr(suite_run, "limit_threads", lambda count: None)
    monkeypatch.setattr(contest, "TURN_SECONDS", {"cpu": 0.0, "cuda": 0.0})
    monkeypatch.setattr(contest, "PAUSE_SECONDS", {"cpu": 0.0, "cuda": 0.0})
    return ["--nets", str(own), "--device", "cpu", "--rounds", "1", "--batch", "1", "--resume", str(tmp_path / "out.json")]


def breaks_on(word, action):
    return lambda problem: action() if word in str(problem) else None


def test_a_run_that_lost_its_device_ends_with_3_and_the_next_goes_on_behind(monkeypatch, words, tmp_path, device, capsys):
    rival = Rival()
    install(monkeypatch, rival)
    rival.before = breaks_on("max", device.lose)
    words = [*words, "--device", "cuda", "--dtype", "f32", "--metrics", "wall"]
    assert suite_run.main(words) == suite_run.LOST == 3
    first = json.loads((tmp_path / "out.json").read_text())
    assert {row["layer"] for row in first["rows"]} == {"mine/one"}
    assert [(skip["layer"], skip["contestant"]) for skip in first["skipped"]] == [("mine/two", "fake mode")]
    assert "1 layers were left for want of a GPU (RuntimeError: cudaErrorIllegalAddress" in capsys.readouterr().out
    device.lost = False  # another process
    assert suite_run.main(words) == 0
    whole = json.loads((tmp_path / "out.json").read_text())
    assert {row["layer"] for row in whole["rows"]} == {"mine/one", "mine/three"} and whole["skipped"] == first["skipped"]


HANGS = """
import sys, time
sys.path[:0] = {paths!r}
import pytest, fake_rival, run
rival = fake_rival.Rival()
fake_rival.install(pytest.MonkeyPatch(), rival)
rival.before = lambda problem: {action} if "max" in str(problem) else None
sys.exit(run.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("action", ["time.sleep(99)", "__import__('os').kill(__import__('os').getpid(), 11)"], ids=["a hang", "a crash"])
def test_a_layer_in_which_a_run_was_ended_is_stepped_over_by_the_next(words, tmp_path, action):
    script = tmp_path / "script.py"
    script.write_text(HANGS.format(paths=[str(BENCHMARKS), str(Path(__file__).parent)], action=action))
    again = [sys.executable, script, *words, "--threads", "1", "--layer-seconds", "8" if "sleep" in action else "60"]
    first = subprocess.run(again, capture_output=True, text=True, timeout=60, check=False)
    assert first.returncode == (1 if "sleep" in action else -11), first.stderr
    assert ("in before" in first.stderr or "<lambda>" in first.stderr) == ("sleep" in action), "a hang says where"
    marked = json.loads((tmp_path / "out.json.under-way").read_text())
    assert marked["layer"] == "mine/two" and marked["doing"] == "checking fake mode"
    second = subprocess.run(again, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 0, second.stderr
    assert "stepped over mine/two" in second.stderr and not (tmp_path / "out.json.under-way").exists()
    document = json.loads((tmp_path / "out.json").read_text())
    assert {row["layer"] for row in document["rows"]} == {"mine/one", "mine/three"}
    (skip,) = document["skipped"]
    assert skip["contestant"] == "all" and "a run was ended during it (checking fake mode)" in skip["reason"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("exec sleep 30", "nvidia-smi gave no answer in 0.2 s"),
        ("echo 'NVIDIA-SMI has failed'; exit 9", "nvidia-smi answers: NVIDIA-SMI has failed"),
        ("echo one, two", "nvidia-smi answers: one, two"),
    ],
)
def test_a_gpu_without_facts_is_recorded_as_absent_with_the_reason(tmp_path, monkeypatch, text, reason):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{text}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(record, "SMI_SECONDS", 0.2 if "sleep" in text else 10)
    where = record.place()
    assert where["gpu"] is None and where["gpu_absent"] == reason
    assert suite_run.place_of({"settings": {"device": "cuda"}, "where": where}) == "unnamed-gpu"
