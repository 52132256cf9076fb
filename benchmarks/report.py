"""Writes the README's table of speeds from the newest committed measurement; with --check says whether it is the one written.

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
RIVALS = {"torch channels_last": "torch, channels_last", "torch contiguous": "torch, contiguous (its default)"}
FAMILIES = {"3x3": "r3s3", "1x1": "r1s1"}


def newest() -> Path:
    """Return the newest measurement by its date, then its name."""
    return max((ROOT / "benchmarks" / "results" / "cpu").glob("*.json"), key=lambda path: (json.loads(path.read_text())["date"], path.name))


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


def written(text: str, path: Path) -> str:
    """Return the README's text with the table put in."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(path)}\n{END}{after}"


def main() -> int:
    """Write or check the table."""
    text = README.read_text()
    wanted = written(text, newest())
    if "--check" in sys.argv[1:]:
        print("README.md holds the newest figures" if text == wanted else "README.md does not hold the newest figures: run benchmarks/report.py")
        return int(text != wanted)
    README.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
