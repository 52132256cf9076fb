"""Probes of csrc/include/atrous/probes/gemm_sm80.cuh: a whole matrix product of cp.async, ldmatrix and mma."""

from __future__ import annotations

import numpy as np

from .probe import Arrays, Probe

HEADER = "atrous/probes/gemm_sm80.cuh"
TILE = 64
#: kernel's element type -> bytes of an element, type of the sums
ELEMENTS = {"float16": (2, "float32"), "bfloat16": (2, "float32"), "float32": (4, "float32"), "int8": (1, "int32"), "uint8": (1, "int32")}


def row_bytes(element: str, depth: int) -> int:
    """Return the bytes from one row of an operand to the next: those of the depth, up to a multiple of 16, and 16 more."""
    return -(-depth * ELEMENTS[element][0] // 16) * 16 + 16


def stored(values: np.ndarray, element: str) -> np.ndarray:
    """Return a matrix of numbers as the rows of bytes that the kernel reads; what lies past the depth is 0xFF."""
    rows, depth = values.shape
    size = ELEMENTS[element][0]
    if element == "bfloat16":
        raw = (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    else:
        raw = np.ascontiguousarray(values.astype(element))
    found = np.full((rows, row_bytes(element, depth)), 0xFF, np.uint8)
    found[:, : depth * size] = raw.view(np.uint8).reshape(rows, depth * size)
    return found


def gemm(element: str, rows_word: str, rows: int, columns: int, depth: int) -> Probe:
    """Return the probe of one product of small integers, whose sums are exact; rows_word is SwizzledRows or PaddedRows."""

    def inputs(random: np.random.Generator) -> Arrays:
        low = 0 if element == "uint8" else -8
        return {name: stored(random.integers(low, 9, (extent, depth)), element) for name, extent in (("x", rows), ("w", columns))}

    size, sums = ELEMENTS[element]
    return Probe(
        f"gemm_sm80_{element}_{rows_word.lower()}_{rows}x{columns}x{depth}", f"probe_gemm_sm80<{element}, {rows_word}>", HEADER, inputs,
        ((rows, columns), sums), size=(rows, columns, depth * size, row_bytes(element, depth)),
        grid=(-(-rows // TILE) * -(-columns // TILE), 1, 1), block=(128, 1, 1),
    )  # fmt: skip


PROBES = (
    gemm("float16", "SwizzledRows", 128, 128, 256),
    gemm("float16", "SwizzledRows", 77, 91, 117),
    gemm("float16", "PaddedRows", 77, 91, 117),
    gemm("bfloat16", "SwizzledRows", 65, 66, 75),
    gemm("float32", "SwizzledRows", 33, 130, 59),
    gemm("int8", "SwizzledRows", 70, 40, 201),
    gemm("uint8", "PaddedRows", 70, 41, 201),
)
