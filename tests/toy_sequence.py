"""A kernel description made of kernels that there are: it copies the weight, convolves into scratch, and copies that to y.

It is what sequences of launches are tested with: the copy of the weight stands for packing, the scratch for partial sums.
"""

from __future__ import annotations

import math
from dataclasses import replace

import atrous.cli.verify
from atrous import kernels, routes, verify
from atrous.kernels import conv_direct, pool
from atrous.kernels.base import Strides, contiguous, default_strides
from atrous.problem import Pool2dProblem

ITEM = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


def copy(shape, dtype, source, target, from_strides, to_strides):
    """Return the launch that copies one 4-dimensional operand to another: a maximum over windows of 1x1."""
    problem = Pool2dProblem.make(shape, 1, "max", dtype=dtype, nan="propagate")
    launch = pool.KERNEL.launch(problem, Strides(x=from_strides, y=to_strides))
    return replace(launch, pointers=(source, "", target, ""))


class Toy:
    """Takes NHWC convolutions of floats; x at an address that is no multiple of 16 goes through 64-bit indices."""

    name = "toy"
    operation = "conv2d"
    header = conv_direct.KERNEL.header

    def declines(self, problem, device):
        if problem.layout != "NHWC" or problem.dtype not in ITEM or problem.out_dtype != problem.dtype:
            return f"{problem} is {problem.layout}, {problem.dtype} to {problem.out_dtype}, and it takes NHWC of one float dtype"
        return None

    def launch(self, problem, strides=None, device=None):
        strides = strides or default_strides(problem)
        return self.sequence(problem, strides, "int32" if strides.alignment == 16 else "int64")

    def variants(self, problem, strides=None):
        strides = strides or default_strides(problem)
        yield from (self.sequence(problem, strides, index) for index in ("int32", "int64"))
        yield from conv_direct.KERNEL.variants(problem, strides)  # one of them under the name that the sequence has too

    def sequence(self, problem, strides, index):
        shape = problem.k, problem.r, problem.s, problem.c // problem.groups
        dense_weight, dense_y = contiguous(shape), contiguous(problem.y_shape)
        inner = replace(strides, weight=dense_weight, y=dense_y)
        main = next(launch for launch in conv_direct.KERNEL.variants(problem, inner) if f", {index}" in launch.name)
        names = {"weight": "packed_weight", "y": "unfinished"}
        size = ITEM[problem.dtype]
        times = 3 if strides.x != contiguous(problem.x_shape) else 2 if strides.alignment < 16 else 1  # of the workspace it needs
        return replace(
            main,
            pointers=tuple(names.get(name, name) for name in main.pointers),
            scratch=(("packed_weight", size * math.prod(problem.weight_shape)), ("unfinished", size * math.prod(problem.y_shape) * times)),
            before=(copy(shape, problem.dtype, "weight", "packed_weight", strides.weight, dense_weight),),
            after=(copy(problem.y_shape, problem.dtype, "unfinished", "y", dense_y, strides.y),),
        )

    def seconds(self, problem, device):
        return 0.0

    def account(self, problem, device):
        return "nothing: it is a toy"

    def instances(self):
        yield from conv_direct.KERNEL.instances()
        yield from (name for name in pool.KERNEL.instances() if "MaxReduction" in name and "Nhwc" in name)


def install(monkeypatch, toy=None):
    """Have the toy asked first, and chosen where it does not decline."""
    order = (toy or Toy(), *kernels.ORDER)
    monkeypatch.setattr(kernels, "ORDER", order)
    monkeypatch.setattr(verify, "ORDER", order)
    monkeypatch.setattr(atrous.cli.verify, "ORDER", order)
    routes.route.cache_clear()
