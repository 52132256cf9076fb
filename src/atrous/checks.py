"""What a call must be for a problem: its operands and its words; and a plan's problem for another input shape."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from .choose import Problem, convolutions_of, operation_of
from .errors import ProblemError, sentence, shown
from .operands import Operands, matches, vector
from .problem import PAIRS, Conv2dProblem, ElementwiseProblem, Pool2dProblem, SeparableConv2dProblem
from .window import WindowGeometry

#: fields of a problem that follow from shapes, window and padding; all others are options of its `make`
GEOMETRY = {field.name for field in fields(WindowGeometry)} | {"k"}


def resize(problem: Any, x_shape: Any) -> Any:
    """Return the problem for another input shape, with the same window, stride, dilation and resolved pads."""
    if isinstance(problem, PAIRS):
        first = resize(problem.parts[0], x_shape)
        return type(problem)(first, resize(problem.parts[1], first.y_shape))
    top, bottom, left, right = problem.pads
    options = {field.name: getattr(problem, field.name) for field in fields(problem) if field.name not in GEOMETRY}
    options |= dict(stride=problem.stride, padding=((top, bottom), (left, right)), dilation=problem.dilation)
    if isinstance(problem, Conv2dProblem):
        return Conv2dProblem.make(x_shape, problem.weight_shape, **options)
    return Pool2dProblem.make(x_shape, (problem.r, problem.s), least_channels=min(1, problem.c), **options)


def named_words(operation: str, **words: Any) -> None:
    """Raise ProblemError unless each of these is a str or None."""
    for name, word in words.items():
        if word is not None and not isinstance(word, str):
            raise ProblemError(
                sentence(operation, f"{name} is {shown(word)} of type {type(word).__name__}", "a name or None", f"pass {name}=None to have one chosen")
            )


def public_name(problem: Problem, name: str) -> str:
    """Return an operand's name as a call has it."""
    return "pointwise_weight" if name == "weight" and isinstance(problem, SeparableConv2dProblem) else name


def check_inputs(problem: Problem, inputs: Operands) -> None:
    """Raise ProblemError unless every operand is what the problem was made for."""
    operation = operation_of(problem)
    matches(operation, "x", inputs["x"], problem.x_shape, problem.dtype, ", ".join(problem.layout))
    if isinstance(problem, ElementwiseProblem):
        if problem.other:
            matches(operation, "other", inputs["other"], problem.x_shape, problem.dtype, ", ".join(problem.layout))
        return
    if isinstance(problem, Pool2dProblem):
        if "residual" in inputs:
            raise ProblemError(sentence(operation, "residual is given", "no residual in a pooling", "drop residual="))
        return
    for given, conv in _weights(problem):
        matches(operation, public_name(problem, f"{given}weight"), inputs[f"{given}weight"], conv.weight_shape, conv.dtype, ", ".join(conv.weight_layout))
        for name in (f"{given}scale", f"{given}bias"):
            vector(operation, name, inputs.get(name), conv.k)
    if problem.residual != ("residual" in inputs):
        remedy = "plan with residual=True, or pass none" if "residual" in inputs else "pass residual="
        raise ProblemError(sentence(operation, f"residual is {'given' if 'residual' in inputs else 'missing'}", "what was planned", remedy))
    if problem.residual:
        conv = convolutions_of(problem)[-1]
        matches(operation, "residual", inputs["residual"], conv.y_shape, conv.out_dtype, output_axes(problem))


def _weights(problem: Problem) -> list[tuple[str, Conv2dProblem]]:
    """Return what stands before the names of a convolution's weight, scale and bias, and that convolution."""
    found = convolutions_of(problem)
    return list(zip(("depthwise_", ""), found, strict=True)) if isinstance(problem, SeparableConv2dProblem) else [("", found[0])]


def output_axes(problem: Problem) -> str:
    """Return the letters of y's axes for a message: "N, P, Q, K"; a pooling's channels are C, and single elements keep x's letters."""
    if isinstance(problem, ElementwiseProblem):
        return ", ".join(problem.out_layout)
    channels = "C" if isinstance(problem, Pool2dProblem) else "K"
    return ", ".join({"C": channels, "H": "P", "W": "Q"}.get(letter, letter) for letter in problem.layout)
