"""Proves every kernel on one variant of the simulator: thousands of problems, every instance, hundreds of schedules, counted in a ledger."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
VARIANTS = ("plain", "sanitized", "race", "coverage")
#: seeds of one worker; the next one's begin after them
SEEDS = 10_000_000
#: draws of a worker after which an instance counts as out of reach
DRAWS = 200_000
LAST_LINES = 40


def work(arguments: argparse.Namespace) -> int:
    """Draw problems until so many were exact, then until every instance has run often enough; write what was counted."""
    from atrous.verify import Prover, every_instance

    prover = Prover("simulated")
    ledger = prover.ledger
    seeds = count(arguments.seed)
    with arguments.note.open("w") as note:

        def next_seed() -> Any:
            for seed in seeds:
                note.seek(0)
                note.write(f"{seed:<20}")  # what a crash leaves behind
                note.flush()
                yield seed

        drawn = next_seed()
        while ledger.exact_problems < arguments.problems and not prover.is_spent:
            prover.prove_drawn(next(drawn))
        random_problems = ledger.exact_problems
        limited = (seed for _, seed in zip(range(DRAWS), drawn))
        missing = prover.reach(every_instance(), arguments.at_least, limited, arguments.schedules)
    arguments.out.write_text(json.dumps({"ledger": ledger.whole(), "random": random_problems, "missing": missing}))
    return 0


def start(arguments: argparse.Namespace, worker: int, folder: Path, command: list[str], environment: dict[str, str]) -> Any:
    """Start one worker; return (process, file of its ledger, file of its last seed, file of its last words)."""
    share = -(-arguments.problems // arguments.jobs)
    at_least, schedules = -(-arguments.at_least // arguments.jobs), -(-arguments.schedules // arguments.jobs)
    out, note, words = (folder / f"{worker}.{suffix}" for suffix in ("json", "seed", "stderr"))
    own = ["--worker", "--problems", share, "--at-least", at_least, "--schedules", schedules]
    own += ["--seed", arguments.seed + worker * SEEDS, "--out", out, "--note", note]
    with words.open("w") as stderr:
        process = subprocess.Popen(["nice", *command, __file__, *map(str, own)], env=environment, stderr=stderr)
    return process, out, note, words


def finish(process: Any, out: Path, note: Path, words: Path) -> dict[str, Any]:
    """Return what a worker counted; of one that died, the problem in which it did."""
    from atrous.ledger import Ledger
    from atrous.sampling import any_problem

    if process.wait() == 0 and out.exists():
        return dict(json.loads(out.read_text()))
    seed = int(note.read_text() or -1) if note.exists() else -1
    case = str(any_problem(seed)) if seed >= 0 else "none"
    code = process.returncode
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    last = words.read_text(errors="replace").splitlines()[-LAST_LINES:]
    rerun = f"atrous verify --engine simulated --case {case} --seed {seed}" if seed >= 0 else "the campaign: it drew no problem"
    dead = Ledger(failures=[{"case": case, "seed": seed, "what": "\n".join((f"a worker {how}", *last)), "rerun": rerun}])
    return {"ledger": dead.whole(), "random": 0, "missing": []}


def run(arguments: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """Run a whole campaign; return its record and whether all was right."""
    sys.path[:0] = [str(ROOT / "src"), str(Path(__file__).parent)]
    from builds import command

    import atrous
    from atrous.ledger import Ledger
    from atrous.verify import every_instance

    python, environment = command(arguments.variant)
    began, begin = datetime.datetime.now(datetime.timezone.utc), time.perf_counter()
    total, random_problems, missing = Ledger(), 0, set()
    with tempfile.TemporaryDirectory() as folder:
        started = [start(arguments, worker, Path(folder), python, environment) for worker in range(arguments.jobs)]
        for worker in started:
            found = finish(*worker)
            total.add(Ledger.from_whole(found["ledger"]))
            random_problems += found["random"]
            missing |= set(found["missing"])
    names = every_instance()
    runs = [total.instances[name] for name in names]
    record = {
        "atrous": atrous.__version__,
        "began": began.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - begin, 1),
        "variant": arguments.variant,
        "jobs": arguments.jobs,
        "seed": arguments.seed,
        "host": {"machine": platform.machine(), "system": platform.system(), "python": platform.python_version(), "cores": os.cpu_count()},
        "exact_problems_at_random": random_problems,
        "instances_run": sum(map(bool, runs)),
        "instances_of_table": len(names),
        "names": names,
        "least_runs_of_an_instance": min(runs),
        "instances_short_of_their_runs": sorted(missing),
        **total.summary(),
    }
    return record, not (total.failures or missing)


def describe(record: dict[str, Any]) -> str:
    """Return the figures of a campaign as a person reads them."""
    schedules = ", ".join(f"{kernel} {number}" for kernel, number in record["schedules"].items())
    lines = [
        f"{record['variant']}: {record['exact_problems']:,} problems exact in {sum(record['exact_runs'].values()):,} kernel runs, "
        f"{sum(record['bounded_runs'].values()):,} on random numbers, worst {record['worst_ratio']:.3f} of the bound",
        f"  {record['instances_run']} of {record['instances_of_table']} instances, each at least {record['least_runs_of_an_instance']} times; "
        f"different schedules: {schedules}",
        f"  {len(record['failures'])} failures in {record['seconds']:.0f} s on {record['jobs']} processes",
    ]
    if short := record["instances_short_of_their_runs"]:
        lines.append(f"  short of their runs: {', '.join(short)}")
    lines += [f"wrong: {failure['what']}\n  rerun: {failure['rerun']}" for failure in record["failures"][:5]]
    return "\n".join(lines)


def main(words: list[str] | None = None) -> int:
    """Parse the command line and run; 0: all was right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", choices=VARIANTS, default="plain")
    parser.add_argument("--problems", type=int, default=1000, help="problems that have one right answer to the bit")
    parser.add_argument("--at-least", type=int, default=20, help="runs of every instance in the table")
    parser.add_argument("--schedules", type=int, default=0, help="different schedules of every kernel; those of several processes may meet")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="append the record to this ledger")
    for hidden in ("--out", "--note"):
        parser.add_argument(hidden, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.worker:
        return work(arguments)
    record, right = run(arguments)
    if arguments.json is not None:
        from atrous.ledger import append

        append(arguments.json, record)
    print(describe(record))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
