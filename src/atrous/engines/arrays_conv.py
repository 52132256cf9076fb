"""Convolution in array calls: windows copied into a matrix of bounded size, and one matrix product a piece.

A piece is some whole images, or some output rows of one image, or some columns of one row. What a piece holds depends
on the problem without N, and a product never mixes images: on a library whose products are repeatable, an image
gives the same bits alone and in any batch. (BLAS gives a row other bits where the matrix has another number of rows.)

Steps of a piece, each skipped where it would copy what is there already:

1. strip: the input cells under the piece's windows in the accumulator's dtype, with padding written out; where a dilation
   leaves most of these rows unread, a strip for each filter row, of the rows that it reads;
2. matrix: NHWC (n, G, p*q, R*S*C/G), NCHW (n, G, C/G*R*S, p*q);
3. sums: NHWC matrix @ weight (G, R*S*C/G, K/G), NCHW weight (G, K/G, C/G*R*S) @ matrix; one input channel a group
   (depthwise): a tap at a time, elementwise;
4. scale, bias, residual, activation, and the store.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .array_namespace import Namespace, namespace_of
from .arrays_epilogue import LIMITS, Epilogue

if TYPE_CHECKING:
    from ..problem import Conv2dProblem

#: What a piece of a product aims at: measured on ResNet-50, larger products win until they leave a 32 MiB cache.
PRODUCT_BYTES = 8 * 2**20
#: What a piece of the elementwise (depthwise) path aims at: it passes over its sums once a tap, so they stay in cache.
ELEMENTWISE_BYTES = 2**20


def _accumulator(problem: Conv2dProblem) -> str:
    """Return the dtype of the sums; for integers the shortest float in which every partial sum is exact."""
    if problem.dtype not in LIMITS:
        return "float64" if problem.dtype == "float64" else "float32"
    low, high = LIMITS[problem.dtype]
    most = max(high - problem.zero_point, problem.zero_point - low) * max(-low, high)
    return "float32" if most * problem.r * problem.s * (problem.c // problem.groups) <= 2**24 else "float64"


def largest_part(extent: int, fits: Callable[[int], bool]) -> int:
    """Return the size of even parts of `extent`, the largest that fits, at least 1."""
    low, high = 1, extent
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return -(-extent // -(-extent // low))


class ConvSteps:
    """How one problem is cut into pieces, and what each step does; independent of the arrays and of their library."""

    def __init__(self, problem: Conv2dProblem, budget: int) -> None:
        self.problem = problem
        self.channels_last = problem.layout == "NHWC"
        self.accumulator = _accumulator(problem)
        self.itemsize = 8 if self.accumulator == "float64" else 4
        self.epilogue = Epilogue(problem, self.accumulator)
        self.inputs, self.outputs = problem.c // problem.groups, problem.k // problem.groups
        self.elementwise = self.inputs == 1 and problem.groups > 1
        self.one_tap = problem.r == problem.s == 1
        self.dense = self.one_tap and problem.stride == (1, 1)  # the strip is the matrix
        padded = max(problem.pads) > 0
        same = problem.dtype == self.accumulator and not problem.zero_point
        self.gathers = padded and problem.padding_mode != "zeros"
        self.strips = padded or problem.zero_point != 0 or not (same or (self.one_tap and not self.elementwise))
        target = max(1, min(ELEMENTWISE_BYTES if self.elementwise else PRODUCT_BYTES, budget - self.weight_bytes))
        self.apart = False  # whether each filter row has a strip of its own
        self.images, self.rows, self.columns = together = self._pieces(target)
        if problem.dilation[0] > 1 and problem.r > 1 and not self.elementwise:
            copied, self.apart = self._strip_cells(), True
            self.images, self.rows, self.columns = self._pieces(target)
            if self._strip_cells() >= copied:
                self.apart, (self.images, self.rows, self.columns) = False, together

    @property
    def weight_bytes(self) -> int:
        """Bytes of a rearranged copy of weight, with what the cast of it holds meanwhile."""
        return 2 * self.itemsize * self.problem.k * self.inputs * self.problem.r * self.problem.s

    def piece_bytes(self, images: int, rows: int, columns: int) -> int:
        """Return the most that a piece holds: strip, matrix, sums and the epilogue's intermediate arrays."""
        p = self.problem
        height, width = self.strip_extents(rows, columns)
        strip = height * width * p.c * self.itemsize * (self.strips + 2 * self.gathers)
        matrix = 0 if self.elementwise else rows * columns * p.r * p.s * p.c * self.itemsize
        sums = rows * columns * p.k * (self.itemsize * (2 if self.elementwise or p.groups > 1 else 1) + self.epilogue.element_bytes())
        return images * (strip + matrix + sums)

    def strip_extents(self, rows: int, columns: int) -> tuple[int, int]:
        """Return how many input rows and columns a strip under a piece has."""
        p = self.problem
        height = rows if self.apart else (rows - 1) * p.stride[0] + p.dilation[0] * (p.r - 1) + 1
        return height, (columns - 1) * p.stride[1] + p.dilation[1] * (p.s - 1) + 1

    def _strip_cells(self) -> int:
        """Return how many cells the strips of all pieces of an image have, without channels."""
        height, width = self.strip_extents(self.rows, self.columns)
        strips = -(-self.problem.p // self.rows) * -(-self.problem.q // self.columns) * (self.problem.r if self.apart else 1)
        return strips * height * width

    def _pieces(self, target: int) -> tuple[int, int, int]:
        p = self.problem
        if (whole := self.piece_bytes(1, p.p, p.q)) <= target:
            return min(max(1, p.n), target // whole), p.p, p.q
        rows, columns = largest_part(p.p, lambda n: self.piece_bytes(1, n, p.q) <= target), p.q
        if rows == 1:
            columns = largest_part(p.q, lambda n: self.piece_bytes(1, 1, n) <= target)
        return 1, rows, columns

    def workspace_bytes(self) -> int:
        """Return the most that a call holds beyond its output."""
        vectors = 16 * self.problem.k + 16 * (self.problem.h + self.problem.w) * self.gathers
        return self.weight_bytes + vectors + self.piece_bytes(self.images, self.rows, self.columns)


@functools.lru_cache(maxsize=4096)
def conv_steps(problem: Conv2dProblem, budget: int) -> ConvSteps:
    """Return the steps of a problem under a workspace budget in bytes; remembered."""
    return ConvSteps(problem, budget)


class _Run:
    """One call: the steps bound to arrays, with the buffers that the pieces share."""

    def __init__(self, steps: ConvSteps, space: Namespace, x: Any, weight: Any) -> None:
        self.steps = steps
        self.space = space
        self.x = x
        self.weight = self._weight_matrix(weight)
        self.buffers: dict[str, Any] = {}
        self.direct = steps.dense and not steps.strips and steps.accumulator == steps.problem.dtype and space.is_packed(x)

    def buffer(self, name: str, shape: tuple[int, ...]) -> Any:
        """Return an uninitialised array in memory that all pieces share."""
        size = math.prod(shape)
        held = self.buffers.get(name)
        if held is None:  # the first piece is the largest
            held = self.buffers[name] = self.space.empty((size,), self.steps.accumulator)
        return self.space.xp.reshape(held[:size], shape)

    def _weight_matrix(self, weight: Any) -> Any:
        steps, space, order = self.steps, self.space, self.steps.problem.weight_layout
        g, taps = steps.problem.groups, steps.inputs * steps.problem.r * steps.problem.s
        weight = space.cast(weight, steps.accumulator)
        inner = "RSC" if steps.channels_last else "CRS"
        last = order.endswith("K")  # keep the axis that is contiguous already
        wanted = inner + "K" if last else "K" + inner
        if order != wanted:
            weight = space.permute(weight, tuple(order.index(letter) for letter in wanted))
        weight = space.xp.reshape(space.packed(weight), (taps, g, steps.outputs) if last else (g, steps.outputs, taps))
        if last:
            return space.permute(weight, (1, 0, 2) if steps.channels_last else (1, 2, 0))
        return space.permute(weight, (0, 2, 1)) if steps.channels_last else weight

    def strip(self, n: slice, starts: tuple[int, int], extents: tuple[int, int], row_step: int = 1) -> Any:
        """Return the cells from `starts` on, every row_step-th row, (n, h, w, C) or (n, C, h, w), with padding written out."""
        steps, space, p = self.steps, self.space, self.steps.problem
        first = 1 if steps.channels_last else 2
        before = (n,) if steps.channels_last else (n, slice(None))
        if steps.gathers:
            cells = self.x[n, ...]
            for axis, (start, extent, step, size) in enumerate(zip(starts, extents, (row_step, 1), (p.h, p.w))):
                cells = space.xp.take(cells, self._sources(start, extent, step, size), axis=first + axis)
            cells = space.cast(cells, steps.accumulator)
            return cells - float(p.zero_point) if p.zero_point else cells
        inside, held_at = [], []
        for start, extent, step, size in zip(starts, extents, (row_step, 1), (p.h, p.w)):
            low, high = (min(max(0, -((start - edge) // step)), extent) for edge in (0, size))  # the first not below 0, and not below size
            inside.append(slice(start + low * step, start + (high - 1) * step + 1, step) if low < high else slice(0, 0))
            held_at.append(slice(low, max(low, high)))
        where = (*before, *inside, ...)
        cells = self.x[where]
        if not steps.strips:
            return cells
        count = n.stop - n.start
        held = self.buffer("strip", (count, *extents, p.c) if steps.channels_last else (count, p.c, *extents))
        before = before if steps.channels_last else (slice(None), slice(None))
        at: list[slice] = []
        for found, extent in zip(held_at, extents):
            for border in (slice(0, found.start), slice(found.stop, extent)):
                if border.start < border.stop:
                    where = (slice(None), *before[1:], *at, border, ...)
                    held[where] = 0.0
            at.append(found)
        where = (slice(None), *before[1:], *at, ...)
        space.store(held, where, cells)
        if p.zero_point:
            space.into(held, where, space.xp.subtract, held[where], space.xp.asarray(float(p.zero_point), dtype=held.dtype))
        return held

    def _sources(self, start: int, extent: int, step: int, size: int) -> Any:
        """Return the cell that each of `extent` coordinates from `start` on shows under the padding mode."""
        xp, mode = self.space.xp, self.steps.problem.padding_mode
        at = xp.arange(start, start + extent * step, step)
        if mode == "reflect":
            return (size - 1) - xp.abs((size - 1) - xp.abs(at))
        if mode == "circular":
            return at % size
        return xp.minimum(xp.maximum(at, xp.zeros_like(at)), xp.zeros_like(at) + (size - 1))

    def sums(self, n: slice, p: slice, q: slice, target: Any) -> Any:
        """Return the sums of a piece, (n, G, p*q, K/G) or (n, G, K/G, p*q), written to `target` where there is one."""
        steps, space, problem = self.steps, self.space, self.steps.problem
        count, rows, columns = n.stop - n.start, p.stop - p.start, q.stop - q.start
        starts = (p.start * problem.stride[0] - problem.pads[0], q.start * problem.stride[1] - problem.pads[2])
        g, pixels = problem.groups, rows * columns
        if target is None:
            shape = (count, g, pixels, steps.outputs) if steps.channels_last else (count, g, steps.outputs, pixels)
            target = self.buffer("sums", shape)
        matrix = self._matrix(n, starts, rows, columns)
        if steps.channels_last:
            space.into(target, ..., space.xp.matmul, matrix, self.weight)
        else:
            space.into(target, ..., space.xp.matmul, self.weight, matrix)
        return target

    def _matrix(self, n: slice, starts: tuple[int, int], rows: int, columns: int) -> Any:
        """Return the windows of a piece, whose first cell is at `starts`, as the matrix of a product."""
        steps, space, problem = self.steps, self.space, self.steps.problem
        g, c, r, s, count = problem.groups, steps.inputs, problem.r, problem.s, n.stop - n.start
        last, extents = steps.channels_last, steps.strip_extents(rows, columns)
        if steps.dense and (steps.strips or self.direct):
            strip = self.strip(n, starts, extents)
            shaped = space.xp.reshape(strip, (count, rows * columns, g, c) if last else (count, g, c, rows * columns))
            return space.permute(shaped, (0, 2, 1, 3)) if last else shaped
        held = self.buffer("matrix", (count, g, rows, columns, r, s, c) if last else (count, g, c, r, s, rows, columns))
        windows: Any = None if steps.apart else self._windows(self.strip(n, starts, extents), columns)
        for tap in range(r):
            first = tap * problem.dilation[0]
            if steps.apart:
                found = self._windows(self.strip(n, (starts[0] + first, starts[1]), extents, problem.stride[0]), columns)
            else:
                reach = slice(first, first + (rows - 1) * problem.stride[0] + 1, problem.stride[0])
                found = windows[:, :, reach, ...] if last else windows[:, :, :, :, reach, :]
            at = (slice(None), slice(None), slice(None), slice(None), tap, ...) if last else (slice(None), slice(None), slice(None), tap, ...)
            space.store(held, at, found)
        return space.xp.reshape(held, (count, g, rows * columns, r * s * c) if last else (count, g, c * r * s, rows * columns))

    def _windows(self, strip: Any, columns: int) -> Any:
        """Return the windows along the rows of a strip: (n, G, h, q, S, C/G) or (n, G, C/G, S, h, q)."""
        steps, space, problem = self.steps, self.space, self.steps.problem
        g, c, s, count, last = problem.groups, steps.inputs, problem.s, strip.shape[0], steps.channels_last
        windows = space.windows(strip, 2 if last else 3, columns, problem.stride[1], s, problem.dilation[1])
        if last:
            windows = space.xp.reshape(windows, (count, -1, columns, s, g, c)) if g > 1 else windows[:, :, :, :, None, :]
            return space.permute(windows, (0, 4, 1, 2, 3, 5))
        windows = space.xp.reshape(windows, (count, g, c, -1, columns, s)) if g > 1 else windows[:, None, ...]
        return space.permute(windows, (0, 1, 2, 5, 3, 4))


class _ElementwiseRun(_Run):
    """One call of a convolution with one input channel a group: sums a tap at a time, one multiplier at a time."""

    def sums(self, n: slice, p: slice, q: slice, target: Any) -> Any:
        steps, space, problem = self.steps, self.space, self.steps.problem
        xp, last, g = space.xp, steps.channels_last, problem.groups
        count, rows, columns = n.stop - n.start, p.stop - p.start, q.stop - q.start
        starts = (p.start * problem.stride[0] - problem.pads[0], q.start * problem.stride[1] - problem.pads[2])
        strip = self.strip(n, starts, steps.strip_extents(rows, columns))
        shape = (count, rows, columns, g) if last else (count, g, rows, columns)
        sums = self.buffer("sums", (count, rows, columns, g, steps.outputs) if last else (count, g, steps.outputs, rows, columns))
        term = self.buffer("term", shape)
        # [G, R*S, K/G] or [G, K/G, R*S] -> [R*S, K/G, (1, 1,) G (, 1, 1)]
        factors = space.packed(space.permute(self.weight, (1, 2, 0) if last else (2, 1, 0)))
        factors = xp.reshape(factors, (problem.r * problem.s, steps.outputs, *((1, 1, 1, g) if last else (1, g, 1, 1))))
        for tap in range(problem.r * problem.s):
            r, s = divmod(tap, problem.s)
            h = slice(r * problem.dilation[0], r * problem.dilation[0] + (rows - 1) * problem.stride[0] + 1, problem.stride[0])
            w = slice(s * problem.dilation[1], s * problem.dilation[1] + (columns - 1) * problem.stride[1] + 1, problem.stride[1])
            cells = strip[:, h, w, :] if last else strip[:, :, h, w]
            for multiple in range(steps.outputs):
                of = (..., multiple) if last else (slice(None), slice(None), multiple, ...)
                if tap == 0:
                    space.into(sums, of, xp.multiply, cells, factors[tap, multiple, ...])
                else:
                    space.into(term, ..., xp.multiply, cells, factors[tap, multiple, ...])
                    space.into(sums, of, xp.add, sums[of], term)
        pixels = rows * columns
        if last:
            return xp.reshape(sums, (count, 1, pixels, problem.k))
        return xp.reshape(sums, (count, 1, problem.k, pixels))


def conv2d(problem: Conv2dProblem, budget: int, x: Any, weight: Any, scale: Any, bias: Any, residual: Any, out: Any) -> None:
    """Write the convolution of checked arrays of one namespace to `out`; see `atrous.engines.arrays`."""
    steps = conv_steps(problem, budget)
    space = namespace_of(x)
    run = (_ElementwiseRun if steps.elementwise else _Run)(steps, space, x, weight)
    g = 1 if steps.elementwise else problem.groups
    vector = (g, 1, problem.k // g) if steps.channels_last else (g, problem.k // g, 1)
    scale, bias = (steps.epilogue.operand(space, operand, vector) for operand in (scale, bias))
    through = steps.epilogue.in_place and not steps.elementwise and (g == 1 or not steps.channels_last) and space.writes_through(out)
    for block in _blocks(steps):
        _piece(run, g, block, scale, bias, residual, out, through)


def _piece(run: _Run, g: int, block: tuple[slice, slice, slice], scale: Any, bias: Any, residual: Any, out: Any, through: bool) -> None:
    """Write one piece of the output; what it holds besides the buffers of `run` is let go at its end."""
    steps, space, problem, last = run.steps, run.space, run.steps.problem, run.steps.channels_last
    n, p, q = block
    at = (n, p, q, ...) if last else (n, slice(None), p, q)
    shape = (n.stop - n.start, p.stop - p.start, q.stop - q.start)
    # columns are cut in pieces of a single row only, so the pixels of a piece always merge into one axis
    target = space.xp.reshape(out[at], _tile_shape(problem, shape, g, last)) if through else None
    sums = run.sums(n, p, q, target)
    if target is not None and not steps.epilogue.touches:
        return
    extra = None if residual is None else _as_tile(space, problem, residual[at], shape, g, last)
    y = steps.epilogue.rounded(space, steps.epilogue.apply(space, sums, scale, bias, extra))
    if y is not target:
        space.store(out, at, _as_output(space, problem, y, shape, g, last))


def _blocks(steps: ConvSteps) -> list[tuple[slice, slice, slice]]:
    p = steps.problem
    parts = [
        [slice(start, min(size, start + step)) for start in range(0, size, step)]
        for size, step in ((p.n, steps.images), (p.p, steps.rows), (p.q, steps.columns))
    ]
    return [(n, rows, columns) for n in parts[0] for rows in parts[1] for columns in parts[2]]


def _tile_shape(problem: Conv2dProblem, shape: tuple[int, int, int], g: int, last: bool) -> tuple[int, ...]:
    n, rows, columns = shape
    return (n, g, rows * columns, problem.k // g) if last else (n, g, problem.k // g, rows * columns)


def _as_tile(space: Namespace, problem: Conv2dProblem, piece: Any, shape: tuple[int, int, int], g: int, last: bool) -> Any:
    """Return a piece in the output's axes as (n, G, p*q, K/G) or (n, G, K/G, p*q)."""
    if not last or g == 1:
        return space.xp.reshape(piece, _tile_shape(problem, shape, g, last))
    n, rows, columns = shape
    return space.permute(space.xp.reshape(piece, (n, rows * columns, g, problem.k // g)), (0, 2, 1, 3))


def _as_output(space: Namespace, problem: Conv2dProblem, tile: Any, shape: tuple[int, int, int], g: int, last: bool) -> Any:
    """Return (n, G, p*q, K/G) or (n, G, K/G, p*q) in the output's axes."""
    n, rows, columns = shape
    if last and g > 1:
        tile = space.permute(tile, (0, 2, 1, 3))
    return space.xp.reshape(tile, (n, rows, columns, problem.k) if last else (n, problem.k, rows, columns))
