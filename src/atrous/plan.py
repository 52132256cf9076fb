"""Plans: a problem bound to an engine, a kernel and packed weights; callable, repeatable, capturable."""

from __future__ import annotations

import functools
import math
from typing import Any

from . import config
from .arguments import WEIGHTINGS
from .checks import check_inputs, named_words, output_axes, public_name, resize
from .choose import Explanation, Problem, explain_problem, operation_of
from .errors import ProblemError, sentence, shown, typed
from .interop import Library, Operand, numpy_dtype
from .operands import Operands, gather, output, same_device
from .problem import Pool2dProblem
from .recall import Recall
from .routes import route
from .sequence import Memory
from .streams import stream_pointer
from .weighting import tap_weights


class Plan:
    """One operation, ready to run on arrays of one shape: `y = plan(x)`, or `plan(x, out=y)` without any allocation.

    A plan holds its own packed copy of weight, scale and bias, taken when it was made, on the library's stream of that
    moment: writing to the originals afterwards changes nothing. One with a workspace (`workspace_bytes`) serves one stream
    at a time, since its calls write to the same memory; `for_input` of the same shape gives a second one. Make one with
    `plan_conv2d`, `plan_pool2d`, `plan_conv2d_pool2d` or `plan_separable_conv2d`.
    """

    def __init__(
        self, problem: Problem, library: Library | None, constants: Operands, engine: str | None, kernel: str | None, memory: Memory | None = None
    ) -> None:
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
        self._memory = Memory(memory)
        self._planned = route(problem, device, engine, kernel, forced)
        if library is not None and self._planned.kernel is not None and 0 not in problem.y_shape:
            self._planned.ready(library, constants, self._memory)

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
        """Bytes of the copies of weight, scale and bias, and of what kernels made of the weight to read it faster."""
        return self._memory.packed_bytes + sum(math.prod(operand.shape) * numpy_dtype(operand.dtype).itemsize for operand in self._constants.values())

    @property
    def workspace_bytes(self) -> int:
        """Bytes a call holds beyond its output; 0 for every kernel that leaves nothing for a second one to finish."""
        return self._memory.workspace_bytes + self._planned.workspace_bytes

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
            bound = self._planned.prepare(library, inputs, [target], library.stream(inputs["x"]), self._memory)
            self._recall.keep(library, x, out, *bound, (inputs["x"], target))
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
        return Plan(resized, self._library, self._constants, self._engine, self._kernel, self._memory)

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
    memory = None
    if plan is not None:
        plan._planned, memory = bound, plan._memory
    wanted = [("out", problem.out_dtype)]
    if isinstance(problem, Pool2dProblem) and problem.return_indices:
        wanted.append(("out[1]", problem.index_dtype))
    two = len(wanted) == 2
    if out is None:
        made = [library.empty(problem.y_shape, dtype, x) for _, dtype in wanted]
        bound.run(library, inputs, [library.made(operation, array, x) for array in made], handle, memory)
        results = [library.result(operation, array) for array in made]
        return tuple(results) if two else results[0]
    if two and (not isinstance(out, tuple) or len(out) != 2):
        raise ProblemError(sentence(operation, f"out is of type {type(out).__name__}", "a pair (values, indices)", "pass out=(y, indices)"))
    taken, facts = {public_name(problem, name): operand for name, operand in inputs.items()}, []
    for (name, dtype), array in zip(wanted, out if two else (out,)):
        facts.append(output(operation, library, name, array, problem.y_shape, dtype, taken, output_axes(problem)))
        taken[name] = facts[-1]
    bound.run(library, inputs, facts, handle, memory)
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


def dense_vectors(operation: str, library: Library, inputs: Operands, k: int, of: str = "") -> None:
    """Put contiguous copies in the place of a scale and a bias of several channels that are not contiguous: kernels read them so.

    `of` stands before their names: "depthwise_" for those of the first of two.
    """
    for name in (f"{of}scale", f"{of}bias"):
        if name in inputs and k > 1 and inputs[name].strides != (1,):
            inputs |= packed(operation, library, {name: inputs[name]})


def packed(operation: str, library: Library, constants: Operands) -> Operands:
    """Return contiguous copies of operands, which a plan keeps."""
    return {name: library.made(operation, library.copy(operand), operand) for name, operand in constants.items()}
