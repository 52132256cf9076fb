"""Names and times of the kernels that torch in eager mode, channels_last, runs for each layer of the suite: cuDNN's, and what stands around them."""

from __future__ import annotations

import importlib
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from atrous.bench import contest, suite
from atrous.bench.rivals import torch_eager

GROUP = "cudnn"
BATCH = 32
OVER = "the time for it was over"
CALLS = 3  # of a profile
ORDER = "channels_last"


def layers(batch: int = BATCH) -> list[tuple[str, Any, int]]:
    """Return (names, problem, how many layers the networks have of it) of the suite, each problem once, those with most pixels to compute first."""
    found: dict[Any, list[suite.Layer]] = defaultdict(list)
    for net in suite.networks():
        for layer in suite.read(net):
            found[suite.at(layer.problem, batch=batch)].append(layer)
    rows = [(" ".join(layer.name for layer in same), problem, sum(layer.count for layer in same)) for problem, same in found.items()]
    return sorted(rows, key=lambda row: -row[2] * work(row[1]))


def work(problem: Any) -> int:
    """Return about how many multiply-adds, or comparisons, a problem takes."""
    return int(problem.n * problem.p * problem.q * problem.r * problem.s * (problem.k * problem.c // problem.groups if hasattr(problem, "k") else problem.c))


def kernels(problem: Any, device: str, calls: int = CALLS) -> list[dict[str, Any]]:
    """Return name, times of one call and count of each kernel that a problem runs, in the order of their first start."""
    torch = importlib.import_module("torch")
    torch.backends.cudnn.benchmark = True
    compute = torch_eager.operation(problem)
    operands = torch_eager.tensors(problem, contest.inputs_of(problem), device, ORDER)
    activity, kind = (torch.profiler.ProfilerActivity.CUDA, "CUDA") if device == "cuda" else (torch.profiler.ProfilerActivity.CPU, "CPU")
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    with torch.inference_mode():
        for _ in range(2):  # the first one searches
            compute(**operands)
        wait()
        with torch.profiler.profile(activities=[activity]) as profile:
            for _ in range(calls):
                compute(**operands)
            wait()
    found: dict[str, list[float]] = defaultdict(list)
    for event in sorted(profile.events(), key=lambda event: event.time_range.start):
        if event.device_type.name == kind:
            found[event.name].append(event.time_range.elapsed_us() * 1e-6)
    return [{"name": name, "seconds": sum(times) / calls, "launches": len(times) / calls} for name, times in found.items()]


def measured(deadline: float, device: str = "cuda", batch: int = BATCH) -> Iterator[dict[str, Any]]:
    """Yield a row of each problem of the suite; past the deadline, a clock of time.monotonic, one that says so."""
    for names, problem, count in layers(batch):
        row: dict[str, Any] = {"group": GROUP, "name": names, "case": str(problem), "count": count, "seconds": None, "reason": None, "kernels": []}
        try:
            if time.monotonic() > deadline:
                row["reason"] = OVER
            else:
                row["kernels"] = kernels(problem, device)
                row["seconds"] = [sum(kernel["seconds"] for kernel in row["kernels"])]
        except contest.Unsupported as unsupported:
            row["reason"] = str(unsupported)
        yield row


def rehearsed() -> Iterator[dict[str, Any]]:
    """Yield the same rows where there is no GPU."""
    for names, problem, count in layers():
        yield {"group": GROUP, "name": names, "case": str(problem), "count": count, "seconds": None, "reason": "no GPU", "kernels": []}
