"""Writes the README's tables of speeds and of issue cost from the newest committed measurements; with --check says whether they are those written.

python benchmarks/report.py [--check]
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from arrays_vs_torch import CORETYPE, geomean

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BEGIN, END = "<!-- speed:begin -->", "<!-- speed:end -->"
ISSUE = ("<!-- issue:begin -->", "<!-- issue:end -->")
RIVALS = {"torch channels_last": "torch, channels_last", "torch contiguous": "torch, contiguous (its default)"}
FAMILIES = {"3x3": "r3s3", "1x1": "r1s1"}


def newest(measures: str | None = None) -> Path:
    """Return the newest measurement of a kind (None: of the array path) by its date, then its name."""
    found = {path: json.loads(path.read_text()) for path in (ROOT / "benchmarks" / "results" / "cpu").glob("*.json")}
    return max((path for path, facts in found.items() if facts.get("measures") == measures), key=lambda path: (found[path]["date"], path.name))


def ratio(run: dict[str, Any], rival: str, part: str) -> tuple[float, float, float]:
    """Return the geometric mean, least and largest of torch's time / ours over the layers of a family."""
    found = []
    for row in run["rows"]:
        if part in row["case"]:
            times = row["milliseconds"]
            found.append(statistics.median(times[rival]) / statistics.median(times["atrous"]))
    return geomean(found), min(found), max(found)


def table(path: Path) -> str:
    """Return the Markdown that stands between the markers."""
    facts = json.loads(path.read_text())
    lines = ["| OpenBLAS | layers | " + " | ".join(RIVALS.values()) + " |", "|---|---|" + "---|" * len(RIVALS)]
    for run in facts["runs"]:
        kernels = f"{CORETYPE}={run[CORETYPE]}" if run[CORETYPE] else "as it chooses"
        for family, part in FAMILIES.items():
            cells = ["{:.2f} ({:.2f} to {:.2f})".format(*ratio(run, rival, part)) for rival in RIVALS]
            lines.append(f"| {kernels} | {family} | " + " | ".join(cells) + " |")
    run = facts["runs"][0]
    lines += [
        "",
        f"torch's time / ours: geometric mean, worst and best layer. {facts['processor']}, {facts['threads']} threads, NumPy {run['numpy']}, "
        f"torch {run['torch']} ({run['torch instructions']}), {facts['date']}, commit {facts['commit']}; all figures in "
        f"[{path.name}]({path.relative_to(ROOT).as_posix()}). NumPy's products are OpenBLAS', whose instructions `{CORETYPE}` can hold back.",
    ]
    return "\n".join(lines)


def issue_table(path: Path) -> str:
    """Return the Markdown of what a call costs before the GPU has work."""
    facts = json.loads(path.read_text())
    lines = ["| call | microseconds: median (least to largest) | goal |", "|---|---|---|"]
    for row in facts["rows"]:
        times, budget = row["microseconds"], row["budget"]
        middle = statistics.median(times)
        goal = "" if budget is None else f"{budget:g}, {'met' if middle <= budget else 'missed'}"
        lines.append(f"| `{row['what']}` | {middle:.2f} ({min(times):.2f} to {max(times):.2f}) | {goal} |")
    where = f"{facts['processor']}, Python {facts['python']}, {facts['date']}, commit {facts['commit']}"
    lines += ["", f"CPU time. {where}, load average {facts['load average']:.1f}."]
    return "\n".join(lines)


def between(text: str, marks: tuple[str, str], inside: str) -> str:
    """Return a text with what stands between two marks replaced."""
    before, _, rest = text.partition(marks[0])
    _, _, after = rest.partition(marks[1])
    return f"{before}{marks[0]}\n{inside}\n{marks[1]}{after}"


def written(text: str) -> str:
    """Return the README's text with both tables put in."""
    return between(between(text, (BEGIN, END), table(newest())), ISSUE, issue_table(newest("issue cost")))


def main() -> int:
    """Write or check the table."""
    text = README.read_text()
    wanted = written(text)
    if "--check" in sys.argv[1:]:
        print("README.md holds the newest figures" if text == wanted else "README.md does not hold the newest figures: run benchmarks/report.py")
        return int(text != wanted)
    README.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
