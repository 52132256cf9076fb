"""The one rounding of the reference: float64 or int64 values to the dtype of the output."""

from __future__ import annotations

import numpy as np

INTEGERS = ("int8", "uint8", "int32")


def numpy_dtype(name: str) -> np.dtype:
    """Return the NumPy dtype of a dtype name; bfloat16 is that of ml_dtypes."""
    if name == "bfloat16":
        import ml_dtypes  # only here: NumPy alone serves every other dtype

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def _to_odd_float32(values: np.ndarray) -> np.ndarray:
    """Return float64 values as float32, towards zero with the last bit set where inexact, so that a further rounding is right."""
    nearest = values.astype(np.float32)
    inexact = np.isfinite(values) & (nearest.astype(np.float64) != values)
    beyond = inexact & (np.abs(nearest.astype(np.float64)) > np.abs(values))
    towards_zero = np.where(beyond, np.nextafter(nearest, np.float32(0)), nearest)
    signed = np.copysign(towards_zero, values.astype(np.float32))
    return (signed.view(np.uint32) | inexact.astype(np.uint32)).view(np.float32)


def store(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return `values` as `dtype`, rounded once.

    Floats round to nearest, ties to even. Integers round half to even and saturate; NaN becomes 0.
    """
    if dtype in INTEGERS:
        if values.dtype.kind == "f":
            values = np.where(np.isnan(values), 0.0, np.rint(values))
        limits = np.iinfo(dtype)
        return np.clip(values, limits.min, limits.max).astype(dtype)
    with np.errstate(over="ignore", under="ignore"):
        if dtype == "bfloat16":
            return _to_odd_float32(np.asarray(values, dtype=np.float64)).astype(numpy_dtype(dtype))
        return values.astype(numpy_dtype(dtype))
