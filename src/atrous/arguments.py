"""The words and numbers a user passes, turned into plain tuples, or refused in a sentence."""

from __future__ import annotations

import math
import operator
from typing import Any

from .errors import ProblemError, sentence, shown
from .geometry import PADDING_NAMES, AxisPadding

LAYOUTS = ("NHWC", "NCHW")
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
PRECISIONS = ("float32", "tf32", "strict")
NAN_POLICIES = ("propagate", "omit")
NORMALIZATIONS = ("valid", "full")
WEIGHTINGS = ("gaussian", "inverse", "binomial", "custom")

#: dtype name -> the abbreviation of the case string
DTYPES = {
    "float16": "f16",
    "bfloat16": "bf16",
    "float32": "f32",
    "float64": "f64",
    "int8": "i8",
    "uint8": "u8",
    "int32": "i32",
}
FLOAT_DTYPES = ("float16", "bfloat16", "float32", "float64")
INPUT_DTYPES = (*FLOAT_DTYPES, "int8", "uint8")

#: activation name -> the default of each number it takes (None: must be given)
ACTIVATIONS: dict[str, tuple[float | None, ...]] = {
    "none": (),
    "relu": (),
    "relu6": (),
    "leaky_relu": (0.01,),
    "silu": (),
    "gelu": (),
    "gelu_tanh": (),
    "hardswish": (),
    "sigmoid": (),
    "tanh": (),
    "clip": (None, None),
}


def one_of(operation: str, name: str, value: Any, allowed: tuple[str, ...], remedy: str = "") -> str:
    """Return `value` if it is one of the words `allowed`, else raise ProblemError listing them."""
    if not isinstance(value, str) or value not in allowed:
        words = ", ".join(repr(word) for word in allowed)
        raise ProblemError(sentence(operation, f"{name} is {shown(value)}", f"one of {words}", remedy or f"pass {name}={allowed[0]!r} or another of these"))
    return value


def flag(operation: str, name: str, value: Any) -> bool:
    """Return Python's or NumPy's True or False as a bool, else raise ProblemError."""
    if is_truth_value(value):
        return bool(value)
    raise ProblemError(sentence(operation, f"{name} is {shown(value)} of type {type(value).__name__}", "True or False", f"pass {name} as a bool"))


def is_truth_value(value: Any) -> bool:
    """Return whether a value is Python's or NumPy's True or False; early NumPys let theirs pass for integers."""
    kind = type(value)
    return isinstance(value, bool) or (kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_"))


def counted(number: int, one: str, many: str) -> str:
    """Return a number and its noun: 1 entry, 3 entries."""
    return f"{number} {one if number == 1 else many}"


def integer(operation: str, name: str, value: Any, smallest: int | None = None, why: str = "", also: str = "") -> int:
    """Return `value` as an int of at least `smallest`, else raise ProblemError, which says what `also` would do."""
    wanted = ("an integer" if smallest is None else f"an integer >= {smallest}") + also
    try:
        if is_truth_value(value):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ProblemError(sentence(operation, f"{name} is {shown(value)} of type {type(value).__name__}", wanted, f"pass {name} as a plain int")) from None
    if abs(number) >= 2**31:
        raise ProblemError(sentence(operation, f"{name} is {shown(number)}", "a magnitude below 2^31", f"correct {name}"))
    if smallest is not None and number < smallest:
        raise ProblemError(sentence(operation, f"{name} is {number}", wanted + why, f"correct {name}"))
    return number


def pair(operation: str, name: str, value: Any, smallest: int, why: str = "") -> tuple[int, int]:
    """Return an int or a pair of ints as a (rows, columns) pair."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ProblemError(
                sentence(
                    operation,
                    f"{name} is {shown(value)} with {counted(len(value), 'entry', 'entries')}",
                    "an int or a (rows, columns) pair",
                    f"pass two numbers as {name}",
                )
            )
        return (
            integer(operation, f"{name}[0]", value[0], smallest, why),
            integer(operation, f"{name}[1]", value[1], smallest, why),
        )
    number = integer(operation, name, value, smallest, why, " or a pair of them")
    return number, number


def stride_pair(operation: str, value: Any) -> tuple[int, int]:
    """Return the stride as a pair of ints >= 1."""
    return pair(operation, "stride", value, 1, " (the step between windows in input cells)")


def dilation_pair(operation: str, value: Any) -> tuple[int, int]:
    """Return the dilation as a pair of ints >= 1."""
    return pair(operation, "dilation", value, 1, " (1 means dense: neighbouring taps are 1 cell apart, so 0 has no meaning)")


def window_size(operation: str, value: Any) -> tuple[int, int] | None:
    """Return the (rows, columns) of a pooling window, or None for "global"."""
    if isinstance(value, str) and value == "global":
        return None
    if isinstance(value, (int, tuple, list)) or hasattr(value, "__index__"):
        return pair(operation, "window", value, 1)
    raise ProblemError(
        sentence(
            operation, f"window is {shown(value)} of type {type(value).__name__}", "an int, a (rows, columns) pair or 'global'", "pass the taps along each axis"
        )
    )


def axis_padding(operation: str, name: str, value: Any) -> AxisPadding:
    """Return the padding of one axis: a name, or an int or (low, high) pair as a (low, high) pair."""
    if isinstance(value, str):
        return one_of(operation, name, value, PADDING_NAMES)
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ProblemError(sentence(operation, f"{name} is {shown(value)}", "an int, a (low, high) pair or a name", "pass two numbers"))
        return integer(operation, f"{name}[0]", value[0]), integer(operation, f"{name}[1]", value[1])
    number = integer(operation, name, value, also=", a pair or a word such as 'same'")
    return number, number


def padding_axes(operation: str, value: Any, name: str = "padding") -> tuple[AxisPadding, AxisPadding]:
    """Return the padding of rows and of columns.

    `value` is a name, an int, a pair (rows, columns), or ((top, bottom), (left, right)); an axis of a pair may
    be a name too.
    """
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ProblemError(
                sentence(
                    operation,
                    f"{name} is {shown(value)} with {counted(len(value), 'entry', 'entries')}",
                    "a name, an int, (rows, columns) or ((top, bottom), (left, right))",
                    "group four numbers into two pairs",
                )
            )
        return axis_padding(operation, f"{name}[0]", value[0]), axis_padding(operation, f"{name}[1]", value[1])
    both = axis_padding(operation, name, value)
    return both, both


def number(operation: str, name: str, value: Any) -> float:
    """Return a real number that is not NaN as a float."""
    try:
        if isinstance(value, (str, bytes, bytearray, bool)) or hasattr(value, "__len__") or type(value).__name__ in ("bool", "bool_"):
            raise TypeError
        real = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ProblemError(
            sentence(operation, f"{name} is {shown(value)} of type {type(value).__name__}", "a real number", f"pass {name} as a plain float")
        ) from None
    if math.isnan(real):
        raise ProblemError(sentence(operation, f"{name} is NaN", "a real number", f"correct {name}"))
    return real


def number_table(operation: str, name: str, value: Any) -> tuple[tuple[float, ...], ...]:
    """Return nested lists as rows of finite numbers, all of one length, else raise ProblemError."""
    wanted = "rows of finite numbers, all of one length"
    rows = []
    for i, row in enumerate(value):
        if isinstance(row, (str, bytes)) or not hasattr(row, "__iter__"):
            raise ProblemError(sentence(operation, f"{name}[{i}] is {shown(row)} of type {type(row).__name__}", wanted, "pass a list of lists"))
        rows.append(tuple(number(operation, f"{name}[{i}][{j}]", x) for j, x in enumerate(row)))
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1 or not all(math.isfinite(x) for row in rows for x in row):
        came = f"{name} has rows of {lengths[0]} and {lengths[-1]} numbers" if len(lengths) > 1 else f"{name} is {shown(value)}"
        raise ProblemError(sentence(operation, came, wanted, f"correct {name}"))
    return tuple(rows)


def group_count(operation: str, value: Any, c: int, k: int) -> int:
    """Return the number of groups, which must divide the channels of x and of y, else raise ProblemError naming all four numbers."""
    groups = integer(operation, "groups", value, 1)
    if c % groups or k % groups:
        raise ProblemError(
            sentence(
                operation,
                f"groups is {groups} with C = {c} and K = {k} (C/G = {c / groups:g}, K/G = {k / groups:g})",
                "groups that divide both C and K",
                "change groups or the channel counts",
            )
        )
    return groups


def activation_tuple(operation: str, value: Any) -> tuple[Any, ...]:
    """Return an activation as (name, number, ...), with the defaults filled in: ("leaky_relu", 0.01)."""
    if value is None:
        return ("none",)
    parts = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not parts:
        raise ProblemError(sentence(operation, "activation is an empty tuple", "a name or (name, number, ...)", "pass activation=None for none"))
    name = one_of(operation, "activation", parts[0], tuple(ACTIVATIONS))
    defaults = ACTIVATIONS[name]
    given = parts[1:]
    required = sum(default is None for default in defaults)
    if not required <= len(given) <= len(defaults):
        takes = str(required) if required == len(defaults) else f"{required} to {len(defaults)}"
        raise ProblemError(
            sentence(
                operation,
                f"activation {shown(value)} carries {counted(len(given), 'number', 'numbers')}",
                f"{takes} for {name}",
                f"pass activation=({name!r}, ...) with them",
            )
        )
    numbers = [number(operation, f"activation[{i + 1}]", x) for i, x in enumerate(given)]
    numbers += [float(default) for default in defaults[len(given) :] if default is not None]
    if name == "clip" and numbers[0] > numbers[1]:
        raise ProblemError(sentence(operation, f"activation clips to [{numbers[0]}, {numbers[1]}]", "low <= high", "swap the two numbers"))
    return (name, *numbers)


def letters(operation: str, name: str, value: Any, wanted: str) -> str:
    """Return a layout word that is a permutation of the letters of `wanted`."""
    if not isinstance(value, str) or sorted(value) != sorted(wanted):
        raise ProblemError(
            sentence(operation, f"{name} is {shown(value)}", f"an order of the four letters of {wanted!r}", f"pass for example {name}={wanted!r}")
        )
    return value


def shape4(operation: str, name: str, shape: Any, letters_: str) -> tuple[int, int, int, int]:
    """Return a shape of four sizes >= 0, else raise ProblemError naming the axes."""
    axes = ", ".join(letters_)
    try:
        if isinstance(shape, (str, bytes, dict, set)):
            raise TypeError
        sizes = tuple(shape)
    except TypeError:
        raise ProblemError(
            sentence(operation, f"{name}_shape is {shown(shape)} of type {type(shape).__name__}", f"four sizes ({axes})", f"pass {name}.shape")
        ) from None
    if len(sizes) != 4:
        raise ProblemError(
            sentence(
                operation,
                f"{name} has shape {shown(sizes)}, {len(sizes)} dimensions",
                f"4 dimensions ({axes})",
                f"reshape {name}" + ("; one image takes a leading 1" if name == "x" else ""),
            )
        )
    checked = [integer(operation, f"{name}.shape[{i}]", size, 0) for i, size in enumerate(sizes)]
    return checked[0], checked[1], checked[2], checked[3]


def pool_options(operation: str, options: dict[str, Any]) -> None:
    """Turn the options of a pooling that are given into plain bools, floats and known words, in place."""
    for name in ("ceil_mode", "return_indices", "count_include_pad"):
        if name in options:
            options[name] = flag(operation, name, options[name])
    for name in ("divisor", "sigma", "power"):
        if name in options and (name == "power" or options[name] is not None):
            options[name] = number(operation, "p" if name == "power" else name, options[name])
    for name, words in (("nan", NAN_POLICIES), ("normalize", NORMALIZATIONS)):
        if name in options:
            one_of(operation, name, options[name], words)
