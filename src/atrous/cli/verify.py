"""Proves this build on this machine: random problems through every kernel, exact or within bounds, counted in a ledger."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import math
import os
import platform
import time
from pathlib import Path
from typing import Any

import atrous

from .. import conformance
from ..config import schedule_of
from ..errors import ProblemError, sentence
from ..kernels import ORDER
from ..ledger import Ledger, append
from ..problem import parse
from ..trials import SCHEDULE_SEEDS, schedule_number
from ..verify import ENGINES, INDICES, KINDS_OF_DATA, MOST_FAILURES, DeviceLost, Prover, every_instance, verify
from .screen import Screen

SECONDS = 20.0
#: so many schedules hold every order with every landing, each with a few seeds
CASE_SCHEDULES = 48
SHOWN_FAILURES = 5
FAILED = 1


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of at least 0, such as 7")
    return int(text)


def _positive(text: str) -> int:
    if not _whole(text):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of at least 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number of seconds above 0, such as 60")
    return seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `atrous verify`."""
    parser.add_argument("--engine", metavar="ENGINE", help=f"one of {', '.join(ENGINES)} (default: the first of them that can run here)")
    parser.add_argument("--seconds", type=_seconds, help=f"how long to draw problems (default {SECONDS:g}, or no limit with --problems)")
    parser.add_argument("--problems", type=_positive, help="stop after so many problems")
    parser.add_argument("--seed", type=_whole, default=0, help="of the first problem, and of the operands of --case (default 0)")
    parser.add_argument("--case", help="run this problem alone, such as n2c8h9w7_k4r3s2_pad1_f16, in every schedule")
    parser.add_argument("--kernel", help="run this kernel alone, such as conv_direct")
    parser.add_argument("--index", choices=INDICES, help="run instances of this index width alone")
    parser.add_argument("--instance", metavar="NAME", help="run what launches this instance alone, such as 'conv_direct<float32, Nhwc, int32, WideTile>'")
    parser.add_argument("--data", choices=KINDS_OF_DATA, help="run on whole numbers (exact) or on random numbers (bounded) alone")
    parser.add_argument("--schedule", metavar="ORDER[:SEED[:LANDING]]", help="run the simulator in this schedule alone (default: all in turn)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append what was counted to this ledger")
    parser.add_argument("--record", type=Path, metavar="FILE", help="on a GPU: write what every probe gives to this .npz, and do nothing else")


def run(arguments: argparse.Namespace) -> int:
    """Prove, print, and return 0 if nothing was wrong."""
    if arguments.record is not None:
        return _record(arguments)
    schedule = None if arguments.schedule is None else schedule_of(arguments.schedule, "--schedule")
    options = dict(kernel=arguments.kernel, index=arguments.index, instance=arguments.instance, data=arguments.data, schedule=schedule)
    prover = Prover(arguments.engine, **options)
    _check_words(arguments, prover)
    problem = None if arguments.case is None else parse(arguments.case)
    if problem is not None:
        prover.candidates(problem, arguments.seed)  # a refusal comes before anything is printed
    facts = _facts(prover, arguments)  # asked for while the device answers: a kernel may break it
    screen = Screen()
    screen.line(f"engine {prover.engine}, {_where(prover, facts)}; seed {arguments.seed}", "bold")
    begin = time.perf_counter()
    try:
        _prove(prover, problem, arguments, screen)
    finally:
        taken = time.perf_counter() - begin
        try:
            if arguments.json is not None:
                append(arguments.json, {**facts, "seconds": round(taken, 3), **prover.ledger.summary()})
        finally:
            _print(screen, prover.ledger, taken)
    return FAILED if prover.ledger.failures or not prover.ledger.runs else 0


def _prove(prover: Prover, problem: Any, arguments: argparse.Namespace, screen: Screen) -> None:
    """Run the one problem that was asked for, or problems drawn until one of the limits."""
    if problem is not None:
        _prove_case(prover, problem, arguments.seed)
        return
    with screen.progress() as report:
        seconds = arguments.seconds or (None if arguments.problems else SECONDS)
        verify(prover, arguments.seed, seconds, arguments.problems, lambda done: report(f"{prover.ledger.runs:,} runs", done))


def _check_words(arguments: argparse.Namespace, prover: Prover) -> None:
    if arguments.schedule is not None and prover.engine != "simulated":
        raise ProblemError(sentence("verify", f"--schedule is given and the engine is {prover.engine!r}", "the simulator", "add --engine simulated"))
    if arguments.kernel is None:
        return
    names = [kernel.name for kernel in ORDER]
    if arguments.kernel not in names:
        raise ProblemError(sentence("verify", f"--kernel is {arguments.kernel!r}", f"one of {', '.join(names)}", "drop --kernel to run all"))


def _prove_case(prover: Prover, problem: Any, seed: int) -> None:
    """Run one problem in the schedule given, or in every order and landing with a few seeds."""
    schedules = [prover.schedule] if prover.schedule else [schedule_number(number) for number in range(CASE_SCHEDULES)]
    with contextlib.suppress(DeviceLost):  # the ledger says where
        prover.prove(problem, seed, schedules if prover.engine == "simulated" else (), random_too=True)


def _where(prover: Prover, facts: dict[str, Any]) -> str:
    if prover.engine == "simulated":
        return f"the kernels' text on a host model of the CUDA thread machine ({facts['build']['build']['compiler']})"
    if prover.engine == "arrays":
        return "NumPy"
    return str(facts["device"]["name"])


def _facts(prover: Prover, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the ledger's record of this run says of all but what was counted."""
    device = {} if prover.engine in ("simulated", "arrays") else conformance.device_facts(prover.engine)
    words = {name: getattr(arguments, name) for name in ("seed", "case", "kernel", "index", "instance", "data", "schedule")}
    return {
        "atrous": atrous.__version__,
        "began": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "engine": prover.engine,
        "device": device,
        "build": json.loads(json.dumps(ENGINES[prover.engine].describe(), default=str)),
        "host": {"machine": platform.machine(), "system": platform.system(), "python": platform.python_version(), "cores": os.cpu_count()},
        **words,
    }


def _print(screen: Screen, ledger: Ledger, taken: float) -> None:
    count = lambda number, noun: f"  {number:>9,} {noun}"  # noqa: E731
    noun = "problem" if ledger.exact_problems == 1 else "problems"
    screen.line(count(ledger.exact_problems, f"{noun} on whole numbers, {ledger.exact_runs.total():,} kernel runs exact to the bit"))
    screen.line(count(ledger.bounded_runs.total(), f"kernel runs on random numbers, worst error {ledger.worst_ratio:.3f} of its bound"))
    names = every_instance()
    if "arrays" not in ledger.instances:
        screen.line(count(sum(name in ledger.instances for name in names), f"of {len(names)} instances of kernels ran"))
    if ledger.schedules:
        each = ", ".join(f"{kernel} {len(seen)}" for kernel, seen in sorted(ledger.schedules.items()))
        screen.line(f"  schedules that differed: {each} (of {SCHEDULE_SEEDS} seeds)")
    failures = ledger.failures
    screen.line(f"  {len(failures)} failures in {taken:.1f} s" if ledger.runs or failures else "  nothing ran", "red" if failures else "green")
    for kernel, runs in sorted(ledger.unrun.items()):
        screen.line(f"  not run again after {MOST_FAILURES} failures: {kernel} ({runs:,} runs left out)", "red")
    if ledger.lost is not None:
        screen.line(f"  the device was lost at {ledger.lost['kernel']} on {ledger.lost['case']}, and nothing ran after it", "red")
        screen.line(f"  rerun: {ledger.lost['rerun']}")
    for failure in failures[:SHOWN_FAILURES]:
        screen.line(f"wrong: {failure['what']}", "red")
        screen.line(f"  {failure['instance']}, schedule {failure['schedule']}" if failure["schedule"] else f"  {failure['instance']}")
        screen.line(f"  rerun: {failure['rerun']}")
    if len(failures) > SHOWN_FAILURES:
        screen.line(f"and {len(failures) - SHOWN_FAILURES} more")


def _record(arguments: argparse.Namespace) -> int:
    """Write the conformance vectors of the device that is here."""
    engine = arguments.engine or "compiled"
    if engine not in ("compiled", "runtime"):
        raise ProblemError(sentence("verify", f"--record with engine {engine!r}", "'compiled' or 'runtime', which run on a GPU", "drop --engine"))
    facts = conformance.record(arguments.record, engine)
    device = facts["device"]
    print(f"{len(facts['entries'])} outputs of probes on {device['name']}, driver {device['driver']}, written to {arguments.record}")
    if facts["left_out"]:
        print(f"left out, as this device lacks their instructions: {', '.join(facts['left_out'])}")
    for key, failure in facts["failures"].items():
        print(f"failed: {key}: {' '.join(failure.split())}")
    if facts["lost"] is not None:
        print(f"the device was lost at {facts['lost']}, and nothing ran after it")
    return FAILED if facts["failures"] else 0
