"""Where the taps of every window lie on one axis of the input, written as tables of indices."""

from __future__ import annotations

from typing import Any

import numpy as np

#: What an index table holds where a tap falls on no cell of the input.
NOWHERE = -1


def canonical(array: Any, layout: str, order: str) -> np.ndarray:
    """Return `array`, whose axes are named by `layout`, with its axes in the order `order`."""
    return np.transpose(np.asarray(array), [layout.index(letter) for letter in order])


def tap_positions(outputs: int, kernel: int, stride: int, dilation: int, low: int) -> np.ndarray:
    """Return the (O, K) table o*S - p0 + k*D: the coordinate of each tap, below 0 or past the end in the padding."""
    return np.arange(outputs)[:, None] * stride - low + np.arange(kernel)[None, :] * dilation


def rows_and_columns(problem: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the (P, R) and (Q, S) tables of tap coordinates of a problem."""
    top, _, left, _ = problem.pads
    return (
        tap_positions(problem.p, problem.r, problem.stride[0], problem.dilation[0], top),
        tap_positions(problem.q, problem.s, problem.stride[1], problem.dilation[1], left),
    )


def source(mode: str, position: int, extent: int) -> int:
    """Return the cell of an axis of `extent` cells that a padded coordinate shows, or NOWHERE for a zero."""
    if 0 <= position < extent:
        return position
    if mode == "zeros":
        return NOWHERE
    if mode == "reflect":  # the edge itself is not repeated
        return -position if position < 0 else 2 * (extent - 1) - position
    if mode == "replicate":
        return 0 if position < 0 else extent - 1
    if mode == "circular":
        return position % extent
    raise ValueError(f"padding mode {mode!r}")


def source_table(mode: str, positions: np.ndarray, extent: int) -> np.ndarray:
    """Return `source` of every coordinate of a table."""
    cells = [source(mode, int(position), extent) for position in positions.flat]
    return np.array(cells, dtype=np.int64).reshape(positions.shape)


def gather(x: np.ndarray, rows: np.ndarray, columns: np.ndarray, empty: float) -> np.ndarray:
    """Return x[:, rows, columns, :] as (N, P, Q, C) for index vectors of lengths P and Q, `empty` where one is NOWHERE."""
    cells = x[:, np.maximum(rows, 0)][:, :, np.maximum(columns, 0)]
    real = (rows != NOWHERE)[:, None] & (columns != NOWHERE)[None, :]
    return np.where(real[None, :, :, None], cells, np.asarray(empty, dtype=x.dtype))
