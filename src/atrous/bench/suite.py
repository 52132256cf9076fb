"""The cases that are measured: networks as files of layers, one problem at another batch, dtype or layout, and its family."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..arguments import DTYPES, FLOAT_DTYPES, INPUT_DTYPES
from ..errors import ProblemError, sentence, shown
from ..problem import WEIGHT_LAYOUT, Conv2dProblem, ConvPool2dProblem, ElementwiseProblem, Pool2dProblem, SeparableConv2dProblem, parse

Problem = Conv2dProblem | Pool2dProblem | ConvPool2dProblem

_PACKAGE = Path(__file__).resolve().parents[1]
#: in an installed package and in a source tree
_FOLDERS = (_PACKAGE / "cases", _PACKAGE.parents[1] / "cases")
#: files of cases that are no network's layers
NOT_NETWORKS = ("pooled", "regressions", "traps", "worked")
#: what a case file is called on a command line: net_resnet50 is cases/resnet50.txt
PREFIX = "net_"

FAMILIES = (
    "conv3x3", "conv1x1", "conv1x1_strided", "conv_strided", "dilated", "conv_other", "first_layer",
    "depthwise", "depthwise_7x7", "depthwise_large", "grouped", "conv_pool",
    "pool_max", "pool_avg", "pool_global", "pool_lp", "pool_weighted",
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """One line of a case file: a problem at batch 1, and how often the network has it."""

    name: str  # with the file's: "resnet50/conv1"
    case: str
    count: int

    @property
    def net(self) -> str:
        """Name of the file."""
        return self.name.partition("/")[0]

    @property
    def problem(self) -> Problem:
        """What the case string says."""
        problem = parse(self.case)
        if isinstance(problem, (ElementwiseProblem, SeparableConv2dProblem)):
            raise ProblemError(sentence("bench", f"{self.name} is {self.case}", "one convolution or a pooling, or both", "leave it out"))
        return problem


def folder() -> Path:
    """Return where the case files are."""
    found = next((path for path in _FOLDERS if path.is_dir()), None)
    if found is None:
        raise ProblemError(sentence("bench", f"there is no folder {' or '.join(map(str, _FOLDERS))}", "the case files", "install atrous again"))
    return found


def networks() -> tuple[str, ...]:
    """Return the names of the networks, in the order of the alphabet."""
    return tuple(path.stem for path in sorted(folder().glob("*.txt")) if path.stem not in NOT_NETWORKS)


def read(name_or_path: str | Path) -> list[Layer]:
    """Return the layers of a case file: "net_resnet50", "resnet50" or a path.

    Raises
    ------
    ProblemError
        If there is no such file, or a line of it is not "name  case  xN  # why".
    """
    path = Path(name_or_path)
    if path.suffix != ".txt":
        path = folder() / f"{str(name_or_path).removeprefix(PREFIX)}.txt"
    if not path.is_file():
        known = ", ".join(PREFIX + name for name in networks())
        raise ProblemError(sentence("bench", f"no case file {shown(str(name_or_path))}", f"one of {known}, or a path ending in .txt", "correct the name"))
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        count = words[2] if len(words) == 3 else "x1"
        if len(words) not in (2, 3) or count[0] != "x" or not count[1:].isdigit():
            raise ProblemError(sentence("bench", f"{path.name}:{number} is {shown(line)}", "name  case  xN  # why", "xN and why may be left out"))
        found.append(Layer(f"{path.stem}/{words[0]}", words[1], int(count[1:])))
    return found


def at(problem: Any, *, batch: int | None = None, dtype: str | None = None, layout: str | None = None, plain: bool = False) -> Any:
    """Return the problem for another batch, dtype ("f16" or "float16") or layout; `plain` drops scale, bias, residual and activation.

    Integers are requantised as networks do: to x's own dtype, by a float32 scale, after an int32 bias.
    """
    if isinstance(problem, ConvPool2dProblem):
        conv = at(problem.conv, batch=batch, dtype=dtype, layout=layout, plain=plain)
        pool = replace(problem.pool, n=conv.n, dtype=conv.out_dtype, layout=conv.layout)
        return ConvPool2dProblem(conv, pool)
    changes: dict[str, Any] = {} if batch is None else {"n": batch}
    if layout is not None:
        changes["layout"] = layout
    conv_too = isinstance(problem, Conv2dProblem)
    if layout is not None and conv_too:
        changes["weight_layout"] = WEIGHT_LAYOUT.get(layout, "")
    if dtype is not None:
        changes |= _typed(problem, dtype_named(dtype)) if conv_too else {"dtype": dtype_named(dtype)}
    if plain and conv_too:
        changes |= dict(scale=None, bias=None, residual=False, activation=("none",))
        if changes.get("dtype", problem.dtype) not in FLOAT_DTYPES:
            changes["out_dtype"] = "int32"
    return replace(problem, **changes)


def dtype_named(word: str) -> str:
    """Return the name of a dtype, which a case string shortens ("f16" is "float16"), or raise ProblemError."""
    name = next((name for name, short in DTYPES.items() if short == word), word)
    if name not in INPUT_DTYPES:
        words = ", ".join(DTYPES[name] for name in INPUT_DTYPES)
        raise ProblemError(sentence("bench", f"the dtype is {shown(word)}", f"one of {words}", "correct it"))
    return name


def _typed(problem: Conv2dProblem, dtype: str) -> dict[str, Any]:
    """Return what changes in a convolution of another dtype."""
    if dtype == problem.dtype:
        return {}
    changes: dict[str, Any] = dict(dtype=dtype, out_dtype=dtype, zero_point=0, out_zero_point=0)
    if dtype != "float32":
        changes["precision"] = "float32"
    if dtype in FLOAT_DTYPES:
        was_float = problem.dtype in FLOAT_DTYPES
        return changes | dict(bias=problem.bias and dtype, scale=dtype if problem.scale and was_float else None)
    return changes | dict(bias=problem.bias and "int32", scale="float32")


def family(problem: Any) -> str:
    """Return the one of FAMILIES that a problem belongs to: problems whose speed is limited by the same things."""
    if isinstance(problem, ConvPool2dProblem):
        return "conv_pool"
    if isinstance(problem, Pool2dProblem):
        return _pool_family(problem)
    taps = (problem.r, problem.s)
    if problem.groups > 1:
        if problem.groups != problem.c:
            return "grouped"
        return "depthwise" if max(taps) <= 5 else "depthwise_7x7" if max(taps) <= 8 else "depthwise_large"
    if problem.c <= 4:
        return "first_layer"
    if problem.dilation != (1, 1):
        return "dilated"
    if problem.stride != (1, 1):
        return "conv1x1_strided" if taps == (1, 1) else "conv_strided"
    return {(1, 1): "conv1x1", (3, 3): "conv3x3"}.get(taps, "conv_other")


def _pool_family(problem: Pool2dProblem) -> str:
    if (problem.p, problem.q) == (1, 1) and (problem.r, problem.s) == (problem.h, problem.w) and problem.kind in ("max", "avg"):
        return "pool_global"
    return {"max": "pool_max", "avg": "pool_avg", "weighted": "pool_weighted"}.get(problem.kind, "pool_lp")
