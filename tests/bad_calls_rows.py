"""The form of a row in the tables of bad calls, and the good call that each row spoils."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import atrous

POOLS = ("max_pool2d", "avg_pool2d", "lp_pool2d", "l2_pool2d", "rms_pool2d", "weighted_avg_pool2d")
CASE = "n1c4h5w6_k4r3s3_f32"


@dataclass(frozen=True)
class Row:
    """One bad call: a good call of `function` with `changes`, and what the refusal must say."""

    function: str
    name: str
    changes: Any  # a dict, or a function of the good call's arguments that returns one
    words: tuple[str, ...]
    error: type[Exception] = atrous.ProblemError
    operation: str = ""  # what stands in the brackets; default the function's name
    needs: str = ""  # module without which the call cannot be made

    @property
    def identity(self) -> str:
        return f"{self.function}-{self.name}".replace(" ", "_")

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the bad call, every array new."""
        given = BASES[self.function]()
        return {**given, **(self.changes(given) if callable(self.changes) else self.changes)}


def floats(*shape: int, dtype: str = "float32") -> np.ndarray:
    """Return small whole numbers of a dtype."""
    return (np.arange(np.prod(shape, dtype=int)) % 5).reshape(shape).astype(dtype)


def image() -> np.ndarray:
    return floats(1, 5, 6, 4)


def filters() -> np.ndarray:
    return floats(4, 3, 3, 4)


def mixed() -> dict[str, np.ndarray]:
    return {"depthwise_weight": floats(4, 3, 3, 1), "pointwise_weight": floats(5, 1, 1, 4)}


#: function -> the arguments of a good call of it; "plan" is what plan() is called on
BASES: dict[str, Callable[[], dict[str, Any]]] = {
    "conv2d": lambda: {"x": image(), "weight": filters()},
    **{name: lambda: {"x": image(), "window": 2} for name in POOLS},
    "conv2d_pool2d": lambda: {"x": image(), "weight": filters()},
    "plan_conv2d_pool2d": lambda: {"x_shape": (1, 5, 6, 4), "weight": filters()},
    "separable_conv2d": lambda: {"x": image(), **mixed()},
    "plan_separable_conv2d": lambda: {"x_shape": (1, 5, 6, 4), **mixed()},
    "plan_conv2d": lambda: {"x_shape": (1, 5, 6, 4), "weight": filters()},
    "plan_pool2d": lambda: {"x_shape": (1, 5, 6, 4), "window": 2, "kind": "max", "dtype": "float32"},
    "conv plan": lambda: {"plan": atrous.plan_conv2d((1, 5, 6, 4), filters()), "x": image()},
    "pooled plan": lambda: {"plan": atrous.plan_conv2d_pool2d((1, 5, 6, 4), filters()), "x": image()},
    "separable plan": lambda: {"plan": atrous.plan_separable_conv2d((1, 5, 6, 4), **mixed()), "x": image()},
    "residual plan": lambda: {"plan": atrous.plan_conv2d((1, 5, 6, 4), filters(), residual=True), "x": image(), "residual": floats(1, 3, 4, 4)},
    "pool plan": lambda: {"plan": atrous.plan_pool2d((1, 5, 6, 4), 2, "max", dtype="float32"), "x": image()},
    "conv for_input": lambda: {"resized": atrous.plan_conv2d((1, 5, 6, 4), filters()), "x_shape": (1, 7, 7, 4)},
    "pool for_input": lambda: {"resized": atrous.plan_pool2d((1, 5, 6, 4), 2, "max", dtype="float32"), "x_shape": (1, 7, 7, 4)},
    "output_size": lambda: {"size": 10, "kernel": 3},
    "explain": lambda: {"case_or_plan": CASE},
    "parse": lambda: {"case": CASE},
    "indices_to_onnx": lambda: {"indices": np.zeros((1, 2, 3, 4), "int32"), "x_shape": (1, 5, 6, 4)},
    "indices_to_tf": lambda: {"indices": np.zeros((1, 2, 3, 4), "int32"), "x_shape": (1, 5, 6, 4)},
}

#: function -> shape of the output of its good call, for those that take out=
OUT_SHAPES = {
    "conv2d": (1, 3, 4, 4),
    "conv2d_pool2d": (1, 1, 2, 4),
    "pooled plan": (1, 1, 2, 4),
    "separable_conv2d": (1, 3, 4, 5),
    "separable plan": (1, 3, 4, 5),
    **dict.fromkeys(POOLS, (1, 2, 3, 4)),
    "conv plan": (1, 3, 4, 4),
    "residual plan": (1, 3, 4, 4),
    "pool plan": (1, 2, 3, 4),
}


def make(arguments: dict[str, Any], function: str) -> Any:
    """Make the call."""
    given = dict(arguments)
    if "plan" in given:
        return given.pop("plan")(**given)
    if "resized" in given:
        return given.pop("resized").for_input(**given)
    return getattr(atrous, function)(**given)


class Evil:
    """An object that even refuses to be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")
