"""Measures what is proved of the kernels without a GPU, and prints it as a table beside the floors that it must not fall below.

python tests/scoreboard.py [--quick | --last] [--write] [--jobs N] [--only TOOL ...]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROOF = ROOT / "tests" / "proof"
sys.path.insert(0, str(PROOF))

import instances  # noqa: E402
from figures import FIGURES, shown  # noqa: E402

FLOORS = PROOF / "floors.json"
RESULTS = PROOF / "scoreboard.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- proof:begin -->", "<!-- proof:end -->"
COUNTED_TESTS = ("test_bad_calls.py", "test_beyond_2e31.py", "test_batch_invariance.py", "test_conformance.py")

#: variant of the simulator -> problems with one right answer; whatever their number, every instance runs at least 20 times
PROBLEMS = {"plain": 40_000, "sanitized": 5_000, "race": 5_000}
QUICK_PROBLEMS = {"plain": 10_000, "sanitized": 250, "race": 250}
#: of every kernel on the plain build; above the floor, since the processes of a campaign may draw the same one
SCHEDULES = 1_200


def tools(quick: bool, jobs: int) -> dict[str, list[str]]:
    """Return tool -> its command; each writes its figures to the file that is appended to the command."""
    python = sys.executable

    def campaign(variant: str) -> list[str]:
        count = str((QUICK_PROBLEMS if quick else PROBLEMS)[variant])
        schedules = ["--schedules", str(SCHEDULES)] if variant == "plain" and not quick else []
        return [python, str(PROOF / "campaign.py"), "--variant", variant, "--problems", count, *schedules, "--jobs", str(jobs), "--json"]

    pytest = [python, "-m", "pytest", "-q", "-n", str(jobs), *(str(ROOT / "tests" / name) for name in COUNTED_TESTS), "--figures"]
    found = {
        **{variant: campaign(variant) for variant in PROBLEMS},
        "probes": [python, str(PROOF / "probe_runs.py"), "--json"],
        "coverage": [python, str(PROOF / "coverage.py"), "--jobs", str(jobs), "--json"],
        "mutants": [python, str(PROOF / "mutants.py"), *(["--committed"] if quick else ["--sample", "10"]), "--jobs", str(jobs), "--json"],
        "faults": [python, str(PROOF / "faults.py"), "--problems", "4" if quick else "16", "--json"],
        "traffic": [python, str(PROOF / "traffic.py"), "--json"],
        "static": [python, str(PROOF / "static_gate.py"), "--json"],
        "runtime names": [python, str(PROOF / "runtime_names.py"), "--jobs", str(jobs), "--json"],
        "counted tests": pytest,
    }
    return {name: command for name, command in found.items() if not quick or name not in ("coverage", "probes", "traffic", "runtime names")}


def campaign_figures(variant: str, record: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a campaign's record."""
    return {
        f"{variant}_exact": record["exact_problems"],
        f"{variant}_instances_percent": round(100 * record["instances_run"] / record["instances_of_table"], 2),
        "bounded_runs": sum(record["bounded_runs"].values()),
        "reports": len(record["failures"]),
        "worst_ratio": record["worst_ratio"],
        "schedules_least": min(record["schedules"].values()),
    }


def plain_figures(tool: str, found: dict[str, Any]) -> dict[str, Any]:
    """Return the figures in what a tool wrote."""
    if "runs" in found:
        found = campaign_figures(tool, found["runs"][-1])
    elif tool == "faults":
        found["faults_wrong"] = len(found["wrong"])
    return {figure.key: found[figure.key] for figure in FIGURES if figure.key in found}


#: keys that several tools give, and what becomes of them
TOGETHER = {"reports": sum, "bounded_runs": sum, "worst_ratio": max, "schedules_least": max}


def written_by(tool: str) -> Path:
    """Return the file that a tool writes its figures to."""
    return ROOT / "build" / "proof" / f"{tool.replace(' ', '_')}.json"


def measure(commands: dict[str, list[str]]) -> list[str]:
    """Run the tools one after another; return the names of those that failed."""
    failed = []
    for name, command in commands.items():
        file = written_by(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        start = time.monotonic()
        print(f"scoreboard: {name} ...", end="", file=sys.stderr, flush=True)
        done = subprocess.run([*command, str(file)], cwd=ROOT, capture_output=True, text=True)
        print(f" {time.monotonic() - start:.0f} s, exit {done.returncode}", file=sys.stderr, flush=True)
        if done.returncode:
            failed.append(name)
            print(done.stdout[-6000:], done.stderr[-6000:], sep="\n", file=sys.stderr)
    return failed


def gather(names: Iterable[str]) -> dict[str, Any]:
    """Return the figures that these tools wrote last."""
    figures: dict[str, Any] = {}
    for name in names:
        if not written_by(name).is_file():
            continue
        found = plain_figures(name, json.loads(written_by(name).read_text(encoding="utf-8")))
        for key, together in TOGETHER.items():
            if key in found and key in figures:
                found[key] = together((found[key], figures[key]))
        figures.update(found)
    return figures


def below(figures: dict[str, Any], floors: dict[str, float], only: bool) -> list[str]:
    """Return a sentence for every figure that is worse than its floor, or missing."""
    found = []
    for figure in FIGURES:
        if figure.key not in floors:
            continue
        floor, value = floors[figure.key], figures.get(figure.key)
        if value is None:
            if not only:
                found.append(f"{figure.text}: not measured; the floor is {floor:,}")
        elif value > floor if figure.falls else value < floor:
            found.append(f"{figure.text}: {shown(figure, value)}; the {'ceiling' if figure.falls else 'floor'} is {floor:,}")
    return found


def table(figures: dict[str, Any], floors: dict[str, float]) -> str:
    """Return the scoreboard as Markdown."""
    lines = ["| figure | measured | floor | best stated elsewhere |", "|---|--:|--:|---|"]
    for figure in FIGURES:
        floor = floors.get(figure.key)
        bound = "" if floor is None else ("at most " if figure.falls else "") + shown(figure, floor)
        lines.append(f"| {figure.text} | {shown(figure, figures.get(figure.key))} | {bound} | {figure.anchor} |")
    return "\n".join(lines)


def written(text: str, figures: dict[str, Any], floors: dict[str, float]) -> str:
    """Return the README's text with the table put in."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(figures, floors)}\n{END}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, compare with the floors; with --write also keep the figures and put them into the README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer problems, no coverage, no bugs planted anew; with floors of its own")
    parser.add_argument("--write", action="store_true", help="keep a full run's figures, and put the table between the markers of README.md")
    parser.add_argument("--last", action="store_true", help="measure nothing: take what the tools wrote last in this tree")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default 2)")
    parser.add_argument("--only", nargs="+", metavar="TOOL", help=f"run these alone: {', '.join(tools(False, 1))}")
    options = parser.parse_args(arguments)
    full = not (options.quick or options.only)
    if (options.write or options.last) and not full:
        parser.error("--write and --last are about a full run; leave out --quick and --only")
    commands = tools(options.quick, options.jobs)
    unknown = set(options.only or ()) - set(commands)
    if unknown:
        parser.error(f"no tool is called {', '.join(sorted(unknown))}; expected {', '.join(commands)}")
    chosen = {name: command for name, command in commands.items() if not options.only or name in options.only}
    failed = [] if options.last else measure(chosen)
    figures = gather(chosen)
    floors = json.loads(FLOORS.read_text(encoding="utf-8"))["quick" if options.quick else "full"]
    print(table(figures, floors))
    complaints = below(figures, floors, only=bool(options.only)) + [f"the tool '{name}' failed; its output is above" for name in failed]
    records = instances.last_runs() if full else None
    if options.write and records is not None:
        names = records["plain"]["names"]
        rows = instances.counts(records, names)
        complaints += instances.complaints(rows, names)
        instances.TABLE.write_text(instances.text(rows), encoding="utf-8")
    for complaint in complaints:
        print(f"scoreboard: {complaint}", file=sys.stderr)
    if options.write and not complaints:
        RESULTS.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        README.write_text(written(README.read_text(encoding="utf-8"), figures, floors), encoding="utf-8")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
