"""Bad calls, one table: a convolution and a pooling that do not go together, and what either refuses."""

from __future__ import annotations

import numpy as np
from bad_calls_rows import Row, filters, floats, image

import atrous

#: name -> the words that spoil a call, and what the refusal says
WORDS = {
    "window 0": ({"window": 0}, ("window is 0", ">= 1", "correct window")),
    "window of three": ({"window": (2, 2, 2)}, ("window is (2, 2, 2)", "pair")),
    "window of text": ({"window": "all"}, ("window is 'all'", "'global'")),
    "window over the output": ({"window": 9}, ("of the pooling", "(1, 3, 4, 4)", "spans 9 rows", "smaller window")),
    "pool lp": ({"pool": "lp"}, ("pool is 'lp'", "'max', 'avg'")),
    "pool of no kind": ({"pool": None}, ("pool is None", "'max', 'avg'")),
    "pool_stride 0": ({"pool_stride": 0}, ("pool_stride is 0", ">= 1", "outputs of the convolution")),
    "pool_stride of three": ({"pool_stride": (1, 2, 3)}, ("pool_stride is (1, 2, 3)", "two numbers as pool_stride")),
    "pool_dilation 0": ({"pool_dilation": 0}, ("pool_dilation is 0", "1 means dense")),
    "pool_dilation 1.5": ({"pool_dilation": 1.5}, ("pool_dilation is 1.5 of type float", "integer")),
    "pool_padding of no kind": ({"pool_padding": "some"}, ("pool_padding is 'some'", "'same'")),
    "pool_padding of three": ({"pool_padding": (1, 1, 1)}, ("pool_padding is (1, 1, 1)", "3 entries")),
    "pool_padding over the window": ({"pool_padding": 2}, ("of the pooling", "lies wholly in padding", "pad less")),
    "ceil_mode 1": ({"ceil_mode": 1}, ("ceil_mode is 1 of type int", "True or False")),
    "nan of no kind": ({"nan": "drop"}, ("nan is 'drop'", "'propagate', 'omit'")),
    "nan of a mean": ({"pool": "avg", "nan": "omit"}, ("of the pooling", "nan only in max", "drop nan=")),
    "divisor of a maximum": ({"divisor": 2}, ("of the pooling", "divisor only in avg", "drop divisor=")),
    "divisor 0": ({"pool": "avg", "divisor": 0}, ("of the pooling", "divisor is 0", "not 0")),
    "count_include_pad of a maximum": ({"count_include_pad": True}, ("of the pooling", "count_include_pad only in avg", "drop count_include_pad=")),
    "stride of a global window": ({"window": "global", "pool_stride": 2}, ("of the pooling", "window is 'global'", "no stride")),
    "stride 0": ({"stride": 0}, ("stride is 0", ">= 1")),
    "groups 3": ({"groups": 3}, ("groups is 3 with C = 4 and K = 4", "divide")),
    "padding_mode of no kind": ({"padding_mode": "mirror"}, ("padding_mode is 'mirror'", "'reflect'")),
    "activation of no kind": ({"activation": "swish"}, ("activation is 'swish'", "'silu'")),
    "kernel of no kind": ({"kernel": "fast", "engine": "simulated"}, ("kernel is 'fast'", "'conv_direct'", "kernel=None")),
    "kernel on the array path": ({"kernel": "conv_direct", "engine": "arrays"}, ("engine 'arrays', which has no kernels", "drop kernel=")),
    "engine of no kind": ({"engine": "gpu"}, ("engine is 'gpu'", "'simulated'")),
}


def integers(dtype: str, **words: object) -> dict[str, object]:
    """Return a call on 8-bit integers."""
    return {"x": image().astype(dtype), "weight": filters().astype(dtype), **words}


BOTH = ("conv2d_pool2d", "plan_conv2d_pool2d")
#: refused by the plan after its words were taken
LATE = ("kernel of no kind", "kernel on the array path", "engine of no kind")
ROWS = [
    Row(function, name, changes, words, operation="conv2d_pool2d" if name in LATE or words[0] == "of the pooling" else "")
    for function in BOTH
    for name, (changes, words) in WORDS.items()
]
ROWS += [
    Row("conv2d_pool2d", "sums of int8", integers("int8"), ("int8 gives int32", "out_dtype='int8'")),
    Row("conv2d_pool2d", "sums of uint8", integers("uint8"), ("uint8 gives int32", "out_dtype='int8'")),
    Row(
        "conv2d_pool2d",
        "mean of int8",
        integers("int8", out_dtype="int8", pool="avg"),
        ("of the pooling", "x is int8", "float16", "cast x"),
        atrous.UnsupportedProblem,
    ),
    Row("conv2d_pool2d", "residual of the output's shape", {"residual": floats(1, 1, 2, 4)}, ("residual has shape (1, 1, 2, 4)", "expected (1, 3, 4, 4)")),
    Row("conv2d_pool2d", "weight of another dtype", {"weight": filters().astype("float64")}, ("weight has dtype float64", "float32")),
    Row("conv2d_pool2d", "bias too long", {"bias": floats(5)}, ("bias has shape (5,)", "(4,)")),
    Row("conv2d_pool2d", "out of the convolution's shape", {"out": np.zeros((1, 3, 4, 4), "float32")}, ("out has shape (1, 3, 4, 4)", "expected (1, 1, 2, 4)")),
    Row("conv2d_pool2d", "stream on the CPU", {"stream": 0}, ("stream is 0", "no stream")),
    Row("plan_conv2d_pool2d", "residual array", {"residual": floats(1, 3, 4, 4)}, ("residual is of type ndarray", "True or False", "plan(x, residual=r)")),
    Row("plan_conv2d_pool2d", "dtype of another kind", {"dtype": "float16"}, ("weight has dtype float32", "expected float16")),
    Row("plan_conv2d_pool2d", "scale too long", {"scale": floats(5)}, ("scale has shape (5,)", "(4,)")),
    Row("pooled plan", "residual unasked", {"residual": floats(1, 3, 4, 4)}, ("residual is given", "planned"), operation="conv2d_pool2d"),
    Row("pooled plan", "x of another shape", {"x": floats(1, 6, 6, 4)}, ("x has shape (1, 6, 6, 4)", "(1, 5, 6, 4)"), operation="conv2d_pool2d"),
    *(
        Row("parse", f"pair {case}", {"case": case}, words, operation=operation)
        for case, words, operation in (
            ("n1c4h5w6_k4r3s3_f32+", ("a kind of pooling and then its window",), "case"),
            ("n1c4h5w6_k4r3s3_f32+max", ("a kind of pooling and then its window",), "case"),
            ("n1c4h5w6_k4r3s3_f32+max_r2s2_f32", ("'f32'", "behind '+'"), "case"),
            ("n1c4h5w6_k4r3s3_f32+max_r2s2_nchw", ("'nchw'", "behind '+'"), "case"),
            ("n1c4h5w6_k4r3s3_f32+max_k2r2s2", ("'k2r2s2'", "r#s#"), "case"),
            ("n1c4h5w6_max_r2s2_f32+max_r2s2", ("stands before '+'", "a convolution"), "case"),
            ("n1c4h5w6_k4r3s3_f32+rms_r2s2", ("pool is 'rms'", "'max', 'avg'"), "conv2d_pool2d"),
            ("n1c4h5w6_k4r3s3_f32+max_r2s2_indices", ("returns indices", "call conv2d"), "conv2d_pool2d"),
            ("n1c4h5w6_k4r3s3_i8+max_r2s2", ("int8 gives int32", "out_dtype"), "conv2d_pool2d"),
        )
    ),
]
