"""The compiled engine: kernels that nvcc built into the extension `atrous._cuda`, looked up by name."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import CudaError, EngineUnavailable, sentence
from ..launch import Launch

EXTENSION = "atrous._cuda"
_RECORD = Path(__file__).resolve().parents[1] / "_build.json"


def build_record() -> dict[str, str]:
    """Return what the build wrote down: its compilers, its architectures and, with ``cuda == "no"``, a ``reason``.

    A source tree that was never built and a pure wheel have no record; they answer with a reason too.
    """
    if _RECORD.is_file():
        record: dict[str, str] = json.loads(_RECORD.read_text(encoding="utf-8"))
        return record
    return {"cuda": "no", "reason": "this is a pure wheel (ATROUS_PURE=1) or a source tree that was never built"}


@functools.lru_cache(maxsize=1)
def _load() -> tuple[ModuleType | None, str | None]:
    """Return the extension, or the sentence that says why there is none: not built, or built and failing to load."""
    if importlib.util.find_spec(EXTENSION) is None:
        reason = build_record().get("reason", "the build recorded no reason")
        return None, f"the CUDA extension was not built: {reason}"
    try:
        return importlib.import_module(EXTENSION), None
    except ImportError as failure:
        return None, f"the CUDA extension was built but failed to load, because {failure}"


@functools.lru_cache(maxsize=1)
def available() -> str | None:
    """Return None if compiled kernels can run here, or the sentence that says why they cannot.

    Raises
    ------
    CudaError
        If the driver is there and failed to answer, which says nothing of the next time.
    """
    extension, reason = _load()
    if extension is None:
        return reason
    try:
        count = extension.device_count()
    except EngineUnavailable as failure:
        answer = str(failure).partition(";")[0]
        return f"the CUDA extension is built, but no device answers (no NVIDIA driver, or one older than the build's CUDA): {answer}"
    return None if count else "the CUDA extension is built and the driver is there, but it shows no CUDA device"


def _extension() -> ModuleType:
    extension, reason = _load()
    if extension is None:
        raise EngineUnavailable(sentence("compiled", str(reason), "an extension built by nvcc", "reinstall with ATROUS_CUDA=ON to see what is missing"))
    return extension


def prepare(launch: Launch) -> Any:
    """Return the launch bound to its built kernel: `run(pointers, stream)` launches it on the current device.

    Raises
    ------
    EngineUnavailable
        If there is no extension, or this kernel is not in it.
    """
    parameters = (launch.grid, launch.block, launch.cluster, launch.shared_bytes, launch.parameters, len(launch.pointers), launch.map_requests())
    return _extension().Prepared(launch.name, *parameters)


def device_count() -> int:
    """Return the number of CUDA devices; EngineUnavailable where there is no driver."""
    return int(_extension().device_count())


def architecture(index: int) -> str:
    """Return "sm_90" or the like for one device."""
    major, minor = _extension().device_info(index)["capability"]
    return f"sm_{major}{minor}"


def describe() -> dict[str, Any]:
    """Return what was built, why not where it was not, and the devices that answer."""
    extension, _ = _load()
    try:
        reason = available()
    except CudaError as failure:
        reason = str(failure)
    facts: dict[str, Any] = {"engine": "compiled", "reason": reason, "record": build_record()}
    if extension is not None:
        facts["build"] = extension.build_info()
        facts["devices"] = [] if facts["reason"] else [extension.device_info(i) for i in range(extension.device_count())]
    return facts
