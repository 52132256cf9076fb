"""Probes of csrc/include/atrous/probes/tensor_copy.cuh: boxes, columns of pixels, multicast, stores and plain runs of bytes."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from ..kernels.parameters import BYTES, DATA_TYPES
from ..launch import TensorMap
from .probe import Arrays, Probe, ProbeArguments

HEADER = "atrous/probes/tensor_copy.cuh"
THREADS = 64
BOUNDARY = 1024  # of the box in shared memory
MAP_AT = ctypes.sizeof(ProbeArguments)


def _bytes(*shape: int) -> Any:
    """Return what draws x as bytes; a tensor map gives them their type."""
    return lambda random: {"x": random.integers(0, 256, shape, dtype=np.uint8)}


def _map(operand: str, dtype: str, sizes: tuple[int, ...], **how: Any) -> TensorMap:
    """Return the map of a dense tensor whose dimension 0 runs fastest."""
    strides = tuple(BYTES[dtype] * math.prod(sizes[:i]) for i in range(1, len(sizes)))
    return TensorMap(operand, MAP_AT, DATA_TYPES[dtype], sizes, strides, **how)


def _probe(name: str, kernel: str, inputs: Any, found: TensorMap | None, count: int, size: tuple[int, ...], output: Any = None, **how: Any) -> Probe:
    return Probe(
        name, kernel, HEADER, inputs, output or ((count,), "uint8"), count=count, size=size, block=(THREADS, 1, 1),
        shared_bytes=2 * BOUNDARY + count, tensor_maps=(found,) if found else (), capability=90, **how,
    )  # fmt: skip


def _tile(dtype: str, sizes: tuple[int, ...], box: tuple[int, ...], corner: tuple[int, ...], swizzle: int, shift: int = 0, steps: Any = ()) -> Probe:
    rank = len(sizes)
    taken = [box[0], *(-(-extent // step) for extent, step in zip(box[1:], steps[1:] or (1,) * (rank - 1)))]
    return _probe(
        f"tile_{rank}_{dtype}_swizzle{swizzle}" + (f"_shift{shift}" if shift else "") + ("_steps" if steps else ""),
        f"probe_load_tile<{rank}>", _bytes(math.prod(sizes) * BYTES[dtype]),
        _map("x", dtype, sizes, box=box, swizzle=swizzle, element_strides=steps),
        math.prod(taken) * BYTES[dtype], (*corner, *(0,) * (5 - rank), shift),
    )  # fmt: skip


def _stored(dtype: str, sizes: tuple[int, ...], box: tuple[int, ...], corner: tuple[int, ...], swizzle: int) -> Probe:
    rank, count = len(sizes), math.prod(box) * BYTES[dtype]
    return _probe(
        f"stored_{rank}_{dtype}_swizzle{swizzle}", f"probe_store_tile<{rank}>", _bytes(count), _map("y", dtype, sizes, box=box, swizzle=swizzle),
        count, corner, output=((math.prod(sizes) * BYTES[dtype],), "uint8"),
    )  # fmt: skip


def _column(name: str, dtype: str, sizes: tuple[int, ...], size: tuple[int, ...], channels: int, pixels: int, **how: Any) -> Probe:
    return _probe(
        f"im2col_{name}", f"probe_load_im2col<{len(sizes)}>", _bytes(math.prod(sizes) * BYTES[dtype]),
        _map("x", dtype, sizes, channels_per_pixel=channels, pixels_per_column=pixels, **how),
        channels * pixels * BYTES[dtype], size,
    )  # fmt: skip


def _draw_run(random: np.random.Generator) -> Arrays:
    return {"x": random.integers(0, 256, 4096, dtype=np.uint8)}


PROBES = (
    _tile("uint8", (200,), (64,), (-16,), 0),
    *(_tile("float16", (span, 40), (span // 2, 24), (4, 7), span, shift) for span in (32, 64, 128) for shift in (0, 128, 640)),
    _tile("float32", (36, 9, 5), (32, 8, 4), (-3, 4, -1), 128),
    _tile("float16", (48, 9, 7, 3), (32, 8, 4, 2), (0, -2, 5, 1), 64, steps=(1, 2, 1, 1)),
    _tile("float64", (6, 3, 4, 3, 4), (4, 2, 3, 2, 3), (1, -1, 2, 0, 2), 32),
    _stored("uint8", (208,), (64,), (176,), 0),
    *(_stored("float16", (span, 20), (span // 2, 16), (span // 4, 9), span) for span in (32, 64, 128)),
    _stored("float32", (36, 9, 5), (32, 8, 4), (-3, 4, -1), 128),
    _stored("float16", (48, 9, 7, 3), (32, 8, 4, 2), (0, -2, 5, 1), 64),
    _stored("float64", (6, 3, 4, 3, 4), (4, 2, 3, 2, 3), (1, -1, 2, 0, 2), 32),
    # a row of 19 pixels padded by 2 and 1, 3 taps, stride 2: the last images' tail is zero
    _column("1d", "float16", (40, 19, 3), (8, 8, 2, 1), 32, 40, swizzle=64, lower_corner=(-2,), upper_corner=(-1,), element_strides=(1, 2, 1)),
    # 3x3 taps, pad 1, on 7 x 6 pixels; from the second row on, at the last tap
    _column("pad1", "float16", (64, 7, 6, 2), (0, 1, 0, 0, 2, 2), 64, 64, swizzle=128, lower_corner=(-1, -1), upper_corner=(-1, -1)),
    # stride 2 by 3, dilation 2, pads that differ on every side, channels past the last
    _column(
        "general", "float32", (20, 11, 13, 2), (8, 1, 1, 0, 2, 4), 16, 48, swizzle=64,
        lower_corner=(-3, -2), upper_corner=(-3, -1), element_strides=(1, 2, 3, 1),
    ),
    _column("3d", "float16", (16, 5, 4, 3, 2), (0, -1, 0, 0, 0, 1, 2, 1), 16, 70, swizzle=32, lower_corner=(-1, -1, 0), upper_corner=(-1, -1, -1)),
    *(
        _probe(
            f"multicast_{blocks}_{mask:b}", "probe_multicast", _bytes(64 * (8 * blocks - 3)), _map("x", "uint8", (64, 8 * blocks - 3), box=(64, 8), swizzle=64),
            512 * blocks, (0, 8, mask), output=((blocks, 512 * blocks), "uint8"), grid=(blocks, 1, 1), cluster=(blocks, 1, 1),
        )
        for blocks, mask in ((2, 3), (4, 15), (4, 10))
    ),
    _probe("bulk", "probe_copy_bulk", _draw_run, None, 4096, (0, 0, 0, 0, 0, 48), output=((2, 4096), "uint8")),
)  # fmt: skip
