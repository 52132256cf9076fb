"""The record of one probe: a small kernel that shows one primitive at work, on inputs that follow from a seed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..launch import MAP_BYTES, Launch, TensorMap

Arrays = dict[str, np.ndarray]
Triple = tuple[int, int, int]
SIZES = 8


class ProbeArguments(ctypes.Structure):
    """Mirror of struct ProbeArguments of csrc/include/atrous/probes/probe.hpp."""

    _fields_ = [
        ("x", ctypes.c_void_p),
        ("w", ctypes.c_void_p),
        ("y", ctypes.c_void_p),
        ("count", ctypes.c_longlong),
        ("size", ctypes.c_int * SIZES),
    ]


@dataclass(frozen=True)
class Probe:
    """A small kernel with everything that a run of it needs.

    `inputs` draws "x" and, where the probe has one, "w": NumPy arrays of any shape and dtype, the same for the same
    random generator, so that a recording holds a seed and the outputs alone. `output` is the shape and dtype of "y";
    all of y is compared, so the kernel writes all of it, or y is filled with 0xFF where it does not.
    """

    name: str  # of the recording: "mma_m16n8k16_f16"
    kernel: str  # as in a Launch: "probe_mma<float16>"
    header: str  # "atrous/probes/mma.cuh"
    inputs: Callable[[np.random.Generator], Arrays]
    output: tuple[tuple[int, ...], str]
    count: int = 0
    size: tuple[int, ...] = ()  # at most SIZES numbers
    grid: Triple = (1, 1, 1)
    block: Triple = (32, 1, 1)
    cluster: Triple = (1, 1, 1)
    shared_bytes: int = 0
    tensor_maps: tuple[TensorMap, ...] = ()  # in the argument struct, which begins with ProbeArguments
    capability: int = 80  # 10 * major + minor of the first device that runs it; 90: that one alone (sm_90a)
    #: largest |model - device| for these inputs, in y's own shape or a number; None: equal to the bit
    bound: Callable[[Arrays], Any] | None = None

    def launch(self) -> Launch:
        """Return the launch."""
        arguments = ProbeArguments(count=self.count, size=(ctypes.c_int * SIZES)(*self.size))
        end = max((found.offset + MAP_BYTES for found in self.tensor_maps), default=ctypes.sizeof(arguments))
        return Launch(
            name=self.kernel,
            header=self.header,
            grid=self.grid,
            block=self.block,
            shared_bytes=self.shared_bytes,
            parameters=bytes(arguments).ljust(end, b"\0"),
            pointers=("x", "w", "y"),
            cluster=self.cluster,
            tensor_maps=self.tensor_maps,
        )

    def draw(self, seed: int) -> Arrays:
        """Return the inputs of a seed."""
        return self.inputs(np.random.default_rng(seed))
