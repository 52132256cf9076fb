"""Probes of csrc/include/atrous/probes/rate_copy.cuh: a copy by vectors of 16 bytes, and a kernel that does nothing."""

from __future__ import annotations

import numpy as np

from .probe import Probe

HEADER = "atrous/probes/rate_copy.cuh"
THREADS, EACH = 256, 4
VECTOR = 16  # bytes


def copy(nbytes: int) -> Probe:
    """Return the copy of a multiple of 16 bytes."""
    vectors = nbytes // VECTOR
    return Probe(
        f"copy_{nbytes}", f"probe_copy_vectors<{EACH}>", HEADER, lambda random: {"x": random.integers(0, 2**32, (vectors, 4), dtype=np.uint32)},
        ((vectors, 4), "uint32"), count=vectors, grid=(-(-vectors // (THREADS * EACH)), 1, 1), block=(THREADS, 1, 1), capability=90,
    )  # fmt: skip


def empty(blocks: int, threads: int, shared_bytes: int) -> Probe:
    """Return the kernel that does nothing, in the form of one that would do something."""
    return Probe(
        f"empty_{blocks}x{threads}_{shared_bytes}", "probe_empty", HEADER, lambda random: {}, ((1,), "uint8"),
        grid=(blocks, 1, 1), block=(threads, 1, 1), shared_bytes=shared_bytes, capability=90,
    )  # fmt: skip


PROBES = (copy(VECTOR * (2 * THREADS * EACH + 300)), empty(2, 384, 200 * 1024))
