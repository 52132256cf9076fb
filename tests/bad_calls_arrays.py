"""Bad calls, one table: arrays of a wrong kind, dtype, shape, memory or library, and problems that make no sense as a whole."""

from __future__ import annotations

import importlib
from typing import Any

import atrous
import numpy as np
from bad_calls_rows import POOLS, Row, filters, floats, image

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


def torch() -> Any:
    return importlib.import_module("torch")


def strict() -> Any:
    return importlib.import_module("array_api_strict")


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
        ("dtype", lambda: np.dtype("f4"), "Float32DType"),
        ("numpy scalar", lambda: np.float32(1), "float32"),
        ("function", lambda: image, "function"),
    ]
    rows = [
        Row(function, f"{argument} a {name}", lambda given, thing=thing: {argument: thing()}, (f"{argument} is of type {kind}", "an array", "NumPy, CuPy or torch"))
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
        ("longdouble", lambda: floats(*shape).astype(np.longdouble), "longdouble" if np.dtype(np.longdouble).name == "longdouble" else np.dtype(np.longdouble).name),
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
        Row(function, f"{argument} of {name}", lambda given, array=array: {argument: array()}, (f"{argument} has dtype {dtype}", "one of float16", f"{argument}.astype('float32')"))
        for function in functions
        for name, array, dtype in made
    ]


def memories() -> list[Row]:
    rows = []
    for function in DOORS:
        rows += [
            Row(function, "x masked", lambda given: {"x": np.ma.masked_array(image(), image() > 3)}, ("x is a masked array", "without a mask", "x.filled(value)")),
            Row(function, "x in records", lambda given: {"x": packed_field()}, ("x has byte strides", "4 bytes", "multiples of the element", "copy of x")),
            Row(function, "x misaligned", lambda given: {"x": misaligned()}, ("x starts at an address", "multiple of 4", "aligned", "copy of x")),
            Row(function, "x claims a GPU", lambda given: {"x": CudaProducer()}, ("x is a CudaProducer", "CuPy"), atrous.EngineUnavailable),
            Row(function, "x DLPack claims a GPU", lambda given: {"x": Producer(image(), 2)}, ("x is a Producer", "CuPy"), atrous.EngineUnavailable),
        ]
    for argument, shape in (("weight", (4, 3, 3, 4)), ("bias", (4,)), ("scale", (4,)), ("residual", (1, 3, 4, 4))):
        rows.append(Row("conv2d", f"{argument} masked", lambda given, a=argument, s=shape: {a: np.ma.masked_array(floats(*s))}, (f"{argument} is a masked array", "filled")))
        rows.append(Row("conv2d", f"{argument} another library", lambda given, a=argument, s=shape: {a: Producer(floats(*s))}, ("x is a NumPy array", f"{argument} is a bad_calls_arrays array", "one library", f"convert {argument} to NumPy")))
    return rows


def shapes() -> list[Row]:
    rows = []
    for function in DOORS:
        for name, shape in (("0-d", ()), ("1-d", (4,)), ("2-d", (5, 6)), ("3-d", (5, 6, 4)), ("5-d", (1, 1, 5, 6, 4)), ("6-d", (1,) * 6)):
            rows.append(Row(function, f"x {name}", lambda given, s=shape: {"x": floats(*s)}, (f"x has shape {shape}", f"{len(shape)} dimensions", "4 dimensions (N, H, W, C)", "leading 1")))
        rows.append(Row(function, "x 3-d NCHW", lambda given: {"x": floats(5, 6, 4), "layout": "NCHW"}, ("x has shape (5, 6, 4)", "4 dimensions (N, C, H, W)")))
        rows.append(Row(function, "x a matrix", lambda given: {"x": np.asmatrix(floats(5, 6))}, ("x has shape (5, 6)", "2 dimensions")))
        at = LATE.get(function, "")
        for name, shape, axis in (("H=0", (1, 0, 6, 4), "0 rows"), ("W=0", (1, 5, 0, 4), "0 columns"), ("N=0 and H=0", (0, 0, 6, 4), "0 rows")):
            rows.append(Row(function, f"x {name}", lambda given, s=shape: {"x": floats(*s)}, (f"x has {axis}", "at least one cell", "larger x"), operation=at))
        extra: dict[str, Any] = {"weight": floats(4, 3, 3, 0)} if function == "conv2d" else {}
        rows.append(Row(function, "x C=0", lambda given, e=extra: {"x": floats(1, 5, 6, 0), **e}, ("x has 0 channels", "at least 1"), operation=at))
        big = {"weight": floats(4, 6, 6, 4)} if function == "conv2d" else {"window": 6}
        rows.append(Row(function, "window larger than x", big, ("spans 6 rows", "kernel 6", "has 5", "floor((5 + 0 + 0 - 6) / ", "= 0", "at least 1", "smaller window"), operation=at))
        spread = {"dilation": (1, 6)} if function == "conv2d" else {"window": 2, "dilation": (1, 6)}
        rows.append(Row(function, "dilated window larger than x", spread, ("columns", "dilation 6", "has 6", "floor((6 + 0 + 0 - ", "less dilation"), operation=at))
    for name, shape in (("1-d", (4,)), ("3-d", (3, 3, 4)), ("5-d", (1, 4, 3, 3, 4)), ("0-d", ())):
        for function in ("conv2d", "plan_conv2d"):
            rows.append(Row(function, f"weight {name}", lambda given, s=shape: {"weight": floats(*s)}, (f"weight has shape {shape}", "4 dimensions (K, R, S, C)", "reshape weight")))
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
            Row(function, "groups do not divide K", {"groups": 4, "weight": floats(6, 3, 3, 1)}, ("groups is 4", "C = 4", "K = 6", "C/G = 1", "K/G = 1.5", "divide both")),
            Row(function, "groups more than C", {"groups": 8, "weight": floats(8, 3, 3, 1)}, ("groups is 8", "C = 4", "K = 8", "C/G = 0.5", "divide both")),
            Row(function, "groups with dense weight", {"groups": 2}, ("weight has shape (4, 3, 3, 4)", "4 input channels", "groups = 2", "2 input channels")),
            Row(function, "reflect too far", {"padding_mode": "reflect", "padding": 5}, ("'reflect'", "(5, 5)", "5 rows", "at most 4", "'replicate'"), operation="conv2d"),
            Row(function, "reflect columns too far", {"padding_mode": "reflect", "padding": (0, 6)}, ("'reflect'", "(6, 6)", "6 columns", "at most 5"), operation="conv2d"),
            Row(function, "circular too far", {"padding_mode": "circular", "padding": ((0, 6), (0, 0))}, ("'circular'", "(0, 6)", "5 rows", "at most 5"), operation="conv2d"),
            Row(function, "dilation and same beyond int32", {"dilation": 2**30, "padding": "same"}, ("a window of 2147483649", "below 2^31", "less dilation"), operation="conv2d"),
        ]
    return rows


def conv_dtypes() -> list[Row]:
    rows = []
    for dtype in ("int32", "int64"):
        of_x = (f"dtype of x is '{dtype}'", "'float16'", "'uint8'", "convert x")
        rows.append(Row("conv2d", f"x {dtype}", lambda given, d=dtype: {"x": image().astype(d), "weight": filters().astype(d)}, of_x, operation="conv2d"))
        for function in POOLS:
            rows.append(Row(function, f"x {dtype}", lambda given, d=dtype: {"x": image().astype(d)}, of_x, operation=LATE.get(function, "")))
    for function in POOLS[1:]:
        for dtype in ("int8", "uint8"):
            rows.append(
                Row(function, f"x {dtype}", lambda given, d=dtype: {"x": image().astype(d)}, (f"x is {dtype}", "float16", "cast x", "max_pool2d"), atrous.UnsupportedProblem, LATE.get(function, ""))
            )
    for dtype in ("float16", "float64", "int8", "uint8", "int32"):
        rows.append(Row("conv2d", f"weight {dtype}", {"weight": filters().astype(dtype)}, (f"weight has dtype {dtype}", "expected float32", "convert weight to float32")))
        rows.append(Row("plan_conv2d", f"weight {dtype} for float32", {"weight": filters().astype(dtype), "dtype": "float32"}, (f"weight has dtype {dtype}", "float32", "convert weight")))
    for function in ("conv2d", "plan_conv2d"):
        for operand in ("bias", "scale"):
            for name, shape in (("a scalar", ()), ("too short", (3,)), ("too long", (5,)), ("of one", (1,)), ("a column", (4, 1)), ("empty", (0,)), ("like y", (1, 1, 1, 4))):
                rows.append(Row(function, f"{operand} {name}", {operand: floats(*shape)}, (f"{operand} has shape {shape}", "(4,)", "one number an output channel")))
            for dtype in ("int8", "uint8", "int32", "int64"):
                rows.append(Row(function, f"{operand} {dtype}", {operand: floats(4, dtype=dtype)}, (f"dtype of {operand} is '{dtype}'", "'float32'", f"convert {operand}"), operation="conv2d"))
        for dtype in ("int8", "uint8", "int32"):
            rows.append(Row(function, f"out_dtype {dtype} of floats", {"out_dtype": dtype}, ("out_dtype for float32", f"'{dtype}'", "'float64'"), operation="conv2d"))
        for name, value in (("misspelt", "float23"), ("complex", np.complex64), ("bool", bool), ("python float", float), ("number", 3), ("list", []), ("int64", "int64")):
            rows.append(Row(function, f"out_dtype {name}", {"out_dtype": value}, ("out_dtype is", "float16, bfloat16, float32", "one of these names")))
        for precision in ("tf32", "strict"):
            for dtype in ("float16", "float64", "int8"):
                changes = {"weight": filters().astype(dtype), "precision": precision, **({"x": image().astype(dtype)} if function == "conv2d" else {})}
                rows.append(Row(function, f"{precision} of {dtype}", changes, (f"precision is '{precision}'", f"x is {dtype}", "only with float32"), operation="conv2d"))
        for name, value in (("1", 1), ("-1", -1)):
            rows.append(Row(function, f"zero_point {name} of floats", {"zero_point": value}, (f"zero_point is {name}", "float32", "expected 0;", "int8 or uint8"), operation="conv2d"))
            rows.append(Row(function, f"out_zero_point {name} of floats", {"out_zero_point": value}, (f"out_zero_point is {name}", "float32", "expected 0;"), operation="conv2d"))
        for dtype, value, span in (("int8", 128, "-128 to 127"), ("int8", -129, "-128 to 127"), ("uint8", 256, "0 to 255"), ("uint8", -1, "0 to 255")):
            whole = {"weight": filters().astype(dtype), **({"x": image().astype(dtype)} if function == "conv2d" else {})}
            rows.append(Row(function, f"zero_point {value} of {dtype}", {**whole, "zero_point": value}, (f"zero_point is {value} with {dtype}", span), operation="conv2d"))
            out = {**whole, "out_dtype": dtype, "out_zero_point": value}
            rows.append(Row(function, f"out_zero_point {value} of {dtype}", out, (f"out_zero_point is {value} with {dtype}", span), operation="conv2d"))
        whole = {"weight": filters().astype("int8"), **({"x": image().astype("int8")} if function == "conv2d" else {})}
        rows.append(Row(function, "out_zero_point of int32", {**whole, "out_zero_point": 1}, ("out_zero_point is 1 with int32", "expected 0;"), operation="conv2d"))
        for dtype in ("float16", "float64", "bfloat16"):
            rows.append(Row(function, f"out_dtype {dtype} of int8", {**whole, "out_dtype": dtype}, ("out_dtype for int8", f"'{dtype}'", "'int32'"), operation="conv2d"))
        rows.append(Row(function, "scale int8 of int8", {**whole, "scale": floats(4, dtype="int8")}, ("dtype of scale is 'int8'", "'int32'"), operation="conv2d"))
    for name, shape in (("too small", (1, 3, 4, 3)), ("broadcast", (1, 1, 1, 4)), ("a row", (4,)), ("like x", (1, 5, 6, 4)), ("NCHW", (1, 4, 3, 4))):
        rows.append(Row("conv2d", f"residual {name}", {"residual": floats(*shape)}, (f"residual has shape {shape}", "(1, 3, 4, 4) (N, P, Q, K)", "reshape or slice residual")))
    for dtype in ("float16", "float64", "int32"):
        rows.append(Row("conv2d", f"residual {dtype}", {"residual": floats(1, 3, 4, 4, dtype=dtype)}, (f"residual has dtype {dtype}", "expected float32", "convert residual")))
    return rows


def pool_problems() -> list[Row]:
    rows = []
    for function in POOLS:
        at = LATE.get(function, "")
        for argument, value in (("stride", 1), ("stride", (1, 1)), ("padding", 1), ("padding", ((0, 0), (0, 1))), ("dilation", 2)):
            rows.append(Row(function, f"global with {argument} {value}", {"window": "global", argument: value}, ("'global'", f"{argument} is", f"no {argument}", f"drop {argument}=")))
        rows.append(Row(function, "dilated window beyond int32", {"dilation": 2**31 - 1, "window": 3, "padding": "same"}, ("a window of 4294967295", "below 2^31"), operation=at))
    for function in ("max_pool2d", "avg_pool2d", "rms_pool2d", "weighted_avg_pool2d"):
        rows += [
            Row(function, "first window in padding", {"padding": 2}, ("window 0 along the rows", "(2, 2, 2, 2)", "a real cell", "pad less")),
            Row(function, "last window in padding", {"padding": (0, (0, 3)), "stride": 1}, ("window 6 along the columns", "(0, 0, 0, 3)", "a real cell")),
            Row(function, "window steps over x", {"x": floats(1, 1, 9, 4), "window": (2, 1), "dilation": (2, 1), "padding": (1, 0)}, ("window 0 along the rows", "a real cell")),
            Row(function, "window in the cropped end", {"x": floats(1, 6, 6, 4), "padding": ((2, -3), (0, 0)), "stride": 3, "window": 1, "ceil_mode": True}, ("along the rows", "a real cell")),
            Row(function, "huge window and padding", {"window": 2**30, "padding": 2**30, "stride": 1}, ("rows", "below 2^31")),
        ]
    for name, table, words in (
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
    ):  # fmt: skip
        rows.append(Row("weighted_avg_pool2d", f"weights {name}", {"weights": table}, words))
    for weights in ("inverse", "binomial", [[1, 1], [1, 1]]):
        rows.append(Row("weighted_avg_pool2d", f"sigma with {weights}", {"weights": weights, "sigma": 1.0}, ("sigma is 1.0", "not 'gaussian'", "drop sigma=")))
    return rows


def outputs() -> list[Row]:
    rows = []
    for function in DOORS:
        at = LATE.get(function, "")
        shape = (1, 3, 4, 4) if function == "conv2d" else (1, 2, 3, 4)
        axes = "N, P, Q, K" if function == "conv2d" else "N, P, Q, C"

        def row(name, changes, *words, function=function, at=at):
            return Row(function, f"out {name}", changes, words, operation=at)

        def windows(given, shape=shape):
            flat = np.zeros(100, "float32")
            return {"out": np.lib.stride_tricks.as_strided(flat, shape, (0, 16, 8, 4))}

        def over_x(given, shape=shape):
            x = given["x"]
            return {"out": x[:, : shape[1], : shape[2]]}

        def read_only(given, shape=shape):
            out = np.zeros(shape, "float32")
            out.flags.writeable = False
            return {"out": out}

        rows += [
            row("too large", {"out": floats(2, *shape[1:])}, f"out has shape {(2, *shape[1:])}", f"{shape} ({axes})", "reshape or slice out"),
            row("like x", {"out": image()}, "out has shape (1, 5, 6, 4)", f"{shape}"),
            row("flat", {"out": floats(int(np.prod(shape)))}, "out has shape", f"{shape}"),
            row("NCHW", {"out": floats(1, 4, *shape[1:3])}, f"out has shape {(1, 4, *shape[1:3])}", f"{shape}"),
            row("float64", {"out": floats(*shape, dtype="float64")}, "out has dtype float64", "expected float32", "allocate out as float32"),
            row("float16", {"out": floats(*shape, dtype="float16")}, "out has dtype float16", "expected float32"),
            row("int32", {"out": floats(*shape, dtype="int32")}, "out has dtype int32", "expected float32"),
            row("bool", {"out": floats(*shape).astype(bool)}, "out has dtype bool"),
            row("big endian", {"out": floats(*shape).astype(">f4" if np.little_endian else "<f4")}, "out has dtype float32 in foreign byte order"),
            row("list", {"out": [0.0]}, "out is of type list", "an array"),
            row("true", {"out": True}, "out is of type bool", "an array"),
            row("pair", {"out": (floats(*shape), floats(*shape))}, "out is of type tuple", "an array"),
            row("another library", lambda given, s=shape: {"out": Producer(floats(*s))}, "x is a NumPy array", "out is a bad_calls_arrays array", "allocate out with NumPy"),
            row("masked", lambda given, s=shape: {"out": np.ma.masked_array(floats(*s))}, "out is a masked array"),
            row("read-only", read_only, "out is read-only", "can be written", "writable out"),
            row("broadcast", lambda given, s=shape: {"out": np.broadcast_to(np.float32(0), s)}, "out", "read-only"),
            row("overlaps itself", windows, "out has strides", "share memory", "distinct", "allocate out afresh"),
            row("over x", over_x, "out shares memory with x", "of its own", "copy of x"),
        ]
    def over_weight(given):
        return {"out": given["weight"].reshape(-1)[:48].reshape(1, 3, 4, 4)}

    def over_bias(given):
        memory = np.zeros(48 + 3, "float32")
        return {"bias": memory[47:51], "out": memory[:48].reshape(1, 3, 4, 4)}

    def shifted_residual(given):
        memory = np.zeros(49, "float32")
        return {"residual": memory[:48].reshape(1, 3, 4, 4), "out": memory[1:].reshape(1, 3, 4, 4)}

    def turned_residual(given):
        memory = np.zeros((1, 3, 4, 4), "float32")
        return {"residual": memory, "out": memory[:, ::-1]}

    def same_twice(given):
        memory = np.zeros((1, 2, 3, 4), "float32")
        return {"return_indices": True, "out": (memory, memory.view("int32"))}

    rows += [
        Row("conv2d", "out over weight", over_weight, ("out shares memory with weight", "copy of weight")),
        Row("conv2d", "out over bias", over_bias, ("out shares memory with bias", "copy of bias")),
        Row("conv2d", "out over residual shifted", shifted_residual, ("out shares memory with residual", "only residual may be the output itself")),
        Row("conv2d", "out over residual turned", turned_residual, ("out shares memory with residual",)),
        Row("max_pool2d", "out one array for two", {"return_indices": True, "out": floats(1, 2, 3, 4)}, ("out is of type ndarray", "a pair (values, indices)", "out=(y, indices)")),
        Row("max_pool2d", "out a list for two", {"return_indices": True, "out": [1, 2]}, ("out is of type list", "a pair (values, indices)")),
        Row("max_pool2d", "out three for two", {"return_indices": True, "out": (1, 2, 3)}, ("out is of type tuple", "a pair (values, indices)")),
        Row("max_pool2d", "out none for indices", {"return_indices": True, "out": (floats(1, 2, 3, 4), None)}, ("out[1] is of type NoneType", "an array")),
        Row("max_pool2d", "out int64 for indices", {"return_indices": True, "out": (floats(1, 2, 3, 4), floats(1, 2, 3, 4, dtype="int64"))}, ("out[1] has dtype int64", "expected int32", "allocate out[1] as int32")),
        Row("max_pool2d", "out indices too small", {"return_indices": True, "out": (floats(1, 2, 3, 4), floats(1, 2, 3, 3, dtype="int32"))}, ("out[1] has shape (1, 2, 3, 3)", "(1, 2, 3, 4)")),
        Row("max_pool2d", "out the same twice", same_twice, ("out[1] shares memory with out", "of its own")),
    ]
    return rows


def torch_rows() -> list[Row]:
    rows = []
    for function in DOORS:
        rows += [
            Row(function, "x requires grad", lambda given: {"x": torch().ones(1, 5, 6, 4, requires_grad=True)}, ("x requires a gradient", "without one", "x.detach()"), needs="torch"),
            Row(function, "x sparse", lambda given: {"x": torch().ones(1, 5, 6, 4).to_sparse()}, ("x is a torch.sparse_coo tensor", "dense", "x.to_dense()"), needs="torch"),
            Row(function, "x meta", lambda given: {"x": torch().ones(1, 5, 6, 4, device="meta")}, ("x is on the device 'meta'", "'cpu' or 'cuda'", "move x"), needs="torch"),
            Row(function, "x torch complex", lambda given: {"x": torch().ones(1, 5, 6, 4, dtype=torch().complex64)}, ("x has dtype complex64", "float16"), needs="torch"),
            Row(function, "x torch bool", lambda given: {"x": torch().ones(1, 5, 6, 4, dtype=torch().bool)}, ("x has dtype bool", "float16"), needs="torch"),
            Row(function, "x torch 5-d", lambda given: {"x": torch().ones(1, 1, 5, 6, 4), **({"weight": torch().ones(4, 3, 3, 4)} if "weight" in given else {})}, ("x has shape (1, 1, 5, 6, 4)", "5 dimensions"), needs="torch"),
        ]  # fmt: skip
    mixed = ("x is a NumPy array", "is a torch array", "one library", "to NumPy")
    for argument, shape in (("weight", (4, 3, 3, 4)), ("bias", (4,)), ("scale", (4,)), ("residual", (1, 3, 4, 4))):
        rows.append(Row("conv2d", f"{argument} torch", lambda given, a=argument, s=shape: {a: torch().ones(*s)}, (argument, *mixed), needs="torch"))
        rows.append(Row("conv2d", f"{argument} array-api-strict", lambda given, a=argument, s=shape: {a: strict().ones(s, dtype=strict().float32)}, (argument, mixed[0], "is a array-api-strict array", mixed[2]), needs="array_api_strict"))
    rows += [
        Row("conv2d", "x torch", lambda given: {"x": torch().ones(1, 5, 6, 4)}, ("x is a torch array", "weight is a NumPy array", "convert weight to torch"), needs="torch"),
        Row("conv2d", "out torch", lambda given: {"out": torch().ones(1, 3, 4, 4)}, ("x is a NumPy array", "out is a torch array", "allocate out with NumPy"), needs="torch"),
        Row("max_pool2d", "out torch", lambda given: {"out": torch().ones(1, 2, 3, 4)}, ("x is a NumPy array", "out is a torch array"), needs="torch"),
        Row("max_pool2d", "out torch view of x", lambda given: (lambda x: {"x": x, "out": x[:, :2, :3]})(torch().ones(1, 5, 6, 4)), ("out shares memory with x",), needs="torch"),
        Row("max_pool2d", "out torch expanded", lambda given: {"x": torch().ones(1, 5, 6, 4), "out": torch().zeros(1).expand(1, 2, 3, 4)}, ("out has strides", "share memory"), needs="torch"),
        Row("plan_conv2d", "weight requires grad", lambda given: {"weight": torch().ones(4, 3, 3, 4, requires_grad=True)}, ("weight requires a gradient", "weight.detach()"), needs="torch"),
        Row("conv2d", "x array-api-strict simulated", lambda given: {"x": strict().ones((1, 5, 6, 4), dtype=strict().float32), "weight": strict().ones((4, 3, 3, 4), dtype=strict().float32), "engine": "simulated"}, ("array-api-strict", "'simulated'", "engine 'arrays'"), needs="array_api_strict"),
    ]  # fmt: skip
    return rows


ROWS = (
    no_arrays("x", DOORS)
    + [row for argument in ("weight", "bias", "scale", "residual") for row in no_arrays(argument, ("conv2d",))]
    + dtypes("x", (1, 5, 6, 4), DOORS)
    + [row for argument, shape in (("weight", (4, 3, 3, 4)), ("bias", (4,)), ("residual", (1, 3, 4, 4))) for row in dtypes(argument, shape, ("conv2d",))]
    + memories() + shapes() + groups() + conv_dtypes() + pool_problems() + outputs() + torch_rows()
)  # fmt: skip
