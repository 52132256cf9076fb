"""Runs single blocks of kernels on operands of more than 2^31 elements, in virtual memory that is backed only where it is touched."""

from __future__ import annotations

import dataclasses
import math
import mmap
import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[2] / "src"))  # after an installed package, which has a simulator

from atrous import kernels, testing
from atrous.engines import simulated
from atrous.problem import Conv2dProblem, ConvPool2dProblem, ElementwiseProblem, SeparableConv2dProblem, parse
from atrous.redzones import FLOAT_POISON, Guarded, Host
from atrous.sequence import scratch_of

NO_RESERVE = 0x4000  # MAP_NORESERVE of Linux: address space without memory behind it
PAGE = mmap.PAGESIZE
#: name -> case; the operand that passes 2^31 elements is x, y, or both, mostly so far that the middle block passes it too
CASES = {
    "conv_x_nhwc": "n1c64h8300w8192_k8r3s3_pad1_f32",
    "conv_x_nchw": "n1c64h8300w8192_k8r3s3_pad1_f16_nchw",
    "conv_y_nhwc": "n1c3h8300w8192_k72r3s2_pad1_stride1_f16_bias",
    "conv_y_nchw": "n1c3h8300w8192_k72r2s3_f32_nchw",
    "conv_both_dilated": "n1c40h10000w11000_k40r3s3_pad2_dil2_i8",
    "conv_depthwise_nhwc": "n1c64h8300w8192_k64r3s3_pad1_g64_f16",
    "conv_depthwise_nchw": "n1c64h8300w8192_k64r3s3_pad1_g64_f64_nchw",
    "depthwise_rows": "n1c64h33000w2048_k64r3s3_pad1_stride1x2_g64_bf16_bias",
    "depthwise_large": "n1c64h8300w8192_k64r9s9_pad4_g64_bf16_bias",
    "depthwise_planes": "n1c64h33000w2048_k64r3s3_pad1_g64_f16_nchw",
    "depthwise_many_images_nchw": "n70000c64h31w32_k64r3s3_pad1_g64_f32_nchw_residual",
    "conv_groups": "n1c64h8300w8192_k16r3s3_stride2_g4_u8_zp3_outf32_scalef32",
    "grouped_rows": "n1c64h33000w2048_k64r3s3_pad1_stride1x2_g8_bf16_bias",
    "grouped_many_images": "n70000c64h31w32_k64r3s3_pad1_g16_f16_residual",
    "conv_many_images": "n70000c16h65w64_k16r3s3_pad1_bf16",
    "conv_many_images_nchw": "n70000c16h65w64_k4r3s3_pad1_reflect_f16_nchw",
    "conv_long_rows": "n1c2h3w1500000000_k2r2s3_i8",
    "conv_long_planes_nchw": "n1c2h3w1500000000_k2r2s3_i8_nchw",
    "conv_residual_planes_nchw": "n1c2h3w1500000000_k2r2s3_f16_nchw_residual",
    "pointwise_x_nhwc": "n1c64h8300w8192_k8r1s1_f32",
    "pointwise_x_nchw": "n1c64h8300w8192_k8r1s1_f16_nchw",
    "pointwise_y_nhwc": "n1c8h8300w8192_k72r1s1_f64",
    "pointwise_y_nchw": "n3c8h8300w4096_k72r1s1_bf16_nchw",
    "pointwise_many_rows_nhwc": "n70000c1h40000w1_k1r1s1_f16",
    "max_nhwc": "n1c64h8300w8192_max_r3s3_pad1_stride1_f32",
    "max_nchw": "n1c64h8300w8192_max_r3s2_stride2_u8_nchw",
    "max_indices_nhwc": "n2c33h8300w8192_max_r2s3_stride2_indices_f16",
    "max_indices_of_a_plane_beyond": "n1c1h47000w93000_max_r3s3_pad1_stride2_indices_i8_nchw",
    "max_many_planes": "n70000c64h31w32_max_r2s2_f32_nchw",
    "max_odd_channels_nhwc": "n1400000c3h23w23_max_r3s3_pad1_stride2_f16",
    "average_nhwc": "n1c64h8300w8192_avg_r3s3_pad1_stride1_f16",
    "average_nchw": "n1c64h8300w8192_avg_r3s3_pad1_stride2_f32_nchw",
    "sum_nhwc": "n1c64h8300w8192_lp1_r2s2_stride1_f32",
    "rms_nchw": "n1c64h8300w8192_rms_r2s2_f32_nchw",
    "weighted_nhwc": "n1c64h8300w8192_custom_r3s2_stride1x2_f32",
    "weighted_nchw": "n1c64h8300w8192_custom_r3s2_stride2_f64_nchw",
    "separable_x_nhwc": "n1c64h8300w8192_k64r3s3_pad1_g64_f16+k8r1s1",
    "separable_y_nhwc": "n1c8h8300w8192_k8r3s3_pad1_g8_bf16+k72r1s1",
    "separable_many_images": "n70000c16h65w64_k16r3s3_pad1_stride2_g16_f16+k16r1s1",
    "pair_x_nhwc": "n1c64h8300w8192_k8r3s3_pad1_f16_bias+max_r2s2",
    "pair_y_nhwc": "n1c8h8300w8192_k72r3s3_pad1_bf16+max_r3s3_pad1_stride1",
    "pair_first_x_nhwc": "n1c3h27000w27000_k8r3s3_pad1_f16+max_r3s3_pad1_stride2",
    "pair_first_x_nchw": "n1c3h27000w27000_k8r3s3_pad1_f16_bias_nchw+max_r2s2",
    "to_nhwc": "n1c64h8300w8192_tonhwc_f16",
    "to_nchw": "n1c64h8300w8192_tonchw_bf16_f32",
    "add_nhwc": "n1c64h8320w8192_add_f16",
    "add_nchw": "n1c64h8320w8192_add_relu_i8_nchw",
    "pair_first_y_nchw": "n1c1h8300w8192_k72r3s3_pad1_bf16_nchw+max_r2s3_stride1",
}  # fmt: skip


class Sparse:
    """An array of zeros whose pages come into being when they are written."""

    def __init__(self, shape, dtype):
        dtype = testing.numpy_dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        self.memory = mmap.mmap(-1, max(PAGE, size), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE)
        self.flat = np.frombuffer(self.memory, dtype, math.prod(shape))
        self.shape = shape
        self.pointer = self.flat.__array_interface__["data"][0]

    def clear(self):
        self.memory.madvise(mmap.MADV_DONTNEED)

    def written(self):
        """Return the flat indices of the elements of every page that was written."""
        with open("/proc/self/pagemap", "rb") as file:
            file.seek(self.pointer // PAGE * 8)
            present = np.frombuffer(file.read(-(-len(self.memory) // PAGE) * 8), np.uint64) >> np.uint64(63)
        each = PAGE // self.flat.itemsize
        flat = (np.flatnonzero(present)[:, None] * each + np.arange(each)).reshape(-1)
        return flat[flat < self.flat.size]


def values_at(flat):
    """Return what x holds at these flat indices: 1 to 4, without a period that a stride could meet."""
    mixed = (flat.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(61)
    return 1 + (mixed % np.uint64(4)).astype(np.int64)


def sites(problem, flat):
    """Return n, p, q, k of elements of y."""
    at = np.unravel_index(flat, problem.y_shape)
    n, k = at[0], at[problem.layout.index("C")]
    return n, at[problem.layout.index("H")], at[problem.layout.index("W")], k


def places(problem, n, h, w, c):
    """Return the flat indices of elements of x."""
    named = {"N": n, "H": h, "W": w, "C": c}
    return np.ravel_multi_index(tuple(named[letter] for letter in problem.layout), problem.x_shape)


def tap(problem, p, q, r, s):
    """Return (h, w, real) of a tap of windows: the cell that it shows, and whether there is one."""
    h = p * problem.stride[0] - problem.pads[0] + r * problem.dilation[0]
    w = q * problem.stride[1] - problem.pads[2] + s * problem.dilation[1]
    if getattr(problem, "padding_mode", "zeros") == "reflect":
        h, w = (problem.h - 1 - abs(problem.h - 1 - abs(h))), (problem.w - 1 - abs(problem.w - 1 - abs(w)))
    real = (h >= 0) & (h < problem.h) & (w >= 0) & (w < problem.w)
    return np.where(real, h, 0), np.where(real, w, 0), real


def expected_convolution(problem, x, inputs, flat):
    """Return y at these flat indices, by the definition, in float64."""
    n, p, q, k = sites(problem, flat)
    pixels, of = np.unique(np.stack([n, p, q]), axis=1, return_inverse=True)
    inputs_each, outputs_each = problem.c // problem.groups, problem.k // problem.groups
    order = [problem.weight_layout.index(letter) for letter in "KRSC"]
    weight = inputs["weight"].transpose(order).astype(np.float64)
    total = np.zeros((pixels.shape[1], problem.k))
    for r in range(problem.r):
        for s in range(problem.s):
            h, w, real = tap(problem, pixels[1], pixels[2], r, s)
            cells = x.flat[places(problem, pixels[0][:, None], h[:, None], w[:, None], np.arange(problem.c)[None])].astype(np.float64) - problem.zero_point
            cells = np.where(real[:, None], cells, 0)
            for g in range(problem.groups):
                mine, theirs = slice(g * outputs_each, (g + 1) * outputs_each), slice(g * inputs_each, (g + 1) * inputs_each)
                total[:, mine] += cells[:, theirs] @ weight[mine, r, s].T
    total = total * inputs["scale"].astype(np.float64) if "scale" in inputs else total
    total = total + inputs["bias"].astype(np.float64) if "bias" in inputs else total
    return total[of.reshape(-1), k], None


def expected_pooling(problem, x, inputs, flat):
    """Return y and the offsets of the maxima at these flat indices, by the definition, in float64."""
    n, p, q, c = sites(problem, flat)
    found, real, offsets, weight = [], [], [], []
    for r in range(problem.r):
        for s in range(problem.s):
            h, w, is_real = tap(problem, p, q, r, s)
            found.append(x.flat[places(problem, n, h, w, c)].astype(np.float64))
            real.append(is_real)
            offsets.append(h * problem.w + w)
            weight.append(float(inputs["tap_weight"][r, s]) if "tap_weight" in inputs else 1.0)
    found, real, offsets, weight = np.stack(found), np.stack(real), np.stack(offsets), np.array(weight)[:, None]
    if problem.kind == "max":
        chosen = np.where(real, found, -1).argmax(0)[None]
        return np.take_along_axis(found, chosen, 0)[0], np.take_along_axis(offsets, chosen, 0)[0]
    sums = (np.where(real, found, 0) * weight).sum(0)
    if problem.kind == "rms":
        return np.sqrt((np.where(real, found, 0) ** 2).sum(0) / real.sum(0)), None
    return (sums if problem.kind == "lp" else sums / (real * weight).sum(0)), None


def under_windows(problem, flat):
    """Yield the flat indices of the convolution's outputs that a tap shows of these elements of a pooled convolution, and which are real."""
    pool = problem.pool
    n, p, q, k = sites(pool, flat)
    for r in range(pool.r):
        for s in range(pool.s):
            h, w, real = tap(pool, p, q, r, s)
            yield places(pool, n, h, w, k), real


def expected_pair(problem, x, inputs, flat):
    """Return the maxima at these flat indices of a convolution's outputs, which are all positive, by the definition, in float64."""
    found = [np.where(real, expected_convolution(problem.conv, x, inputs, under)[0], 0) for under, real in under_windows(problem, flat)]
    return np.max(found, 0), None


def sources(problem, flat):
    """Return the flat indices in x of these elements of y, which may be in another order."""
    at = dict(zip(problem.out_layout, np.unravel_index(flat, problem.y_shape)))
    return np.ravel_multi_index(tuple(at[letter] for letter in problem.layout), problem.x_shape)


def expected_elements(problem, x, inputs, flat):
    """Return y at these flat indices, but for what is added."""
    return values_at(sources(problem, flat)).astype(np.float64), None


def expected_separable(problem, x, inputs, flat):
    """Return the 1x1 of a depthwise's outputs, which no dtype rounds, at these flat indices, by the definition, in float64."""
    n, p, q, k = sites(problem, flat)
    pixels, of = np.unique(np.stack([n, p, q]), axis=1, return_inverse=True)
    first = problem.depthwise
    under = np.ravel_multi_index((*(at[:, None] for at in pixels), np.arange(first.k)[None]), first.y_shape)
    between = expected_convolution(first, x, {"weight": inputs["depthwise_weight"]}, under.reshape(-1))[0].reshape(under.shape)
    total = between @ inputs["weight"].reshape(problem.k, first.k).T.astype(np.float64)
    return total[of.reshape(-1), k], None


def fill(problem, x, flat):
    """Write x under the windows of these elements of y."""
    if isinstance(problem, ElementwiseProblem):
        where = sources(problem, flat)
        x.flat[where] = values_at(where).astype(x.flat.dtype)
        return
    if isinstance(problem, ConvPool2dProblem):
        problem, flat = problem.conv, np.unique(np.concatenate([under[real] for under, real in under_windows(problem, flat)]))
    n, p, q, _ = sites(problem, flat)
    problem = getattr(problem, "depthwise", problem)
    pixels = np.unique(np.stack([n, p, q]), axis=1)
    for r in range(problem.r):
        for s in range(problem.s):
            h, w, real = tap(problem, pixels[1], pixels[2], r, s)
            where = places(problem, pixels[0][real, None], h[real, None], w[real, None], np.arange(problem.c)[None]).reshape(-1)
            x.flat[where] = values_at(where).astype(x.flat.dtype)


def constants(problem):
    """Return the operands beside x, small enough to be whole."""
    if isinstance(problem, SeparableConv2dProblem):
        return {"depthwise_weight": constants(problem.depthwise)["weight"], **constants(problem.pointwise)}
    problem = getattr(problem, "conv", problem)
    random = np.random.default_rng(7)
    if not isinstance(problem, Conv2dProblem):
        small = dataclasses.replace(problem, n=1, h=9, w=9, c=1)
        return {"tap_weight": testing.exact_inputs(small)["tap_weight"]} if getattr(problem, "weighting", "") == "custom" else {}
    dtype = testing.numpy_dtype(problem.dtype)
    made = {"weight": random.integers(1, 4, problem.weight_shape).astype(dtype)}
    for name in ("scale", "bias"):
        if kind := getattr(problem, name):
            made[name] = (1 + np.arange(problem.k) % 3).astype(testing.numpy_dtype(kind))
    return made


def lone(kernel, problem):
    """Return the launch of the most blocks, so that each has the least to do, among those whose blocks write y themselves."""
    whole = (launch for launch in (kernel.launch(problem), *kernel.variants(problem)) if not launch.after)
    return max(whole, key=lambda launch: math.prod(launch.grid))


def check(case, kernel, index=None):
    """Run the first, a middle and the last block of a kernel; return (elements compared, what was wrong or None)."""
    problem = parse(case)
    launch = lone(kernels.named(kernel), problem)
    assert ", int32" not in launch.name, f"{launch.name}: {case} does not fit 32 bits"
    if index is not None:
        launch = dataclasses.replace(launch, name=launch.name.replace(", int64", f", {index}"))
    operands = {"x": Sparse(problem.x_shape, problem.dtype), "y": Sparse(problem.y_shape, problem.out_dtype)}
    if getattr(problem, "return_indices", False):
        operands["index"] = Sparse(problem.y_shape, problem.index_dtype)
    added = next((name for name in ("residual", "other") if getattr(problem, name, False)), None)
    if added is not None:
        operands[added] = Sparse(problem.y_shape, problem.out_dtype)
    inputs = constants(problem)
    pointers = {name: array.ctypes.data for name, array in inputs.items()} | {name: operand.pointer for name, operand in operands.items()}
    scratch = {name: Guarded(Host(), (size,), "uint8", poison=FLOAT_POISON) for name, size in scratch_of(launch).items()}
    pointers |= {name: held.pointer for name, held in scratch.items()}
    for packing in launch.before:
        simulated.prepare(packing).run(tuple(pointers.get(name, 0) for name in packing.pointers), 0)
    slots = tuple(pointers.get(name, 0) for name in launch.pointers)
    prepared = simulated.prepare(launch)
    blocks = math.prod(launch.grid)
    compared = 0
    for block in (0, blocks // 2, blocks - 1):
        for operand in operands.values():
            operand.clear()
        prepared.run_blocks(slots, [block])  # on zeros, to see which pages of y are the block's
        flat = operands["y"].written()
        fill(problem, operands["x"], flat)
        if added is not None:
            operands[added].flat[flat] = values_at(flat)
        operands["y"].clear()
        prepared.run_blocks(slots, [block])
        if (wrong := difference(problem, operands, inputs, flat, block, blocks)) is not None:
            return compared, f"{launch.name}, block {block} of {blocks}, {case}: {wrong}"
        compared += int((operands["y"].flat[flat] != 0).sum())
    return compared, None


def difference(problem, operands, inputs, flat, block, blocks):
    """Return what one block wrote wrongly, or None; what it left is zero, which no right output is."""
    if not flat.size:
        return "nothing was written to y"
    kinds = {Conv2dProblem: expected_convolution, ConvPool2dProblem: expected_pair, SeparableConv2dProblem: expected_separable}
    expect = (kinds | {ElementwiseProblem: expected_elements}).get(type(problem), expected_pooling)
    want, offsets = expect(problem, operands["x"], inputs, flat)
    want = want + values_at(flat) if "residual" in operands or "other" in operands else want
    got = operands["y"].flat[flat]
    mine = got != 0
    want = want.astype(got.dtype).astype(np.float64)
    allowed = np.abs(want) * 2.0**-20 if getattr(problem, "kind", "") == "rms" else 0.0
    bad = mine & (np.abs(got.astype(np.float64) - want) > allowed)
    if bad.any():
        i = np.flatnonzero(bad)[0]
        return f"{bad.sum()} of {mine.sum()} elements differ; y at {flat[i]} is {got[i]}, expected {want[i]}"
    edge = {0: 0, blocks - 1: operands["y"].flat.size - 1}.get(block)
    if edge is not None and operands["y"].flat[edge] == 0:
        return f"the element {edge} of y, which is this block's, was not written"
    if offsets is not None and "index" in operands and (operands["index"].flat[flat][mine] != offsets[mine]).any():
        return "an index differs"
    return None


def main(case, kernel, index):
    """Exit with 0 if the blocks were right, else with 1."""
    _, wrong = check(case, kernel, index)
    print(wrong or "right")
    return int(wrong is not None)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
