"""The probes: one module per header of csrc/include/atrous/probes/, each with its own PROBES."""

from __future__ import annotations

import importlib
import pkgutil

from .probe import Probe


def every_probe() -> dict[str, Probe]:
    """Return all probes by name, in the order of their modules' names."""
    found: dict[str, Probe] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__) if info.name != "probe"):
        for probe in importlib.import_module(f".{module}", __name__).PROBES:
            if probe.name in found:
                raise ValueError(f"two probes are called {probe.name!r}")
            found[probe.name] = probe
    return found
