"""Measures what the estimates behind the Hopper kernels stand on: copies, launches, wgmma, the copy engine, halo tiles, and cuDNN's own kernels.

    python benchmarks/micro/micro.py OUT.json [--dry-run] [--seconds 60]

What each group decides, before a kernel for sm_90a is designed:

halo
    A product that begins at row 1 to 22 of a tile swizzled by 128 bytes: whether it reads the rows that the PTX manual says. If it
    does, a stride-1 convolution loads its tile once and each tap is another start address; if not, every tap is loaded anew,
    9 times for 3x3. The rate by shift says whether such a start costs conflicts of banks.
wgmma
    TFLOP/s and cycles of a wgmma of n = 64, 128, 192, 256 on operands in shared memory: the ceiling of each tile, and whether
    n = 64 and 128 are bound by the port of shared memory (128 bytes a cycle) as their bytes say. Decides the tiles on offer, and
    the cost model's efficiency of each. With cycles a slow clock is told from a slow kernel.
im2col
    Bytes a cycle that im2col loads bring of 16, 32 and 64 channels: whether layers of few channels can be fed so, or need
    a halo tile or taps folded together.
l2
    Bytes a cycle from L2 to shared memory, each block for itself and by multicast to two: whether clusters of two pay.
copy
    Bandwidth by size, from memory and from L2: the floor of every memory-bound layer in the cost model.
empty
    Time from one kernel to the next in a CUDA graph: the floor of a layer at batch 1.
cudnn
    Names and times of the kernels that torch runs for the suite at batch 32: which generation of kernels each family meets,
    and what eager mode spends beside the convolution.

Every kernel is a probe of the package (csrc/include/atrous/probes), built into the extension for sm_90a and checked first:
here on the simulator, there on the GPU, on inputs whose results are exact. Each group runs in a process of its own, so that a
crash or a hang loses that group alone. A time is that of one launch in a CUDA graph, the median of 15 replays, on random data.
With --dry-run nothing is timed: the kernels are compiled where nvcc is, the simulator checks them, and the file has the same
rows with "seconds" null. Exits with 1 where a value is wrong, other than of a halo tile on a GPU, which is the answer to a
question (but for pixels that begin a pattern of the swizzle, which must be right), or where a figure is missing without --dry-run.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import multiprocessing
import os
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import cudnn_kernels  # noqa: E402
import device  # noqa: E402
import measures  # noqa: E402

from atrous.bench import record  # noqa: E402
from atrous.engines import simulated  # noqa: E402

SECONDS = 60.0
GROUP_SECONDS = 15.0  # one that takes longer hangs
END_SECONDS = 5.0  # for the driver to take down what a killed process left
SOURCE = ROOT / "csrc" / "instances" / "probes_rates.cu"


def nvcc() -> str | None:
    """Return the compiler: the one that CUDACXX names, the registry's, or the system's."""
    wheels = Path(sysconfig.get_paths()["purelib"], "nvidia", "cu13", "bin")
    found = (os.environ.get("CUDACXX"), shutil.which("nvcc", path=str(wheels)), shutil.which("nvcc"), shutil.which("nvcc", path="/usr/local/cuda/bin"))
    return next((path for path in found if path), None)


def compiled_here() -> dict[str, Any]:
    """Compile the kernels for sm_90a; return registers and spilled bytes of each, and what ptxas warns of, or the reason why not."""
    compiler = nvcc()
    if compiler is None or not SOURCE.is_file():
        return {"reason": "no nvcc was found" if compiler is None else f"{SOURCE} is missing", "kernels": {}}
    with tempfile.TemporaryDirectory() as folder:
        words = [compiler, "-std=c++17", "-gencode", "arch=compute_90a,code=sm_90a", "-Xptxas", "-v", f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc' / 'include'}"]
        done = subprocess.run([*words, "-c", str(SOURCE), "-o", str(Path(folder, "rates.o"))], capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode:
        return {"reason": f"nvcc fails: {said[-2000:]}", "kernels": {}}
    pattern = r"entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers"
    found = re.findall(pattern, said, re.DOTALL)
    kernels = {name: {"stack": int(stack), "spilled": int(stores) + int(loads), "registers": int(used)} for name, stack, stores, loads, used in found}
    # that it puts wgmmas one after another ptxas says as information, and what is then measured is no ceiling
    told = ("warning", "potential performance loss")
    return {"reason": None, "kernels": kernels, "warnings": [line for line in said.splitlines() if any(word in line.lower() for word in told)]}


def child(group: str, dry: bool, deadline: float, path: str) -> None:
    """Be the process of one group: append a line of JSON to a file for every row, or for the reason why there is none."""
    with open(path, "a", encoding="utf-8") as file:
        try:
            if not dry and (reason := device.missing()) is not None:
                rows: Any = [{"group": group, "missing": reason}]
            elif group == cudnn_kernels.GROUP:
                rows = cudnn_kernels.rehearsed() if dry else cudnn_kernels.measured(deadline)
            else:
                rows = device.rehearsed(group) if dry else device.measured(group)
            for row in rows:
                file.write(json.dumps(row) + "\n")
                file.flush()
        except Exception as failure:
            traceback.print_exc()
            file.write(json.dumps({"group": group, "missing": f"{type(failure).__name__}: {failure}"}) + "\n")


def grouped(group: str, dry: bool, deadline: float) -> tuple[list[dict[str, Any]], str | None]:
    """Return the rows of a group, run in a process that may crash or hang, and why some are missing."""
    left = deadline - time.monotonic()
    if not dry and left <= 0:
        return [], cudnn_kernels.OVER
    # cuDNN's, which come last, end by themselves at the deadline
    most = max(GROUP_SECONDS, left + 5) if dry else left + 5 if group == cudnn_kernels.GROUP else min(GROUP_SECONDS, left)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.jsonl")
        path.touch()
        # Forked, so that what the parent imported is there; the parent itself never asks CUDA anything.
        process = multiprocessing.get_context("fork").Process(target=child, args=(group, dry, deadline, str(path)))
        process.start()
        process.join(most)
        hangs = process.is_alive()
        if hangs:
            process.kill()
            process.join(END_SECONDS)
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    missing = next((row["missing"] for row in rows if "missing" in row), None)
    if missing is None and (hangs or process.exitcode):
        missing = f"its process hung for {most:.3g} s and was killed" if hangs else f"its process ended with {process.exitcode}"
    return [row for row in rows if "missing" not in row], missing


def completed(group: str, rows: list[dict[str, Any]], missing: str | None) -> list[dict[str, Any]]:
    """Return the rows of a group with one for each measure, those that are missing with the reason."""
    names = [measure.name for measure in measures.every() if measure.group == group] if group != cudnn_kernels.GROUP else []
    seen = {row["name"] for row in rows}
    reason = missing or "its group ended before it"
    rows = rows + [{"group": group, "name": name, "seconds": None, "reason": reason, "check": None} for name in names if name not in seen]
    return rows or [{"group": group, "name": group, "seconds": None, "reason": reason}]


def figures(row: dict[str, Any]) -> dict[str, Any]:
    """Return the rates of a row: TB/s or TFLOP/s, the clock, bytes or cycles; empty where it has no time."""
    if not row["seconds"] or row["group"] == cudnn_kernels.GROUP:
        return {}
    seconds = statistics.median(row["seconds"])
    found: dict[str, Any] = {"microseconds": 1e6 * seconds}
    if row.get("bytes"):
        found["tb_per_s"] = row["bytes"] / seconds / 1e12
    if row.get("flops") and row["group"] != "halo":  # whose 23 blocks do not fill the device
        found["tflop_per_s"] = row["flops"] / seconds / 1e12
    if row.get("cycles"):
        cycles = statistics.median(row["cycles"])
        found["clock_ghz"] = cycles / seconds / 1e9
        if row["products"]:
            found["cycles_of_wgmma"] = cycles / row["products"] / row["warpgroups"]
        else:
            found["bytes_per_cycle"] = row["bytes"] / row["blocks"] / cycles
    if row["group"] == "halo":
        found["cycles_by_shift"] = [round(cycles / row["products"], 2) for cycles in row["cycles"]]
    return found


def line(row: dict[str, Any]) -> str:
    """Return a row as one line."""
    if row["group"] == cudnn_kernels.GROUP:
        ran = "; ".join(f"{kernel['name'][:70]} {1e6 * kernel['seconds']:.1f} us" for kernel in row.get("kernels", []))
        return f"cudnn   {row.get('case', row['name'])}: {ran or row['reason']}"
    check = row.get("check")
    value = "; ".join(
        f"{number:.4g} {unit}"
        for key, unit in (
            ("microseconds", "us"), ("tb_per_s", "TB/s"), ("tflop_per_s", "TFLOP/s"), ("cycles_of_wgmma", "cycles a wgmma"),
            ("bytes_per_cycle", "bytes a cycle of each multiprocessor"), ("clock_ghz", "GHz"),
        )
        if (number := row.get("figures", {}).get(key)) is not None
    )  # fmt: skip
    checked = "not checked" if check is None else f"{check['wrong']} of {check['of']} wrong on the {check['engine']} engine"
    if check and any(check.get("wrong_by_shift", ())):
        checked += f", by shift {check['wrong_by_shift']}"
    return f"{row['group']:7} {row['name']}: {value or 'not timed, ' + str(row['reason'])}; {checked}"


def is_wrong(row: dict[str, Any]) -> bool:
    """Return whether a value is wrong that should be right; on a GPU, what a halo tile gives is the answer that was asked for, its controls aside."""
    check = row.get("check") or {}
    answers = row["group"] == "halo" and check.get("engine") == "compiled"
    return bool(check.get("wrong_controls") if answers else check.get("wrong"))


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a line each and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT.json")
    parser.add_argument("--dry-run", action="store_true", help="compile, check on the simulator and write the same file without times")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time for all of it; cuDNN's kernels, which come last, fill what is left")
    chosen = parser.parse_args(arguments)
    deadline = time.monotonic() + chosen.seconds
    found = record.document("micro", {"samples": device.SAMPLES, "dry_run": chosen.dry_run, "seconds": chosen.seconds}, {})
    if chosen.dry_run:
        found["compiled"] = compiled_here()
        reason = found["compiled"]["reason"]
        print(f"compile {len(found['compiled']['kernels'])} kernels for sm_90a" if reason is None else f"compile not done: {reason}", flush=True)
    elif importlib.util.find_spec("torch") is not None:
        importlib.import_module("torch")  # once, for every group's process
    spilled = [name for name, facts in found.get("compiled", {}).get("kernels", {}).items() if facts["spilled"] or facts["stack"]]
    bad = len(spilled)
    absent = simulated.available() if chosen.dry_run else None
    for group in (*measures.GROUPS, cudnn_kernels.GROUP):
        rows, missing = ([], absent) if absent and group != cudnn_kernels.GROUP else grouped(group, chosen.dry_run, deadline)
        for row in completed(group, rows, missing):
            row["figures"] = figures(row)
            found["rows"].append(row)
            if group != cudnn_kernels.GROUP or not chosen.dry_run:
                print(line(row), flush=True)
            bad += is_wrong(row) or (not chosen.dry_run and row["seconds"] is None and group != cudnn_kernels.GROUP)
            bad += chosen.dry_run and missing is not None and missing is not absent
        if group == cudnn_kernels.GROUP and chosen.dry_run:
            print(f"{group:7} {len(rows)} problems of the suite: not timed, no GPU", flush=True)
        # What is there after each group survives a run that is cut off.
        chosen.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
