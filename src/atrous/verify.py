"""Proves a build where it runs: random problems through every kernel, between red zones, exact or within the a priori bound."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from . import choose, config, testing
from .arguments import FLOAT_DTYPES
from .engines import arrays, compiled, runtime, simulated
from .errors import CudaError, EngineUnavailable, ProblemError, UnsupportedProblem, sentence, shown
from .interop import numpy_dtype
from .kernels import ORDER, for_operation, operation_of
from .kernels.base import Device, Kernel, alignment_of, default_strides
from .kernels.in_two import THEN
from .launch import Launch
from .ledger import Ledger
from .problem import Conv2dProblem, ConvPool2dProblem, Pool2dProblem
from .redzones import FLOAT_POISON, RED, Guarded, memory_for
from .sampling import any_problem
from .sequence import Bound, scratch_of
from .weighting import tap_weights

Problem = Conv2dProblem | Pool2dProblem | ConvPool2dProblem
Schedule = tuple[Any, ...]

ENGINES: dict[str, Any] = {"compiled": compiled, "runtime": runtime, "simulated": simulated, "arrays": arrays}
INDICES = ("int32", "int64")
KINDS_OF_DATA = ("whole", "random")
#: every so manieth problem with one right answer is run on random numbers too; the others always are
RANDOM_EVERY = 4
#: seeds of random schedules are taken below this prime, so that every problem's number meets every word
SCHEDULE_SEEDS = 997
#: after so many failures a run stops: the build is wrong, and more would say no more
MOST_FAILURES = 20


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


class Prover:
    """Runs problems on one engine and counts what it finds in `ledger`.

    Parameters
    ----------
    engine : str, optional
        "compiled", "runtime", "simulated" or "arrays"; default: the first of these that can run here.
    kernel, index, instance, data : str, optional
        Only that kernel, only instances of that index width, only what launches that instance, only whole or only
        random numbers.
    schedule : tuple, optional
        On the simulator: only this one; default: all words and landings in turn.
    wanted : callable, optional
        wanted(a Launch, with those before and after it) -> whether to run it; default: what the seed draws.
    """

    def __init__(
        self,
        engine: str | None = None,
        *,
        kernel: str | None = None,
        index: str | None = None,
        instance: str | None = None,
        data: str | None = None,
        schedule: Schedule | None = None,
        wanted: Callable[[Launch], bool] | None = None,
    ) -> None:
        self.engine = engine_named(engine)
        self.memory = memory_for(self.engine)
        self.device = _device(self.engine)
        self.ledger = Ledger()
        self._kernel, self._index, self._instance, self._data, self._wanted = kernel, index, instance, data, wanted
        self.schedule = schedule

    def prove(self, problem: Problem, seed: int, schedules: Sequence[Schedule] = (), random_too: bool = False) -> None:
        """Run one problem on every kernel that takes it, on the operands of a seed.

        Parameters
        ----------
        problem, seed
        schedules : sequence of schedules, optional
            On the simulator: run in each of them; default: in the one that the seed gives.
        random_too : bool
            Run on random numbers surely, and not only on every so manieth problem.

        Every variant of a kernel runs where schedules or random numbers are asked for, or the prover was made for some
        variants; else those that the seed draws.
        """
        exact = testing.is_exact(problem)
        found = self.candidates(problem, seed)
        if not found:
            return
        drawn = (found, found) if schedules or random_too or self._is_asked() else draw(found, seed)
        self.ledger.problems += 1
        if exact and self._data != "random":
            self.ledger.exact_problems += 1
            inputs = testing.exact_inputs(problem, seed, negative=seed % 3 == 0)
            expected = testing.expected_output(problem, inputs)
            self._run_all(problem, seed, "whole", drawn[0], schedules, (inputs, expected, None))
        if self._data == "random" or (self._data is None and (random_too or not exact or seed % RANDOM_EVERY == 0)):
            inputs = testing.random_inputs(problem, seed)
            expected, bound = testing.expected_output(problem, inputs), testing.tolerance(problem, inputs)
            self._run_all(problem, seed, "random", drawn[1], schedules, (inputs, expected, bound))

    def prove_drawn(self, seed: int) -> None:
        """Prove the random problem of a seed, unless the one kernel that was asked for does not take it."""
        problem = any_problem(seed)
        if self._kernel is None or self._kernel in [kernel.name for kernel in for_operation(operation_of(problem))]:
            with contextlib.suppress(UnsupportedProblem):
                self.prove(problem, seed)

    def _run_all(self, problem: Problem, seed: int, data: str, found: list[Candidate], schedules: Sequence[Schedule], values: tuple[Any, ...]) -> None:
        number = 7 * seed + 3 * (data == "random")  # 7 is prime, so that consecutive seeds meet every order and landing
        for candidate in found:
            for schedule in schedules or [self.schedule or schedule_number(number)]:
                in_order = schedule if self.engine == "simulated" else None
                trial = Trial(self.engine, problem, seed, candidate.kernel, candidate.instance, data, in_order)
                self._run(trial, candidate.launch, *values)
                number += 1

    def reach(self, names: list[str], at_least: int, seeds: Iterator[int]) -> list[str]:
        """Draw problems and run those that an instance still lacks, until each was run so often; return those not reached."""
        asked = set(names)
        lacking = lambda name: name in asked and self.ledger.instances[name] < at_least  # noqa: E731
        outer, self._wanted = self._wanted, lambda launch: any(map(lacking, launch.names))
        for seed in seeds:
            if not any(map(lacking, names)) or len(self.ledger.failures) >= MOST_FAILURES:
                break
            self.prove_drawn(seed)
        self._wanted = outer
        return [name for name in names if lacking(name)]

    def candidates(self, problem: Problem, seed: int) -> list[Candidate]:
        """Return every launch that this prover may run the problem with on the operands of a seed, kernel by kernel."""
        if 0 in problem.y_shape:
            raise ProblemError(sentence("verify", f"{problem} has an output without elements", "something to compare", "take another case"))
        if self.engine == "arrays":
            return [Candidate("arrays", None, True)]
        takers = self._takers(problem)
        strides = default_strides(problem)
        if shift_of(seed):
            aligned = alignment_of(RED, numpy_dtype(problem.dtype).itemsize)
            strides = dataclasses.replace(strides, alignment=aligned, weight_alignment=aligned)
        found = []
        for kernel in takers:
            chosen = kernel.launch(problem, strides, self.device)
            found += [Candidate(kernel.name, launch, launch == chosen) for launch in kernel.variants(problem, strides) if self._takes(launch)]
        if self._instance is None:
            return found
        exactly = [candidate for candidate in found if candidate.instance == self._instance]
        return exactly or [candidate for candidate in found if candidate.launch and self._instance in candidate.launch.names]

    def _takers(self, problem: Problem) -> list[Kernel]:
        """Return the kernels to prove on a problem: all that take it, whichever a call would choose."""
        found = [kernel for kernel in for_operation(operation_of(problem)) if self._kernel in (None, kernel.name)]
        found = [kernel for kernel in found if kernel.declines(problem, self.device) is None]
        # a pooled convolution that no one kernel takes runs as its two, of which each is proved alone
        return found or [choose.choose(problem, self.device, self._kernel)]

    def _is_asked(self) -> bool:
        return not (self._index is None and self._instance is None and self._wanted is None)

    def _takes(self, launch: Launch) -> bool:
        return (self._index is None or f", {self._index}" in launch.name) and (self._wanted is None or self._wanted(launch))

    def _run(self, trial: Trial, launch: Launch | None, inputs: testing.Inputs, expected: Any, bound: Any) -> None:
        """Run one trial, compare, and count it."""
        try:
            outputs = self._outputs(trial, launch, inputs)
            ratio = compare(trial.problem, outputs, expected, bound)
        except (AssertionError, RuntimeError) as failure:
            self.ledger.failures.append(failure_record(trial, failure))
            if isinstance(failure, CudaError):  # the device's context is lost with it
                raise
            return
        ledger = self.ledger
        (ledger.exact_runs if trial.data == "whole" else ledger.bounded_runs)[trial.kernel] += 1
        followed = canonical_schedule(trial.schedule) if trial.schedule else None
        ledger.count(launch.names if launch else ("arrays",), trial.data == "whole", followed)
        ledger.dtypes[trial.problem.dtype] += 1
        if trial.schedule is not None:
            ledger.orders[f"{trial.schedule[0]}, {trial.schedule[2]}"] += 1
        # a bound of whole numbers is met or not; only how near floats come to theirs says something
        if ratio > ledger.worst_ratio and trial.problem.out_dtype in FLOAT_DTYPES:
            ledger.worst_ratio, ledger.worst_case = ratio, trial.command()

    def _outputs(self, trial: Trial, launch: Launch | None, inputs: testing.Inputs) -> dict[str, np.ndarray]:
        """Run a kernel between red zones and return its outputs by name."""
        problem, shift = trial.problem, shift_of(trial.seed)
        given = {**inputs, **(_taps(problem) if "tap_weight" not in inputs else {})}
        operands = {name: Guarded(self.memory, array.shape, array.dtype.name, array, shift) for name, array in given.items()}
        written = {"y": problem.out_dtype}
        if isinstance(problem, Pool2dProblem) and problem.return_indices:
            written["index"] = problem.index_dtype
        operands |= {name: Guarded(self.memory, problem.y_shape, dtype, None, shift) for name, dtype in written.items()}
        if launch is None:
            views = {name: operand.view() for name, operand in operands.items()}
            x, between = views["x"], views["y"]
            conv, pool = (problem.conv, problem.pool) if isinstance(problem, ConvPool2dProblem) else (problem, problem)
            if isinstance(conv, Conv2dProblem):
                if conv is not problem:
                    operands["between"] = Guarded(self.memory, conv.y_shape, conv.out_dtype, None, shift)
                    between = operands["between"].view()
                arrays.conv2d(conv, x, views["weight"], views.get("scale"), views.get("bias"), views.get("residual"), between)
                x = between
            if isinstance(pool, Pool2dProblem):
                arrays.pool2d(pool, x, views.get("tap_weight"), views["y"], views.get("index"))
        else:
            # NaN in whatever type a kernel reads it as, where nothing has been written to it
            operands |= {name: Guarded(self.memory, (size,), "uint8", poison=FLOAT_POISON) for name, size in scratch_of(launch).items()}
            prepared, slots = Bound(launch, ENGINES[self.engine].prepare).whole
            pointers = tuple(operands[slot].pointer if slot in operands else 0 for slot in slots)
            if trial.schedule is None:
                prepared.run(pointers, self.memory.stream())
            else:
                prepared.run(pointers, 0, trial.schedule)
        found = {}
        for name, operand in operands.items():
            found[name], stray = operand.fetch()
            if stray is not None:
                raise AssertionError(f"{problem}: {name}: {stray}")
        return {name: found[name] for name in written}


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


def compare(problem: Problem, outputs: dict[str, np.ndarray], expected: Any, bound: Any) -> float:
    """Raise AssertionError unless the outputs are right; return the worst error in units of the bound."""
    if isinstance(expected, tuple):
        expected, indices = expected
        wrong = np.argwhere(outputs["index"] != indices)
        if wrong.size:
            at = tuple(int(i) for i in wrong[0])
            axes = ", ".join(f"{axis}={i}" for axis, i in zip({"NHWC": "npqk", "NCHW": "nkpq"}[problem.layout], at, strict=True))
            raise AssertionError(
                f"{problem}: {len(wrong)} of {indices.size} indices differ; first index[{axes}] is {outputs['index'][at]}, expected {indices[at]}"
            )
    return testing.assert_matches(outputs["y"], expected, problem, bound)


def failure_record(trial: Trial, failure: Exception) -> dict[str, Any]:
    """Return what a ledger keeps of a failure."""
    facts = {"case": str(trial.problem), "seed": trial.seed, "kernel": trial.kernel, "instance": trial.instance}
    facts |= {"data": trial.data, "schedule": schedule_text(trial.schedule) if trial.schedule else None}
    # what assert_matches says of a rerun is said better by the command
    return {**facts, "what": str(failure).partition("; rerun the case")[0], "rerun": trial.command()}


def _taps(problem: Problem) -> dict[str, np.ndarray]:
    """Return the tap weights that a kernel takes for a weighting given by a formula."""
    if not isinstance(problem, Pool2dProblem) or problem.kind != "weighted":
        return {}
    table = tap_weights(problem.weighting, (problem.r, problem.s), problem.dilation, problem.sigma)
    return {"tap_weight": np.array(table, np.float64 if problem.dtype == "float64" else np.float32)}


def engine_named(engine: str | None) -> str:
    """Return the engine of that name, or the first that can run here.

    Raises
    ------
    ProblemError
        If no engine has that name.
    EngineUnavailable
        If it cannot run here.
    """
    wanted = config.forced_engine() if engine is None else engine
    if wanted is None:
        return next(name for name, module in ENGINES.items() if module.available() is None and _has_memory(name))
    if wanted not in ENGINES:
        raise ProblemError(sentence("verify", f"engine is {shown(wanted)}", f"one of {', '.join(map(repr, ENGINES))}", "drop --engine to have one chosen"))
    if (reason := ENGINES[wanted].available()) is not None:
        raise EngineUnavailable(sentence("verify", f"engine {wanted!r} cannot run here: {reason}", "an engine that can", "drop --engine, or see `atrous info`"))
    return wanted


def _has_memory(engine: str) -> bool:
    try:
        memory_for(engine)
    except EngineUnavailable:
        return False
    return True


def _device(engine: str) -> Device:
    if engine in ("simulated", "arrays"):
        return choose.device_named("simulated")
    if engine == "compiled":
        return choose.device_named(compiled.architecture(0))
    import cupy

    return choose.device_named("sm_" + cupy.cuda.Device().compute_capability)


def verify(prover: Prover, seed: int = 0, seconds: float | None = None, problems: int | None = None, report: Callable[[float], None] | None = None) -> float:
    """Draw problems from a seed on until the time is over or so many are done; return the seconds it took.

    Parameters
    ----------
    prover : Prover
    seed : int
        Of the first problem; the next takes the next.
    seconds, problems
        Where to stop, whichever comes first; one of the two is needed.
    report : callable, optional
        report(part done, from 0 to 1), after every problem.
    """
    begin = time.perf_counter()
    done = 0.0
    while done < 1 and len(prover.ledger.failures) < MOST_FAILURES:
        try:
            prover.prove_drawn(seed)
        except CudaError:
            break
        seed += 1
        done = max((time.perf_counter() - begin) / seconds if seconds is not None else 0.0, prover.ledger.problems / problems if problems else 0.0)
        if report is not None:
            report(min(1.0, done))
    return time.perf_counter() - begin


def every_instance() -> list[str]:
    """Return the name of every instance that a kernel description can ask for."""
    return list(dict.fromkeys(name for kernel in ORDER for name in kernel.instances()))
