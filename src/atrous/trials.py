"""The trials of a proof: which launches of a problem are run, in which schedule, and the command that runs one of them again."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

from . import config
from .kernels.in_two import THEN
from .launch import Launch
from .problem import Conv2dProblem, ConvPool2dProblem, ElementwiseProblem, Pool2dProblem, SeparableConv2dProblem

Problem = Conv2dProblem | Pool2dProblem | ConvPool2dProblem | SeparableConv2dProblem | ElementwiseProblem
Schedule = tuple[Any, ...]

#: seeds of random schedules are taken below this prime, so that every problem's number meets every word
SCHEDULE_SEEDS = 997


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of one kernel: all that it takes to run it again."""

    engine: str
    problem: Problem
    seed: int
    kernel: str
    instance: str
    data: str
    schedule: Schedule | None

    def command(self) -> str:
        """Return the command that runs this trial again."""
        words = ["atrous", "verify", "--engine", self.engine, "--case", str(self.problem), "--seed", str(self.seed), "--data", self.data]
        if self.engine != "arrays":
            words += ["--kernel", self.kernel.partition(THEN)[0], "--instance", self.instance]
        if self.schedule is not None:
            words += ["--schedule", schedule_text(self.schedule)]
        return shlex.join(words)


def schedule_text(schedule: Schedule) -> str:
    """Return a schedule as ATROUS_SIM_SCHEDULE and --schedule spell it."""
    return ":".join(map(str, schedule))


def schedule_number(number: int) -> Schedule:
    """Return one of the simulator's schedules; consecutive numbers give every word with every landing."""
    words, landings = config.SCHEDULES, config.LANDINGS
    return words[number % len(words)], number % SCHEDULE_SEEDS, landings[number // len(words) % len(landings)]


def canonical_schedule(schedule: Schedule) -> str:
    """Return a schedule's text, the seed dropped where nothing is random."""
    word, seed, landing = schedule
    drawn = word in ("random", "greedy") or landing == "random"
    return schedule_text((word, seed if drawn else 0, landing))


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One way to compute a problem: a launch of a kernel, or the array path, which launches nothing."""

    kernel: str
    launch: Launch | None
    chosen: bool  # whether it is what the kernel launches on the engine's device for contiguous operands

    @property
    def instance(self) -> str:
        """Names of all that is launched, one after another, as --instance takes them."""
        return " + ".join(self.launch.names) if self.launch else "arrays"


def shift_of(seed: int) -> int:
    """Return how many elements the operands of a seed lie beside an aligned address."""
    return int(seed % 4 == 3)


def draw(found: list[Candidate], seed: int) -> tuple[list[Candidate], list[Candidate]]:
    """Return, of each kernel, its choice and another variant to run on whole numbers, and any one to run on random numbers."""
    whole: list[Candidate] = []
    at_random: list[Candidate] = []
    for name in dict.fromkeys(candidate.kernel for candidate in found):
        mine = [candidate for candidate in found if candidate.kernel == name]
        others = [candidate for candidate in mine if not candidate.chosen]
        whole += [candidate for candidate in mine if candidate.chosen]
        whole += others[seed // 4 % len(others) :][:1] if others else []
        # Divided by 4, since the last two bits of a seed say where operands lie and whether numbers are random too.
        at_random.append(mine[seed // 4 % len(mine)])
    return whole, at_random


def failure_record(trial: Trial, failure: Exception) -> dict[str, Any]:
    """Return what a ledger keeps of a failure."""
    facts = {"case": str(trial.problem), "seed": trial.seed, "kernel": trial.kernel, "instance": trial.instance}
    facts |= {"data": trial.data, "schedule": schedule_text(trial.schedule) if trial.schedule else None}
    # what assert_matches says of a rerun is said better by the command
    return {**facts, "what": str(failure).partition("; rerun the case")[0], "rerun": trial.command()}
