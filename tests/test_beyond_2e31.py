"""Operands of more than 2^31 elements: the first, a middle and the last block of every kernel, and what 32 bits would make of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from atrous import kernels
from atrous.engines import simulated
from atrous.kernels.base import DEVICES
from atrous.problem import parse

PROOF = Path(__file__).parent / "proof"
sys.path.insert(0, str(PROOF))
import beyond  # noqa: E402

pytestmark = [
    pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available())),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sparse memory and the record of its pages are Linux's"),
]


def takers(case):
    problem = parse(case)
    return [kernel.name for kernel in kernels.for_operation(kernels.operation_of(problem)) if kernel.declines(problem, DEVICES["simulated"]) is None]


def right(case, record_property):
    names = takers(case)
    assert names, f"no kernel takes {case}"
    for kernel in names:
        compared, wrong = beyond.check(case, kernel)
        assert wrong is None, wrong
        assert compared > 3
    record_property("beyond_2e31", 3 * len(names))


@pytest.mark.parametrize("name", beyond.CASES)
def test_single_blocks(name, record_property):
    right(beyond.CASES[name], record_property)


def test_every_kernel_and_layout_is_among_them():
    met = {(kernel, parse(case).layout) for case in beyond.CASES.values() for kernel in takers(case)}
    every = {(kernel.name, layout) for kernel in kernels.ORDER for layout in ("NHWC", "NCHW")}
    planes = {("conv_depthwise_planes", "NHWC")}
    pieces = {"conv_depthwise", "conv_depthwise_large", "conv_grouped", "conv_pool", "conv_separable", "pool_stream"}  # of channels
    assert met == every - planes - {(name, "NCHW") for name in pieces}


def test_pytorch_43476_a_grid_of_minus_2e31_blocks(record_property):
    """2^31 elements in, one filter of 1x1: a count of blocks in an int was negative."""
    right("n1c32h262144w256_k1r1s1_f32_nchw", record_property)
    right("n1c32h262144w256_k1r1s1_f32", record_property)


def test_pytorch_87354_all_zero_output(record_property):
    """The same operands once the assertion was gone: an output of zeros."""
    compared, wrong = beyond.check("n1c32h262144w256_k1r1s1_f16_nchw", "conv_direct")
    assert wrong is None and compared > 0, "an output of zeros counts as unwritten"


def test_pytorch_117736_a_convolution_beyond_2e31(record_property):
    for case in ("n1c32h8300w8192_k64r3s3_pad1_f32_nchw", "n1c32h8300w8192_k64r3s3_pad1_f32"):
        right(case, record_property)


WIDE = ("conv_x_nhwc", "conv_x_nchw", "conv_y_nhwc", "conv_many_images", "pointwise_x_nhwc", "pointwise_x_nchw", "max_nhwc", "max_nchw", "average_nchw")


@pytest.mark.parametrize("name", WIDE)
def test_32_bits_are_never_asked_for_and_would_be_wrong(name):
    """The description asks for 64 bits; the instance of 32 run by force gives wrong numbers, or leaves its memory."""
    case = beyond.CASES[name]
    for kernel in takers(case):
        launch = beyond.lone(kernels.named(kernel), parse(case))
        assert ", int32" not in launch.name
        if ", int64" not in launch.name:
            continue  # a kernel without an instance of 32 bits
        done = subprocess.run([sys.executable, str(PROOF / "beyond.py"), case, kernel, "int32"], capture_output=True, text=True, timeout=300)
        assert done.returncode == 1 or done.returncode < 0, f"{kernel} with 32 bits went unnoticed: {done.stdout}{done.stderr}"
        assert done.returncode < 0 or "Traceback" not in done.stderr or "[simulator]" in done.stderr, done.stderr
