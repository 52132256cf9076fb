"""Bad calls, one table: numbers and words that are no stride, padding, window, group count, name or flag."""

from __future__ import annotations

from typing import Any

import numpy as np
from bad_calls_rows import POOLS, Evil, Row

import atrous

#: what is no integer, wherever one is wanted: name, value, words of the refusal
NO_INTEGER: list[tuple[str, Any, tuple[str, ...]]] = [
    ("float", 2.0, ("2.0", "float", "integer")),
    ("fraction", 1.5, ("1.5", "float", "integer")),
    ("nan", float("nan"), ("nan", "float", "integer")),
    ("infinity", float("inf"), ("inf", "float", "integer")),
    ("true", True, ("True", "bool", "integer")),
    ("numpy bool", np.True_, ("True", "bool", "integer")),
    ("numpy float", np.float32(2), ("2.0", "float32", "integer")),
    ("complex", 2j, ("2j", "complex", "integer")),
    ("bytes", b"2", ("b'2'", "bytes", "integer")),
    ("dict", {"h": 1}, ("dict", "integer")),
    ("set", {2}, ("{2}", "set", "integer")),
    ("array", np.array([1, 2]), ("array([1, 2])", "ndarray", "integer")),
    ("evil", Evil(), ("Evil", "integer")),
    ("beyond int32", 2**31, ("2147483648", "below 2^31")),
    ("5000 digits", 10**5000, ("int", "below 2^31")),
    ("minus 2^40", -(2**40), ("-1099511627776", "below 2^31")),
]
NO_COUNT = [("zero", 0, ("is 0", ">= 1")), ("minus one", -1, ("is -1", ">= 1")), ("numpy zero", np.int64(0), ("is 0", ">= 1"))]
NO_PAIR: list[tuple[str, Any, tuple[str, ...]]] = [
    ("empty tuple", (), ("()", "0 entries", "pair")),
    ("one entry", [2], ("[2]", "1 entry", "pair")),
    ("three entries", (1, 2, 3), ("(1, 2, 3)", "3 entries", "pair")),
    ("nested", ((1, 2), (3, 4)), ("[0]", "(1, 2)", "tuple", "integer")),
    ("second a float", (1, 2.0), ("[1]", "2.0", "float", "integer")),
    ("second none", (1, None), ("[1]", "None", "NoneType", "integer")),
    ("first zero", (0, 1), ("[0]", "is 0", ">= 1")),
    ("second zero", (1, 0), ("[1]", "is 0", ">= 1")),
    ("second negative", (1, -3), ("[1]", "is -3", ">= 1")),
]
STRING = ("string", "2", ("'2'",))
NO_PADDING: list[tuple[str, Any, tuple[str, ...]]] = [
    ("none", None, ("None", "NoneType", "integer")),
    ("misspelt", "sane", ("'sane'", "'valid'", "'same'")),
    ("upper case", "SAME", ("'SAME'", "'same'")),
    ("empty word", "", ("''", "'valid'")),
    ("one misspelt of two", ("same", "ful"), ("padding[1]", "'ful'", "'full'")),
    ("four numbers", (1, 1, 2, 2), ("4 entries", "((top, bottom), (left, right))", "two pairs")),
    ("three pairs", ((1, 1), (1, 1), (1, 1)), ("3 entries", "((top, bottom), (left, right))")),
    ("empty", (), ("0 entries", "((top, bottom), (left, right))")),
    ("short pair", ((1, 1), (1,)), ("padding[1]", "(1,)", "(low, high)")),
    ("long pair", ((1, 1, 1), (1, 1)), ("padding[0]", "(1, 1, 1)", "(low, high)")),
    ("nested float", ((1, 1.5), (0, 0)), ("padding[0][1]", "1.5", "float", "integer")),
    ("nested none", ((0, 0), (None, 0)), ("padding[1][0]", "None", "integer")),
    ("nested bool", ((0, 0), (0, True)), ("padding[1][1]", "True", "bool", "integer")),
    ("too deep", (((1,), 1), (1, 1)), ("padding[0][0]", "(1,)", "tuple", "integer")),
    ("whole row cropped", ((-3, -2), (0, 0)), ("5 rows", "(-3, -2)", "at least one cell left")),
    ("whole column cropped", (0, (-6, 0)), ("6 columns", "(-6, 0)", "at least one cell left")),
    ("window beyond the crop", ((0, -4), (0, 0)), ("rows", "the padded input has 1", "floor((5 + 0 + -4 - 3) / ", "at least 1")),
    ("beyond int32 together", ((2**31 - 1, 2**31 - 1), (0, 0)), ("rows", "2147483647", "below 2^31")),
]
NO_FLAG: list[tuple[str, Any, tuple[str, ...]]] = [
    ("one", 1, ("is 1", "int", "True or False")),
    ("word", "yes", ("'yes'", "str", "True or False")),
    ("none", None, ("None", "True or False")),
    ("array", np.array([True, False]), ("array([ True, False])", "ndarray", "True or False")),
]
NO_NUMBER: list[tuple[str, Any, tuple[str, ...]]] = [
    ("nan", float("nan"), ("NaN", "real number")),
    ("numpy nan", np.float32("nan"), ("NaN", "real number")),
    ("string", "1", ("'1'", "str", "real number")),
    ("bool", True, ("True", "bool", "real number")),
    ("numpy bool", np.True_, ("True", "bool", "real number")),
    ("complex", 1j, ("1j", "complex", "real number")),
    ("list", [1.0], ("[1.0]", "list", "real number")),
    ("array", np.array([1.0]), ("array([1.])", "ndarray", "real number")),
    ("too large", 10**400, ("int", "real number")),
    ("object", object(), ("object", "real number")),
]
#: what is no word, wherever one is wanted
NO_WORD: list[tuple[str, Any, tuple[str, ...]]] = [
    ("misspelt", "xyz", ("'xyz'",)),
    ("number", 3, ("is 3",)),
    ("list", ["NHWC"], ("['NHWC']",)),
    ("empty", "", ("''",)),
    ("bytes", b"NHWC", ("b'NHWC'",)),
    ("array", np.array(["NHWC", "NCHW"]), ("array(",)),
]

WINDOWED = ("conv2d", *POOLS, "plan_conv2d", "plan_pool2d")
CONVOLUTIONS = ("conv2d", "plan_conv2d")
#: the name in the brackets where a problem, and not the function that was called, refuses
PROBLEM_NAMES = {"plan_conv2d": "conv2d", "plan_pool2d": "max_pool2d", "l2_pool2d": "lp_pool2d"}


def table(functions: Any, argument: str, values: Any, *more: str, error: type[Exception] = atrous.ProblemError, operation: str = "") -> list[Row]:
    """Return a row for each function and value of one argument."""
    rows = []
    for function in (functions,) if isinstance(functions, str) else functions:
        for name, value, words in values:
            rows.append(Row(function, f"{argument} {name}", {argument: value}, (argument, *words, *more), error, operation))
    return rows


def numbers() -> list[Row]:
    rows = []
    for argument in ("stride", "dilation"):
        rows += table(WINDOWED, argument, NO_INTEGER + NO_COUNT + NO_PAIR + [STRING])
    rows += table("conv2d", "stride", [("none", None, ("None", "NoneType", "integer"))])
    rows += table(CONVOLUTIONS, "dilation", [("0 is not dense", 0, ("1 means dense",))])
    of_problem = ("whole", "window beyond", "beyond int32 together")
    for function in WINDOWED:
        for row in table(function, "padding", [value for value in NO_INTEGER if value[0] != "dict"] + NO_PADDING):
            late = row.name.removeprefix("padding ").startswith(of_problem)
            window = {"window": 3} if late and function not in CONVOLUTIONS else {}
            words = row.words if not late or "cropped" in row.name else row.words[1:]
            rows.append(Row(function, row.name, {**row.changes, **window}, words, operation=PROBLEM_NAMES.get(function, "") if late else ""))
    for argument in ("groups", "zero_point", "out_zero_point"):
        rows += table(CONVOLUTIONS, argument, [*NO_INTEGER, STRING, ("pair", (1, 1), ("(1, 1)", "tuple", "integer"))])
    rows += table(CONVOLUTIONS, "groups", [NO_COUNT[0], NO_COUNT[1]])
    pools = (*POOLS, "plan_pool2d")
    rows += table(
        pools,
        "window",
        [
            (n, v, w[:-1] if n in ("float", "fraction", "nan", "infinity", "numpy float", "complex", "bytes", "dict", "set", "evil") else w)
            for n, v, w in NO_INTEGER
            if n not in ("numpy bool", "array")
        ],
    )
    rows += table(
        pools, "window", NO_COUNT + NO_PAIR + [("misspelt", "globall", ("'globall'", "'global'", "pair")), ("none", None, ("None", "'global'", "pair"))]
    )
    for argument in ("ceil_mode",):
        rows += table((*pools, "output_size"), argument, NO_FLAG)
    rows += table(("max_pool2d", "plan_pool2d"), "return_indices", NO_FLAG)
    rows += table("avg_pool2d", "count_include_pad", NO_FLAG)
    rows += table("plan_conv2d", "residual", [(n, v, w[-1:]) for n, v, w in NO_FLAG])
    rows += table("indices_to_tf", "include_batch", NO_FLAG)
    return rows


def real_numbers() -> list[Row]:
    rows = table("lp_pool2d", "p", [*NO_NUMBER, ("none", None, ("None", "real number"))])
    rows += table(
        "lp_pool2d",
        "p",
        [("zero", 0, ("p is 0", "p > 0")), ("negative", -2.0, ("p is -2", "p > 0")), ("minus infinity", float("-inf"), ("p is -inf", "p > 0"))],
    )
    rows += table("avg_pool2d", "divisor", NO_NUMBER)
    rows += table(
        "avg_pool2d", "divisor", [("zero", 0, ("divisor is 0", "not 0")), ("minus zero", -0.0, ("not 0",)), ("infinity", float("inf"), ("inf", "finite"))]
    )
    rows += table("weighted_avg_pool2d", "sigma", NO_NUMBER)
    sigmas = [("zero", 0.0, ("sigma is 0", "> 0")), ("negative", -1, ("sigma is -1", "> 0")), ("infinity", float("inf"), ("sigma is inf", "finite"))]
    rows += table("weighted_avg_pool2d", "sigma", sigmas)
    for function in CONVOLUTIONS:
        for name, value, words in NO_NUMBER:
            rows.append(Row(function, f"slope {name}", {"activation": ("leaky_relu", value)}, ("activation[1]", *words)))
        rows += table(function, "activation", [
            ("misspelt", "reluu", ("'reluu'", "'relu'", "'hardswish'")),
            ("number", 5, ("is 5", "'relu'")),
            ("empty tuple", (), ("empty tuple", "name")),
            ("dict", {"relu": 1}, ("{'relu': 1}", "'relu'")),
            ("function", max, ("built-in", "'relu'")),
            ("relu with a number", ("relu", 1.0), ("1 number", "0 for relu")),
            ("clip without numbers", "clip", ("0 numbers", "2 for clip")),
            ("clip with one", ("clip", 1), ("1 number", "2 for clip")),
            ("clip with three", ("clip", 0, 1, 2), ("3 numbers", "2 for clip")),
            ("clip upside down", ("clip", 6, 0), ("[6.0, 0.0]", "low <= high")),
            ("clip to words", ("clip", "low", "high"), ("activation[1]", "'low'", "real number")),
            ("clip to none", ("clip", None, None), ("activation[1]", "None", "real number")),
            ("leaky with two", ("leaky_relu", 0.1, 0.2), ("2 numbers", "0 to 1 for leaky_relu")),
            ("nested", (("relu",),), ("('relu',)", "'relu'")),
        ])  # fmt: skip
    return rows


def names() -> list[Row]:
    rows = table(WINDOWED, "layout", NO_WORD, "'NHWC'", "'NCHW'")
    rows += table(WINDOWED, "layout", [("lower case", "nhwc", ("'nhwc'", "'NHWC'")), ("none", None, ("None", "'NHWC'"))])
    rows += table(CONVOLUTIONS, "weight_layout", NO_WORD, "KRSC")
    orders = [("lower case", "krsc"), ("three letters", "KRS"), ("five letters", "KRSCC"), ("a letter twice", "KRRC"), ("an image's", "NHWC")]
    rows += table(CONVOLUTIONS, "weight_layout", [(name, word, (word, "four letters", "KRSC")) for name, word in orders])
    rows += table(CONVOLUTIONS, "padding_mode", NO_WORD, "'zeros'", "'reflect'")
    rows += table(CONVOLUTIONS, "padding_mode", [("constant", "constant", ("'constant'", "'zeros'")), ("none", None, ("None", "'zeros'"))])
    rows += table(CONVOLUTIONS, "precision", NO_WORD, "'float32'", "'tf32'", "'strict'")
    rows += table(CONVOLUTIONS, "precision", [("high", "high", ("'high'", "'tf32'")), ("none", None, ("None", "'tf32'"))])
    rows += table(
        ("max_pool2d", "plan_pool2d"), "nan", [*NO_WORD, ("policy misspelt", "omitt", ("'omitt'",)), ("none", None, ("None",))], "'propagate'", "'omit'"
    )
    rows += table("weighted_avg_pool2d", "normalize", [*NO_WORD, ("none", None, ("None",))], "'valid'", "'full'")
    rows += table("plan_pool2d", "kind", [*NO_WORD, ("mean", "mean", ("'mean'",)), ("none", None, ("None",))], "'max'", "'weighted'")
    return rows


def engines() -> list[Row]:
    rows: list[Row] = []
    for function in WINDOWED:
        at = PROBLEM_NAMES.get(function, "")
        rows += table(
            function,
            "engine",
            [("misspelt", "gpu", ("'gpu'", "'compiled'", "'arrays'")), ("upper case", "Arrays", ("'Arrays'", "'arrays'")), ("empty", "", ("''", "'arrays'"))],
            operation=at,
        )
        rows += table(function, "engine", [("number", 1, ("is 1", "int", "name")), ("list", ["arrays"], ("['arrays']", "list", "name"))], operation=at)
    for function in ("conv2d", *POOLS):
        at = PROBLEM_NAMES.get(function, "")
        for engine in ("compiled", "runtime"):
            rows.append(
                Row(function, f"{engine} on a CPU", {"engine": engine}, (f"'{engine}'", "on cpu", "arrays, simulated", "cupy.asarray(x)"), operation=at)
            )
        for name, stream in (("zero", 0), ("word", "default"), ("object", object()), ("bool", True)):
            rows.append(Row(function, f"stream {name} on a CPU", {"stream": stream}, ("stream is", "on the CPU", "no stream", "drop stream="), operation=at))
    for function in CONVOLUTIONS:
        rows += [
            Row(function, "kernel on arrays", {"kernel": "conv_direct"}, ("'conv_direct'", "'arrays'", "no kernels", "engine='simulated'"), operation="conv2d"),
            Row(
                function,
                "kernel with engine arrays",
                {"kernel": "conv_direct", "engine": "arrays"},
                ("'conv_direct'", "'arrays'", "kernel engine"),
                operation="conv2d",
            ),
            Row(
                function,
                "kernel misspelt",
                {"kernel": "conv_direkt", "engine": "simulated"},
                ("'conv_direkt'", "'conv_direct'", "kernel=None"),
                operation="conv2d",
            ),
            Row(function, "kernel empty", {"kernel": "", "engine": "simulated"}, ("''", "'conv_direct'"), operation="conv2d"),
            Row(function, "kernel a number", {"kernel": 7}, ("kernel is 7", "int", "name"), operation="conv2d"),
            Row(function, "kernel a list", {"kernel": []}, ("kernel is []", "list", "name"), operation="conv2d"),
            Row(function, "kernel of pooling", {"kernel": "pool", "engine": "simulated"}, ("'pool'", "'conv_direct'"), operation="conv2d"),
            Row(
                function,
                "kernel declines",
                {"kernel": "conv_pointwise", "engine": "simulated"},
                ("conv_pointwise declines: the filter is 3x3", "1x1", "a problem"),
                atrous.UnsupportedProblem,
                operation="conv2d",
            ),
        ]
    rows.append(
        Row("plan_pool2d", "kernel of convolution", {"kernel": "conv_direct", "engine": "simulated"}, ("'conv_direct'", "'pool'"), operation="max_pool2d")
    )
    return rows


ROWS = numbers() + real_numbers() + names() + engines()
