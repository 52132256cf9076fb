"""The few calls that NumPy, CuPy and the array standard spell differently, so that the array path is written once.

The differences, all of them:

- `Namespace` (any library of the array standard; array-api-strict is the one tested): no `out=`, no strided
  windows, no float16; casts through `astype`, results assigned.
- `StridedNamespace` (NumPy and CuPy): results written in place through `out=`, windows as strided views, bfloat16
  through ml_dtypes, casts by assignment.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

Axes = tuple[int, ...]


class Namespace:
    """An array library, through the array standard alone."""

    #: whether `maximum` takes +0 for the larger of +0 and -0, as CUDA's max does
    orders_zeros = False

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def dtype(self, name: str) -> Any:
        """Return the library's dtype of that name."""
        return getattr(self.xp, name)

    def empty(self, shape: Axes, dtype: str) -> Any:
        """Return an array whose elements are undefined."""
        return self.xp.empty(shape, dtype=self.dtype(dtype))

    def full(self, shape: Axes, value: float, dtype: str) -> Any:
        """Return an array that holds `value` everywhere."""
        return self.xp.full(shape, value, dtype=self.dtype(dtype))

    def cast(self, array: Any, dtype: str) -> Any:
        """Return `array` as `dtype`, itself where it already is."""
        return self.xp.astype(array, self.dtype(dtype), copy=False)

    def permute(self, array: Any, axes: Axes) -> Any:
        """Return `array` with its axes in this order."""
        return self.xp.permute_dims(array, axes)

    def into(self, target: Any, at: Any, function: Any, *arguments: Any) -> None:
        """Write function(*arguments) to target[at]."""
        target[at] = function(*arguments)

    def store(self, target: Any, at: Any, values: Any) -> None:
        """Write `values` to target[at], cast to its dtype."""
        target[at] = self.xp.astype(values, target.dtype, copy=False)

    def windows(self, strip: Any, axis: int, count: int, stride: int, taps: int, dilation: int) -> Any:
        """Return `strip` with `axis` replaced by two, (output, tap): element (o, k) is strip[o*stride + k*dilation]."""
        reach = (count - 1) * stride + 1
        before = (slice(None),) * axis
        cells = [(*before, slice(k * dilation, k * dilation + reach, stride), ...) for k in range(taps)]
        return self.xp.stack([strip[at] for at in cells], axis=axis + 1)

    def packed(self, array: Any) -> Any:
        """Return `array` in C order, itself where it already is."""
        return array

    def is_packed(self, array: Any) -> bool:
        """Return whether the array is in C order, so that merged axes are a view."""
        return True

    def writes_through(self, out: Any) -> bool:
        """Return whether a reshaped `out` is a view that a product can be written into."""
        return False

    def to_odd_float32(self, values: Any) -> Any:
        """Return float64 values as float32, inexact ones with an odd last bit, so that a second rounding is right."""
        raise NotImplementedError("the array standard has no bfloat16")


class StridedNamespace(Namespace):
    """NumPy or CuPy."""

    def __init__(self, xp: Any) -> None:
        super().__init__(xp)
        self.as_strided = importlib.import_module(xp.__name__ + ".lib.stride_tricks").as_strided
        self.orders_zeros = xp.__name__ == "cupy"

    def dtype(self, name: str) -> Any:
        return _numpy_dtype(name)

    def cast(self, array: Any, dtype: str) -> Any:
        return array.astype(_numpy_dtype(dtype), copy=False)

    def permute(self, array: Any, axes: Axes) -> Any:
        return array.transpose(axes)

    def into(self, target: Any, at: Any, function: Any, *arguments: Any) -> None:
        function(*arguments, out=target[at])

    def store(self, target: Any, at: Any, values: Any) -> None:
        target[at] = values

    def windows(self, strip: Any, axis: int, count: int, stride: int, taps: int, dilation: int) -> Any:
        shape, strides = list(strip.shape), list(strip.strides)
        step = strides[axis]
        shape[axis : axis + 1] = [count, taps]
        strides[axis : axis + 1] = [step * stride, step * dilation]
        return self.as_strided(strip, shape, strides)

    def packed(self, array: Any) -> Any:
        return self.xp.ascontiguousarray(array)

    def is_packed(self, array: Any) -> bool:
        return bool(array.flags.c_contiguous)

    def writes_through(self, out: Any) -> bool:
        return bool(out.flags.c_contiguous)

    def to_odd_float32(self, values: Any) -> Any:
        xp = self.xp
        nearest = values.astype(xp.float32)
        wide = nearest.astype(xp.float64)
        inexact = xp.isfinite(values) & (wide != values)
        towards_zero = xp.where(inexact & (xp.abs(wide) > xp.abs(values)), xp.nextafter(nearest, xp.float32(0)), nearest)
        bits = xp.copysign(towards_zero, nearest).view(xp.uint32)
        return (bits | inexact.astype(xp.uint32)).view(xp.float32)


@functools.cache
def _numpy_dtype(name: str) -> Any:
    numpy = importlib.import_module("numpy")
    if name == "bfloat16":
        return numpy.dtype(importlib.import_module("ml_dtypes").bfloat16)
    return numpy.dtype(name)


@functools.cache
def _of_module(root: str) -> Namespace | None:
    return StridedNamespace(importlib.import_module(root)) if root in ("numpy", "cupy") else None


def namespace_of(array: Any) -> Namespace:
    """Return the namespace of an array of NumPy, CuPy or any library of the array standard."""
    return _of_module(type(array).__module__.partition(".")[0]) or Namespace(array.__array_namespace__())
