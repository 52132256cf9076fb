"""Bad calls, one table: dtypes that do not go together, per-channel operands of a wrong length, and poolings without an answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from bad_calls_arrays import LATE, Producer
from bad_calls_rows import POOLS, Row, filters, floats, image

import atrous


def inputs() -> list[Row]:
    """Return rows in which x or weight has a dtype that the operation does not take."""
    rows = []
    for dtype in ("int32", "int64"):
        of_x = (f"dtype of x is '{dtype}'", "'float16'", "'uint8'", "convert x")
        rows.append(Row("conv2d", f"x {dtype}", lambda given, d=dtype: {"x": image().astype(d), "weight": filters().astype(d)}, of_x, operation="conv2d"))
        for function in POOLS:
            rows.append(Row(function, f"x {dtype}", lambda given, d=dtype: {"x": image().astype(d)}, of_x, operation=LATE.get(function, "")))
    for function in POOLS[1:]:
        for dtype in ("int8", "uint8"):
            rows.append(
                Row(
                    function,
                    f"x {dtype}",
                    lambda given, d=dtype: {"x": image().astype(d)},
                    (f"x is {dtype}", "float16", "cast x", "max_pool2d"),
                    atrous.UnsupportedProblem,
                    LATE.get(function, ""),
                )
            )
    for dtype in ("float16", "float64", "int8", "uint8", "int32"):
        rows.append(
            Row(
                "conv2d", f"weight {dtype}", {"weight": filters().astype(dtype)}, (f"weight has dtype {dtype}", "expected float32", "convert weight to float32")
            )
        )
        rows.append(
            Row(
                "plan_conv2d",
                f"weight {dtype} for float32",
                {"weight": filters().astype(dtype), "dtype": "float32"},
                (f"weight has dtype {dtype}", "float32", "convert weight"),
            )
        )
    return rows


def channels(function: str) -> list[Row]:
    """Return rows in which bias or scale is not one number an output channel."""
    rows = []
    for operand in ("bias", "scale"):
        for name, shape in (
            ("a scalar", ()),
            ("too short", (3,)),
            ("too long", (5,)),
            ("of one", (1,)),
            ("a column", (4, 1)),
            ("empty", (0,)),
            ("like y", (1, 1, 1, 4)),
        ):
            rows.append(Row(function, f"{operand} {name}", {operand: floats(*shape)}, (f"{operand} has shape {shape}", "(4,)", "one number an output channel")))
        for dtype in ("int8", "uint8", "int32", "int64"):
            rows.append(
                Row(
                    function,
                    f"{operand} {dtype}",
                    {operand: floats(4, dtype=dtype)},
                    (f"dtype of {operand} is '{dtype}'", "'float32'", f"convert {operand}"),
                    operation="conv2d",
                )
            )
    return rows


def words(function: str) -> list[Row]:
    """Return rows in which out_dtype or precision does not go with the inputs."""
    rows = []
    for dtype in ("int8", "uint8", "int32"):
        rows.append(
            Row(function, f"out_dtype {dtype} of floats", {"out_dtype": dtype}, ("out_dtype for float32", f"'{dtype}'", "'float64'"), operation="conv2d")
        )
    for name, value in (
        ("misspelt", "float23"),
        ("complex", np.complex64),
        ("bool", bool),
        ("python float", float),
        ("number", 3),
        ("list", []),
        ("int64", "int64"),
    ):
        rows.append(Row(function, f"out_dtype {name}", {"out_dtype": value}, ("out_dtype is", "float16, bfloat16, float32", "one of these names")))
    for precision in ("tf32", "strict"):
        for dtype in ("float16", "float64", "int8"):
            changes = {"weight": filters().astype(dtype), "precision": precision, **({"x": image().astype(dtype)} if function == "conv2d" else {})}
            rows.append(
                Row(function, f"{precision} of {dtype}", changes, (f"precision is '{precision}'", f"x is {dtype}", "only with float32"), operation="conv2d")
            )
    return rows


def zero_points(function: str) -> list[Row]:
    """Return rows in which a zero point, or a dtype beside one, does not go with the inputs."""
    rows = []
    for name, value in (("1", 1), ("-1", -1)):
        rows.append(
            Row(
                function,
                f"zero_point {name} of floats",
                {"zero_point": value},
                (f"zero_point is {name}", "float32", "expected 0;", "int8 or uint8"),
                operation="conv2d",
            )
        )
        rows.append(
            Row(
                function,
                f"out_zero_point {name} of floats",
                {"out_zero_point": value},
                (f"out_zero_point is {name}", "float32", "expected 0;"),
                operation="conv2d",
            )
        )
    for dtype, value, span in (("int8", 128, "-128 to 127"), ("int8", -129, "-128 to 127"), ("uint8", 256, "0 to 255"), ("uint8", -1, "0 to 255")):
        whole = {"weight": filters().astype(dtype), **({"x": image().astype(dtype)} if function == "conv2d" else {})}
        rows.append(
            Row(
                function,
                f"zero_point {value} of {dtype}",
                {**whole, "zero_point": value},
                (f"zero_point is {value} with {dtype}", span),
                operation="conv2d",
            )
        )
        out = {**whole, "out_dtype": dtype, "out_zero_point": value}
        rows.append(Row(function, f"out_zero_point {value} of {dtype}", out, (f"out_zero_point is {value} with {dtype}", span), operation="conv2d"))
    whole = {"weight": filters().astype("int8"), **({"x": image().astype("int8")} if function == "conv2d" else {})}
    rows.append(Row(function, "out_zero_point of int32", {**whole, "out_zero_point": 1}, ("out_zero_point is 1 with int32", "expected 0;"), operation="conv2d"))
    for dtype in ("float16", "float64", "bfloat16"):
        rows.append(
            Row(function, f"out_dtype {dtype} of int8", {**whole, "out_dtype": dtype}, ("out_dtype for int8", f"'{dtype}'", "'int32'"), operation="conv2d")
        )
    rows.append(Row(function, "scale int8 of int8", {**whole, "scale": floats(4, dtype="int8")}, ("dtype of scale is 'int8'", "'int32'"), operation="conv2d"))
    return rows


def residuals() -> list[Row]:
    """Return rows in which the residual is not like the output."""
    rows = []
    for name, shape in (("too small", (1, 3, 4, 3)), ("broadcast", (1, 1, 1, 4)), ("a row", (4,)), ("like x", (1, 5, 6, 4)), ("NCHW", (1, 4, 3, 4))):
        rows.append(
            Row(
                "conv2d",
                f"residual {name}",
                {"residual": floats(*shape)},
                (f"residual has shape {shape}", "(1, 3, 4, 4) (N, P, Q, K)", "reshape or slice residual"),
            )
        )
    for dtype in ("float16", "float64", "int32"):
        rows.append(
            Row(
                "conv2d",
                f"residual {dtype}",
                {"residual": floats(1, 3, 4, 4, dtype=dtype)},
                (f"residual has dtype {dtype}", "expected float32", "convert residual"),
            )
        )
    return rows


def windows() -> list[Row]:
    """Return rows in which a window makes no sense, or lies wholly in padding."""
    rows = []
    for function in POOLS:
        at = LATE.get(function, "")
        for argument, value in (("stride", 1), ("stride", (1, 1)), ("padding", 1), ("padding", ((0, 0), (0, 1))), ("dilation", 2)):
            rows.append(
                Row(
                    function,
                    f"global with {argument} {value}",
                    {"window": "global", argument: value},
                    ("'global'", f"{argument} is", f"no {argument}", f"drop {argument}="),
                )
            )
        rows.append(
            Row(
                function,
                "dilated window beyond int32",
                {"dilation": 2**31 - 1, "window": 3, "padding": "same"},
                ("a window of 4294967295", "below 2^31"),
                operation=at,
            )
        )
    for function in ("max_pool2d", "avg_pool2d", "rms_pool2d", "weighted_avg_pool2d"):
        rows += [
            Row(function, "first window in padding", {"padding": 2}, ("window 0 along the rows", "(2, 2, 2, 2)", "a real cell", "pad less")),
            Row(function, "last window in padding", {"padding": (0, (0, 3)), "stride": 1}, ("window 6 along the columns", "(0, 0, 0, 3)", "a real cell")),
            Row(
                function,
                "window steps over x",
                {"x": floats(1, 1, 9, 4), "window": (2, 1), "dilation": (2, 1), "padding": (1, 0)},
                ("window 0 along the rows", "a real cell"),
            ),
            Row(
                function,
                "window in the cropped end",
                {"x": floats(1, 6, 6, 4), "padding": ((2, -3), (0, 0)), "stride": 3, "window": 1, "ceil_mode": True},
                ("along the rows", "a real cell"),
            ),
            Row(function, "huge window and padding", {"window": 2**30, "padding": 2**30, "stride": 1}, ("rows", "below 2^31")),
        ]
    return rows


#: tables of tap weights that are none for a 2 x 2 window: name, table, words
TABLES: list[tuple[str, Any, tuple[str, ...]]] = [
    ("ragged", [[1, 2], [3]], ("rows of 1 and 2 numbers", "one length")),
    ("of words", [["a", "b"], ["c", "d"]], ("weights[0][0]", "'a'", "real number")),
    ("of digits", [["1", "2"], ["3", "4"]], ("weights[0][0]", "'1'", "real number")),
    ("with none", [[1, None], [1, 1]], ("weights[0][1]", "None", "real number")),
    ("with nan", [[1, 1], [float("nan"), 1]], ("weights[1][0]", "NaN", "real number")),
    ("with infinity", [[1, 1], [1, float("inf")]], ("inf", "finite")),
    ("complex", [[1, 1j], [1, 1]], ("weights[0][1]", "1j", "real number")),
    ("flat", [1, 2, 3, 4], ("weights[0] is 1", "int", "rows")),
    ("deep", [[[1, 1]], [[1, 1]]], ("weights[0][0]", "list", "real number")),
    ("of strings", ["12", "34"], ("weights[0] is '12'", "rows")),
    ("empty", [], ("weights has shape", "(2, 2)", "one number a tap")),
    ("too wide", [[1, 2, 3], [4, 5, 6]], ("weights has shape (2, 3)", "(2, 2)", "one number a tap")),
    ("one row", [[1, 2]], ("weights has shape (1, 2)", "(2, 2)")),
    ("array of a wrong shape", floats(3, 3), ("weights has shape (3, 3)", "(2, 2)")),
    ("array 1-d", floats(4), ("weights has shape (4,)", "(2, 2)")),
    ("array float64", floats(2, 2, dtype="float64"), ("weights has dtype float64", "x float32", "expected float32", "convert weights")),
    ("array int64", floats(2, 2, dtype="int64"), ("weights has dtype int64", "expected float32")),
    ("array int16", floats(2, 2, dtype="int16"), ("weights has dtype int16",)),
    ("array of bool", np.ones((2, 2), bool), ("weights has dtype bool",)),
    ("misspelt", "gausian", ("'gausian'", "'gaussian'", "'inverse'", "'binomial'")),
    ("custom by name", "custom", ("'custom'", "'gaussian'")),
    ("empty word", "", ("''", "'gaussian'")),
    ("none", None, ("weights is None", "NoneType", "'gaussian'", "table")),
    ("number", 1.5, ("weights is 1.5", "float", "'gaussian'", "table")),
    ("dict", {}, ("weights is {}", "dict", "table")),
    ("another library", Producer(floats(2, 2)), ("weights is of type Producer", "x is a NumPy array", "nested lists")),
]


def weights() -> list[Row]:
    """Return rows in which the weights of an average make no sense."""
    rows = [Row("weighted_avg_pool2d", f"weights {name}", {"weights": table}, words) for name, table, words in TABLES]
    for named in ("inverse", "binomial", [[1, 1], [1, 1]]):
        rows.append(Row("weighted_avg_pool2d", f"sigma with {named}", {"weights": named, "sigma": 1.0}, ("sigma is 1.0", "not 'gaussian'", "drop sigma=")))
    return rows


ROWS = inputs() + residuals() + windows() + weights()
ROWS += [row for function in ("conv2d", "plan_conv2d") for row in channels(function) + words(function) + zero_points(function)]
