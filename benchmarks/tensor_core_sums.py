"""A NumPy model of sums of products in float32: one after the other, and on tensor cores that align and truncate."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray
#: below every exponent of a product: that of a zero, which aligns nothing
NO_EXPONENT = -100_000
SLICE = 8  # of gemm_k: an mma of tf32


class TensorCore(NamedTuple):
    """How an mma adds: `block` products and the sum so far are aligned to the largest exponent, cut to `bits` behind it, added, and cut to float32."""

    name: str
    block: int
    bits: int


#: Published for TF32 (arXiv 2511.10909, table 4, and arXiv 2512.07004): found by running test vectors on devices. The last is nobody's: no bit below
#: float32's, in the shortest blocks.
AMPERE = TensorCore("Ampere, Ada", 4, 24)
HOPPER = TensorCore("Hopper, Blackwell", 8, 25)
PESSIMISTIC = TensorCore("pessimistic", 4, 23)
MODELS = (AMPERE, HOPPER, PESSIMISTIC)


def exponent_of(x: Array) -> Array:
    """Return floor(log2 |x|), and NO_EXPONENT for 0."""
    return np.where(x == 0, NO_EXPONENT, np.frexp(x)[1] - 1)


def cut(x: Array, exponent: Array) -> Array:
    """Return x without what is smaller than 2^exponent."""
    return np.ldexp(np.trunc(np.ldexp(x, -exponent)), exponent)


def to_tf32(x: Array, nearest: bool) -> Array:
    """Return x to 11 significant bits, to the nearest (halves away from zero) or cut."""
    unit = exponent_of(x) - 10
    scaled = np.ldexp(x, -unit)
    return np.ldexp(np.trunc(scaled + np.copysign(0.5, scaled)) if nearest else np.trunc(scaled), unit)


def split(x: Array, nearest: bool) -> tuple[Array, Array]:
    """Return the two parts of x as a kernel hands them over: rounded, and what is left, rounded (weight) or as the tensor core cuts it (x)."""
    high = to_tf32(x, True)
    return high, to_tf32(x - high, nearest)


def mma(core: TensorCore, start: Array, x: Array, weight: Array) -> Array:
    """Return start + the sum over the last axis of x * weight, which hold tf32; block after block."""
    total = start
    for first in range(0, x.shape[-1], core.block):
        a, b = x[..., first : first + core.block], weight[..., first : first + core.block]
        terms = np.concatenate([a * b, total[..., None]], axis=-1)
        exponents = np.concatenate([exponent_of(a) + exponent_of(b), exponent_of(total)[..., None]], axis=-1)
        largest = np.maximum(exponents.max(axis=-1), -1000)
        total = cut(terms, (largest - core.bits)[..., None]).sum(axis=-1)
        total = cut(total, np.maximum(exponent_of(total), -1000) - 23)
    return total


def sequential(x: Array, weight: Array) -> Array:
    """Return the sums of float32 multiply-adds, one after the other. The product of two floats is exact in float64."""
    total = np.zeros(np.broadcast_shapes(x.shape, weight.shape)[:-1], np.float32)
    for k in range(x.shape[-1]):
        total = (total + x[..., k].astype(np.float64) * weight[..., k]).astype(np.float32)
    return total.astype(np.float64)


def tf32(core: TensorCore, x: Array, weight: Array) -> Array:
    """Return the sums of one product of operands rounded to tf32, which stay in the tensor core."""
    x, weight = to_tf32(x, True), to_tf32(weight, True)
    total = np.zeros(np.broadcast_shapes(x.shape, weight.shape)[:-1])
    for k in range(0, x.shape[-1], SLICE):
        total = mma(core, total, x[..., k : k + SLICE], weight[..., k : k + SLICE])
    return total


def split_sums(core: TensorCore, x: Array, weight: Array, promote: int | None, apart: bool = False) -> Array:
    """Return the sums of three products of split operands, added in float32 every `promote` of gemm_k (None: left in the tensor core).

    The small products of a slice come before the large one; `apart`: those of a whole stretch in a sum of their own, which joins the large one at its end.
    """
    pairs = split(x, False), split(weight, True)
    depth = max(x.shape[-1], weight.shape[-1])
    stretch = -(-depth // SLICE) * SLICE if promote is None else promote
    (x_high, x_low), (weight_high, weight_low) = ([_stretches(part, stretch) for part in pair] for pair in pairs)
    sums = np.zeros(np.broadcast_shapes(x_high.shape, weight_high.shape)[:-2])
    small = np.zeros_like(sums)
    for k in range(stretch // SLICE):
        for a, b in ((x_low, weight_high), (x_high, weight_low)):
            small = mma(core, small if apart else sums, a[..., k, :], b[..., k, :])
            sums = sums if apart else small
        sums = mma(core, sums, x_high[..., k, :], weight_high[..., k, :])
    if apart:
        sums = (sums + small).astype(np.float32)
    total = sums[..., 0].astype(np.float32)
    for index in range(1, sums.shape[-1]):
        total = (total + sums[..., index]).astype(np.float32)
    return total.astype(np.float64)


def _stretches(x: Array, stretch: int) -> Array:
    """Return [..., stretches, slices, SLICE], padded with zeros."""
    padded = np.concatenate([x, np.zeros((*x.shape[:-1], -x.shape[-1] % stretch))], axis=-1)
    return padded.reshape(*x.shape[:-1], -1, stretch // SLICE, SLICE)
