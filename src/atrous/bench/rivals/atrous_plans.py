"""atrous itself: the functional call, which checks, chooses and allocates every time, and a plan with its output given."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import atrous

from ...errors import UnsupportedProblem
from ...problem import Conv2dProblem, ConvPool2dProblem, Pool2dProblem
from ...testing import Inputs
from ..contest import Contestant, Unsupported, sets_of
from .shared import captured_by_cupy, sets_like

NAME = "atrous"


def available(device: str) -> str | None:
    """Return None; on "cuda" the sentence why no CUDA engine, or no CuPy to hold arrays, is there."""
    if device == "cpu":
        return None
    if importlib.util.find_spec("cupy") is None:
        return "CuPy, which holds its arrays on a GPU here, is not installed (pip install atrous[cu13])"
    return None if importlib.import_module("cupy").cuda.is_available() else "no CUDA device"


def version() -> str:
    """Return the version of atrous."""
    return atrous.__version__


def contestants(problem: Any, inputs: Inputs, device: str, engine: str | None = None) -> list[Contestant]:
    """Return the functional call and the plan, on NumPy arrays or on CuPy's; `engine` names one for both."""
    where = _Gpu() if device == "cuda" else _Cpu()
    count = sets_of(problem, inputs) if device == "cuda" else 1
    sets = sets_like(where.carry(inputs), count, lambda array: array.copy())
    try:
        found = [_functional(problem, sets[0], where, engine)]
        if getattr(problem, "weighting", "") != "custom":  # a plan takes a named weighting, a function any table
            found.append(_planned(problem, sets, where, engine))
    except UnsupportedProblem as refusal:
        raise Unsupported(str(refusal)) from None
    return found


class _Cpu:
    """NumPy arrays, computed before the call returns."""

    capture = None

    def carry(self, inputs: Inputs) -> dict[str, Any]:
        return dict(inputs)

    def fetch(self, array: Any) -> Any:
        return np.asarray(array)

    def wait(self) -> None:
        """Return: there is nothing to wait for."""


class _Gpu:
    """CuPy arrays."""

    def __init__(self) -> None:
        self.cupy = importlib.import_module("cupy")

    def carry(self, inputs: Inputs) -> dict[str, Any]:
        return {name: self.cupy.array(array) for name, array in inputs.items()}

    def fetch(self, array: Any) -> Any:
        return self.cupy.asnumpy(array)

    def wait(self) -> None:
        self.cupy.cuda.runtime.deviceSynchronize()

    def capture(self, calls: Sequence[Callable[[], Any]], spoil: Callable[[], Any], output: Callable[[], Any]) -> tuple[Callable[[], Any], Callable[[], Any]]:
        """Return the replay of a CUDA graph of calls that write to given outputs, which are spoiled first."""
        replay = captured_by_cupy(self.cupy, calls)
        spoil()
        self.wait()
        return replay, output


def _functional(problem: Any, operands: dict[str, Any], where: Any, engine: str | None) -> Contestant:
    door = functional(problem, operands, engine)
    last: list[Any] = [None]

    def call() -> None:
        last[0] = door()

    return Contestant(NAME, call, lambda: where.fetch(last[0][0] if isinstance(last[0], tuple) else last[0]), wait=where.wait)


def _planned(problem: Any, sets: list[dict[str, Any]], where: Any, engine: str | None) -> Contestant:
    runs, outs = [], []
    for operands in sets:
        plan = planned(problem, operands, engine)
        y = plan(operands["x"], residual=operands["residual"]) if "residual" in operands else plan(operands["x"])
        words = {"residual": operands["residual"]} if "residual" in operands else {}
        runs.append(functools.partial(plan, operands["x"], out=y, **words))
        outs.append(y[0] if isinstance(y, tuple) else y)

    def spoil() -> None:
        for y in outs:
            y.view("uint8")[...] = 0x77

    graph = None if where.capture is None else lambda calls: where.capture(calls, spoil, lambda: where.fetch(outs[-1]))
    kernel = f"{plan.kernel} ({plan.engine})"
    return Contestant(f"{NAME} plan", runs[0], lambda: where.fetch(outs[0]), kernel, rotate=runs, capture=graph, wait=where.wait)


def _window_words(problem: Any) -> dict[str, Any]:
    return dict(stride=problem.stride, dilation=problem.dilation, padding=(problem.pads[:2], problem.pads[2:]))


def conv_words(problem: Conv2dProblem) -> dict[str, Any]:
    """Return the words of `conv2d` that mean a problem."""
    names = ("groups", "padding_mode", "layout", "weight_layout", "activation", "precision", "out_dtype", "zero_point", "out_zero_point")
    return _window_words(problem) | {name: getattr(problem, name) for name in names}


def pooled_words(problem: ConvPool2dProblem) -> dict[str, Any]:
    """Return the words of `conv2d_pool2d` that mean a problem."""
    pool = problem.pool
    own = {f"pool_{name}": value for name, value in _window_words(pool).items()}
    words = dict(pool=pool.kind, window=(pool.r, pool.s), ceil_mode=pool.ceil_mode, nan=pool.nan)
    return conv_words(problem.conv) | own | words | dict(count_include_pad=pool.count_include_pad, divisor=pool.divisor)


def pool_words(problem: Pool2dProblem) -> dict[str, Any]:
    """Return the words of a pooling function that mean a problem, but its window."""
    options: dict[str, tuple[tuple[str, str], ...]] = {
        "max": (("nan", "nan"), ("return_indices", "return_indices")),
        "avg": (("count_include_pad", "count_include_pad"), ("divisor", "divisor")),
        "lp": (("p", "power"),),
        "weighted": (("sigma", "sigma"), ("normalize", "normalize")),
    }
    own = {word: getattr(problem, name) for word, name in options.get(problem.kind, ())}
    return _window_words(problem) | own | dict(ceil_mode=problem.ceil_mode, layout=problem.layout)


def functional(problem: Any, operands: dict[str, Any], engine: str | None) -> Callable[[], Any]:
    """Return the functional call of a problem on its operands."""
    if isinstance(problem, Pool2dProblem):
        name = {"weighted": "weighted_avg_pool2d"}.get(problem.kind, f"{problem.kind}_pool2d")
        words = pool_words(problem) | dict(engine=engine)
        if problem.kind == "weighted":
            words["weights"] = operands.get("tap_weight", problem.weighting)
        return functools.partial(getattr(atrous, name), operands["x"], (problem.r, problem.s), **words)
    pair = isinstance(problem, ConvPool2dProblem)
    words = (pooled_words(problem) if pair else conv_words(problem)) | dict(engine=engine)
    words |= {name: operands[name] for name in ("scale", "residual") if name in operands}
    door = atrous.conv2d_pool2d if pair else atrous.conv2d
    return functools.partial(door, operands["x"], operands["weight"], operands.get("bias"), **words)


def planned(problem: Any, operands: dict[str, Any], engine: str | None) -> Any:
    """Return the plan of a problem with its weight, scale and bias."""
    if isinstance(problem, Pool2dProblem):
        words = pool_words(problem) | dict(engine=engine, dtype=problem.dtype)
        if problem.kind == "weighted":
            words["weights"] = problem.weighting
        return atrous.plan_pool2d(problem.x_shape, (problem.r, problem.s), problem.kind, **words)
    pair = isinstance(problem, ConvPool2dProblem)
    words = (pooled_words(problem) if pair else conv_words(problem)) | dict(engine=engine, residual=problem.residual)
    door = atrous.plan_conv2d_pool2d if pair else atrous.plan_conv2d
    return door(problem.x_shape, operands["weight"], operands.get("bias"), scale=operands.get("scale"), **words)
