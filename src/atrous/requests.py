"""From the arrays, words and numbers of a call to a problem, remembered: equal requests make one problem object."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Any

from . import arguments as arg
from .errors import ProblemError, UnsupportedProblem, sentence, shown
from .interop import Library, library_of
from .operands import Operands, gather, matches, vector
from .problem import Conv2dProblem, ConvPool2dProblem, ElementwiseProblem, Pool2dProblem, SeparableConv2dProblem


@functools.lru_cache(maxsize=4096)
def conv_problem(x_shape: tuple[int, ...], weight_shape: tuple[int, ...], options: tuple[tuple[str, Any], ...]) -> Conv2dProblem:
    """Return the problem of plain options, remembered."""
    return Conv2dProblem.make(x_shape, weight_shape, **dict(options))


@functools.lru_cache(maxsize=4096)
def pool_problem(x_shape: tuple[int, ...], window: Any, kind: str, options: tuple[tuple[str, Any], ...]) -> Pool2dProblem:
    """Return the problem of plain options, remembered."""
    return Pool2dProblem.make(x_shape, window, kind, **dict(options))


@functools.lru_cache(maxsize=4096)
def pair_problem(conv: Conv2dProblem, window: Any, pool: str, options: tuple[tuple[str, Any], ...]) -> ConvPool2dProblem:
    """Return the problem of plain options, remembered."""
    return ConvPool2dProblem.make(conv, window, pool, **dict(options))


@functools.lru_cache(maxsize=4096)
def separable_problem(depthwise: Conv2dProblem, pointwise: Conv2dProblem) -> SeparableConv2dProblem:
    """Return the problem of two, remembered."""
    return SeparableConv2dProblem(depthwise, pointwise)


@functools.lru_cache(maxsize=4096)
def elementwise_problem(x_shape: tuple[int, ...], verb: str, dtype: str, out_dtype: str | None, activation: tuple[Any, ...]) -> ElementwiseProblem:
    """Return the problem of plain options, remembered."""
    return ElementwiseProblem.make(x_shape, verb, dtype=dtype, out_dtype=out_dtype, activation=activation)


def _plain(operation: str, options: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return options with ints made pairs and words checked, so that equal options are equal and hashable."""
    for name in ("stride", "dilation"):
        if options[name] is not None:
            options[name] = getattr(arg, f"{name}_pair")(operation, options[name])
    options["padding"] = arg.padding_axes(operation, options["padding"])
    options["operation"] = operation
    return tuple(options.items())


#: types whose objects never change, and whose equal objects mean the same to every check below if their types are the same too
PLAIN = {int, float, bool, str, type(None)}
#: the options of calls that were found to make sense, and their types -> those options made plain
_checked: dict[Any, tuple[tuple[str, Any], ...]] = {}
_MOST_CHECKED = 4096


def types_of(values: tuple[Any, ...]) -> tuple[type, ...]:
    """Return the type of every value, with those of what a tuple holds in its place."""
    types = tuple(map(type, values))
    return tuple(_types(values)) if tuple in types else types


def _types(values: Iterable[Any]) -> Iterator[type]:
    for value in values:
        if type(value) is tuple:
            yield from _types(value)
        else:
            yield type(value)


def conv_options(operation: str, options: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return the options of a convolution made plain, or raise ProblemError; remembered where they are all plain already.

    1, True and 1.0 are equal, and only the first is a stride: the types of all numbers are part of what is remembered.
    """
    values = tuple(options.values())
    types = types_of(values)
    if not PLAIN.issuperset(types):
        return _conv_options(operation, options)
    key = (operation, values, types)
    found = _checked.get(key)
    if found is None:
        found = _conv_options(operation, options)
        if len(_checked) >= _MOST_CHECKED:
            _checked.clear()
        _checked[key] = found
    return found


def _conv_options(operation: str, options: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return the options of a convolution made plain, or raise ProblemError."""
    for name in ("groups", "zero_point", "out_zero_point"):
        options[name] = arg.integer(operation, name, options[name])
    options["activation"] = arg.activation_tuple(operation, options["activation"])
    for name in ("layout", "padding_mode", "precision"):
        arg.one_of(operation, name, options[name], {"layout": arg.LAYOUTS, "padding_mode": arg.PADDING_MODES, "precision": arg.PRECISIONS}[name])
    if options["weight_layout"] is not None:
        arg.letters(operation, "weight_layout", options["weight_layout"], "KRSC")
    options["out_dtype"] = dtype_name(operation, "out_dtype", options["out_dtype"])
    return _plain(operation, options)


def _options_of(operation: str, words: dict[str, Any], dtype: str, operands: Operands, residual: bool) -> tuple[tuple[str, Any], ...]:
    kinds = {name: operands[name].dtype if name in operands else None for name in ("scale", "bias")}
    return conv_options(operation, {"dtype": dtype, **words, "residual": residual, **kinds})


def called_conv(operation: str, inputs: Operands, words: dict[str, Any]) -> Conv2dProblem:
    """Return the problem that a convolution's words (stride, padding ...) and its operands mean, or raise ProblemError."""
    options = _options_of(operation, words, inputs["x"].dtype, inputs, "residual" in inputs)
    return conv_problem(inputs["x"].shape, inputs["weight"].shape, options)


def planned_residual(operation: str, residual: Any) -> None:
    """Raise ProblemError unless a plan's residual is a bool."""
    if not isinstance(residual, bool):
        came = f"residual is of type {type(residual).__name__}"
        raise ProblemError(sentence(operation, came, "True or False", "pass the array to each call: plan(x, residual=r)"))


def planned_conv(
    operation: str, x_shape: Any, dtype: Any, constants: dict[str, Any], residual: Any, words: dict[str, Any]
) -> tuple[Library, Operands, Conv2dProblem]:
    """Return the library and facts of a plan's weight, scale and bias, and the problem that they are checked to be made for."""
    library, found = gather(operation, "weight", constants["weight"], scale=constants["scale"], bias=constants["bias"])
    planned_residual(operation, residual)
    options = _options_of(operation, words, dtype_name(operation, "dtype", dtype) or found["weight"].dtype, found, residual)
    problem = conv_problem(arg.shape4(operation, "x", x_shape, words["layout"]), found["weight"].shape, options)
    matches(operation, "weight", found["weight"], problem.weight_shape, problem.dtype, ", ".join(problem.weight_layout))
    for name in ("scale", "bias"):
        vector(operation, name, found.get(name), problem.k)
    return library, found, problem


def dtype_name(operation: str, name: str, dtype: Any) -> str | None:
    """Return a dtype's name from a name, or from a NumPy, CuPy, ml_dtypes or torch dtype; None stays None."""
    if dtype is None or isinstance(dtype, str):
        found = dtype
    else:
        found = getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or shown(dtype).removeprefix("torch.")
    if found is not None and (not isinstance(found, str) or found not in arg.DTYPES):
        raise ProblemError(sentence(operation, f"{name} is {shown(dtype)}", f"one of {', '.join(arg.DTYPES)}", f"pass {name} as one of these names"))
    return found


def make_pool(operation: str, x_shape: Any, window: Any, kind: str, dtype: str, options: dict[str, Any]) -> Pool2dProblem:
    """Return the problem that the arguments of a pooling mean, or raise ProblemError."""
    for name, default in (("stride", None), ("padding", "valid"), ("dilation", 1), ("ceil_mode", False), ("layout", "NHWC")):
        options.setdefault(name, default)
    arg.one_of(operation, "layout", options["layout"], arg.LAYOUTS)
    arg.pool_options(operation, options)
    size = arg.window_size(operation, window) or "global"
    return pool_problem(tuple(arg.shape4(operation, "x", x_shape, options["layout"])), size, kind, (*_plain(operation, options), ("dtype", dtype)))


def make_pair(operation: str, conv: Conv2dProblem, pool: str, window: Any, options: dict[str, Any]) -> ConvPool2dProblem:
    """Return the pooling of a convolution that the words pool_stride, pool_padding ... mean, or raise ProblemError."""
    arg.one_of(operation, "pool", pool, ConvPool2dProblem.POOLS)
    stride, padding, dilation = (options.pop(f"pool_{name}") for name in ("stride", "padding", "dilation"))
    arg.pool_options(operation, options)
    options["stride"] = None if stride is None else arg.pair(operation, "pool_stride", stride, 1, " (the step between windows in outputs of the convolution)")
    options["dilation"] = arg.pair(operation, "pool_dilation", dilation, 1, " (1 means dense: neighbouring taps are 1 output of the convolution apart)")
    options["padding"] = arg.padding_axes(operation, padding, "pool_padding")
    return pair_problem(conv, arg.window_size(operation, window) or "global", pool, tuple(options.items()))


#: words of a separable convolution that are those of both parts
_OF_BOTH = ("layout", "weight_layout", "precision")
#: words that its 1x1 has in any case, and its depthwise where the call names no other
_PLAIN_FORM = {"stride": 1, "padding": "valid", "dilation": 1, "padding_mode": "zeros", "groups": 1, "zero_point": 0, "out_zero_point": 0, "out_dtype": None}


def make_separable(operation: str, x_shape: Any, dtype: str, operands: Operands, words: dict[str, Any], residual: bool) -> SeparableConv2dProblem:
    """Return the problem that the words of a separable convolution and its operands mean, or raise ProblemError.

    Words that begin with depthwise_, and stride, padding, dilation and padding_mode, are those of the depthwise.
    """
    arg.one_of(operation, "layout", words["layout"], arg.LAYOUTS)
    sizes = arg.shape4(operation, "x", x_shape, words["layout"])
    if dtype not in arg.FLOAT_DTYPES:
        raise UnsupportedProblem(sentence(operation, f"x is {dtype}", f"one of {', '.join(arg.FLOAT_DTYPES)}", "call conv2d twice, requantised between"))
    channels = dict(zip(words["layout"], sizes))["C"]
    if channels == 0:
        raise ProblemError(sentence(operation, f"x has shape {sizes} with 0 channels", "at least one channel", "pass channels"))
    both = {name: words[name] for name in _OF_BOTH}
    form = {name: words[name] for name in ("stride", "padding", "dilation", "padding_mode")}
    parts = (
        ("depthwise", "depthwise_", {**_PLAIN_FORM, **both, **form, "groups": channels, "activation": words["depthwise_activation"]}, False),
        ("1x1", "", {**_PLAIN_FORM, **both, "out_dtype": words["out_dtype"], "activation": words["activation"]}, residual),
    )
    found: list[Conv2dProblem] = []
    for what, of, options, adds in parts:
        kinds = {name: operands[of + name].dtype if of + name in operands else None for name in ("scale", "bias")}
        try:
            plain = conv_options(operation, {"dtype": dtype, **options, "residual": adds, **kinds})
            found.append(conv_problem(found[0].y_shape if found else sizes, operands[f"{of}weight"].shape, plain))
        except (ProblemError, UnsupportedProblem) as failure:
            said = re.sub(r"^\[\w+\] ", "", str(failure))
            raise type(failure)(f"[{operation}] of the {what}: {said}") from None
    return separable_problem(found[0], found[1])


def planned_separable(
    operation: str, x_shape: Any, dtype: Any, constants: dict[str, Any], residual: Any, words: dict[str, Any]
) -> tuple[Library, Operands, SeparableConv2dProblem]:
    """Return the library and facts of a plan's weights, scales and biases, and the problem that they are checked to be made for."""
    library, found = separable_operands(operation, "depthwise_weight", constants)
    planned_residual(operation, residual)
    kind = dtype_name(operation, "dtype", dtype) or found["depthwise_weight"].dtype
    problem = make_separable(operation, x_shape, kind, found, words, residual)
    for of, word, part in (("depthwise_", "depthwise_weight", problem.depthwise), ("", "pointwise_weight", problem.pointwise)):
        matches(operation, word, found[f"{of}weight"], part.weight_shape, part.dtype, ", ".join(part.weight_layout))
        for name in (f"{of}scale", f"{of}bias"):
            vector(operation, name, found.get(name), part.k)
    return library, found, problem


def separable_operands(operation: str, first: str, arrays: dict[str, Any]) -> tuple[Library, Operands]:
    """Return the library and facts of arrays by their public names, the pointwise_weight as the operand that it is, "weight"."""
    for name in ("depthwise_weight", "pointwise_weight"):
        library_of(operation, name, arrays[name])
    others = {name: array for name, array in arrays.items() if name != first}
    library, found = gather(operation, first, arrays[first], **others)
    found["weight"] = found.pop("pointwise_weight")
    return library, found
