"""Bad calls, one table: plans, their calls, and the questions output_size, explain, parse and indices_to_*."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from bad_calls_arrays import Producer, dtypes, no_arrays
from bad_calls_numbers import NO_COUNT, NO_INTEGER, STRING, table
from bad_calls_rows import BASES, Evil, Row, filters, floats, image

import atrous

#: what is no shape of four sizes: name, value, words
NO_SHAPE: list[tuple[str, Any, tuple[str, ...]]] = [
    ("none", None, ("x_shape is None", "four sizes (N, H, W, C)")),
    ("number", 5, ("x_shape is 5", "int", "four sizes")),
    ("string", "1564", ("x_shape is '1564'", "str", "four sizes")),
    ("dict", {"N": 1}, ("dict", "four sizes")),
    ("empty", (), ("x has shape ()", "0 dimensions", "4 dimensions (N, H, W, C)")),
    ("three", (5, 6, 4), ("x has shape (5, 6, 4)", "3 dimensions", "leading 1")),
    ("five", (1, 1, 5, 6, 4), ("x has shape (1, 1, 5, 6, 4)", "5 dimensions")),
    ("float size", (1, 5.0, 6, 4), ("x.shape[1]", "5.0", "float", "integer")),
    ("nan size", (1, 5, float("nan"), 4), ("x.shape[2]", "nan", "integer")),
    ("string size", (1, 5, 6, "4"), ("x.shape[3]", "'4'", "str", "integer")),
    ("none size", (None, 5, 6, 4), ("x.shape[0]", "None", "integer")),
    ("bool size", (True, 5, 6, 4), ("x.shape[0]", "True", "bool")),
    ("negative size", (-1, 5, 6, 4), ("x.shape[0]", "-1", ">= 0")),
    ("size beyond int32", (1, 2**31, 6, 4), ("x.shape[1]", "2147483648", "below 2^31")),
    ("vast size", (1, 10**5000, 6, 4), ("x.shape[1]", "below 2^31")),
    ("an array itself", floats(4, 5, 6, 4), ("x.shape[0]", "ndarray", "integer")),
    ("nested", ((1, 5), (6, 4)), ("x has shape ((1, 5), (6, 4))", "2 dimensions")),
]


def torch() -> Any:
    return importlib.import_module("torch")


PLANS = [
    Row("plan_conv2d", "weight none", {"weight": None}, ("weight is of type NoneType", "an array")),
    Row("plan_conv2d", "bias another library", lambda given: {"bias": Producer(floats(4))}, ("weight is a NumPy array", "bias is a", "convert bias to NumPy")),
    Row("plan_conv2d", "residual an array", lambda given: {"residual": floats(1, 3, 4, 4)}, ("residual", "ndarray", "True or False")),
    Row(
        "plan_conv2d",
        "too many elements",
        {"x_shape": (2**20, 2**20, 2**20, 4)},
        ("x has shape (1048576, 1048576, 1048576, 4)", "2^60 elements"),
        operation="conv2d",
    ),
    Row(
        "plan_conv2d",
        "too many outputs",
        {"x_shape": (2**30, 2**14, 2**14, 1), "weight": floats(32, 1, 1, 1)},
        ("y has shape (1073741824, 16384, 16384, 32)", "2^60 elements"),
        operation="conv2d",
    ),
    Row("plan_conv2d", "dtype misspelt", {"dtype": "float23"}, ("dtype is 'float23'", "float32", "one of these names")),
    Row("plan_conv2d", "dtype of numpy that none takes", {"dtype": np.int16}, ("dtype is", "int16", "float32")),
    Row("plan_conv2d", "dtype not weight's", {"dtype": "float16"}, ("weight has dtype float32", "expected float16", "convert weight")),
    Row("plan_pool2d", "too many elements", {"x_shape": (2**31 - 1,) * 4}, ("x has shape", "2^60 elements"), operation="max_pool2d"),
    Row("plan_pool2d", "dtype none", {"dtype": None}, ("dtype is None", "float32", "inputs to come")),
    Row("plan_pool2d", "dtype misspelt", {"dtype": "f4"}, ("dtype is 'f4'", "float32")),
    Row("plan_pool2d", "dtype object", {"dtype": object}, ("dtype is <class 'object'>", "float32")),
    Row("plan_pool2d", "dtype evil", {"dtype": Evil()}, ("dtype is", "Evil", "float32")),
    Row("plan_pool2d", "dtype int32", {"dtype": "int32"}, ("dtype of x is 'int32'", "'float16'"), operation="max_pool2d"),
    Row("plan_pool2d", "average of int8", {"dtype": "int8", "kind": "avg"}, ("x is int8", "float16", "cast x"), atrous.UnsupportedProblem, "avg_pool2d"),
    Row("plan_pool2d", "option misspelt", {"strides": 2}, ("'strides'", "stride", "correct the name")),
    Row("plan_pool2d", "option of nothing", {"weighting": "gaussian"}, ("'weighting'", "correct the name")),
    Row("plan_pool2d", "weights of max", {"weights": "gaussian"}, ("weights is 'gaussian'", "'max'", "only with kind 'weighted'")),
    Row("plan_pool2d", "weights an array of max", {"weights": floats(2, 2)}, ("weights is array(", "'max'")),
    Row("plan_pool2d", "weights a table", {"kind": "weighted", "weights": [[1, 1], [1, 1]]}, ("weights is [[1, 1], [1, 1]]", "'gaussian'")),
    Row("plan_pool2d", "weights an array", {"kind": "weighted", "weights": floats(2, 2)}, ("weights is array(", "'gaussian'")),
    Row("plan_pool2d", "weights empty", {"kind": "weighted", "weights": ""}, ("weights is ''", "'gaussian'")),
    Row("plan_pool2d", "p of max", {"p": 3.0}, ("p is 3.0", "'max'", "only with kind 'lp'")),
    Row("plan_pool2d", "p of l2", {"kind": "l2", "p": 3.0}, ("p is 3.0", "'l2'", "only with kind 'lp'")),
    Row("plan_pool2d", "p none", {"kind": "lp", "p": None}, ("p is None", "real number")),
    Row("plan_pool2d", "p zero", {"kind": "lp", "p": 0}, ("p is 0", "p > 0"), operation="lp_pool2d"),
    Row("plan_pool2d", "sigma of max", {"sigma": 1.0}, ("sigma is 1.0", "only in weighted pooling", "drop sigma="), operation="max_pool2d"),
    Row("plan_pool2d", "divisor of max", {"divisor": 2.0}, ("divisor is 2.0", "only in avg pooling"), operation="max_pool2d"),
    Row("plan_pool2d", "nan of avg", {"kind": "avg", "nan": "omit"}, ("nan is 'omit'", "only in max pooling"), operation="avg_pool2d"),
    Row("plan_pool2d", "indices of avg", {"kind": "avg", "return_indices": True}, ("return_indices is True", "only in max pooling"), operation="avg_pool2d"),
    Row("plan_pool2d", "normalize of lp", {"kind": "lp", "normalize": "full"}, ("normalize is 'full'", "only in weighted pooling"), operation="lp_pool2d"),
    Row(
        "plan_pool2d",
        "include pad of rms",
        {"kind": "rms", "count_include_pad": True},
        ("count_include_pad is True", "only in avg pooling"),
        operation="rms_pool2d",
    ),
    Row("plan_pool2d", "window in padding", {"padding": 2}, ("window 0 along the rows", "a real cell"), operation="max_pool2d"),
    Row("plan_pool2d", "global with a stride", {"window": "global", "stride": 2}, ("'global'", "stride is")),
    Row("plan_pool2d", "kernel on arrays", {"kernel": "pool"}, ("'pool'", "'arrays'", "no kernels"), operation="max_pool2d"),
]


def making() -> list[Row]:
    rows = [Row(function, f"x_shape {name}", {"x_shape": value}, words) for function in ("plan_conv2d", "plan_pool2d") for name, value, words in NO_SHAPE]
    for function, at in (("conv for_input", "conv2d"), ("pool for_input", "max_pool2d")):
        rows += [Row(function, f"x_shape {name}", {"x_shape": value}, words, operation=at) for name, value, words in NO_SHAPE]
        rows.append(Row(function, "x_shape too small", {"x_shape": (1, 1, 6, 4)}, ("rows", "floor((1 + 0 + 0 - "), operation=at))
        rows.append(Row(function, "x_shape no channels", {"x_shape": (1, 5, 6, 0)}, ("0",), operation=at))
    rows.append(
        Row("conv for_input", "x_shape of other channels", {"x_shape": (1, 7, 7, 5)}, ("weight has shape (4, 3, 3, 4)", "x has C = 5"), operation="conv2d")
    )
    rows += no_arrays("weight", ("plan_conv2d",)) + no_arrays("bias", ("plan_conv2d",)) + no_arrays("scale", ("plan_conv2d",))
    rows += dtypes("weight", (4, 3, 3, 4), ("plan_conv2d",))
    return rows + PLANS


CALLS = [
    Row(
        "conv plan",
        "x torch",
        lambda given: {"x": torch().ones(1, 5, 6, 4)},
        ("x is a torch array", "the plan's weight a NumPy array"),
        operation="conv2d",
        needs="torch",
    ),
    Row(
        "conv plan",
        "x requires grad",
        lambda given: {"x": torch().ones(1, 5, 6, 4, requires_grad=True)},
        ("x requires a gradient", "x.detach()"),
        operation="conv2d",
        needs="torch",
    ),
    Row(
        "conv plan",
        "x of another library",
        lambda given: {"x": Producer(image())},
        ("x is a bad_calls_arrays array", "the plan's weight a NumPy array"),
        operation="conv2d",
    ),
    Row(
        "conv plan",
        "residual unasked",
        lambda given: {"residual": floats(1, 3, 4, 4)},
        ("residual is given", "what was planned", "residual=True"),
        operation="conv2d",
    ),
    Row(
        "pool plan",
        "residual of a pooling",
        lambda given: {"residual": floats(1, 2, 3, 4)},
        ("residual is given", "no residual in a pooling", "drop residual="),
        operation="max_pool2d",
    ),
    Row("residual plan", "residual missing", {"residual": None}, ("residual is missing", "what was planned", "pass residual="), operation="conv2d"),
    Row(
        "residual plan",
        "residual of another shape",
        {"residual": floats(1, 3, 3, 4)},
        ("residual has shape (1, 3, 3, 4)", "(1, 3, 4, 4) (N, P, Q, K)"),
        operation="conv2d",
    ),
    Row(
        "residual plan",
        "residual of another dtype",
        {"residual": floats(1, 3, 4, 4, dtype="float16")},
        ("residual has dtype float16", "expected float32"),
        operation="conv2d",
    ),
    Row("residual plan", "residual a list", {"residual": [1]}, ("residual is of type list",), operation="conv2d"),
    Row(
        "residual plan",
        "residual torch",
        lambda given: {"residual": torch().ones(1, 3, 4, 4)},
        ("x is a NumPy array", "residual is a torch array"),
        operation="conv2d",
        needs="torch",
    ),
    Row("residual plan", "out residual turned", lambda given: {"out": given["residual"][:, ::-1]}, ("out shares memory with residual",), operation="conv2d"),
]


def calling() -> list[Row]:
    rows = []
    for function, at in (("conv plan", "conv2d"), ("residual plan", "conv2d"), ("pool plan", "max_pool2d")):
        shape = (1, 2, 3, 4) if at == "max_pool2d" else (1, 3, 4, 4)
        axes = "N, P, Q, C" if at == "max_pool2d" else "N, P, Q, K"

        def row(name, changes, *words, function=function, at=at, needs=""):
            return Row(function, name, changes, words, operation=at, needs=needs)

        rows += [Row(function, r.name, r.changes, r.words, operation=at) for r in no_arrays("x", (function,)) + dtypes("x", (1, 5, 6, 4), (function,))]
        rows += [
            row("x another size", {"x": floats(1, 5, 7, 4)}, "x has shape (1, 5, 7, 4)", "(1, 5, 6, 4) (N, H, W, C)"),
            row("x another batch", {"x": floats(2, 5, 6, 4)}, "x has shape (2, 5, 6, 4)", "(1, 5, 6, 4)"),
            row("x 3-d", {"x": floats(5, 6, 4)}, "x has shape (5, 6, 4)", "(1, 5, 6, 4)"),
            row("x float64", {"x": image().astype("float64")}, "x has dtype float64", "expected float32", "convert x to float32"),
            row("x int8", {"x": image().astype("int8")}, "x has dtype int8", "expected float32"),
            row("x masked", lambda given: {"x": np.ma.masked_array(image())}, "x is a masked array"),
            row("stream on a CPU", {"stream": 0}, "stream is 0", "on the CPU", "drop stream="),
            row("out of another shape", {"out": floats(1, 1, 1, 4)}, "out has shape (1, 1, 1, 4)", f"{shape} ({axes})"),
            row("out of another dtype", {"out": floats(*shape, dtype="float64")}, "out has dtype float64", "expected float32"),
            row("out read-only", lambda given, s=shape: {"out": np.broadcast_to(np.float32(0), s)}, "out is read-only"),
            row("out over x", lambda given, s=shape: {"out": given["x"][:, : s[1], : s[2]]}, "out shares memory with x"),
            row("out a list", {"out": []}, "out is of type list"),
            row("out torch", lambda given, s=shape: {"out": torch().zeros(*s)}, "x is a NumPy array", "out is a torch array", needs="torch"),
        ]
    return rows + CALLS


def asking() -> list[Row]:
    rows = table("output_size", "size", NO_INTEGER + NO_COUNT + [STRING, ("none", None, ("None",)), ("pair", (1, 1), ("(1, 1)",))])
    rows += table("output_size", "kernel", NO_INTEGER + NO_COUNT + [STRING, ("none", None, ("None",)), ("pair", (1, 1), ("(1, 1)",))])
    for argument in ("stride", "dilation"):
        rows += table("output_size", argument, NO_INTEGER + NO_COUNT + [STRING, ("pair", (1, 1), ("(1, 1)", "tuple", "integer"))])
    rows += table("output_size", "padding", [value for value in NO_INTEGER if value[0] != "dict"])
    rows += [
        Row("output_size", "padding misspelt", {"padding": "sane"}, ("padding is 'sane'", "'same'")),
        Row("output_size", "padding three", {"padding": (1, 1, 1)}, ("padding is (1, 1, 1)", "(low, high)")),
        Row("output_size", "padding none", {"padding": None}, ("padding is None", "integer")),
        Row("output_size", "padding nested", {"padding": ((1, 1), (1, 1))}, ("padding[0]", "(1, 1)", "integer")),
        Row("output_size", "window too large", {"kernel": 11}, ("floor((10 + 0 + 0 - 11) / 1) + 1 = 0", "at least 1", "smaller window")),
        Row("output_size", "dilated window too large", {"dilation": 5}, ("floor((10 + 0 + 0 - 11) / 1) + 1 = 0", "less dilation")),
        Row("output_size", "window far too large with a stride", {"kernel": 28, "stride": 3}, ("floor((10 + 0 + 0 - 28) / 3) + 1 = -5",)),
        Row("output_size", "all cropped", {"padding": (-5, -5)}, ("floor((10 + -5 + -5 - 3) / 1) + 1 = -2", "more padding")),
        Row("output_size", "ceil of nothing", {"kernel": 11, "ceil_mode": True, "stride": 2}, ("floor((10 + 0 + 0 - 11) / 2) + 1 = 0",)),
    ]
    for name, value in (("number", 5), ("none", None), ("list", []), ("bytes", b"n1"), ("array", floats(1)), ("class", atrous.Conv2dProblem)):
        rows.append(
            Row("explain", f"case a {name}", {"case_or_plan": value}, (f"case_or_plan is of type {type(value).__name__}", "a case string, a problem or a Plan"))
        )
        rows.append(Row("parse", f"case a {name}", {"case": value}, (f"of type {type(value).__name__}", "a str"), operation="case"))
    for name, value, words in (
        ("misspelt", "sm_8x", ("'sm_8x'", "sm_80")),
        ("unknown major", "sm_10", ("'sm_10'", "sm_80")),
        ("empty number", "sm_", ("'sm_'", "sm_80")),
        ("a product's name", "H100", ("'H100'", "sm_90")),
        ("empty", "", ("device is ''", "sm_80")),
        ("float", 1.0, ("device is 1.0", "float", "integer")),
        ("bool", True, ("device is True", "bool", "integer")),
        ("list", ["sm_80"], ("device is ['sm_80']", "list", "integer")),
        ("negative", -1, ("device is -1", ">= 0")),
        ("vast", 2**40, ("device is 1099511627776", "below 2^31")),
    ):  # fmt: skip
        rows.append(Row("explain", f"device {name}", {"device": value}, words))
    rows.append(Row("explain", "device not there", {"device": 99}, ("device 99", "a CUDA device of this machine", "architecture"), atrous.EngineUnavailable))
    for name, case, words in CASES:
        at = "case" if words[0] != "conv2d" and not words[0].endswith("_pool2d") else words[0]
        said = words if at == "case" else words[1:]
        rows.append(Row("parse", name, {"case": case}, said, operation=at))
        rows.append(Row("explain", f"case {name}", {"case_or_plan": case}, said, operation=at))
    return rows


#: case strings that name no problem: name, string, words; a first word such as "conv2d" is the name in the brackets
CASES: list[tuple[str, str, tuple[str, ...]]] = [
    ("empty", "", ("''", "n#c#h#w# first")),
    ("blank", "   ", ("n#c#h#w# first",)),
    ("prose", "a 3x3 convolution", ("'a 3x3 convolution'", "n#c#h#w# first")),
    ("no sizes", "nchw_k4r3s3", ("'nchw'", "n#c#h#w# first")),
    ("a size missing", "n1c4h5_k4r3s3", ("'n1c4h5'", "n#c#h#w# first")),
    ("a size twice", "n1n2c4h5w6_k4r3s3", ("'n1n2c4h5w6'", "n#c#h#w# first")),
    ("a letter too many", "n1c4h5w6d7_k4r3s3", ("'n1c4h5w6d7'",)),
    ("negative size", "n1c4h-5w6_k4r3s3", ("'n1c4h-5w6'",)),
    ("fraction", "n1c4h5.5w6_k4r3s3", ("'n1c4h5.5w6'",)),
    ("input alone", "n1c4h5w6", ("'n1c4h5w6'", "a kind of pooling second")),
    ("kind alone", "n1c4h5w6_max", ("'n1c4h5w6_max'", "its window third")),
    ("filter incomplete", "n1c4h5w6_k4r3", ("'k4r3'", "k#r#s# second")),
    ("filter with a size twice", "n1c4h5w6_k4r3s3s3", ("'k4r3s3s3'", "k#r#s# second")),
    ("filter letters", "n1c4h5w6_kkrs", ("'kkrs'", "k#r#s# second")),
    ("kind misspelt", "n1c4h5w6_mox_r2s2", ("'mox'", "max, avg, lp")),
    ("kind with a number", "n1c4h5w6_max3_r2s2", ("'max3'", "max, avg, lp")),
    ("two points in a number", "n1c4h5w6_lp1..2_r2s2", ("'lp1..2'", "max, avg, lp")),
    ("window missing", "n1c4h5w6_max_pad1", ("'pad1'", "r#s# or global third")),
    ("window misspelt", "n1c4h5w6_max_globall", ("'globall'", "r#s# or global third")),
    ("window incomplete", "n1c4h5w6_max_r2", ("'r2'", "r#s# or global third")),
    ("unknown word", "n1c4h5w6_k4r3s3_paddd1", ("'paddd1'", "a word of the case string", "pad1, stride2")),
    ("unknown dtype", "n1c4h5w6_k4r3s3_f17", ("'f17'", "a word of the case string")),
    ("empty word", "n1c4h5w6_k4r3s3__f32", ("''", "a word of the case string")),
    ("stride a word", "n1c4h5w6_k4r3s3_stridetwo", ("'stridetwo'",)),
    ("stride a fraction", "n1c4h5w6_k4r3s3_stride1.5", ("'stride1.5'",)),
    ("three strides", "n1c4h5w6_k4r3s3_stride1x2x3", ("'stride1x2x3'",)),
    ("three pads", "n1c4h5w6_k4r3s3_pad1:2:3", ("'pad1:2:3'",)),
    ("clip of words", "n1c4h5w6_k4r3s3_cliplow:high", ("'cliplow:high'",)),
    ("pooling word in a convolution", "n1c4h5w6_k4r3s3_ceil", ("'ceil'", "a word of the case string")),
    ("convolution word in a pooling", "n1c4h5w6_max_r2s2_relu", ("'relu'", "a word of the case string", "indices")),
    ("divisor a point", "n1c4h5w6_avg_r2s2_div.", ("'div.'", "a word of the case string")),
    ("divisor a word", "n1c4h5w6_avg_r2s2_divtwo", ("'divtwo'",)),
    ("very long", "n1c4h5w6_k4r3s3_" + "f32_" * 400, ("1616 characters", "at most 1000")),
    ("5000 digits", "n1c4h5w" + "9" * 5000 + "_k4r3s3", ("characters", "at most 1000")),
    ("groups 0", "n1c4h5w6_k4r3s3_g0", ("conv2d", "groups is 0", ">= 1")),
    ("groups 3", "n1c4h5w6_k4r3s3_g3", ("conv2d", "groups is 3", "C = 4", "K = 4")),
    ("stride 0", "n1c4h5w6_k4r3s3_stride0", ("conv2d", "stride[0] is 0", ">= 1")),
    ("dilation 0", "n1c4h5w6_k4r3s3_dil0", ("conv2d", "dilation[0] is 0", "1 means dense")),
    ("window too large", "n1c4h5w6_k4r7s3", ("conv2d", "spans 7 rows", "floor((5 + 0 + 0 - 7) / 1) + 1 = -1")),
    ("size beyond int32", "n1c4h5w99999999999_k4r3s3", ("conv2d", "x.shape[2]", "below 2^31")),
    ("precision of f16", "n1c4h5w6_k4r3s3_f16_tf32", ("conv2d", "precision is 'tf32'", "x is float16")),
    ("zero point of f32", "n1c4h5w6_k4r3s3_zp3", ("conv2d", "zero_point is 3")),
    ("clip of one", "n1c4h5w6_k4r3s3_clip1", ("conv2d", "1 number", "2 for clip")),
    ("relu of one", "n1c4h5w6_k4r3s3_relu1", ("conv2d", "1 number", "0 for relu")),
    ("reflect too far", "n1c4h5w6_k4r3s3_pad5_reflect", ("conv2d", "'reflect'", "at most 4")),
    ("average of int8 is unsaid", "n1c4h5w6_avg_r2s2_div0", ("avg_pool2d", "divisor is 0", "not 0")),
    ("p 0", "n1c4h5w6_lp0_r2s2", ("lp_pool2d", "p is 0", "p > 0")),
    ("sigma 0", "n1c4h5w6_gaussian0_r2s2", ("weighted_avg_pool2d", "sigma is 0", "> 0")),
    ("omit of avg", "n1c4h5w6_avg_r2s2_omit", ("avg_pool2d", "nan is 'omit'", "only in max pooling")),
    ("window 0", "n1c4h5w6_max_r0s2", ("max_pool2d", "window[0] is 0", ">= 1")),
    ("window in padding", "n1c4h5w6_max_r2s2_pad2", ("max_pool2d", "window 0 along the rows", "a real cell")),
    ("global with a stride", "n1c4h5w6_max_global_stride2", ("max_pool2d", "'global'", "stride is")),
]


def indexing() -> list[Row]:
    rows = []
    for function in ("indices_to_onnx", "indices_to_tf"):
        rows += no_arrays("indices", (function,))
        rows += [Row(function, f"x_shape {name}", {"x_shape": value}, words) for name, value, words in NO_SHAPE]
        rows += [
            Row(function, "layout misspelt", {"layout": "nchw"}, ("layout is 'nchw'", "'NCHW'")),
            Row(function, "layout none", {"layout": None}, ("layout is None", "'NCHW'")),
            Row(function, "indices float32", {"indices": floats(1, 2, 3, 4)}, ("indices has dtype float32", "int32 or int64")),
            Row(function, "indices int8", {"indices": floats(1, 2, 3, 4, dtype="int8")}, ("indices has dtype int8", "int32 or int64")),
            Row(function, "indices uint32", {"indices": floats(1, 2, 3, 4, dtype="uint32")}, ("indices has dtype uint32",)),
            Row(function, "indices 3-d", {"indices": floats(2, 3, 4, dtype="int32")}, ("shape (2, 3, 4)", "x (1, 5, 6, 4)", "N and C")),
            Row(function, "indices of another batch", {"indices": floats(2, 2, 3, 4, dtype="int32")}, ("shape (2, 2, 3, 4)", "N and C")),
            Row(function, "indices of other channels", {"indices": floats(1, 2, 3, 5, dtype="int32")}, ("shape (1, 2, 3, 5)", "N and C")),
            Row(function, "indices of another layout", {"layout": "NCHW"}, ("shape (1, 2, 3, 4)", "(NCHW)", "N and C")),
        ]
    rows += table(
        "indices_to_onnx",
        "storage_order",
        [value for value in NO_INTEGER if value[0] != "minus 2^40"]
        + [
            STRING,
            ("none", None, ("None", "integer")),
            ("two", 2, ("is 2", "0 or 1")),
            ("minus one", -1, ("is -1", ">= 0")),
            ("list", [0], ("[0]", "list", "integer")),
        ],
    )
    return rows


ROWS = making() + calling() + asking() + indexing()
assert {row.function for row in ROWS} <= set(BASES) and filters().size
