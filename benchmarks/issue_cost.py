"""Times what a call costs before the GPU has work: choosing a kernel, a functional call, a plan's call, with a launch that does nothing.

    python benchmarks/issue_cost.py [--rounds 15] [--save]

NumPy arrays on the simulated engine, whose launch is replaced by a function that returns at once: all of this library's
Python runs, and neither a kernel nor the call into the extension, which a GPU adds with the driver's launch. A round is
the mean over as many calls as take 20 ms of the calling thread's CPU time, to which other processes on the core do not
add; shown are the median, least and largest of the rounds.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import itertools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import atrous
from atrous import choose
from atrous.bench.record import commit, processor
from atrous.engines import simulated
from atrous.kernels.base import DEVICES
from atrous.problem import parse

ROOT = Path(__file__).resolve().parent.parent
ROUND_SECONDS = 0.02
DEVICE = DEVICES["sm_80"]
#: what is timed -> its budget in microseconds; None where there is none
BUDGETS = {
    "plan(x, out=y)": 3.5,
    "plan(x)": None,
    "conv2d(x, w, b, out=y)": 6.0,
    "conv2d(x, w, b)": None,
    "max_pool2d(x, 2, out=y)": 6.0,
    "choose, a new problem": None,
    "conv2d, a new shape": None,
}
LAYER = dict(padding=1, activation="relu")


class NullRun:
    """A launch that does nothing."""

    def run(self, pointers: tuple[int, ...], stream: int) -> None:
        """Return."""


def without_launches() -> None:
    """Replace the simulated engine's launch by one that does nothing."""
    null = NullRun()
    simulated.available = lambda: None  # type: ignore[assignment]
    simulated.prepare = lambda launch: null  # type: ignore[assignment,return-value]


def new_problems() -> Iterator[Any]:
    """Yield dense 16-bit 3x3 problems that differ in C and K."""
    base = parse("n32c64h28w28_k64r3s3_pad1_f16_bias_relu")
    for c, k in itertools.product(range(64, 8192, 8), range(64, 8192, 8)):
        yield dataclasses.replace(base, c=c, k=k)


def calls() -> dict[str, Callable[[], Any]]:
    """Return what is timed: 16 images of 14 x 14 x 64 float32, 3x3 to 64 channels, and the pooling of them."""
    x, weight, bias = np.ones((16, 14, 14, 64), "float32"), np.ones((64, 3, 3, 64), "float32"), np.ones(64, "float32")
    y, pooled = np.empty((16, 14, 14, 64), "float32"), np.empty((16, 7, 7, 64), "float32")
    plan = atrous.plan_conv2d(x.shape, weight, bias, engine="simulated", **LAYER)
    problems, widths = new_problems(), itertools.count(1)
    row = np.ones((1, 1, 10_000_000, 1), "int8")
    tap = np.ones((1, 1, 1, 1), "int8")

    def new_shape() -> Any:
        return atrous.conv2d(row[:, :, : next(widths)], tap, engine="simulated", out_dtype="int8")

    return {
        "plan(x, out=y)": lambda: plan(x, out=y),
        "plan(x)": lambda: plan(x),
        "conv2d(x, w, b, out=y)": lambda: atrous.conv2d(x, weight, bias, out=y, engine="simulated", **LAYER),
        "conv2d(x, w, b)": lambda: atrous.conv2d(x, weight, bias, engine="simulated", **LAYER),
        "max_pool2d(x, 2, out=y)": lambda: atrous.max_pool2d(x, 2, out=pooled, engine="simulated"),
        "choose, a new problem": lambda: choose.choose(next(problems), DEVICE),
        "conv2d, a new shape": new_shape,
    }


def mean_of(call: Callable[[], Any], count: int) -> float:
    """Return the mean CPU time of `count` calls in microseconds."""
    start = time.thread_time()
    for _ in itertools.repeat(None, count):
        call()
    return 1e6 * (time.thread_time() - start) / count


def measure(timed: dict[str, Callable[[], Any]], rounds: int) -> list[dict[str, Any]]:
    """Return the microseconds of each call in every round; all calls take a turn a round, so that a slow moment of the machine is no one's alone."""
    counts = {}
    for what, call in timed.items():
        mean_of(call, 100)
        counts[what] = max(1, int(ROUND_SECONDS / (1e-6 * mean_of(call, 100))))
    taken: dict[str, list[float]] = {what: [] for what in timed}
    for _ in range(rounds):
        for what, call in timed.items():
            taken[what].append(round(mean_of(call, counts[what]), 4))
    return [dict(what=what, budget=BUDGETS[what], microseconds=taken[what], calls_a_round=counts[what]) for what in timed]


def main() -> None:
    """Measure, print, and save where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--save", action="store_true")
    chosen = parser.parse_args()
    without_launches()
    rows = measure(calls(), chosen.rounds)
    for row in rows:
        times = row["microseconds"]
        print(f"{row['what']:26} {statistics.median(times):8.2f} us ({min(times):.2f} to {max(times):.2f}), budget {row['budget'] or 'none'}")
    if not chosen.save:
        return
    today, name = datetime.date.today().isoformat(), commit()
    facts = {"measures": "issue cost", "commit": name, "date": today, "processor": processor(), "cores": os.cpu_count(), "load average": os.getloadavg()[0]}
    path = ROOT / "benchmarks" / "results" / "cpu" / f"{today}-{name.removesuffix('+')}-issue.json"
    path.write_text(json.dumps({**facts, "python": platform.python_version(), "numpy": np.__version__, "rows": rows}, indent=1) + "\n")
    print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
