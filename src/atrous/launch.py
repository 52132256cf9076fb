"""The Launch record: everything an engine needs to run one kernel, and nothing about why."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

#: A pointer per slot, in the order of Launch.pointers; 0 where the operand is absent.
Pointers = tuple[int, ...]

#: scratch of these names is made out of the weight alone, and stays valid as long as the weight does
PACKED = "packed_"

MAP_BYTES, MAP_ALIGNMENT = 128, 64
TILED, IM2COL = 0, 1


class TensorMapRequest(ctypes.Structure):
    """Mirror of struct TensorMapRequest of csrc/include/atrous/tensor_map.hpp."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("kind", "element_type", "rank", "swizzle")),
        ("sizes", ctypes.c_longlong * 5),
        ("strides", ctypes.c_longlong * 4),
        ("box", ctypes.c_int * 5),
        ("element_strides", ctypes.c_int * 5),
        ("lower_corner", ctypes.c_int * 3),
        ("upper_corner", ctypes.c_int * 3),
        *((name, ctypes.c_int) for name in ("channels_per_pixel", "pixels_per_column", "pointer_slot", "offset")),
    ]


@dataclass(frozen=True)
class TensorMap:
    """What the copy engine of sm_90 is told of one operand: a box of it (tiled), or a column of pixels (im2col).

    Dimension 0 runs fastest and is dense. What lies outside the tensor reads as zero. Engines check and encode it, since
    the 128 bytes hold the operand's address.
    """

    operand: str  # of Launch.pointers: whose address the map holds
    offset: int  # of its 128 bytes in the parameters, a multiple of 64
    element_type: int  # DATA_TYPES of kernels/parameters.py
    sizes: tuple[int, ...]  # elements of each dimension; im2col: c, w[, h[, d]], n
    strides: tuple[int, ...]  # bytes, of the dimensions from 1 on
    box: tuple[int, ...] = ()  # tiled: elements that the box spans
    element_strides: tuple[int, ...] = ()  # steps inside the box, or inside the bounding box; default 1
    lower_corner: tuple[int, ...] = ()  # im2col: first pixel of the bounding box, w first: the padding, negative
    upper_corner: tuple[int, ...] = ()  # im2col: its last pixel, counted from the image's last, w first
    channels_per_pixel: int = 0  # im2col
    pixels_per_column: int = 0  # im2col
    swizzle: int = 0  # bytes: 0, 32, 64 or 128

    def request(self, pointers: tuple[str, ...]) -> TensorMapRequest:
        """Return what the C++ side reads, for a launch with these operands."""
        found = TensorMapRequest(
            kind=TILED if self.box else IM2COL,
            element_type=self.element_type,
            rank=len(self.sizes),
            swizzle=self.swizzle,
            channels_per_pixel=self.channels_per_pixel,
            pixels_per_column=self.pixels_per_column,
            pointer_slot=pointers.index(self.operand),
            offset=self.offset,
        )
        for name in ("sizes", "strides", "box", "lower_corner", "upper_corner"):
            getattr(found, name)[: len(getattr(self, name))] = getattr(self, name)
        found.element_strides[: len(self.sizes)] = self.element_strides or (1,) * len(self.sizes)
        return found


@dataclass(frozen=True)
class Launch:
    """One kernel launch as plain data, with the launches that it needs before and after it on the same stream.

    `parameters` is the image of the kernel's one argument, a C++ struct of `problem.hpp` passed by value. Its
    first 8 bytes times len(pointers) are the pointer slots, zero here; an engine fills them in at each call, and the
    128 bytes of each tensor map. A slot may name scratch too, in this launch or in those before and after it.
    """

    name: str  # C++ expression in namespace atrous: "conv_direct<float16, Nhwc, int32, WideTile>"
    header: str  # where that template stands: "atrous/kernels/conv_direct.cuh"
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int  # dynamic shared memory
    parameters: bytes
    pointers: tuple[str, ...]  # operand or scratch of each slot: ("x", "weight", "scale", "bias", "residual", "y")
    cluster: tuple[int, int, int] = (1, 1, 1)
    tensor_maps: tuple[TensorMap, ...] = ()
    scratch: tuple[tuple[str, int], ...] = ()  # (name, bytes) of memory that starts at a multiple of 256, with any content
    before: tuple[Launch, ...] = ()  # make scratch called PACKED... out of the weight: once a plan, once a functional call
    after: tuple[Launch, ...] = ()  # finish what this launch left in scratch

    @property
    def sequence(self) -> tuple[Launch, ...]:
        """All launches, in the order in which they run."""
        return (*self.before, self, *self.after)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all launches, in the order in which they run."""
        return tuple(launch.name for launch in self.sequence)

    def map_requests(self) -> bytes:
        """Return the requests of the tensor maps, one after another, as the extensions take them."""
        return b"".join(bytes(tensor_map.request(self.pointers)) for tensor_map in self.tensor_maps)

    def __str__(self) -> str:
        shape = "x".join(map(str, self.grid)) + " blocks of " + "x".join(map(str, self.block))
        words = [f"{self.name}: {shape} threads, {self.shared_bytes} shared bytes"]
        words += [f"before it once a weight {launch}" for launch in self.before]
        words += [f"after it {launch}" for launch in self.after]
        for verb, packed in (("packs", True), ("workspace", False)):
            if size := sum(size for name, size in self.scratch if name.startswith(PACKED) == packed):
                words.append(f"{verb} {size:,} bytes")
        return "; ".join(words)
