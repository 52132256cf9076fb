"""Slips of kernels that use the copy engine: each has a name, gives wrong values, or is a race, in some schedule."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "proof"))

import builds
from tensor_copies import MAP_AT, aligned, map_of, run

from atrous.engines import simulated

if simulated.available() is not None:
    pytest.skip(str(simulated.available()), allow_module_level=True)

ORDERS = ("in-order:0", "reverse:0", "greedy:0", *(f"random:{seed}" for seed in range(6)))
SCHEDULES = [f"{order}:{landing}" for order in ORDERS for landing in ("latest", "earliest", "random")]
ROWS, COLUMNS = 8, 128
COUNT = ROWS * COLUMNS

#: kernel and slip -> what a plain build shows of it over all schedules: "value", "deadlock", or "named" by another failure
PLAIN = {
    ("test_tensor_pair", "kNoSlip"): set(),
    ("test_tensor_pair", "kExpectsLate"): set(),
    ("test_tensor_pair", "kExpectsOne"): {"named"},
    ("test_tensor_pair", "kArrivesFirst"): {"named", "value"},
    ("test_tensor_pair", "kTwoIssue"): {"named", "deadlock"},
    ("test_tensor_pair", "kLanesIssue"): {"named", "deadlock"},
    ("test_tensor_pair", "kFreshSource"): set(),
    ("test_tensor_pair", "kReusesBarrier"): {"named"},
    ("test_tensor_out", "kNoStoreSlip"): set(),
    ("test_tensor_out", "kNoFence"): set(),
    ("test_tensor_out", "kNoCommit"): {"named"},
    ("test_tensor_out", "kOtherWaits"): {"value"},
    ("test_tensor_out", "kNoWaitForReads"): {"value"},
    ("test_tensor_cluster", "kNoClusterSlip"): set(),
    ("test_tensor_cluster", "kNoStart"): {"named"},
    ("test_tensor_cluster", "kOwnOnly"): {"value"},
    ("test_tensor_cluster", "kLightArrival"): set(),
    ("test_tensor_cluster", "kLightWait"): set(),
    ("test_tensor_remote", "kFencesHere"): set(),
    ("test_tensor_remote", "kFencesThere"): set(),
}  # fmt: skip
RIGHT = {"kNoSlip", "kExpectsLate", "kNoStoreSlip", "kNoClusterSlip", "kFencesHere"}
#: what no schedule may hide from the race check
IN_EVERY_SCHEDULE = {
    "kFreshSource",
    "kReusesBarrier",
    "kNoFence",
    "kNoWaitForReads",
    "kOtherWaits",
    "kNoStart",
    "kOwnOnly",
    "kLightArrival",
    "kLightWait",
    "kFencesThere",
}


def outcome(kernel, slip):
    """Run a kernel with one slip; return "", or how it shows."""
    number = [name for one, name in PLAIN if one == kernel].index(slip)
    x = aligned((4 * ROWS, COLUMNS), "uint8")
    x[:] = np.random.default_rng(5).integers(1, 200, x.shape)
    boxes = x[: 2 * ROWS].reshape(2, COUNT).copy()
    if kernel in ("test_tensor_out", "test_tensor_remote"):
        y, expected, cluster = aligned((ROWS, COLUMNS), "uint8"), (np.arange(COUNT) + 1).astype(np.uint8), 1 + (kernel == "test_tensor_remote")
    elif kernel == "test_tensor_pair":
        y, expected, cluster = aligned((2, COUNT), "uint8"), boxes.reshape(-1), 1
    else:
        y, expected, cluster = aligned((4, COUNT), "uint8"), np.repeat(boxes, 2, axis=0).reshape(-1), 2
        expected[0] = 222
    of_y = x if kernel in ("test_tensor_pair", "test_tensor_cluster") else y
    maps = [map_of(x, "x", box=(COLUMNS, ROWS)), map_of(of_y, "y" if of_y is y else "x", offset=MAP_AT + 128, box=(COLUMNS, ROWS))]
    try:
        run(kernel, x=x, y=y, maps=maps, size=[number, ROWS, 222], count=COUNT, shared=2 * COUNT, cluster=cluster)
    except RuntimeError as failure:
        text = str(failure)
        words = {"race": "a data race on", "unwritten": "that nobody wrote", "deadlock": "deadlock"}
        return next((word for word, sign in words.items() if sign in text), "named: " + text)
    return "" if (y.reshape(-1) == expected).all() else "value"


def outcomes():
    """(kernel, slip) -> schedule -> outcome"""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for kernel, slip in PLAIN:
            for schedule in SCHEDULES:
                patch.setenv("ATROUS_SIM_SCHEDULE", schedule)
                found.setdefault((kernel, slip), {})[schedule] = outcome(kernel, slip)
    return found


@pytest.fixture(scope="module")
def plain():
    return outcomes()


@pytest.fixture(scope="module")
def raced():
    arguments, environment = builds.command("race")
    done = subprocess.run([*arguments, __file__], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return eval(done.stdout)


@pytest.mark.parametrize(("kernel", "slip"), PLAIN)
def test_slips_in_a_plain_build(plain, kernel, slip):
    kinds = {found.partition(":")[0] for found in plain[kernel, slip].values()} - {""}
    assert kinds == PLAIN[kernel, slip], plain[kernel, slip]


@pytest.mark.parametrize(("kernel", "slip"), PLAIN)
def test_slips_under_the_race_check(raced, kernel, slip):
    found = raced[kernel, slip]
    if slip in RIGHT:
        assert set(found.values()) == {""}, found
    elif slip in IN_EVERY_SCHEDULE:
        assert "" not in found.values(), found
    else:
        assert set(found.values()) - {"", "value"}, found


if __name__ == "__main__":
    print(outcomes())
