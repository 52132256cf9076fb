"""Proves a build where it runs: random problems through every kernel, between red zones, exact or within the a priori bound."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from . import choose, config, testing
from .arguments import FLOAT_DTYPES
from .engines import arrays, compiled, runtime, simulated
from .errors import CudaError, EngineUnavailable, ProblemError, UnsupportedProblem, sentence, shown
from .interop import numpy_dtype
from .kernels import HELPERS, ORDER, for_operation, operation_of
from .kernels.base import Device, Kernel, alignment_of, default_strides
from .kernels.in_two import THEN
from .launch import Launch
from .ledger import Ledger
from .problem import PAIRS, Pool2dProblem
from .redzones import FLOAT_POISON, RED, Guarded, memory_for
from .sampling import any_problem
from .sequence import Bound, scratch_of
from .trials import Candidate, Problem, Schedule, Trial, canonical_schedule, draw, failure_record, schedule_number, shift_of
from .weighting import tap_weights

ENGINES: dict[str, Any] = {"compiled": compiled, "runtime": runtime, "simulated": simulated, "arrays": arrays}
INDICES = ("int32", "int64")
KINDS_OF_DATA = ("whole", "random")
#: every so manieth problem with one right answer is run on random numbers too; the others always are
RANDOM_EVERY = 4
#: after so many failures a kernel is run no more: it is wrong, and more would say no more
MOST_FAILURES = 3


class DeviceLost(CudaError):
    """The device answers no more, and will not in this process: a kernel broke it."""


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
        self._failed: Counter[str] = Counter()  # failures by kernel
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
        variants; else those that the seed draws. A kernel that has failed MOST_FAILURES times is not run; the ledger
        counts what is left out.

        Raises
        ------
        DeviceLost
            If the device answers no more; the ledger says where it was lost.
        """
        exact = testing.is_exact(problem)
        found = self.candidates(problem, seed)
        if not found:
            return
        drawn = (found, found) if schedules or random_too or self._is_asked() else draw(found, seed)
        self.ledger.problems += 1
        if exact and self._data != "random":
            self.ledger.exact_problems += not all(self._is_out(candidate.kernel) for candidate in drawn[0])
            self._run_all(problem, seed, "whole", drawn[0], schedules)
        if self._data == "random" or (self._data is None and (random_too or not exact or seed % RANDOM_EVERY == 0)):
            self._run_all(problem, seed, "random", drawn[1], schedules)

    def prove_drawn(self, seed: int) -> None:
        """Prove the random problem of a seed, unless the one kernel that was asked for does not take it."""
        problem = any_problem(seed)
        if self._kernel is None or self._kernel in [kernel.name for kernel in for_operation(operation_of(problem))]:
            with contextlib.suppress(UnsupportedProblem):
                self.prove(problem, seed)

    def _run_all(self, problem: Problem, seed: int, data: str, found: list[Candidate], schedules: Sequence[Schedule]) -> None:
        number = 7 * seed + 3 * (data == "random")  # 7 is prime, so that consecutive seeds meet every order and landing
        values: tuple[Any, ...] = ()
        for candidate in found:
            for schedule in schedules or [self.schedule or schedule_number(number)]:
                number += 1
                if self._is_out(candidate.kernel):
                    self.ledger.unrun[candidate.kernel] += 1
                    continue
                values = values or drawn_values(problem, seed, data)
                in_order = schedule if self.engine == "simulated" else None
                trial = Trial(self.engine, problem, seed, candidate.kernel, candidate.instance, data, in_order)
                self._run(trial, candidate.launch, *values)

    def _is_out(self, kernel: str) -> bool:
        """Return whether a kernel, or one of the two that it stands for, has failed so often that it is run no more."""
        return any(self._failed[name] >= MOST_FAILURES for name in {kernel, *kernel.split(THEN)})

    @property
    def is_spent(self) -> bool:
        """Whether every kernel that this prover may run has failed so often that it is run no more."""
        names = ["arrays"] if self.engine == "arrays" else [kernel.name for kernel in ORDER if self._kernel in (None, kernel.name)]
        return all(map(self._is_out, names))

    def reach(self, names: list[str], at_least: int, seeds: Iterator[int], schedules: int = 0) -> list[str]:
        """Draw problems and run those that an instance still lacks, until each was run so often; return those not reached.

        An instance lacks runs, too, while its kernel ran under fewer different schedules than asked for. Instances that only
        kernels launch which are run no more are not waited for.
        """
        asked, failures = set(names), 0
        is_short = lambda name: self.ledger.instances[name] < at_least or len(self.ledger.schedules.get(name.partition("<")[0], ())) < schedules  # noqa: E731
        lacking = lambda name: name in asked and is_short(name)  # noqa: E731
        outer, self._wanted = self._wanted, lambda launch: any(map(lacking, launch.names))
        for seed in seeds:
            if failures != len(self.ledger.failures):
                failures, asked = len(self.ledger.failures), set(names) - self._hopeless()
            if not any(map(lacking, names)):
                break
            self.prove_drawn(seed)
        self._wanted = outer
        return [name for name in names if is_short(name)]

    def _hopeless(self) -> set[str]:
        """Return the instances that only kernels launch which are run no more, or may be."""
        out, left = ({name for kernel in ORDER if self._is_out(kernel.name) is is_out for name in kernel.instances()} for is_out in (True, False))
        return out - left | {name for helper in HELPERS for name in helper.instances() if out}

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
        # a pair that no one kernel takes runs as its two, of which each is proved alone
        return found or [choose.choose(problem, self.device, self._kernel)]

    def _is_asked(self) -> bool:
        return not (self._index is None and self._instance is None and self._wanted is None)

    def _takes(self, launch: Launch) -> bool:
        fits = self.engine == "simulated" or launch.shared_bytes <= self.device.shared_per_block  # of a variant for other devices
        return fits and (self._index is None or f", {self._index}" in launch.name) and (self._wanted is None or self._wanted(launch))

    def _run(self, trial: Trial, launch: Launch | None, inputs: testing.Inputs, expected: Any, bound: Any) -> None:
        """Run one trial, compare, and count it."""
        try:
            outputs = self._outputs(trial, launch, inputs)
            ratio = compare(trial.problem, outputs, expected, bound)
        except (AssertionError, RuntimeError, MemoryError) as failure:
            self._failed[trial.kernel] += 1
            record = failure_record(trial, failure)
            self.ledger.failures.append(record)
            if (silence := self.memory.lost()) is not None:
                self.ledger.lost = {**record, "device": silence}
                at = f"the device was lost at {trial.kernel} on {trial.problem}: {silence}"
                raise DeviceLost(sentence("verify", at, "a device that answers", "start a new process")) from failure
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
            if isinstance(problem, PAIRS):
                first = problem.parts[0]
                operands["between"] = Guarded(self.memory, first.y_shape, first.out_dtype, None, shift)
            arrays.run(problem, {name: operand.view() for name, operand in operands.items()})
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


def drawn_values(problem: Problem, seed: int, data: str) -> tuple[testing.Inputs, Any, Any]:
    """Return the operands of a seed, the outputs they must give, and the bound on random numbers."""
    if data == "whole":
        inputs = testing.exact_inputs(problem, seed, negative=seed % 3 == 0)
        return inputs, testing.expected_output(problem, inputs), None
    inputs = testing.random_inputs(problem, seed)
    return inputs, testing.expected_output(problem, inputs), testing.tolerance(problem, inputs)


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
    """Draw problems from a seed on until the time is over, so many are done, no kernel is left or the device is lost.

    The seconds it took are returned.

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
    while done < 1 and not prover.is_spent:
        try:
            prover.prove_drawn(seed)
        except DeviceLost:  # the ledger says where
            break
        seed += 1
        done = max((time.perf_counter() - begin) / seconds if seconds is not None else 0.0, prover.ledger.problems / problems if problems else 0.0)
        if report is not None:
            report(min(1.0, done))
    return time.perf_counter() - begin


def every_instance() -> list[str]:
    """Return the name of every instance that a kernel description can ask for, those that its launches bring along too."""
    return list(dict.fromkeys(name for kernel in (*ORDER, *HELPERS) for name in kernel.instances()))
