"""What the copy engine does, in NumPy: boxes, columns of pixels and swizzles, from their definitions; and launches of its probes."""

from __future__ import annotations

import ctypes

import numpy as np

from atrous.engines import simulated
from atrous.kernels.parameters import DATA_TYPES
from atrous.launch import Launch, TensorMap
from atrous.probes.probe import SIZES, ProbeArguments

HEADER = "atrous/probes/tensor_copy.cuh"
MAP_AT = ctypes.sizeof(ProbeArguments)
BOUNDARY = 1024  # on which every swizzle pattern begins
SCHEDULES = [
    (word, seed, landing) for word, seed in (("in-order", 0), ("reverse", 0), ("random", 1), ("greedy", 0)) for landing in ("latest", "earliest", "random")
]


def aligned(shape, dtype, pad=0, alignment=16):
    """Return a C-contiguous zeroed array on a multiple of `alignment`; pad: more elements in each row than `shape` says."""
    *outer, inner = shape
    dtype = np.dtype(dtype)
    raw = np.zeros(int(np.prod(outer, dtype=np.int64)) * (inner + pad) * dtype.itemsize + alignment, np.uint8)
    start = -raw.ctypes.data % alignment
    whole = raw[start : raw.size - alignment + start].view(dtype)
    return whole.reshape(*outer, inner + pad)[..., :inner]


def map_of(array, operand, offset=MAP_AT, **how):
    """Return the tensor map of an array; its last axis is dimension 0."""
    return TensorMap(operand, offset, DATA_TYPES[array.dtype.name], array.shape[::-1], array.strides[-2::-1], **how)


def run(kernel, *, x=None, y=None, maps=(), size=(), count=0, block=64, shared=BOUNDARY, cluster=1, grid=None, header=HEADER):
    """Run a probe or a test kernel on the simulator; `shared`: bytes beside those that reach the boundary."""
    arguments = ProbeArguments(count=count, size=(ctypes.c_int * SIZES)(*size))
    end = max((found.offset + 128 for found in maps), default=MAP_AT)
    launch = Launch(
        kernel, header, (grid or cluster, 1, 1), (block, 1, 1), shared + BOUNDARY, bytes(arguments).ljust(end, b"\0"), ("x", "w", "y"),
        cluster=(cluster, 1, 1), tensor_maps=tuple(maps),
    )  # fmt: skip
    pointers = tuple(0 if array is None else array.ctypes.data for array in (x, None, y))
    simulated.prepare(launch).run(pointers, 0)
    return y


def box_of(x, corner, box, steps=None):
    """Return the box of x whose first element is at `corner`, an index of each axis, zero where it leaves x."""
    steps = steps or (1,) * x.ndim
    # the last axis, which is dense in memory, knows no steps
    axes = [np.arange(c, c + b, s if axis < x.ndim - 1 else 1) for axis, (c, b, s) in enumerate(zip(corner, box, steps))]
    inside = [(index >= 0) & (index < extent) for index, extent in zip(axes, x.shape)]
    taken = x[np.ix_(*(np.clip(index, 0, extent - 1) for index, extent in zip(axes, x.shape)))]
    return np.where(np.logical_and.reduce(np.meshgrid(*inside, indexing="ij")), taken, np.zeros((), x.dtype))


def swizzle(rows, span, shift=0):
    """Return bytes [rows, span] as they lie from a multiple of BOUNDARY plus `shift` on: 16-byte pieces change places in a row.

    The pattern is that of the manual's pictures: piece j of line i goes to j ^ i, where a line is 128 bytes.
    """
    if span == 0:
        return rows.reshape(-1)
    pieces = rows.reshape(-1, span // 16, 16)
    lines = (np.arange(len(pieces)) * span + shift) // 128
    place = np.arange(span // 16)[None, :] ^ (lines[:, None] % (span // 16))
    found = np.empty_like(pieces)
    np.put_along_axis(found, np.repeat(place[..., None], 16, axis=2), pieces, axis=1)
    return found.reshape(-1)


def bytes_of(array):
    """Return the bytes of a contiguous copy, as rows of the last axis."""
    return np.ascontiguousarray(array).view(np.uint8).reshape(-1, array.shape[-1] * array.itemsize)


def patches(x, window, stride, dilation, pads):
    """Return [n, outputs ..., taps ..., c]: what each output of a convolution reads of x: [n, spatial ..., c]; by definition.

    pads: (before, after) of each spatial axis.
    """
    spatial = len(window)
    padded = np.pad(x, [(0, 0), *pads, (0, 0)])
    outputs = [(padded.shape[1 + i] - (window[i] - 1) * dilation[i] - 1) // stride[i] + 1 for i in range(spatial)]
    found = np.empty((x.shape[0], *outputs, *window, x.shape[-1]), x.dtype)
    for output in np.ndindex(*outputs):
        for tap in np.ndindex(*window):
            at = tuple(o * s + t * d for o, s, t, d in zip(output, stride, tap, dilation))
            found[(slice(None), *output, *tap)] = padded[(slice(None), *at)]
    return found
