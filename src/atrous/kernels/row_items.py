"""How kernels that stream rows share out the outputs, as in row_items.cuh: phases of an axis, strips of a tile, and blocks that run together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from .base import DEVICES, Device
from .depthwise import together_of

#: a longer strip reads hardly less: of 7 rows of a window 6 are read twice
MOST_STRIP_ROWS = 256


@dataclass(frozen=True)
class Axis:
    """One axis of the outputs: phases that share no cells, each a convolution of stride `stride` without dilation."""

    phases: int  # that have outputs
    apart: int  # between neighbours of a phase
    stride: int  # 1 where a phase has one output
    outputs: int  # of the largest phase

    @classmethod
    def of(cls, outputs: int, stride: int, dilation: int) -> Axis:
        """Return the phases of an axis."""
        common = math.gcd(stride, dilation)
        apart = dilation // common
        most = -(-outputs // apart)
        return cls(min(apart, outputs), apart, stride // common if most > 1 else 1, most)


class Block(Protocol):
    """What a block takes of a multiprocessor."""

    @property
    def threads(self) -> int:
        """Threads of a block."""

    @property
    def shared_bytes(self) -> int:
        """Bytes of shared memory of a block."""


class RowTile(Block, Protocol):
    """What a block owns of an output row."""

    @property
    def shape(self) -> Any:
        """Its axes `rows` and `columns` among others."""

    @property
    def slabs(self) -> int:
        """Slabs that cover the output channels."""

    @property
    def column_tiles(self) -> int:
        """Tiles that cover the columns of a phase."""

    @property
    def columns(self) -> int:
        """Output columns."""


AnyTile = TypeVar("AnyTile", bound=RowTile)
AnyPlan = TypeVar("AnyPlan")


@dataclass(frozen=True)
class Plan(Generic[AnyTile]):
    """A tile, how its columns are cut into strips, and how many blocks of a slab run together."""

    tile: AnyTile
    strip_rows: int
    items: int
    together: int

    @property
    def strips(self) -> int:
        """Strips of the largest phase."""
        return -(-self.tile.shape.rows.outputs // self.strip_rows)

    @property
    def blocks(self) -> int:
        """Blocks of the launch."""
        return self.together * self.tile.slabs


def resident_blocks(block: Block, registers: int, device: Device) -> int:
    """Return how many such blocks, of so many registers a thread, a multiprocessor holds at once."""
    by_shared = device.shared_per_multiprocessor // (block.shared_bytes + 1024)  # a block takes 1 KB more than it asked for
    by_registers = device.registers_per_multiprocessor // (registers * block.threads)
    return max(1, min(by_shared, by_registers, device.threads_per_multiprocessor // block.threads, 32))


def plan_among(tiles: list[AnyTile], problem: Any, resident_of: Callable[[AnyTile, Device], int], device: Device) -> Plan[AnyTile]:
    """Return the plan with the first tile, and with strips as long as can be, that leaves no multiprocessor without a block, or with the last tile."""
    plans = [_plan_with(tile, problem, resident_of(tile, device), device) for tile in tiles]
    return next((plan for plan in plans if plan.items * plan.tile.slabs >= device.multiprocessors), plans[-1])


def _plan_with(tile: AnyTile, problem: Any, resident: int, device: Device) -> Plan[AnyTile]:
    rows = tile.shape.rows
    columns = problem.n * rows.phases * tile.shape.columns.phases * tile.column_tiles
    blocks = max(1, columns * tile.slabs)
    wanted = -(-resident * device.multiprocessors // blocks) if blocks < device.multiprocessors else 1
    shortest = 2 * -(-problem.r // rows.stride)  # a shorter strip reads more than half of its rows twice
    strips = max(-(-rows.outputs // MOST_STRIP_ROWS), min(wanted, rows.outputs // shortest), 1)
    strip_rows = -(-rows.outputs // strips)
    items = columns * -(-rows.outputs // strip_rows)
    return Plan(tile, strip_rows, items, together_of(items, tile.slabs, resident, device))


def every_plan(plan_of: Callable[[Any, Device], AnyPlan], problem: Any) -> Iterator[AnyPlan]:
    """Yield the plans for all devices, each once, and each with a block for every item: all give the same bits."""
    found: list[Any] = [plan_of(problem, device) for device in DEVICES.values()]
    found += [replace(plan, together=plan.items) for plan in found]
    yield from dict.fromkeys(found)


def most_items(tiles: Iterable[RowTile], problem: Any) -> int:
    """Return the blocks of the tile that has most, with one for each output row."""
    return max(problem.n * one.shape.rows.phases * one.shape.columns.phases * one.shape.rows.outputs * one.column_tiles * one.slabs for one in tiles)


def item_fields(plan: Plan[Any]) -> dict[str, int]:
    """Return the fields that ItemWalk reads of a kernel's arguments, but for `lead`."""
    tile, rows, columns = plan.tile, plan.tile.shape.rows, plan.tile.shape.columns
    return dict(
        items=plan.items,
        slabs=tile.slabs,
        column_tiles=tile.column_tiles,
        tile_columns=tile.columns,
        strips=plan.strips,
        strip_rows=plan.strip_rows,
        phases_h=rows.phases,
        phases_w=columns.phases,
        apart_h=rows.apart,
        apart_w=columns.apart,
    )
