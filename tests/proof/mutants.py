"""Plants bugs in the kernels' text, one at a time, and counts those that the simulator's checks kill without a GPU.

python tests/proof/mutants.py --sample 20             bugs of the last full run again, drawn by the kernels' text
python tests/proof/mutants.py --full 320 --write      plant that many anew, and keep what became of each
python tests/proof/mutants.py --only IDENTITY ...     show what becomes of these
python tests/proof/mutants.py --committed             count the last full run, and plant nothing
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import builds
from mutations import ROOT, TEXT, Mutant, every, kernel_text, spread

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "mutants.json"  # what became of every bug of the last full run
EQUIVALENT = HERE / "mutants_equivalent.json"  # identity -> why the planted text gives the same results
BATTERY = HERE / "mutant_battery.py"
WORK = ROOT / "build" / "proof" / "mutants"
BASELINE = WORK / "baseline.npz"  # what the probes give without a bug
#: the checks in the order of their price, and the seconds that each may take: the first three on a build of few instances,
#: under each variant; "edges" on a plain build of all
CHECKS = (("plain", 40), ("race", 90), ("sanitized", 120), ("edges", 180))
KILLED = tuple(check for check, _ in CHECKS)


def closure(path: Path) -> set[str]:
    """Return the files below csrc/include that a source includes, itself aside, directly or not."""
    found: set[str] = set()
    waiting = [path]
    while waiting:
        for name in re.findall(r'^\s*#\s*include\s+"(atrous/[^"]+)"', waiting.pop().read_text(encoding="utf-8"), re.MULTILINE):
            if name not in found and (TEXT / name).is_file():
                found.add(name)
                waiting.append(TEXT / name)
    return found


def lists_of_instances() -> list[Path]:
    """Return every list of instances."""
    return sorted((ROOT / "csrc" / "instances").glob("*.cu"))


def instances_with(file: str) -> list[Path]:
    """Return the lists of instances whose kernels hold a file's text."""
    return [path for path in lists_of_instances() if file in closure(path)]


_ENTRY = re.compile(r"^\s*entries\.push_back\(ATROUS_KERNEL\((\w+)<(.*)>\)\);\n", re.MULTILINE)


def covering(entries: list[re.Match[str]]) -> set[str]:
    """Return few entries in which every template argument occurs with every layout that it has."""
    parts = {}
    for entry in entries:
        arguments = entry[2].split(", ")
        layout = next((word for word in arguments if word in ("Nhwc", "Nchw")), "")
        parts[entry[0]] = {(entry[1], str(i), word, layout) for i, word in enumerate(arguments)}
    missing, chosen = set().union(*parts.values()), set()
    while missing:
        best = max(parts, key=lambda text: len(parts[text] & missing))
        missing -= parts[best]
        chosen.add(best)
    return chosen


def trimmed(files: Iterable[Path]) -> dict[Path, str]:
    """Return the text of lists of instances cut down to a covering few, those of one kernel in one list; the other lists include no kernel."""
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    kept = covering([entry for text in texts.values() for entry in _ENTRY.finditer(text)])
    waiting: dict[str, list[str]] = {}
    for text in texts.values():
        for entry in _ENTRY.finditer(text):
            waiting.setdefault(entry[1], []).extend([entry[0]] if entry[0] in kept else [])
    for path, text in texts.items():
        here = "".join(line for kernel in {entry[1]: None for entry in _ENTRY.finditer(text)} for line in waiting.pop(kernel, []))
        before, end, after = _ENTRY.sub("", text).rpartition("}\n\n}  // namespace atrous")
        text = before + here + end + after
        texts[path] = text if "ATROUS_KERNEL" in text else re.sub(r'#include "atrous/.*\n', "", text)
    return texts


def tree_with(mutant: Mutant | None, name: str, whole: bool = False) -> Path:
    """Return a copy of the sources with the bug in it; but for the whole, its lists of instances trimmed, alike in every tree."""
    tree = WORK / name
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(ROOT / "csrc", tree / "csrc", copy_function=os.link)
    replaced = {} if whole else trimmed(lists_of_instances())
    if mutant is not None:
        path = TEXT / mutant.file
        replaced[path] = mutant.apply(path.read_text(encoding="utf-8"))
    for path, text in replaced.items():
        copy = tree / path.relative_to(ROOT)
        copy.unlink()
        copy.write_text(text, encoding="utf-8")
    return tree


def probes_of(files: Iterable[Path]) -> set[str]:
    """Return the headers that these lists of instances instantiate kernels of."""
    return {name for path in files for name in closure(path) if "/kernels/" in name or "/probes/" in name}


def run_battery(variant: str, tree: Path, headers: set[str], seconds: int) -> str | None:
    """Build a tree, run the checks on it, and return what was seen, or None if nothing was."""
    try:
        built = "plain" if variant == "edges" else variant
        extension = builds.build(built, jobs=1, source=tree, out=tree / variant)
    except RuntimeError as failure:
        if re.search(r"\berror:", str(failure)):
            return "does not compile"
        raise
    command, environment = builds.command(built, extension)
    try:
        done = subprocess.run(
            [*command, str(BATTERY), variant, str(BASELINE), *sorted(headers)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            cwd=ROOT,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return f"no end within {seconds} s"
    if done.returncode == 0:
        return None
    said = [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if "killed:" in line or line.startswith(("FAILED", "E  ")) or "ERROR: AddressSanitizer" in line or "runtime error:" in line
    ]
    return (said[0] if said else f"exit {done.returncode}: {(done.stdout + done.stderr).strip()[-300:]}")[:400]


def prepare(files: set[str], jobs: int) -> None:
    """Record the probes, and see that no check kills the kernels as they are."""
    WORK.mkdir(parents=True, exist_ok=True)
    command, environment = builds.command("plain", builds.build("plain", jobs))
    subprocess.run([*command, str(BATTERY), "record", str(BASELINE)], env=environment, check=True, cwd=ROOT)
    lists = sorted({path for file in files for path in instances_with(file)})
    for variant, seconds in CHECKS:
        seen = run_battery(variant, tree_with(None, "unharmed", whole=variant == "edges"), probes_of(lists), 4 * seconds)
        if seen is not None:
            raise SystemExit(f"mutants: the {variant} check kills the kernels as they are: {seen}")


def fate(mutant: Mutant) -> dict[str, str]:
    """Return what became of one mutant: the first check that saw it and what it saw, or that it survived."""
    files = instances_with(mutant.file)
    tree = tree_with(mutant, mutant.identity)
    result = {"identity": mutant.identity, "bug": str(mutant), "operator": mutant.operator, "file": mutant.file, "fate": "survived", "seen": ""}
    try:
        for variant, seconds in CHECKS:
            if variant == "edges":
                tree = tree_with(mutant, mutant.identity, whole=True)
            seen = run_battery(variant, tree, probes_of(files), seconds)
            if seen is not None:
                return {**result, "fate": "does not compile" if seen == "does not compile" else variant, "seen": seen}
        return result
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def digest(files: Iterable[Path]) -> str:
    """Return a digest of the contents of files."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def deciding() -> list[Path]:
    """Return every file that a fate hangs on: kernels, the machine, the package, and the checks."""
    roots = (("csrc", "*.*"), ("src", "*.py"), ("tests", "*.py"))
    return sorted(path for root, pattern in roots for path in (ROOT / root).rglob(pattern) if path.is_file() and path.suffix != ".so")


def run(mutants: list[Mutant], jobs: int) -> list[dict[str, str]]:
    """Return the fates of mutants, saying each on stderr as it is known; a run that was cut goes on where it was."""
    prepare({mutant.file for mutant in mutants}, jobs)
    kept = WORK / f"fates_{digest(deciding())[:16]}.jsonl"
    done = {line["identity"]: line for line in map(json.loads, kept.read_text(encoding="utf-8").splitlines())} if kept.exists() else {}
    start = time.monotonic()
    results = [done[mutant.identity] for mutant in mutants if mutant.identity in done]
    waiting = [mutant for mutant in mutants if mutant.identity not in done]
    with ThreadPoolExecutor(jobs) as pool, kept.open("a", encoding="utf-8") as file:
        for coming in as_completed([pool.submit(fate, mutant) for mutant in waiting]):
            result = coming.result()
            results.append(result)
            print(json.dumps(result), file=file, flush=True)
            said = f"[{len(results)}/{len(mutants)}, {time.monotonic() - start:.0f} s] {result['fate']}: {result['bug']}  {result['seen'][:150]}"
            print(said, file=sys.stderr, flush=True)
    return results


def reasons() -> dict[str, str]:
    """Return identity -> why a planted text is no bug."""
    return dict(json.loads(EQUIVALENT.read_text(encoding="utf-8")))


def planted(results: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return those that are bugs: they compile, and change a result."""
    return [result for result in results if result["fate"] != "does not compile" and result["identity"] not in reasons()]


def percent_killed(results: list[dict[str, str]]) -> float:
    """Return how many of the planted bugs were killed, in percent."""
    bugs = planted(results)
    return round(100 * sum(result["fate"] in KILLED for result in bugs) / max(1, len(bugs)), 2)


def known() -> list[dict[str, str]]:
    """Return the last full run."""
    return list(json.loads(RESULTS.read_text(encoding="utf-8")))


def sample(count: int) -> list[Mutant]:
    """Return bugs of the last full run that today's text still has, drawn by that text so that other text draws others."""
    bugs = {result["identity"] for result in planted(known())}
    still = [mutant for mutant in every() if mutant.identity in bugs]
    if len(still) < 0.9 * len(bugs):
        raise SystemExit(f"mutants: {len(bugs) - len(still)} of {len(bugs)} bugs of the last full run fit the text no more; run --full N --write again")
    return random.Random(digest(kernel_text())).sample(still, min(count, len(still)))


def main(arguments: list[str] | None = None) -> int:
    """Plant, check, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--sample", type=int, metavar="N")
    which.add_argument("--committed", action="store_true", help="plant nothing: count what became of the last full run's bugs")
    which.add_argument("--full", type=int, metavar="N")
    which.add_argument("--only", nargs="+", metavar="IDENTITY")
    parser.add_argument("--seed", type=int, default=0, help="of --full: another seed draws other places")
    parser.add_argument("--files", nargs="+", metavar="NAME", help="of --full: plant in files whose names hold one of these alone")
    parser.add_argument("--write", action="store_true", help="keep the fates in mutants.json")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts to FILE")
    options = parser.parse_args(arguments)
    if options.committed:
        chosen = []
    elif options.sample:
        chosen = sample(options.sample)
    elif options.full:
        chosen = spread([mutant for mutant in every() if any(name in mutant.file for name in options.files or ("",))], options.full, options.seed)
    else:
        chosen = [mutant for mutant in every() if mutant.identity in options.only]
    results = run(chosen, options.jobs) if chosen else known()
    if options.write:
        kept = {result["identity"]: result for result in (known() if RESULTS.exists() and (options.only or options.files) else [])}
        kept.update({result["identity"]: result for result in results})
        RESULTS.write_text(json.dumps(sorted(kept.values(), key=lambda result: (result["file"], result["bug"])), indent=1) + "\n", encoding="utf-8")
    killed = percent_killed(results)
    print(f"{len(planted(results))} planted, {killed} % killed; {dict(Counter(result['fate'] for result in results))}")
    for result in planted(results):
        if result["fate"] not in KILLED:
            print(f"survived: {result['identity']} {result['bug']}")
    if options.json:
        figures = {"mutants_planted": len(planted(known())), "mutants_killed_percent": percent_killed(known())}
        figures.update({"sample_killed_percent": killed} if options.sample else {})
        options.json.write_text(json.dumps(figures) + "\n", encoding="utf-8")
    return 1 if options.sample and killed < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
