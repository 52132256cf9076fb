"""Bad calls, one table: arrays of a wrong kind, dtype, shape, memory or library, and problems that make no sense as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
from bad_calls_rows import POOLS, Row, floats, image

import atrous

DOORS = ("conv2d", *POOLS)
#: the name in the brackets where a problem, and not the function that was called, refuses
LATE = {"l2_pool2d": "lp_pool2d", "plan_conv2d": "conv2d", "plan_pool2d": "max_pool2d"}


class Producer:
    """Nothing but DLPack, over a NumPy array."""

    def __init__(self, array: Any, device: int = 1) -> None:
        self.array = array
        self.device = device

    def __dlpack__(self, **words: Any) -> Any:
        return self.array.__dlpack__(**words)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0


class CudaProducer:
    """Claims to be in the memory of a GPU."""

    __cuda_array_interface__ = {"shape": (1, 5, 6, 4), "typestr": "<f4", "data": (4096, False), "version": 3}  # noqa: RUF012


def packed_field() -> np.ndarray:
    """Return a (1, 5, 6, 4) float32 field of records of 5 bytes."""
    return np.zeros((1, 5, 6, 4), np.dtype([("flag", "i1"), ("value", "f4")]))["value"]


def misaligned() -> np.ndarray:
    return np.frombuffer(bytearray(4 * 120 + 1), "float32", 120, 1).reshape(1, 5, 6, 4)


def no_arrays(argument: str, functions: tuple[str, ...]) -> list[Row]:
    """Return rows in which an argument is no array at all."""
    things: list[tuple[str, Any, str]] = [
        ("list", lambda: [[[[1.0]]]], "list"),
        ("tuple", lambda: ((1.0,),), "tuple"),
        ("number", lambda: 1.5, "float"),
        ("string", lambda: "image.png", "str"),
        ("bytes", lambda: b"\0" * 480, "bytes"),
        ("memoryview", lambda: memoryview(image()), "memoryview"),
        ("dict", lambda: {"x": 1}, "dict"),
        ("object", lambda: object(), "object"),
        ("class", lambda: np.ndarray, "type"),
        ("dtype", lambda: np.dtype("f4"), type(np.dtype("f4")).__name__),
        ("numpy scalar", lambda: np.float32(1), "float32"),
        ("function", lambda: image, "function"),
    ]
    rows = [
        Row(
            function,
            f"{argument} a {name}",
            lambda given, thing=thing: {argument: thing()},
            (f"{argument} is of type {kind}", "an array", "NumPy, CuPy or torch"),
        )
        for function in functions
        for name, thing, kind in things
    ]
    return rows


def dtypes(argument: str, shape: tuple[int, ...], functions: tuple[str, ...]) -> list[Row]:
    """Return rows in which an argument is an array of elements that nothing here computes with."""
    made: list[tuple[str, Any, str]] = [
        ("bool", lambda: floats(*shape).astype(bool), "bool"),
        ("complex64", lambda: floats(*shape).astype("complex64"), "complex64"),
        ("complex128", lambda: floats(*shape).astype("complex128"), "complex128"),
        (
            "longdouble",
            lambda: floats(*shape).astype(np.longdouble),
            "longdouble" if np.dtype(np.longdouble).name == "longdouble" else np.dtype(np.longdouble).name,
        ),
        ("int16", lambda: floats(*shape).astype("int16"), "int16"),
        ("uint64", lambda: floats(*shape).astype("uint64"), "uint64"),
        ("object", lambda: floats(*shape).astype(object), "object"),
        ("string", lambda: floats(*shape).astype(str), "str"),
        ("bytes", lambda: floats(*shape).astype("S8"), "bytes64"),
        ("datetime", lambda: np.zeros(shape, "datetime64[s]"), "datetime64"),
        ("timedelta", lambda: np.zeros(shape, "timedelta64[ns]"), "timedelta64"),
        ("structured", lambda: np.zeros(shape, [("a", "f4"), ("b", "f4")]), "void64"),
        ("big endian", lambda: floats(*shape).astype(">f4" if np.little_endian else "<f4"), "float32 in foreign byte order"),
    ]
    return [
        Row(
            function,
            f"{argument} of {name}",
            lambda given, array=array: {argument: array()},
            (f"{argument} has dtype {dtype}", "one of float16", f"{argument}.astype('float32')"),
        )
        for function in functions
        for name, array, dtype in made
    ]


def memories() -> list[Row]:
    rows = []
    for function in DOORS:
        rows += [
            Row(
                function,
                "x masked",
                lambda given: {"x": np.ma.masked_array(image(), image() > 3)},
                ("x is a masked array", "without a mask", "x.filled(value)"),
            ),
            Row(function, "x in records", lambda given: {"x": packed_field()}, ("x has byte strides", "4 bytes", "multiples of the element", "copy of x")),
            Row(function, "x misaligned", lambda given: {"x": misaligned()}, ("x starts at an address", "multiple of 4", "aligned", "copy of x")),
            Row(function, "x claims a GPU", lambda given: {"x": CudaProducer()}, ("x is a CudaProducer", "CuPy"), atrous.EngineUnavailable),
            Row(function, "x DLPack claims a GPU", lambda given: {"x": Producer(image(), 2)}, ("x is a Producer", "CuPy"), atrous.EngineUnavailable),
        ]
    for argument, shape in (("weight", (4, 3, 3, 4)), ("bias", (4,)), ("scale", (4,)), ("residual", (1, 3, 4, 4))):
        rows.append(
            Row(
                "conv2d",
                f"{argument} masked",
                lambda given, a=argument, s=shape: {a: np.ma.masked_array(floats(*s))},
                (f"{argument} is a masked array", "filled"),
            )
        )
        rows.append(
            Row(
                "conv2d",
                f"{argument} another library",
                lambda given, a=argument, s=shape: {a: Producer(floats(*s))},
                ("x is a NumPy array", f"{argument} is a bad_calls_arrays array", "one library", f"convert {argument} to NumPy"),
            )
        )
    return rows


def shapes() -> list[Row]:
    rows = []
    for function in DOORS:
        for name, shape in (("0-d", ()), ("1-d", (4,)), ("2-d", (5, 6)), ("3-d", (5, 6, 4)), ("5-d", (1, 1, 5, 6, 4)), ("6-d", (1,) * 6)):
            rows.append(
                Row(
                    function,
                    f"x {name}",
                    lambda given, s=shape: {"x": floats(*s)},
                    (f"x has shape {shape}", f"{len(shape)} dimensions", "4 dimensions (N, H, W, C)", "leading 1"),
                )
            )
        rows.append(Row(function, "x 3-d NCHW", lambda given: {"x": floats(5, 6, 4), "layout": "NCHW"}, ("x has shape (5, 6, 4)", "4 dimensions (N, C, H, W)")))
        rows.append(Row(function, "x a matrix", lambda given: {"x": np.asmatrix(floats(5, 6))}, ("x has shape (5, 6)", "2 dimensions")))
        at = LATE.get(function, "")
        for name, shape, axis in (("H=0", (1, 0, 6, 4), "0 rows"), ("W=0", (1, 5, 0, 4), "0 columns"), ("N=0 and H=0", (0, 0, 6, 4), "0 rows")):
            rows.append(Row(function, f"x {name}", lambda given, s=shape: {"x": floats(*s)}, (f"x has {axis}", "at least one cell", "larger x"), operation=at))
        extra: dict[str, Any] = {"weight": floats(4, 3, 3, 0)} if function == "conv2d" else {}
        rows.append(Row(function, "x C=0", lambda given, e=extra: {"x": floats(1, 5, 6, 0), **e}, ("x has 0 channels", "at least 1"), operation=at))
        big = {"weight": floats(4, 6, 6, 4)} if function == "conv2d" else {"window": 6}
        rows.append(
            Row(
                function,
                "window larger than x",
                big,
                ("spans 6 rows", "kernel 6", "has 5", "floor((5 + 0 + 0 - 6) / ", "= 0", "at least 1", "smaller window"),
                operation=at,
            )
        )
        spread = {"dilation": (1, 6)} if function == "conv2d" else {"window": 2, "dilation": (1, 6)}
        rows.append(
            Row(function, "dilated window larger than x", spread, ("columns", "dilation 6", "has 6", "floor((6 + 0 + 0 - ", "less dilation"), operation=at)
        )
    for name, shape in (("1-d", (4,)), ("3-d", (3, 3, 4)), ("5-d", (1, 4, 3, 3, 4)), ("0-d", ())):
        for function in ("conv2d", "plan_conv2d"):
            rows.append(
                Row(
                    function,
                    f"weight {name}",
                    lambda given, s=shape: {"weight": floats(*s)},
                    (f"weight has shape {shape}", "4 dimensions (K, R, S, C)", "reshape weight"),
                )
            )
    rows += [
        Row(function, f"weight {name}", lambda given, s=shape: {"weight": floats(*s)}, words)
        for function in ("conv2d", "plan_conv2d")
        for name, shape, words in (
            ("C wrong", (4, 3, 3, 5), ("weight has shape (4, 3, 3, 5) (KRSC)", "5 input channels", "x has C = 4", "groups = 1", "4 input channels")),
            ("of torch's order", (4, 4, 3, 3), ("weight has shape (4, 4, 3, 3) (KRSC)", "3 input channels", "weight_layout=")),
            ("R=0", (4, 0, 3, 4), ("weight has shape (4, 0, 3, 4)", "at least one row")),
            ("S=0", (4, 3, 0, 4), ("weight has shape (4, 3, 0, 4)", "one column")),
        )
    ]
    return rows


def groups() -> list[Row]:
    rows = []
    for function in ("conv2d", "plan_conv2d"):
        rows += [
            Row(function, "groups divide neither", {"groups": 3}, ("groups is 3", "C = 4", "K = 4", "C/G = 1.33333", "K/G = 1.33333", "divide both")),
            Row(
                function,
                "groups do not divide K",
                {"groups": 4, "weight": floats(6, 3, 3, 1)},
                ("groups is 4", "C = 4", "K = 6", "C/G = 1", "K/G = 1.5", "divide both"),
            ),
            Row(function, "groups more than C", {"groups": 8, "weight": floats(8, 3, 3, 1)}, ("groups is 8", "C = 4", "K = 8", "C/G = 0.5", "divide both")),
            Row(function, "groups with dense weight", {"groups": 2}, ("weight has shape (4, 3, 3, 4)", "4 input channels", "groups = 2", "2 input channels")),
            Row(
                function,
                "reflect too far",
                {"padding_mode": "reflect", "padding": 5},
                ("'reflect'", "(5, 5)", "5 rows", "at most 4", "'replicate'"),
                operation="conv2d",
            ),
            Row(
                function,
                "reflect columns too far",
                {"padding_mode": "reflect", "padding": (0, 6)},
                ("'reflect'", "(6, 6)", "6 columns", "at most 5"),
                operation="conv2d",
            ),
            Row(
                function,
                "circular too far",
                {"padding_mode": "circular", "padding": ((0, 6), (0, 0))},
                ("'circular'", "(0, 6)", "5 rows", "at most 5"),
                operation="conv2d",
            ),
            Row(
                function,
                "dilation and same beyond int32",
                {"dilation": 2**30, "padding": "same"},
                ("a window of 2147483649", "below 2^31", "less dilation"),
                operation="conv2d",
            ),
        ]
    return rows


ROWS = (
    no_arrays("x", DOORS)
    + [row for argument in ("weight", "bias", "scale", "residual") for row in no_arrays(argument, ("conv2d",))]
    + dtypes("x", (1, 5, 6, 4), DOORS)
    + [row for argument, shape in (("weight", (4, 3, 3, 4)), ("bias", (4,)), ("residual", (1, 3, 4, 4))) for row in dtypes(argument, shape, ("conv2d",))]
    + memories()
    + shapes()
    + groups()
)
