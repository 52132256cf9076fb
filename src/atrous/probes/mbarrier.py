"""Probes of csrc/include/atrous/probes/mbarrier.cuh: a ring between one producing and two consuming warps."""

from __future__ import annotations

import numpy as np

from .probe import Arrays, Probe

HEADER = "atrous/probes/mbarrier.cuh"
STEPS = 13


def _numbers(random: np.random.Generator) -> Arrays:
    return {"x": random.integers(-(2**20), 2**20, (STEPS, 32, 4)).astype(np.int32)}


def _ring(name: str, kernel: str) -> Probe:
    return Probe(name, kernel, HEADER, _numbers, ((STEPS, 2, 32), "int32"), count=STEPS, block=(96, 1, 1), capability=90)


PROBES = (_ring("barrier_ring_stores", "probe_barrier_ring<3, false>"), _ring("barrier_ring_copies", "probe_barrier_ring<2, true>"))
