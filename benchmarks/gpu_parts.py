"""Builds, proves and measures atrous on a machine with one GPU: ten parts in order of worth, each leaving its own file.

    bash benchmarks/gpu.sh OUTDIR [--dry-run] [--only PART ...] [--archive FILE.tar.gz] [--wheel FILE.whl]

A part that is done is not run again in the same OUTDIR, and one that time cut off goes on where it stopped; time that a part does not
need falls to those behind it. Nothing is downloaded, and no setting of the GPU is touched. With --dry-run, on a machine without a GPU, the
same parts run on what is there: the importable package, the simulator, the fake CUDA runtime and the rivals that compute on a CPU; nothing
of that is a measurement. Exit code 0: no part failed; what is absent is named. Status: never run on a device.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gpu_runner import ROOT, Absent, Failed, Part, Run, Session, TimedOut
from run import LOST

SECONDS = 590.0
BENCHMARKS = ROOT / "benchmarks"
SITE = "site"
#: the suite's networks, those first whose figures are asked for first
NETS = ("resnet50", "mobilenet_v1", "vgg16", "resnext50_32x4d", "convnext_t", "deeplabv3_r50_os8", "replknet31b_dw", "mobilenet_v2", "googlenet", "lenet5")
#: what the real build needs, named by the rehearsal
BUILD_TOOLS = ("nvcc", "cmake", "ninja", "g++")
BUILD_PACKAGES = ("scikit_build_core", "pybind11", "pip")
#: kept from the whole, so that a part's last layer ends inside its time
LAST_LAYER_SECONDS = 12.0
#: a layer that takes longer hangs
LAYER_SECONDS = 30.0
#: how often a measurement is begun that a layer took the GPU from, or hung or crashed in; each goes on behind that layer
STARTS = 6
LEAST_SECONDS = 5.0
#: what a process of the proof takes beside the seconds that it is given
VERIFY_SECONDS, VERIFY_MORE_SECONDS = 35, 25
SMI_SECONDS = 30
#: which tests run together: one that loses the GPU takes the others of its process along, and those of the engine that compiles at run time take longest
TESTS = {"figures": "not runtime", "figures-runtime": "runtime-0 or (runtime and bits)"}
#: seeds of one process of the proof; the next one's begin after them
SEEDS = 10_000_000


class Silent(Absent):
    """What was asked gave no answer in time; it may be there."""


def build(run: Run) -> str:
    """Install the package for this machine's GPU below OUTDIR; in a rehearsal look at the package that is importable."""
    from_wheel = run.options.get("wheel")
    if run.dry:
        run.facts["build tools"] = {name: shutil.which(name) or "absent" for name in BUILD_TOOLS}
        run.facts["build packages"] = {name: "here" if importlib.util.find_spec(name) else "absent" for name in BUILD_PACKAGES}
    else:
        site = run.folder / SITE
        shutil.rmtree(site, ignore_errors=True)
        run.environment |= {"ATROUS_CUDA": "ON", "CMAKE_BUILD_PARALLEL_LEVEL": str(cores())}
        try:
            run.environment["ATROUS_CUDA_ARCHITECTURES"] = architecture()
        except Silent as reason:
            run.facts["architectures"] = f"those of every build, as {reason}"
        words = ["-m", "pip", "install", "--no-build-isolation", "--no-deps", "--no-index", "--target", site]
        run.python(*words, *([from_wheel] if from_wheel else ["-C", f"build-dir={run.folder / 'build'}", ROOT]))
        run.environment["PYTHONPATH"] = str(site)
    info = json.loads(last_line(run.python("-m", "atrous", "info", "--json")))
    run.facts["info"] = info
    run.facts["gpu"] = gpu_facts()
    if not run.dry and info["engines"]["compiled"]:
        raise Failed(f"built, and the compiled engine cannot run: {info['engines']['compiled']}")
    ready = [name for name, reason in info["engines"].items() if reason is None]
    return f"atrous {info['atrous']}, engines {', '.join(ready)}; {info['built'].get('architectures', 'no CUDA code')}"


def verify(run: Run) -> str:
    """Prove the build: random problems through every kernel, in as many processes as cores, counted in one ledger."""
    engine, seconds, jobs = ("simulated", 3, 2) if run.dry else (device_engine(run), VERIFY_SECONDS, max(2, min(12, cores() - 2)))
    run.environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    pieces = [run.path(f"{job}.json") for job in range(jobs)]
    for piece in pieces:
        piece.unlink(missing_ok=True)
    begin = [sys.executable, "-m", "atrous", "verify", "--engine", engine, "--seconds", str(seconds)]
    commands = [[*begin, "--seed", str(job * SEEDS), "--json", str(piece)] for job, piece in enumerate(pieces)]
    try:
        run.side_by_side(commands, accept=(0, 1))
    finally:  # what some have proved is not lost with another that hangs or crashes
        runs = merged(pieces, run.path("ledger.json"))
    if not runs:
        raise Failed(f"no process of {jobs} wrote a ledger: {last_line(run.log.read_text())}")
    failures = [failure for record in runs for failure in record["failures"]]
    exact = sum(record["exact_problems"] for record in runs)
    bounded = sum(sum(record["bounded_runs"].values()) for record in runs)
    line = f"{engine}: {exact:,} problems exact to the bit, {bounded:,} runs within bounds, {len(failures)} failures in {len(runs)} of {jobs} processes"
    if failures or len(runs) < jobs:
        raise Failed(line + (f"; the first: {failures[0]['what']}; rerun: {failures[0]['rerun']}" if failures else ""))
    return line


def merged(pieces: list[Path], ledger: Path) -> list[dict[str, Any]]:
    """Write the runs of several ledgers to one, remove them, and return the runs."""
    runs = []
    for piece in pieces:
        with contextlib.suppress(OSError, ValueError):  # none, or cut off while it was written
            runs += json.loads(piece.read_text())["runs"]
        piece.unlink(missing_ok=True)
    ledger.write_text(json.dumps({"format": 1, "runs": runs}, indent=1) + "\n")
    return runs


def conformance(run: Run) -> str:
    """Record what every probe of a primitive gives here, and replay on the simulator those that did not fail."""
    vectors, replayed = run.path("vectors.npz"), run.path("replay.json")
    if run.dry:
        said = run.python("-c", "import sys; from atrous import conformance; conformance.record(sys.argv[1], 'simulated')", vectors)
    else:
        said = run.python("-m", "atrous", "verify", "--record", vectors, "--engine", device_engine(run), accept=(0, 1))
    text = "import json, sys; from atrous import conformance; json.dump(conformance.replay(sys.argv[1]), open(sys.argv[2], 'w'), indent=1)"
    run.python("-c", text, vectors, replayed)
    count, wrong = json.loads(replayed.read_text())
    line = f"{count} outputs recorded; {len(wrong)} differ on the simulator" + (f", the first: {wrong[0]}" if wrong else "")
    failed = [line for line in said.splitlines() if line.startswith(("failed: ", "the device was lost"))]
    if failed or not count:
        raise Failed("; ".join([line, *failed]))
    return line  # a difference is a finding about the simulator, which the replay's file holds; the recording is good


def tests(run: Run) -> str:
    """Run the tests that need a GPU; in a rehearsal see them skipped, and run those of the device route on the fake runtime."""
    if reason := missing("pytest", "hypothesis"):
        raise Absent(reason)
    passed = []

    def together(name: str, share: float) -> str:
        figures = run.path(f"{name}.json")
        figures.unlink(missing_ok=True)
        words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--figures", figures, "-k", TESTS[name], "tests/test_gpu.py"]
        if run.dry:
            words += ["tests/test_device_route.py"] if name == "figures" else []
        else:
            words += ["-m", "gpu"] + (["-n", str(min(8, cores()))] if importlib.util.find_spec("xdist") else [])
        said = run.python(*words, accept=(0, 1), seconds=run.left * share)
        found = json.loads(figures.read_text())
        line = ", ".join(f"{found['tests_' + word]} {word}" for word in ("passed", "skipped", "failed"))
        if found["tests_failed"]:
            raise Failed(f"{TESTS[name]}: {line}: {last_line(said)}")
        passed.append(found["tests_passed"])
        return line

    line = run.each(lambda: together("figures", 0.6), lambda: together("figures-runtime", 1.0))
    if not any(passed) and not run.wrong:
        run.wrong.append(f"no test passed: {line}")
    return line


def sanitizer(run: Run) -> str:
    """Run a short proof under compute-sanitizer's memcheck, then under its racecheck, where it is and takes the device."""
    tool = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer")
    if tool is None:
        raise Absent("compute-sanitizer is not on PATH nor below /usr/local/cuda")
    if run.dry:
        raise Absent(f"{tool} is here, and no GPU to check on")
    # an error of a call is its caller's business, as where a library looks what is there; what a kernel does is asked here
    words = ("--report-api-errors", "no", "--error-exitcode", "99", sys.executable, "-m", "atrous", "verify", "--engine", device_engine(run))

    def checked(name: str, share: float) -> str:
        seconds = run.left * share
        text = run.command([tool, "--tool", name, *words, "--seconds", f"{min(12.0, seconds / 2):.0f}"], accept=None, seconds=seconds)
        if "Device not supported" in text:
            raise Absent(f"{tool} refuses this device: Device not supported")
        if " 0 failures in " not in text:  # what was not proved was not checked either
            raise Failed(f"the proof under {name} came to no good end: {last_line(text)}")
        summary = [line.strip("= ") for line in text.splitlines() if "SUMMARY" in line]
        line = f"{name}: {summary[-1] if summary else 'no summary: ' + last_line(text)}"
        run.facts[name] = line
        if ": 0 errors" not in line and " 0 hazards" not in line:
            raise Failed(line)
        return line

    return run.each(lambda: checked("memcheck", 0.5), lambda: checked("racecheck", 1.0))


def micro(run: Run) -> str:
    """Measure what single primitives reach: copies, empty kernels, wgmma, im2col loads, L2; in a rehearsal check them on the simulator."""
    found = run.path("figures.json")
    seconds = ["--dry-run"] if run.dry else ["--seconds", str(int(max(10.0, run.left - LAST_LAYER_SECONDS)))]
    said = run.python(BENCHMARKS / "micro" / "micro.py", found, *seconds, accept=(0, 1))
    lines = [line for line in said.splitlines() if line.strip()]
    line = f"{len(lines)} lines of figures, the last: {last_line(said)}"
    if run.code:
        reasons = [f"{row['name']}: {row['reason']}" for row in json.loads(found.read_text())["rows"] if row["reason"] and row["group"] != "cudnn"]
        raise Failed(f"{len(reasons)} figures are missing{', the first ' + reasons[0] if reasons and not run.dry else ''}, or a value is wrong; {line}")
    return line


def suite(run: Run) -> str:
    """Measure the suite at batch 32 in 16 bit beside torch."""
    return measured(run, "batch32", 1.0, "--batch", "32", "--dtype", "f16", "--metrics", "kernel", "wall")


def suite_more(run: Run) -> str:
    """Measure the suite at batch 1, with what a call costs to issue, at batch 256, and in float32."""
    return run.each(
        lambda: measured(run, "batch1", 0.5, "--batch", "1", "--dtype", "f16"),
        lambda: measured(run, "batch256", 0.5, "--batch", "256", "--dtype", "f16", "--metrics", "kernel"),
        lambda: measured(run, "float32", 1.0, "--batch", "32", "--dtype", "f32", "--metrics", "kernel"),
    )


def others(run: Run) -> str:
    """Measure a layer of each family beside every other rival; torch.compile, which takes long to compile, last."""
    sample = [] if run.dry else ["--nets", BENCHMARKS / "gpu_sample.txt", "--batch", "32"]
    quick = lambda: measured(run, "others", 0.5, *sample, against=["jax", "onnxruntime", "cupy", "cudnn-frontend", "tensorflow"])  # noqa: E731
    if run.dry:
        return quick()  # its rehearsal is its test: compiling one layer can take a minute
    return run.each(quick, lambda: measured(run, "compiled", 1.0, *sample, against=["torch", "torch.compile"], patience=None))


def report(run: Run) -> str:
    """Make the tables, the page and the pictures of what was measured, in OUTDIR."""
    files = sorted(path for path in run.folder.glob("*-suite-*.json") if json.loads(path.read_text()).get("rows"))
    if not files:
        raise Absent("no part measured a layer")
    run.python(BENCHMARKS / "report.py", "--out", run.folder, *files)
    return f"tables.md and benchmarks.html of {len(files)} results files"


def measured(run: Run, name: str, share: float, *words: Any, against: Any = ("torch",), patience: float | None = LAYER_SECONDS) -> str:
    """Measure a part of the suite into a file that a later run goes on with, in a share of the time that is left; return what it holds."""
    path = run.path(f"suite-{name}.json")
    if run.dry:
        words = ("--device", "cpu", "--nets", "lenet5", "--batch", "1", "--dtype", "f32", "--rounds", "1", "--metrics", "wall")
        words += () if name == "batch32" else ("--only", "lenet5/c1")
    else:
        words = ("--device", "cuda", *(() if "--nets" in words else ("--nets", *NETS)), *words)
        words += () if patience is None else ("--layer-seconds", f"{patience:.0f}")
    until = time.monotonic() + max(LEAST_SECONDS, (run.left - LAST_LAYER_SECONDS) * share)
    said, starts = "", 0
    try:
        while starts < STARTS and (not starts or (begin_again(run, path) and time.monotonic() < until - LEAST_SECONDS)):
            starts += 1
            seconds = until - time.monotonic()
            words_now = (*words, "--against", *against, "--seconds", f"{seconds:.0f}", "--resume", path)
            said = run.python(BENCHMARKS / "run.py", *words_now, accept=None, seconds=seconds + LAST_LAYER_SECONDS)
    except TimedOut as late:
        run.late.append(f"{name}: {late}")
    return _held(run, name, path, said)


def begin_again(run: Run, path: Path) -> bool:
    """Return whether the last command was a measurement that a layer ended, behind which another process can go on."""
    return run.code == LOST or path.with_name(path.name + ".under-way").exists()


def _held(run: Run, name: str, path: Path, said: str) -> str:
    """Return what a results file holds, and note what is wrong with it or was left."""
    document = json.loads(path.read_text()) if path.exists() else {"rows": [], "skipped": [], "rivals": {}}
    layers = len({(row["layer"], row["case"]) for row in document["rows"]})
    absent = [rival for rival, reason in document["rivals"].items() if reason is not None]
    run.facts[name] = {"layers": layers, "absent": {rival: document["rivals"][rival] for rival in absent}}
    line = f"{name}: {layers} layers" + (f", absent: {', '.join(absent)}" if absent else "")
    ended = [skip for skip in document["skipped"] if skip["contestant"] == "all" and skip["reason"].startswith("failed")]
    ours = [skip for skip in document["skipped"] if skip["contestant"].startswith("atrous") and skip["reason"].startswith(("wrong", "failed"))]
    if ended or ours:
        first = (ours or ended)[0]
        run.wrong.append(f"{line}, {len(ours)} of ours not right, {len(ended)} layers stepped over, the first {first['case']}: {first['reason']}")
    elif not layers or run.code not in (0, LOST):
        run.wrong.append(f"{line}; exit status {run.code}: {last_line(said)}")
    left = [text for text in said.splitlines() if "were left for want of" in text]
    if left:
        run.unfinished.append(f"{line}, {left[-1].partition('; ')[2].partition(': run again')[0]}")
    return line


def device_engine(run: Run) -> str:
    """Return the engine to prove and measure with: the compiled one, or where it was not built the runtime's."""
    return "compiled" if any((run.folder / SITE / "atrous").glob("_cuda.*.so")) else "runtime"


def architecture() -> str:
    """Return what CMake calls the architecture of the first GPU; sm_90 with its own instructions."""
    capability = asked_of_gpu("compute_cap").replace(".", "")
    return {"90": "90a-real"}.get(capability, f"{capability}-real")


def asked_of_gpu(query: str) -> str:
    """Return nvidia-smi's answer about the first GPU, or raise Absent."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        raise Absent("nvidia-smi is not on PATH")
    words = [tool, f"--query-gpu={query}", "--format=csv,noheader"]
    try:
        said = subprocess.run(words, capture_output=True, text=True, timeout=SMI_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Silent(f"nvidia-smi gave no answer in {SMI_SECONDS} s") from None
    if said.returncode or not said.stdout.strip():
        raise Absent(f"nvidia-smi answers: {last_line(said.stdout + said.stderr)}")
    return said.stdout.strip().splitlines()[0].strip()


def gpu_facts() -> str:
    """Return name, driver and clocks of the GPU as it was found, or why there are none."""
    try:
        return asked_of_gpu("name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,temperature.gpu,power.limit,memory.total")
    except Absent as reason:
        return f"none: {reason}"


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def missing(*packages: str) -> str | None:
    """Return the sentence that names the packages that are not installed, or None."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed" if absent else None


def last_line(text: str) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def commit() -> str:
    """Return the tree's commit, by git or by the file COMMIT of a tree that was copied without its history."""
    words = ["git", "-c", f"safe.directory={ROOT}", "describe", "--always", "--dirty=+", "--exclude=*"]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() if shutil.which("git") else ""
    said = ROOT / "COMMIT"
    return found or (said.read_text().strip() if said.is_file() else "") or "unknown"


#: in order of worth; the seconds are what a part is sure of, behind which those of the later ones are kept. Those that measure the suite
#: use what time there is, and step over what hangs
PARTS = (
    Part("build", 200, build),
    Part("verify", 60, verify, most=VERIFY_SECONDS + VERIFY_MORE_SECONDS),
    Part("conformance", 15, conformance, most=90),
    Part("suite", 80, suite),
    Part("micro", 45, micro, most=45),
    Part("tests", 50, tests, most=90),
    Part("suite-more", 45, suite_more),
    Part("sanitizer", 45, sanitizer, most=90),
    Part("others", 35, others),
    Part("report", 15, report, most=90),
)


def environment_in(folder: Path, dry: bool) -> dict[str, str]:
    """Return the environment of the parts' commands: the package that part 1 built, or the one that is importable, or the source tree."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    found |= {"PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "NO_COLOR": "1"}
    if not dry and (folder / SITE / "atrous").is_dir():
        found["PYTHONPATH"] = str(folder / SITE)
    elif importlib.util.find_spec("atrous") is None:
        found["PYTHONPATH"] = str(ROOT / "src")
    return found


def main(words: list[str] | None = None) -> int:
    """Run the parts."""
    parser = argparse.ArgumentParser(prog="gpu.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outdir", type=Path, metavar="OUTDIR")
    parser.add_argument("--dry-run", action="store_true", help="rehearse on a machine without a GPU")
    parser.add_argument("--only", nargs="+", default=[], choices=[part.name for part in PARTS], metavar="PART", help="run these parts alone")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of all parts together (default {SECONDS:g})")
    parser.add_argument("--archive", type=Path, metavar="FILE.tar.gz", help="pack all results into it after every part")
    parser.add_argument("--wheel", type=Path, help="install this wheel, built elsewhere of the same commit, instead of building")
    chosen = parser.parse_args(words)
    if not chosen.dry_run:
        try:
            print(f"GPU: {asked_of_gpu('name,driver_version')}", flush=True)
        except Silent as reason:  # the GPU may be there all the same, as part 1 will show
            print(f"GPU: {reason}", flush=True)
        except Absent as reason:
            parser.error(f"no GPU: {reason}; rehearse with --dry-run")
    folder = chosen.outdir.resolve()
    options = {"wheel": chosen.wheel and chosen.wheel.resolve()}
    session = Session(folder, commit(), chosen.dry_run, lambda: environment_in(folder, chosen.dry_run), options, chosen.archive and chosen.archive.resolve())
    return session.run(PARTS, chosen.seconds, chosen.only)


if __name__ == "__main__":
    sys.exit(main())
