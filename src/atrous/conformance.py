"""Conformance vectors: what every probe gives on a GPU, recorded there once and replayed on the simulator ever after."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from .engines import compiled, runtime, simulated
from .errors import EngineUnavailable, ProblemError, sentence, shown
from .probes import Probe, every_probe
from .probes.probe import Arrays
from .redzones import Guarded, Host, memory_for

ENGINES = {"compiled": compiled, "runtime": runtime, "simulated": simulated}
FORMAT = 1
SEEDS = 2


def run_probe(probe: Probe, engine: str, seed: int) -> np.ndarray:
    """Return y of one probe on the inputs of a seed.

    Raises
    ------
    RuntimeError
        If the launch fails, or the probe writes outside y.
    """
    return run_given(probe, probe.draw(seed), engine, memory_for(engine))


def run_given(probe: Probe, inputs: Arrays, engine: str, memory: Host) -> np.ndarray:
    """Return what a probe makes of these inputs, which lie in this memory; see `run_probe`."""
    operands = {name: Guarded(memory, array.shape, array.dtype.name, array) for name, array in inputs.items()}
    operands["y"] = Guarded(memory, *probe.output)
    pointers = {name: operands[name].pointer if name in operands else 0 for name in ("x", "w", "y")}
    prepared = ENGINES[engine].prepare(probe.launch())
    prepared.run(tuple(pointers.values()), memory.stream())
    for name, operand in operands.items():
        payload, stray = operand.fetch()
        if stray is not None:
            raise RuntimeError(f"[{probe.name}] {name}: {stray}")
    return payload  # of y, the last


def fingerprint(probe: Probe, inputs: Arrays) -> str:
    """Return a digest of all that decides a probe's output: its launch and its inputs."""
    plan = (probe.kernel, probe.grid, probe.block, probe.cluster, probe.shared_bytes, probe.count, probe.size, probe.output, probe.tensor_maps)
    digest = hashlib.sha256(repr(plan).encode())
    for name, array in sorted(inputs.items()):
        digest.update(f"{name} {array.shape} {array.dtype.name}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def runs_on(probe: Probe, capability: int) -> bool:
    """Return whether a device of 10 * major + minor can run the probe; what asks for 90 runs on 90 alone."""
    return capability == 90 if probe.capability == 90 else capability >= probe.capability


def record(path: str | Path, engine: str = "compiled", seeds: int = SEEDS, device: dict[str, Any] | None = None, probes: Any = None) -> dict[str, Any]:
    """Run every probe and write one .npz of seeds and outputs; return its facts.

    A probe that fails is noted in "failures" and the others go on, unless the device is "lost" at it. Whatever ends the
    recording, what it has by then is written.

    Parameters
    ----------
    path : str or Path
    engine : str
        "compiled" or "runtime" to record a device; "simulated" only to test recording itself.
    seeds : int
        Runs of each probe, with the inputs of seeds 0, 1 ...
    device : dict, optional
        What is kept about the device: "name", "driver", "capability" (major, minor); default: asked of the engine.
    probes : dict of Probe by name, optional
        Default: all.
    """
    if engine not in ENGINES:
        raise ProblemError(sentence("verify", f"the engine to record is {shown(engine)}", f"one of {', '.join(ENGINES)}", "pass --engine compiled"))
    if (reason := ENGINES[engine].available()) is not None:
        raise EngineUnavailable(sentence("verify", f"engine {engine!r} cannot run here: {reason}", "an engine on a GPU to record from", "record on a GPU"))
    device = device or device_facts(engine)
    capability = 10 * device["capability"][0] + device["capability"][1]
    facts: dict[str, Any] = {"format": FORMAT, "engine": engine, "device": device, "left_out": [], "entries": {}, "failures": {}, "lost": None}
    outputs: dict[str, np.ndarray] = {}
    memory = memory_for(engine)
    able = {}
    for name, probe in (every_probe() if probes is None else probes).items():
        if engine == "simulated" or runs_on(probe, capability):
            able[name] = probe
        else:
            facts["left_out"].append(name)
    try:
        for (name, probe), seed in itertools.product(able.items(), range(seeds)):
            key = f"{name}.{seed}"
            try:
                outputs[key] = run_probe(probe, engine, seed).reshape(-1).view(np.uint8)
                facts["entries"][key] = fingerprint(probe, probe.draw(seed))
            except (RuntimeError, MemoryError) as failure:
                facts["failures"][key] = str(failure)
                if memory.lost() is not None:
                    facts["lost"] = key
                    break
    finally:
        with open(path, "wb") as file:
            np.savez_compressed(file, facts=np.array(json.dumps(facts)), **outputs)  # type: ignore[arg-type]
    return facts


def device_facts(engine: str) -> dict[str, Any]:
    """Return name, driver and capability of the device that an engine launches on."""
    if engine == "simulated":
        return {"name": "simulator", "driver": "none", "capability": (9, 0)}
    if engine == "compiled":
        return dict(compiled.describe()["devices"][0])
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    driver = str(cupy.cuda.runtime.driverGetVersion())
    return {"name": properties["name"].decode(), "driver": driver, "capability": (properties["major"], properties["minor"])}


def facts_of(path: str | Path) -> dict[str, Any]:
    """Return the facts of a recording."""
    with np.load(path) as file:
        facts: dict[str, Any] = json.loads(str(file["facts"]))
    return facts


def replay(path: str | Path, engine: str = "simulated", probes: Any = None) -> tuple[int, list[str]]:
    """Run what a recording holds again; return how many outputs were compared, and a sentence for each that differs."""
    known = every_probe() if probes is None else probes
    facts = facts_of(path)
    wrong = []
    with np.load(path) as file:
        for key, recorded_print in facts["entries"].items():
            name, _, seed = key.rpartition(".")
            probe = known.get(name)
            if probe is None:
                wrong.append(f"{key}: no probe is called {name!r} any more; record again, or delete it from {Path(path).name}")
            elif fingerprint(probe, probe.draw(int(seed))) != recorded_print:
                wrong.append(f"{key}: its inputs or its launch are no longer those recorded; record again")
            elif (difference := compare(probe, int(seed), file[key], engine)) is not None:
                wrong.append(f"{key}: {difference}")
    return len(facts["entries"]), wrong


def compare(probe: Probe, seed: int, recorded: np.ndarray, engine: str) -> str | None:
    """Return how a run of a probe differs from what was recorded, or None."""
    try:
        got = run_probe(probe, engine, seed)
    except RuntimeError as failure:
        return str(failure)
    want = recorded.view(got.dtype).reshape(got.shape)
    if probe.bound is None:
        bad = (got.reshape(-1).view(np.uint8) != recorded).reshape(-1, got.dtype.itemsize).any(axis=1)
        if got.dtype.kind not in "iub":  # one NaN is as good as another
            bad &= ~(np.isnan(got.reshape(-1)) & np.isnan(want.reshape(-1)))
    else:
        got64, want64 = got.astype(np.float64).reshape(-1), want.astype(np.float64).reshape(-1)
        bound = np.broadcast_to(np.asarray(probe.bound(probe.draw(seed)), np.float64), got.shape).reshape(-1)
        with np.errstate(invalid="ignore"):
            bad = ~((np.abs(got64 - want64) <= bound) | (got64 == want64) | (np.isnan(got64) & np.isnan(want64)))
    if not bad.any():
        return None
    first = int(np.flatnonzero(bad)[0])
    at = ", ".join(str(int(i)) for i in np.unravel_index(first, got.shape))
    return (
        f"{int(bad.sum())} of {math.prod(got.shape)} elements differ; first y[{at}] is {got.reshape(-1)[first]} on the {engine} engine, "
        f"recorded {want.reshape(-1)[first]}"
    )
