"""`atrous verify` where kernels fail: what is run no more, what is left out, a lost device, and the ledger that is kept whatever happens."""

from __future__ import annotations

import json
import re
from collections import Counter

import fake_device
import pytest
from test_verify import CASE, plant, run

from atrous import engines, verify
from atrous.engines import simulated
from atrous.kernels import ORDER
from atrous.problem import parse
from atrous.verify import Prover

pytestmark = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))
DEADLOCK = RuntimeError("[simulator] a deadlock, says the test")


def fail_in(monkeypatch, words, failure=DEADLOCK):
    """Let every kernel whose name begins with one of these words raise."""

    def fault(launch, pointers):
        if launch.name.startswith(words):
            raise failure

    plant(monkeypatch, fault)


def test_a_kernel_that_raises_is_a_failure_and_the_run_goes_on(monkeypatch):
    fail_in(monkeypatch, "")
    prover = Prover("simulated")
    verify.verify(prover, problems=5)
    assert len(prover.ledger.failures) >= 5 and "deadlock, says the test" in prover.ledger.failures[0]["what"]


def test_a_kernel_that_failed_three_times_is_run_no_more_and_the_others_are(monkeypatch, capsys, tmp_path):
    fail_in(monkeypatch, "conv_direct<")
    code, printed, errors = run(capsys, "--engine", "simulated", "--problems", "60", "--json", str(tmp_path / "ledger.json"))
    (facts,) = json.loads((tmp_path / "ledger.json").read_text())["runs"]
    failed = Counter(failure["kernel"] for failure in facts["failures"])
    assert code == 1 and not errors and failed["conv_direct"] == 3 and facts["problems"] == 60
    assert set(failed) <= {"conv_direct"} and facts["exact_runs"]["pool"] > 5 and facts["exact_runs"]["conv_pointwise"] > 0
    assert facts["unrun"]["conv_direct"] > 10 and all("conv_direct" in name for name in facts["unrun"]), facts["unrun"]
    assert f"  not run again after 3 failures: conv_direct ({facts['unrun']['conv_direct']:,} runs left out)" in printed.splitlines()


def test_what_stands_in_a_wrong_kernels_place_is_not_run_either(monkeypatch):
    """A pooled convolution as two launches, of which one is known to be wrong."""
    fail_in(monkeypatch, "conv_direct<")
    prover = Prover("simulated", data="whole")
    prover.prove(parse(CASE), 0, [("in-order", 0, "latest")] * 3)
    found = verify.Candidate("conv_direct, then pool", None, True)
    monkeypatch.setattr(prover, "candidates", lambda problem, seed: [found])
    prover.prove(parse(CASE), 0)
    assert prover.ledger.unrun[found.kernel] == 1 and len(prover.ledger.failures) == 3


def test_a_run_ends_when_no_kernel_is_left(monkeypatch, capsys):
    fail_in(monkeypatch, "")
    code, printed, _ = run(capsys, "--engine", "simulated", "--seconds", "60")
    failures = int(re.search(r"(\d+) failures in ", printed)[1])
    assert code == 1 and printed.count("rerun:") == 5 and printed.splitlines()[-1] == f"and {failures - 5} more"
    assert failures >= 3 * len(ORDER)
    assert sum(f"{kernel.name} (" not in printed for kernel in ORDER) <= 1, "the last to fail leaves nothing out"


def test_instances_of_a_kernel_that_is_run_no_more_are_not_waited_for(monkeypatch):
    fail_in(monkeypatch, "pool<")
    prover = Prover("simulated")
    asked, seeds = ["pool<float64, Nhwc, int64, WeightedReduction>"], iter(range(3000))
    assert prover.reach(asked, 2, seeds) == asked
    assert next(seeds) < 2900 and len(prover.ledger.failures) == 3


def test_memory_that_runs_out_is_a_failure_like_another(monkeypatch):
    fail_in(monkeypatch, "pool<", MemoryError("no room, says the test"))
    prover = Prover("simulated", kernel="pool")
    verify.verify(prover, problems=5)
    assert len(prover.ledger.failures) == 3 and "no room, says the test" in prover.ledger.failures[0]["what"]


def test_an_interrupted_run_still_prints_what_it_counted(monkeypatch, capsys, tmp_path):
    path, seen = tmp_path / "ledger.json", []

    def fault(launch, pointers):
        seen.append(launch.name)
        if len(seen) == 40:
            raise KeyboardInterrupt

    plant(monkeypatch, fault)
    code, printed, _ = run(capsys, "--engine", "simulated", "--seconds", "60", "--json", str(path))
    (facts,) = json.loads(path.read_text())["runs"]
    assert code == 130 and "kernel runs exact to the bit" in printed and facts["dtypes"]


# ---- a lost device


@pytest.fixture
def device(breakable_device):
    return breakable_device


def before_run_of(monkeypatch, word, act):
    """Call act() before every launch of the compiled engine of a kernel whose name begins with a word."""
    prepare = engines.compiled.prepare

    class Acting:
        def __init__(self, launch):
            self.name, self.inner = launch.name, prepare(launch)

        def run(self, pointers, stream):
            if self.name.startswith(word):
                act()
            self.inner.run(pointers, stream)

    monkeypatch.setattr(engines.compiled, "prepare", Acting)


@pytest.mark.parametrize("late", [False, True], ids=["at the launch", "in the kernel"])
def test_a_lost_device_ends_the_run_and_the_ledger_names_where(device, monkeypatch, capsys, tmp_path, late):
    """An error that sticks, told by the launch itself or by the copy after it: no later call of the process succeeds."""
    before_run_of(monkeypatch, "pool<", lambda: device.fail(1 + late, fake_device.ILLEGAL_ADDRESS, later=True))
    path = tmp_path / "ledger.json"
    code, printed, errors = run(capsys, "--engine", "compiled", "--problems", "200", "--json", str(path))
    (facts,) = json.loads(path.read_text())["runs"]
    (failure,) = facts["failures"]
    assert code == 1 and not errors and facts["problems"] < 200
    assert facts["lost"].items() >= failure.items() and facts["lost"]["kernel"] == "pool" and "IllegalAddress" in facts["lost"]["device"]
    assert parse(failure["case"]) and "IllegalAddress" in failure["what"] and f"--case {failure['case']}" in failure["rerun"]
    assert f"  the device was lost at pool on {failure['case']}, and nothing ran after it" in printed.splitlines()
    assert f"  rerun: {failure['rerun']}" in printed.splitlines() and "kernel runs exact to the bit" in printed
    assert facts["device"]["name"] and facts["build"]["devices"], "facts of a device are asked for while it answers"


def test_a_lost_device_ends_a_case(device, monkeypatch, capsys):
    before_run_of(monkeypatch, "conv_direct<", lambda: device.fail(2, fake_device.ILLEGAL_ADDRESS, later=True))
    code, printed, errors = run(capsys, "--engine", "compiled", "--case", CASE)
    assert code == 1 and not errors and f"  the device was lost at conv_direct on {CASE}" in printed and "  1 failures in" in printed


def test_a_refused_launch_is_a_failure_and_the_run_goes_on(device, monkeypatch):
    once = iter([1])
    before_run_of(monkeypatch, "pool<", lambda: next(once, None) and device.fail(1, fake_device.INVALID_VALUE))
    prover = Prover("compiled", kernel="pool")
    verify.verify(prover, problems=8)
    (failure,) = prover.ledger.failures
    assert "InvalidValue" in failure["what"] and prover.ledger.lost is None
    assert prover.ledger.problems == 8 and prover.ledger.runs > 8
