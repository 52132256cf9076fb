"""Times one convolution and one pooling against batch, channels and image size, ours and torch's on the CPU, and fits the exponents.

    python benchmarks/scaling.py [--rounds 5] [--save | --out FILE]

One size is changed at a time. The exponent e of time ~ size^e is the slope of a least-squares line through the logarithms of
the medians, all sizes of an axis counted alike; its standard error is that of the slope. Results are checked before they are
timed. A point that FILE already holds for this commit and these settings is not measured again, so that a run that was cut
off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evidence import RESULTS

from atrous.bench import contest, record, rivals
from atrous.problem import Pool2dProblem, parse

CASES = {"conv2d": "n4c64h56w56_k64r3s3_pad1", "max_pool2d": "n4c64h56w56_max_r3s3_pad1_stride2"}
SIZES = {"batch": (1, 2, 4, 8, 16, 32), "channels": (16, 32, 64, 128, 256), "size": (14, 28, 56, 112)}
TAKING_PART = ("atrous_plans", "torch_eager")


class Point(NamedTuple):
    """One problem to time."""

    operation: str
    axis: str
    value: int
    problem: Any


def points(sizes: dict[str, Sequence[int]] | None = None) -> Iterator[Point]:
    """Yield every problem, by operation, axis and size."""
    for operation, case in CASES.items():
        base = parse(case)
        for axis, values in (sizes or SIZES).items():
            for value in values:
                words = {"batch": {"n": value}, "size": {"h": value, "w": value}, "channels": {"c": value, "k": value}}[axis]
                if isinstance(base, Pool2dProblem):
                    words.pop("k", None)
                yield Point(operation, axis, value, dataclasses.replace(base, **words))


def fit(values: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Return the slope of log(seconds) over log(values) by least squares, and its standard error; three points at least."""
    x, y = [math.log(value) for value in values], [math.log(second) for second in seconds]
    slope, start = statistics.linear_regression(x, y)
    left = sum((b - start - slope * a) ** 2 for a, b in zip(x, y))
    middle = statistics.fmean(x)
    return slope, math.sqrt(left / (len(x) - 2) / sum((a - middle) ** 2 for a in x))


def fits(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the exponent of every operation, axis and contestant."""
    groups: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for row in rows:
        groups.setdefault((row["operation"], row["axis"], row["contestant"]), []).append((row["value"], statistics.median(row["seconds"])))
    found = []
    for (operation, axis, contestant), pairs in groups.items():
        if len(pairs) > 2:
            slope, error = fit(*zip(*pairs))
            found.append(dict(operation=operation, axis=axis, contestant=contestant, exponent=slope, standard_error=error, points=len(pairs)))
    return found


def measure(
    document: dict[str, Any],
    plug_ins: Sequence[Any],
    options: contest.Options,
    sizes: dict[str, Sequence[int]] | None = None,
    keep: Callable[[], None] = lambda: None,
) -> None:
    """Add to a document the rows of every point that it lacks, and the fits; `keep` is called after each."""
    there = {(row["operation"], row["axis"], row["value"]) for row in document["rows"]}
    for point in points(sizes):
        if point[:3] in there:
            continue
        inputs = contest.inputs_of(point.problem, options.seed)
        contestants = [one for plug_in in plug_ins for one in plug_in.contestants(point.problem, inputs, "cpu")]
        outcome = contest.run(point.problem, inputs, contestants, options)
        head = dict(operation=point.operation, axis=point.axis, value=point.value, case=str(point.problem))
        document["rows"] += [head | {name: row[name] for name in ("contestant", "seconds", "error")} for row in outcome.rows]
        document["skipped"] += [dict(case=str(point.problem), **words) for words in outcome.skipped]
        document["fits"] = fits(document["rows"])
        options.report(f"{point.operation}, {point.axis} {point.value} done")
        keep()


def opened(path: Path | None, fresh: dict[str, Any]) -> dict[str, Any]:
    """Return what a file holds where it was made by this commit with these settings on this processor, else the fresh document."""
    if path is None or not path.exists():
        return fresh
    there = json.loads(path.read_text(encoding="utf-8"))
    same = all(there.get(name) == fresh[name] for name in ("measures", "commit", "settings", "versions"))
    return there if same and there["where"]["processor"] == fresh["where"]["processor"] else fresh


def main() -> int:
    """Measure, print the exponents, and write them where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=contest.ROUNDS)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--save", action="store_true", help="write benchmarks/results/cpu/DATE-COMMIT-scaling.json")
    where.add_argument("--out", type=Path, help="write this file; points that it holds already are kept")
    chosen = parser.parse_args()
    plug_ins = [rivals.module(name) for name in TAKING_PART]
    presence = rivals.presence(plug_ins, "cpu")
    present = [plug_in for plug_in in plug_ins if presence[plug_in.NAME] is None]
    options = contest.Options(rounds=chosen.rounds, report=lambda words: print(words, file=sys.stderr) if words.endswith("done") else None)
    fresh = record.document(
        "scaling",
        {**options.settings(), "cases": CASES},
        presence,
        {one.NAME: one.version() for one in present},
        openblas_coretype=os.environ.get("OPENBLAS_CORETYPE"),
    )
    fresh["fits"] = []
    path = RESULTS / "cpu" / f"{fresh['date']}-{fresh['commit'].removesuffix('+')}-scaling.json" if chosen.save else chosen.out
    document = opened(path, fresh)

    def keep() -> None:
        if path:
            path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    measure(document, present, options, keep=keep)
    for row in document["fits"]:
        exponent = f"{row['exponent']:.2f} +- {row['standard_error']:.2f}"
        print(f"{row['operation']:12} {row['axis']:10} {row['contestant']:22} time ~ size^({exponent}), {row['points']} points")
    for name, reason in presence.items():
        if reason:
            print(f"{name} is absent: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
