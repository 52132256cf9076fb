"""The Launch record: everything an engine needs to run one kernel, and nothing about why."""

from __future__ import annotations

from dataclasses import dataclass

#: A pointer per slot, in the order of Launch.pointers; 0 where the operand is absent.
Pointers = tuple[int, ...]


@dataclass(frozen=True)
class Launch:
    """One kernel launch as plain data.

    `parameters` is the image of the kernel's one argument, a C++ struct of `problem.hpp` passed by value. Its
    first 8 bytes times len(pointers) are the pointer slots, zero here; an engine fills them in at each call.
    """

    name: str  # C++ expression in namespace atrous: "conv_direct<float16, Nhwc, int32, WideTile>"
    header: str  # where that template stands: "atrous/kernels/conv_direct.cuh"
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int  # dynamic shared memory
    parameters: bytes
    pointers: tuple[str, ...]  # operand of each slot: ("x", "weight", "scale", "bias", "residual", "y")
    cluster: tuple[int, int, int] = (1, 1, 1)
    tensor_maps: tuple[str, ...] = ()

    def __str__(self) -> str:
        shape = "x".join(map(str, self.grid)) + " blocks of " + "x".join(map(str, self.block))
        return f"{self.name}: {shape} threads, {self.shared_bytes} shared bytes"
