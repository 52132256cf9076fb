"""Routes: which engine and kernel run a problem on a device, and the launches bound for it."""

from __future__ import annotations

import functools
import logging
from dataclasses import replace
from typing import Any

from .choose import Problem, choose, device_named, operation_of
from .choose import options as choose_options
from .engines import arrays, compiled, runtime, simulated, why_not
from .errors import EngineUnavailable, ProblemError, UnsupportedProblem, sentence
from .interop import Library, Operand, library_named
from .kernels.base import MOST_ALIGNMENT, Device, Kernel, Strides, alignment_of, canonical, default_strides
from .kernels.in_two import InTwo, between_bytes
from .kernels.parameters import BYTES
from .launch import Launch
from .operands import Operands
from .problem import PAIRS, ElementwiseProblem, Pool2dProblem, SeparableConv2dProblem
from .sequence import Bound, Memory, filled

log = logging.getLogger("atrous")

KERNEL_ENGINES = {"compiled": compiled, "runtime": runtime, "simulated": simulated}
ENGINES = (*KERNEL_ENGINES, "arrays")
WEIGHTS = ("weight", "depthwise_weight")


def engine_reasons() -> dict[str, str | None]:
    """Return, for every engine, None if it can run here or the sentence that says why it cannot."""
    return {**{name: why_not(engine) for name, engine in KERNEL_ENGINES.items()}, "arrays": arrays.available()}


class Route:
    """A problem bound to the engine and kernel that will run it; launches are bound once per set of strides."""

    def __init__(self, problem: Problem, engine: str, kernel: Kernel | None, device: Device) -> None:
        self.problem = problem
        self.engine = engine
        self.kernel = kernel
        self.device = device
        self._bound: dict[Strides, Bound] = {}
        self._by_launch: dict[Launch, Bound] = {}

    @property
    def workspace_bytes(self) -> int:
        """Bytes that the array path holds beyond the output while running; 0 for a kernel, whose scratch is its caller's."""
        if self.kernel:
            return 0
        if isinstance(self.problem, PAIRS):
            first, second = self.problem.parts
            return between_bytes(self.problem) + max(arrays.workspace_bytes(first), arrays.workspace_bytes(second))
        return arrays.workspace_bytes(self.problem)

    def run(self, library: Library, inputs: Operands, outputs: list[Operand], stream: int, memory: Memory | None = None) -> None:
        """Compute the outputs from checked operands; a plan brings its memory, a function none."""
        if 0 in outputs[0].shape:
            return
        if self.kernel is None:
            with self._on(library, inputs["x"], stream):
                self._run_arrays(library, inputs, outputs)
            return
        memory = memory or Memory()  # held until the last launch is on its stream, on which the library may then use it anew
        prepared, _, pointers = self.prepare(library, inputs, outputs, stream, memory)
        with self._on(library, inputs["x"], stream):
            prepared.run(pointers, stream)

    def prepare(self, library: Library, inputs: Operands, outputs: list[Operand], stream: int, memory: Memory) -> tuple[Any, tuple[str, ...], tuple[int, ...]]:
        """Return what to run for operands of these strides, the names of its pointer slots, and the pointers."""
        given = {**inputs, "y": outputs[0]}
        if len(outputs) > 1:
            given["index"] = outputs[1]
        bound = self.bound(strides_of(self.problem, given))
        if not bound.has_scratch:
            prepared, slots = bound.whole
            return prepared, slots, tuple(given[name].pointer if name in given else 0 for name in slots)
        with library.on(inputs["x"], stream):
            (prepared, slots), scratch = memory.serve(bound, library, inputs["x"])
        return prepared, slots, filled(slots, given, scratch)

    def bound(self, strides: Strides) -> Bound:
        """Return the launch for operands of these strides, with those before and after it, bound to the engine."""
        found = self._bound.get(strides)
        if found is None:
            assert self.kernel is not None
            launch = self.kernel.launch(self.problem, strides, self.device)
            found = self._by_launch.get(launch)
            if found is None:
                found = self._by_launch[launch] = Bound(launch, KERNEL_ENGINES[self.engine].prepare)
            self._bound[strides] = found
        return found

    def ready(self, library: Library, constants: Operands, memory: Memory) -> None:
        """Pack a plan's weight and take workspace, for contiguous operands: with x at the best address and at the worst."""
        weight = constants["weight"]
        stream = library.stream(weight)
        held = alignment_of(*(constants[name].pointer for name in WEIGHTS if name in constants))
        canonical_strides = default_strides(self.problem)
        if not self.problem.residual:  # type: ignore[union-attr]
            canonical_strides = replace(canonical_strides, residual=Strides.residual)
        alignments = {min(held, MOST_ALIGNMENT), min(held, alignment_of(BYTES[self.problem.dtype]))}
        found = [self.bound(replace(canonical_strides, alignment=alignment, weight_alignment=held)) for alignment in alignments]
        for bound in sorted(found, key=lambda bound: -sum(bound.workspace.values())):  # the largest serves all
            if bound.has_scratch:
                with self._on(library, weight, stream), library.on(weight, stream):
                    memory.pack(bound, library, constants, weight, stream)

    def _on(self, library: Library, x: Operand, stream: int) -> Any:
        """Return the context of a call: CuPy's own device and stream where CuPy computes, whosever the arrays are."""
        computes = library_named("cupy") if x.device != "cpu" and self.engine in ("arrays", "runtime") else library
        return computes.on(x, stream)

    def _run_arrays(self, library: Library, inputs: Operands, outputs: list[Operand]) -> None:
        problem = self.problem
        found = {name: library.computable(operand) for name, operand in inputs.items()}
        written = {name: library.computable(operand) for name, operand in zip(("y", "index"), outputs)}
        if isinstance(problem, PAIRS):
            first = problem.parts[0]
            made = library.empty(first.y_shape, first.out_dtype, inputs["x"])
            written["between"] = library.computable(library.made(operation_of(problem), made, inputs["x"]))
        arrays.run(problem, {**found, **written})


def strides_of(problem: Problem, given: Operands) -> Strides:
    """Return the strides of checked operands, and the alignment of their addresses."""
    layout = problem.layout
    found: dict[str, Any] = {name: canonical(given[name].strides, layout, "NHWC") for name in ("x", "y", "residual", "index") if name in given}
    if isinstance(problem, ElementwiseProblem):
        found["y"] = canonical(given["y"].strides, problem.out_layout, "NHWC")
        if problem.other:
            found["residual"] = canonical(given["other"].strides, layout, "NHWC")
    elif not isinstance(problem, Pool2dProblem):
        found["weight"] = canonical(given["weight"].strides, problem.weight_layout, "KRSC")
        if isinstance(problem, SeparableConv2dProblem):
            found["depthwise_weight"] = canonical(given["depthwise_weight"].strides, problem.depthwise.weight_layout, "KRSC")
        found["weight_alignment"] = alignment_of(*(given[name].pointer for name in WEIGHTS if name in given))
    return Strides(**found, alignment=min(alignment_of(given["x"].pointer), found.get("weight_alignment", MOST_ALIGNMENT)))


@functools.lru_cache(maxsize=4096)
def route(problem: Problem, device: str, engine: str | None, kernel: str | None, forced: str | None) -> Route:
    """Return the engine and kernel for a problem whose arrays are on `device` ("cpu" or "cuda:0"); remembered.

    Raises
    ------
    ProblemError
        If no engine or kernel has that name, or the engine does not reach arrays on that device.
    EngineUnavailable
        If the named engine cannot run here.
    UnsupportedProblem
        If no kernel of the named engine takes the problem.
    """
    operation = operation_of(problem)
    wanted = forced if engine is None else engine
    if wanted is not None and wanted not in ENGINES:
        names = ", ".join(repr(name) for name in ENGINES)
        word, remedy = (
            ("engine", "pass engine=None to have one chosen") if engine is not None else ("the environment variable ATROUS_ENGINE", "correct or unset it")
        )
        raise ProblemError(sentence(operation, f"{word} is {wanted!r}", f"one of {names}", remedy))
    reachable = ("arrays", "simulated") if device == "cpu" else ("compiled", "runtime", "arrays")
    if wanted is None:
        return _best(problem, device, reachable, kernel)
    if wanted not in reachable:
        remedy = "pass cupy.asarray(x), or engine='simulated'" if device == "cpu" else "pass cupy.asnumpy(x), or engine=None"
        raise ProblemError(sentence(operation, f"engine is {wanted!r} and x is on {device}", f"one of {', '.join(reachable)} there", remedy))
    return _bind(problem, device, wanted, kernel)


def _best(problem: Problem, device: str, reachable: tuple[str, ...], kernel: str | None) -> Route:
    if device == "cpu":
        return _bind(problem, device, "arrays", kernel)
    for name in reachable:
        try:
            return _bind(problem, device, name, kernel)
        except (EngineUnavailable, UnsupportedProblem) as refusal:
            if kernel is not None:
                raise
            log.debug("%s: %s does not serve: %s", problem, name, refusal)
    raise AssertionError("the array path takes every problem")


def _bind(problem: Problem, device: str, engine: str, kernel: str | None) -> Route:
    operation = operation_of(problem)
    if engine == "arrays":
        if isinstance(problem, PAIRS):
            log.debug("%s: in two: the array path has no kernel for both", problem)
        if kernel is not None:
            raise ProblemError(
                sentence(
                    operation,
                    f"kernel is {kernel!r} and engine 'arrays', which has no kernels",
                    "a kernel engine",
                    "pass engine='simulated', or CUDA arrays, or drop kernel=",
                )
            )
        return Route(problem, engine, None, device_named("sm_80"))
    reason = KERNEL_ENGINES[engine].available()
    if reason is not None:
        raise EngineUnavailable(sentence(operation, f"engine {engine!r} cannot run here: {reason}", "an engine that can", "pass engine=None"))
    target = device_named("simulated") if engine == "simulated" else _cuda_device(device)
    chosen = choose(problem, target, kernel)
    if isinstance(chosen, InTwo):
        reasons = [f"{answer.kernel}: {answer.reason or 'takes longer'}" for answer in choose_options(problem, target)[:-1]]
        log.debug("%s: in two (%s)", problem, "; ".join(reasons) or "no kernel for both")
    log.debug("%s: engine %s, kernel %s", problem, engine, chosen.name)
    return Route(problem, engine, chosen, target)


def cuda_architecture(index: int) -> str:
    """Return "sm_90" or the like for a CUDA device, or raise EngineUnavailable if it is not there."""
    reason = compiled.available()
    if reason is None and 0 <= index < compiled.device_count():
        return str(compiled.architecture(index))
    raise EngineUnavailable(
        sentence("explain", f"device {index} was asked for", "a CUDA device of this machine", f"name an architecture instead ({reason or 'fewer devices'})")
    )


@functools.cache
def _cuda_device(device: str) -> Device:
    index = int(device.partition(":")[2])
    if compiled.available() is None:
        return device_named(cuda_architecture(index))
    return device_named("sm_" + library_named("cupy").cupy.cuda.Device(index).compute_capability)  # type: ignore[attr-defined]
