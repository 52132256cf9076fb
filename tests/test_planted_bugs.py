"""Each of these bugs in the meaning, planted in the reference, must fail the meaning battery; the reference itself must pass it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from battery import CHECKS, failures
from doors import Reference

from atrous import reference
from atrous.geometry import axis_pads, dilated_extent

MUTANTS = []


def planted(mutant):
    """Register a mutant."""
    MUTANTS.append(mutant)
    return mutant


def channels(problem):
    """Return the axis of channels in x and y."""
    return problem.layout.index("C")


@planted
class FlippedKernel(Reference):
    def conv(self, problem, x, weight, scale, bias, residual):
        weight = np.flip(weight, [problem.weight_layout.index(letter) for letter in "RS"])
        return super().conv(problem, x, weight, scale, bias, residual)


@planted
class SwappedHeadAndTailPads(Reference):
    def conv(self, problem, *operands):
        top, bottom, left, right = problem.pads
        return super().conv(replace(problem, pads=(bottom, top, right, left)), *operands)


@planted
class SwappedDilationAxes(Reference):
    def conv(self, problem, *operands):
        top, bottom, left, right = problem.pads
        swapped = problem.dilation[::-1]
        # the far pads make up for the other extent, so that the output keeps its size and only its numbers are wrong
        bottom += dilated_extent(problem.r, swapped[0]) - dilated_extent(problem.r, problem.dilation[0])
        right += dilated_extent(problem.s, swapped[1]) - dilated_extent(problem.s, problem.dilation[1])
        return super().conv(replace(problem, dilation=swapped, pads=(top, bottom, left, right)), *operands)


@planted
class DroppedBias(Reference):
    def conv(self, problem, x, weight, scale, bias, residual):
        return super().conv(problem, x, weight, scale, None, residual)


@planted
class FirstBiasEverywhere(Reference):
    def conv(self, problem, x, weight, scale, bias, residual):
        bias = None if bias is None or not bias.size else np.full_like(bias, bias[0])
        return super().conv(problem, x, weight, scale, bias, residual)


@planted
class FirstGroupEverywhere(Reference):
    def conv(self, problem, x, *operands):
        first = np.take(x, range(problem.c // problem.groups), axis=channels(problem))
        return super().conv(problem, np.concatenate([first] * problem.groups, axis=channels(problem)), *operands)


@planted
class MultiplierOrder(Reference):
    """Output channel k reads group k % G where it should read k // (K/G)."""

    def conv(self, problem, x, weight, scale, bias, residual):
        order = np.argsort(np.arange(problem.k) % problem.groups, kind="stable")
        weight = np.take(weight, order, axis=problem.weight_layout.index("K"))
        scale, bias = (None if vector is None else vector[order] for vector in (scale, bias))
        residual = None if residual is None else np.take(residual, order, axis=channels(problem))
        y = super().conv(problem, x, weight, scale, bias, residual)
        return np.take(y, np.argsort(order), axis=channels(problem))


@planted
class CeilOverhangCounted(Reference):
    """The overhang of a ceil-mode window counts as padding in the average's divisor."""

    def pool(self, problem, x, tap_weight):
        if problem.kind == "avg" and problem.count_include_pad:
            problem = replace(problem, divisor=float(problem.r * problem.s), count_include_pad=False)
        return super().pool(problem, x, tap_weight)


@planted
class CeilClampForgotten(Reference):
    """A last window that starts in the padding past the end is kept."""

    def pool(self, problem, x, tap_weight):
        y = super().pool(problem, x, tap_weight)
        if not problem.ceil_mode or isinstance(y, tuple):
            return y
        room = problem.w + problem.pads[2] + problem.pads[3] - dilated_extent(problem.s, problem.dilation[1])
        extra = -(-room // problem.stride[1]) + 1 - problem.q
        return np.concatenate([y, np.zeros_like(y[:, :, :extra])], axis=2) if problem.layout == "NHWC" else y


@planted
class MaximumPaddedWithZero(Reference):
    def pool(self, problem, x, tap_weight):
        top, bottom, left, right = problem.pads
        if problem.kind != "max" or min(problem.pads) < 0 or problem.return_indices:
            return super().pool(problem, x, tap_weight)
        # overhang is filled too, so that the output keeps its size
        bottom = max(bottom, (problem.p - 1) * problem.stride[0] + dilated_extent(problem.r, problem.dilation[0]) - problem.h - top)
        right = max(right, (problem.q - 1) * problem.stride[1] + dilated_extent(problem.s, problem.dilation[1]) - problem.w - left)
        spatial = {"H": (top, bottom), "W": (left, right)}
        padded = np.pad(x, [spatial.get(letter, (0, 0)) for letter in problem.layout])
        larger = replace(problem, h=problem.h + top + bottom, w=problem.w + left + right, pads=(0, 0, 0, 0), ceil_mode=False)
        return super().pool(larger, padded, tap_weight)


@planted
class IncludePadInverted(Reference):
    def pool(self, problem, x, tap_weight):
        if problem.kind == "avg" and problem.divisor is None:
            problem = replace(problem, count_include_pad=not problem.count_include_pad)
        return super().pool(problem, x, tap_weight)


@planted
class SameIgnoresDilation(Reference):
    """The pads of "same" are those of the undilated window; the output keeps its size, as a framework's would."""

    def conv2d(self, x, weight, bias=None, *, padding="valid", **words):
        dilation = words.get("dilation", 1)
        if padding == "same":
            sizes = (x.shape[1], x.shape[2]), weight.shape[1:3]
            stride = words.get("stride", 1)
            padding = tuple(axis_pads(size, kernel, stride, 1, "same") for size, kernel in zip(*sizes, strict=True))
            padding = tuple((low, high + (dilation - 1) * (kernel - 1)) for (low, high), kernel in zip(padding, sizes[1], strict=True))
        return super().conv2d(x, weight, bias, padding=padding, **words)


@planted
class LastColumnScaled(Reference):
    def conv(self, problem, *operands):
        y = super().conv(problem, *operands)
        last = [slice(None)] * 4
        last[problem.layout.index("W")] = slice(-1, None)
        y[tuple(last)] *= 2
        return y


@planted
class SilentFloat16(Reference):
    def conv(self, problem, x, weight, scale, bias, residual):
        if problem.dtype == "float32":
            x, weight = x.astype("float16").astype("float32"), weight.astype("float16").astype("float32")
        return super().conv(problem, x, weight, scale, bias, residual)


@planted
class Float16Accumulator(Reference):
    """A float16 sum that rounds after every step: it stops growing at 2048."""

    def conv(self, problem, x, *operands):
        if problem.dtype != "float16" or problem.out_dtype != "float16":
            return super().conv(problem, x, *operands)
        return np.minimum(super().conv(problem, x, *operands), np.float16(2048))


@planted
class ActivationBeforeResidual(Reference):
    def conv(self, problem, x, weight, scale, bias, residual):
        if residual is None:
            return super().conv(problem, x, weight, scale, bias, residual)
        early = super().conv(replace(problem, residual=False), x, weight, scale, bias, None)
        return (early + residual).astype(residual.dtype)


@planted
class PaddingHoldsZeroNotTheZeroPoint(Reference):
    def conv(self, problem, x, weight, scale, bias, residual):
        if not problem.zero_point or not any(problem.pads) or min(problem.pads) < 0:
            return super().conv(problem, x, weight, scale, bias, residual)
        spatial = {"H": problem.pads[:2], "W": problem.pads[2:]}
        padded = np.pad(x, [spatial.get(letter, (0, 0)) for letter in problem.layout])
        larger = replace(problem, h=problem.h + sum(problem.pads[:2]), w=problem.w + sum(problem.pads[2:]), pads=(0, 0, 0, 0))
        return super().conv(larger, padded, weight, scale, bias, residual)


@planted
class NormWithoutMagnitude(Reference):
    def pool(self, problem, x, tap_weight):
        if problem.kind == "lp" and problem.power == 1:
            taps = np.full((problem.r, problem.s), 1.0)
            problem = replace(problem, kind="weighted", power=2.0, weighting="custom", normalize="full")
            return (super().pool(problem, x, taps) * x.dtype.type(problem.r * problem.s)).astype(x.dtype)
        return super().pool(problem, x, tap_weight)


def test_reference_passes():
    assert failures(Reference()) == {}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_planted_bug_is_caught(mutant, record_property):
    """By wrong numbers in at least one check, and not by all checks: a mutant that breaks everything proves nothing about any."""
    caught = failures(mutant())
    record_property("caught_by", ", ".join(caught))
    wrong_values = [name for name, why in caught.items() if why.startswith("AssertionError")]
    assert wrong_values, f"{mutant.__name__} passes all {len(CHECKS)} checks" + (f" or only crashes them: {caught}" if caught else "")
    assert len(caught) <= 0.8 * len(CHECKS)


def test_seams_are_used():
    """The doors call the reference through the seams that the mutants override."""
    calls = []

    class Counting(Reference):
        def conv(self, *arguments):
            calls.append("conv")
            return reference.conv2d(*arguments)

        def pool(self, *arguments):
            calls.append("pool")
            return reference.pool2d(*arguments)

    CHECKS["cross_correlation"](Counting())
    CHECKS["ceil_mode"](Counting())
    assert calls == ["conv"] * 2 + ["pool"] * 3
