"""What tensor cores multiply: of each dtype the arithmetic that mma_types.cuh names, its rate, its planes of weights, and who is refused."""

from __future__ import annotations

from typing import Any

from .base import Device
from .parameters import BYTES

#: dtype of x -> the arithmetic
POLICIES = {"float16": "Float16Mma", "bfloat16": "Bfloat16Mma", "int8": "Int8Mma", "uint8": "Uint8Mma"}
#: those of 16 bits
HALF_POLICIES = {dtype: policy for dtype, policy in POLICIES.items() if BYTES[dtype] == 2}
#: precision of float32 -> the arithmetic
FLOAT32_POLICIES = {"float32": "Tf32x3Mma", "tf32": "Tf32Mma"}
EVERY_POLICY = (*POLICIES.values(), *FLOAT32_POLICIES.values())
#: gemm_k from which on three products of tf32 are below sequential float32, in the bound and in the usual error (docs/float32.md)
FLOAT32_GEMM_K = 96


def policy_of(problem: Any) -> str:
    """Return the name of the arithmetic."""
    return FLOAT32_POLICIES[problem.precision] if problem.dtype == "float32" else POLICIES[problem.dtype]


def rate_of(problem: Any) -> str:
    """Return the name of the Device's rate that a convolution's products run at."""
    return {1: "int8_ops", 2: "half_flops"}.get(BYTES[problem.dtype], "tf32_flops")


def planes_of(problem: Any) -> int:
    """Return how many planes of weights are read: 2 (high and low) for float32 that is not to lose bits, else 1."""
    return 2 if problem.dtype == "float32" and problem.precision == "float32" else 1


def products_of(planes: int) -> int:
    """Return the products of the tensor cores for one multiply-add."""
    return 3 if planes == 2 else 1


def units_of(problem: Any, device: Device) -> str:
    """Return in words what multiplies: "tensor cores (312 TFLOP/s)"."""
    passes = ", three products" if planes_of(problem) == 2 else ""
    return f"tensor cores ({getattr(device, rate_of(problem)) / 1e12:.4g} TFLOP/s{passes})"


def mma_declines(problem: Any, device: Device) -> str | None:
    """Return why tensor cores do not serve a convolution's elements on a device, or None."""
    if problem.dtype != "float32" and problem.dtype not in POLICIES:
        return f"x is {problem.dtype}, and tensor cores take {', '.join(POLICIES)} and float32 here"
    if not getattr(device, rate_of(problem)):
        return f"{device.name} lacks mma.sync, ldmatrix or cp.async, which came with sm_80"
    if problem.precision == "strict":
        return "the precision is 'strict', and tensor cores round float32 to tf32"
    gemm_k = problem.r * problem.s * (problem.c // problem.groups)
    if planes_of(problem) == 2 and gemm_k < FLOAT32_GEMM_K:
        return f"gemm_k is {gemm_k}, and below {FLOAT32_GEMM_K} three products of tf32 lose more than sequential float32"
    return None
