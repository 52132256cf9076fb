"""A contest: results are checked against the float64 reference, and then timed in interleaved rounds, every contestant a turn a round.

Metrics: "wall" is the host's clock from a call to its result, synchronised. On a GPU "kernel" is a call's share of the replays
of a CUDA graph that runs over buffers of more than ROTATED_BYTES in all, so that no input is in L2 (cold); "issue" is the
host's time to enqueue a call.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import AtrousError, ProblemError, sentence
from ..reference.store import numpy_dtype
from ..testing import Inputs, random_inputs
from . import context
from .check import WrongResult, worst_error

METRICS = {"cpu": ("wall",), "cuda": ("kernel", "wall", "issue")}
ROUNDS = 5
ROTATED_BYTES = 120 * 10**6  # twice the 60 MB of an H200's L2
MOST_SETS = 1024
GRAPH_CALLS = 20  # at least so many in a graph, so that the gap between two replays, about 2 us, is a small part of it
LONG_CALL_SECONDS = 1e-3  # beside which that gap is nothing
LONG_GRAPH_SECONDS = 0.05  # of a graph of such calls, about and at most, two of them aside
ISSUED = 32  # calls enqueued at once, far below the depth of a stream's queue
WARM_UPS = 2
DRAWN_ELEMENTS = 2**23  # of x, at most; further images repeat the first
#: OpenBLAS and OpenMP threads spin for tens of milliseconds after a call, on the core the next contestant needs
PAUSE_SECONDS = {"cpu": 0.1, "cuda": 0.0}
TURN_SECONDS = {"cpu": 0.05, "cuda": 0.005}
ATTEMPTS = 5
PATIENCE_SECONDS = 3.0  # a problem's share of turns made again because another process took a core


def _nothing() -> None:
    """Wait for nothing: a CPU's calls return when they are done."""


@dataclass
class Contestant:
    """One way to compute a problem, on its own buffers.

    Parameters
    ----------
    name : str
        As tables show it: "torch channels_last".
    call : callable
        call() does one run; on a GPU it may return before the run has ended.
    output : callable
        output() -> NumPy array in the problem's layout and output dtype: the result of the last call.
    kernel : str
        Name of what runs, where that is known.
    rotate : sequence of callables
        GPU: one run on each of `sets_of(problem, inputs)` sets of buffers, inputs and weights and outputs; none where it has no kernel time.
    capture : callable, optional
        GPU: capture(calls) -> (replay, output): a CUDA graph of these calls, the last of which is rotate's, and a function that gives
        its result. Where outputs were written before, capture overwrites them, so that a graph of nothing is seen to be one.
    uncaptured : str
        GPU: the sentence why it has no kernel time, where that needs saying.
    wait : callable
        Returns when everything issued has ended.
    unfused : bool
        It rounds after each operation of the epilogue, where the problem rounds once.
    precision : str
        What it multiplies in where that is less than the problem asks for: "tf32".
    """

    name: str
    call: Callable[[], Any]
    output: Callable[[], Any]
    kernel: str = ""
    rotate: Sequence[Callable[[], Any]] = ()
    capture: Callable[[Sequence[Callable[[], Any]]], tuple[Callable[[], Any], Callable[[], Any]]] | None = None
    uncaptured: str = ""
    wait: Callable[[], Any] = _nothing
    unfused: bool = False
    precision: str = ""


class Unsupported(AtrousError):
    """What a rival raises for a problem that it has no operation for: a sentence."""


class ContextLost(AtrousError):
    """What ends a contest early: no CUDA call of this process can succeed any more."""


@dataclass
class Options:
    """How a contest is held."""

    device: str = "cpu"
    rounds: int = ROUNDS
    metrics: tuple[str, ...] = ()
    turn_seconds: float | None = None
    pause_seconds: float | None = None
    seed: int = 0
    report: Callable[[str], None] = field(default=lambda words: None, repr=False)

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ProblemError(sentence("bench", f"rounds is {self.rounds}", "at least 1 (5 for a figure to quote)", "pass more rounds"))
        self.metrics = self.metrics or METRICS[self.device]
        self.turn_seconds = TURN_SECONDS[self.device] if self.turn_seconds is None else self.turn_seconds
        self.pause_seconds = PAUSE_SECONDS[self.device] if self.pause_seconds is None else self.pause_seconds

    def settings(self) -> dict[str, Any]:
        """Return what a results file says of it."""
        found = dict(device=self.device, rounds=self.rounds, metrics=list(self.metrics), turn_seconds=self.turn_seconds)
        return found | dict(pause_seconds=self.pause_seconds, rotated_bytes=ROTATED_BYTES, data="normal", seed=self.seed)


@dataclass
class Outcome:
    """What a contest on a device found: rows of times, and who took no part and why; `lost` where a contestant took the GPU from this process."""

    device: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    lost: str = ""

    def skip(self, contestant: str, reason: str) -> None:
        """Say why a contestant is not in the rows."""
        self.skipped.append({"contestant": contestant, "reason": reason})

    @contextlib.contextmanager
    def noting(self, name: str) -> Iterator[None]:
        """Note a contestant that has no operation for the problem, is wrong or fails, and go on without it; raise ContextLost where nothing can go on."""
        try:
            yield
        except Unsupported as refusal:
            self.skip(name, str(refusal))
        except WrongResult as wrong:
            self.skip(name, f"wrong result: {wrong}")
        except Exception as failure:  # any library's own
            said = context.in_a_line(failure)
            self.lost = (context.lost() if self.device == "cuda" else None) or ""
            self.skip(name, f"failed: {said}" + ("; after it no CUDA call of the process succeeds" if self.lost else ""))
            if self.lost:
                raise ContextLost(f"{name}: {self.lost}") from failure


def inputs_of(problem: Any, seed: int = 0) -> Inputs:
    """Return random operands; beyond DRAWN_ELEMENTS of x, images repeat, for drawing more would outlast the measurement."""
    from dataclasses import replace

    conv = getattr(problem, "conv", problem)
    drawn = max(1, min(conv.n, DRAWN_ELEMENTS * conv.n // max(1, math.prod(conv.x_shape))))
    inputs = random_inputs(replace(conv, n=drawn), seed)
    for name in ("x", "residual"):
        if name in inputs and drawn < conv.n:
            inputs[name] = np.resize(inputs[name], (conv.n, *inputs[name].shape[1:]))
    return inputs


def bytes_of(problem: Any, inputs: Inputs) -> int:
    """Return the bytes of one set of buffers."""
    return sum(array.nbytes for array in inputs.values()) + math.prod(problem.y_shape) * numpy_dtype(problem.out_dtype).itemsize


def sets_of(problem: Any, inputs: Inputs) -> int:
    """Return how many sets of buffers a GPU contestant rotates through: more than ROTATED_BYTES in all, MOST_SETS at most."""
    return min(MOST_SETS, ROTATED_BYTES // max(1, bytes_of(problem, inputs)) + 1)


def run(problem: Any, inputs: Inputs, contestants: Sequence[Contestant], options: Options) -> Outcome:
    """Check every contestant's result, then time those that were right, in interleaved rounds; stop where the GPU is lost to this process."""
    outcome, errors = Outcome(options.device), {}
    with contextlib.suppress(ContextLost):  # the outcome says so
        for contestant in contestants:
            options.report(f"checking {contestant.name}")
            with outcome.noting(contestant.name):
                contestant.call()
                contestant.wait()
                errors[contestant.name] = _check(problem, inputs, contestant, contestant.output(), options.seed)
        taking = [contestant for contestant in contestants if contestant.name in errors]
        for metric in options.metrics:
            turns = dict(_turns(metric, problem, inputs, taking, options, outcome))
            seconds = _rounds(metric, turns, options, outcome)
            for contestant in taking:
                if contestant.name in seconds:
                    error, checked = errors[contestant.name]
                    row = dict(contestant=contestant.name, kernel=contestant.kernel, metric=metric, seconds=seconds[contestant.name])
                    outcome.rows.append(row | dict(cold=turns[contestant.name].cold, error=error, checked=checked))
    return outcome


def _rounds(metric: str, turns: dict[str, Turn], options: Options, outcome: Outcome) -> dict[str, list[float]]:
    """Return the times of those who came through every round; each is the first of some."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    deadline = time.monotonic() + PATIENCE_SECONDS
    for number in range(options.rounds):
        options.report(f"{metric}, round {number + 1} of {options.rounds}")
        names = list(seconds)
        for name in names[number % len(names) :] + names[: number % len(names)] if names else []:
            time.sleep(options.pause_seconds or 0.0)
            with outcome.noting(f"{name}, {metric}"):
                seconds[name].append(undisturbed(turns[name].take, deadline))
            if len(seconds[name]) == number:  # its turn failed
                del seconds[name]
    return seconds


def _check(problem: Any, inputs: Inputs, contestant: Contestant, actual: Any, seed: int) -> tuple[float, int]:
    return worst_error(problem, inputs, actual, seed=seed, unfused=contestant.unfused, precision=contestant.precision)


@dataclass(frozen=True)
class Turn:
    """What takes a contestant's turn and returns seconds a call, and whether its inputs come from memory."""

    take: Callable[[], float]
    cold: bool = False


def _turns(metric: str, problem: Any, inputs: Inputs, taking: Sequence[Contestant], options: Options, outcome: Outcome) -> Iterator[tuple[str, Turn]]:
    """Yield the name and the turn of each contestant that has this metric."""
    budget = options.turn_seconds or 0.0
    for contestant in taking:
        if metric == "wall":
            yield contestant.name, Turn(wall_turn(contestant, budget))
        elif metric == "issue":
            yield contestant.name, Turn(issue_turn(contestant))
        elif contestant.capture is not None:
            options.report(f"capturing {contestant.name}")
            with outcome.noting(f"{contestant.name}, {metric}"):
                yield contestant.name, kernel_turn(problem, inputs, contestant, options)
        elif contestant.uncaptured:
            outcome.skip(f"{contestant.name}, {metric}", contestant.uncaptured)


def wall_turn(contestant: Contestant, budget: float) -> Callable[[], float]:
    """Return a turn: the median of as many synchronised calls as fill the budget, after a warm-up."""

    def once() -> float:
        start = time.perf_counter()
        contestant.call()
        contestant.wait()
        return time.perf_counter() - start

    def turn() -> float:
        first = once()
        if first < 1.0:
            first = min(once() for _ in range(WARM_UPS))
        return statistics.median(once() for _ in range(repeats(first, budget)))

    return turn


def repeats(seconds: float, budget: float) -> int:
    """Return how many calls of so many seconds make a turn: what fills the budget, 3 at least unless they take a second each."""
    return min(200, max(3 if seconds < 1.0 else 1, int(budget / max(seconds, 1e-7))))


def issue_turn(contestant: Contestant) -> Callable[[], float]:
    """Return a turn: the mean time to enqueue a call, with an empty queue before it."""

    def turn() -> float:
        contestant.call()
        contestant.wait()
        start = time.perf_counter()
        for _ in range(ISSUED):
            contestant.call()
        taken = time.perf_counter() - start
        contestant.wait()
        return taken / ISSUED

    return turn


def kernel_turn(problem: Any, inputs: Inputs, contestant: Contestant, options: Options) -> Turn:
    """Return a turn: a call's share of the replays of a graph, once the graph's own result was checked."""
    assert contestant.capture is not None
    calls = graph_calls(contestant)
    replay, output = contestant.capture(calls)
    replay()
    contestant.wait()
    _check(problem, inputs, contestant, output(), options.seed)

    def timed(count: int) -> float:
        contestant.wait()
        start = time.perf_counter()
        for _ in range(count):
            replay()
        contestant.wait()
        return (time.perf_counter() - start) / count

    def turn() -> float:
        budget, once = options.turn_seconds or 0.0, timed(1)
        long = once > max(2 * budget, LONG_GRAPH_SECONDS / 2)  # beside which what comes before the first kernel is nothing
        return (once if long else timed(max(2, math.ceil(budget / max(once, 1e-7))))) / len(calls)

    return Turn(turn, min(len(calls), len(contestant.rotate)) * bytes_of(problem, inputs) > ROTATED_BYTES)


def graph_calls(contestant: Contestant) -> list[Callable[[], Any]]:
    """Return the calls of a graph: all of rotate, GRAPH_CALLS at least; of long calls the last of rotate, as many as LONG_GRAPH_SECONDS hold."""
    calls = list(contestant.rotate) * math.ceil(GRAPH_CALLS / max(1, len(contestant.rotate)))
    contestant.call()
    contestant.wait()
    start = time.perf_counter()
    contestant.call()
    contestant.wait()
    taken = time.perf_counter() - start
    return calls if taken < LONG_CALL_SECONDS else calls[-max(2, int(LONG_GRAPH_SECONDS / taken)) :]


def undisturbed(turn: Callable[[], float], deadline: float) -> float:
    """Return a turn's seconds; one during which another process took a core is made again, a few times at most and not past the deadline.

    The one with the fewest such interruptions counts, whoever's turn it is.
    """
    best = (math.inf, math.inf)
    for _ in range(ATTEMPTS):
        before = interruptions()
        seconds = turn()
        count = interruptions() - before
        if count < best[0]:
            best = (count, seconds)
        if not count or time.monotonic() > deadline:
            break
    return best[1]


def interruptions() -> int:
    """Return how often this process had to give up a core so far."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
