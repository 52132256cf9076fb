"""Pooling in array calls: a tap at a time over whole slices, along the columns first and then along the rows.

A maximum, a sum and a first index are each the same taken along one axis and then along the other, which makes
S + R passes of R * S. Padding is never written out: a tap only meets the outputs for which it is a real cell. Only
weighted averages, and norms that need a scale of their own for each window, take all R * S taps.

A piece is some whole images, or some output rows of one image, or some channels of one row.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .array_namespace import Namespace, namespace_of
from .arrays_conv import largest_part
from .arrays_epilogue import LIMITS

if TYPE_CHECKING:
    from ..problem import Pool2dProblem

#: What a piece aims at: it is passed over once a tap, so it stays in cache.
PIECE_BYTES = 2**20
#: The largest p for which |x|^p of every float32 stays within float64.
PLAIN_POWER = 6.0


class PoolSteps:
    """How one problem is cut into pieces; independent of the arrays and of their library."""

    def __init__(self, problem: Pool2dProblem, budget: int) -> None:
        self.problem = problem
        self.last = problem.layout == "NHWC"
        self.axes = (1, 2) if self.last else (2, 3)
        top, bottom, left, right = problem.pads
        #: cells of each axis that windows may read: cropped ones are none of them
        self.limits = (problem.h + min(0, bottom), problem.w + min(0, right))
        self.lows = (top, left)
        narrow = problem.dtype in ("float16", "bfloat16", "float32")
        self.squares = 2.0 if problem.kind == "rms" else problem.power
        norm = problem.kind in ("lp", "rms")
        self.scaled = norm and math.isfinite(self.squares) and not (self.squares <= PLAIN_POWER if narrow else self.squares == 1.0)
        if problem.dtype in LIMITS:
            self.accumulator = problem.dtype
        else:
            self.accumulator = "float64" if problem.dtype == "float64" or (norm and math.isfinite(self.squares)) else "float32"
        self.itemsize = {"float64": 8, "float32": 4}.get(self.accumulator, 1)
        self.images, self.rows, self.channels = self._pieces(max(1, min(PIECE_BYTES, budget - self.fixed_bytes)))

    def span(self, rows: int) -> int:
        """Return how many input rows lie under that many output rows, at most."""
        p = self.problem
        return min(p.h, (rows - 1) * p.stride[0] + p.dilation[0] * (p.r - 1) + 1)

    def piece_bytes(self, images: int, rows: int, channels: int) -> int:
        """Return the most that a piece holds: its cells, the pass along the columns, the outputs, and intermediates."""
        p, size = self.problem, self.itemsize
        cells, passed, outputs = self.span(rows) * p.w, self.span(rows) * p.q, rows * p.q
        if p.kind == "weighted":
            each = size * (2 * cells + 3 * outputs)
        elif self.scaled:
            each = size * (3 * cells + passed + 12 * outputs)
        elif p.return_indices:
            word = 4 if p.index_dtype == "int32" else 8
            each = (size + 1) * cells + (2 * size + 2 * word + 8) * passed + (2 * size + 2 * word + 8) * outputs
        else:
            masks = (0 if p.kind != "max" or p.dtype in LIMITS else 4 if p.nan == "omit" else 3) * (cells + passed + outputs)
            each = 2 * size * cells + size * passed + 2 * size * outputs + masks
        divisors = 2 * size * rows * p.q
        return images * channels * each + divisors

    def _pieces(self, target: int) -> tuple[int, int, int]:
        p = self.problem
        if (whole := self.piece_bytes(1, p.p, p.c)) <= target:
            return min(max(1, p.n), target // whole), p.p, p.c
        rows = largest_part(p.p, lambda n: self.piece_bytes(1, n, p.c) <= target)
        channels = p.c if rows > 1 else largest_part(p.c, lambda n: self.piece_bytes(1, 1, n) <= target)
        return 1, rows, channels

    @property
    def fixed_bytes(self) -> int:
        """Bytes held from the first piece to the last: what the sums of all windows are divided by."""
        p, size = self.problem, self.itemsize
        return size * (2 * p.h * p.w + 3 * p.p * p.q) if p.kind == "weighted" else 64 * (p.p + p.q)

    def workspace_bytes(self) -> int:
        """Return the most that a call holds beyond its outputs."""
        return self.fixed_bytes + self.piece_bytes(self.images, self.rows, self.channels)

    def meets(self, axis: int, tap: int, first: int, stop: int, offset: int) -> tuple[slice, slice]:
        """Return (outputs, cells): which of the outputs first..stop a tap gives a real cell, and where in an array from `offset` on."""
        p = self.problem
        stride, shift = p.stride[axis], tap * p.dilation[axis] - self.lows[axis]
        low = min(max(first, -(shift // stride)), stop)
        high = max(low, min(stop, (self.limits[axis] - 1 - shift) // stride + 1))
        start = low * stride + shift - offset
        return slice(low - first, high - first), slice(start, start + max(0, (high - low - 1) * stride + 1), stride)


@functools.lru_cache(maxsize=4096)
def pool_steps(problem: Pool2dProblem, budget: int) -> PoolSteps:
    """Return the steps of a problem under a workspace budget in bytes; remembered."""
    return PoolSteps(problem, budget)


class _Piece:
    """Some images, output rows and channels of one call."""

    def __init__(self, steps: PoolSteps, space: Namespace, x: Any, n: slice, p: slice, c: slice) -> None:
        self.steps, self.space, self.rows = steps, space, p
        problem = steps.problem
        span = (p.stop - 1) * problem.stride[0] - steps.lows[0] + problem.dilation[0] * (problem.r - 1) + 1
        self.top = min(max(0, p.start * problem.stride[0] - steps.lows[0]), steps.limits[0])
        h = slice(self.top, max(self.top, min(steps.limits[0], span)))
        self.cells = x[(n, h, slice(None), c) if steps.last else (n, c, h, slice(None))]

    def _at(self, axis: int, where: slice) -> tuple[Any, ...]:
        return (*(slice(None),) * self.steps.axes[axis], where, ...)

    def _taps(self, axis: int) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """Return where each tap of an axis writes and reads, without those that meet no output."""
        steps, problem = self.steps, self.steps.problem
        first, stop, offset, count = (self.rows.start, self.rows.stop, self.top, problem.r) if axis == 0 else (0, problem.q, 0, problem.s)
        pairs = [steps.meets(axis, tap, first, stop, offset) for tap in range(count)]
        return [(self._at(axis, outputs), self._at(axis, cells)) for outputs, cells in pairs if outputs.start < outputs.stop]

    def _shape(self, array: Any, axis: int) -> tuple[int, ...]:
        shape = list(array.shape)
        shape[self.steps.axes[axis]] = self.rows.stop - self.rows.start if axis == 0 else self.steps.problem.q
        return tuple(shape)

    def fold(self, function: Any, values: Any, identity: float, dtype: str) -> Any:
        """Return `values` folded over every window by an associative function."""
        for axis in (1, 0):
            total = self.space.full(self._shape(values, axis), identity, dtype)
            for outputs, cells in self._taps(axis):
                self.space.into(total, outputs, function, total[outputs], values[cells])
            values = total
        return values

    def maximum(self) -> Any:
        """Return the maximum of every window."""
        xp, steps = self.space.xp, self.steps
        dtype = steps.accumulator
        if dtype in LIMITS:
            return self.fold(xp.maximum, self.cells, LIMITS[dtype][0], dtype)
        values = self.space.cast(self.cells, dtype)
        if steps.problem.nan == "propagate":
            return self._above_minus_zero(values, self.fold(xp.maximum, values, -math.inf, dtype))
        nan = xp.isnan(values)
        found = self.fold(xp.logical_or, ~nan, False, "bool")
        y = self.fold(xp.maximum, xp.where(nan, xp.asarray(-math.inf, dtype=values.dtype), values), -math.inf, dtype)
        return xp.where(found, self._above_minus_zero(values, y), xp.asarray(math.nan, dtype=y.dtype))

    def _above_minus_zero(self, values: Any, y: Any) -> Any:
        """Return maxima with +0 for a -0 whose window holds a +0: libraries of host memory give either of the two."""
        xp = self.space.xp
        if self.space.orders_zeros or not bool(xp.any((y == 0) & xp.signbit(y))):
            return y
        above = self.fold(xp.logical_or, (values == 0) & ~xp.signbit(values), False, "bool")
        return xp.where((y == 0) & above, xp.asarray(0.0, dtype=y.dtype), y)

    def maximum_and_index(self) -> tuple[Any, Any]:
        """Return the maximum of every window and its offset h*W + w: the first in row-major order where several are equal."""
        xp, space, problem = self.space.xp, self.space, self.steps.problem
        values = self.cells if self.steps.accumulator in LIMITS else space.cast(self.cells, self.steps.accumulator)
        index = self._positions(1, problem.w, problem.index_dtype)
        for axis in (1, 0):
            best = space.empty(self._shape(values, axis), self.steps.accumulator)
            chosen = space.full(best.shape, -1, problem.index_dtype)
            for outputs, cells in self._taps(axis):
                old, new = best[outputs], values[cells]
                better = (new > old) | (chosen[outputs] < 0)
                if self.steps.accumulator not in LIMITS:
                    low, high = (new, old) if problem.nan == "propagate" else (old, new)
                    better = better | (xp.isnan(low) & ~xp.isnan(high))
                best[outputs] = xp.where(better, new, old)
                chosen[outputs] = xp.where(better, index[cells], chosen[outputs])
            values, index = best, chosen
            if axis == 1:
                index = index + self._positions(0, values.shape[self.steps.axes[0]], problem.index_dtype) * problem.w
        return values, index

    def _positions(self, axis: int, size: int, dtype: str) -> Any:
        """Return the input coordinates along an axis, shaped to meet the cells of the piece."""
        start = self.top if axis == 0 else 0
        shape = [1, 1, 1, 1]
        shape[self.steps.axes[axis]] = size
        return self.space.xp.reshape(self.space.xp.arange(start, start + size, dtype=self.space.dtype(dtype)), tuple(shape))

    def norm(self, count: Any) -> Any:
        """Return (sum |x|^p / count)^(1/p) of every window; `count` is None or the number of real taps."""
        xp, steps = self.space.xp, self.steps
        power = steps.squares
        size = xp.abs(self.space.cast(self.cells, steps.accumulator))
        if math.isinf(power):
            return self.fold(xp.maximum, size, 0.0, steps.accumulator)
        if steps.scaled:
            return self._scaled_norm(size, power, count)
        if power == 2.0:
            total = self.fold(xp.add, size * size, 0.0, steps.accumulator)
            return xp.sqrt(total if count is None else total / count)
        if power == 1.0:
            return self.fold(xp.add, size, 0.0, steps.accumulator)
        return self.fold(xp.add, size**power, 0.0, steps.accumulator) ** (1 / power)

    def _scaled_norm(self, size: Any, power: float, count: Any) -> Any:
        """Return the norm with every window divided by the power of two at or below its largest."""
        xp = self.space.xp
        largest = self.fold(xp.maximum, size, 0.0, "float64")
        usual = xp.isfinite(largest) & (largest > 0)
        exponent = xp.floor(xp.log2(xp.where(usual, largest, xp.ones_like(largest))))
        scale = 2.0 ** xp.where(exponent > 1023, exponent - 1, exponent)  # log2 rounds the largest numbers up to 1024
        total = xp.zeros_like(largest)
        for _, _, outputs, cells in self._all_taps():
            self.space.into(total, outputs, xp.add, total[outputs], (size[cells] / scale[outputs]) ** power)
        mean = total if count is None else total / count
        return mean ** (1 / power) * scale

    def weighted_sum(self, tap_weight: Any) -> Any:
        """Return the sum of weight times x over the real taps of every window."""
        steps, space = self.steps, self.space
        values = space.cast(self.cells, steps.accumulator)
        shape = list(values.shape)
        shape[steps.axes[0]], shape[steps.axes[1]] = self.rows.stop - self.rows.start, steps.problem.q
        total = space.full(tuple(shape), 0.0, steps.accumulator)
        for r, s, outputs, cells in self._all_taps():
            space.into(total, outputs, space.xp.add, total[outputs], values[cells] * tap_weight[r, s])
        return total

    def _all_taps(self) -> Iterator[tuple[int, int, tuple[Any, ...], tuple[Any, ...]]]:
        """Yield (r, s, outputs, cells) of every tap that gives some output a real cell."""
        steps, problem = self.steps, self.steps.problem
        before = (slice(None),) * steps.axes[0]
        columns = [(s, *steps.meets(1, s, 0, problem.q, 0)) for s in range(problem.s)]
        for r in range(problem.r):
            rows, from_rows = steps.meets(0, r, self.rows.start, self.rows.stop, self.top)
            for s, to, of in columns:
                if rows.start < rows.stop and to.start < to.stop:
                    yield r, s, (*before, rows, to, ...), (*before, from_rows, of, ...)


def _divisor(steps: PoolSteps, space: Namespace, tap_weight: Any) -> Callable[[slice], Any]:
    """Return the function from a slice of output rows to what their sums are divided by, or to None."""
    xp, problem, last = space.xp, steps.problem, steps.last
    if problem.kind in ("max", "lp"):
        return lambda p: None
    if problem.kind == "weighted" and problem.normalize == "full":
        total = xp.sum(tap_weight)
        return lambda p: total
    if problem.kind == "weighted":
        ones = space.full((1, problem.h, problem.w, 1) if last else (1, 1, problem.h, problem.w), 1.0, steps.accumulator)
        grid = _Piece(steps, space, ones, slice(0, 1), slice(0, problem.p), slice(0, 1)).weighted_sum(tap_weight)[0, ...]
        return lambda p: grid[(p, ...) if last else (slice(None), p, ...)]
    if problem.divisor is not None:
        return lambda p: problem.divisor
    rows, columns = (space.cast(_counts(steps, space, axis), steps.accumulator) for axis in (0, 1))

    def counts(p: slice) -> Any:
        product = rows[p][:, None] * columns[None, :]
        return product[:, :, None] if last else product[None, :, :]

    return counts


def _counts(steps: PoolSteps, space: Namespace, axis: int) -> Any:
    """Return how many taps of each window along an axis count: the real ones, or all within the explicit padding."""
    xp, problem = space.xp, steps.problem
    outputs, kernel, size = ((problem.p, problem.r, problem.h), (problem.q, problem.s, problem.w))[axis]
    step, low, high = problem.dilation[axis], steps.lows[axis], problem.pads[2 * axis + 1]
    start = xp.arange(outputs) * problem.stride[axis] - low
    nothing = xp.zeros_like(start)
    bound = size + high if problem.count_include_pad else steps.limits[axis]
    first = nothing if problem.count_include_pad else xp.maximum(nothing, -(start // step))
    last = xp.minimum(nothing + (kernel - 1), (bound - 1 - start) // step)
    return xp.maximum(nothing, last - first + 1)


def pool2d(problem: Pool2dProblem, budget: int, x: Any, tap_weight: Any, out: Any, indices: Any) -> None:
    """Write the pooling of a checked array to `out` and `indices`; see `atrous.engines.arrays`."""
    steps = pool_steps(problem, budget)
    space = namespace_of(x)
    divisor = _divisor(steps, space, tap_weight)
    for n in _parts(problem.n, steps.images):
        for p in _parts(problem.p, steps.rows):
            for c in _parts(problem.c, steps.channels):
                at = (n, p, slice(None), c) if steps.last else (n, c, p, slice(None))
                _write(_Piece(steps, space, x, n, p, c), at, tap_weight, divisor(p), out, indices)


def _write(piece: _Piece, at: tuple[Any, ...], tap_weight: Any, divisor: Any, out: Any, indices: Any) -> None:
    """Write one piece of the outputs to out[at] and indices[at]."""
    steps, space, problem = piece.steps, piece.space, piece.steps.problem
    if problem.return_indices:
        y, index = piece.maximum_and_index()
        space.store(indices, at, index)
    elif problem.kind == "max":
        y = piece.maximum()
    elif problem.kind == "avg":
        y = piece.fold(space.xp.add, space.cast(piece.cells, steps.accumulator), 0.0, steps.accumulator)
    elif problem.kind == "weighted":
        y = piece.weighted_sum(tap_weight)
    else:
        y, divisor = piece.norm(divisor), None
    if divisor is not None:
        y /= divisor
    space.store(out, at, space.to_odd_float32(y) if problem.dtype == "bfloat16" and steps.accumulator == "float64" else y)


def _parts(size: int, step: int) -> list[slice]:
    return [slice(start, min(size, start + step)) for start in range(0, size, step)]
