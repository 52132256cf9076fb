"""Says what is installed here: versions, every engine with its reason, the GPU, and what was built for which architectures."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import platform
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np

import atrous

from .place import cupy_reason
from .screen import Screen

DRIVER_FILE = Path("/proc/driver/nvidia/version")  # written by the kernel module; readable without any CUDA library
NEVER_BUILT = "nothing: this is a source tree that was never built (pip install . builds it)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `atrous info`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print what is installed."""
    facts = gather()
    if arguments.json:
        print(json.dumps(facts, default=str))
        return 0
    screen = Screen()
    screen.line(f"atrous {facts['atrous']}", "bold")
    for word in ("python", "numpy", "cupy", "driver"):
        screen.line(f"  {word:<14} {facts[word]}")
    gpus = facts["gpus"]
    for gpu in gpus:
        capability = f"sm_{gpu['capability']}, {gpu['multiprocessors']} multiprocessors, {gpu['memory_bytes'] / 2**30:.0f} GiB"
        screen.line(f"  {'gpu ' + str(gpu['index']):<14} {gpu['name']} ({capability})")
    if not gpus:
        screen.line(f"  {'gpu':<14} none: {facts['no_gpu']}")
    screen.line("built", "bold")
    for word, value in facts["built"].items():
        screen.line(f"  {word:<14} {value}")
    screen.line("engines", "bold")
    for name, reason in facts["engines"].items():
        screen.line(f"  {name:<14} " + ("ready" if reason is None else f"no: {reason}"), "" if reason else "green")
    return 0


def gather() -> dict[str, Any]:
    """Return the facts as one dict that JSON takes."""
    no_gpu = cupy_reason()
    return {
        "atrous": atrous.__version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "numpy": np.__version__,
        "cupy": _cupy_version(),
        "driver": _driver(no_gpu),
        "gpus": [] if no_gpu else _gpus(),
        "no_gpu": no_gpu,
        "built": _built(),
        "engines": atrous.engine_reasons(),
    }


def _cupy_version() -> str:
    if importlib.util.find_spec("cupy") is None:
        return "not installed (pip install atrous[cu13] brings it)"
    names = metadata.packages_distributions().get("cupy", [])
    return ", ".join(f"{metadata.version(name)} ({name})" for name in sorted(set(names))) or "installed, version unknown"


def _driver(no_gpu: str | None) -> str:
    if DRIVER_FILE.exists():
        kernel_module = DRIVER_FILE.read_text().splitlines()[0].removeprefix("NVRM version: ")
    else:
        kernel_module = f"no NVIDIA kernel module ({DRIVER_FILE} does not exist)"
    if no_gpu is not None:
        return kernel_module
    version = importlib.import_module("cupy").cuda.runtime.driverGetVersion()
    return f"{' '.join(kernel_module.split())}, up to CUDA {version // 1000}.{version % 1000 // 10}"


def _gpus() -> list[dict[str, Any]]:
    runtime = importlib.import_module("cupy").cuda.runtime
    found = []
    for index in range(runtime.getDeviceCount()):
        properties = runtime.getDeviceProperties(index)
        found.append(
            {
                "index": index,
                "name": properties["name"].decode(),
                "capability": f"{properties['major']}{properties['minor']}",
                "multiprocessors": properties["multiProcessorCount"],
                "memory_bytes": properties["totalGlobalMem"],
            }
        )
    return found


def _built() -> dict[str, str]:
    record = resources.files("atrous").joinpath("_build.json")
    if not record.is_file():
        return {"cuda": NEVER_BUILT}
    built: dict[str, str] = json.loads(record.read_text(encoding="utf-8"))
    return built
