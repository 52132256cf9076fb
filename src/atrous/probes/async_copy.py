"""Probes of csrc/include/atrous/probes/async_copy.cuh: zero fill of each size, and the ring of a pipelined product."""

from __future__ import annotations

import numpy as np

from .probe import Arrays, Probe

HEADER = "atrous/probes/async_copy.cuh"
THREADS, STEPS = 128, 11
BYTES = (4, 8, 16)
STAGES = (3, 4)


def _zero_fill(width: int) -> Probe:
    def inputs(random: np.random.Generator) -> Arrays:
        valid = random.integers(0, width + 1, THREADS).astype(np.int32)
        valid[: width + 1] = np.arange(width + 1)  # every number of bytes at least once
        return {"x": random.integers(1, 256, (THREADS, width)).astype(np.uint8), "w": valid}

    return Probe(f"copy_async_{width}", f"probe_copy_async<{width}>", HEADER, inputs, ((THREADS, width), "uint8"), block=(THREADS, 1, 1))


def _factors(random: np.random.Generator) -> Arrays:
    return {name: random.integers(-1000, 1000, (STEPS, THREADS, 4)).astype(np.int32) for name in ("x", "w")}


PROBES = (
    *(_zero_fill(width) for width in BYTES),
    *(
        Probe(f"copy_ring_{stages}", f"probe_copy_ring<{stages}>", HEADER, _factors, ((THREADS,), "int32"), count=STEPS, block=(THREADS, 1, 1))
        for stages in STAGES
    ),
)
