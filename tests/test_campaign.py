"""The campaign of tests/proof: a worker that dies leaves the problem in which it died, and its last words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "proof"))

import campaign

from atrous.sampling import any_problem


@pytest.mark.parametrize(
    ("death", "how"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "a worker was ended by SIGSEGV"),
        ("sys.stderr.write('the last words'); sys.stderr.flush(); os._exit(3)", "a worker ended with 3\nthe last words"),
        ("os._exit(0)", "a worker ended with 0"),  # without its ledger
    ],
)
@pytest.mark.parametrize("seed", [650, None])
def test_a_dead_worker_is_a_failure_that_names_its_problem(tmp_path, death, how, seed):
    out, note, words = (tmp_path / name for name in ("0.json", "0.seed", "0.stderr"))
    if seed is not None:
        note.write_text(f"{seed:<20}")
    with words.open("w") as stderr:
        process = subprocess.Popen([sys.executable, "-c", f"import os, signal, sys; {death}"], stderr=stderr)
    found = campaign.finish(process, out, note, words)
    (failure,) = found["ledger"]["failures"]
    assert failure["what"] == how
    if seed is None:
        assert (failure["case"], failure["rerun"]) == ("none", "the campaign: it drew no problem")
    else:
        assert failure["case"] == str(any_problem(seed))
        assert f"--case {failure['case']} --seed {seed}" in failure["rerun"]
