"""Problems: the case string round trip, equality and keys, derived shapes, and what is refused in which words."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrous.arguments import ACTIVATIONS
from atrous.errors import AtrousError, ProblemError, UnsupportedProblem
from atrous.problem import Conv2dProblem, Pool2dProblem, parse
from atrous.sampling import KINDS, random_problem
from cases import FOLDER, all_cases, read_cases

FLOATS = st.sampled_from(["float16", "bfloat16", "float32", "float64"])
NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(float)
SIZES = st.integers(1, 3000)


@given(seed=st.integers(0, 10**9), kind=st.sampled_from(KINDS))
def test_case_string_round_trip(seed, kind):
    problem = random_problem(seed, kind)
    again = parse(str(problem))
    assert again == problem
    assert hash(again) == hash(problem)
    assert str(again) == str(problem)


@given(
    shape=st.tuples(st.integers(0, 3000), SIZES, SIZES, st.sampled_from([6, 12, 66])),
    outputs=st.sampled_from([0, 6, 30]),
    groups=st.sampled_from([1, 2, 3, 6]),
    dtype=FLOATS,
    activation=st.one_of(
        st.sampled_from([name for name in ACTIVATIONS if name != "clip"]),
        st.tuples(st.just("leaky_relu"), NUMBERS),
        st.tuples(NUMBERS, NUMBERS).map(lambda pair: ("clip", *sorted(pair))),
    ),
    scale=st.none() | FLOATS,
    bias=st.none() | FLOATS,
)
def test_case_string_round_trip_of_wide_numbers(shape, outputs, groups, dtype, activation, scale, bias):
    problem = Conv2dProblem.make(
        shape, (outputs, 1, 1, shape[3] // groups), dtype=dtype, groups=groups, activation=activation, scale=scale, bias=bias, residual=True
    )
    assert parse(str(problem)) == problem


@given(sigma=st.floats(1e-30, 1e30), power=st.floats(1e-3, 1e30), divisor=NUMBERS.filter(lambda x: 1e-37 < abs(x) < 3e38))
def test_case_string_round_trip_of_pool_numbers(sigma, power, divisor):
    for kind, options in (("weighted", {"weighting": "gaussian", "sigma": sigma}), ("lp", {"power": power}), ("avg", {"divisor": divisor})):
        problem = Pool2dProblem.make((1, 8, 9, 2), (2, 3), kind, dtype="float32", **options)
        assert parse(str(problem)) == problem


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_cases_parse(case):
    problem = parse(case.text)
    assert parse(str(problem)) == problem
    assert case.count >= 1


def test_case_names_are_unique():
    names = [case.name for case in all_cases()]
    assert len(set(names)) == len(names)
    assert len(read_cases(FOLDER / "resnet50.txt")) == 26


def test_a_bad_line_is_refused(tmp_path):
    path = tmp_path / "bad.txt"
    path.write_text("# a heading\nname n1c1h1w1_k1r1s1_f32 twice\n")
    with pytest.raises(ValueError, match=r"bad\.txt:2"):
        read_cases(path)


def test_case_string_reads_as_documented():
    problem = parse("n1c64h56w58_k64r3s5_pad1_stride2_g64_f16_nhwc")
    assert (problem.n, problem.c, problem.h, problem.w) == (1, 64, 56, 58)
    assert (problem.k, problem.r, problem.s, problem.groups) == (64, 3, 5, 64)
    assert (problem.stride, problem.dilation, problem.pads) == ((2, 2), (1, 1), (1, 1, 1, 1))
    assert (problem.dtype, problem.out_dtype, problem.layout, problem.weight_layout) == ("float16", "float16", "NHWC", "KRSC")
    assert str(problem) == "n1c64h56w58_k64r3s5_pad1_stride2_g64_f16"
    problem = parse("n1c64h112w112_max_r3s3_pad1_stride2_f16")
    assert (problem.kind, problem.r, problem.p, problem.q) == ("max", 3, 56, 56)


CONV = parse("n2c12h9w8_k12r3s2_pad1:0:2:1_stride1x2_dil2x1_g3_f32_scale_bias_relu")
POOL = parse("n2c12h9w8_avg_r3s2_pad1:0:0:1_stride1x2_dil2x1_f32")
OTHER = {
    "n": 3, "h": 10, "w": 9, "c": 24, "r": 2, "s": 3, "k": 24, "stride": (2, 1), "dilation": (1, 2), "pads": (0, 1, 1, 0), "groups": 4,
    "padding_mode": "reflect", "dtype": "float64", "out_dtype": "float16", "layout": "NCHW", "weight_layout": "RSCK", "scale": None, "bias": "float16",
    "residual": True, "activation": ("leaky_relu", 0.5), "precision": "tf32", "kind": "rms", "ceil_mode": True, "count_include_pad": True, "divisor": 3.0,
}  # fmt: skip


@pytest.mark.parametrize("problem", [CONV, POOL], ids=["conv", "pool"])
def test_every_field_counts_in_equality_and_in_the_case_string(problem):
    untouched = []
    for field in fields(problem):
        try:
            other = replace(problem, **{field.name: OTHER[field.name]})
        except (KeyError, AtrousError):
            untouched.append(field.name)
            continue
        assert other != problem, field.name
        assert str(other) != str(problem), field.name
        assert parse(str(other)) == other, field.name
    assert untouched == (["zero_point", "out_zero_point"] if problem is CONV else ["nan", "return_indices", "power", "weighting", "sigma", "normalize"])


def test_zero_points_count_too():
    problem = parse("n1c2h5w5_k2r3s3_i8_outi8_zp3_outzp-4")
    assert (problem.zero_point, problem.out_zero_point) == (3, -4)
    assert len({problem, replace(problem, zero_point=4), replace(problem, out_zero_point=4)}) == 3


def test_shapes():
    problem = parse("n2c6h9w8_k4r3s2_stride2x3_g2_f32_nchw")
    assert problem.x_shape == (2, 6, 9, 8)
    assert problem.weight_shape == (4, 3, 3, 2)
    assert problem.y_shape == (2, 4, 4, 3)
    problem = parse("n2c6h9w8_k4r3s2_g2_f32_wrsck")
    assert problem.weight_shape == (3, 2, 3, 4)
    assert problem.y_shape == (2, 7, 7, 4)
    assert parse("n2c6h9w8_max_r3s2_stride1_f32_nchw").y_shape == (2, 6, 7, 7)
    assert parse("n2c6h9w8_max_global_f32").y_shape == (2, 1, 1, 6)
    assert parse("n1c8h9w7_k4r3s2_pad1_f32").flops == 2 * 9 * 8 * 4 * 3 * 2 * 8


def test_integers_give_int32_unless_told():
    assert parse("n1c2h5w5_k2r3s3_i8").out_dtype == "int32"
    assert parse("n1c2h5w5_k2r3s3_u8_outu8").out_dtype == "uint8"


def test_padding_forms_are_one_problem():
    forms = ["same", 1, (1, 1), ((1, 1), (1, 1)), ("same", 1), (1, "same")]
    problems = {Conv2dProblem.make((1, 5, 6, 2), (3, 3, 3, 2), dtype="float32", padding=form) for form in forms}
    assert len(problems) == 1
    causal = Conv2dProblem.make((1, 5, 6, 2), (3, 3, 2, 2), dtype="float32", padding=("causal", "full"), dilation=(2, 3))
    assert causal.pads == (4, 0, 3, 3)


def conv(x=(1, 6, 7, 4), weight=(3, 3, 3, 4), **words):
    return lambda: Conv2dProblem.make(x, weight, **{"dtype": "float32", **words})


def pool(kind="max", window=2, x=(1, 6, 7, 4), **words):
    return lambda: Pool2dProblem.make(x, window, kind, **{"dtype": "float32", **words})


REFUSED = {
    "three-dimensions": (conv(x=(6, 7, 4)), "3 dimensions"),
    "five-dimensions": (conv(weight=(1, 3, 3, 4, 1)), "5 dimensions"),
    "dilation-0": (conv(dilation=0), "dense"),
    "dilation-negative": (conv(dilation=(1, -1)), r"dilation\[1\] is -1"),
    "stride-0": (conv(stride=0), "stride is 0"),
    "stride-float": (conv(stride=1.5), "1.5 of type float"),
    "stride-bool": (conv(stride=True), "bool"),
    "stride-three": (conv(stride=(1, 2, 3)), "3 entries"),
    "stride-word": (conv(stride="two"), "'two'"),
    "padding-word": (conv(padding="SAME"), "'SAME'"),
    "padding-four": (conv(padding=(1, 1, 1, 1)), "4 entries"),
    "padding-float": (conv(padding=0.5), "0.5"),
    "window-too-large": (conv(x=(1, 2, 9, 4)), r"floor\(\(2 \+ 0 \+ 0 - 3\) / 1\) \+ 1 = 0"),
    "window-too-dilated": (conv(dilation=4), "dilation 4"),
    "cropped-away": (conv(padding=-4), "crop less"),
    "groups-0": (conv(groups=0), "groups is 0"),
    "groups-of-c": (conv(groups=3, weight=(3, 3, 3, 4)), "groups is 3 with C = 4 and K = 3"),
    "groups-of-k": (conv(groups=2, weight=(3, 3, 3, 2)), "groups is 2 with C = 4 and K = 3"),
    "channels": (conv(weight=(3, 3, 3, 5)), "5 input channels a filter"),
    "channels-per-group": (conv(groups=2, weight=(4, 3, 3, 4)), "4/2 = 2 input channels"),
    "no-taps": (conv(weight=(3, 0, 3, 4)), "at least one row"),
    "no-rows": (conv(x=(1, 0, 7, 4)), "0 rows"),
    "layout": (conv(layout="NWHC"), "layout is 'NWHC'"),
    "weight-layout": (conv(weight_layout="KRSS"), "weight_layout is 'KRSS'"),
    "dtype": (conv(dtype="complex64"), "complex64"),
    "out-dtype": (conv(out_dtype="int8"), "out_dtype"),
    "padding-mode": (conv(padding_mode="constant"), "padding_mode"),
    "reflect-too-far": (conv(padding=6, padding_mode="reflect"), "at most 5"),
    "circular-too-far": (conv(padding=7, padding_mode="circular"), "at most 6"),
    "precision": (conv(precision="bf16"), "precision"),
    "precision-of-half": (conv(dtype="float16", precision="tf32"), "only with float32"),
    "activation": (conv(activation="swish"), "'swish'"),
    "activation-numbers": (conv(activation=("relu", 1)), "carries 1 number"),
    "clip-without": (conv(activation="clip"), "2 for clip"),
    "clip-swapped": (conv(activation=("clip", 2, 1)), "low <= high"),
    "clip-nan": (conv(activation=("clip", float("nan"), 1)), "NaN"),
    "zero-point-of-floats": (conv(zero_point=1), "zero_point is 1"),
    "zero-point-range": (conv(dtype="uint8", zero_point=-1), "0 to 255"),
    "window-0": (pool(window=0), "window is 0"),
    "window-word": (pool(window="all"), "'all'"),
    "global-with-stride": (pool(window="global", stride=1), "global"),
    "kind": (pool(kind="median"), "'median'"),
    "power-0": (pool("lp", power=0), "p is 0"),
    "power-negative": (pool("lp", power=-1), "p is -1"),
    "divisor-0": (pool("avg", divisor=0), "divisor is 0"),
    "divisor-beyond-float32": (pool("avg", divisor=1e39), "lies in float32's range"),
    "divisor-below-float32": (pool("avg", divisor=1e-40), "lies in float32's range"),
    "divisor-of-max": (pool("max", divisor=2), "only in avg"),
    "indices-of-average": (pool("avg", return_indices=True), "only in max"),
    "sigma-0": (pool("weighted", weighting="gaussian", sigma=0), "sigma is 0"),
    "ceil-mode-number": (pool(ceil_mode=1), "ceil_mode is 1"),
    "nan-word": (pool(nan="ignore"), "'ignore'"),
    "weighting": (pool("weighted", weighting="cosine"), "'cosine'"),
    "max-in-padding": (pool(padding=2, stride=1), "wholly in padding"),
    "average-in-padding": (pool("avg", padding=((0, 0), (0, 2)), stride=1), "wholly in padding"),
    "rms-in-padding": (pool("rms", padding=2, stride=1), "wholly in padding"),
    "weighted-in-padding": (pool("weighted", weighting="inverse", padding=2, stride=1), "wholly in padding"),
    "max-dilated-around": (pool(x=(1, 1, 7, 4), window=(2, 1), padding=((1, 1), (0, 0)), dilation=2), "wholly in padding"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_sentence(name):
    build, words = REFUSED[name]
    with pytest.raises(ProblemError, match=words) as caught:
        build()
    message = str(caught.value)
    assert message.startswith("[") and "; expected " in message and message.endswith(".") and "\n" not in message


def test_integer_averages_are_unsupported():
    with pytest.raises(UnsupportedProblem, match="cast x first"):
        pool("avg", dtype="int8")()


@pytest.mark.parametrize(
    "kind, words", [("lp", {}), ("avg", {"divisor": 4}), ("avg", {"count_include_pad": True}), ("weighted", {"weighting": "inverse", "normalize": "full"})]
)
def test_sums_may_lie_in_padding(kind, words):
    assert pool(kind, padding=2, stride=1, **words)().p == 9


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n1c1h1",
        "n1c1h1w1",
        "n1c1h1w1_k1r1_f32",
        "n1c1h1w1_k1r1s1_f33",
        "n1c1h1w1_k1r1s1_clip1_f32",
        "n1c1h1w1_mean_r1s1",
        "n1c1h1w1_max_r1_f32",
        "n1c1h1w1_max3_r1s1",
    ],
)
def test_bad_case_strings_are_refused(text):
    with pytest.raises(ProblemError):
        parse(text)
