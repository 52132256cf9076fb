"""cuDNN itself through its frontend: convolution, bias, residual and activation as one graph, planned by its heuristics, on torch's memory."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import Any

from ...problem import Conv2dProblem
from ...testing import Inputs
from ..contest import Contestant, Unsupported, sets_of
from . import torch_eager
from .shared import check_convolution, sets_like, why_not

NAME = "cudnn-frontend"
DTYPES = {"float16": "HALF", "bfloat16": "BFLOAT16", "float32": "FLOAT"}
#: activation -> the graph's own operation of one input
ACTIVATIONS = {"relu": "relu", "silu": "swish", "gelu": "gelu", "gelu_tanh": "gelu_approx_tanh", "sigmoid": "sigmoid", "tanh": "tanh"}


def available(device: str) -> str | None:
    """Return None if cuDNN's frontend, and torch with a GPU to hold its arrays, are here; else the sentence why not."""
    if device != "cuda":
        return "cuDNN computes on a GPU alone"
    if importlib.util.find_spec("cudnn") is None:
        return "nvidia-cudnn-frontend is not installed"
    return why_not("cudnn") or torch_eager.available("cuda")


def version() -> str:
    """Return the frontend's version."""
    return importlib.metadata.version("nvidia-cudnn-frontend")


def contestants(problem: Any, inputs: Inputs, device: str) -> list[Contestant]:
    """Return the graph on operands in the problem's own layout."""
    if not isinstance(problem, Conv2dProblem):
        raise Unsupported("cuDNN's graphs are asked for convolutions alone here")
    cudnn, torch = importlib.import_module("cudnn"), importlib.import_module("torch")
    order = "contiguous_format" if problem.layout == "NCHW" else "channels_last"
    sets = sets_like(torch_eager.tensors(problem, inputs, device, order), sets_of(problem, inputs), torch.clone)
    for operands in sets:
        empty = torch.empty(problem.n, problem.k, problem.p, problem.q, dtype=operands["x"].dtype, device=device)
        operands["y"] = empty.contiguous(memory_format=getattr(torch, order))
        operands |= {name: operands[name].reshape(1, -1, 1, 1) for name in ("scale", "bias") if name in operands}
    handle = cudnn.create_handle()
    graph, nodes = graph_of(cudnn, problem, {name: (list(tensor.shape), list(tensor.stride())) for name, tensor in sets[0].items()}, handle)
    graph.build([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    workspace = torch.empty(max(1, graph.get_workspace_size()), dtype=torch.uint8, device=device)

    def run_on(operands: dict[str, Any]) -> None:
        cudnn.set_stream(handle=handle, stream=torch.cuda.current_stream().cuda_stream)
        graph.execute({nodes[name]: tensor for name, tensor in operands.items()}, workspace, handle=handle)

    calls = [functools.partial(run_on, operands) for operands in sets]
    capture: Callable[..., Any] = lambda several: (torch_eager.captured(several), lambda: torch_eager.to_numpy(problem, sets[-1]["y"]))  # noqa: E731
    output = lambda: torch_eager.to_numpy(problem, sets[0]["y"])  # noqa: E731
    return [Contestant(NAME, calls[0], output, rotate=calls, capture=capture, wait=torch.cuda.synchronize, unfused=True)]


def graph_of(cudnn: Any, problem: Conv2dProblem, tensors: dict[str, tuple[list[int], list[int]]], handle: Any = None) -> tuple[Any, dict[str, Any]]:
    """Return the graph of a problem, and its tensors by the names of our operands; `tensors` are their (N, C, H, W) sizes and strides.

    Raises
    ------
    Unsupported
        If the graph has no operation for it.
    """
    check_convolution(problem, "cuDNN", tuple(DTYPES))
    kind, wide = getattr(cudnn.data_type, DTYPES[problem.dtype]), cudnn.data_type.FLOAT
    graph = cudnn.pygraph(io_data_type=kind, intermediate_data_type=wide, compute_data_type=wide, handle=handle)
    nodes = {name: graph.tensor(name=name, dim=dim, stride=stride, data_type=kind) for name, (dim, stride) in tensors.items() if name != "y"}
    top, bottom, left, right = problem.pads
    words = dict(pre_padding=[top, left], post_padding=[bottom, right], stride=list(problem.stride), dilation=list(problem.dilation))
    y = graph.conv_fprop(image=nodes["x"], weight=nodes["weight"], **words)
    if "scale" in nodes:
        y = graph.mul(a=y, b=nodes["scale"])
    if "bias" in nodes:
        y = graph.bias(input=y, bias=nodes["bias"])
    if "residual" in nodes:
        y = graph.add(a=y, b=nodes["residual"])
    y = _activated(graph, y, problem.activation)
    dim, stride = tensors["y"]
    y.set_output(True).set_data_type(kind).set_dim(dim).set_stride(stride)
    return graph, {**nodes, "y": y}


def _activated(graph: Any, y: Any, activation: tuple[Any, ...]) -> Any:
    name, *numbers = activation
    if name == "none":
        return y
    if name in ("relu6", "clip"):
        low, high = numbers or (0.0, 6.0)
        return graph.relu(input=y, lower_clip=low, upper_clip=high)
    if name == "leaky_relu":
        return graph.relu(input=y, negative_slope=numbers[0])
    if name not in ACTIVATIONS:
        raise Unsupported(f"cuDNN's graphs have no {name}")
    return getattr(graph, ACTIVATIONS[name])(input=y)
