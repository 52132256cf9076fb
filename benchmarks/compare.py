"""Compares two results files: paired ratios of every case, contestant and metric, and a verdict only outside the noise.

    python benchmarks/compare.py OLD NEW [--least 0.05]

Ratio = old median / new median: above 1 is faster now. A case has a verdict where the spreads of its rounds (least to most) do not overlap and
the medians differ by more than --least: of hundreds of cases that did not change, a few have spreads apart by chance. A contestant's geometric
mean has one where every round's own lies on one side of 1 by more than MEAN_LEAST. Rivals are the control: what a rival of the same version
gains or loses is the machine's doing, and stands beside ours.

Exit code: 0 no regression of atrous; 1 a case of ours, or our geometric mean, is slower outside the noise; 2 the files cannot be compared (another
machine, thread count or kind of data), unless --anyway, which prints the ratios and gives no verdict.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atrous.bench.ratios import Ratio, geomean, ratio
from atrous.bench.summary import is_ours

Key = tuple[str, str, str]
LEAST = 0.05
MEAN_LEAST = 0.01
#: what must be the same in both files for a time to mean the same
SAME_PLACE = ("processor", "cores", "threads", "openblas_coretype", "system")
SAME_GPU = ("name", "power_limit_w", "most_sm_clock_mhz")
SAME_SETTINGS = ("device", "data", "rotated_bytes")
FORMAT = 2


@dataclass(frozen=True)
class Pair:
    """One case of one contestant in one metric, measured in both files."""

    key: Key  # case, contestant, metric
    old: tuple[float, ...]
    new: tuple[float, ...]
    least: float

    @property
    def ratio(self) -> Ratio:
        """Old over new: above 1 is faster now."""
        return ratio(self.old, self.new)

    @property
    def verdict(self) -> str:
        """Return "faster", "slower", or "" where the difference is inside the noise or too small."""
        found = self.ratio
        if not found.outside_noise or 1 / (1 + self.least) <= found.value <= 1 + self.least:
            return ""
        return "faster" if found.value > 1 else "slower"


@dataclass(frozen=True)
class Mean:
    """One contestant in one metric over all cases of both files."""

    contestant: str
    metric: str
    pairs: tuple[Pair, ...]

    @property
    def value(self) -> float:
        """Geometric mean of the ratios."""
        return geomean([pair.ratio.value for pair in self.pairs])

    @property
    def rounds(self) -> list[float]:
        """The geometric mean of each round alone, as far as both files have rounds."""
        count = min(min(len(pair.old), len(pair.new)) for pair in self.pairs)
        return [geomean([pair.old[number] / pair.new[number] for pair in self.pairs]) for number in range(count)]

    @property
    def verdict(self) -> str:
        """Return "faster" or "slower" where all rounds agree on it, else ""."""
        each = [self.value, *self.rounds]
        return "faster" if min(each) > 1 + MEAN_LEAST else "slower" if max(each) < 1 / (1 + MEAN_LEAST) else ""


def read(path: Path) -> dict[str, Any]:
    """Return a results file, or raise ValueError with a sentence."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if document.get("format") != FORMAT or not isinstance(document.get("rows"), list):
        raise ValueError(f"{path} is no results file of format {FORMAT}")
    return document


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return a sentence for everything that makes the times of two files incomparable."""
    sides = [(old["where"], new["where"], SAME_PLACE), (old["settings"], new["settings"], SAME_SETTINGS)]
    sides.append((old["where"].get("gpu") or {}, new["where"].get("gpu") or {}, SAME_GPU))
    return [
        f"{name} is {a.get(name)!r} in the old file and {b.get(name)!r} in the new" for a, b, names in sides for name in names if a.get(name) != b.get(name)
    ]


def times(document: dict[str, Any]) -> dict[Key, tuple[float, ...]]:
    """Return the seconds of every case, contestant and metric; a case that several networks share counts once."""
    found: dict[Key, tuple[float, ...]] = {}
    for row in document["rows"]:
        found.setdefault((row["case"], row["contestant"], row["metric"]), tuple(row["seconds"]))
    return found


def compared(old: dict[str, Any], new: dict[str, Any], least: float = LEAST) -> list[Mean]:
    """Return every contestant and metric that both files have, ours first."""
    before, now = times(old), times(new)
    groups: dict[tuple[str, str], list[Pair]] = {}
    for key in before:
        if key in now:
            groups.setdefault((key[1], key[2]), []).append(Pair(key, before[key], now[key], least))
    order = sorted(groups, key=lambda group: (not is_ours(group[0]), group))
    return [Mean(contestant, metric, tuple(groups[contestant, metric])) for contestant, metric in order]


def lines(means: list[Mean], verdicts: bool) -> list[str]:
    """Return what is printed: a line a contestant and metric, then its cases outside the noise, the worst first."""
    found = []
    for mean in means:
        each = mean.rounds
        words = [pair for pair in mean.pairs if pair.verdict]
        verdict = (f"{mean.verdict} outside the noise" if mean.verdict else "no difference outside the noise") if verdicts else "no verdict"
        word = "" if is_ours(mean.contestant) else " (control)"
        head = f"{mean.contestant}{word}, {mean.metric}: {len(mean.pairs)} cases, old / new geomean {mean.value:.3f}"
        found.append(f"{head} (rounds {min(each):.3f} to {max(each):.3f}): {verdict}")
        if verdicts:
            for pair in sorted(words, key=lambda pair: pair.ratio.value):
                found.append(f"  {pair.verdict} {pair.ratio.value:.3f} ({pair.ratio.low:.3f} to {pair.ratio.high:.3f}) {pair.key[0]}")
    return found


def regressions(means: list[Mean]) -> list[str]:
    """Return what of ours is slower outside the noise."""
    found = [f"{mean.contestant}, {mean.metric}, geomean" for mean in means if is_ours(mean.contestant) and mean.verdict == "slower"]
    return found + [", ".join(pair.key) for mean in means if is_ours(mean.contestant) for pair in mean.pairs if pair.verdict == "slower"]


def main(words: list[str] | None = None) -> int:
    """Compare, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--least", type=float, default=LEAST, help=f"a case's smallest difference for a verdict (default {LEAST:g})")
    parser.add_argument("--anyway", action="store_true", help="print ratios of files that cannot be compared, without verdicts")
    chosen = parser.parse_args(words)
    try:
        old, new = read(chosen.old), read(chosen.new)
    except (OSError, ValueError) as failure:
        print(f"benchmarks/compare.py: {failure}", file=sys.stderr)
        return 2
    apart = differences(old, new)
    means = compared(old, new, chosen.least)
    for sentence in apart:
        print(f"not comparable: {sentence}", file=sys.stderr)
    if not means:
        print("benchmarks/compare.py: the files share no case, contestant and metric", file=sys.stderr)
    if not means or (apart and not chosen.anyway):
        return 2
    print(f"old {old['commit']} of {old['date']}, new {new['commit']} of {new['date']}; above 1 is faster now")
    for name, version in old["versions"].items():
        if new["versions"].get(name) != version:
            print(f"{name} was {version} and is {new['versions'].get(name, 'absent')}")
    print("\n".join(lines(means, verdicts=not apart)))
    slower = [] if apart else regressions(means)
    print(f"{len(slower)} regressions outside the noise" if not apart else "no verdict: not the same place")
    return int(bool(slower))


if __name__ == "__main__":
    sys.exit(main())
