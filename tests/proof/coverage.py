"""Counts the lines of kernel text that ran: random problems and every probe on a build with gcov's counters.

python tests/proof/coverage.py [--problems N] [--jobs N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import builds

HERE = Path(__file__).resolve().parent
TEXT = builds.ROOT / "csrc" / "include" / "atrous"
PROBLEMS = 3000


def run_everything(problems: int, jobs: int) -> None:
    """Run random problems and the probes on a fresh coverage build."""
    builds.build("coverage", jobs)
    for counters in (builds.BUILT / "coverage").glob("*.gcda"):
        counters.unlink()
    command = [sys.executable, str(HERE / "campaign.py"), "--variant", "coverage", "--problems", str(problems), "--jobs", str(jobs)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    python, environment = builds.command("coverage")
    probes = [*python, str(HERE / "mutant_battery.py"), "record", str(builds.BUILT / "coverage" / "probes.npz")]
    subprocess.run(probes, env=environment, check=True)


def lines_that_ran() -> dict[str, dict[int, int]]:
    """Return file of kernel text -> line -> how often it ran, over all instantiations."""
    counts: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for counters in sorted((builds.BUILT / "coverage").glob("*.gcda")):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(["gcov", "--json-format", "--stdout", str(counters)], cwd=folder, check=True, capture_output=True, text=True)
        for report in done.stdout.splitlines():
            for file in json.loads(report)["files"]:
                path = Path(builds.ROOT, file["file"])
                if path.is_relative_to(TEXT):
                    for line in file["lines"]:
                        counts[path.relative_to(TEXT).as_posix()][line["line_number"]] += line["count"]
    return counts


def main(arguments: list[str] | None = None) -> int:
    """Run, count, and name the lines that never ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=PROBLEMS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    options = parser.parse_args(arguments)
    run_everything(options.problems, options.jobs)
    counts = lines_that_ran()
    total = sum(len(lines) for lines in counts.values())
    ran = sum(count > 0 for lines in counts.values() for count in lines.values())
    for file, lines in sorted(counts.items()):
        never = [number for number, count in sorted(lines.items()) if not count]
        print(f"{file}: {len(lines) - len(never)} of {len(lines)}" + (f"; never: {', '.join(map(str, never))}" if never else ""))
    if not total:
        print("coverage: no line of kernel text was counted", file=sys.stderr)
        return 1
    percent = round(100 * ran / total, 2)
    print(f"{percent} % of {total} lines ran")
    if options.json:
        options.json.write_text(json.dumps({"line_percent": percent, "lines": total}) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
