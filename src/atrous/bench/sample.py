"""A random part of a large problem as small problems of their own: a few output pixels, some channels, and just the cells they come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import weighting
from ..problem import Conv2dProblem, ConvPool2dProblem, Pool2dProblem
from ..reference.taps import NOWHERE, canonical, source_table
from ..testing import Inputs

PIXELS = 32
CHANNELS = 64
MOST_CELLS = 2**21  # of x that a part is computed from
Part = tuple[Any, Inputs, np.ndarray]


@dataclass(frozen=True)
class Window:
    """The taps of a pooling's window that stand on real cells, and what its mean divides by where padding counts."""

    rows: tuple[int, int]  # first, and one past the last
    columns: tuple[int, int]
    divisor: float | None = None


def sampled(problem: Any, inputs: Inputs, actual: np.ndarray, random: np.random.Generator) -> list[Part]:
    """Return small problems, their operands, and what came of them in `actual`: corners of the output and random pixels.

    An expected output that is right for these is right for the same pixels of the whole: padding is part of the cells.
    """
    got = canonical(actual, problem.layout, "NHWC")
    conv = problem.conv if isinstance(problem, ConvPool2dProblem) else problem
    channels = _channels(conv, random)
    taken = channels.inputs.size if isinstance(conv, Conv2dProblem) else channels.outputs.size
    pixels = _pixels(problem, max(2, min(PIXELS, MOST_CELLS // (taken * conv.r * conv.s))), random)
    if isinstance(problem, Conv2dProblem):
        return [(*_conv_part(problem, inputs, pixels, (1, 1), channels), _outputs(got, pixels, channels))]
    pool = problem.pool if isinstance(problem, ConvPool2dProblem) else problem
    parts = []
    for window, some in _by_window(pool, pixels):
        small, operands = _pool_part(pool, window, some, channels, inputs) if pool is problem else _pair_part(problem, window, some, channels, inputs)
        parts.append((small, operands, _outputs(got, some, channels)))
    return parts


@dataclass(frozen=True)
class Channels:
    """Which channels are computed: of the output, and of the input those that they read."""

    outputs: np.ndarray
    inputs: np.ndarray
    groups: int


def _some(random: np.random.Generator, count: int, most: int) -> np.ndarray:
    """Return so many of 0 .. count-1 in order, the first and the last among them."""
    if count <= most:
        return np.arange(count)
    inner = 1 + random.choice(count - 2, max(0, most - 2), replace=False) if most > 2 else np.empty(0, dtype=np.int64)
    return np.unique(np.concatenate([[0, count - 1][: max(1, most)], inner]).astype(np.int64))


def _channels(problem: Any, random: np.random.Generator) -> Channels:
    if isinstance(problem, Pool2dProblem):
        outputs = _some(random, problem.c, CHANNELS)
        return Channels(outputs, outputs, 1)
    if problem.groups == 1:
        return Channels(_some(random, problem.k, CHANNELS), np.arange(problem.c), 1)
    to, of = problem.k // problem.groups, problem.c // problem.groups
    groups = _some(random, problem.groups, max(1, CHANNELS // to))
    outputs, inputs = (groups[:, None] * each + np.arange(each)[None, :] for each in (to, of))
    return Channels(outputs.ravel(), inputs.ravel(), len(groups))


def _pixels(problem: Any, count: int, random: np.random.Generator) -> np.ndarray:
    """Return the (3, count) images, rows and columns of output pixels: the first, the last, one more corner, and random ones."""
    sizes = dict(zip(problem.layout, problem.y_shape))
    p, q = sizes["H"], sizes["W"]
    corners = np.array([[0, problem.n - 1, problem.n - 1], [0, p - 1, 0], [0, q - 1, q - 1]])
    others = np.stack([random.integers(0, most, max(0, count - 3)) for most in (problem.n, p, q)])
    return np.concatenate([corners, others], axis=1)[:, :count]


def _outputs(y: np.ndarray, pixels: np.ndarray, channels: Channels) -> np.ndarray:
    images, rows, columns = pixels[:, :, None]
    return np.ascontiguousarray(y[images, rows, columns, channels.outputs[None, :]][:, None, None, :])


def _patches(array: np.ndarray, images: np.ndarray, places: list[np.ndarray], channels: np.ndarray, empty: float) -> np.ndarray:
    """Return (S, rows, columns, channels) of an NHWC array at (S, rows) and (S, columns) tables of indices, `empty` at NOWHERE."""
    rows, columns = places
    found = array[images[:, None, None, None], np.maximum(rows, 0)[:, :, None, None], np.maximum(columns, 0)[:, None, :, None], channels]
    real = (rows != NOWHERE)[:, :, None, None] & (columns != NOWHERE)[:, None, :, None]
    return np.where(real, found, np.asarray(empty, dtype=array.dtype))


def _conv_part(conv: Conv2dProblem, inputs: Inputs, pixels: np.ndarray, span: tuple[int, int], channels: Channels) -> tuple[Conv2dProblem, Inputs]:
    """Return the convolution that gives `span` rows and columns of outputs from each pixel on, and its operands."""
    tables, sizes = [], []
    for axis, (kernel, size) in enumerate(((conv.r, conv.h), (conv.s, conv.w))):
        cells = (span[axis] - 1) * conv.stride[axis] + (kernel - 1) * conv.dilation[axis] + 1
        positions = pixels[1 + axis][:, None] * conv.stride[axis] - conv.pads[2 * axis] + np.arange(cells)[None, :]
        tables.append(source_table(conv.padding_mode, positions, size))
        sizes.append(cells)
    x = _patches(canonical(inputs["x"], conv.layout, "NHWC"), pixels[0], tables, channels.inputs, conv.zero_point)
    operands = {"x": x, "weight": canonical(inputs["weight"], conv.weight_layout, "KRSC")[channels.outputs]}
    operands |= {name: inputs[name][channels.outputs] for name in ("scale", "bias") if name in inputs}
    if "residual" in inputs:
        places = [pixels[1 + axis][:, None] + np.arange(span[axis])[None, :] for axis in (0, 1)]
        operands["residual"] = _patches(canonical(inputs["residual"], conv.layout, "NHWC"), pixels[0], places, channels.outputs, 0)
    small = replace(
        conv, n=pixels.shape[1], h=sizes[0], w=sizes[1], c=channels.inputs.size, k=channels.outputs.size, groups=channels.groups,
        pads=(0, 0, 0, 0), padding_mode="zeros", layout="NHWC", weight_layout="KRSC",
    )  # fmt: skip
    return small, operands


def _by_window(pool: Pool2dProblem, pixels: np.ndarray) -> Iterator[tuple[Window, np.ndarray]]:
    """Yield the pixels whose windows have the same taps on real cells; those with none are left out."""
    found: dict[Window, list[np.ndarray]] = {}
    for pixel in pixels.T:
        ends, counts = [], []
        for axis, (kernel, size) in enumerate(((pool.r, pool.h), (pool.s, pool.w))):
            low, high = pool.pads[2 * axis : 2 * axis + 2]
            taps = int(pixel[1 + axis]) * pool.stride[axis] - low + np.arange(kernel) * pool.dilation[axis]
            real = np.flatnonzero((taps >= 0) & (taps < size + min(0, high)))
            counts.append(int(((taps >= -low) & (taps < size + high)).sum()))
            whole = pool.kind == "weighted" and pool.normalize == "full"  # divides by weights in padding too, where x is 0
            ends.append((0, kernel) if whole else (int(real[0]), int(real[-1]) + 1) if real.size else (0, 0))
        divisor = float(counts[0] * counts[1]) if pool.count_include_pad and pool.divisor is None else pool.divisor
        if all(first < last for first, last in ends):
            found.setdefault(Window(ends[0], ends[1], divisor), []).append(pixel)
    for window, some in found.items():
        yield window, np.stack(some, axis=1)


def _small_pool(pool: Pool2dProblem, window: Window, count: int, channels: int) -> Pool2dProblem:
    """Return the pooling of one window to each of `count` patches."""
    taps = [last - first for first, last in (window.rows, window.columns)]
    h, w = ((size - 1) * dilation + 1 for size, dilation in zip(taps, pool.dilation))
    named: dict[str, Any] = dict(weighting="custom", sigma=None) if pool.kind == "weighted" else {}
    return replace(
        pool, n=count, h=h, w=w, c=channels, r=taps[0], s=taps[1], stride=(1, 1), pads=(0, 0, 0, 0), ceil_mode=False,
        return_indices=False, count_include_pad=False, divisor=window.divisor, layout="NHWC", **named,
    )  # fmt: skip


def _first(pool: Pool2dProblem, window: Window, pixels: np.ndarray) -> list[np.ndarray]:
    """Return the row and the column of the window's first real tap, for each pixel."""
    starts = (window.rows[0], window.columns[0])
    return [pixels[1 + axis] * pool.stride[axis] - pool.pads[2 * axis] + starts[axis] * pool.dilation[axis] for axis in (0, 1)]


def _pool_part(pool: Pool2dProblem, window: Window, pixels: np.ndarray, channels: Channels, inputs: Inputs) -> tuple[Pool2dProblem, Inputs]:
    small = _small_pool(pool, window, pixels.shape[1], channels.outputs.size)
    firsts, sizes, limits = _first(pool, window, pixels), (small.h, small.w), (pool.h, pool.w)
    tables = []
    for axis in (0, 1):
        positions = firsts[axis][:, None] + np.arange(sizes[axis])[None, :]
        real = (positions >= 0) & (positions < limits[axis] + min(0, pool.pads[2 * axis + 1]))
        tables.append(np.where(real, positions, NOWHERE))
    operands = {"x": _patches(canonical(inputs["x"], pool.layout, "NHWC"), pixels[0], tables, channels.outputs, 0)}
    if pool.kind == "weighted":
        table = inputs.get("tap_weight")
        if table is None:
            table = np.array(weighting.tap_weights(pool.weighting, (pool.r, pool.s), pool.dilation, pool.sigma))
        operands["tap_weight"] = table[slice(*window.rows), slice(*window.columns)]
    return small, operands


def _pair_part(pair: ConvPool2dProblem, window: Window, pixels: np.ndarray, channels: Channels, inputs: Inputs) -> tuple[ConvPool2dProblem, Inputs]:
    pool = _small_pool(pair.pool, window, pixels.shape[1], channels.outputs.size)
    starts = np.stack([pixels[0], *_first(pair.pool, window, pixels)])
    conv, operands = _conv_part(pair.conv, inputs, starts, (pool.h, pool.w), channels)
    return ConvPool2dProblem(conv, pool), operands
