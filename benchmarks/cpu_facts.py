"""Measures what a user of the CPU path feels: time to import, to a first convolution, bytes on disk, peak memory; and the processor's roofs.

    python benchmarks/cpu_facts.py [--rounds 7] [--save | --out FILE]

Every figure comes from fresh processes that do one thing, the packages in turn in every round, after one round that is not
counted. Times are the process's own clock, from before the first import; memory is the most that was ever resident. A size
counts the files that pip recorded for the package, without what it depends on. The roofs are the best of several rounds:
a product of matrices, and a copy by as many threads as there are cores.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from drawing import quantity
from evidence import RESULTS

from atrous.bench import record

IMPORT_BUDGET_SECONDS = 0.15
SECONDS = 300  # a process' patience
#: package -> import, operands for (N, C, H, W) -> (K, C, 3, 3), one convolution that has ended
CODE = {
    "numpy": ("import numpy as np", "x, w = np.ones((N, H, W, C), 'float32'), np.ones((K, 3, 3, C), 'float32')", ""),
    "atrous": ("import atrous, numpy as np", "x, w = np.ones((N, H, W, C), 'float32'), np.ones((K, 3, 3, C), 'float32')", "y = atrous.conv2d(x, w, padding=1)"),
    "torch": (
        "import torch; torch.set_grad_enabled(False)",
        "x, w = (torch.ones(s).to(memory_format=torch.channels_last) for s in ((N, C, H, W), (K, C, 3, 3)))",
        "y = torch.nn.functional.conv2d(x, w, padding=1)",
    ),
    "jax": (
        "import jax, jax.numpy as jnp",
        "x, w = jnp.ones((N, H, W, C), 'float32'), jnp.ones((3, 3, C, K), 'float32')",
        "y = jax.lax.conv_general_dilated(x, w, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')).block_until_ready()",
    ),
    "tensorflow": (
        "import tensorflow as tf",
        "x, w = tf.ones((N, H, W, C)), tf.ones((3, 3, C, K))",
        "y = tf.nn.conv2d(x, w, 1, 'SAME').numpy()",
    ),
    "onnxruntime": ("import onnxruntime", "", ""),
}  # fmt: skip
#: package -> the distributions, of which those that are installed are its files
DISTRIBUTIONS = {name: (name,) for name in CODE} | {"jax": ("jax", "jaxlib"), "tensorflow": ("tensorflow", "tensorflow-cpu")}
CLOCK, STOP = "import time; start = time.perf_counter()", "print(time.perf_counter() - start)"
MEMORY = "open('/proc/self/status').read().partition('VmHWM:')[2].split()[0]"
SMALL, LAYER = "N, C, H, W, K = 1, 64, 56, 56, 64", "N, C, H, W, K = 8, 64, 56, 56, 64"
WORDS = {"import": "import", "first call": SMALL.lower(), "peak memory": LAYER.lower()}
PRODUCT_SIZE, COPY_BYTES, ROOF_ROUNDS = 2048, 2**28, 9
ROOFS = f"""
import concurrent.futures, os, time
import numpy as np
def best(call):
    call()
    times = []
    for _ in range({ROOF_ROUNDS}):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
a = np.random.default_rng(0).standard_normal(({PRODUCT_SIZE}, {PRODUCT_SIZE}), 'float32')
rates = [2 * {PRODUCT_SIZE}**3 / best(lambda: a @ a)]
threads = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
halves = [np.array_split(np.ones({COPY_BYTES} // 4, 'float32'), threads) for _ in range(2)]
with concurrent.futures.ThreadPoolExecutor(threads) as pool:
    flow = 2 * {COPY_BYTES} / best(lambda: list(pool.map(np.copyto, *halves)))
TORCH
print(max(rates), flow)
"""
WITH_TORCH = "import torch; b = torch.from_numpy(a); rates.append(2 * len(a)**3 / best(lambda: b @ b))"


def code(what: str, package: str) -> str | None:
    """Return what a fresh process runs to print one figure, or None where the package has none."""
    load, operands, convolve = CODE[package]
    if what == "import":
        return "\n".join((CLOCK, load, STOP))
    if what == "first call":
        return "\n".join((CLOCK, load, SMALL, operands, convolve, STOP)) if convolve else None
    return "\n".join((load, LAYER, operands, convolve, f"print(1024 * int({MEMORY}))")) if operands else None


def fresh(text: str) -> list[float]:
    """Return the numbers on the last line that a fresh process prints."""
    run = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=SECONDS)
    if run.returncode:
        raise RuntimeError(f"a process failed: {run.stderr.strip().splitlines()[-1:] or run.returncode}")
    return [float(word) for word in run.stdout.splitlines()[-1].split()]


def presence(packages: Sequence[str]) -> dict[str, str | None]:
    """Return, for every package, None or the sentence why it takes no part."""
    return {name: None if importlib.util.find_spec(name) else f"{name} is not installed" for name in packages}


def timed(packages: Sequence[str], rounds: int, report: Callable[[str], None]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Return rows of import, first call and peak memory, and what was left out; the packages take turns."""
    rows, skipped = [], []
    for what in ("import", "first call", *(["peak memory"] if Path("/proc/self/status").exists() else [])):
        taking = {package: text for package in packages if (text := code(what, package))}
        values: dict[str, list[float]] = {package: [] for package in taking}
        for number in range(rounds + 1):
            for package in list(taking):
                try:
                    found = fresh(taking[package])
                except (RuntimeError, subprocess.TimeoutExpired) as failure:
                    skipped.append(dict(case=what, contestant=package, reason=str(failure)))
                    del taking[package], values[package]
                    continue
                values[package] += found if number else []
            report(f"{what}, round {number} of {rounds}")
        unit = "bytes" if what == "peak memory" else "seconds"
        rows += [dict(what=what, package=package, unit=unit, values=found, case=WORDS[what]) for package, found in values.items()]
    for row in rows:
        if (row["what"], row["package"]) == ("import", "atrous"):
            row["budget"] = IMPORT_BUDGET_SECONDS
    return rows, skipped


def installed_bytes(names: Sequence[str]) -> int | None:
    """Return the bytes of the files of those distributions that are installed, None where none is."""
    found = None
    for name in names:
        try:
            files = importlib.metadata.distribution(name).files
        except importlib.metadata.PackageNotFoundError:
            continue
        sizes = [path.stat().st_size for file in files or () if (path := Path(str(file.locate()))).is_file()]
        found = (found or 0) + sum(sizes)
    return found


def sizes(packages: Sequence[str]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Return rows of the bytes on disk, and what was left out."""
    rows, skipped = [], []
    for package in packages:
        count = installed_bytes(DISTRIBUTIONS[package])
        if count:
            rows.append(dict(what="install size", package=package, unit="bytes", values=[count], case=" + ".join(DISTRIBUTIONS[package])))
        else:
            reason = "pip has not installed it, it is a source tree on the path; pip install . first"
            skipped.append(dict(case="install size", contestant=package, reason=reason))
    return rows, skipped


def roofs(with_torch: bool) -> dict[str, Any]:
    """Return the best rate of a product of matrices, NumPy's or torch's, and of a copy."""
    rate, flow = fresh(ROOFS.replace("TORCH", WITH_TORCH if with_torch else ""))
    who = "NumPy's or torch's, the faster" if with_torch else "NumPy's"
    product = f"a product of two {PRODUCT_SIZE} x {PRODUCT_SIZE} float32 matrices ({who})"
    return dict(flops_per_second=rate, bytes_per_second=flow, product=product, copy=f"a copy of {COPY_BYTES >> 20} MiB, read and written")


def main() -> int:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--save", action="store_true", help="write benchmarks/results/cpu/DATE-COMMIT-facts.json")
    where.add_argument("--out", type=Path, help="write this file")
    chosen = parser.parse_args()
    absent = presence(list(CODE))
    packages = [name for name, reason in absent.items() if reason is None]
    rows, skipped = timed(packages, chosen.rounds, lambda words: print(words, file=sys.stderr))
    more, lacking = sizes(packages)
    document = record.document("cpu facts", {"rounds": chosen.rounds}, absent, openblas_coretype=os.environ.get("OPENBLAS_CORETYPE"))
    document |= dict(rows=rows + more, skipped=skipped + lacking, roofs=roofs("torch" in packages))
    for row in document["rows"]:
        print(f"{row['what']:14} {row['package']:12} {quantity(statistics.median(row['values']), {'seconds': 's', 'bytes': 'B'}[row['unit']])}")
    for row in document["skipped"]:
        print(f"{row['case']:14} {row['contestant']:12} left out: {row['reason']}")
    print(f"roofs: {quantity(document['roofs']['flops_per_second'], 'FLOP/s')}, {quantity(document['roofs']['bytes_per_second'], 'B/s')}")
    path = RESULTS / "cpu" / f"{document['date']}-{document['commit'].removesuffix('+')}-facts.json" if chosen.save else chosen.out
    if path:
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
