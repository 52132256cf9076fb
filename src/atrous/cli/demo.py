"""Reads handwritten digits with a trained LeNet-style network, layer by layer, and draws what it sees."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ProblemError, sentence
from ..nets import lenet
from ..routes import ENGINES
from . import picture
from .place import find_place
from .screen import Screen
from .session import LayerRow, Session, Timing

DRAWN = ("conv1", "conv2", "pool1", "conv3")


@dataclass(frozen=True)
class Results:
    """What one run of the demo found."""

    where: str
    why: str
    digits: lenet.Digits
    probabilities: NDArray[np.float64]  # [N, 10]
    batch: int
    timing: Timing
    rows: list[LayerRow]

    @property
    def total(self) -> int:
        """How many images were read."""
        return len(self.digits.labels)

    @property
    def wrong(self) -> list[int]:
        """Indices of the images read wrongly."""
        return [int(index) for index in np.flatnonzero(self.probabilities.argmax(1) != self.digits.labels)]

    @property
    def right(self) -> int:
        """How many images were read correctly."""
        return self.total - len(self.wrong)

    @property
    def images_per_second(self) -> float:
        """Images a second, at the median pass."""
        return self.total / self.timing.median

    def specimen(self, index: int, seen: tuple[picture.FeatureMaps, ...] = ()) -> picture.Specimen:
        """Return what the picture needs of one image."""
        digits = self.digits
        return picture.Specimen(digits.sample(index), digits.images[index], int(digits.labels[index]), self.probabilities[index], seen)

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as one dict."""
        return {
            "where": self.where, "why": self.why, "images": self.total, "right": self.right, "accuracy": self.right / self.total,
            "wrong_samples": [self.digits.sample(index) for index in self.wrong], "batch": self.batch,
            "images_per_second": self.images_per_second, "pass_seconds": asdict(self.timing),
            "layers": [{**asdict(row), "gflops": row.gflops} for row in self.rows],
        }  # fmt: skip


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
    parser.add_argument("--images", type=_positive, help="how many of the 599 held-out images to read (default: all)")
    parser.add_argument("--batch", type=_positive, default=128, help="images a batch (default 128)")
    parser.add_argument("--seconds", type=_seconds, default=1.0, help="time to spend on measuring passes, and again on layers (default 1; 0: one run of each)")
    parser.add_argument("--out", type=Path, default=Path("atrous-demo.png"), metavar="PNG", help="picture to write (default atrous-demo.png)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo: read, time, print, draw."""
    out: Path = arguments.out
    if not out.absolute().parent.is_dir():
        raise ProblemError(sentence("demo", f"--out is {str(out)!r}", "a file in a directory that exists", "create it or name another file"))
    screen = Screen(quiet=arguments.json)
    place = find_place(arguments.engine)
    digits = _chosen(arguments.images)
    session = Session(place, arguments.engine, digits, min(arguments.batch, len(digits.labels)))
    where = place.where(session.warm_up())
    screen.line(f"{where}: {place.reason}", "bold")
    with screen.progress() as report:
        probabilities = session.probabilities(report)
        timing = session.time_passes(arguments.seconds, report)
        rows = session.time_layers(arguments.seconds, report)
    results = Results(where, place.reason, digits, probabilities, session.batches[0].shape[0], timing, rows)
    _print_layers(screen, results.rows)
    _print_results(screen, results)
    refusal = picture.missing()
    if refusal is None:
        _draw(out, session, results)
    screen.line(f"Wrote {out}" if refusal is None else f"No PNG is written: {refusal}")
    if arguments.json:
        print(json.dumps({**results.as_json(), "png": None if refusal else str(out), "no_png": refusal}))
    return 0


def _chosen(images: int | None) -> lenet.Digits:
    digits = lenet.held_out()
    count = images or len(digits.labels)
    if count > len(digits.labels):
        raise ProblemError(sentence("demo", f"--images is {count}", f"at most {len(digits.labels)}, all there are", "ask for fewer"))
    return lenet.Digits(digits.images[:count], digits.labels[:count], digits.first, digits.step)


def _draw(path: Path, session: Session, results: Results) -> None:
    labels = results.digits.labels
    first_of_each = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)]
    outputs = session.look(first_of_each)
    specimens = []
    for column, index in enumerate(first_of_each):
        seen = tuple(picture.FeatureMaps(name, lenet.NOTES[name], outputs[name][column]) for name in DRAWN)
        specimens.append(results.specimen(index, seen))
    title = f"{results.right} of {results.total} digits it never saw in training read correctly ({100 * results.right / results.total:.2f} %)"
    subtitle = f"A LeNet-style network, every convolution and pooling by atrous.\n{results.where}: {results.images_per_second:,.0f} images per second."
    picture.draw(path, title, subtitle, specimens, [results.specimen(index) for index in results.wrong])


def _print_layers(screen: Screen, rows: list[LayerRow]) -> None:
    table = [("layer", "case", "kernel", "engine")] + [(row.name, row.case, row.kernel, row.engine) for row in rows]
    numbers = [("ms", "GFLOP/s")] + [(_four_digits(row.timing.median * 1e3), _four_digits(row.gflops)) for row in rows]
    widths = [max(len(words[column]) for words in table) for column in range(4)]
    screen.line()
    for line, (words, values) in enumerate(zip(table, numbers, strict=True)):
        left = "  ".join(f"{word:<{width}}" for word, width in zip(words, widths, strict=True))
        screen.line(f"{left}  {values[0]:>9}  {values[1]:>9}", "" if line else "bold")
    screen.line("(each layer alone, median; in pooling an operation is a tap)", "dim")
    screen.line()


def _four_digits(value: float) -> str:
    decimals = max(0, 3 - math.floor(math.log10(value)))
    return f"{value:,.{decimals}f}"


def _print_results(screen: Screen, results: Results) -> None:
    digits, timing, total = results.digits, results.timing, results.total
    accuracy = f"{100 * results.right / total:.2f} %"
    screen.line(f"Accuracy {accuracy}: {results.right} of {total} held-out digits, none of them seen in training", "bold green")
    for index in results.wrong:
        specimen = results.specimen(index)
        confidence = f"{100 * specimen.probabilities.max():.0f} % confidence"
        screen.line(f"  wrong: sample {digits.sample(index)} is a {specimen.label}, read as {specimen.read} with {confidence}", "red")
    spread = f"20-80 %: {total / timing.high:,.0f} to {total / timing.low:,.0f}"
    details = f"median of {timing.n} {'pass' if timing.n == 1 else 'passes'}, {spread}; batches of {results.batch}, images already on the device"
    screen.line(f"Speed {results.images_per_second:,.0f} images per second ({details})", "bold")
