"""Probes of csrc/include/atrous/probes/wgmma.cuh: shapes, element types, swizzles and majors of wgmma, on random images of shared memory."""

from __future__ import annotations

import struct

import numpy as np

from .probe import Arrays, Probe

HEADER = "atrous/probes/wgmma.cuh"
TILE_B = 32768  # of the image; that of a is at its start
IMAGE_BYTES = 2 * TILE_B
K_MAJOR, MN_MAJOR = "prims::Major::kK", "prims::Major::kMn"
SIZES = (8, 16, 24, *range(32, 257, 16))
#: element type -> the bits of -2, -1, 0, 1 and 2; products of these sum exactly
BITS: dict[str, np.ndarray] = {
    "float16": np.array([0xC000, 0xBC00, 0, 0x3C00, 0x4000], np.uint16),
    "bfloat16": np.array([0xC000, 0xBF80, 0, 0x3F80, 0x4000], np.uint16),
    "prims::Tfloat32": np.array([0xC0000000, 0xBF800000, 0, 0x3F800000, 0x40000000], np.uint32),
    "prims::Float8E4m3": np.array([0xC0, 0xB8, 0, 0x38, 0x40], np.uint8),
    "prims::Float8E5m2": np.array([0xC0, 0xBC, 0, 0x3C, 0x40], np.uint8),
    "int8": np.array([0xFE, 0xFF, 0, 1, 2], np.uint8),
    "uint8": np.array([250, 7, 0, 1, 2], np.uint8),
}
#: swizzle of a descriptor -> bytes of one of its rows
ROW_BYTES = {0: 16, 1: 128, 2: 64, 3: 32}
Fields = tuple[int, int, int, int, int]  # leading, stride, swizzle, shift, step


def k_major(swizzle: int, lines: int = 0) -> Fields:
    """Return how K-major rows of one swizzle lie from row `lines` of an image on."""
    row = ROW_BYTES[swizzle]
    return (16, 8 * row, swizzle, lines * row, 32) if swizzle else (4096, 128, 0, 16 * lines, 256)


def mn_major(swizzle: int) -> Fields:
    """Return how MN-major columns of one swizzle lie."""
    row = ROW_BYTES[swizzle]
    return (2048, 8 * row, swizzle, 0, 16 * row) if swizzle else (128, 256, 0, 0, 0)


def probe(kind: str, n: int, a: Fields | None, b: Fields, steps: int = 1, majors: tuple[str, ...] = (K_MAJOR, K_MAJOR), word: str = "") -> Probe:
    """Return a probe of `steps` wgmmas on an image of random elements; a is None where it comes from registers."""
    sums = "int32" if kind in ("int8", "uint8") else "float32"

    def inputs(random: np.random.Generator) -> Arrays:
        bits = BITS[kind]
        image = random.choice(bits, IMAGE_BYTES // bits.itemsize).view(np.uint8)
        start = random.integers(-100, 100, 64 * n).astype(sums)
        how = struct.pack("=16i", 0, *(a or (0,) * 5), TILE_B, *b, steps, 1, 0, 0)
        return {"x": image, "w": np.concatenate([np.frombuffer(how, np.uint8), start.view(np.uint8)])}

    kernel = "probe_wgmma" if a is not None else "probe_wgmma_registers"
    short = kind.rpartition(":")[2].lower()
    return Probe(
        f"{kernel[6:]}_{short}_n{n}{word}", f"{kernel}<{n}, {kind}, {', '.join(majors)}>", HEADER, inputs, ((64, n), sums), count=IMAGE_BYTES,
        block=(128, 1, 1), shared_bytes=IMAGE_BYTES + 1024, capability=90,
    )  # fmt: skip


def _swizzles() -> tuple[Probe, ...]:
    found = []
    for swizzle in ROW_BYTES:
        steps = max(ROW_BYTES[swizzle] // 32, 1)
        found += [
            # A start inside the pattern, as a convolution's taps have it, is the one thing here that no manual promises.
            probe("bfloat16", 64, k_major(swizzle, lines), k_major(swizzle, 2 * lines), steps, word=f"_swizzle{swizzle}_from{lines}")
            for lines in ((0, 1, 3, 7, 12) if swizzle else (0,))
        ]
        for majors in ((K_MAJOR, MN_MAJOR), (MN_MAJOR, K_MAJOR), (MN_MAJOR, MN_MAJOR)):
            a, b = (k_major(swizzle) if major == K_MAJOR else mn_major(swizzle) for major in majors)
            word = "_" + "".join("k" if major == K_MAJOR else "mn" for major in majors)
            found += [probe(kind, 128, a, b, 1, majors, f"_swizzle{swizzle}{word}") for kind in ("float16", "bfloat16")]
    return tuple(found)


_PLAIN = k_major(1)
PROBES = (
    *(probe("bfloat16", n, _PLAIN, _PLAIN, 4) for n in SIZES),
    *(probe(kind, n, _PLAIN, _PLAIN, 4) for kind in ("float16", "prims::Tfloat32", "int8") for n in (8, 64, 256)),
    *(probe(kind, 64, _PLAIN, _PLAIN, 4) for kind in ("uint8", "prims::Float8E4m3", "prims::Float8E5m2")),
    *_swizzles(),
    *(probe("bfloat16", n, None, _PLAIN, majors=(K_MAJOR,)) for n in (8, 128, 256)),
    probe("bfloat16", 64, None, mn_major(1), majors=(MN_MAJOR,)),
    *(probe(kind, 64, None, _PLAIN, majors=(K_MAJOR,)) for kind in BITS if kind != "bfloat16"),
)
