"""Which kernel takes a problem: a pure function of the problem and the device, and the account of it."""

from __future__ import annotations

import math
from typing import Any

from . import kernels
from .errors import ProblemError, UnsupportedProblem, sentence, shown
from .kernels.base import DEVICES, Choice, Device, Kernel, Strides
from .kernels.parameters import BYTES
from .problem import Conv2dProblem, Pool2dProblem, parse

Problem = Conv2dProblem | Pool2dProblem


def operation_of(problem: Problem) -> str:
    """Return the public name of the operation, as error messages carry it."""
    return problem._operation


def minimum_bytes(problem: Problem) -> int:
    """Return the bytes of x, weight, residual and y, each moved once."""
    moved = math.prod(problem.x_shape) * BYTES[problem.dtype]
    outputs = math.prod(problem.y_shape)
    moved += outputs * BYTES[problem.out_dtype]
    if isinstance(problem, Conv2dProblem):
        moved += math.prod(problem.weight_shape) * BYTES[problem.dtype]
        moved += outputs * BYTES[problem.out_dtype] * problem.residual
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


def options(problem: Problem, device: Device) -> list[Choice]:
    """Return the answer of every kernel of the operation, in ORDER: a reason, or an estimate of its time on the device."""
    answers = []
    for kernel in kernels.for_operation("conv2d" if isinstance(problem, Conv2dProblem) else "pool2d"):
        reason = kernel.declines(problem, device)
        answers.append(Choice(kernel.name, reason, seconds=math.inf if reason else kernel.seconds(problem, device)))
    return answers


def choose(problem: Problem, device: Device, kernel: str | None = None) -> Kernel:
    """Return the kernel that takes the problem: the one named, else the one with the least estimated time.

    Raises
    ------
    ProblemError
        If no kernel has that name.
    UnsupportedProblem
        If the named kernel, or every kernel, declines; the message carries each one's sentence.
    """
    answers = options(problem, device)
    if kernel is not None and kernel not in [answer.kernel for answer in answers]:
        names = ", ".join(repr(answer.kernel) for answer in answers)
        raise ProblemError(sentence(operation_of(problem), f"kernel is {shown(kernel)}", f"one of {names}", "pass kernel=None to have one chosen"))
    answers = [answer for answer in answers if kernel in (None, answer.kernel)]
    taken = [answer for answer in answers if answer.reason is None]
    if not taken:
        refusals = "; ".join(f"{answer.kernel} declines: {answer.reason}" for answer in answers)
        raise UnsupportedProblem(
            sentence(operation_of(problem), f"{problem}: {refusals}", "a problem that a CUDA kernel takes", "use engine='arrays', or another dtype or layout")
        )
    best = kernels.named(min(taken, key=lambda answer: answer.seconds).kernel)
    assert best is not None
    return best


class Explanation(str):
    """Text that explains a choice; `.rows` holds one dict a kernel (kernel, chosen, reason, microseconds, launch)."""

    rows: list[dict[str, Any]]

    def __new__(cls, text: str, rows: list[dict[str, Any]]) -> Explanation:
        made = super().__new__(cls, text)
        made.rows = rows
        return made


def explain_problem(problem: Problem, device: Device, engine: str | None = None, strides: Strides | None = None) -> Explanation:
    """Return why each kernel takes or declines a problem, with its FLOPs, least bytes and roofline floor."""
    moved, flops = minimum_bytes(problem), problem.flops
    floor = max(flops / device.flops, moved / device.bandwidth)
    bound = "compute" if flops / device.flops >= moved / device.bandwidth else "memory"
    lines = [
        f"{operation_of(problem)} {problem}",
        f"  x {problem.x_shape} -> y {problem.y_shape}, {problem.layout}",
        f"  {flops:,} FLOPs, at least {moved:,} bytes; floor on {device.name} {floor * 1e6:.3f} us ({bound}-bound, float32 FMA; estimate)",
    ]
    answers = options(problem, device)
    taken = [answer for answer in answers if answer.reason is None]
    best = min(taken, key=lambda answer: answer.seconds).kernel if taken and engine != "arrays" else None
    rows: list[dict[str, Any]] = []
    for answer in answers:
        kernel = kernels.named(answer.kernel)
        assert kernel is not None
        launch = None if answer.reason or not math.prod(problem.y_shape) else kernel.launch(problem, strides, device)
        chosen = answer.kernel == best
        microseconds = None if answer.reason else answer.seconds * 1e6
        rows.append(dict(kernel=answer.kernel, chosen=chosen, reason=answer.reason, microseconds=microseconds, launch=launch))
        mark = "->" if chosen else "  "
        lines.append(
            f"{mark} {answer.kernel}: "
            + (f"declines: {answer.reason}" if answer.reason else f"takes it, about {microseconds:.2f} us (estimate); {launch or 'nothing to launch'}")
        )
    chosen = best is None
    reason = None if chosen else "chosen only when asked for with engine='arrays', or where no CUDA engine serves the array"
    rows.append(dict(kernel="arrays", chosen=chosen, reason=reason, microseconds=None, launch=None))
    lines.append(("->" if chosen else "  ") + " arrays: " + (reason or "windows and matrix products in array calls"))
    return Explanation("\n".join(lines), rows)


def explain_case(case: str | Problem, device: str | None = None) -> Explanation:
    """Return the explanation of a case string or a problem on a named architecture (default "sm_80")."""
    return explain_problem(parse(case) if isinstance(case, str) else case, device_named("sm_80" if device is None else device))
