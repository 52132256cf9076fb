"""Reads handwritten digits with a trained LeNet-style network, layer by layer, and draws what it sees."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ProblemError, sentence
from ..nets import lenet
from ..nets.graph import PlannedNetwork
from ..plan import ENGINES
from . import picture
from .place import Place, find_place
from .screen import Screen

CALLS_A_SAMPLE = 20  # on a GPU: enough to hide one synchronisation (about 10 us) behind the launches it waits for
SIMULATED_IMAGES = 8  # the simulator runs every CUDA thread one after the other: some images, not 599
DRAWN = ("conv1", "conv2", "pool1", "conv3")
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

    def outputs(self) -> Iterator[Any]:
        """Yield the logits of each batch, (N, 1, 1, 10), as they are issued."""
        for planned, x in zip(self.planned, self.batches):
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
        return {name: self.place.fetch(y) for (name, _), y in zip(planned.steps, planned.trace(x))}

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

    def engines(self) -> set[str]:
        """Return the engines that ran; a plan of pooling knows its own only after its first call."""
        return {plan.engine for _, plan in self.planned[0].steps}


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


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value


_positive.__name__, _seconds.__name__ = "count (an integer >= 1)", "time (seconds >= 0)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `atrous demo`."""
    parser.add_argument("--engine", choices=ENGINES, help="engine of every layer (default: the best that serves the GPU, else the CPU)")
    parser.add_argument("--images", type=_positive, help=f"how many of the 599 held-out images to read (default: all; {SIMULATED_IMAGES} on the simulator)")
    parser.add_argument("--batch", type=_positive, default=128, help="images a batch (default 128)")
    parser.add_argument("--seconds", type=_seconds, default=1.0, help="time to spend on measuring passes, and again on layers (default 1; 0: one run of each)")
    parser.add_argument("--out", type=Path, default=Path("atrous-demo.png"), metavar="PNG", help="picture to write (default atrous-demo.png)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo: read, time, print, draw."""
    if not arguments.out.absolute().parent.is_dir():
        raise ProblemError(sentence("demo", f"--out is {str(arguments.out)!r}", "a file in a directory that exists", "create the directory or name another file"))
    screen = Screen(quiet=arguments.json)
    place = find_place(arguments.engine)
    digits = _chosen(arguments, place.simulated)
    session = Session(place, arguments.engine, digits, min(arguments.batch, len(digits.labels)))
    with screen.progress() as report:
        probabilities = session.probabilities(report)
        where = place.sentence(session.engines())
        screen.line(where, "bold")
        timing = session.time_passes(arguments.seconds, report)
        rows = session.time_layers(arguments.seconds, report)
    right = int(np.sum(probabilities.argmax(1) == digits.labels))
    rate = len(digits.labels) / timing.median
    _print_results(screen, session, rows, timing, probabilities)
    title = f"{right} of {len(digits.labels)} digits it never saw in training read correctly ({100 * right / len(digits.labels):.2f} %)"
    refusal = picture.missing()
    if refusal is None:
        _draw(arguments.out, session, probabilities, title, f"A LeNet-style network, every convolution and pooling by atrous. {where.split(':')[0]}: {rate:,.0f} images per second.")
    screen.line(f"Wrote {arguments.out}" if refusal is None else f"No PNG is written: {refusal}")
    if arguments.json:
        result = {
            "where": where, "images": len(digits.labels), "right": right, "accuracy": right / len(digits.labels), "batch": arguments.batch,
            "images_per_second": rate, "pass_seconds": asdict(timing), "layers": [{**asdict(row), "gflops": row.gflops} for row in rows],
            "png": None if refusal else str(arguments.out), "no_png": refusal,
        }  # fmt: skip
        print(json.dumps(result))
    return 0


def _draw(path: Path, session: Session, probabilities: NDArray[np.float64], title: str, subtitle: str) -> None:
    digits = session.digits
    first_of_each = sorted({int(np.flatnonzero(digits.labels == label)[0]) for label in set(digits.labels.tolist())}, key=lambda i: digits.labels[i])
    wrong = np.flatnonzero(probabilities.argmax(1) != digits.labels)
    outputs = session.look(first_of_each)

    def specimen(index: int, seen: tuple[picture.FeatureMaps, ...] = ()) -> picture.Specimen:
        return picture.Specimen(digits.sample(index), digits.images[index], int(digits.labels[index]), probabilities[index], seen)

    specimens = []
    for column, index in enumerate(first_of_each):
        seen = tuple(picture.FeatureMaps(name, lenet.NOTES[name], maps[column]) for name, maps in outputs.items() if name in DRAWN)
        specimens.append(specimen(index, seen))
    picture.draw(path, title, subtitle, specimens, [specimen(int(index)) for index in wrong])


def _chosen(arguments: argparse.Namespace, simulated: bool) -> lenet.Digits:
    digits = lenet.held_out()
    images = arguments.images or (SIMULATED_IMAGES if simulated else len(digits.labels))
    if images > len(digits.labels):
        raise ProblemError(sentence("demo", f"--images is {images}", f"at most {len(digits.labels)}, all there are", "ask for fewer"))
    return lenet.Digits(digits.images[:images], digits.labels[:images], digits.first, digits.step)


def _print_results(screen: Screen, session: Session, rows: list[LayerRow], timing: Timing, probabilities: NDArray[np.float64]) -> None:
    digits = session.digits
    wide = max(len(row.case) for row in rows)
    kernel, engine = max(len(row.kernel) for row in rows), max(len(row.engine) for row in rows)
    screen.line()
    screen.line(f"{'layer':<7} {'case':<{wide}}  {'kernel':<{kernel}}  {'engine':<{engine}}  {'ms':>8}  {'GFLOP/s':>8}", "bold")
    for row in rows:
        numbers = f"{row.timing.median * 1e3:>8.3f}  {row.gflops:>8.2f}"
        screen.line(f"{row.name:<7} {row.case:<{wide}}  {row.kernel:<{kernel}}  {row.engine:<{engine}}  {numbers}")
    screen.line("(each layer alone, median; in pooling an operation is a tap)", "dim")
    screen.line()
    total = len(digits.labels)
    read = probabilities.argmax(1)
    wrong = np.flatnonzero(read != digits.labels)
    screen.line(f"Accuracy {100 * (total - len(wrong)) / total:.2f} %: {total - len(wrong)} of {total} held-out digits, none of them seen in training", "bold green")
    for index in wrong:
        screen.line(f"  wrong: sample {digits.sample(int(index))} is a {digits.labels[index]}, read as {read[index]} with {100 * probabilities[index].max():.0f} % confidence", "red")
    rate = f"{total / timing.median:,.0f} images per second"
    spread = f"20-80 %: {total / timing.high:,.0f} to {total / timing.low:,.0f}"
    screen.line(f"Speed {rate} (median of {timing.n} passes, {spread}; batches of {session.batches[0].shape[0]}, images already on the device)", "bold")
