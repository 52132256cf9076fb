"""Sums and changes of layout and dtype on the array path: a few rows of images at a time, each element rounded once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from .array_namespace import namespace_of
from .arrays_epilogue import Epilogue

if TYPE_CHECKING:
    from ..problem import ElementwiseProblem


def _accumulator(problem: ElementwiseProblem) -> str:
    return "float64" if problem.dtype == "float64" else "float32"


def _epilogue(problem: ElementwiseProblem) -> Epilogue:
    """Return the epilogue of a convolution whose sums are x and whose residual is other."""
    steps: Any = SimpleNamespace(
        activation=problem.activation, dtype=problem.dtype, out_dtype=problem.out_dtype, scale=None, bias=None, residual=True, out_zero_point=0
    )
    return Epilogue(steps, _accumulator(problem))


def _row_bytes(problem: ElementwiseProblem) -> int:
    """Return what a row of one image holds at most while it is computed: both operands, their sum, and what the epilogue holds."""
    return problem.w * problem.c * (3 * 8 + _epilogue(problem).element_bytes())


def _piece(problem: ElementwiseProblem, budget: int) -> tuple[int, int]:
    """Return the images and the rows of a piece: several whole images, or rows of one."""
    rows = max(1, budget // max(1, _row_bytes(problem)))
    return max(1, rows // max(1, problem.h)), min(rows, max(1, problem.h))


def held_bytes(problem: ElementwiseProblem, budget: int) -> int:
    """Return the most bytes that a call holds beyond its output."""
    images, rows = _piece(problem, budget)
    return min(images, problem.n) * min(rows, problem.h) * _row_bytes(problem)


def elementwise(problem: ElementwiseProblem, budget: int, x: Any, other: Any, out: Any) -> None:
    """Write a sum, or x in another layout or dtype, to `out`; see `atrous.engines.arrays`."""
    space, epilogue = namespace_of(x), _epilogue(problem)
    axes = tuple(problem.layout.index(letter) for letter in problem.out_layout)
    images, rows = _piece(problem, budget)
    for image in range(0, problem.n, images):
        for row in range(0, problem.h, rows):
            cut = {"N": slice(image, min(problem.n, image + images)), "H": slice(row, min(problem.h, row + rows))}
            source, target = (tuple(cut.get(letter, slice(None)) for letter in layout) for layout in (problem.layout, problem.out_layout))
            values = x[source]
            if other is not None:
                # a new array, which the activation may overwrite
                values = space.cast(values, epilogue.dtype) + space.cast(other[source], epilogue.dtype)
                values = epilogue.apply(space, values, None, None, None)
            if other is not None or problem.out_dtype != problem.dtype:
                values = epilogue.rounded(space, space.cast(values, epilogue.dtype))
            space.store(out, target, space.permute(values, axes))
