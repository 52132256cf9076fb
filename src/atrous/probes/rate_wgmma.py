"""Probes of csrc/include/atrous/probes/rate_wgmma.cuh: products of what lies in shared memory, again and again."""

from __future__ import annotations

import numpy as np

from .gemm_sm90 import stored
from .probe import Arrays, Probe

HEADER = "atrous/probes/rate_wgmma.cuh"
DEPTH = 256
SIZES = (64, 128, 192, 256)
ROW_BYTES = 2 * DEPTH
#: place in Probe.size of the word that asks for the cycles of each block
CYCLES = 7


def resident(n: int, warpgroups: int, rounds: int, blocks: int, cycles: bool = False) -> Probe:
    """Return the probe whose blocks multiply [64 warpgroups, DEPTH] by [DEPTH, n] `rounds` times; small integers, whose sums are exact."""
    rows = 64 * warpgroups

    def inputs(random: np.random.Generator) -> Arrays:
        return {"x": stored(random.integers(-3, 4, (rows + n, DEPTH)), "bfloat16")}

    return Probe(
        f"resident_wgmma_n{n}_{warpgroups}", f"probe_resident_wgmma<{n}, bfloat16>", HEADER, inputs, ((blocks, rows, n), "float32"),
        size=(rounds, 0, 0, 0, 0, 0, 0, int(cycles)), grid=(blocks, 1, 1), block=(128 * warpgroups, 1, 1),
        shared_bytes=(rows + n) * ROW_BYTES + 1024, capability=90,
    )  # fmt: skip


PROBES = tuple(resident(n, 1 + (n > 64), 2, 1 + (n == 64)) for n in SIZES)
