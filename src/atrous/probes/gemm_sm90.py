"""Probes of csrc/include/atrous/probes/gemm_sm90.cuh: a whole matrix product of TMA, mbarrier, wgmma and TMA again."""

from __future__ import annotations

import ctypes

import numpy as np

from ..kernels.parameters import DATA_TYPES
from ..launch import TensorMap
from .probe import Arrays, Probe, ProbeArguments

HEADER = "atrous/probes/gemm_sm90.cuh"
TILE, DEPTH = 128, 64
THREADS = 384
SHARED_BYTES = 4 * 2 * TILE * 128 + 4 * 64 * 128 + 1024
#: the maps follow the plain arguments, each on a multiple of 64 bytes
FIRST_MAP = -(-ctypes.sizeof(ProbeArguments) // 64) * 64


def maps(element: str, rows: int, columns: int, depth: int) -> tuple[TensorMap, ...]:
    """Return the maps of x: [rows, depth], w: [columns, depth] and y: [rows, columns], all of 2-byte elements."""
    return tuple(
        TensorMap(operand, FIRST_MAP + 128 * i, DATA_TYPES[element], (inner, outer), (2 * inner,), (64, box), swizzle=128)
        for i, (operand, outer, inner, box) in enumerate((("x", rows, depth, TILE), ("w", columns, depth, TILE), ("y", rows, columns, 64)))
    )


def stored(values: np.ndarray, element: str) -> np.ndarray:
    """Return small integers as elements; those of bfloat16 as their bits."""
    if element == "bfloat16":
        return (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return np.asarray(values.astype(element))


def gemm(element: str, rows: int, columns: int, depth: int, blocks: int) -> Probe:
    """Return the probe of one product of small integers, whose sums are exact; `blocks` share the tiles."""

    def inputs(random: np.random.Generator) -> Arrays:
        return {name: stored(random.integers(-3, 4, (extent, depth)), element) for name, extent in (("x", rows), ("w", columns))}

    return Probe(
        f"gemm_sm90_{element}_{rows}x{columns}x{depth}_{blocks}", f"probe_gemm_sm90<{element}>", HEADER, inputs,
        ((rows, columns), element), size=(rows, columns, depth), grid=(blocks, 1, 1), block=(THREADS, 1, 1), shared_bytes=SHARED_BYTES,
        tensor_maps=maps(element, rows, columns, depth), capability=90,
    )  # fmt: skip


PROBES = (
    gemm("bfloat16", 128, 128, 64, 1),
    gemm("bfloat16", 200, 264, 456, 2),
    gemm("float16", 384, 128, 320, 2),
    gemm("float16", 72, 40, 24, 1),
)
