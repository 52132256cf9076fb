"""Probes of csrc/include/atrous/probes/rate_loads.cuh: tiles that stream through a ring, by im2col, by boxes and by multicast."""

from __future__ import annotations

import numpy as np

from ..kernels.parameters import DATA_TYPES
from ..launch import TensorMap
from .gemm_sm90 import FIRST_MAP
from .probe import Arrays, Probe

HEADER = "atrous/probes/rate_loads.cuh"
THREADS = 64
PIXELS = 128  # of a tile
ROWS, ROW_BYTES = 128, 128  # of a tile of boxes
TAPS = 3  # of a stage, a row of a 3x3 filter
BOX_ROWS = 64


def im2col(channels: int, image: tuple[int, int, int], tiles: int, slots: int, blocks: int, show: bool = True) -> Probe:
    """Return the probe whose blocks take `tiles` tiles of the columns of a 3x3 convolution with padding 1.

    Parameters
    ----------
    channels : int
        16, 32 or 64 bfloat16, as wide as the swizzle.
    image : tuple of int
        N, H, W.
    tiles, slots : int
        Tiles of a block, and stages of the ring.
    show : bool
        Whether y holds what lies in the slots at the end, or the cycles of each block.
    """
    n, h, w = image
    row, load = 2 * channels, 2 * channels * PIXELS
    found = TensorMap(
        "x", FIRST_MAP, DATA_TYPES["bfloat16"], (channels, w, h, n), (row, row * w, row * w * h), lower_corner=(-1, -1), upper_corner=(-1, -1),
        channels_per_pixel=channels, pixels_per_column=PIXELS, swizzle=row,
    )  # fmt: skip
    size = (tiles, slots, -(-n * h * w // PIXELS), h, w, load, 0, int(not show))

    def inputs(random: np.random.Generator) -> Arrays:
        return {"x": random.integers(0, 2**16, (n, h, w, channels), dtype=np.uint16)}

    return _stream(f"stream_im2col_{channels}", "probe_stream_im2col", inputs, found, size, slots * TAPS * load, blocks, show)


def boxes(multicast: bool, rows: int, tiles: int, slots: int, blocks: int, show: bool = True) -> Probe:
    """Return the probe whose pairs of blocks take `tiles` tiles of 128 rows of 128 bytes, each block alone or each half of a tile for both."""
    found = TensorMap("x", FIRST_MAP, DATA_TYPES["bfloat16"], (64, rows), (ROW_BYTES,), box=(64, BOX_ROWS), swizzle=128)
    word = "multicast" if multicast else "tiles"

    def inputs(random: np.random.Generator) -> Arrays:
        return {"x": random.integers(0, 2**16, (rows, 64), dtype=np.uint16)}

    size = (tiles, slots, rows // ROWS, 0, 0, 0, 0, int(not show))
    cluster = (2, 1, 1) if multicast else (1, 1, 1)
    return _stream(f"stream_{word}", f"probe_stream_{word}", inputs, found, size, slots * ROWS * ROW_BYTES, blocks, show, cluster=cluster)


def _stream(name: str, kernel: str, inputs: object, found: TensorMap, size: tuple[int, ...], ring: int, blocks: int, show: bool, **how: object) -> Probe:
    output = ((blocks, ring), "uint8") if show else ((blocks,), "int64")
    return Probe(
        name, kernel, HEADER, inputs, output, count=ring if show else 0, size=size, grid=(blocks, 1, 1), block=(THREADS, 1, 1),  # type: ignore[arg-type]
        shared_bytes=ring + 1024, tensor_maps=(found,), capability=90, **how,  # type: ignore[arg-type]
    )  # fmt: skip


PROBES = (
    # 2 x 9 x 11 pixels are two tiles, the second of which ends past the last image
    *(im2col(channels, (2, 9, 11), 2, 2, 2) for channels in (16, 32, 64)),
    boxes(False, 5 * ROWS, 5, 3, 4),
    boxes(True, 5 * ROWS, 5, 3, 4),
)
