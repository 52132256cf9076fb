"""torch.compile: Inductor with max-autotune, with and without CUDA graphs of its own."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import shutil
from collections.abc import Callable
from typing import Any

from ...problem import Pool2dProblem
from ...testing import Inputs
from ..contest import Contestant, sets_of
from . import torch_eager
from .shared import sets_like

NAME = "torch.compile"
#: of a contestant -> mode of torch.compile
MODES = {"max-autotune": "max-autotune", "max-autotune, no graphs": "max-autotune-no-cudagraphs"}


def available(device: str) -> str | None:
    """Return None if torch reaches the device and finds what its compiler needs, else the sentence why not."""
    if (reason := torch_eager.available(device)) is not None:
        return reason
    if device == "cuda":
        return None if importlib.util.find_spec("triton") else "torch is installed and triton, which it compiles with, is not"
    return None if shutil.which("g++") or shutil.which("clang++") else "torch is installed and finds no C++ compiler to compile with"


def version() -> str:
    """Return torch's version."""
    return importlib.metadata.version("torch")


def contestants(problem: Any, inputs: Inputs, device: str) -> list[Contestant]:
    """Return the operation on channels_last tensors, contiguous ones for an NCHW problem, in each mode that differs on the device."""
    torch = importlib.import_module("torch")
    torch.compiler.reset()  # after eight problems of one text it would compile no more
    torch.backends.cudnn.benchmark = True
    tf32 = not isinstance(problem, Pool2dProblem) and problem.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    modes = MODES if device == "cuda" else {"max-autotune": MODES["max-autotune"]}  # without a GPU there are no graphs
    return [_contestant(f"{NAME} {name}", mode, problem, inputs, device) for name, mode in modes.items()]


def _contestant(name: str, mode: str, problem: Any, inputs: Inputs, device: str) -> Contestant:
    torch = importlib.import_module("torch")
    compute = torch.compile(torch_eager.operation(problem), mode=mode, dynamic=False, fullgraph=True)
    order = "contiguous_format" if problem.layout == "NCHW" else "channels_last"
    own_graphs = device == "cuda" and mode == "max-autotune"
    # Its own graphs copy inputs that move, and count replays by the addresses they saw: one set of buffers is what its users have.
    count = 1 if device == "cpu" or own_graphs else sets_of(problem, inputs)
    sets = sets_like(torch_eager.tensors(problem, inputs, device, order), count, torch.clone)
    last: list[Any] = [None]

    def run_on(operands: dict[str, Any]) -> Any:
        with torch.inference_mode():
            if own_graphs:
                torch.compiler.cudagraph_mark_step_begin()
            last[0] = compute(**operands)
        return last[0]

    calls = [functools.partial(run_on, operands) for operands in sets]
    output = lambda: torch_eager.to_numpy(problem, last[0])  # noqa: E731
    wait: Callable[[], Any] = torch.cuda.synchronize if device == "cuda" else lambda: None
    words: dict[str, Any] = dict(uncaptured="it replays a CUDA graph of its own, which no other graph can hold") if own_graphs else {}
    if device == "cuda" and not own_graphs:
        words = dict(rotate=calls, capture=lambda several: (torch_eager.captured(several), output))
    return Contestant(name, calls[0], output, wait=wait, unfused=True, **words)
