"""A depthwise convolution and the 1x1 that follows: to the bit the two calls, whatever runs them; what they say of themselves."""

from __future__ import annotations

import logging

import brute
import numpy as np
import pytest
from test_conv_pool import same_bits

import atrous
from atrous import reference, testing
from atrous.engines import simulated
from atrous.problem import Conv2dProblem, SeparableConv2dProblem, parse
from atrous.sampling import any_problem, random_separable

REASON = simulated.available()
needs_simulator = pytest.mark.skipif(REASON is not None, reason=str(REASON))
MOBILENET = "n1c32h112w112_k32r3s3_pad1_g32_f16_bias_relu6+k64r1s1_bias_relu6"


def pads(problem):
    top, bottom, left, right = problem.pads
    return (top, bottom), (left, right)


def part(problem, inputs, of=""):
    """Return the operands of one of the two as `conv2d` names them."""
    return {name: inputs[of + name] for name in ("weight", "scale", "bias") if of + name in inputs}


def apart(problem, inputs, **more):
    """Return conv2d of conv2d, by two calls."""
    first, second = problem.parts
    words = dict(stride=first.stride, padding=pads(first), dilation=first.dilation, padding_mode=first.padding_mode, groups=first.groups)
    words |= {name: getattr(first, name) for name in ("layout", "weight_layout", "activation", "precision", "out_dtype")}
    between = atrous.conv2d(inputs["x"], **part(problem, inputs, "depthwise_"), **words, **more)
    more.pop("kernel", None)
    words = {name: getattr(second, name) for name in ("layout", "weight_layout", "activation", "precision", "out_dtype")}
    return atrous.conv2d(between, residual=inputs.get("residual"), **part(problem, inputs), **words, **more)


def words_of(problem):
    """Return the words of separable_conv2d that a problem means, which has one weight_layout and one precision."""
    first, second = problem.parts
    words = dict(stride=first.stride, padding=pads(first), dilation=first.dilation, padding_mode=first.padding_mode, depthwise_activation=first.activation)
    return words | {name: getattr(second, name) for name in ("layout", "weight_layout", "activation", "precision", "out_dtype")}


def fused(problem, inputs, **more):
    """Return separable_conv2d of operands by name."""
    named = {"pointwise_weight" if name == "weight" else name: array for name, array in inputs.items()}
    return atrous.separable_conv2d(**named, **words_of(problem), **more)


def drawn(count):
    """Yield (seed, problem) of random separable convolutions that a call can mean: of one weight_layout and precision, x's dtype between."""
    for seed in range(count):
        problem = random_separable(seed)
        first, second = problem.parts
        if (first.weight_layout, first.precision, first.out_dtype) == (second.weight_layout, second.precision, first.dtype):
            yield seed, problem


def test_the_case_string_reads_back():
    problem = parse(MOBILENET)
    assert isinstance(problem, SeparableConv2dProblem) and str(problem) == MOBILENET
    assert problem.x_shape == (1, 112, 112, 32) and problem.pointwise.x_shape == problem.depthwise.y_shape and problem.y_shape == (1, 112, 112, 64)
    assert (problem.bias, problem.depthwise.bias, problem.k, problem.weight_shape) == ("float16", "float16", 64, (64, 1, 1, 32))
    assert problem.flops == 2 * 112 * 112 * (32 * 9 + 32 * 64)
    other = parse("n1c2h9w9_k6r3s3_g2_f32_clip-1:1e+20_outf16_wrskc+k3r1s1_scale_biasf32_outf64_wskcr")
    assert (other.scale, other.bias, other.dtype, other.depthwise.out_dtype, other.out_dtype) == ("float16", "float32", "float32", "float16", "float64")
    for seed in range(300):
        pair = random_separable(seed)
        assert parse(str(pair)) == pair and hash(parse(str(pair))) == hash(pair)
    assert sum(isinstance(any_problem(seed), SeparableConv2dProblem) for seed in range(1300)) >= 80


def test_the_reference_mixes_the_rounded_depthwise():
    problem = parse("n1c3h6w7_k6r3s2_pad1_stride2x1_g3_f16_bias_relu+k4r1s1_bias_relu")
    inputs = testing.exact_inputs(problem, 1)
    lists = {name: array.astype(float).tolist() for name, array in inputs.items()}
    between = brute.conv2d(problem.depthwise, lists["x"], lists["depthwise_weight"], bias=lists["depthwise_bias"])
    rounded = np.array(between).astype(np.float16).astype(float)
    expected = brute.conv2d(problem.pointwise, rounded.tolist(), lists["weight"], bias=lists["bias"])
    same_bits(reference.separable_conv2d(problem, **inputs), np.array(expected).astype(np.float16))
    # 2049 is no float16: the 1x1 reads 2048
    pair = SeparableConv2dProblem.make(Conv2dProblem.make((1, 1, 1, 1), (1, 1, 1, 1), dtype="float16"), (1, 1, 1, 1), out_dtype="float32")
    one = np.ones((1, 1, 1, 1), np.float16)
    assert reference.separable_conv2d(pair, one * np.float16(683), one * np.float16(3), one).item() == 2048


def test_equal_to_the_bit_to_the_two_calls():
    compared = 0
    for seed, problem in drawn(250):
        inputs = testing.random_inputs(problem, seed)
        same_bits(fused(problem, inputs), apart(problem, inputs))
        compared += 1
    assert compared >= 80


@needs_simulator
def test_kernels_in_two_give_the_bits_of_the_two_calls():
    ran = 0
    for seed, problem in drawn(60):
        inputs = testing.random_inputs(problem, seed)
        for words in ({}, {"kernel": "conv_direct"}):
            same_bits(fused(problem, inputs, engine="simulated", **words), apart(problem, inputs, engine="simulated", **words))
            ran += 1
    assert ran >= 30


def test_near_the_reference():
    exact = 0
    for seed in range(200):
        problem = random_separable(seed)
        if testing.is_exact(problem):
            exact += 1
            whole = testing.exact_inputs(problem, seed, negative=seed % 2 == 0)
            testing.assert_matches(reference.separable_conv2d(problem, **whole), testing.expected_output(problem, whole), problem)
    assert exact >= 60
    for seed, problem in drawn(200):
        inputs = testing.random_inputs(problem, seed)
        testing.assert_matches(fused(problem, inputs), testing.expected_output(problem, inputs), problem, testing.tolerance(problem, inputs))
        if testing.is_exact(problem):
            inputs = testing.exact_inputs(problem, seed, negative=seed % 2 == 0)
            testing.assert_matches(fused(problem, inputs), testing.expected_output(problem, inputs), problem)


@pytest.mark.parametrize("engine", ["arrays", pytest.param("simulated", marks=needs_simulator)])
def test_a_plan_gives_the_same_bits_and_states_what_it_holds(engine):
    problem = parse("n2c6h11w12_k12r3s3_pad1_stride2_g6_f32_bias_relu+k8r1s1_scale_bias_residual_silu")
    inputs = testing.random_inputs(problem, 3)
    weights = (inputs["depthwise_weight"], inputs["weight"], inputs["bias"])
    more = {name: inputs[name] for name in ("depthwise_bias", "scale")} | words_of(problem)
    plan = atrous.plan_separable_conv2d(problem.x_shape, *weights, residual=True, engine=engine, **more)
    assert plan.problem == problem
    expected = apart(problem, inputs, engine=engine)
    out = np.zeros(problem.y_shape, np.float32)
    held = plan.workspace_bytes
    assert held >= 2 * 6 * 6 * 12 * 4
    for _ in range(2):
        assert plan(inputs["x"], residual=inputs["residual"], out=out) is out
        same_bits(out, expected)
    assert plan.workspace_bytes == held
    larger = plan.for_input((1, 20, 9, 6))
    x, residual = np.ones((1, 20, 9, 6), np.float32), np.zeros((1, 10, 5, 8), np.float32)
    same_bits(larger(x, residual=residual), atrous.separable_conv2d(x, *weights, residual=residual, engine=engine, **more))


@needs_simulator
def test_a_plan_holds_the_packed_weights_of_both():
    """Weights in another order are packed for tensor cores, those of the depthwise beside those of the 1x1."""
    problem = parse("n1c64h9w9_k64r3s3_pad1_g64_f16_wrskc+k48r1s1_wrskc")
    inputs = testing.random_inputs(problem, 5)
    words = dict(words_of(problem), engine="simulated")
    plan = atrous.plan_separable_conv2d(problem.x_shape, inputs["depthwise_weight"], inputs["weight"], kernel="conv_igemm_sm80", **words)
    assert plan.kernel == "conv_igemm_sm80, then conv_igemm_sm80"
    assert plan.packed_bytes >= 2 * (2 * 64 * 48 + 64 * 9)
    expected = apart(problem, inputs, engine="simulated", kernel="conv_igemm_sm80")
    for _ in range(2):
        same_bits(plan(inputs["x"]), expected)


@pytest.mark.parametrize("engine", ["arrays", pytest.param("simulated", marks=needs_simulator)])
def test_what_is_empty_gives_an_empty_array(engine):
    weight = np.zeros((2, 3, 3, 1), np.float32)
    assert atrous.separable_conv2d(np.zeros((0, 6, 6, 2), np.float32), weight, np.zeros((4, 1, 1, 2), np.float32), engine=engine).shape == (0, 4, 4, 4)
    none = np.zeros((0, 1, 1, 2), np.float32)
    assert atrous.separable_conv2d(np.zeros((1, 6, 6, 2), np.float32), weight, none, engine=engine).shape == (1, 4, 4, 0)
    plan = atrous.plan_separable_conv2d((1, 6, 6, 2), weight, none, engine=engine)
    assert plan(np.zeros((1, 6, 6, 2), np.float32)).shape == (1, 4, 4, 0) and "nothing to launch" in atrous.explain(str(plan.problem), "sm_80")


def test_residual_scale_and_activation_are_where_they_belong():
    x = np.full((1, 1, 1, 2), 3, np.float32)
    depthwise, pointwise = np.array([1, -1], np.float32).reshape(2, 1, 1, 1), np.array([[1, 1], [1, 2]], np.float32).reshape(2, 1, 1, 2)
    words = dict(depthwise_scale=np.array([2, 4], np.float32), depthwise_bias=np.array([1, 2], np.float32), depthwise_activation="relu")
    assert atrous.separable_conv2d(x, depthwise, pointwise, **words).ravel().tolist() == [7, 7]
    words |= dict(bias=np.array([-9, 1], np.float32), scale=np.array([1, 2], np.float32), residual=np.full((1, 1, 1, 2), 1, np.float32), activation="relu")
    assert atrous.separable_conv2d(x, depthwise, pointwise, **words).ravel().tolist() == [0, 16]
    doubled = np.repeat(depthwise, 2, axis=0)  # two filters a channel
    four = np.array([1, 10, 100, 1000], np.float32).reshape(1, 1, 1, 4)
    assert atrous.separable_conv2d(x, doubled, four).item() == 3 + 30 - 300 - 3000


def test_what_runs_in_two_says_so_and_why(caplog):
    x, weight = np.zeros((1, 6, 6, 2), np.float32), np.zeros((2, 3, 3, 1), np.float32)
    with caplog.at_level(logging.DEBUG, "atrous"):
        atrous.separable_conv2d(x, weight, np.zeros((5, 1, 1, 2), np.float32))
    assert any("in two" in line for line in caplog.messages)
    text = atrous.explain("n1c2h6w6_k2r3s3_g2_f64+k5r1s1", "sm_80")
    [two] = [row for row in text.rows if ", then " in row["kernel"]]
    assert two["chosen"] and two["launch"] is not None
    assert f"in two: the {4 * 4 * 2 * 8:,} bytes of (1, 4, 4, 2) between the two are written and read again" in text


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_views_and_an_output_that_is_the_residual(layout):
    problem = parse(f"n2c8h9w10_k8r3s3_pad1_g8_f32{'_nchw' if layout == 'NCHW' else ''}+k6r1s1_residual_relu")
    inputs = testing.random_inputs(problem, 7)
    expected = apart(problem, inputs)
    wide = np.zeros(tuple(2 * size for size in problem.x_shape), np.float32)
    view = wide[tuple(slice(0, 2 * size, 2) for size in problem.x_shape)]
    view[...] = inputs["x"]
    out = inputs["residual"].copy()
    assert fused(problem, {**inputs, "x": view, "residual": out}, out=out) is out
    same_bits(out, expected)


@needs_simulator
def test_a_part_that_no_kernel_takes_is_refused_in_one_sentence():
    x, depthwise, pointwise = np.zeros((1, 6, 6, 2)), np.zeros((2, 3, 3, 1)), np.zeros((5, 1, 1, 2))
    with pytest.raises(atrous.UnsupportedProblem) as refusal:
        atrous.separable_conv2d(x, depthwise, pointwise, engine="simulated", kernel="conv_igemm_sm80")
    said = str(refusal.value)
    assert said.count("; expected ") == 1 and "in two declines: [conv2d] n1c2h6w6_k2r3s3_g2_f64: conv_igemm_sm80 declines: x is float64" in said
