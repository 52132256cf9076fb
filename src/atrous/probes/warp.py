"""Probes of csrc/include/atrous/probes/warp.cuh: shuffles, ballots, barriers, packed maxima, casts and activations."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.parameters import ACTIVATION_CODES, DATA_TYPES
from .probe import Arrays, Probe

HEADER = "atrous/probes/warp.cuh"
THREADS, COUNT = 64, 1024
#: activation -> its numbers
ACTIVATIONS: dict[str, tuple[float, float]] = {
    "relu": (0, 0), "relu6": (0, 0), "leaky_relu": (0.25, 0), "silu": (0, 0), "gelu": (0, 0), "gelu_tanh": (0, 0),
    "hardswish": (0, 0), "sigmoid": (0, 0), "tanh": (0, 0), "clip": (-2, 3.5),
}  # fmt: skip
#: what a device's exp, tanh and erfc may err by, and the few operations around them, in units in the last place
EVALUATION = 16
CASTS = ("float16", "bfloat16", "float32", "float64", "int8", "uint8", "int32", "int64")


def _whole(dtype: str, most: int) -> Any:
    return lambda random: {"x": random.integers(-most, most, THREADS).astype(dtype)}


def special_reals(random: np.random.Generator, dtype: str) -> np.ndarray:
    """Return COUNT reals of every size with their sign: subnormals, halves, midpoints, the largest, infinities and one NaN."""
    wide = random.choice([-1.0, 1.0], COUNT) * np.exp2(random.uniform(-40, 40, COUNT))
    wide[:256] = random.integers(-1000, 1000, 256) / 2  # ties of integers
    wide[256:512] = random.integers(1, 4096, 256) * 2.0**-27  # ties and subnormals of float16
    wide[512:640] = 65504 + random.integers(-64, 64, 128)  # about the largest float16
    wide[640:768] = (2**16 + 2 * random.integers(0, 128, 128) + 1) * 2.0 ** random.integers(-120, 100, 128)  # ties of bfloat16
    wide[768:780] = [0.0, -0.0, np.inf, -np.inf, np.nan, 127.5, -128.5, 255.5, 2147483647, -2147483648, 3e9, -3e9]
    return np.asarray(wide.astype(dtype))


def packed_words(random: np.random.Generator) -> Arrays:
    """Return words whose bytes and halves meet zeros, infinities, NaN, and the ends of integers, of both signs, on either side."""
    odd = np.array([0, 0x8000, 0x7C00, 0xFC00, 0x7E00, 0xFE01, 0x7F80, 0xFF80, 0x7FC1, 0x7FFF, 1, 0x8001, 0x3C00, 0xBC00, 0x807F, 0xFFFF], np.uint32)
    words = np.stack(np.meshgrid(odd, odd, indexing="ij")).reshape(2, -1)
    mixed = [column << np.uint32(16) | random.permutation(column) for column in words]
    mixed[0][::3], mixed[1][::5] = words[0][::3] << np.uint32(16), words[1][::5] << np.uint32(16)
    return {"x": mixed[0], "w": mixed[1]}


def _casts() -> tuple[Probe, ...]:
    found = []
    for source in ("float32", "float64"):
        for target in CASTS:
            found.append(
                Probe(
                    f"cast_{source}_{target}", f"probe_cast<{source}>", HEADER,
                    lambda random, source=source: {"x": special_reals(random, source)},  # type: ignore[misc]
                    ((COUNT,), target), count=COUNT, size=(DATA_TYPES[source], DATA_TYPES[target]), grid=(COUNT // 128, 1, 1), block=(128, 1, 1),
                )
            )  # fmt: skip
    return tuple(found)


def _activation(name: str, dtype: str) -> Probe:
    def inputs(random: np.random.Generator) -> Arrays:
        x = random.normal(0, 4, COUNT)
        x[:6] = [0.0, 30.0, -30.0, 100.0, -100.0, 1e-30]
        return {"x": x.astype(dtype), "w": np.array(ACTIVATIONS[name], np.float64)}

    def bound(given: Arrays) -> np.ndarray:
        unit = 2.0**-24 if dtype == "float32" else 2.0**-53
        return EVALUATION * unit * np.maximum(np.abs(given["x"].astype(np.float64)), 1.0)

    return Probe(
        f"{name}_{dtype}", f"probe_activation<{dtype}>", HEADER, inputs, ((COUNT,), dtype), count=COUNT,
        size=(ACTIVATION_CODES[name],), grid=(COUNT // 128, 1, 1), block=(128, 1, 1), bound=bound,
    )  # fmt: skip


PROBES = (
    *(
        Probe(f"shuffles_{dtype}", f"probe_shuffles<{dtype}>", HEADER, _whole(dtype, 1000), ((4, THREADS), dtype), size=(5, 3, 37), block=(THREADS, 1, 1))
        for dtype in ("int32", "int64", "float32")
    ),
    Probe("ballot", "probe_ballot", HEADER, _whole("int32", 3), ((THREADS,), "uint32"), size=(12,), block=(THREADS, 1, 1)),
    Probe(
        "rounds", "probe_rounds", HEADER, lambda random: {"x": random.integers(-9, 9, 256)}, ((256,), "int64"), count=20, block=(256, 1, 1),
    ),
    *(
        Probe(f"packed_max_{dtype}", f"probe_packed_max<{dtype}>", HEADER, packed_words, ((2, 256), "uint32"), block=(256, 1, 1))
        for dtype in ("float32", "float16", "bfloat16", "int8", "uint8")
    ),
    *_casts(),
    *(_activation(name, dtype) for name in ACTIVATIONS for dtype in ("float32", "float64")),
)  # fmt: skip
