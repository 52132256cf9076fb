"""Packed weights: rows of runs of whole 16-byte pieces, when weights need packing, and the launch that packs them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..launch import Launch
from .base import PIECE, Strides
from .parameters import BYTES, CPP_TYPES, PackArguments, pointer_names

THREADS, LANES = 256, 32
ROWS = THREADS // LANES  # of a block
#: blocks that keep every multiprocessor of a large device at work; a row is divided between blocks up to as many
ENOUGH_BLOCKS = 512
#: elements of a row are counted in 32 bits
ROW_LIMIT = 2**31 - 1
DTYPES = ("float16", "bfloat16", "float32", "int8", "uint8")


@dataclass(frozen=True)
class PackedRows:
    """The layout of packed weights: ``[planes, K, row]`` elements, then ``[K]`` int32 sums of the rows if asked for.

    A row holds, for every chunk of channels, for r, for every run of taps, the run's weights (s, c) with c fastest, and
    zeros up to a whole piece of 16 bytes.
    """

    dtype: str
    k: int
    r: int
    s: int
    channels: int  # C/G
    taps_in_run: int = 1  # 1: a run is the channels of one tap; s: of a whole filter row
    chunk_channels: int = 0  # 0: all of them; beyond the last channel stand zeros
    planes: int = 1  # float32: 1, rounded to tf32; 2, and what that leaves
    sums: bool = False

    @property
    def width(self) -> int:
        """Channels of a chunk."""
        return self.chunk_channels or self.channels

    @property
    def chunks(self) -> int:
        """Chunks that cover C/G."""
        return -(-self.channels // self.width)

    @property
    def run_elements(self) -> int:
        """Elements from one run to the next: whole pieces."""
        piece = PIECE // BYTES[self.dtype]
        return -(-self.taps_in_run * self.width // piece) * piece

    @property
    def row_elements(self) -> int:
        """Elements from one row to the next."""
        return self.chunks * self.r * (self.s // self.taps_in_run) * self.run_elements

    @property
    def row_bytes(self) -> int:
        """Bytes from one row to the next, a multiple of 16."""
        return self.row_elements * BYTES[self.dtype]

    @property
    def sums_offset(self) -> int:
        """Bytes before the sums."""
        return self.planes * self.k * self.row_bytes

    @property
    def bytes(self) -> int:
        """Bytes of the whole."""
        return self.sums_offset + self.sums * self.k * BYTES["int32"]


def packed_rows(problem: Any, *, whole_filter_rows: bool = False, chunk_channels: int = 0, planes: int = 1) -> PackedRows:
    """Return the rows of a convolution's weights: runs of channels, or of (s, c); with sums where x has a zero point."""
    return PackedRows(
        dtype=problem.dtype,
        k=problem.k,
        r=problem.r,
        s=problem.s,
        channels=problem.c // problem.groups,
        taps_in_run=problem.s if whole_filter_rows else 1,
        chunk_channels=chunk_channels,
        planes=planes,
        sums=problem.zero_point != 0,
    )


def needs_packing(rows: PackedRows, strides: Strides) -> bool:
    """Return whether weights of these strides and this alignment are not such rows already; float32 is never rounded yet."""
    if rows.dtype == "float32" or rows.sums or rows.chunks > 1 or strides.weight_alignment % PIECE:
        return True
    if rows.width != rows.channels or rows.run_elements != rows.taps_in_run * rows.channels:
        return True
    extents = (rows.k, rows.r, rows.s, rows.channels)
    dense = (rows.row_elements, rows.s * rows.channels, rows.channels, 1)
    return any(extent > 1 and step != other for extent, step, other in zip(extents, strides.weight, dense))


def pack_launch(rows: PackedRows, strides: Strides, packed: str = "packed_weight") -> Launch:
    """Return the launch that makes these rows of "weight" in scratch called `packed`.

    Examples
    --------
    >>> rows = PackedRows("float16", k=64, r=3, s=3, channels=10)
    >>> rows.run_elements, rows.row_bytes, rows.bytes
    (16, 288, 18432)
    >>> pack_launch(rows, Strides((0,) * 4, (0,) * 4, (90, 30, 10, 1))).name
    'pack_weight<float16>'
    """
    row_tiles = -(-rows.k // ROWS)
    steps = -(-rows.row_bytes // (PIECE * LANES))
    row_parts = 1 if rows.sums else max(1, min(steps, ENOUGH_BLOCKS // max(1, row_tiles)))
    arguments = PackArguments(
        weight_stride=strides.weight,
        k=rows.k,
        r=rows.r,
        s=rows.s,
        channels=rows.channels,
        taps_in_run=rows.taps_in_run,
        chunk_channels=rows.width,
        run_elements=rows.run_elements,
        planes=rows.planes,
        with_sums=rows.sums,
        row_parts=row_parts,
    )
    return Launch(
        name=f"pack_weight<{CPP_TYPES[rows.dtype]}>",
        header=KERNEL.header,
        grid=(row_tiles * row_parts, 1, 1),
        block=(THREADS, 1, 1),
        shared_bytes=0,
        parameters=bytes(arguments),
        pointers=tuple(packed if name == "packed_weight" else name for name in pointer_names(PackArguments)),
    )


class PackWeight:
    """Description of csrc/include/atrous/kernels/pack_weight.cuh."""

    name = "pack_weight"
    header = "atrous/kernels/pack_weight.cuh"

    def instances(self) -> Iterator[str]:
        """Yield every name that `pack_launch` can return."""
        for dtype in DTYPES:
            yield f"pack_weight<{CPP_TYPES[dtype]}>"


KERNEL = PackWeight()
