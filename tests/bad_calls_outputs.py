"""Bad calls, one table: outputs that cannot be written as asked, and arrays of torch and of array-api-strict."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from bad_calls_arrays import DOORS, LATE, Producer
from bad_calls_rows import Row, floats, image


def torch() -> Any:
    return importlib.import_module("torch")


def strict() -> Any:
    return importlib.import_module("array_api_strict")


def outputs_of(function: str) -> list[Row]:
    """Return rows in which one function is given an output that it cannot write."""
    at = LATE.get(function, "")
    shape = (1, 3, 4, 4) if function == "conv2d" else (1, 2, 3, 4)
    axes = "N, P, Q, K" if function == "conv2d" else "N, P, Q, C"

    def row(name, changes, *words):
        return Row(function, f"out {name}", changes, words, operation=at)

    def windows(given):
        flat = np.zeros(100, "float32")
        return {"out": np.lib.stride_tricks.as_strided(flat, shape, (0, 16, 8, 4))}

    def over_x(given):
        x = given["x"]
        return {"out": x[:, : shape[1], : shape[2]]}

    def read_only(given):
        out = np.zeros(shape, "float32")
        out.flags.writeable = False
        return {"out": out}

    return [
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
        row(
            "another library",
            lambda given, s=shape: {"out": Producer(floats(*s))},
            "x is a NumPy array",
            "out is a bad_calls_arrays array",
            "allocate out with NumPy",
        ),
        row("masked", lambda given, s=shape: {"out": np.ma.masked_array(floats(*s))}, "out is a masked array"),
        row("read-only", read_only, "out is read-only", "can be written", "writable out"),
        row("broadcast", lambda given, s=shape: {"out": np.broadcast_to(np.float32(0), s)}, "out", "read-only"),
        row("overlaps itself", windows, "out has strides", "share memory", "distinct", "allocate out afresh"),
        row("over x", over_x, "out shares memory with x", "of its own", "copy of x"),
    ]


def over_weight(given: dict[str, Any]) -> dict[str, Any]:
    return {"out": given["weight"].reshape(-1)[:48].reshape(1, 3, 4, 4)}


def over_bias(given: dict[str, Any]) -> dict[str, Any]:
    memory = np.zeros(48 + 3, "float32")
    return {"bias": memory[47:51], "out": memory[:48].reshape(1, 3, 4, 4)}


def shifted_residual(given: dict[str, Any]) -> dict[str, Any]:
    memory = np.zeros(49, "float32")
    return {"residual": memory[:48].reshape(1, 3, 4, 4), "out": memory[1:].reshape(1, 3, 4, 4)}


def turned_residual(given: dict[str, Any]) -> dict[str, Any]:
    memory = np.zeros((1, 3, 4, 4), "float32")
    return {"residual": memory, "out": memory[:, ::-1]}


def same_twice(given: dict[str, Any]) -> dict[str, Any]:
    memory = np.zeros((1, 2, 3, 4), "float32")
    return {"return_indices": True, "out": (memory, memory.view("int32"))}


SHARED = [
    Row("conv2d", "out over weight", over_weight, ("out shares memory with weight", "copy of weight")),
    Row("conv2d", "out over bias", over_bias, ("out shares memory with bias", "copy of bias")),
    Row("conv2d", "out over residual shifted", shifted_residual, ("out shares memory with residual", "only residual may be the output itself")),
    Row("conv2d", "out over residual turned", turned_residual, ("out shares memory with residual",)),
    Row(
        "max_pool2d",
        "out one array for two",
        {"return_indices": True, "out": floats(1, 2, 3, 4)},
        ("out is of type ndarray", "a pair (values, indices)", "out=(y, indices)"),
    ),
    Row("max_pool2d", "out a list for two", {"return_indices": True, "out": [1, 2]}, ("out is of type list", "a pair (values, indices)")),
    Row("max_pool2d", "out three for two", {"return_indices": True, "out": (1, 2, 3)}, ("out is of type tuple", "a pair (values, indices)")),
    Row("max_pool2d", "out none for indices", {"return_indices": True, "out": (floats(1, 2, 3, 4), None)}, ("out[1] is of type NoneType", "an array")),
    Row(
        "max_pool2d",
        "out int64 for indices",
        {"return_indices": True, "out": (floats(1, 2, 3, 4), floats(1, 2, 3, 4, dtype="int64"))},
        ("out[1] has dtype int64", "expected int32", "allocate out[1] as int32"),
    ),
    Row(
        "max_pool2d",
        "out indices too small",
        {"return_indices": True, "out": (floats(1, 2, 3, 4), floats(1, 2, 3, 3, dtype="int32"))},
        ("out[1] has shape (1, 2, 3, 3)", "(1, 2, 3, 4)"),
    ),
    Row("max_pool2d", "out the same twice", same_twice, ("out[1] shares memory with out", "of its own")),
]


TORCH = [
    Row(
        "conv2d",
        "x torch",
        lambda given: {"x": torch().ones(1, 5, 6, 4)},
        ("x is a torch array", "weight is a NumPy array", "convert weight to torch"),
        needs="torch",
    ),
    Row(
        "conv2d",
        "out torch",
        lambda given: {"out": torch().ones(1, 3, 4, 4)},
        ("x is a NumPy array", "out is a torch array", "allocate out with NumPy"),
        needs="torch",
    ),
    Row("max_pool2d", "out torch", lambda given: {"out": torch().ones(1, 2, 3, 4)}, ("x is a NumPy array", "out is a torch array"), needs="torch"),
    Row(
        "max_pool2d",
        "out torch view of x",
        lambda given: (lambda x: {"x": x, "out": x[:, :2, :3]})(torch().ones(1, 5, 6, 4)),
        ("out shares memory with x",),
        needs="torch",
    ),
    Row(
        "max_pool2d",
        "out torch expanded",
        lambda given: {"x": torch().ones(1, 5, 6, 4), "out": torch().zeros(1).expand(1, 2, 3, 4)},
        ("out has strides", "share memory"),
        needs="torch",
    ),
    Row(
        "plan_conv2d",
        "weight requires grad",
        lambda given: {"weight": torch().ones(4, 3, 3, 4, requires_grad=True)},
        ("weight requires a gradient", "weight.detach()"),
        needs="torch",
    ),
    Row(
        "conv2d",
        "x array-api-strict simulated",
        lambda given: {
            "x": strict().ones((1, 5, 6, 4), dtype=strict().float32),
            "weight": strict().ones((4, 3, 3, 4), dtype=strict().float32),
            "engine": "simulated",
        },
        ("array-api-strict", "'simulated'", "engine 'arrays'"),
        needs="array_api_strict",
    ),
]


def torch_rows() -> list[Row]:
    rows = []
    for function in DOORS:
        rows += [
            Row(
                function,
                "x requires grad",
                lambda given: {"x": torch().ones(1, 5, 6, 4, requires_grad=True)},
                ("x requires a gradient", "without one", "x.detach()"),
                needs="torch",
            ),
            Row(
                function,
                "x sparse",
                lambda given: {"x": torch().ones(1, 5, 6, 4).to_sparse()},
                ("x is a torch.sparse_coo tensor", "dense", "x.to_dense()"),
                needs="torch",
            ),
            Row(
                function,
                "x meta",
                lambda given: {"x": torch().ones(1, 5, 6, 4, device="meta")},
                ("x is on the device 'meta'", "'cpu' or 'cuda'", "move x"),
                needs="torch",
            ),
            Row(
                function,
                "x torch complex",
                lambda given: {"x": torch().ones(1, 5, 6, 4, dtype=torch().complex64)},
                ("x has dtype complex64", "float16"),
                needs="torch",
            ),
            Row(function, "x torch bool", lambda given: {"x": torch().ones(1, 5, 6, 4, dtype=torch().bool)}, ("x has dtype bool", "float16"), needs="torch"),
            Row(
                function,
                "x torch 5-d",
                lambda given: {"x": torch().ones(1, 1, 5, 6, 4), **({"weight": torch().ones(4, 3, 3, 4)} if "weight" in given else {})},
                ("x has shape (1, 1, 5, 6, 4)", "5 dimensions"),
                needs="torch",
            ),
        ]
    mixed = ("x is a NumPy array", "is a torch array", "one library", "to NumPy")
    for argument, shape in (("weight", (4, 3, 3, 4)), ("bias", (4,)), ("scale", (4,)), ("residual", (1, 3, 4, 4))):
        rows.append(Row("conv2d", f"{argument} torch", lambda given, a=argument, s=shape: {a: torch().ones(*s)}, (argument, *mixed), needs="torch"))
        rows.append(
            Row(
                "conv2d",
                f"{argument} array-api-strict",
                lambda given, a=argument, s=shape: {a: strict().ones(s, dtype=strict().float32)},
                (argument, mixed[0], "is a array-api-strict array", mixed[2]),
                needs="array_api_strict",
            )
        )
    return rows + TORCH


ROWS = [row for function in DOORS for row in outputs_of(function)] + SHARED + torch_rows()
