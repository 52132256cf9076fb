"""Probes of csrc/include/atrous/probes/mbarrier.cuh: a ring between one producing and two consuming warps, and one between blocks."""

from __future__ import annotations

import numpy as np

from .probe import Arrays, Probe

HEADER = "atrous/probes/mbarrier.cuh"
STEPS, BLOCKS = 13, 8
CLUSTERS = (2, 4)


def _numbers(random: np.random.Generator) -> Arrays:
    return {"x": random.integers(-(2**20), 2**20, (STEPS, 32, 4)).astype(np.int32)}


def _ring(name: str, kernel: str) -> Probe:
    return Probe(name, kernel, HEADER, _numbers, ((STEPS, 2, 32), "int32"), count=STEPS, block=(96, 1, 1), capability=90)


def _mail(random: np.random.Generator) -> Arrays:
    return {"x": random.integers(-(2**31), 2**31, (STEPS, BLOCKS, 32)).astype(np.int32)}


def _cluster(blocks: int) -> Probe:
    shape, grid, cluster = (STEPS, BLOCKS, 32), (BLOCKS, 1, 1), (blocks, 1, 1)
    return Probe(
        f"barrier_cluster_{blocks}", "probe_barrier_cluster<2>", HEADER, _mail, (shape, "int32"), count=STEPS,
        grid=grid, block=(64, 1, 1), cluster=cluster, capability=90,
    )  # fmt: skip


PROBES = (
    _ring("barrier_ring_stores", "probe_barrier_ring<3, false>"),
    _ring("barrier_ring_copies", "probe_barrier_ring<2, true>"),
    *(_cluster(blocks) for blocks in CLUSTERS),
)
