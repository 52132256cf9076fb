"""The demo's network at work: planned for batches of the chosen images at one place, run, looked into and timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nets import lenet
from ..nets.graph import PlannedNetwork
from .place import Place

CALLS_A_SAMPLE = 20  # on a GPU: enough to hide one synchronisation (about 10 us) behind the launches it waits for
Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated runs: the median, the 20 % and 80 % quantiles, and how many there were."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """Return the summary of these runs."""
        low, median, high = np.quantile(seconds, (0.2, 0.5, 0.8))
        return cls(float(median), float(low), float(high), len(seconds))


@dataclass(frozen=True)
class LayerRow:
    """One line of the table."""

    name: str
    case: str
    kernel: str
    engine: str
    flops: int
    timing: Timing

    @property
    def gflops(self) -> float:
        """Billions of operations a second, at the median."""
        return self.flops / self.timing.median * 1e-9


class Session:
    """The network planned for batches of the chosen images, at a place."""

    def __init__(self, place: Place, engine: str | None, digits: lenet.Digits, batch: int) -> None:
        self.place = place
        self.digits = digits
        self.network = lenet.trained()
        self.engine = engine
        pixels = digits.pixels()
        self.batches = [place.carry(pixels[start : start + batch]) for start in range(0, len(pixels), batch)]
        first = self.plan(tuple(self.batches[0].shape))
        last_shape = tuple(self.batches[-1].shape)
        last = first if last_shape == self.batches[0].shape else self.plan(last_shape)
        self.planned = [first] * (len(self.batches) - 1) + [last]

    def plan(self, shape: tuple[int, ...]) -> PlannedNetwork:
        """Return the network planned for inputs of this shape."""
        return self.network.plan(shape, engine=self.engine, convert=self.place.carry)

    def warm_up(self) -> set[str]:
        """Run the first batch and return the engines that ran it; kernels that are compiled when first used now are."""
        self.planned[0](self.batches[0])
        self.place.wait()
        return {plan.engine for _, plan in self.planned[0].steps}

    def outputs(self) -> Iterator[Any]:
        """Yield the logits of each batch, (N, 1, 1, 10), as they are issued."""
        for planned, x in zip(self.planned, self.batches, strict=True):
            yield planned(x)

    def probabilities(self, report: Report) -> NDArray[np.float64]:
        """Return the softmax of the logits of every image, (N, 10)."""
        logits = []
        for done, y in enumerate(self.outputs()):
            logits.append(self.place.fetch(y).reshape(-1, lenet.CLASSES))
            report("reading digits", (done + 1) / len(self.batches))
        return softmax(np.concatenate(logits))

    def look(self, indices: list[int]) -> dict[str, NDArray[np.float32]]:
        """Return every layer's output for the images of these indices, (N, P, Q, K) by layer name."""
        x = self.place.carry(self.digits.pixels()[indices])
        planned = self.plan(tuple(x.shape))
        return {name: self.place.fetch(y) for (name, _), y in zip(planned.steps, planned.trace(x), strict=True)}

    def time_passes(self, seconds: float, report: Report) -> Timing:
        """Return the time of one pass over all images, already on the device; at least one pass."""

        def once() -> None:
            for _ in self.outputs():
                pass

        return repeat(once, 1, self.place.wait, seconds, lambda done: report("timing passes", done))

    def time_layers(self, seconds: float, report: Report) -> list[LayerRow]:
        """Return a row a layer, each timed alone on the first batch."""
        rows, x = [], self.batches[0]
        calls = CALLS_A_SAMPLE if self.place.gpu else 1
        steps = self.planned[0].steps
        for index, (name, plan) in enumerate(steps):
            y = plan(x)

            def once(plan: Any = plan, x: Any = x, y: Any = y) -> None:
                plan(x, out=y)

            timing = repeat(once, calls, self.place.wait, seconds / len(steps), lambda done: None)
            rows.append(LayerRow(name, str(plan.problem), plan.kernel, plan.engine, plan.problem.flops, timing))
            report("timing layers", (index + 1) / len(steps))
            x = y
        return rows


def repeat(once: Callable[[], None], calls: int, wait: Callable[[], None], seconds: float, report: Callable[[float], None]) -> Timing:
    """Return the time of `once`, sampled until `seconds` are over, `calls` of it between two waits for the device."""
    samples: list[float] = []
    wait()
    begin = time.perf_counter()
    while not samples or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        for _ in range(calls):
            once()
        wait()
        samples.append((time.perf_counter() - start) / calls)
        report(min(1.0, (time.perf_counter() - begin) / seconds) if seconds else 1.0)
    return Timing.of(samples)


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return the probabilities of logits (N, classes)."""
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))
