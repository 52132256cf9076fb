"""A convolution and the pooling that follows: to the bit the two calls, whatever runs it; what it says of itself."""

from __future__ import annotations

import logging

import brute
import numpy as np
import pytest

import atrous
from atrous import reference, testing
from atrous.engines import simulated
from atrous.nets.graph import Convolution, Network, Pooling
from atrous.nets.graph import fused as fused_layers
from atrous.problem import Conv2dProblem, ConvPool2dProblem, Pool2dProblem, parse
from atrous.sampling import random_pair
from cases import FOLDER, read_cases

REASON = simulated.available()
needs_simulator = pytest.mark.skipif(REASON is not None, reason=str(REASON))
RESNET = "n1c3h224w224_k64r7s7_pad3_stride2_f16_bias_relu+max_r3s3_pad1_stride2"


def same_bits(actual, expected):
    """Assert that two arrays are equal to the bit, all NaN alike."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    nan = np.isnan(expected.astype(np.float64))
    assert (np.isnan(actual.astype(np.float64)) == nan).all()
    integer = f"u{actual.dtype.itemsize}"
    assert (np.where(nan, 0, np.ascontiguousarray(actual).view(integer)) == np.where(nan, 0, np.ascontiguousarray(expected).view(integer))).all()


def words_of(problem):
    """Return the words of conv2d, and those of its pooling, that a pair means."""
    conv, pool = problem.conv, problem.pool
    names = ["stride", "dilation", "groups", "padding_mode", "layout", "weight_layout", "activation", "precision", "out_dtype", "zero_point", "out_zero_point"]
    words = {name: getattr(conv, name) for name in names}
    pads = [((top, bottom), (left, right)) for top, bottom, left, right in (conv.pads, pool.pads)]
    options = {"nan": pool.nan} if pool.kind == "max" else {"count_include_pad": pool.count_include_pad, "divisor": pool.divisor}
    window = {"stride": pool.stride, "padding": pads[1], "dilation": pool.dilation}
    return {**words, "padding": pads[0]}, window, {**options, "ceil_mode": pool.ceil_mode}


def fused(problem, inputs, **more):
    """Return conv2d_pool2d of operands by name."""
    words, window, options = words_of(problem)
    window = {f"pool_{name}": value for name, value in window.items()}
    named = {"pool": problem.pool.kind, "window": (problem.pool.r, problem.pool.s), **words, **window, **options, **more}
    return atrous.conv2d_pool2d(**inputs, **named)


def apart(problem, inputs, **more):
    """Return the pooling of conv2d, by two calls."""
    words, window, options = words_of(problem)
    between = atrous.conv2d(**inputs, **words, **more)
    more.pop("kernel", None)
    door = atrous.max_pool2d if problem.pool.kind == "max" else atrous.avg_pool2d
    return door(between, (problem.pool.r, problem.pool.s), layout=problem.conv.layout, **window, **options, **more)


def test_the_case_string_of_a_pair_reads_back():
    problem = parse(RESNET)
    assert isinstance(problem, ConvPool2dProblem) and str(problem) == RESNET
    assert problem.conv.y_shape == (1, 112, 112, 64) == problem.pool.x_shape and problem.y_shape == (1, 56, 56, 64)
    assert (problem.pool.r, problem.pool.s) == (3, 3)
    assert parse("n1c2h9w9_k2r3s3_f32_clip-1:1e+20+avg_global").pool.r == 7
    for seed in range(300):
        pair = random_pair(seed)
        assert parse(str(pair)) == pair and hash(parse(str(pair))) == hash(pair)


@pytest.mark.parametrize("case", read_cases(FOLDER / "pooled.txt"), ids=lambda case: case.name)
def test_the_pairs_of_the_nets_are_the_layers_of_their_nets(case):
    problem = parse(case.text)
    assert str(problem) == case.text
    net, _, layer = case.name.removeprefix("pooled/").partition("/")
    if "-" in net:
        return  # the same layer in another dtype
    layers = [parse(line.text) for line in read_cases(FOLDER / f"{net}.txt")]
    assert problem.conv in layers, f"{layer} is no layer of {net}"
    assert problem.pool in layers


def test_the_reference_pools_the_rounded_convolution():
    problem = parse("n1c3h6w7_k4r3s2_pad1_f16_bias_relu+max_r3s2_pad1_stride2x1")
    inputs = testing.exact_inputs(problem, 1)
    rounded = np.array(brute.conv2d(problem.conv, *(inputs[name].astype(float).tolist() for name in ("x", "weight")), bias=inputs["bias"].tolist()))
    rounded = rounded.astype(np.float16).astype(float)
    expected = np.full(problem.y_shape, -np.inf)
    for p, q in np.ndindex(problem.y_shape[1:3]):
        for r, s in np.ndindex(3, 2):
            row, column = 2 * p - 1 + r, q - 1 + s
            if 0 <= row < rounded.shape[1] and 0 <= column < rounded.shape[2]:
                expected[:, p, q] = np.maximum(expected[:, p, q], rounded[:, row, column])
    same_bits(reference.conv2d_pool2d(problem, **inputs), expected.astype(np.float16))
    # 2049 is no float16: the mean is that of 2048 and 2050, not of 2049 and 2050
    conv = Conv2dProblem.make((1, 1, 2, 1), (1, 1, 1, 1), dtype="float16")
    pair = ConvPool2dProblem.make(conv, (1, 2), "avg")
    x = np.array([[[[683]], [[1025]]]], np.float16).reshape(1, 1, 2, 1)
    assert reference.conv2d_pool2d(pair, x * np.float16(1), np.full((1, 1, 1, 1), 3, np.float16)).item() == np.float16((2048 + 3076) / 2)


def test_equal_to_the_bit_to_the_two_calls():
    for seed in range(150):
        problem = random_pair(seed)
        inputs = testing.random_inputs(problem, seed)
        same_bits(fused(problem, inputs), apart(problem, inputs))


@needs_simulator
def test_kernels_in_two_give_the_bits_of_the_two_calls():
    ran = 0
    for seed in range(40):
        problem = random_pair(seed)
        inputs = testing.random_inputs(problem, seed)
        try:
            same_bits(fused(problem, inputs, engine="simulated"), apart(problem, inputs, engine="simulated"))
            ran += 1
        except atrous.UnsupportedProblem as refusal:
            assert "declines" in str(refusal)
    assert ran >= 35


@needs_simulator
def test_a_simulated_plan_holds_the_middle_and_allocates_nothing_more():
    problem = parse("n2c3h11w12_k8r3s3_pad1_f32_residual_relu+max_r3s3_pad1_stride2")
    inputs = testing.random_inputs(problem, 4)
    words = dict(padding=1, activation="relu", window=3, pool_stride=2, pool_padding=1, engine="simulated", kernel="conv_direct")
    plan = atrous.plan_conv2d_pool2d(problem.x_shape, inputs["weight"], residual=True, **words)
    assert plan.kernel == "conv_direct, then pool_stream" and plan.workspace_bytes >= 2 * 11 * 12 * 8 * 4
    held = plan.workspace_bytes
    expected = apart(problem, inputs, engine="simulated", kernel="conv_direct")
    for _ in range(2):
        same_bits(plan(inputs["x"], residual=inputs["residual"]), expected)
    assert plan.workspace_bytes == held


def test_near_the_reference():
    for seed in range(150):
        problem = random_pair(seed)
        inputs = testing.random_inputs(problem, seed)
        testing.assert_matches(fused(problem, inputs), testing.expected_output(problem, inputs), problem, testing.tolerance(problem, inputs))
        if testing.is_exact(problem):
            inputs = testing.exact_inputs(problem, seed, negative=seed % 2 == 0)
            testing.assert_matches(fused(problem, inputs), testing.expected_output(problem, inputs), problem)


def test_a_plan_gives_the_same_bits_and_states_what_it_holds():
    problem = parse("n2c3h11w12_k8r3s3_pad1_f32_bias_relu+max_r3s3_pad1_stride2")
    inputs = testing.random_inputs(problem, 3)
    words = dict(padding=1, activation="relu", window=3, pool_stride=2, pool_padding=1)
    plan = atrous.plan_conv2d_pool2d(problem.x_shape, inputs["weight"], inputs["bias"], **words)
    assert plan.problem == problem
    expected = apart(problem, inputs)
    same_bits(plan(inputs["x"]), expected)
    out = np.zeros(problem.y_shape, np.float32)
    for _ in range(2):
        assert plan(inputs["x"], out=out) is out
        same_bits(out, expected)
    assert plan.workspace_bytes >= 2 * 11 * 12 * 8 * 4
    larger = plan.for_input((1, 20, 9, 3))
    x = np.ones((1, 20, 9, 3), np.float32)
    same_bits(larger(x), atrous.conv2d_pool2d(x, inputs["weight"], inputs["bias"], **words))


def test_an_empty_batch_gives_an_empty_array():
    assert atrous.conv2d_pool2d(np.zeros((0, 6, 6, 2), np.float32), np.zeros((4, 3, 3, 2), np.float32)).shape == (0, 2, 2, 4)


@pytest.mark.parametrize("pool", ["max", "avg"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("engine", ["arrays", pytest.param("simulated", marks=needs_simulator)])
def test_no_output_channels_give_an_empty_array(engine, dtype, pool):
    for c in (2, 16):
        x, weight = np.zeros((1, 6, 7, c), dtype), np.zeros((0, 3, 3, c), dtype)
        assert atrous.conv2d_pool2d(x, weight, pool=pool, engine=engine).shape == (1, 2, 2, 0)
        plan = atrous.plan_conv2d_pool2d(x.shape, weight, pool=pool, engine=engine)
        assert plan(x).shape == (1, 2, 2, 0) and plan.for_input((3, 9, 7, c))(np.zeros((3, 9, 7, c), dtype)).shape == (3, 3, 2, 0)
        assert parse(str(plan.problem)) == plan.problem and "nothing to launch" in atrous.explain(str(plan.problem), "sm_80")
    with pytest.raises(atrous.ProblemError, match="x has 0 channels"):
        atrous.max_pool2d(np.zeros((1, 4, 4, 0), dtype), 2)


def test_a_residual_is_added_before_the_pooling():
    x, weight = np.zeros((1, 2, 2, 1), np.float32), np.zeros((1, 1, 1, 1), np.float32)
    residual = np.array([1, -5, 7, 2], np.float32).reshape(1, 2, 2, 1)
    assert atrous.conv2d_pool2d(x, weight, residual=residual, activation="relu").item() == 7
    assert atrous.conv2d_pool2d(x, weight, residual=residual, activation="relu", pool="avg").item() == 2.5


def test_what_runs_in_two_says_so_and_why(caplog):
    x, weight = np.zeros((1, 6, 6, 2), np.float32), np.zeros((4, 3, 3, 2), np.float32)
    with caplog.at_level(logging.DEBUG, "atrous"):
        atrous.conv2d_pool2d(x, weight, window=(2, 1))
    assert any("in two" in line for line in caplog.messages)
    text = atrous.explain("n1c2h6w6_k4r3s3_f64+max_r2s2", "sm_80")
    [two] = [row for row in text.rows if row["kernel"].endswith(", then pool")]
    assert two["chosen"] and two["launch"] is not None
    between = 4 * 4 * 4 * 8
    assert f"{between:,} bytes" in text


def test_both_problems_of_a_pair_must_meet():
    conv = Conv2dProblem.make((1, 6, 6, 2), (4, 3, 3, 2), dtype="float32")
    with pytest.raises(atrous.ProblemError, match="the pooling reads"):
        ConvPool2dProblem(conv, Pool2dProblem.make((1, 6, 6, 4), 2, "max", dtype="float32"))


def test_a_network_fuses_convolutions_and_the_poolings_behind_them():
    random = np.random.default_rng(5)
    weights = [random.normal(size=shape).astype(np.float32) for shape in ((6, 5, 5, 1), (16, 3, 3, 6), (4, 1, 1, 16))]
    options = {"activation": "relu"}
    network = Network(
        (
            Convolution("c1", weights[0], random.normal(size=6).astype(np.float32), options),
            Pooling("s2", 3, "max", {"stride": 2, "padding": 1}),
            Convolution("c3", weights[1], None, options),
            Pooling("s4", 2, "avg", {"count_include_pad": True, "ceil_mode": True}),
            Convolution("c5", weights[2], None, options),
            Pooling("norm", "global", "l2"),
        )
    )
    x = random.normal(size=(3, 20, 21, 1)).astype(np.float32)
    plain, together = network.plan(x.shape), network.plan(x.shape, fuse=True)
    assert [name for name, _ in together.steps] == ["c1+s2", "c3+s4", "c5", "norm"]
    same_bits(together(x), plain(x))
    for one, other in zip(together.trace(x), [plain.trace(x)[i] for i in (1, 3, 4, 5)]):
        same_bits(one, other)
    indices = Pooling("where", 2, "max", {"return_indices": True})
    nchw = Pooling("other", 2, "max", {"layout": "NCHW"})
    for pool in (indices, nchw):
        assert fused_layers((network.layers[0], pool)) == (network.layers[0], pool)
