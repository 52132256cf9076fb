"""Probes of csrc/include/atrous/probes/matrix.cuh: ldmatrix, stmatrix, mma, rounding to tf32 and the split into two."""

from __future__ import annotations

import numpy as np

from .probe import Arrays, Probe

HEADER = "atrous/probes/matrix.cuh"
ROWS = 64  # of 16 bytes, in shared memory
WARPS = 2
THREADS = 32 * WARPS
COUNT = 1024
#: kernel's element type -> elements of depth in 32 bytes, type of the sums
ELEMENTS = {"float16": (16, "float32"), "bfloat16": (16, "float32"), "float32": (8, "float32"), "int8": (32, "int32"), "uint8": (32, "int32")}


def _rows_of_lanes(random: np.random.Generator) -> np.ndarray:
    """Return a row for every lane, each another one within a warp."""
    return np.concatenate([random.permutation(ROWS)[:32] for _ in range(WARPS)]).astype(np.int32)


def _loaded(random: np.random.Generator) -> Arrays:
    return {"x": random.permutation(2**16)[: ROWS * 8].astype(np.uint16).reshape(ROWS, 8), "w": _rows_of_lanes(random)}


def _stored(count: int, random: np.random.Generator) -> Arrays:
    # the warps store to rows of their own, so that no row is written twice
    rows = random.permutation(ROWS).astype(np.int32)
    return {"x": random.integers(0, 2**32, (THREADS, count), dtype=np.uint32), "w": rows}


def _packed(values: np.ndarray, element: str) -> np.ndarray:
    """Return numbers that the element type holds as the registers that hold them: the last axis is packed into 32-bit words."""
    if element == "bfloat16":
        halves = (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)
        return halves.view(np.uint32)
    return np.ascontiguousarray(values.astype(element)).view(np.uint32)


def _multiplied(element: str, exact: bool, random: np.random.Generator) -> Arrays:
    per_register = ELEMENTS[element][0] // 8
    shape = {"a": (THREADS, 4 * per_register), "b": (THREADS, 2 * per_register)}
    a: np.ndarray
    b: np.ndarray
    if ELEMENTS[element][1] == "int32":
        low, high = (-128, 128) if element == "int8" else (0, 256)
        a, b = (random.integers(low, high, shape[name]) for name in "ab")
        c = random.integers(-(2**31), 2**31, (THREADS, 4)).astype(np.int32)
    elif exact:
        a, b = (random.integers(-16, 17, shape[name]) for name in "ab")
        c = random.integers(-(2**16), 2**16, (THREADS, 4)).astype(np.float32)
    else:
        # bits that every one of the three formats keeps
        a, b = ((random.normal(0, 1, shape[name]).astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32) for name in "ab")
        c = random.normal(0, 4, (THREADS, 4)).astype(np.float32)
    return {"x": _packed(a, element), "w": np.concatenate([_packed(b, element), c.view(np.uint32)], axis=1)}


def _mma(element: str, exact: bool) -> Probe:
    # A device may cut each of 17 terms below 64, three times, to 23 bits below the largest, where the model rounds: 2^-12.
    return Probe(
        f"mma_{element}" + ("" if exact else "_reals"), f"probe_mma<{element}>", HEADER, lambda random: _multiplied(element, exact, random),
        ((THREADS, 4), ELEMENTS[element][1]), count=1 if exact else 3, block=(THREADS, 1, 1), bound=None if exact else lambda given: 2.0**-11,
    )  # fmt: skip


def _reals_to_round(random: np.random.Generator) -> Arrays:
    x = random.integers(0, 2**32, COUNT, dtype=np.uint32)
    x[:256] &= 0xFFFFE000  # halfway cases and exact ones
    x[:128] |= 0x1000
    x[256:260] = [0, 0x80000000, 0x7F800000, 0xFF800000]
    x[260:264] = [0x7F7FEFFF, 0x7F7FF000, 1, 0x00001000]  # about the largest; subnormals
    real = x.view(np.float32)
    return {"x": np.where(np.isnan(real), np.float32(1.5), real)}


def _reals_to_split(random: np.random.Generator) -> Arrays:
    given = _reals_to_round(random)
    return {"x": np.where(np.isinf(given["x"]), np.float32(-0.75), given["x"])}  # inf - inf is a NaN of either sign


PROBES = (
    *(
        Probe(
            f"load_matrix_x{count}" + "_transposed" * transposed, f"probe_load_matrix<{count}, {str(transposed).lower()}>", HEADER, _loaded,
            ((THREADS, count), "uint32"), block=(THREADS, 1, 1),
        )
        for count in (1, 2, 4) for transposed in (False, True)
    ),
    *(
        Probe(
            f"store_matrix_x{count}" + "_transposed" * transposed, f"probe_store_matrix<{count}, {str(transposed).lower()}>", HEADER,
            lambda random, count=count: _stored(count, random),  # type: ignore[misc]
            ((ROWS, 8), "uint16"), block=(THREADS, 1, 1), capability=90,
        )
        for count in (1, 2, 4) for transposed in (False, True)
    ),
    *(_mma(element, True) for element in ELEMENTS),
    *(_mma(element, False) for element in ("float16", "bfloat16", "float32")),
    Probe("round_tf32", "probe_round_tf32<float32>", HEADER, _reals_to_round, ((COUNT,), "float32"), count=COUNT, grid=(COUNT // 128, 1, 1), block=(128, 1, 1)),
    Probe(
        "split_tf32", "probe_split_tf32<float32>", HEADER, _reals_to_split, ((COUNT, 5), "uint32"), count=COUNT, grid=(COUNT // 128, 1, 1), block=(128, 1, 1)
    ),
)  # fmt: skip
