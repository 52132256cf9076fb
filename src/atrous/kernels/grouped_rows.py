"""How conv_grouped divides its work: groups into tiles of 8 output channels, a row into columns, and what a block stages of both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .base import PIECE
from .conv_depthwise import WARP
from .depthwise import SHARED_BYTES, window_of
from .row_items import Axis

WINDOW = 3
#: channels of a tile of outputs, and of a piece of 16 bytes
CHANNELS = 8
#: output columns of a product, and of a warp; tiles of a warp, and the most warps of a block, as in grouped_rows.cuh
PRODUCT_COLUMNS, WARP_COLUMNS = 16, 32
WARP_TILES, MOST_WARPS = 2, 4
#: name of the pieces of a group -> blocks that share the registers of a multiprocessor, as in grouped_rows.cuh
BLOCKS = {"GroupsOf4": 3, "GroupsOf8": 3, "GroupsOf16": 3, "GroupsOf24": 2, "GroupsOf32": 2}
#: stride of the rows of a phase -> chunks under way, as in grouped_rows.cuh
AHEAD = {1: 3, 2: 2}
STAGE_BYTES = 4 * 512  # of a warp: kWarpStage of warp_output.cuh
#: what a block of few warps loses, one that takes less of a cell than memory gives at a time, and an idle product beside a byte moved in vain: guesses
FEW_WARPS, NARROW, IDLE_WEIGHT = 0.1, 0.05, 0.1
WHOLE_RUN = 64  # bytes


@dataclass(frozen=True)
class Shape:
    """What a tile depends on: neither N nor the device."""

    rows: Axis
    columns: Axis
    groups: int
    channels: int  # C/G
    outputs: int  # K/G

    @property
    def halves(self) -> bool:
        """Whether two groups share a piece, and halves of tiles are counted."""
        return self.channels == 4 and self.outputs % 4 == 0

    @property
    def pieces(self) -> int:
        """Pieces of a cell that the tiles of a group read; of halves, that as many tiles read."""
        return 1 if self.halves else -(-self.channels // CHANNELS)

    @property
    def kind(self) -> str:
        """Name of grouped_rows.cuh."""
        return "GroupsOf4" if self.halves else f"GroupsOf{CHANNELS * self.pieces}"

    @property
    def row_pieces(self) -> int:
        """Pieces of the weights of a filter row."""
        return 2 if self.halves else WINDOW * self.pieces

    @property
    def group_units(self) -> int:
        """Tiles of a group, or halves of tiles."""
        return self.outputs // 4 if self.halves else -(-self.outputs // CHANNELS)

    @property
    def tiles(self) -> int:
        """Tiles of all output channels."""
        units = self.groups * self.group_units
        return -(-units // 2) if self.halves else units

    @property
    def cell_pieces(self) -> int:
        """Pieces of a cell, all groups together."""
        return -(-self.groups // 2) if self.halves else self.groups * self.pieces

    @property
    def products(self) -> int:
        """Products of the tensor cores for 16 columns of a tile."""
        return WINDOW * -(-self.row_pieces // 2) * (2 if self.halves else 1)


def shape_of(problem: Any) -> Shape:
    """Return the Shape of a convolution."""
    window = window_of(problem)
    rows = Axis.of(problem.p, window.stride[0], window.dilation[0])
    columns = Axis.of(problem.q, window.stride[1], window.dilation[1])
    return Shape(rows, columns, problem.groups, problem.c // problem.groups, problem.k // problem.groups)


def _met(count: int, part: int) -> int:
    """Return how many parts of so many tiles any `count` tiles meet that begin at a multiple of `count`."""
    if count % part == 0:
        return count // part
    return 1 if part % count == 0 else (count - 2) // part + 2


@dataclass(frozen=True)
class Tile:
    """What a block owns of an output row, and what it stages for it."""

    shape: Shape
    pairs: int  # of tiles: warps along the channels
    column_warps: int

    @property
    def warps(self) -> int:
        """Warps of a block."""
        return self.pairs * self.column_warps

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.warps * WARP

    @property
    def slab_tiles(self) -> int:
        """Tiles of a slab."""
        return self.pairs * WARP_TILES

    @property
    def slabs(self) -> int:
        """Slabs that cover the output channels."""
        return -(-self.shape.tiles // self.slab_tiles)

    @property
    def column_tiles(self) -> int:
        """Tiles that cover the columns of a phase."""
        return -(-self.shape.columns.outputs // (self.column_warps * WARP_COLUMNS))

    @property
    def columns(self) -> int:
        """Output columns: tiles of equal width, in whole products."""
        return -(-self.shape.columns.outputs // self.column_tiles // PRODUCT_COLUMNS) * PRODUCT_COLUMNS

    @property
    def cell_pieces(self) -> int:
        """Pieces of a cell that the groups of a slab read."""
        return min(self.shape.cell_pieces, _met(self.slab_tiles, self.shape.group_units) * self.shape.pieces)

    @property
    def bank_bits(self) -> int:
        """Return log2 of the largest power of two up to 8 that divides them."""
        return min(3, (self.cell_pieces & -self.cell_pieces).bit_length() - 1)

    @property
    def plane_cells(self) -> int:
        """Places from the first cell of a staged row to its second, where every second one lies apart."""
        stride = self.shape.columns.stride
        return -(-((self.columns - 1) * stride + WINDOW) // stride)

    @property
    def row_bytes(self) -> int:
        """Bytes of a staged row."""
        return self.shape.columns.stride * self.plane_cells * self.cell_pieces * PIECE

    @property
    def front_bytes(self) -> int:
        """Bytes of the ring, or of the weights where they take more."""
        stride = self.shape.rows.stride
        weights = self.slab_tiles * CHANNELS * (WINDOW * self.shape.row_pieces | 1) * PIECE
        return max((AHEAD[stride] + 1) * stride * self.row_bytes, weights)

    @property
    def shared_bytes(self) -> int:
        """Bytes of the ring or the weights, of the stages of all warps, and of the terms."""
        return self.front_bytes + self.warps * STAGE_BYTES + 2 * 4 * self.slab_tiles * CHANNELS

    @property
    def lead(self) -> int:
        """Chunks before the one that completes an output row."""
        return -(-WINDOW // self.shape.rows.stride) - 1

    @property
    def x_factor(self) -> float:
        """What is read of a row of x, as a multiple of the row: cells of two tiles, and groups of two slabs."""
        columns, shape = self.shape.columns, self.shape
        needed = (columns.outputs - 1) * columns.stride + WINDOW
        again = (self.column_tiles - 1) * (WINDOW - columns.stride)
        slabs = 1.0 if self.slab_tiles % shape.group_units == 0 else self.slabs * self.cell_pieces / shape.cell_pieces
        return (needed + again) / needed * slabs

    @property
    def row_products(self) -> int:
        """Products of 16 columns of a tile, for an output row of a phase and all channels."""
        return self.column_tiles * self.columns // PRODUCT_COLUMNS * self.slabs * self.slab_tiles

    @property
    def cost(self) -> float:
        """Bytes moved in vain, idle products, and few warps."""
        useful = self.shape.columns.outputs / PRODUCT_COLUMNS * self.shape.tiles
        losses = FEW_WARPS * (self.warps < 3) + NARROW * (self.slabs > 1 and self.cell_pieces * PIECE < WHOLE_RUN)
        return (self.x_factor + 1) / 2 + IDLE_WEIGHT * (self.row_products / useful - 1) + losses


@lru_cache(maxsize=4096)
def tile_of(shape: Shape, warps: int) -> Tile:
    """Return the tile of the least cost of at most so many warps whose shared memory two blocks have.

    Where none fits, which is of strides of 2 and two groups of 32 channels in a warp, the one that takes least: 52 KB.
    """
    enough = -(-shape.columns.outputs // WARP_COLUMNS), -(-shape.tiles // WARP_TILES)
    sizes = [(pairs, across) for pairs in range(1, warps + 1) for across in range(1, warps // pairs + 1)]
    found = [Tile(shape, pairs, across) for pairs, across in sizes if pairs <= enough[1] and across <= enough[0]]
    beyond = lambda tile: max(0, tile.shared_bytes - SHARED_BYTES)  # noqa: E731
    return min(found, key=lambda tile: (beyond(tile), round(tile.cost, 6), -tile.pairs, -tile.column_warps))


def tiles_of(shape: Shape) -> list[Tile]:
    """Return the tiles of blocks of most, half and a quarter of the warps, the largest first."""
    return [tile_of(shape, warps) for warps in (MOST_WARPS, MOST_WARPS // 2, MOST_WARPS // 4)]
