"""Bad calls, one table: a depthwise convolution and a 1x1 that do not go together, and what either refuses."""

from __future__ import annotations

import numpy as np
from bad_calls_rows import Row, floats, image

import atrous

#: name -> the words that spoil a call, and what the refusal says
WORDS = {
    "stride 0": ({"stride": 0}, ("of the depthwise", "stride is 0", ">= 1")),
    "stride of three": ({"stride": (1, 2, 3)}, ("of the depthwise", "stride is (1, 2, 3)", "two numbers")),
    "dilation 0": ({"dilation": 0}, ("of the depthwise", "dilation is 0", "1 means dense")),
    "dilation over x": ({"dilation": 3}, ("of the depthwise", "spans 7 rows", "smaller")),
    "padding of no kind": ({"padding": "some"}, ("of the depthwise", "padding is 'some'", "'same'")),
    "padding_mode of no kind": ({"padding_mode": "mirror"}, ("of the depthwise", "padding_mode is 'mirror'", "'reflect'")),
    "padding beyond what is reflected": ({"padding": 5, "padding_mode": "reflect"}, ("of the depthwise", "padding_mode 'reflect'", "at most 4 cells")),
    "layout of no kind": ({"layout": "CHWN"}, ("layout is 'CHWN'", "'NHWC'")),
    "weight_layout of no kind": ({"weight_layout": "KRS"}, ("weight_layout is 'KRS'", "four letters")),
    "depthwise_activation of no kind": ({"depthwise_activation": "swish"}, ("of the depthwise", "activation is 'swish'", "'silu'")),
    "activation of no kind": ({"activation": "swish"}, ("of the 1x1", "activation is 'swish'", "'silu'")),
    "out_dtype of no kind": ({"out_dtype": "float8"}, ("of the 1x1", "out_dtype is 'float8'", "float16")),
    "out_dtype of integers": ({"out_dtype": "int8"}, ("of the 1x1", "out_dtype for float32 is 'int8'", "float16")),
    "precision of no kind": ({"precision": "half"}, ("precision is 'half'", "'tf32'")),
    "depthwise_weight of all channels": ({"depthwise_weight": floats(4, 3, 3, 4)}, ("of the depthwise", "4 input channels a filter", "groups = 4")),
    "depthwise_weight of half the channels": ({"depthwise_weight": floats(2, 3, 3, 1)}, ("of the depthwise", "groups is 4 with C = 4 and K = 2", "divide")),
    "depthwise_weight of three axes": ({"depthwise_weight": floats(4, 3, 3)}, ("of the depthwise", "weight has shape (4, 3, 3)", "4 dimensions")),
    "depthwise_weight none": ({"depthwise_weight": None}, ("depthwise_weight is of type NoneType", "an array")),
    "pointwise_weight none": ({"pointwise_weight": None}, ("pointwise_weight is of type NoneType", "an array")),
    "pointwise_weight of other channels": ({"pointwise_weight": floats(5, 1, 1, 3)}, ("of the 1x1", "3 input channels a filter", "C = 4")),
    "pointwise_weight of windows": ({"pointwise_weight": floats(5, 3, 3, 4)}, ("the second filter is 3x3", "1x1 with stride 1", "call conv2d twice")),
    "depthwise_bias too long": ({"depthwise_bias": floats(5)}, ("depthwise_bias has shape (5,)", "(4,)")),
    "depthwise_scale of two axes": ({"depthwise_scale": floats(1, 4)}, ("depthwise_scale has shape (1, 4)", "(4,)")),
    "bias too short": ({"bias": floats(4)}, ("bias has shape (4,)", "(5,)")),
    "scale of integers": ({"scale": floats(5, dtype="int32")}, ("of the 1x1", "dtype of scale is 'int32'", "float16")),
    "depthwise_scale of integers": ({"depthwise_scale": floats(4, dtype="int32")}, ("of the depthwise", "dtype of scale is 'int32'", "float16")),
    "kernel of no kind": ({"kernel": "fast", "engine": "simulated"}, ("kernel is 'fast'", "'conv_direct'", "kernel=None")),
    "kernel of a pooling": ({"kernel": "pool", "engine": "simulated"}, ("kernel is 'pool'", "'conv_direct'", "kernel=None")),
    "kernel on the array path": ({"kernel": "conv_direct", "engine": "arrays"}, ("engine 'arrays', which has no kernels", "drop kernel=")),
    "engine of no kind": ({"engine": "gpu"}, ("engine is 'gpu'", "'simulated'")),
}
BOTH = ("separable_conv2d", "plan_separable_conv2d")
#: refused where both parts are known
LATE = ("kernel of no kind", "kernel of a pooling", "kernel on the array path", "engine of no kind", "pointwise_weight of windows")


def integers(dtype: str) -> dict[str, object]:
    """Return a call on 8-bit integers."""
    return {"x": image().astype(dtype), "depthwise_weight": floats(4, 3, 3, 1, dtype=dtype), "pointwise_weight": floats(5, 1, 1, 4, dtype=dtype)}


def weight_as_out(_: dict[str, object]) -> dict[str, object]:
    """Return a call whose output, of one pixel an image, is the pointwise weight itself."""
    weight = floats(4, 1, 1, 4)
    return {"x": floats(4, 3, 3, 4), "pointwise_weight": weight, "out": weight}


ROWS = [
    Row(function, name, changes, words, operation="separable_conv2d" if name in LATE else "") for function in BOTH for name, (changes, words) in WORDS.items()
]
ROWS += [
    *(Row("separable_conv2d", f"x of {dtype}", integers(dtype), (f"x is {dtype}", "requantised"), atrous.UnsupportedProblem) for dtype in ("int8", "uint8")),
    Row("plan_separable_conv2d", "dtype int8", {"dtype": "int8"}, ("x is int8", "requantised"), atrous.UnsupportedProblem),
    Row("plan_separable_conv2d", "dtype of another kind", {"dtype": "float16"}, ("depthwise_weight has dtype float32", "expected float16")),
    Row("separable_conv2d", "x without channels", {"x": floats(1, 5, 6, 0)}, ("x has shape (1, 5, 6, 0) with 0 channels", "at least one channel")),
    Row("separable_conv2d", "x of three axes", {"x": floats(5, 6, 4)}, ("x has shape (5, 6, 4)", "4 dimensions")),
    Row("separable_conv2d", "pointwise_weight of float64", {"pointwise_weight": floats(5, 1, 1, 4, dtype="float64")}, ("pointwise_weight has dtype float64",)),
    Row("separable_conv2d", "depthwise_weight of float16", {"depthwise_weight": floats(4, 3, 3, 1, dtype="float16")}, ("depthwise_weight has dtype float16",)),
    Row("separable_conv2d", "residual of x's shape", {"residual": image()}, ("residual has shape (1, 5, 6, 4)", "expected (1, 3, 4, 5)")),
    Row("separable_conv2d", "out of the depthwise's shape", {"out": np.zeros((1, 3, 4, 4), "float32")}, ("out has shape (1, 3, 4, 4)", "(1, 3, 4, 5)")),
    Row("separable_conv2d", "out that is the pointwise_weight", weight_as_out, ("out shares memory with pointwise_weight", "a copy of pointwise_weight")),
    Row("separable_conv2d", "stream on the CPU", {"stream": 0}, ("stream is 0", "no stream")),
    Row("plan_separable_conv2d", "residual array", {"residual": floats(1, 3, 4, 5)}, ("residual is of type ndarray", "True or False", "plan(x, residual=r)")),
    Row("separable plan", "residual unasked", {"residual": floats(1, 3, 4, 5)}, ("residual is given", "planned"), operation="separable_conv2d"),
    Row("separable plan", "x of another shape", {"x": floats(1, 6, 6, 4)}, ("x has shape (1, 6, 6, 4)", "(1, 5, 6, 4)"), operation="separable_conv2d"),
    *(
        Row("parse", f"separable {case}", {"case": case}, words, error, operation=operation)
        for case, words, operation, error in (
            ("n1c4h5w6_k4r3s3_g4_f32+k5", ("'k5'", "k#r#s# behind '+'"), "case", atrous.ProblemError),
            ("n1c4h5w6_k4r3s3_g4_f32+k5r1s1_f32", ("'f32'", "behind '+'"), "case", atrous.ProblemError),
            ("n1c4h5w6_k4r3s3_g4_f32+k5r1s1_nchw", ("'nchw'", "behind '+'"), "case", atrous.ProblemError),
            ("n1c4h5w6_max_r2s2_f32+k5r1s1", ("stands before '+'", "a convolution"), "case", atrous.ProblemError),
            ("n1c4h5w6_k4r3s3_f32+k5r1s1", ("has 1 groups and C = 4", "one channel a group"), "separable_conv2d", atrous.ProblemError),
            ("n1c4h5w6_k4r3s3_g4_f32_residual+k5r1s1", ("has a residual", "of the 1x1 alone"), "separable_conv2d", atrous.ProblemError),
            ("n1c4h5w6_k4r3s3_g4_i8_outf32+k5r1s1", ("x is int8", "requantised between"), "separable_conv2d", atrous.UnsupportedProblem),
            ("n1c4h5w6_k4r3s3_g4_f32+k5r3s3", ("the second filter is 3x3",), "separable_conv2d", atrous.ProblemError),
            ("n1c4h5w6_k4r3s3_g4_f32+k4r1s1_g4", ("4 groups", "one group"), "separable_conv2d", atrous.ProblemError),
            ("n1c4h5w6_k4r3s3_g4_f32+k5r1s1_stride2", ("stride (2, 2)", "stride 1"), "separable_conv2d", atrous.ProblemError),
            ("n1c4h5w6_k4r3s3_g4_f32+k5r1s1_pad1", ("padding (1, 1, 1, 1)", "no padding"), "separable_conv2d", atrous.ProblemError),
        )
    ),
]
