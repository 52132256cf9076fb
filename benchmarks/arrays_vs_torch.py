"""Times the array path against torch on the CPU: ResNet-50's dense 3x3 and 1x1 layers, float32, in one process and interleaved.

    python benchmarks/arrays_vs_torch.py [--batch 8] [--rounds 5] [--save]

Needs torch, which atrous does not. The rival is the faster, layer by layer, of torch.nn.functional.conv2d on
channels_last and on contiguous tensors. Ours is the functional call, which arranges weights, allocates and checks
every time; a plan that packed its weights once stands beside it for comparison. Each turn follows a pause, for the
threads of the other library to fall asleep, and a warm-up; a round's figure is the median of its calls, a layer's
the median of its rounds. Ratio = torch's time / ours: above 1 we are faster.

Where OPENBLAS_CORETYPE names a processor, NumPy's OpenBLAS may leave instructions unused that torch uses. Then all is
measured twice, in a process of its own each: as found, and without that variable.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
THREADS = 2
PAUSE_SECONDS = 0.1  # OpenBLAS and OpenMP threads spin for tens of milliseconds after a call, on the core the other library needs
CALLS = 3
WARM_UP = 2
ATTEMPTS = 5
PATIENCE_SECONDS = 75  # a layer's share of it: no call is made again later than that
CORETYPE = "OPENBLAS_CORETYPE"


def layers(batch: int) -> list[tuple[str, Any]]:
    """Return (name, problem) of every dense 3x3 and 1x1 convolution of cases/resnet50.txt, plain and in float32."""
    from atrous.problem import parse

    found = []
    for line in (ROOT / "cases" / "resnet50.txt").read_text().splitlines():
        words = line.partition("#")[0].split()
        problem = parse(words[1]) if words else None
        if problem is None or getattr(problem, "groups", 0) != 1 or (problem.r, problem.s) not in ((1, 1), (3, 3)):
            continue
        plain = dict(n=batch, dtype="float32", out_dtype="float32", scale=None, bias=None, residual=False, activation=("none",))
        found.append((words[0], dataclasses.replace(problem, **plain)))
    return found


def contestants(problem: Any) -> dict[str, Callable[[], Any]]:
    """Return the calls to time, after checking that all give one result."""
    import numpy as np
    import torch

    import atrous

    random = np.random.default_rng(0)
    x = random.standard_normal(problem.x_shape, dtype="float32")
    weight = random.standard_normal(problem.weight_shape, dtype="float32")
    words: dict[str, Any] = dict(stride=problem.stride, padding=(problem.pads[:2], problem.pads[2:]))
    plan = atrous.plan_conv2d(problem.x_shape, weight, dtype="float32", engine="arrays", **words)
    tensors = {}
    for name, order in (("channels_last", torch.channels_last), ("contiguous", torch.contiguous_format)):
        tensors[name] = [torch.from_numpy(array).permute(0, 3, 1, 2).contiguous(memory_format=order) for array in (x, weight)]
    pad = (problem.pads[0], problem.pads[2])

    def rival(name: str) -> Callable[[], Any]:
        return lambda: torch.nn.functional.conv2d(*tensors[name], stride=problem.stride, padding=pad)

    calls = {
        "torch channels_last": rival("channels_last"),
        "torch contiguous": rival("contiguous"),
        "atrous": lambda: atrous.conv2d(x, weight, engine="arrays", **words),
        "atrous plan": lambda: plan(x),
    }
    want = calls["torch contiguous"]().permute(0, 2, 3, 1).numpy()
    for name in ("atrous", "atrous plan"):
        error = float(np.abs(calls[name]() - want).max())
        if error > 1e-4 * math.sqrt(problem.c * problem.r * problem.s):
            raise SystemExit(f"{problem}: {name} differs from torch by {error}")
    return calls


def measure(batch: int, rounds: int) -> dict[str, Any]:
    """Return the times in milliseconds, a row a layer, with what they were measured on."""
    import numpy as np
    import torch

    torch.set_num_threads(THREADS)
    rows = []
    start, suite = time.monotonic(), layers(batch)
    for index, (name, problem) in enumerate(suite, 1):
        calls = contestants(problem)
        times: dict[str, list[float]] = {word: [] for word in calls}
        with torch.inference_mode():
            for _ in range(rounds):
                for word, call in calls.items():
                    times[word].append(turn(call, start + PATIENCE_SECONDS * index / len(suite)))
        rows.append({"layer": name, "case": str(problem), "milliseconds": times})
        print(f"{name} done", file=sys.stderr)
    return {
        CORETYPE: os.environ.get(CORETYPE),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "torch instructions": torch.backends.cpu.get_cpu_capability(),
        "load average": os.getloadavg()[0],
        "rows": rows,
    }


def turn(call: Callable[[], Any], deadline: float) -> float:
    """Return the median time of a few calls, in milliseconds, after a pause and a warm-up.

    Calls during which another process took a core are made again, whoever's they are, until `deadline` or ATTEMPTS times in all;
    those with the fewest such interruptions count.
    """
    time.sleep(PAUSE_SECONDS)
    best = (math.inf, math.inf)
    for _ in range(ATTEMPTS):
        for _ in range(WARM_UP):
            call()
        interruptions = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        taken = []
        for _ in range(CALLS):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
        interruptions = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - interruptions
        if interruptions < best[0]:
            best = (interruptions, 1e3 * statistics.median(taken))
        if not interruptions or time.monotonic() > deadline:
            break
    return best[1]


def child(batch: int, rounds: int, coretype: str | None) -> dict[str, Any]:
    """Return what `measure` returns in a process of its own, with two threads a library."""
    environment = {name: value for name, value in os.environ.items() if name != CORETYPE}
    environment |= {"OPENBLAS_NUM_THREADS": str(THREADS), "OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS)}
    if coretype:
        environment[CORETYPE] = coretype
    words = [sys.executable, __file__, "--one", f"--batch={batch}", f"--rounds={rounds}"]
    return json.loads(subprocess.run(words, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout)


def ratios(rows: list[dict[str, Any]], ours: str = "atrous") -> list[float]:
    """Return torch's best median / our median of every layer."""
    found = []
    for row in rows:
        median = {word: statistics.median(times) for word, times in row["milliseconds"].items()}
        found.append(min(median["torch channels_last"], median["torch contiguous"]) / median[ours])
    return found


def geomean(values: list[float]) -> float:
    """Return the geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


def table(run: dict[str, Any]) -> str:
    """Return the times and ratios of one run as Markdown."""
    lines = ["| layer | torch channels_last | torch contiguous | atrous | atrous plan | ratio |", "|---|---|---|---|---|---|"]
    for row, ratio in zip(run["rows"], ratios(run["rows"])):
        times = [f"{statistics.median(times):.2f} ms" for times in row["milliseconds"].values()]
        lines.append(f"| {row['layer']} | " + " | ".join(times) + f" | {ratio:.2f} |")
    return "\n".join(lines)


def summary(run: dict[str, Any]) -> str:
    """Return one line: the geometric mean of the ratios, its range over rounds, and what it means in torch's time."""
    rounds = len(run["rows"][0]["milliseconds"]["atrous"])
    single = [
        geomean(ratios([{"milliseconds": {word: [times[i]] for word, times in row["milliseconds"].items()}} for row in run["rows"]])) for i in range(rounds)
    ]
    each, mean = ratios(run["rows"]), geomean(ratios(run["rows"]))
    return (
        f"{CORETYPE}={run[CORETYPE] or '(unset)'}: torch / ours geomean {mean:.2f} (rounds {min(single):.2f} to {max(single):.2f}, "
        f"layers {min(each):.2f} to {max(each):.2f}); our time is {1 / mean:.2f} of torch's, a plan's {1 / geomean(ratios(run['rows'], 'atrous plan')):.2f}"
    )


def readme(paths: list[Path]) -> str:
    """Return what the README says of the newest of these files that is of this kind."""
    found = {path: json.loads(path.read_text()) for path in paths}
    path = max((path for path, facts in found.items() if "runs" in facts), key=lambda path: (found[path]["date"], path.name))
    facts, names = found[path], {"torch channels_last": "torch, channels_last", "torch contiguous": "torch, contiguous (its default)"}
    lines = [
        "On a CPU, the array path beside torch, float32, batch 8, ResNet-50's dense 3x3 and 1x1 layers, both in one run on two cores",
        "(`benchmarks/arrays_vs_torch.py`; below 1 is slower than torch):",
        "",
        "| OpenBLAS | layers | " + " | ".join(names.values()) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    for run in facts["runs"]:
        for family, part in {"3x3": "r3s3", "1x1": "r1s1"}.items():
            cells = ["{:.2f} ({:.2f} to {:.2f})".format(*ratio(run, rival, part)) for rival in names]
            lines.append(f"| {f'{CORETYPE}={run[CORETYPE]}' if run[CORETYPE] else 'as it chooses'} | {family} | " + " | ".join(cells) + " |")
    run = facts["runs"][0]
    return "\n".join(lines) + (
        f"\n\ntorch's time / ours: geometric mean, worst and best layer. {facts['processor']}, {facts['threads']} threads, NumPy {run['numpy']}, "
        f"torch {run['torch']} ({run['torch instructions']}), {facts['date']}, commit {facts['commit']}; all figures in "
        f"[{path.name}]({path.relative_to(ROOT).as_posix()}). NumPy's products are OpenBLAS', whose instructions `{CORETYPE}` can hold back."
    )


def ratio(run: dict[str, Any], rival: str, part: str) -> tuple[float, float, float]:
    """Return the geometric mean, least and largest of torch's time / ours over the layers of a family."""
    rows = [row["milliseconds"] for row in run["rows"] if part in row["case"]]
    found = [statistics.median(row[rival]) / statistics.median(row["atrous"]) for row in rows]
    return geomean(found), min(found), max(found)


def commit() -> str:
    """Return the short name of the checked-out commit, with a plus where files differ from it."""
    found = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return found.stdout.strip() or "unknown"


def main() -> None:
    """Measure, print the tables, and save them where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/cpu/DATE-COMMIT.json")
    parser.add_argument("--one", action="store_true", help="measure in this process and print JSON")
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.batch, chosen.rounds)))
        return
    settings = [None, os.environ[CORETYPE]] if os.environ.get(CORETYPE) else [None]
    runs = [child(chosen.batch, chosen.rounds, coretype) for coretype in settings]
    for run in runs:
        print(table(run), summary(run), "", sep="\n\n")
    if chosen.save:
        today, name = datetime.date.today().isoformat(), commit()
        folder = ROOT / "benchmarks" / "results" / "cpu"
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"commit": name, "date": today, "processor": processor(), "cores": os.cpu_count(), "threads": THREADS, "batch": chosen.batch}
        path = folder / f"{today}-{name.removesuffix('+')}.json"
        path.write_text(json.dumps({**facts, "python": platform.python_version(), "runs": runs}, indent=1) + "\n")
        print(f"wrote {path}", file=sys.stderr)


def processor() -> str:
    """Return the processor's name."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


if __name__ == "__main__":
    main()
