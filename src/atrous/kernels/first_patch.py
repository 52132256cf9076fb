"""How conv_first divides its work: channels into chunks, an image into patches, and the halo that each patch stages.

The order of a sum follows from the chunks, which neither N nor the image's size nor the patch decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .base import PIECE
from .parameters import BYTES

WORD, STEP_PIECES = 4, 4  # bytes of a register; pieces of a step
#: what a halo is kept to where its channels can be divided: beside 32 KB of weights, three such blocks fit 164 KB
HALO_BYTES = 24 * 1024
#: what it may take where a single word of channels is more: with weights and places still within 99 KB
MOST_HALO_BYTES = 64 * 1024
#: output pixels that the chunks are reckoned with: of any tile's patches one is at most this high and wide
USUAL_PATCH = (8, 16)
#: a channel that does not count is staged, so that pixels begin on words, where it adds at most an eighth
PADDING_SHARE = 8
#: cells of a row that a window may span: every one is looked at, those between taps too
MOST_COLUMNS = 4096
#: past the last run of a halo a lane reads less than a piece and a word
SLACK_BYTES = 32
STAGING_THREADS = 128


@dataclass(frozen=True)
class Halo:
    """The cells that a patch reads, as they lie in shared memory: rows of [phase][column][channel]."""

    rows: int  # staged
    columns: int  # that the taps span
    tap_rows: int  # staged rows from one filter row to the next
    phases: int  # columns modulo dilation_w that some pixel begins on
    phase_columns: int
    row_bytes: int

    @property
    def bytes(self) -> int:
        """Bytes of the whole, in pieces."""
        return -(-(self.rows * self.row_bytes + SLACK_BYTES) // PIECE) * PIECE


def dilation_of(problem: Any) -> tuple[int, int]:
    """Return the dilation, which between single taps means nothing: 1 keeps the kernel's products small."""
    return (problem.dilation[0] if problem.r > 1 else 1), (problem.dilation[1] if problem.s > 1 else 1)


def halo_of(problem: Any, rows: int, columns: int, channels: int) -> Halo:
    """Return the halo of rows x columns output pixels, with so many channels of each cell."""
    dilation_h, dilation_w = dilation_of(problem)
    reach_h, reach_w = (rows - 1) * problem.stride[0] + 1, (columns - 1) * problem.stride[1] + 1
    tap_rows = min(dilation_h, reach_h)
    span = (problem.s - 1) * dilation_w + reach_w
    phases = min(dilation_w, reach_w)
    phase_columns = -(-span // dilation_w)
    row_bytes = -(-phases * phase_columns * channels * BYTES[problem.dtype] // WORD) * WORD
    return Halo((problem.r - 1) * tap_rows + reach_h, span, tap_rows, phases, phase_columns, row_bytes)


def _round_up(count: int, step: int) -> int:
    return -(-count // step) * step


def chunk_channels(problem: Any) -> int:
    """Return the channels that are staged at a time, at most an eighth more than C; 0 where not even a word of them fits."""
    word = max(1, WORD // BYTES[problem.dtype])
    padded = _round_up(problem.c, word)
    channels = padded if (padded - problem.c) * PADDING_SHARE <= problem.c else problem.c

    def fits(count: int, most: int) -> bool:
        return halo_of(problem, *USUAL_PATCH, count).bytes <= most

    if fits(channels, HALO_BYTES):
        return int(channels)
    least = min(word, channels)
    if not fits(least, HALO_BYTES):
        return int(least) if fits(least, MOST_HALO_BYTES) else 0
    low, high = least // word, channels // word  # in words: the most that fit lie from low up to, and without, high + 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle * word, HALO_BYTES) else (low, middle - 1)
    chunks = -(-problem.c // (max(1, low) * word))
    return int(_round_up(-(-problem.c // chunks), word))


def chunks(problem: Any, channels: int) -> int:
    """Return how many chunks cover C."""
    return int(-(-problem.c // channels))


def run_pieces(problem: Any, channels: int) -> int:
    """Return the pieces of 16 bytes of a run: the taps of a filter row with the channels of a chunk."""
    return int(-(-problem.s * channels * BYTES[problem.dtype] // PIECE))


def steps(problem: Any, channels: int) -> int:
    """Return the steps of 4 pieces of all chunks, each of which begins with a new one."""
    return chunks(problem, channels) * -(-problem.r * run_pieces(problem, channels) // STEP_PIECES)


def begins_within_words(problem: Any, channels: int) -> bool:
    """Return whether some pixels of a patch begin within a word, so that two are read for each register."""
    step = problem.stride[1] if dilation_of(problem)[1] == 1 else 1
    return bool(step * channels * BYTES[problem.dtype] % WORD)


def row_threads_log2(problem: Any, halo: Halo, channels: int) -> int:
    """Return log2 of the threads that stage a row together: as few warps as hold it, at most all four."""
    warps = -(-halo.columns * channels // 32)
    return 5 if warps <= 1 else 6 if warps <= 2 else 7


def staging_loads(problem: Any, halo: Halo, channels: int) -> int:
    """Return the cells that each thread looks at to stage a chunk's halo."""
    lanes = 1 << row_threads_log2(problem, halo, channels)
    return -(-halo.columns * channels // lanes) * -(-halo.rows // (STAGING_THREADS // lanes))


@lru_cache(maxsize=4096)
def _patch(problem: Any, pixels: int, channels: int) -> tuple[int, int]:
    limit = max(HALO_BYTES, halo_of(problem, *USUAL_PATCH, channels).bytes)
    depth = chunks(problem, channels) * problem.r * run_pieces(problem, channels)
    products = pixels * (depth / 2 + 4)
    best, found = math.inf, (1, 1)
    for columns in range(min(problem.q, pixels), 0, -1):
        rows = min(problem.p, pixels // columns)
        if -(-problem.p // rows) * -(-problem.q // columns) * products > best:
            continue  # whatever staging adds
        halo = halo_of(problem, rows, columns, channels)
        while halo.bytes > limit and rows > 1:
            rows -= 1
            halo = halo_of(problem, rows, columns, channels)
        if halo.bytes > limit:
            continue
        count = -(-problem.p // rows) * -(-problem.q // columns)
        # Clocks of a multiprocessor: products and outputs of all pixels, used or not; instructions of the staging, 4 warps at once.
        clocks = count * (products + 20 * chunks(problem, channels) * staging_loads(problem, halo, channels))
        if clocks <= best:  # of equals the narrowest
            best, found = clocks, (rows, columns)
    return found


def patch_of(problem: Any, pixels: int, channels: int) -> tuple[int, int]:
    """Return the rows and columns of the patches of at most so many pixels that cover an image at the least cost."""
    return _patch(problem, pixels, channels)
