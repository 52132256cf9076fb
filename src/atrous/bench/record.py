"""Where and with what a measurement was made: commit, date, processor, GPU, driver, clocks and versions. Reads only, changes nothing."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import atrous

FORMAT = 2
_PACKAGE = Path(__file__).resolve().parents[1]
ROOT = _PACKAGE.parents[1]
#: what nvidia-smi is asked -> the name here; numbers where it gives numbers
GPU_FACTS = {
    "name": "name",
    "driver_version": "driver",
    "clocks.sm": "sm_clock_mhz",
    "clocks.mem": "memory_clock_mhz",
    "clocks.max.sm": "most_sm_clock_mhz",
    "temperature.gpu": "temperature_c",
    "power.limit": "power_limit_w",
    "memory.total": "memory_mib",
}
PACKAGES = ("numpy", "torch", "triton", "jax", "jaxlib", "onnxruntime", "onnxruntime-gpu", "tensorflow", "tensorflow-cpu", "nvidia-cudnn-frontend")
SMI_SECONDS = 10


def document(measures: str, settings: dict[str, Any], rivals: dict[str, str | None], versions: dict[str, str] | None = None, **where: Any) -> dict[str, Any]:
    """Return a results file without rows; `where` replaces facts of `place`, such as threads."""
    return {
        "format": FORMAT,
        "measures": measures,
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "atrous": atrous.__version__,
        "where": {**place(), **where},
        "versions": {**installed(), **(versions or {})},
        "settings": settings,
        "rivals": rivals,
        "rows": [],
        "skipped": [],
    }


def commit() -> str:
    """Return the short name of the commit, with a plus where files differ from it: the source tree's, or that which an installed package was built of.

    A tree copied without its history says it in a file COMMIT; "unknown" where nothing does.
    """
    if not (ROOT / "CMakeLists.txt").is_file():
        built = _PACKAGE / "_build.json"
        return str(json.loads(built.read_text(encoding="utf-8")).get("commit", "unknown")) if built.is_file() else "unknown"
    said = ROOT / "COMMIT"
    if shutil.which("git") is not None:
        words = ["git", "-c", f"safe.directory={ROOT}", "describe", "--always", "--dirty=+", "--exclude=*"]
        found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
        if found:
            return found
    return (said.read_text(encoding="utf-8").strip() if said.is_file() else "") or "unknown"


def place() -> dict[str, Any]:
    """Return what the machine is."""
    facts, absent = gpu()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "gpu": facts,
        **({"gpu_absent": absent} if absent else {}),
        "processor": processor(),
        "cores": cores,
        "threads": cores,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def processor() -> str:
    """Return the processor's name."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor() or platform.machine())


def gpu() -> tuple[dict[str, Any] | None, str]:
    """Return name, driver and clocks of the first GPU as nvidia-smi gives them now, or None and the sentence why there are none."""
    if shutil.which("nvidia-smi") is None:
        return None, "nvidia-smi is not on PATH"
    words = ["nvidia-smi", f"--query-gpu={','.join(GPU_FACTS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SMI_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return None, f"nvidia-smi gave no answer in {SMI_SECONDS} s"
    except OSError as failure:
        return None, f"nvidia-smi cannot be run: {failure}"
    facts = None if done.returncode else _facts_of(done.stdout)
    return facts, "" if facts else f"nvidia-smi answers: {(done.stdout + done.stderr).strip().partition(chr(10))[0]}"


def _facts_of(said: str) -> dict[str, Any] | None:
    values = [value.strip() for value in said.partition("\n")[0].split(",")]
    if len(values) != len(GPU_FACTS):
        return None
    return {name: _number(value) for name, value in zip(GPU_FACTS.values(), values, strict=True)}


def _number(value: str) -> Any:
    whole, _, part = value.partition(".")
    if whole.isdigit() and (not part or part.isdigit()):
        return float(value) if part else int(value)
    return value


def installed() -> dict[str, str]:
    """Return the versions of Python's packages that take part, where they are installed."""
    found = {"python": platform.python_version()}
    for name in (*PACKAGES, *(word for word in ("cupy", "cupy-cuda13x", "cupy-cuda12x"))):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    blas = _blas()
    return {**found, "blas": blas} if blas else found


def _blas() -> str:
    """Return the name and version of NumPy's BLAS."""
    show = getattr(sys.modules.get("numpy"), "show_config", None)
    try:
        facts = show(mode="dicts")["Build Dependencies"]["blas"] if show else {}
    except (TypeError, KeyError):  # before NumPy 1.25
        return ""
    return f"{facts.get('name', '')} {facts.get('version', '')}".strip()
