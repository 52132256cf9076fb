"""finish_splits: adds the partial sums of a convolution whose gemm_k was split over blocks, and applies its epilogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..arguments import FLOAT_DTYPES, LAYOUTS
from ..launch import Launch
from .base import Strides, default_strides
from .parameters import ConvArguments, FinishArguments, conv_arguments, pointer_names

THREADS = 256
#: output pixels and output channels of a block
TILE = (32, 32)
#: the scratch operand that it reads
PARTIAL_SUMS = "partial_sums"
#: sums of a row are rounded up to this many, so that every row starts on 16 bytes
ROW_SUMS = 4
SUM_BYTES = 4


def partial_bytes(problem: Any, segments: int) -> int:
    """Return the bytes of float32 or int32 partial sums [segments][gemm_m][K rounded up to 4]."""
    return segments * problem.n * problem.p * problem.q * -(-problem.k // ROW_SUMS) * ROW_SUMS * SUM_BYTES


def finish_blocks(problem: Any) -> int:
    """Return how many blocks cover gemm_m = N*P*Q and the output channels."""
    return -(-problem.n * problem.p * problem.q // TILE[0]) * -(-problem.k // TILE[1])


class FinishSplits:
    """Description of csrc/include/atrous/kernels/finish_splits.cuh."""

    name = "finish_splits"
    header = "atrous/kernels/finish_splits.cuh"

    def launch(self, problem: Any, strides: Strides | None, segments: int) -> Launch:
        """Return the launch that follows a convolution's: y of these strides (default: contiguous) from its partial sums."""
        conv = ConvArguments.from_buffer_copy(conv_arguments(problem, strides or default_strides(problem)))
        total = "float32" if problem.dtype in FLOAT_DTYPES else "int32"
        _, _, *others = pointer_names(ConvArguments)
        return Launch(
            name=f"{self.name}<{total}, {problem.layout.capitalize()}>",
            header=self.header,
            grid=(finish_blocks(problem), 1, 1),
            block=(THREADS, 1, 1),
            shared_bytes=0,
            parameters=bytes(FinishArguments(conv=conv, segments=segments)),
            pointers=(PARTIAL_SUMS, "weight", *others),
        )

    def instances(self) -> Iterator[str]:
        """Yield every name that `launch` can return."""
        for total in ("float32", "int32"):
            for layout in LAYOUTS:
                yield f"finish_splits<{total}, {layout.capitalize()}>"


KERNEL = FinishSplits()
