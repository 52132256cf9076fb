"""torch in eager mode, channels_last and contiguous, with cuDNN's own search for the fastest algorithm on a GPU."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import math
from collections.abc import Callable, Sequence
from typing import Any

from ...arguments import FLOAT_DTYPES
from ...problem import Conv2dProblem, ConvPool2dProblem, Pool2dProblem
from ...testing import Inputs
from ..contest import Contestant, Unsupported, sets_of
from .shared import sets_like

NAME = "torch eager"
#: of a contestant -> the order of its tensors in memory
MODES = {"torch channels_last": "channels_last", "torch contiguous": "contiguous_format"}
#: activation -> how torch.nn.functional spells it; its numbers follow
ACTIVATIONS = {"relu": "relu", "relu6": "relu6", "leaky_relu": "leaky_relu", "silu": "silu", "gelu": "gelu", "hardswish": "hardswish"}
MODES_OF_PADDING = {"reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def available(device: str) -> str | None:
    """Return None if torch is here and reaches the device, else the sentence why not."""
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed"
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as failure:
        return f"torch is installed but failed to load, because {failure}"
    return None if device == "cpu" or torch.cuda.is_available() else "torch is installed and finds no CUDA device"


def version() -> str:
    """Return torch's version."""
    return importlib.metadata.version("torch")


def contestants(problem: Any, inputs: Inputs, device: str) -> list[Contestant]:
    """Return the operation in both orders of memory."""
    torch = importlib.import_module("torch")
    torch.backends.cudnn.benchmark = True
    exact = problem.dtype != "float32" or problem.precision != "tf32" if not isinstance(problem, Pool2dProblem) else True
    torch.backends.cudnn.allow_tf32 = not exact
    compute = operation(problem)
    return [_contestant(name, order, compute, problem, inputs, device) for name, order in MODES.items()]


def _contestant(name: str, order: str, compute: Callable[..., Any], problem: Any, inputs: Inputs, device: str) -> Contestant:
    torch = importlib.import_module("torch")
    count = sets_of(problem, inputs) if device == "cuda" else 1
    sets = sets_like(tensors(problem, inputs, device, order), count, torch.clone)
    last: list[Any] = [None]

    def run_on(operands: dict[str, Any]) -> Callable[[], Any]:
        def call() -> Any:
            with torch.inference_mode():
                last[0] = compute(**operands)
            return last[0]

        return call

    calls = [run_on(operands) for operands in sets]
    output = lambda: to_numpy(problem, last[0])  # noqa: E731
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    graph = None if device == "cpu" else lambda several: (captured(several), output)
    return Contestant(name, calls[0], output, rotate=calls, capture=graph, wait=wait, unfused=True)


def captured(calls: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
    """Return the replay of a CUDA graph of calls; what they make lies in the graph's own memory.

    The last result of each of them is kept, as a caller keeps it: memory of one that is dropped would be the next one's, still in L2.
    """
    torch = importlib.import_module("torch")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for call in calls:
            call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    kept = {}
    with torch.cuda.graph(graph):
        for call in calls:
            kept[call] = call()
    return lambda: (graph.replay(), kept)[0]


def tensors(problem: Any, inputs: Inputs, device: str, order: str) -> dict[str, Any]:
    """Return the operands as torch takes them: NCHW and KCRS by their axes, in memory as `order` says."""
    torch = importlib.import_module("torch")
    axes = {"x": problem.layout, "residual": problem.layout, "weight": getattr(problem, "weight_layout", "")}
    found = {}
    for name, array in inputs.items():
        tensor = from_numpy(torch, array)
        if name in axes:
            target = "KCRS" if name == "weight" else "NCHW"
            tensor = tensor.permute([axes[name].index(letter) for letter in target])
            tensor = tensor.to(device).clone(memory_format=getattr(torch, order))
        found[name] = tensor.to(device)
    return found


def from_numpy(torch: Any, array: Any) -> Any:
    """Return a tensor of an array's numbers; NumPy's bfloat16 is no dtype that torch reads."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view("uint16")).view(torch.bfloat16)
    return torch.from_numpy(array)


def to_numpy(problem: Any, tensor: Any) -> Any:
    """Return an NCHW tensor as a NumPy array in the problem's layout."""
    torch = importlib.import_module("torch")
    host = tensor.detach().cpu().permute(["NCHW".index(letter) for letter in problem.layout])
    if host.dtype == torch.bfloat16:
        return host.contiguous().view(torch.uint16).numpy().view(importlib.import_module("ml_dtypes").bfloat16)
    return host.numpy()


def operation(problem: Any) -> Callable[..., Any]:
    """Return compute(x, weight, ...) on torch tensors, as a user of torch would write the problem.

    Raises
    ------
    Unsupported
        If torch has no operation for it.
    """
    if isinstance(problem, ConvPool2dProblem):
        conv, pool = _convolution(problem.conv), _pooling(problem.pool)
        return lambda x, **operands: pool(conv(x, **operands))
    return _convolution(problem) if isinstance(problem, Conv2dProblem) else _pooling(problem)


def _convolution(problem: Conv2dProblem) -> Callable[..., Any]:
    torch = importlib.import_module("torch")
    functional = torch.nn.functional
    if problem.dtype not in FLOAT_DTYPES:
        raise Unsupported(f"torch has no {problem.dtype} convolution outside its quantised tensors")
    if problem.out_dtype != problem.dtype or any(dtype not in (None, problem.dtype) for dtype in (problem.bias, problem.scale)):
        raise Unsupported("torch convolves operands and gives results of one dtype")
    activate = _activation(problem.activation)
    padding, pad = _padding(problem)
    words = dict(stride=problem.stride, padding=padding, dilation=problem.dilation, groups=problem.groups)

    def compute(x: Any, weight: Any, scale: Any = None, bias: Any = None, residual: Any = None) -> Any:
        x = x if pad is None else pad(x)
        if scale is None:
            y = functional.conv2d(x, weight, bias, **words)
        else:
            y = functional.conv2d(x, weight, **words) * scale[:, None, None]
            y = y if bias is None else y + bias[:, None, None]
        return activate(y if residual is None else y + residual)

    return compute


def _padding(problem: Any, value: float = 0.0) -> tuple[tuple[int, int], Callable[[Any], Any] | None]:
    """Return the padding that torch's operation takes, and what pads before it where it does not take the problem's."""
    functional = importlib.import_module("torch").nn.functional
    top, bottom, left, right = problem.pads
    mode = getattr(problem, "padding_mode", "zeros")
    if mode == "zeros" and top == bottom >= 0 and left == right >= 0:
        return (top, left), None
    words = dict(mode="constant", value=value) if mode == "zeros" else dict(mode=MODES_OF_PADDING[mode])
    return (0, 0), lambda x: functional.pad(x, (left, right, top, bottom), **words)


def _activation(activation: tuple[Any, ...]) -> Callable[[Any], Any]:
    torch = importlib.import_module("torch")
    functional = torch.nn.functional
    name, *numbers = activation
    if name == "none":
        return lambda y: y
    if name == "gelu_tanh":
        return lambda y: functional.gelu(y, approximate="tanh")
    if name == "clip":
        return lambda y: torch.clamp(y, *numbers)
    if name in ("sigmoid", "tanh"):
        return getattr(torch, name)
    found = getattr(functional, ACTIVATIONS[name])
    return lambda y: found(y, *numbers)


def _pooling(problem: Pool2dProblem) -> Callable[..., Any]:
    torch = importlib.import_module("torch")
    functional, window = torch.nn.functional, (problem.r, problem.s)
    if problem.dtype not in FLOAT_DTYPES:
        raise Unsupported(f"torch's pooling takes no {problem.dtype}")
    words = dict(stride=problem.stride, ceil_mode=problem.ceil_mode)
    if problem.kind == "max":
        if problem.nan != "propagate":
            raise Unsupported("torch's maximum of a window with a NaN is NaN")
        padding, pad = _padding(problem, -math.inf)
        if pad is None and any(2 * size > extent for size, extent in zip(padding, window)):
            raise Unsupported("torch pads at most half a window before pooling")
        maximum = lambda x: functional.max_pool2d(x, window, padding=padding, dilation=problem.dilation, **words)  # noqa: E731
        return maximum if pad is None else lambda x: maximum(pad(x))
    if problem.dilation != (1, 1):
        raise Unsupported("of torch's poolings only the maximum takes a dilation")
    return _mean(problem, functional, words) if problem.kind == "avg" else _norm(problem, functional, words)


def _mean(problem: Pool2dProblem, functional: Any, words: dict[str, Any]) -> Callable[..., Any]:
    padding, pad = _padding(problem)
    if pad is not None or any(2 * size > extent for size, extent in zip(padding, (problem.r, problem.s))):
        raise Unsupported("torch's average takes equal padding on both sides, of at most half a window")
    if (problem.r, problem.s) == (problem.h, problem.w) and not any(padding) and problem.divisor is None:
        return lambda x: functional.adaptive_avg_pool2d(x, 1)
    if problem.divisor is not None and problem.divisor != int(problem.divisor):
        raise Unsupported("torch's divisor is a whole number")
    words |= dict(count_include_pad=problem.count_include_pad, divisor_override=None if problem.divisor is None else int(problem.divisor))
    return lambda x: functional.avg_pool2d(x, (problem.r, problem.s), padding=padding, **words)


def _norm(problem: Pool2dProblem, functional: Any, words: dict[str, Any]) -> Callable[..., Any]:
    if problem.kind != "lp" or math.isinf(problem.power):
        raise Unsupported(f"torch has no {problem.kind} pooling of this kind")
    if problem.power % 2:
        raise Unsupported("torch raises x itself to the power, and not |x|: only its even powers give a norm")
    if problem.ceil_mode:
        raise Unsupported("torch scales up the norm of a window that hangs over the edge")
    padding, pad = _padding(problem)
    top, left = padding
    around = pad or ((lambda x: functional.pad(x, (left, left, top, top))) if any(padding) else (lambda x: x))
    return lambda x: functional.lp_pool2d(around(x), problem.power, (problem.r, problem.s), **words)
