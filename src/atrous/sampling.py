"""Random small problems that differ in everything at once: what fuzzing draws from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .arguments import FLOAT_DTYPES, INPUT_DTYPES, PADDING_MODES
from .errors import AtrousError
from .problem import Conv2dProblem, ConvPool2dProblem, ElementwiseProblem, Pool2dProblem, SeparableConv2dProblem

KINDS = ("conv", "max", "avg", "lp", "rms", "weighted")
ACTIVATIONS: tuple[Any, ...] = (
    "relu", "relu6", ("leaky_relu", 0.25), "leaky_relu", "silu", "gelu", "gelu_tanh", "hardswish", "sigmoid", "tanh", ("clip", -2, 3.5),
)  # fmt: skip

#: of convolutions, the more frequent ones twice
DTYPES = ("float32", "float32", "float16", "float16", "bfloat16", "float64", "int8", "uint8")
SHORT_FLOATS = ("float16", "bfloat16")
#: part of the convolutions whose channels fill tensor cores
WIDE = 0.3
#: every so manieth of all problems is a pooling of a convolution; prime to what else a seed decides by its remainder
PAIR_EVERY = 11
#: and every so manieth, of those that are no such pooling, a convolution of one channel a group
DEPTHWISE_EVERY = 13
#: and every so manieth one of few channels a group
GROUPED_EVERY = 13
#: and every so manieth one of a window that products with bands take, and whose other launches take long
LARGE_EVERY = 39
#: and every so manieth moves or adds elements
ELEMENTWISE_EVERY = 13
#: and every so manieth is a depthwise convolution with a 1x1 behind it
SEPARABLE_EVERY = 13
ELEMENT_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int8": 1, "uint8": 1}
#: larger convolutions are drawn again: a simulator and a reference have to run them
MOST_FLOPS = 3e6
MOST_LARGE_FLOPS = 3e5  # of a large depthwise window, which other kernels compute at a sixteenth of their speed


def random_problem(seed: int, kind: str | None = None) -> Conv2dProblem | Pool2dProblem:
    """Return a small valid problem, the same for the same arguments.

    Parameters
    ----------
    seed : int
    kind : {"conv", "max", "avg", "lp", "rms", "weighted"}, optional
        Default: any, convolutions half of the time.

    Notes
    -----
    Images and windows are not square; strides, dilations and pads (negative ones too) are drawn apart for rows and
    columns; groups, channel multipliers, padding modes, dtypes, layouts and epilogues all occur; one convolution in five is 1x1
    with stride 1, three in ten have channels in whole vectors and either more pixels and output channels than a tile or a
    gemm_k of several segments, and one pooling in thirty has a window that no block holds at once.
    """
    random = np.random.default_rng([seed, 0 if kind is None else 1 + KINDS.index(kind)])
    chosen = kind or ("conv" if random.random() < 0.5 else str(random.choice(KINDS[1:])))
    while True:
        try:
            return _convolution(random) if chosen == "conv" else _pooling(random, chosen)
        except AtrousError:
            continue  # drawn apart, sizes and pads need not fit together; the next draw may


def any_problem(seed: int) -> Conv2dProblem | Pool2dProblem | ConvPool2dProblem | SeparableConv2dProblem | ElementwiseProblem:
    """Return a small valid problem of any operation.

    One in PAIR_EVERY is of random_pair, one in DEPTHWISE_EVERY of random_depthwise, one in GROUPED_EVERY of random_grouped, one in LARGE_EVERY of
    random_large_depthwise, one in SEPARABLE_EVERY of random_separable, one in ELEMENTWISE_EVERY of random_elementwise; others are of random_problem.
    """
    if seed % PAIR_EVERY == 5:
        return random_pair(seed)
    if seed % DEPTHWISE_EVERY == 6:
        return random_depthwise(seed)
    if seed % GROUPED_EVERY == 8:
        return random_grouped(seed)
    if seed % LARGE_EVERY == 9:
        return random_large_depthwise(seed)
    if seed % SEPARABLE_EVERY == 10:
        return random_separable(seed)
    return random_elementwise(seed) if seed % ELEMENTWISE_EVERY == 7 else random_problem(seed)


def random_depthwise(seed: int) -> Conv2dProblem:
    """Return a small valid convolution of one channel a group in floats of 16 or 32 bits, the same for the same seed.

    Seven in ten windows are 3x3, 5x5 or 7x7 with stride 1 or 2; one in four has several filters a channel, one in four dilation.
    """
    random = np.random.default_rng([seed, 101])
    while True:
        form = _window(random)
        if random.random() < 0.7:
            size, step = _pick(random, ((3, 1), (3, 2), (5, 1), (5, 2), (7, 1)))
            apart = int(random.integers(1, 4)) if random.random() < 0.25 else 1
            stride = step if step == 1 else step * apart  # of a phase of dilated windows, 2 is 2 * dilation
            pads = int(random.integers(0, size)), int(random.integers(-1, size))
            form = {"window": (size, size), "dilation": (apart, apart), "stride": stride, "padding": (pads, pads)}
        n, (h, w) = int(random.integers(1, 4)), _pair(random, 3, 24)
        channels, filters = _pick(random, (1, 3, 8, 16, 20, 40, 72)), _pick(random, (1, 1, 1, 2, 3) if random.random() < 0.6 else (1,))
        try:
            problem = _convolution_of(random, _pick(random, ("float32", *SHORT_FLOATS)), form, n, h, w, channels, 1, filters)
        except AtrousError:
            continue
        if problem.flops <= MOST_FLOPS:
            return problem


def random_grouped(seed: int) -> Conv2dProblem:
    """Return a small valid convolution of 4 to 31 channels a group in floats of 16 bits, the same for the same seed.

    Nine in ten windows are 3x3 with stride 1 or 2, of which one in four is dilated; one in four convolutions has other numbers of filters than of channels.
    """
    random = np.random.default_rng([seed, 102])
    while True:
        form = _window(random)
        if random.random() < 0.9:
            apart, steps = int(random.integers(1, 4)) if random.random() < 0.25 else 1, _pair(random, 1, 2)
            stride = steps if random.random() < 0.3 else (steps[0], steps[0])
            pads = (int(random.integers(0, 4)), int(random.integers(-1, 4))), (int(random.integers(0, 3)), int(random.integers(-1, 3)))
            if random.random() < 0.5:  # of one phase of dilated windows, 2 is 2 * dilation
                stride = (1 if stride[0] == 1 else stride[0] * apart, 1 if stride[1] == 1 else stride[1] * apart)
            form = {"window": (3, 3), "dilation": (apart, apart), "stride": stride, "padding": pads}
        n, (h, w) = int(random.integers(1, 4)), _pair(random, 3, 20)
        w = int(random.integers(20, 70)) if random.random() < 0.2 else w
        channels = _pick(random, _pick(random, ((4,), (5, 6, 8, 8), (9, 12, 16, 16), (20, 24, 24), (25, 28, 28, 31))))
        filters = _pick(random, (1, 4, 7, 8, 12, 16, 20, 33)) if random.random() < 0.25 else channels
        groups = _pick(random, (2, 3, 4, 8) if channels < 9 else (2, 3, 4))
        try:
            problem = _convolution_of(random, _pick(random, SHORT_FLOATS), form, n, h, w, groups, channels, filters)
        except AtrousError:
            continue
        if problem.flops <= MOST_FLOPS:
            return problem


def random_large_depthwise(seed: int) -> Conv2dProblem:
    """Return a small valid convolution of one filter a channel with 9 to 31 rows and columns, in floats of 16 bits, the same for the same seed."""
    random = np.random.default_rng([seed, 103])
    while True:
        window = _pair(random, 9, 31) if random.random() < 0.6 else (int(random.integers(9, 14)),) * 2
        n, h, w = int(random.integers(1, 4)), int(random.integers(1, 22)), int(random.integers(*_pick(random, ((1, 9), (9, 17), (17, 33), (33, 70)))))
        pads = tuple((int(random.integers(-2, size)), int(random.integers(-2, size))) for size in window)
        form = {"window": window, "dilation": (1, 1), "stride": 1, "padding": "same" if random.random() < 0.5 else pads}
        try:
            channels = _pick(random, (1, 3, 8, 16, 20, 40))
            problem = replace(_convolution_of(random, _pick(random, SHORT_FLOATS), form, n, h, w, channels, 1, 1), padding_mode="zeros")
        except AtrousError:
            continue
        if problem.flops <= MOST_LARGE_FLOPS:
            return problem


def random_elementwise(seed: int) -> ElementwiseProblem:
    """Return a small valid sum or change of layout, the same for the same seed: of whole vectors and tiles, and of what they leave over."""
    random = np.random.default_rng([seed, 200])
    sizes = {"N": int(random.integers(1, 4)), "H": int(random.integers(1, 10)), "W": int(random.integers(1, 19)), "C": int(random.integers(1, 71))}
    if random.random() < 0.4:
        sizes |= {"W": 8 * int(random.integers(1, 4)), "C": 16 * int(random.integers(1, 9))}
    verb, layout = _pick(random, ("tonhwc", "tonchw", "add")), _pick(random, ("NHWC", "NCHW"))
    source = {"tonhwc": "NCHW", "tonchw": "NHWC"}.get(verb, layout)
    dtype = _pick(random, INPUT_DTYPES)
    words = {"layout": layout, "activation": _pick(random, ACTIVATIONS) if random.random() < 0.7 else None} if verb == "add" else {}
    out_dtype = _pick(random, INPUT_DTYPES) if random.random() < 0.75 else dtype
    return ElementwiseProblem.make(tuple(sizes[letter] for letter in source), verb, dtype=dtype, out_dtype=out_dtype, **words)


def random_pair(seed: int) -> ConvPool2dProblem:
    """Return a small valid pooling of a convolution, the same for the same seed.

    Of the convolutions one in four is a first layer, of few or odd channels, and eight in ten of the others have channels in
    whole vectors; most elements have 16 bits, which are what one kernel pools. Two in three windows are of the usual kinds:
    2x2 with stride 2 and 3x3 with stride 2, with and without padding; the rest is drawn as other poolings are.
    """
    random = np.random.default_rng([seed, 100])
    while True:
        try:
            conv = _first_layer(random) if random.random() < 0.25 else _convolution(random, 0.8, DTYPES + 3 * SHORT_FLOATS)
            kind = _pick(random, ("max", "max", "avg"))
            words = _window(random)
            if random.random() < 0.67:
                words = {"window": _pick(random, ((2, 2), (3, 3), (3, 3))), "stride": (2, 2), "padding": _pick(random, (0, 1, ((0, 1), (0, 1))))}
            options = _options(random, kind) | {"ceil_mode": bool(random.random() < 0.3)}
            options.pop("return_indices", None)
            return ConvPool2dProblem.make(conv, words.pop("window"), kind, **words, **options)
        except AtrousError:
            continue


def random_separable(seed: int) -> SeparableConv2dProblem:
    """Return a small valid depthwise convolution with a 1x1 behind it, the same for the same seed.

    Eight in ten have 16-bit elements with channels last and windows of 3, 5 or 7 columns with stride 1 or 2, which one
    kernel takes; the others are of any floats, layouts, windows and filters a channel.
    """
    random = np.random.default_rng([seed, 300])
    while True:
        usual = bool(random.random() < 0.8)
        form = _window(random)
        if usual:
            rows, columns = _pick(random, (3, 3, 5, 7)), _pick(random, (3, 3, 3, 5, 7))
            form = {"window": (rows, columns), "stride": _pick(random, (1, 1, 2, (3, 1), (1, 2))), "padding": _padding(random, (rows, columns), (1, 1), -1)}
            form["dilation"] = (_pick(random, (1, 1, 1, 2)), 1)
        n, (h, w) = int(random.integers(1, 4)), _pair(random, 3, 20)
        channels = _pick(random, (8, 16, 20, 24, 32, 40, 72)) if usual else _pick(random, (1, 3, 5, 8, 16, 20))
        dtype = _pick(random, SHORT_FLOATS if usual else FLOAT_DTYPES)
        try:
            first = _convolution_of(random, dtype, form, n, h, w, channels, 1, 1 if usual else _pick(random, (1, 2, 3)))
            first = replace(first, residual=False, out_dtype=dtype if usual else first.out_dtype)
            if usual and (first.layout != "NHWC" or first.p * first.q > 130):
                continue
            words = _epilogue(random, first.out_dtype) | {"weight_layout": _pick(random, (None, None, "KCRS", "RSCK"))}
            outputs = _pick(random, (1, 8, 24, 32, 40, 64, 66, 72, 100, 128, 130))
            shape = {"K": outputs, "R": 1, "S": 1, "C": first.k}
            order = words["weight_layout"] or {"NHWC": "KRSC", "NCHW": "KCRS"}[first.layout]
            pair = SeparableConv2dProblem.make(first, tuple(shape[letter] for letter in order), **words)
        except AtrousError:
            continue
        if pair.flops <= MOST_FLOPS:
            return pair


def _pick(random: Any, options: Any) -> Any:
    return options[int(random.integers(len(options)))]


def _pair(random: Any, low: int, high: int) -> tuple[int, int]:
    return int(random.integers(low, high + 1)), int(random.integers(low, high + 1))


def _padding(random: Any, window: tuple[int, int], dilation: tuple[int, int], lowest: int) -> Any:
    if random.random() < 0.4:
        return _pick(random, ("valid", "same", "same_lower", "full", "causal", ("same", "causal")))
    ends = []
    for size, step in zip(window, dilation, strict=True):
        most = min(3, step * (size - 1))
        ends.append((int(random.integers(lowest, most + 1)), int(random.integers(lowest, most + 1))))
    return tuple(ends)


def _window(random: Any) -> dict[str, Any]:
    window = _pair(random, 1, 5)
    dilation = _pair(random, 1, 3) if random.random() < 0.4 else (1, 1)
    return {"window": window, "dilation": dilation, "stride": _pair(random, 1, 3), "padding": _padding(random, window, dilation, -2)}


def _convolution(random: Any, wide_part: float = WIDE, dtypes: tuple[str, ...] = DTYPES) -> Conv2dProblem:
    pointwise = bool(random.random() < 0.2)
    form: dict[str, Any] = {"window": (1, 1), "dilation": (1, 1), "stride": 1, "padding": "valid"} if pointwise else _window(random)
    dtype = _pick(random, dtypes)
    wide = bool(random.random() < wide_part)
    problem = _convolution_of(random, dtype, form, *(_wide_sizes(random, pointwise, dtype) if wide else _small_sizes(random, pointwise)))
    return problem if problem.flops <= MOST_FLOPS else _convolution(random, wide_part, dtypes)


def _first_layer(random: Any) -> Conv2dProblem:
    """Return a convolution of 16-bit elements in few or odd channels, over more pixels than most have."""
    dtype = _pick(random, SHORT_FLOATS)
    n, (h, w) = int(random.integers(1, 3)), _pair(random, 6, 21)
    problem = _convolution_of(random, dtype, _window(random), n, h, w, 1, _pick(random, (1, 2, 3, 3, 3, 4, 5, 7, 9, 20)), _pick(random, (8, 16, 33, 66)))
    return problem if problem.flops <= MOST_FLOPS else _first_layer(random)


def _convolution_of(random: Any, dtype: str, form: dict[str, Any], n: int, h: int, w: int, groups: int, inputs: int, outputs: int) -> Conv2dProblem:
    layout = _pick(random, ("NHWC", "NHWC", "NCHW"))
    order = "".join(random.permutation(list("KRSC"))) if random.random() < 0.25 else {"NHWC": "KRSC", "NCHW": "KCRS"}[layout]
    x = {"N": n, "H": h, "W": w, "C": groups * inputs}
    weight = {"K": groups * outputs, "R": form["window"][0], "S": form["window"][1], "C": inputs}
    return Conv2dProblem.make(
        tuple(x[letter] for letter in layout), tuple(weight[letter] for letter in order), dtype=dtype, stride=form["stride"],
        padding=form["padding"], dilation=form["dilation"], groups=groups, layout=layout, weight_layout=order,
        padding_mode="zeros" if random.random() < 0.6 else _pick(random, PADDING_MODES[1:]), **_epilogue(random, dtype),
    )  # fmt: skip


def _small_sizes(random: Any, pointwise: bool) -> tuple[int, ...]:
    """Return N, H, W, groups, C/G and K/G of which a block mostly holds all."""
    n, (h, w) = int(random.integers(1, 4)), _pair(random, 3, 13)
    groups = 1 if pointwise else _pick(random, (1, 1, 1, 2, 3, 4, 8, 40))
    inputs = _pick(random, (1, 1, 2, 3, 4, 8, 16, 20, 33)) if groups == 1 else _pick(random, (1, 1, 2, 3, 4))
    outputs = _pick(random, (1, 2, 3, 8, 16, 24, 40, 70)) if groups == 1 else _pick(random, (1, 2, 3))
    return n, h, w, groups, inputs, outputs


def _wide_sizes(random: Any, pointwise: bool, dtype: str) -> tuple[int, ...]:
    """Return N, H, W, groups, C/G and K/G for tensor cores: whole vectors of channels, and one size beyond a block."""
    long_sum, many_pixels = bool(random.random() < 0.35), bool(random.random() < 0.5)
    groups = _pick(random, (1, 1, 1, 1, 2, 3))
    if long_sum:  # several segments of a sum, on few pixels
        n, (h, w) = int(random.integers(1, 4)), _pair(random, 2, 6)
        tap_bytes = _pick(random, (1024, 1040, 1280, 2048, 3200) if pointwise else (192, 256, 320, 400, 640))
        inputs = tap_bytes // ELEMENT_BYTES[dtype]
    else:  # more pixels, or more output channels, than a tile
        n, (h, w) = int(random.integers(1, 6)), _pair(random, 9, 19) if many_pixels else _pair(random, 4, 9)
        inputs = _pick(random, (8, 16, 16, 24, 32, 40, 64))
    outputs = _pick(random, (8, 16, 32, 40, 64, 66, 72, 130))
    return n, h, w, groups, inputs, outputs


def _epilogue(random: Any, dtype: str) -> dict[str, Any]:
    words: dict[str, Any] = {}
    floating = dtype in FLOAT_DTYPES
    if random.random() < 0.2:
        words["out_dtype"] = _pick(random, FLOAT_DTYPES)
    if not floating:
        words["out_dtype"] = _pick(random, ("int32", "int8", "uint8", "float32"))
        low, high = (-128, 127) if dtype == "int8" else (0, 255)
        words["zero_point"] = int(random.integers(low, high + 1)) if random.random() < 0.5 else 0
        if words["out_dtype"] in ("int8", "uint8"):
            words["out_zero_point"] = int(random.integers(0, 100)) if random.random() < 0.5 else 0
    short = dtype if floating else "float32"
    if random.random() < 0.3 or words.get("out_dtype") in ("int8", "uint8"):
        words["scale"] = _pick(random, (short, "float32"))
    if random.random() < 0.5:
        words["bias"] = _pick(random, (short, "float32" if floating else "int32"))
    if random.random() < 0.25:
        words["residual"] = True
    if random.random() < 0.6 and words.get("out_dtype") != "int32":
        words["activation"] = _pick(random, ACTIVATIONS)
    if dtype == "float32" and random.random() < 0.3:
        words["precision"] = _pick(random, ("tf32", "strict"))
    return words


def _pooling(random: Any, kind: str) -> Pool2dProblem:
    n, (h, w), c = int(random.integers(1, 4)), _pair(random, 3, 13), _pick(random, (1, 2, 3, 5, 8, 17, 24))
    form = _window(random)
    if random.random() < 0.03:  # more cells than a block stages at once
        n, (h, w) = 1, _pair(random, 30, 44)
        form = {"window": _pair(random, 17, 29), "dilation": (1, 1), "stride": _pair(random, 5, 9), "padding": int(random.integers(0, 3))}
    layout = _pick(random, ("NHWC", "NHWC", "NCHW"))
    x = {"N": n, "H": h, "W": w, "C": c}
    x_shape = tuple(x[letter] for letter in layout)
    dtype = _pick(random, (*FLOAT_DTYPES, "float32", "int8", "uint8") if kind == "max" else (*FLOAT_DTYPES, "float32"))
    options = _options(random, kind)
    if random.random() < 0.1:
        return Pool2dProblem.make(x_shape, "global", kind, dtype=dtype, layout=layout, **options)
    if random.random() < 0.2:
        form["stride"] = None
    ceil_mode = bool(random.random() < 0.3)
    if ceil_mode:
        form["padding"] = _padding(random, form["window"], form["dilation"], 0)
    window = form.pop("window")
    return Pool2dProblem.make(x_shape, window, kind, dtype=dtype, layout=layout, ceil_mode=ceil_mode, **form, **options)


def _options(random: Any, kind: str) -> dict[str, Any]:
    if kind == "max":
        return {"nan": _pick(random, ("propagate", "propagate", "omit")), "return_indices": bool(random.random() < 0.5)}
    if kind == "avg":
        return {"count_include_pad": bool(random.random() < 0.5), "divisor": _pick(random, (None, None, None, 7, 2.5))}
    if kind == "lp":
        return {"power": _pick(random, (1.0, 2.0, 3.0, 0.5, 2.5, float("inf")))}
    if kind == "weighted":
        word = _pick(random, ("gaussian", "inverse", "binomial", "custom"))
        sigma = 0.75 if word == "gaussian" and random.random() < 0.5 else None
        return {"weighting": word, "sigma": sigma, "normalize": _pick(random, ("valid", "valid", "full"))}
    return {}
