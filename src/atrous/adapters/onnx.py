"""ONNX's Conv, ConvInteger and pooling nodes, run from their attributes as plain dicts; the onnx package is not needed.

Each function takes a node's inputs in order and its attributes by name, and returns its output. Arrays are N x C x W or
N x C x H x W, of any library that atrous takes; images of one spatial axis are read as images of one row. Absent
attributes have ONNX's defaults: strides are 1, also of pools, and dilations 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import ProblemError, UnsupportedProblem, sentence
from ..ops import conv2d
from ..pools import avg_pool2d, lp_pool2d, max_pool2d
from ..queries import indices_to_onnx

Attributes = Mapping[str, Any]

_PADDING = {"NOTSET": None, "VALID": "valid", "SAME_UPPER": "same", "SAME_LOWER": "same_lower"}
_WINDOW = ("auto_pad", "dilations", "kernel_shape", "pads", "strides")


def conv(inputs: Sequence[Any], attributes: Attributes, *, engine: str | None = None) -> Any:
    """Return the output of a Conv node: cross-correlation with an optional bias.

    Parameters
    ----------
    inputs : (X, W) or (X, W, B)
        X (N, C, H, W), W (M, C/group, kH, kW), B (M,); or without the axis H.
    attributes : mapping
        auto_pad, dilations, group, kernel_shape, pads, strides, as in ONNX.
    engine : str, optional
        As in `atrous.conv2d`.

    Returns
    -------
    array (N, M, oH, oW), or (N, M, oW)

    Raises
    ------
    ProblemError
        If an attribute is unknown or inputs and attributes do not fit together.
    UnsupportedProblem
        If X has three or more spatial axes.

    Examples
    --------
    >>> import numpy as np
    >>> from atrous.adapters import onnx
    >>> onnx.conv([np.ones((1, 1, 4, 4), "float32"), np.ones((1, 1, 3, 3), "float32")], {"pads": [1, 1, 1, 1]}).shape
    (1, 1, 4, 4)
    """
    x, weight, bias = _taken("Conv", inputs, 2, 3)
    return _conv("Conv", x, weight, attributes, engine, bias=bias)


def conv_integer(inputs: Sequence[Any], attributes: Attributes, *, engine: str | None = None) -> Any:
    """Return the int32 output of a ConvInteger node, inputs (x, w), (x, w, x_zero_point) or (x, w, x_zero_point, w_zero_point).

    Padding holds x's zero point.

    Raises
    ------
    UnsupportedProblem
        If w_zero_point is not 0, x and w differ in dtype, or x has three or more spatial axes.
    """
    x, weight, zero, weight_zero = _taken("ConvInteger", inputs, 2, 4)
    if weight_zero is not None and bool((weight_zero != 0).any()):
        raise UnsupportedProblem(
            sentence("ConvInteger", "w_zero_point is not 0", "weights whose zero is 0", "subtract w_zero_point from w, in a dtype that holds it")
        )
    if x.dtype != weight.dtype:
        raise UnsupportedProblem(sentence("ConvInteger", f"x is {x.dtype} and w is {weight.dtype}", "one dtype", "convert the weights"))
    return _conv("ConvInteger", x, weight, attributes, engine, zero_point=0 if zero is None else int(zero))


def max_pool(inputs: Sequence[Any], attributes: Attributes, *, indices: bool = False, engine: str | None = None) -> Any:
    """Return the output Y of a MaxPool node, or (Y, Indices) with `indices`.

    `attributes`: auto_pad, ceil_mode, dilations, kernel_shape, pads, storage_order, strides. Indices are int64 and
    count as ONNX does, over the whole tensor, column by column with storage_order 1.
    """
    x, flat = _image("MaxPool", inputs)
    _known("MaxPool", attributes, (*_WINDOW, "ceil_mode", "storage_order"))
    given = _pool_window("MaxPool", attributes, flat)
    if not indices:
        return _shaped(max_pool2d(x, engine=engine, **given), flat)
    y, places = max_pool2d(x, return_indices=True, engine=engine, **given)
    places = indices_to_onnx(places, x.shape, layout="NCHW", storage_order=attributes.get("storage_order", 0))
    return _shaped(y, flat), _shaped(places, flat)


def average_pool(inputs: Sequence[Any], attributes: Attributes, *, engine: str | None = None) -> Any:
    """Return the output of an AveragePool node: auto_pad, ceil_mode, count_include_pad, dilations, kernel_shape, pads, strides."""
    x, flat = _image("AveragePool", inputs)
    _known("AveragePool", attributes, (*_WINDOW, "ceil_mode", "count_include_pad"))
    include = _switch("AveragePool", attributes, "count_include_pad")
    return _shaped(avg_pool2d(x, count_include_pad=include, engine=engine, **_pool_window("AveragePool", attributes, flat)), flat)


def lp_pool(inputs: Sequence[Any], attributes: Attributes, *, engine: str | None = None) -> Any:
    """Return the output of an LpPool node: auto_pad, ceil_mode, dilations, kernel_shape, p (default 2), pads, strides."""
    x, flat = _image("LpPool", inputs)
    _known("LpPool", attributes, (*_WINDOW, "ceil_mode", "p"))
    return _shaped(lp_pool2d(x, p=attributes.get("p", 2), engine=engine, **_pool_window("LpPool", attributes, flat)), flat)


def global_max_pool(inputs: Sequence[Any], attributes: Attributes | None = None, *, engine: str | None = None) -> Any:
    """Return the output of a GlobalMaxPool node."""
    x, flat = _image("GlobalMaxPool", inputs)
    _known("GlobalMaxPool", attributes or {}, ())
    return _shaped(max_pool2d(x, "global", layout="NCHW", engine=engine), flat)


def global_average_pool(inputs: Sequence[Any], attributes: Attributes | None = None, *, engine: str | None = None) -> Any:
    """Return the output of a GlobalAveragePool node."""
    x, flat = _image("GlobalAveragePool", inputs)
    _known("GlobalAveragePool", attributes or {}, ())
    return _shaped(avg_pool2d(x, "global", layout="NCHW", engine=engine), flat)


def global_lp_pool(inputs: Sequence[Any], attributes: Attributes | None = None, *, engine: str | None = None) -> Any:
    """Return the output of a GlobalLpPool node: p (default 2)."""
    x, flat = _image("GlobalLpPool", inputs)
    _known("GlobalLpPool", attributes or {}, ("p",))
    return _shaped(lp_pool2d(x, "global", p=(attributes or {}).get("p", 2), layout="NCHW", engine=engine), flat)


#: ONNX's op_type -> the function here
OPERATORS: dict[str, Callable[..., Any]] = {
    "Conv": conv,
    "ConvInteger": conv_integer,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "LpPool": lp_pool,
    "GlobalMaxPool": global_max_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalLpPool": global_lp_pool,
}


def _taken(operation: str, inputs: Sequence[Any], fewest: int, most: int) -> list[Any]:
    """Return a node's inputs, with None for each optional one that was left out."""
    if not isinstance(inputs, (list, tuple)) or not fewest <= len(inputs) <= most:
        came = f"{len(inputs)} inputs came" if isinstance(inputs, (list, tuple)) else f"inputs is of type {type(inputs).__name__}"
        wanted = f"a list of {fewest} to {most}" if most > fewest else f"a list of {most}"
        raise ProblemError(sentence(operation, came, wanted, "pass the node's inputs in order"))
    return [*inputs, *[None] * (most - len(inputs))]


def _known(operation: str, attributes: Attributes, names: tuple[str, ...]) -> None:
    for name in attributes:
        if name not in names:
            raise ProblemError(sentence(operation, f"attribute {name!r} was given", f"one of {', '.join(names)}" if names else "none", "correct or drop it"))


def _switch(operation: str, attributes: Attributes, name: str) -> bool:
    value = attributes.get(name, 0)
    if value not in (0, 1):
        raise ProblemError(sentence(operation, f"{name} is {value!r}", "0 or 1", f"correct {name}"))
    return bool(value)


def _image(operation: str, inputs: Sequence[Any]) -> tuple[Any, bool]:
    """Return the one input as N x C x H x W, and whether it had no axis H."""
    return _four(operation, "X", _taken(operation, inputs, 1, 1)[0])


def _four(operation: str, name: str, array: Any) -> tuple[Any, bool]:
    rank = len(getattr(array, "shape", ()))
    if rank >= 5:
        raise UnsupportedProblem(
            sentence(operation, f"{name} has {rank - 2} spatial axes", "one or two", "fold an axis into the batch where the window allows it")
        )
    return (array[:, :, None, :], True) if rank == 3 else (array, False)


def _shaped(y: Any, flat: bool) -> Any:
    """Return y without the axis H if the input had none."""
    return y[:, :, 0, :] if flat else y


def _conv(operation: str, x: Any, weight: Any, attributes: Attributes, engine: str | None, **words: Any) -> Any:
    x, flat = _four(operation, "X", x)
    weight, _ = _four(operation, "W", weight)
    _known(operation, attributes, (*_WINDOW, "group"))
    given = _window(operation, attributes, flat)
    kernel = given.pop("window")
    if kernel is not None and kernel != tuple(weight.shape[2:]):
        raise ProblemError(sentence(operation, f"kernel_shape is {kernel} and W has shape {tuple(weight.shape)}", "the last axes of W", "drop kernel_shape"))
    return _shaped(conv2d(x, weight, groups=attributes.get("group", 1), layout="NCHW", engine=engine, **words, **given), flat)


def _pool_window(operation: str, attributes: Attributes, flat: bool) -> dict[str, Any]:
    given = _window(operation, attributes, flat)
    if given["window"] is None:
        raise ProblemError(sentence(operation, "kernel_shape is missing", "the taps along each axis", "pass kernel_shape"))
    return {**given, "ceil_mode": _switch(operation, attributes, "ceil_mode"), "layout": "NCHW"}


def _window(operation: str, attributes: Attributes, flat: bool) -> dict[str, Any]:
    """Return window, stride, dilation and padding as atrous' arguments; a row of one is put before a lone spatial axis."""
    axes = 1 if flat else 2

    def numbers(name: str, count: int) -> tuple[int, ...] | None:
        value = attributes.get(name)
        if value is None or len(value) == 0:
            return None
        if len(value) != count:
            raise ProblemError(sentence(operation, f"{name} is {list(value)}", f"{count} numbers for {axes} spatial axes", f"correct {name}"))
        return tuple(value)

    def pair(name: str) -> tuple[int, ...] | None:
        value = numbers(name, axes)
        return (1, *value) if value is not None and flat else value

    word = attributes.get("auto_pad", "NOTSET")
    word = word.decode() if isinstance(word, bytes) else word
    if word not in _PADDING:
        raise ProblemError(sentence(operation, f"auto_pad is {word!r}", f"one of {', '.join(_PADDING)}", "correct auto_pad"))
    pads = numbers("pads", 2 * axes)
    if pads is not None and any(pads) and _PADDING[word]:
        raise ProblemError(sentence(operation, f"auto_pad is {word!r} and pads is {list(pads)}", "one of them", "drop pads or auto_pad"))
    explicit = (*(pads or (0,) * (2 * axes)),)  # every low end first, then every high end
    ends = tuple((explicit[axis], explicit[axes + axis]) for axis in range(axes))
    padding = _PADDING[word] or (((0, 0), *ends) if flat else ends)
    return {"window": pair("kernel_shape"), "stride": pair("strides") or (1, 1), "dilation": pair("dilations") or (1, 1), "padding": padding}
