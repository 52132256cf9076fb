"""Which kernel takes a problem: a pure function of the problem and the device, and the account of it."""

from __future__ import annotations

import math
from dataclasses import fields
from itertools import zip_longest
from typing import Any

from . import kernels
from .errors import ProblemError, UnsupportedProblem, sentence, shown
from .kernels.base import DEVICES, Choice, Device, Kernel, Strides
from .kernels.in_two import THEN, InTwo, between_bytes
from .kernels.parameters import BYTES
from .problem import PAIRS, Conv2dProblem, ConvPool2dProblem, ElementwiseProblem, Pool2dProblem, SeparableConv2dProblem, parse

Problem = Conv2dProblem | Pool2dProblem | ConvPool2dProblem | SeparableConv2dProblem | ElementwiseProblem

#: The images of the batch at which kernels are ranked, whatever N is: kernels may add in different orders, and an image has
#: the same bits in any batch. 32 fills a GPU in nearly every layer of the suite, so that the ranking compares work and not
#: launches.
RANKING_BATCH = 32


def operation_of(problem: Problem) -> str:
    """Return the public name of the operation, as error messages carry it."""
    return problem._operation


def convolutions_of(problem: Problem) -> list[Conv2dProblem]:
    """Return the convolution that a problem is, or those among its parts."""
    return [part for part in (problem.parts if isinstance(problem, PAIRS) else (problem,)) if isinstance(part, Conv2dProblem)]


def minimum_bytes(problem: Problem) -> int:
    """Return the bytes of x, weights, residual, other and y, each moved once."""
    moved = math.prod(problem.x_shape) * BYTES[problem.dtype]
    outputs = math.prod(problem.y_shape)
    moved += outputs * BYTES[problem.out_dtype]
    if isinstance(problem, ElementwiseProblem):
        return moved + outputs * BYTES[problem.dtype] * problem.other
    if not isinstance(problem, Pool2dProblem):
        for conv in convolutions_of(problem):
            moved += math.prod(conv.weight_shape) * BYTES[conv.dtype]
            moved += math.prod(conv.y_shape) * BYTES[conv.out_dtype] * conv.residual
    elif problem.return_indices:
        moved += outputs * BYTES[problem.index_dtype]
    return moved


def device_named(name: str) -> Device:
    """Return the Device of a name such as "sm_90"; an unlisted minor falls back on its own major."""
    if name in DEVICES:
        return DEVICES[name]
    majors = [device for key, device in DEVICES.items() if key.startswith("sm_") and key[3:-1] == name[3:-1]]
    if name.startswith("sm_") and name[3:].isdigit() and majors:
        return majors[0]
    raise ProblemError(sentence("explain", f"device is {shown(name)}", f"one of {', '.join(DEVICES)}, or an index of a CUDA device", "name an architecture"))


def at_batch(problem: Any, count: int) -> Any:
    """Return the problem for so many images, for estimates alone: what was checked of it once is not checked again."""
    if problem.n == count:
        return problem
    other = object.__new__(type(problem))
    changes: dict[str, Any] = {"n": count}
    if isinstance(problem, PAIRS):
        names = (field.name for field in fields(problem))
        changes = {name: at_batch(part, count) for name, part in zip(names, problem.parts, strict=True)}
    for field in fields(problem):
        object.__setattr__(other, field.name, changes.get(field.name, getattr(problem, field.name)))
    return other


def options(problem: Problem, device: Device, kernel: str | None = None) -> list[Choice]:
    """Return the answer of every kernel of the operation, in ORDER: a reason, or an estimate of its time on the device.

    A pair may also run in two, the last of the list: as the kernels that its two problems choose alone, or with `kernel`
    where that is one of the first's. Both ways give the same bits, so a kernel for both declines where one of its
    convolutions alone is chosen to run on another kernel than the one that it adds like.
    """
    operation = kernels.operation_of(problem)
    if not isinstance(problem, PAIRS):
        return [_answer(one, problem, device, one.declines(problem, device)) for one in kernels.for_operation(operation)]
    alone, two = _in_two(problem, device, kernel if kernel in _names("conv2d") else None)
    answers = []
    for one in kernels.for_operation(operation):
        reason = one.declines(problem, device) or _adds_otherwise(problem, alone, getattr(one, "adds_like", ()))
        answers.append(_answer(one, problem, device, reason))
    return [*answers, two]


def _adds_otherwise(problem: ConvPool2dProblem | SeparableConv2dProblem, alone: tuple[str, ...], adds_like: tuple[str, ...]) -> str | None:
    """Return which convolution of a pair alone runs on another kernel than the one that a kernel for both adds like, or None."""
    words = ("depthwise", "1x1") if isinstance(problem, SeparableConv2dProblem) else ("convolution",)
    for word, name, like in zip_longest(words, alone, adds_like):
        if name != like:
            return f"the {word} alone runs on {name}, which adds in another order, and the bits are those of the two calls"
    return None


def _answer(kernel: Kernel, problem: Problem, device: Device, reason: str | None) -> Choice:
    if reason is not None:
        return Choice(kernel.name, reason)
    ranked = at_batch(problem, RANKING_BATCH)
    return Choice(kernel.name, seconds=kernel.seconds(problem, device), ranked_seconds=kernel.seconds(ranked, device))


def _in_two(problem: ConvPool2dProblem | SeparableConv2dProblem, device: Device, kernel: str | None) -> tuple[tuple[str, ...], Choice]:
    """Return the names of the kernels that the convolutions of a pair choose alone, and the answer of both parts one after the other."""
    first, second = problem.parts
    try:
        two = InTwo(choose(first, device, kernel), choose(second, device))
    except UnsupportedProblem as refusal:
        return ("no kernel",), Choice("in two", str(refusal).partition("; expected")[0])  # the rest is said of the pair
    names = (two.first.name, two.second.name)
    return names[: len(convolutions_of(problem))], _answer(two, problem, device, None)


def _names(operation: str) -> list[str]:
    return [kernel.name for kernel in kernels.for_operation(operation)]


def _named(name: str) -> Kernel:
    """Return the kernel of an answer's name, which may be that of two."""
    first, _, other = name.partition(THEN)
    kernel, second = kernels.named(first), kernels.named(other)
    assert kernel is not None
    return kernel if second is None else InTwo(kernel, second)


def best_of(answers: list[Choice]) -> Choice | None:
    """Return the kernel with the least time at the ranking batch, or None where all decline."""
    taken = [answer for answer in answers if answer.reason is None]
    return min(taken, key=lambda answer: answer.ranked_seconds) if taken else None


def choose(problem: Problem, device: Device, kernel: str | None = None) -> Kernel:
    """Return the kernel that takes the problem: the one named, else the one with the least estimated time at RANKING_BATCH.

    For a pair `kernel` names one for both, or the first's of the two.

    Raises
    ------
    ProblemError
        If no kernel has that name.
    UnsupportedProblem
        If the named kernel, or every kernel, declines; the message carries each one's sentence.
    """
    answers = options(problem, device, kernel)
    if kernel is not None:
        words = [answer.kernel for answer in answers]
        if isinstance(problem, PAIRS):
            words = _names(kernels.operation_of(problem)) + _names("conv2d")
        if kernel not in words:
            names = ", ".join(map(repr, words))
            raise ProblemError(sentence(operation_of(problem), f"kernel is {shown(kernel)}", f"one of {names}", "pass kernel=None to have one chosen"))
        answers = [answer for answer in answers if answer.kernel == kernel] or answers[-1:]
    taken = best_of(answers)
    if taken is None:
        refusals = "; ".join(f"{answer.kernel} declines: {answer.reason}" for answer in answers)
        raise UnsupportedProblem(
            sentence(operation_of(problem), f"{problem}: {refusals}", "a problem that a CUDA kernel takes", "use engine='arrays', or another dtype or layout")
        )
    return _named(taken.kernel)


class Explanation(str):
    """Text that explains a choice; `.rows` holds one dict a kernel (kernel, chosen, reason, microseconds, launch)."""

    rows: list[dict[str, Any]]

    def __new__(cls, text: str, rows: list[dict[str, Any]]) -> Explanation:
        made = super().__new__(cls, text)
        made.rows = rows
        return made


def arithmetic_rate(problem: Problem, device: Device) -> tuple[float, str]:
    """Return the operations a second that bound the problem on the device whatever the kernel, and their name."""
    ordinary = (device.flops, "float32 FMA")
    if isinstance(problem, PAIRS):
        problem = convolutions_of(problem)[-1]
    if not isinstance(problem, Conv2dProblem) or problem.dtype == "float64" or problem.precision == "strict":
        return ordinary
    if problem.dtype == "float32":
        part, word = (1, "tf32 tensor cores") if problem.precision == "tf32" else (3, "tf32 tensor cores, three products")
        return max(ordinary, (device.tf32_flops / part, word))
    return max(ordinary, (device.half_flops, "16-bit tensor cores") if BYTES[problem.dtype] == 2 else (device.int8_ops, "8-bit tensor cores"))


def explain_problem(problem: Problem, device: Device, engine: str | None = None, strides: Strides | None = None) -> Explanation:
    """Return why each kernel takes or declines a problem, with its FLOPs, least bytes and roofline floor."""
    moved, flops = minimum_bytes(problem), problem.flops
    rate, units = arithmetic_rate(problem, device)
    floor = max(flops / rate, moved / device.bandwidth)
    bound = "compute" if flops / rate >= moved / device.bandwidth else "memory"
    lines = [
        f"{operation_of(problem)} {problem}",
        f"  x {problem.x_shape} -> y {problem.y_shape}, {' -> '.join(dict.fromkeys((problem.layout, getattr(problem, 'out_layout', problem.layout))))}",
        f"  {flops:,} FLOPs, at least {moved:,} bytes; floor on {device.name} {floor * 1e6:.3f} us ({bound}-bound, {units}; estimate)",
    ]
    answers = options(problem, device)
    best = best_of(answers) if engine != "arrays" else None
    if isinstance(problem, PAIRS):
        lines.append(_between(problem, best))
    rows: list[dict[str, Any]] = []
    for answer in answers:
        rows.append(_row(problem, device, answer, best, strides))
        lines.append(_line(rows[-1]))
    lines += _why_not_the_quickest(problem, answers, best)
    chosen = best is None
    reason = None if chosen else "chosen only when asked for with engine='arrays', or where no CUDA engine serves the array"
    rows.append(dict(kernel="arrays", chosen=chosen, reason=reason, microseconds=None, launch=None))
    how = "array calls" if isinstance(problem, ElementwiseProblem) else "windows and matrix products in array calls"
    lines.append(("->" if chosen else "  ") + " arrays: " + (reason or how))
    return Explanation("\n".join(lines), rows)


def _between(problem: ConvPool2dProblem | SeparableConv2dProblem, best: Choice | None) -> str:
    """Return the line of what lies between the parts of a pair."""
    what = f"the {between_bytes(problem):,} bytes of {problem.parts[0].y_shape} between the two"
    if best is None or THEN in best.kernel:
        return f"  in two: {what} are written and read again"
    return f"  fused: {what} are neither written nor read again"


def _row(problem: Problem, device: Device, answer: Choice, best: Choice | None, strides: Strides | None) -> dict[str, Any]:
    """Return what `.rows` says of one kernel."""
    found: dict[str, Any] = dict(kernel=answer.kernel, chosen=answer is best, reason=answer.reason, microseconds=None, launch=None)
    if answer.reason is None:
        kernel = _named(answer.kernel)
        found["launch"] = kernel.launch(problem, strides, device) if math.prod(problem.y_shape) else None
        found |= dict(microseconds=answer.seconds * 1e6, ranked_microseconds=answer.ranked_seconds * 1e6, account=kernel.account(problem, device))
    return found


def _line(row: dict[str, Any]) -> str:
    """Return the line of one kernel."""
    name = f"{'->' if row['chosen'] else '  '} {row['kernel']}: "
    if row["reason"]:
        return f"{name}declines: {row['reason']}"
    verb = "takes it, about" if row["chosen"] else "would take about"
    return f"{name}{verb} {row['microseconds']:.2f} us on {row['account']} (estimate); {row['launch'] or 'nothing to launch'}"


def _why_not_the_quickest(problem: Problem, answers: list[Choice], best: Choice | None) -> list[str]:
    """Return a line where another kernel is estimated quicker for this N than the one chosen at the ranking batch."""
    quickest = min((answer for answer in answers if answer.reason is None), key=lambda answer: answer.seconds, default=None)
    if best is None or quickest is None or quickest.seconds >= best.seconds:
        return []
    times = ", ".join(f"{answer.kernel} {answer.ranked_seconds * 1e6:.2f} us" for answer in (best, quickest))
    said = f"{quickest.kernel} is estimated quicker at N = {problem.n}; kernels are ranked at N = {RANKING_BATCH} ({times})"
    return [f"   {said}, so that no batch changes an image's bits"]


def explain_case(case: str | Problem, device: str | None = None) -> Explanation:
    """Return the explanation of a case string or a problem on a named architecture (default "sm_80")."""
    return explain_problem(parse(case) if isinstance(case, str) else case, device_named("sm_80" if device is None else device))
