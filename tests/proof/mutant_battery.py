"""Runs the simulator's checks on kernels with a planted bug, and stops at the first that sees it.

mutant_battery.py record BASELINE: keep what the probes of the loaded build, which has no bug, give.
mutant_battery.py edges BASELINE HEADER ...: run the tests of edges, where the headers hold kernels, on a build with every instance.
mutant_battery.py VARIANT BASELINE HEADER ...: check the kernels of these headers in the loaded build; exit 1 where a check saw something.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import beyond
import numpy as np
import pytest

from atrous import choose, conformance, kernels, sampling
from atrous.probes import every_probe
from atrous.problem import parse
from atrous.verify import Prover

#: random problems of a variant, once for the kernels of every header
PROBLEMS = {"plain": 500, "race": 150, "sanitized": 150}
#: what probes run under, each a value of ATROUS_SIM_SCHEDULE
SCHEDULES = tuple(
    f"{word}:{seed}:{landing}" for landing in ("latest", "earliest", "random") for word, seed in (("in-order", 0), ("reverse", 0), ("greedy", 1), ("random", 2))
)
FIRST_SEED = 3_000_000  # of seeds that no other check draws
#: kernel or operation -> what its problems are drawn from, where others hardly ever meet it
DRAWN = {
    "conv_depthwise": sampling.random_depthwise,
    "conv_depthwise_planes": sampling.random_depthwise,
    "conv_grouped": sampling.random_grouped,
    "conv2d_pool2d": sampling.random_pair,
    "separable_conv2d": sampling.random_separable,
    "elementwise": sampling.random_elementwise,
}
#: draws after which a build of few instances counts as having met what it can
MOST_DRAWS = 50_000


def instances_here() -> set[str]:
    """Return what the loaded build holds: of a planted bug, few of every kernel's instances."""
    return set(importlib.import_module("atrous._sim").kernels())


def headers_of(kernel: Any) -> set[str]:
    """Return the headers of all that a kernel's sequences launch: of each, the one of its template's name."""
    return {kernel.header, *(f"atrous/kernels/{name.partition('<')[0]}.cuh" for name in kernel.instances())}


def check_kernels(variant: str, headers: set[str]) -> str | None:
    """Run random problems on the kernels of some headers; return the first failure."""
    built = instances_here()
    families = [kernel for kernel in kernels.ORDER if headers & headers_of(kernel)]
    for kernel in families:
        wanted = lambda launch, header=kernel.header: (  # noqa: E731
            launch.header == header and built.issuperset(launch.names) and not headers.isdisjoint(part.header for part in launch.sequence)
        )
        prover = Prover("simulated", wanted=wanted)
        draw = DRAWN.get(kernel.name) or DRAWN.get(kernel.operation, sampling.random_problem)
        seed = FIRST_SEED
        while prover.ledger.problems < PROBLEMS[variant] // len(families) and seed < FIRST_SEED + MOST_DRAWS:
            prover.prove(draw(seed), seed)
            seed += 1
            if prover.ledger.failures:
                failure = prover.ledger.failures[0]
                return f"{failure['rerun']}: {failure['what']}"
    return None


def check_beyond(headers: set[str]) -> str | None:
    """Run single blocks of the kernels of some headers on operands of more than 2^31 elements; return the first failure."""
    device = choose.device_named("simulated")
    for case in beyond.CASES.values():
        problem = parse(case)
        for answer in choose.options(problem, device):
            kernel = kernels.named(answer.kernel)
            if (
                answer.reason is None
                and kernel is not None
                and headers & headers_of(kernel)
                and instances_here().issuperset(beyond.lone(kernel, problem).names)
            ):
                _, wrong = beyond.check(case, kernel.name)
                if wrong is not None:
                    return wrong
    return None


def check_probes(recording: str, headers: set[str]) -> str | None:
    """Run the probes of some headers under every schedule; return the first difference from the recording."""
    probes = {name: probe for name, probe in every_probe().items() if probe.header in headers and probe.kernel in instances_here()}
    with np.load(recording) as file:
        kept = [(probes[name], int(seed), file[key]) for key in file.files for name, _, seed in [key.rpartition(".")] if name in probes]
    for schedule in SCHEDULES:
        os.environ["ATROUS_SIM_SCHEDULE"] = schedule
        for probe, seed, recorded in kept:
            if (difference := conformance.compare(probe, seed, recorded, "simulated")) is not None:
                return f"{schedule}, {probe.name}: {difference}"
    return None


def check_edges(headers: set[str]) -> int:
    """Run the tests of edges: strided operands, large windows, and all that lies beyond 2^31 elements."""
    if not any("/kernels/" in header for header in headers):
        return 0
    tests = Path(__file__).resolve().parents[1]
    names = ("kernels_edges", "conv_depthwise", "conv_grouped", "pool_edges", "pool_stream", "igemm_edges", "first_edges", "conv_pool_edges", "elementwise")
    names += ("beyond_2e31",)
    # but for what starts Python anew, on a build that is not this one
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "not 32_bits and not sector and not separate_banks"]
    return int(pytest.main([*options, *(str(tests / f"test_{name}.py") for name in names)]))


def main(variant: str, recording: str, *headers: str) -> int:
    """Say what the first check saw, if any did."""
    if variant == "record":
        return 1 if conformance.record(recording, "simulated")["failures"] else 0
    if variant == "edges":
        return check_edges(set(headers))
    seen = check_kernels(variant, set(headers)) or check_probes(recording, set(headers))
    if seen is None and variant == "plain":
        seen = check_beyond(set(headers))
    if seen is not None:
        print("killed:", " ".join(seen.split()))
    return 0 if seen is None else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
