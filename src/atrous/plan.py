"""Plans: a problem bound to an engine, a kernel and packed weights; callable, repeatable, capturable."""

from __future__ import annotations

import functools
import logging
import math
from typing import Any

from . import config
from .arguments import WEIGHTINGS
from .checks import check_inputs, named_words, output_axes, resize
from .choose import Explanation, Problem, choose, device_named, explain_problem, operation_of
from .choose import options as choose_options
from .engines import arrays, compiled, runtime, simulated, why_not
from .errors import EngineUnavailable, ProblemError, UnsupportedProblem, sentence, shown, typed
from .in_two import InTwo, between_bytes
from .interop import Library, Operand, library_named, numpy_dtype, stream_pointer
from .kernels.base import Device, Kernel, Strides, alignment_of, canonical
from .operands import Operands, gather, output, same_device
from .problem import Conv2dProblem, ConvPool2dProblem, Pool2dProblem
from .recall import Recall
from .weighting import tap_weights

log = logging.getLogger("atrous")

KERNEL_ENGINES = {"compiled": compiled, "runtime": runtime, "simulated": simulated}
ENGINES = (*KERNEL_ENGINES, "arrays")


def engine_reasons() -> dict[str, str | None]:
    """Return, for every engine, None if it can run here or the sentence that says why it cannot."""
    return {**{name: why_not(engine) for name, engine in KERNEL_ENGINES.items()}, "arrays": arrays.available()}


class Route:
    """A problem bound to the engine and kernel that will run it; launches are prepared once per set of strides."""

    def __init__(self, problem: Problem, engine: str, kernel: Kernel | None, device: Device) -> None:
        self.problem = problem
        self.engine = engine
        self.kernel = kernel
        self.device = device
        self._prepared: dict[Strides, Any] = {}

    @property
    def workspace_bytes(self) -> int:
        """Bytes held beyond the output while running; 0 for every kernel."""
        if self.kernel:
            return 0
        if isinstance(self.problem, ConvPool2dProblem):
            return between_bytes(self.problem) + max(arrays.workspace_bytes(self.problem.conv), arrays.workspace_bytes(self.problem.pool))
        return arrays.workspace_bytes(self.problem)

    def run(self, library: Library, inputs: Operands, outputs: list[Operand], stream: int) -> None:
        """Compute the outputs from checked operands."""
        if 0 in outputs[0].shape:
            return
        if self.kernel is None:
            with self._on(library, inputs["x"], stream):
                self._run_arrays(library, inputs, outputs)
            return
        prepared, _, pointers = self.prepare(inputs, outputs)
        with self._on(library, inputs["x"], stream):
            prepared.run(pointers, stream)

    def prepare(self, inputs: Operands, outputs: list[Operand]) -> tuple[Any, tuple[str, ...], tuple[int, ...]]:
        """Return the prepared launch for operands of these strides, the names of its pointer slots, and the pointers."""
        assert self.kernel is not None
        given = {**inputs, "y": outputs[0]}
        if len(outputs) > 1:
            given["index"] = outputs[1]
        strides = _strides(self.problem, given)
        prepared = self._prepared.get(strides)
        if prepared is None:
            launch = self.kernel.launch(self.problem, strides, self.device)
            prepared = self._prepared[strides] = (KERNEL_ENGINES[self.engine].prepare(launch), launch.pointers)
        return *prepared, tuple(given[name].pointer if name in given else 0 for name in prepared[1])

    def _on(self, library: Library, x: Operand, stream: int) -> Any:
        """Return the context of a call: CuPy's own device and stream where CuPy computes, whosever the arrays are."""
        computes = library_named("cupy") if x.device != "cpu" and self.engine in ("arrays", "runtime") else library
        return computes.on(x, stream)

    def _run_arrays(self, library: Library, inputs: Operands, outputs: list[Operand]) -> None:
        found = {name: library.computable(operand) for name, operand in inputs.items()}
        written = [library.computable(operand) for operand in outputs]
        x, problem = found["x"], self.problem
        if not isinstance(problem, Pool2dProblem):
            conv = problem.conv if isinstance(problem, ConvPool2dProblem) else problem
            y = written[0]
            if conv is not problem:
                made = library.empty(conv.y_shape, conv.out_dtype, inputs["x"])
                y = library.computable(library.made(operation_of(problem), made, inputs["x"]))
            arrays.conv2d(conv, x, found["weight"], found.get("scale"), found.get("bias"), found.get("residual"), y)
            x = y
        if not isinstance(problem, Conv2dProblem):
            pool = problem.pool if isinstance(problem, ConvPool2dProblem) else problem
            arrays.pool2d(pool, x, found.get("tap_weight"), written[0], written[1] if len(written) > 1 else None)


def _strides(problem: Problem, given: Operands) -> Strides:
    layout = problem.layout
    found: dict[str, Any] = {name: canonical(given[name].strides, layout, "NHWC") for name in ("x", "y", "residual", "index") if name in given}
    if not isinstance(problem, Pool2dProblem):
        found["weight"] = canonical(given["weight"].strides, problem.weight_layout, "KRSC")
    return Strides(**found, alignment=alignment_of(*(given[name].pointer for name in ("x", "weight") if name in given)))


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
        if isinstance(problem, ConvPool2dProblem):
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
        raise UnsupportedProblem(
            sentence(operation, f"{problem} runs in two, and engine {engine!r} runs one launch a call", "the array path", "call conv2d and then the pooling")
        )
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


class Plan:
    """One operation, ready to run on arrays of one shape: `y = plan(x)`, or `plan(x, out=y)` without any allocation.

    A plan holds its own packed copy of weight, scale and bias, taken when it was made: writing to the originals
    afterwards changes nothing. Make one with `plan_conv2d`, `plan_pool2d` or `plan_conv2d_pool2d`.
    """

    def __init__(self, problem: Problem, library: Library | None, constants: Operands, engine: str | None, kernel: str | None) -> None:
        self.problem = problem
        self._library = library
        self._constants = constants
        self._engine = engine
        self._kernel = kernel
        forced = config.forced_engine()
        # a pool holds no array that tells where x will be, so an engine that only a GPU has means the first GPU until the first call
        unknown = "cuda:0" if (forced if engine is None else engine) in ("compiled", "runtime") else "cpu"
        device = constants["weight"].device if "weight" in constants else unknown
        named_words(operation_of(problem), engine=engine, kernel=kernel)
        self._recall = Recall()
        self._tables: dict[tuple[str, str], Operand] = {}
        self._planned = route(problem, device, engine, kernel, forced)

    @property
    def engine(self) -> str:
        """Name of the engine that runs this plan on arrays where its weights are (pooling: where the last x was)."""
        return self._planned.engine

    @property
    def kernel(self) -> str:
        """Name of the kernel; on the array path "windows + matmul", or "windows" where nothing is multiplied."""
        if self._planned.kernel:
            return self._planned.kernel.name
        return "windows" if isinstance(self.problem, Pool2dProblem) else "windows + matmul"

    @property
    def packed_bytes(self) -> int:
        """Bytes of the packed weight, scale and bias."""
        return sum(math.prod(operand.shape) * numpy_dtype(operand.dtype).itemsize for operand in self._constants.values())

    @property
    def workspace_bytes(self) -> int:
        """Bytes a call holds beyond its output; 0 for every kernel."""
        return self._planned.workspace_bytes

    def __call__(self, x: Any, *, residual: Any = None, out: Any = None, stream: Any = None) -> Any:
        """Return y, or (y, indices), for an x of the planned shape and dtype; `out` is written and returned if given.

        Raises
        ------
        ProblemError
            If x, residual or out is not what was planned for; nothing has run then.
        """
        try:
            if out is not None and residual is None and self._recall.run(x, out, stream):
                return out
            return self._checked(x, residual, out, stream)
        except Exception as failure:
            told = typed(operation_of(self.problem), failure)
            try:
                if told is failure:
                    raise
                raise told from failure
            finally:
                del told  # as in errors.reports

    def _checked(self, x: Any, residual: Any, out: Any, stream: Any) -> Any:
        """Check every array and run; what `out` and x were like is remembered."""
        operation = operation_of(self.problem)
        library, inputs = gather(operation, "x", x, residual=residual)
        if self._library is not None and library is not self._library:
            raise ProblemError(
                sentence(
                    operation,
                    f"x is a {library.name} array and the plan's weight a {self._library.name} array",
                    "arrays of one library",
                    "plan with weights of x's library",
                )
            )
        for name, operand in self._constants.items():
            same_device(operation, "x", inputs["x"], f"the plan's {name}", operand)
        inputs |= self._constants
        if is_named_weighting(self.problem):
            inputs["tap_weight"] = self._taps(library, inputs["x"])
        y = execute(self.problem, library, inputs, out, stream, self._engine, self._kernel, self)
        launched = self._planned.kernel is not None and 0 not in self.problem.y_shape
        if launched and residual is None and out is not None and not isinstance(out, tuple):
            target = library.operand(operation, "out", out)
            self._recall.keep(library, x, out, *self._planned.prepare(inputs, [target]), (inputs["x"], target))
        return y

    def _taps(self, library: Library, x: Operand) -> Operand:
        """Return the tap weights beside x, made once a library and device."""
        assert isinstance(self.problem, Pool2dProblem)
        made = self._tables.get((library.name, x.device))
        if made is None:
            made = self._tables[library.name, x.device] = tap_operand(self.problem, library, x)
        return made

    def for_input(self, x_shape: Any) -> Plan:
        """Return a plan for another input shape that shares this plan's packed weights; padding stays as resolved."""
        resized = resize(self.problem, x_shape)
        return Plan(resized, self._library, self._constants, self._engine, self._kernel)

    def explain(self) -> Explanation:
        """Return FLOPs, least bytes, the roofline floor and each kernel's answer."""
        planned = self._planned
        return explain_problem(self.problem, planned.device, planned.engine)

    def __repr__(self) -> str:
        return (
            f"<Plan {operation_of(self.problem)} {self.problem} kernel={self.kernel!r} engine={self.engine!r}"
            f" packed={self.packed_bytes} B workspace={self.workspace_bytes} B>"
        )


def is_named_weighting(problem: Problem) -> bool:
    """Return whether the problem's tap weights come from a formula and not from the caller."""
    return isinstance(problem, Pool2dProblem) and problem.weighting in WEIGHTINGS[:3]


def execute(
    problem: Problem, library: Library, inputs: Operands, out: Any, stream: Any, engine: str | None, kernel: str | None, plan: Plan | None = None
) -> Any:
    """Run a problem on operands: last checks, the route, the output from the caller's own library."""
    operation = operation_of(problem)
    check_inputs(problem, inputs)
    x = inputs["x"]
    if stream is not None and x.device == "cpu":
        raise ProblemError(sentence(operation, f"stream is {shown(stream)} and x is on the CPU", "no stream", "drop stream=, or pass CUDA arrays"))
    handle = library.stream(x) if stream is None else stream_pointer(operation, stream)
    if library.name == "array-api-strict" and engine not in (None, "arrays"):
        raise ProblemError(sentence(operation, f"x is an array-api-strict array and engine is {shown(engine)}", "engine 'arrays'", "drop engine="))
    named_words(operation, engine=engine, kernel=kernel)
    bound = route(problem, x.device, engine, kernel, config.forced_engine())
    if plan is not None:
        plan._planned = bound
    wanted = [("out", problem.out_dtype)]
    if isinstance(problem, Pool2dProblem) and problem.return_indices:
        wanted.append(("out[1]", problem.index_dtype))
    two = len(wanted) == 2
    if out is None:
        made = [library.empty(problem.y_shape, dtype, x) for _, dtype in wanted]
        bound.run(library, inputs, [library.made(operation, array, x) for array in made], handle)
        results = [library.result(operation, array) for array in made]
        return tuple(results) if two else results[0]
    if two and (not isinstance(out, tuple) or len(out) != 2):
        raise ProblemError(sentence(operation, f"out is of type {type(out).__name__}", "a pair (values, indices)", "pass out=(y, indices)"))
    taken, facts = dict(inputs), []
    for (name, dtype), array in zip(wanted, out if two else (out,)):
        facts.append(output(operation, library, name, array, problem.y_shape, dtype, taken, output_axes(problem)))
        taken[name] = facts[-1]
    bound.run(library, inputs, facts, handle)
    return out


@functools.lru_cache(maxsize=1024)
def _table(weighting: str, window: tuple[int, int], dilation: tuple[int, int], sigma: float | None) -> Any:
    return tap_weights(weighting, window, dilation, sigma)


def tap_operand(problem: Pool2dProblem, library: Library, like: Operand) -> Operand:
    """Return the [R, S] tap weights of a named weighting as an operand beside `like`."""
    table = _table(problem.weighting, (problem.r, problem.s), problem.dilation, problem.sigma)
    return library.constant(table, tap_dtype(problem), like)


def tap_dtype(problem: Pool2dProblem) -> str:
    """Return the dtype of tap weights: float64 for float64 x, else float32."""
    return "float64" if problem.dtype == "float64" else "float32"


def packed(operation: str, library: Library, constants: Operands) -> Operands:
    """Return contiguous copies of operands, which a plan keeps."""
    return {name: library.made(operation, library.copy(operand), operand) for name, operand in constants.items()}
