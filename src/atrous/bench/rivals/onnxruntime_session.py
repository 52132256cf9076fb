"""onnxruntime: a session of the operation's ONNX nodes; on a GPU by its CUDA provider with exhaustive search, NHWC inside, and a CUDA graph."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from collections.abc import Callable
from typing import Any

import numpy as np

from ...problem import Conv2dProblem, ConvPool2dProblem, Pool2dProblem
from ...testing import Inputs
from ..contest import Contestant, Unsupported, sets_of
from .shared import LEAST_SETS, MOST_SETS, check_convolution, check_pooling, is_global, transposed, why_not

NAME = "onnxruntime"
DTYPES = ("float16", "float32")
OPSET, IR_VERSION = 19, 9
CUDA = "CUDAExecutionProvider"
#: activation -> the ONNX operator, and the names of its attributes in the order of our numbers
ACTIVATIONS = {"relu": ("Relu",), "leaky_relu": ("LeakyRelu", "alpha"), "hardswish": ("HardSwish",), "sigmoid": ("Sigmoid",), "tanh": ("Tanh",)}


def available(device: str) -> str | None:
    """Return None if onnxruntime with a provider for the device, and onnx to write models, are here; else the sentence why not."""
    if (reason := why_not("onnxruntime") or why_not("onnx")) is not None or device == "cpu":
        return reason
    providers = importlib.import_module("onnxruntime").get_available_providers()
    return None if CUDA in providers else f"onnxruntime is installed without its CUDA provider (it has {', '.join(providers)}; onnxruntime-gpu has it)"


def version() -> str:
    """Return onnxruntime's version."""
    return str(importlib.import_module("onnxruntime").__version__)


def contestants(problem: Any, inputs: Inputs, device: str) -> list[Contestant]:
    """Return the session; on a CPU in NCHW, which is the runtime's own, on a GPU with inputs and outputs in the problem's layout."""
    layout = problem.layout if device == "cuda" else "NCHW"
    model = functools.partial(model_of, problem, inputs, layout)
    session = Session(model(1), problem, inputs, layout, device, 1)
    words: dict[str, Any] = {}
    if device == "cuda":
        count = min(MOST_SETS, max(LEAST_SETS, sets_of(problem, inputs)))

        def capture(calls: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
            """Return a session of as many such nodes as calls, each with buffers of its own: one CUDA graph runs them all."""
            whole = Session(model(len(calls)), problem, inputs, layout, device, len(calls))
            whole.run()  # the first run captures
            return whole.run, whole.output

        words = dict(rotate=[session.run] * count, capture=capture)
    return [Contestant(NAME, session.run, session.output, wait=session.wait, unfused=True, **words)]


class Session:
    """A session bound to its own inputs and outputs on the device, of `count` times the operation."""

    def __init__(self, model: bytes, problem: Any, inputs: Inputs, layout: str, device: str, count: int) -> None:
        runtime = importlib.import_module("onnxruntime")
        tf32 = not isinstance(problem, Pool2dProblem) and problem.precision == "tf32"
        cuda = {"cudnn_conv_algo_search": "EXHAUSTIVE", "prefer_nhwc": "1", "enable_cuda_graph": "1", "use_tf32": str(int(tf32))}
        providers: list[Any] = ["CPUExecutionProvider"] if device == "cpu" else [(CUDA, cuda)]
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        self._session = runtime.InferenceSession(model, options, providers=providers)
        self._layout, self._wanted, self._count = layout, problem.layout, count
        self._binding = self._session.io_binding()
        shape = tuple(dict(zip(problem.layout, problem.y_shape))[letter] for letter in layout)
        for number in range(count):
            for name in ("x", "residual"):
                if name in inputs:
                    value = runtime.OrtValue.ortvalue_from_numpy(transposed(inputs[name], problem.layout, layout), device, 0)
                    self._binding.bind_ortvalue_input(f"{name}{number}", value)
            self._y = runtime.OrtValue.ortvalue_from_shape_and_type(shape, np.dtype(problem.out_dtype), device, 0)
            self._binding.bind_ortvalue_output(f"y{number}", self._y)

    def run(self) -> None:
        """Run it; returns when it is issued, or on a CPU done."""
        self._session.run_with_iobinding(self._binding)

    def output(self) -> np.ndarray:
        """Return the last output in the problem's layout."""
        return transposed(self._y.numpy(), self._layout, self._wanted)

    def wait(self) -> None:
        """Return when the outputs are there."""
        self._binding.synchronize_outputs()


def model_of(problem: Any, inputs: Inputs, layout: str, count: int) -> bytes:
    """Return the ONNX model of the operation, `count` times with weights of their own each.

    Its images are in `layout`; ONNX' operators are NCHW, so that for NHWC a Transpose stands on either side, which the
    runtime cancels where it computes in NHWC itself.
    """
    onnx = importlib.import_module("onnx")
    graph = Graph(onnx, problem.dtype)
    images = [graph.one(problem, inputs, layout, number) for number in range(count)]
    kind = graph.kind(problem.dtype)
    sides = []
    for names, shape in (([name for pair in images for name in pair[0]], None), ([pair[1] for pair in images], problem.y_shape)):
        side = []
        for name in names:
            full = shape or (problem.y_shape if name.startswith("residual") else problem.x_shape)
            sizes = dict(zip(problem.layout, full))
            side.append(onnx.helper.make_tensor_value_info(name, kind, [sizes[letter] for letter in layout]))
        sides.append(side)
    made = onnx.helper.make_graph(graph.nodes, "problem", *sides, initializer=graph.constants)
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class Graph:
    """The nodes and constants of a model that is being written."""

    def __init__(self, onnx: Any, dtype: str) -> None:
        self._onnx, self._dtype = onnx, dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def kind(self, dtype: str) -> int:
        """Return ONNX' number of a dtype."""
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output = output or f"t{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, array: Any) -> str:
        """Add a constant of the model's dtype and return its name."""
        name = f"c{len(self.constants)}"
        self.constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(array, dtype=self._dtype), name))
        return name

    def one(self, problem: Any, inputs: Inputs, layout: str, number: int) -> tuple[list[str], str]:
        """Add the operation once; return the names of its images, and of its output."""
        images = [f"{name}{number}" for name in ("x", "residual") if name in inputs]
        inner = {name.rstrip("0123456789"): self.node("Transpose", name, perm=[0, 3, 1, 2]) if layout == "NHWC" else name for name in images}
        conv = problem.conv if isinstance(problem, ConvPool2dProblem) else problem
        y = inner["x"]
        if isinstance(conv, Conv2dProblem):
            y = self._convolution(conv, inputs, y, inner.get("residual"))
        pool = problem.pool if isinstance(problem, ConvPool2dProblem) else problem
        if isinstance(pool, Pool2dProblem):
            y = self._pooling(pool, y)
        last = self.nodes[-1]
        if layout == "NHWC":
            return images, self.node("Transpose", y, output=f"y{number}", perm=[0, 2, 3, 1])
        last.output[0] = f"y{number}"
        return images, f"y{number}"

    def _convolution(self, problem: Conv2dProblem, inputs: Inputs, x: str, residual: str | None) -> str:
        check_convolution(problem, "onnxruntime", DTYPES)
        weight = self.constant(transposed(inputs["weight"], problem.weight_layout, "KCRS"))
        words = dict(group=problem.groups, **_window(problem))
        if "scale" not in inputs:
            y = self.node("Conv", x, weight, *([self.constant(inputs["bias"])] if "bias" in inputs else []), **words)
        else:
            y = self.node("Mul", self.node("Conv", x, weight, **words), self.constant(inputs["scale"].reshape(1, -1, 1, 1)))
            y = self.node("Add", y, self.constant(inputs["bias"].reshape(1, -1, 1, 1))) if "bias" in inputs else y
        return self._activation(y if residual is None else self.node("Add", y, residual), problem.activation)

    def _activation(self, y: str, activation: tuple[Any, ...]) -> str:
        name, *numbers = activation
        if name == "none":
            return y
        if name in ("relu6", "clip"):
            low, high = numbers or (0.0, 6.0)
            return self.node("Clip", y, self.constant(low), self.constant(high))
        if name == "silu":
            return self.node("Mul", y, self.node("Sigmoid", y))
        if name not in ACTIVATIONS:
            raise Unsupported(f"ONNX' opset {OPSET} has no {name}")
        operator, *attributes = ACTIVATIONS[name]
        return self.node(operator, y, **dict(zip(attributes, numbers)))

    def _pooling(self, problem: Pool2dProblem, x: str) -> str:
        check_pooling(problem, "onnxruntime", DTYPES)
        if problem.divisor is not None:
            raise Unsupported("ONNX' mean takes no divisor")
        if is_global(problem):
            return self.node("GlobalMaxPool" if problem.kind == "max" else "GlobalAveragePool", x)
        words = dict(_window(problem), ceil_mode=int(problem.ceil_mode))
        if problem.kind == "max":
            return self.node("MaxPool", x, **words)
        return self.node("AveragePool", x, count_include_pad=int(problem.count_include_pad), **words)


def _window(problem: Any) -> dict[str, Any]:
    top, bottom, left, right = problem.pads
    return dict(kernel_shape=[problem.r, problem.s], strides=list(problem.stride), dilations=list(problem.dilation), pads=[top, left, bottom, right])
