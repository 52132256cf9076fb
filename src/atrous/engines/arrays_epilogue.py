"""What follows a convolution's sums on the array path: scale, bias, residual, activation, and the one rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .array_namespace import Namespace

if TYPE_CHECKING:
    from ..problem import Conv2dProblem

#: What each integer dtype holds.
LIMITS = {"int8": (-(2**7), 2**7 - 1), "uint8": (0, 2**8 - 1), "int32": (-(2**31), 2**31 - 1)}

# Coefficients of the rational approximations of erf and erfc, highest power first, from W. J. Cody, "Rational
# Chebyshev approximations for the error function", Mathematics of Computation 23 (1969), 631-637.
_NEAR = (  # |x| <= 0.46875: erf(x) = x * P(x^2) / Q(x^2)
    (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
_MIDDLE = (  # 0.46875 < |x| <= 4: erfc(x) = exp(-x^2) * P(x) / Q(x)
    (
        2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1, 2.98635138197400131e2,
        8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3,
    ),
    (
        1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
        3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
    ),
)  # fmt: skip
_FAR = (  # |x| > 4: erfc(x) = exp(-x^2) / x * (1/sqrt(pi) - P(1/x^2) / (x^2 Q(1/x^2)))
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2, 2.33520497626869185e-3),
)


def _ratio(x: Any, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> Any:
    """Return P(x) / Q(x) by Horner's rule."""
    values = []
    for polynomial in coefficients:
        total = x * polynomial[0]
        for coefficient in polynomial[1:-1]:
            total += coefficient
            total *= x
        total += polynomial[-1]
        values.append(total)
    values[0] /= values[1]
    return values[0]


def erf(space: Namespace, x: Any) -> Any:
    """Return the error function of float64 values, within 4e-16 of the exact value; NaN stays NaN."""
    xp = space.xp
    zero = xp.zeros_like(x)
    size = xp.abs(x)
    near = size <= 0.46875
    central = xp.where(near, x, zero)
    inside = central * _ratio(central * central, _NEAR)
    # beyond 6 erf is 1 to the last bit; the bound keeps the powers finite
    away = xp.where(near | (size > 6.0), zero + 6.0, size)
    middle = _ratio(away, _MIDDLE)
    inverse = 1.0 / (away * away)
    far = (1 / math.sqrt(math.pi) - inverse * _ratio(inverse, _FAR)) / away
    tail = 1.0 - xp.exp(-(away * away)) * xp.where(away <= 4.0, middle, far)
    outside = xp.where(x < 0, -tail, tail)
    return xp.where(near, inside, xp.where(xp.isnan(x), x, outside))


def _relu(space: Namespace, y: Any, bounds: tuple[float, ...]) -> Any:
    """Clip `y` in place from below, and from above where there are two bounds; NaN stays NaN."""
    xp = space.xp
    for function, bound in zip((xp.maximum, xp.minimum), bounds):
        space.into(y, ..., function, y, xp.asarray(bound, dtype=y.dtype))
    return y


def _gelu(space: Namespace, y: Any) -> Any:
    wide = space.cast(y, "float64")  # 1 + erf cancels for negative y
    tail = erf(space, wide * math.sqrt(0.5))
    tail += 1.0
    tail *= wide
    tail *= 0.5
    return tail


def _gelu_tanh(space: Namespace, y: Any) -> Any:
    wide = space.cast(y, "float64")
    inner = wide * wide
    inner *= 0.044715
    inner += 1.0
    inner *= wide
    inner *= math.sqrt(2 / math.pi)
    result = space.xp.tanh(inner)
    result += 1.0
    result *= wide
    result *= 0.5
    return result


def _sigmoid(space: Namespace, y: Any) -> Any:
    result = space.xp.exp(-y)
    result += 1.0
    return 1.0 / result


def _hardswish(space: Namespace, y: Any) -> Any:
    gate = _relu(space, y + 3.0, (0.0, 6.0))
    gate /= 6.0  # before y, whose sixfold overflows where the output does not
    gate *= y
    return gate


#: activation name -> the function of (namespace, y, its numbers); it may overwrite y
_ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "none": lambda space, y: y,
    "relu": lambda space, y: _relu(space, y, (0.0,)),
    "relu6": lambda space, y: _relu(space, y, (0.0, 6.0)),
    "leaky_relu": lambda space, y, slope: space.xp.where(y > 0, y, y * slope),
    "silu": lambda space, y: y * _sigmoid(space, y),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "hardswish": _hardswish,
    "sigmoid": _sigmoid,
    "tanh": lambda space, y: space.xp.tanh(y),
    "clip": lambda space, y, low, high: _relu(space, y, (low, high)),
}

#: activation name -> the most it holds beyond y, in units of 8 bytes an element
_ACTIVATION_WORDS = dict(none=0, relu=0, relu6=0, clip=0, leaky_relu=3, silu=3, gelu=14, gelu_tanh=5, hardswish=2, sigmoid=3, tanh=1)


class Epilogue:
    """The steps after the sums of one problem, applied to one piece at a time."""

    def __init__(self, problem: Conv2dProblem, accumulator: str) -> None:
        self.activation = problem.activation
        self.out_dtype = problem.out_dtype
        self.integers = problem.dtype in LIMITS
        self.out_zero_point = problem.out_zero_point
        self.residual = problem.residual
        self.touches = bool(problem.scale or problem.bias or problem.residual) or problem.activation != ("none",)
        self.saturates = self.out_dtype in LIMITS and (self.touches or self.out_dtype != "int32" or accumulator == "float64")
        #: float64 for integers, whose sums may pass 2^24; else the accumulator
        self.dtype = "float64" if self.integers and self.touches else accumulator
        self.in_place = not problem.residual and self.dtype == accumulator == problem.out_dtype

    def element_bytes(self) -> int:
        """Return how many bytes an element this holds at most beyond the sums and the output."""
        words = _ACTIVATION_WORDS[self.activation[0]] + (1 if self.integers and self.touches else 0) + (1 if self.residual else 0)
        if self.saturates:
            words += 3
        if self.out_dtype == "bfloat16" and self.dtype == "float64":
            words += 5
        return 8 * words

    def operand(self, space: Namespace, vector: Any, shape: tuple[int, ...]) -> Any:
        """Return scale or bias (K,) in this dtype, shaped to meet the sums; None stays None."""
        return None if vector is None else space.xp.reshape(space.cast(vector, self.dtype), shape)

    def apply(self, space: Namespace, sums: Any, scale: Any, bias: Any, residual: Any) -> Any:
        """Return what the sums become, in this dtype, before the store; `sums` may be overwritten."""
        y = space.cast(sums, self.dtype)
        if scale is not None:
            y *= scale
        if bias is not None:
            y += bias
        if residual is not None:
            y += space.cast(residual, self.dtype)
        name, *numbers = self.activation
        return _ACTIVATIONS[name](space, y, *numbers)

    def rounded(self, space: Namespace, y: Any) -> Any:
        """Return values that the plain cast of the store turns into the output's dtype with one rounding in all."""
        xp = space.xp
        if self.saturates:
            if self.touches:
                y = xp.round(y)
                y = xp.where(xp.isnan(y), xp.asarray(-float(self.out_zero_point), dtype=y.dtype), y)
            if self.out_zero_point:
                y += float(self.out_zero_point)
            low, high = LIMITS[self.out_dtype]
            return _relu(space, y, (float(low), float(high)))
        if self.out_dtype == "bfloat16" and y.dtype == space.dtype("float64"):
            return space.to_odd_float32(y)
        return y
