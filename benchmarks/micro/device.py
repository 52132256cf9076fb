"""Checks and times the measures of one group on the GPU, through the compiled engine, with torch's memory, graphs and events."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Iterator
from typing import Any

import measures
import numpy as np
import references

from atrous.conformance import run_given
from atrous.engines import compiled
from atrous.probes import halo
from atrous.probes.probe import Probe
from atrous.redzones import Host, TorchMemory

SAMPLES = 15
WARM_SECONDS = 0.2  # of replays before the first sample: clocks rise, and fall again where the power does not last


def missing() -> str | None:
    """Return why nothing can be timed here, or None."""
    if (reason := compiled.available()) is not None:
        return reason
    if importlib.util.find_spec("torch") is None:
        return "torch, whose memory, graphs and events time the kernels, is not installed"
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    found = torch.cuda.get_device_capability()
    return None if found == (9, 0) else f"the device has compute capability {found[0]}.{found[1]}; these kernels are those of sm_90a"


def check(probe: Probe, engine: str, memory: Host, seed: int = 0) -> dict[str, Any]:
    """Return how many elements of a probe's y are wrong in each of its blocks; of a halo tile, what was read instead."""
    given = probe.draw(seed)
    y = run_given(probe, given, engine, memory)
    wrong = references.wrong_in_each(probe, given, y)
    found: dict[str, Any] = {"engine": engine, "wrong": sum(wrong), "of": int(np.prod(probe.output[0]))}
    if probe.header == halo.HEADER:
        pixels_are_m = "<true>" in probe.kernel
        found |= {"wrong_by_shift": wrong, "wrong_controls": controls(references.expected(probe, given) != y, pixels_are_m)}
        if sum(wrong):
            found["read"] = rows_read(engine, memory, pixels_are_m)
    return found


def controls(is_wrong: np.ndarray, pixels_are_m: bool) -> int:
    """Return how many elements are wrong of pixels whose 8 rows begin where the swizzle's pattern does, which no shift can disturb.

    They are the first 8 of the shifts that are multiples of 8 rows: wrong there, the fault is the probe's and tells nothing of shifts.
    """
    aligned = is_wrong[:: halo.PATTERN_ROWS]
    return int((aligned[:, : halo.SIDE] if pixels_are_m else aligned[:, :, : halo.SIDE]).sum())


def rows_read(engine: str, memory: Host, pixels_are_m: bool) -> dict[str, Any]:
    """Return which row, and which 16 bytes of it, a wgmma reads where it should read pixel m, for each shift: told by the bytes themselves."""
    probe = halo.halo(copied=False, pixels_are_m=pixels_are_m)
    unit = halo.stored(np.eye(halo.CHANNELS), "bfloat16")
    rows = np.broadcast_to(np.arange(halo.PIXELS)[:, None], (halo.PIXELS, halo.CHANNELS))
    pieces = np.broadcast_to(np.arange(halo.CHANNELS) // 8, (halo.PIXELS, halo.CHANNELS))
    results = (run_given(probe, {"x": halo.stored(numbers, "bfloat16"), "w": unit}, engine, memory) for numbers in (rows, pieces))
    of_row, of_piece = (y if pixels_are_m else y.transpose(0, 2, 1) for y in results)
    return {"row": np.nan_to_num(of_row[:, :, ::8], nan=-1).astype(int).tolist(), "piece": np.nan_to_num(of_piece[:, :, ::8], nan=-1).astype(int).tolist()}


class Stage:
    """Operands of the timed launches in the GPU's memory, and graphs of the launches."""

    def __init__(self) -> None:
        self.torch: Any = importlib.import_module("torch")
        self.torch.manual_seed(0)
        self.stream = self.torch.cuda.Stream()
        self.held: dict[tuple[str, int], Any] = {}

    def memory(self, name: str, nbytes: int, normal: bool) -> Any:
        """Return random memory of an operand: zeros would run faster. Normal numbers of bfloat16, or any bytes."""
        key = (f"{name} {normal}", max(nbytes, 16))
        if key not in self.held:
            self.held = {kept: tensor for kept, tensor in self.held.items() if kept[0] != key[0]}
            if normal:
                self.held[key] = self.torch.randn(key[1] // 2, device="cuda", dtype=self.torch.bfloat16)
            else:
                self.held[key] = self.torch.randint(0, 256, (key[1],), device="cuda", dtype=self.torch.uint8)
        return self.held[key]

    def seconds(self, measure: measures.Measure) -> tuple[list[float], list[int]]:
        """Return the time of one launch in each sample, and the cycles of each block in the last."""
        probe = measure.probe
        normal = measure.flops > 0
        given = {name: measure.pool or int(np.prod(shape)) * itemsize for name, shape, itemsize in sizes(probe)}
        x, w = (self.memory(name, given[name], normal) if name in given else None for name in ("x", "w"))
        y = self.memory("y", measure.y_bytes, False)
        step = 0 if not measure.bytes or measure.pool == 0 else measure.bytes // 2
        places = 1 if step == 0 else measure.pool // step
        prepared = compiled.prepare(probe.launch())

        def launch(node: int) -> None:
            at = node % places * step
            prepared.run((x.data_ptr() + at if x is not None else 0, 0 if w is None else w.data_ptr(), y.data_ptr() + at), self.stream.cuda_stream)

        self.torch.cuda.synchronize()
        samples = self.replayed(launch, measure.nodes)
        cycles = [] if measure.cycles_at is None else y.cpu().numpy()[measure.cycles_at : measure.y_bytes].view(np.int64).tolist()
        return samples, cycles

    def replayed(self, launch: Any, nodes: int) -> list[float]:
        """Return the time of one of `nodes` launches in each of SAMPLES replays of a graph of them."""
        torch = self.torch
        with torch.cuda.stream(self.stream):
            launch(0)  # loads the kernel and asks for its shared memory, which a capture may forbid
        self.stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            for node in range(nodes):
                launch(node)
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        samples = []
        with torch.cuda.stream(self.stream):
            until = time.monotonic() + WARM_SECONDS
            while True:
                graph.replay()
                self.stream.synchronize()
                if time.monotonic() >= until:
                    break
            for _ in range(SAMPLES):
                graph.replay()  # under way while the next one is enqueued, so that enqueuing is not timed
                start.record(self.stream)
                graph.replay()
                stop.record(self.stream)
                stop.synchronize()
                samples.append(start.elapsed_time(stop) * 1e-3 / nodes)
        return samples


def sizes(probe: Probe) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """Yield the name, shape and bytes of an element of each input of a probe, from the tensor maps or the inputs themselves."""
    maps = {found.operand: found for found in probe.tensor_maps}
    if maps:
        for name, found in maps.items():
            yield name, found.sizes, 2
    elif probe.name.startswith("copy"):
        yield "x", (probe.count,), 16
    else:
        for name, array in probe.draw(0).items():
            yield name, array.shape, array.itemsize


def rows_of(group: str, blocks: int, stage: Stage | None, engine: str, memory: Host) -> Iterator[dict[str, Any]]:
    """Yield the row of each measure of a group: checked, then timed where there is a stage."""
    for measure in measures.every(blocks):
        if measure.group != group:
            continue
        row: dict[str, Any] = {"group": group, "name": measure.name, "kernel": measure.probe.kernel, "bytes": measure.bytes, "flops": measure.flops}
        row |= {"products": measure.products, "warpgroups": measure.warpgroups, "blocks": measure.probe.grid[0], "nodes": measure.nodes}
        row |= {"seconds": None, "cycles": None, "reason": "no GPU", "check": check(measure.check, engine, memory)}
        if stage is not None:
            samples, cycles = stage.seconds(measure)
            row |= {"seconds": samples, "cycles": cycles or None, "reason": None}
        yield row


def measured(group: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a group on the GPU of this process."""
    torch = importlib.import_module("torch")
    blocks = torch.cuda.get_device_properties(0).multi_processor_count
    yield from rows_of(group, blocks, Stage(), "compiled", TorchMemory())


def rehearsed(group: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a group without a time, checked on the simulator."""
    yield from rows_of(group, measures.MULTIPROCESSORS, None, "simulated", Host())
