"""How the threads of a block share rows of planes in shared memory, so that few lanes of a warp meet in a bank."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

WARP, BANKS, WORD = 32, 32, 4
#: how far and over how many warps a step from run to run is looked for
MOST_STEP, WARPS_LOOKED_AT = 32, 4


@dataclass(frozen=True)
class Places:
    """Bytes of shared memory from plane to plane, from part to part, from column to column, and from neighbour to neighbour in a column."""

    plane: int
    part: int
    column: int
    neighbour: int


@dataclass(frozen=True)
class Runs:
    """The runs of an item, rows of a part of a plane, `width` threads' places wide: where each reads x and writes y.

    The places of a column are `inner` neighbours.
    """

    count: int
    parts: int
    width: int
    inner: int
    x: Places
    y: Places


def lanes_of(width: int) -> int:
    """Return the threads of a run: its places, or as many as part a warp evenly, or whole warps, where those are a third more at most."""
    even = 1 << (width - 1).bit_length() if width <= WARP else -(-width // WARP) * WARP
    return even if 4 * width >= 3 * even else width


@lru_cache(maxsize=4096)
def best_step(runs: Runs) -> int:
    """Return the step from run to run by which the lanes of a few warps meet least in a bank, reads counted twice.

    Threads take runs 0, step, 2 * step and so on, then those that begin with 1.
    """
    lanes = lanes_of(runs.width)
    units = [divmod(unit, lanes) for unit in range(min(WARPS_LOOKED_AT * WARP, runs.count * lanes))]

    def conflicts(step: int) -> int:
        turns, met = -(-runs.count // step), 0
        for first in range(0, len(units), WARP):
            for places, weight in ((runs.x, 2), (runs.y, 1)):
                words = set()
                for number, place in units[first : first + WARP]:
                    plane, part = divmod(number % turns * step + number // turns, runs.parts)
                    column, neighbour = divmod(place, runs.inner)
                    if place < runs.width:
                        words.add((plane * places.plane + part * places.part + column * places.column + neighbour * places.neighbour) // WORD)
                met += weight * max(Counter(word % BANKS for word in words).values(), default=0)
        return met

    return min(range(1, min(runs.count, MOST_STEP) + 1), key=lambda step: (conflicts(step), step))
