"""Where a network of the demo runs: the GPU through CuPy where there is one, else the CPU through NumPy, and why."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import config
from ..errors import EngineUnavailable, sentence
from ..routes import engine_reasons

ON_GPU = ("compiled", "runtime")


@dataclass(frozen=True)
class Place:
    """A device with the library that holds its arrays."""

    device: str  # as a person reads it: "NVIDIA H200" or "this CPU"
    library: str  # "CuPy" or "NumPy"
    gpu: bool
    reason: str  # why here
    carry: Callable[[Any], Any]  # NumPy array -> array here
    fetch: Callable[[Any], Any]  # array here -> NumPy array
    wait: Callable[[], None]  # returns when everything issued has finished

    def where(self, engines: set[str]) -> str:
        """Return where the network runs, given the engines that ran."""
        noun = "engine" if len(engines) == 1 else "engines"
        return f"Running on {self.device} through {self.library} ({noun} {', '.join(sorted(engines))})"


def find_place(engine: str | None) -> Place:
    """Return where to run: on the GPU if CuPy reaches one and the engine (None: any) serves it, else on the CPU.

    Raises
    ------
    EngineUnavailable
        If the engine runs on a GPU only and cannot run here.
    """
    wanted = engine or config.forced_engine()
    if wanted == "simulated":
        return _cpu("the simulator runs the CUDA kernels' own text on a CPU, as asked")
    no_gpu = cupy_reason()
    reasons = engine_reasons()
    refusals = "; ".join(f"{name}: {reasons[name]}" for name in ON_GPU if reasons[name])
    if no_gpu is None:
        return _gpu("a CUDA device is there" + (", engine as asked" if wanted else f". {refusals}" if refusals else ""))
    if wanted in ON_GPU:
        reason = reasons[wanted] or no_gpu
        raise EngineUnavailable(sentence("demo", f"engine {wanted!r} cannot run here: {reason}", "an engine that can", "drop --engine, or see `atrous info`"))
    return _cpu(f"no CUDA engine serves here. {refusals}" if refusals else no_gpu)


def cupy_reason() -> str | None:
    """Return None if CuPy reaches a GPU, else the sentence that says why not."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy, which holds arrays on a GPU, is not installed (pip install atrous[cu13])"
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        return f"CuPy is installed but failed to load, because {error}"
    return None if cupy.cuda.is_available() else "no CUDA device: CuPy is installed and finds no GPU or no driver"


def _cpu(reason: str) -> Place:
    return Place("this CPU", "NumPy", False, reason, np.asarray, np.asarray, lambda: None)


def _gpu(reason: str) -> Place:
    cupy = importlib.import_module("cupy")
    name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
    return Place(name, "CuPy", True, reason, cupy.asarray, cupy.asnumpy, lambda: cupy.cuda.get_current_stream().synchronize())
