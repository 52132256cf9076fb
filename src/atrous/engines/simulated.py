"""The simulated engine: the CUDA kernels' own text compiled for the host, run on a model of the CUDA thread machine."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from types import ModuleType
from typing import Any

from .. import config
from ..errors import EngineUnavailable, sentence
from ..launch import Launch

EXTENSION = "atrous._sim"


class Run:
    """A launch bound to its simulated kernel."""

    def __init__(self, extension: ModuleType, launch: Launch) -> None:
        self._set_schedule = extension.set_schedule
        parameters = (launch.grid, launch.block, launch.cluster, launch.shared_bytes, launch.parameters, len(launch.pointers), launch.map_requests())
        self._prepared = extension.Prepared(launch.name, *parameters)

    def run(self, pointers: tuple[int, ...], stream: int, schedule: tuple[str, int, str] | None = None) -> None:
        """Run the kernel to its end, in the schedule given, or in the one that ``ATROUS_SIM_SCHEDULE`` names now.

        Raises
        ------
        RuntimeError
            If the kernel deadlocks, leaves its shared memory or its stack, or accesses a misaligned vector; the
            message names the kernel, the block, the threads and the line.
        """
        self._set_schedule(*(schedule or config.schedule()))
        self._prepared.run(pointers, stream)

    def run_blocks(self, pointers: tuple[int, ...], blocks: list[int]) -> None:
        """Run only these blocks, numbered with x fastest, and what shares a cluster with them; as `run` otherwise."""
        self._set_schedule(*config.schedule())
        self._prepared.run_blocks(pointers, blocks)


@functools.lru_cache(maxsize=1)
def _load() -> tuple[ModuleType | None, str | None]:
    """Return the extension, or the sentence that says why there is none: not built, or built and failing to load."""
    if importlib.util.find_spec(EXTENSION) is None:
        return None, "the simulator was not built: this is a pure wheel (ATROUS_PURE=1) or a source tree that was never built"
    try:
        return importlib.import_module(EXTENSION), None
    except ImportError as failure:
        return None, f"the simulator was built but failed to load, because {failure}"


def available() -> str | None:
    """Return None if simulated kernels can run here, or the sentence that says why they cannot."""
    return _load()[1]


def prepare(launch: Launch) -> Run:
    """Return the launch bound to its simulated kernel: `run(pointers, stream)` takes host addresses.

    Raises
    ------
    EngineUnavailable
        If the simulator is missing, or this kernel is not in it.
    RuntimeError
        If CUDA would refuse the launch: its grid, block, shared memory or parameters.
    """
    extension, reason = _load()
    if extension is None:
        raise EngineUnavailable(sentence("simulated", str(reason), "a built atrous", "install atrous with a C++17 compiler at hand"))
    if launch.name not in _kernel_names():
        raise EngineUnavailable(
            sentence("simulated", f"the kernel {launch.name} is not in this build", "a name of atrous._sim.kernels()", "rebuild with it in csrc/instances")
        )
    return Run(extension, launch)


@functools.lru_cache(maxsize=1)
def _kernel_names() -> frozenset[str]:
    extension, _ = _load()
    return frozenset() if extension is None else frozenset((*extension.kernels(), *extension.test_kernels()))


def describe() -> dict[str, Any]:
    """Return whether the simulator is built, how, and the schedule it follows."""
    extension, reason = _load()
    word, seed, landing = config.schedule()
    facts: dict[str, Any] = {"engine": "simulated", "reason": reason, "schedule": word, "seed": seed, "landing": landing}
    if extension is not None:
        facts["build"] = extension.build_info()
    return facts
