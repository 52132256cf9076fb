"""Probes of csrc/include/atrous/probes/halo.cuh: wgmma on a tile of 10 x 10 pixels, from each of its first rows on."""

from __future__ import annotations

import ctypes

import numpy as np

from ..kernels.parameters import DATA_TYPES
from ..launch import MAP_BYTES, TensorMap
from .gemm_sm90 import stored
from .probe import Arrays, Probe, ProbeArguments
from .rate_wgmma import CYCLES

HEADER = "atrous/probes/halo.cuh"
PITCH, SIDE, CHANNELS = 10, 8, 64
PIXELS = PITCH * PITCH
PATTERN_ROWS = 8  # of 128 bytes each, after which the swizzle repeats
#: rows by which the product may begin past the tile's first: the taps of a 3x3 filter are those of 0, 1, 2, 10 ... 22
SHIFTS = PIXELS - (SIDE - 1) * (PITCH + 1)
SHARED_BYTES = (13 + 8 + 1) * 1024
_FIRST_MAP = -(-ctypes.sizeof(ProbeArguments) // 64) * 64


def _maps() -> tuple[TensorMap, ...]:
    element, row = DATA_TYPES["bfloat16"], 2 * CHANNELS
    sizes = (CHANNELS, SIDE, SIDE, 1)
    strides = (row, row * SIDE, row * SIDE * SIDE)
    return (
        TensorMap("x", _FIRST_MAP, element, sizes, strides, box=(CHANNELS, PITCH, PITCH, 1), swizzle=128),
        TensorMap("w", _FIRST_MAP + MAP_BYTES, element, (CHANNELS, 64), (row,), box=(CHANNELS, 64), swizzle=128),
    )


def halo(copied: bool, pixels_are_m: bool, rounds: int = 1, blocks: int = SHIFTS, cycles: bool = False, first: int = 0) -> Probe:
    """Return the probe whose block b begins at row `first` + b of the tile; small integers, whose sums are exact.

    Parameters
    ----------
    copied : bool
        Whether the copy engine fills shared memory, the zeros around an 8 x 8 image too, or the threads with a whole tile.
    pixels_are_m : bool
        Whether the pixels are the rows of the product, or its columns.
    """
    shape = (1, SIDE, SIDE, CHANNELS) if copied else (PIXELS, CHANNELS)

    def inputs(random: np.random.Generator) -> Arrays:
        return {"x": stored(random.integers(-8, 9, shape), "bfloat16"), "w": stored(random.integers(-8, 9, (64, CHANNELS)), "bfloat16")}

    size = [first, rounds, *[0] * 6]
    size[CYCLES] = int(cycles)
    way = "copied" if copied else "stored"
    return Probe(
        f"halo_{way}_{'m' if pixels_are_m else 'n'}", f"probe_halo_{way}<{str(pixels_are_m).lower()}>", HEADER, inputs,
        ((blocks, 64, 64), "float32"), size=tuple(size), grid=(blocks, 1, 1), block=(128, 1, 1), shared_bytes=SHARED_BYTES,
        tensor_maps=_maps() if copied else (), capability=90,
    )  # fmt: skip


PROBES = tuple(halo(copied, pixels_are_m) for copied in (False, True) for pixels_are_m in (True, False))
