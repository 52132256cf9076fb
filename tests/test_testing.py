"""The public testing tools: exact inputs are exact, bounds hold and are tight enough, failures say where and how to rerun."""

from __future__ import annotations

import numpy as np
import pytest

from atrous import reference, testing
from atrous.problem import parse
from atrous.reference.store import numpy_dtype
from atrous.sampling import KINDS, random_problem

SHORT = ("float16", "bfloat16", "float32")


def reference_output(problem, inputs):
    y = (reference.conv2d if hasattr(problem, "groups") else reference.pool2d)(problem, **inputs)
    return y[0] if isinstance(y, tuple) else y


@pytest.mark.parametrize("make", [testing.exact_inputs, testing.random_inputs])
@pytest.mark.parametrize("kind", KINDS)
def test_inputs_fit_their_problem(make, kind):
    for seed in range(60):
        problem = random_problem(seed, kind)
        inputs = make(problem, seed)
        assert inputs["x"].shape == problem.x_shape and inputs["x"].dtype == numpy_dtype(problem.dtype)
        if kind == "conv":
            wanted = {"weight": problem.dtype, "scale": problem.scale, "bias": problem.bias, "residual": problem.residual and problem.out_dtype}
            assert set(inputs) == {"x"} | {name for name, dtype in wanted.items() if dtype}
            assert all(inputs[name].dtype == numpy_dtype(wanted[name]) for name in inputs if name != "x")
            assert inputs["weight"].shape == problem.weight_shape
        again = make(problem, seed)
        assert all(np.array_equal(inputs[name], again[name], equal_nan=True) for name in inputs)
        assert not np.array_equal(make(problem, seed + 1)["x"], inputs["x"]) or inputs["x"].size < 30


def summed(problem, inputs, order, dtype=np.float32):
    """Return a convolution of one output pixel a channel summed step by step in a dtype, in a given order of the terms."""
    x, weight = inputs["x"].astype(dtype).reshape(-1), inputs["weight"].astype(dtype).reshape(problem.k, -1)
    total = np.zeros(problem.k, dtype)
    for term in order:
        total = total + x[term] * weight[:, term]
    return total


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
def test_exact_inputs_sum_exactly_in_any_order(dtype):
    problem = parse(f"n1c512h3w3_k5r3s3_{dtype}")
    inputs = testing.exact_inputs(problem, 3)
    exact = testing.expected_output(problem, inputs).reshape(-1)
    random = np.random.default_rng(0)
    for _ in range(3):
        assert summed(problem, inputs, random.permutation(512 * 9)).tolist() == exact.tolist()


def test_exact_inputs_can_be_negative():
    for text in ("n1c4h5w6_max_r3s3_pad1_stride1_f16", "n2c3h5w4_max_r2s2_i8", "n1c4h5w6_k3r3s3_pad1_bf16"):
        assert (testing.exact_inputs(parse(text), 1, negative=True)["x"].astype(np.float64) < 0).all()
    x = testing.exact_inputs(parse("n1c4h5w6_k3r3s3_pad1_u8_zp100"), 1, negative=True)["x"]
    assert (x < 100).all()


def test_neighbouring_biases_differ():
    bias = testing.exact_inputs(parse("n1c1h1w1_k120r1s1_bf16_bias"))["bias"].astype(np.float64)
    assert len(set(bias.tolist())) == 120 and 0 not in bias


@pytest.mark.parametrize("kind", KINDS)
def test_rounding_within_the_bound(kind):
    """The rounded reference stays within half an ulp of the unrounded, and every bound is finite and not negative."""
    for seed in range(80):
        problem = random_problem(seed, kind)
        inputs = testing.random_inputs(problem, seed)
        bound = testing.tolerance(problem, inputs)
        expected = testing.expected_output(problem, inputs)
        expected = expected[0] if isinstance(expected, tuple) else expected
        assert bound.shape == problem.y_shape and np.isfinite(bound).all() and (bound >= 0).all()
        assert testing.assert_matches(reference_output(problem, inputs), expected, problem, bound) <= 1
        if kind == "max":
            assert not bound.any()


@pytest.mark.parametrize("dtype", ["f32", "f16_outf32", "bf16_outf32"])
def test_bound_admits_float32_sums_and_no_float16_sums(dtype):
    problem = parse(f"n1c512h3w3_k16r3s3_{dtype}")
    for seed in range(3):
        inputs = testing.random_inputs(problem, seed)
        expected, bound = testing.expected_output(problem, inputs), testing.tolerance(problem, inputs)
        y = summed(problem, inputs, range(512 * 9)).reshape(problem.y_shape)
        assert 0 < testing.assert_matches(y, expected, problem, bound) < 0.2
        y = summed(problem, inputs, range(512 * 9), np.float16).astype(np.float32).reshape(problem.y_shape)
        with pytest.raises(AssertionError):
            testing.assert_matches(y, expected, problem, bound)


def test_bound_of_tf32_admits_tf32_and_float32_does_not():
    inputs = testing.random_inputs(parse("n1c64h3w3_k16r3s3_f32"), 0)

    def cut(array):
        return (array.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)

    problem = parse("n1c64h3w3_k16r3s3_f32_tf32")
    y = testing.expected_output(problem, {name: cut(array) for name, array in inputs.items()}).astype(np.float32)
    expected = testing.expected_output(problem, inputs)
    testing.assert_matches(y, expected, problem, testing.tolerance(problem, inputs))
    plain = parse("n1c64h3w3_k16r3s3_f32")
    with pytest.raises(AssertionError, match="16 of 16"):
        testing.assert_matches(y, expected, plain, testing.tolerance(plain, inputs) / 16)


def test_integers_without_an_epilogue_have_no_tolerance():
    problem = parse("n1c4h5w6_k3r3s3_i8")
    assert not testing.tolerance(problem, testing.random_inputs(problem)).any()
    problem = parse("n1c4h5w6_k3r3s3_i8_outi8_scalef32")
    assert set(np.unique(testing.tolerance(problem, testing.random_inputs(problem)))) <= {0.0, 1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_exact_problems_have_one_answer_in_float32(kind):
    """Where `is_exact` says so, an epilogue or a division done in float32 gives the bits of one done in float64."""
    checked = 0
    for seed in range(200):
        problem = random_problem(seed, kind)
        if kind not in ("avg", "weighted") or problem.dtype not in SHORT or not testing.is_exact(problem):
            continue
        inputs = testing.exact_inputs(problem, seed)
        ones = {**inputs, "x": np.ones_like(inputs["x"])}
        share = testing.expected_output(problem, ones)  # sum of the weights that count over the divisor
        whole = testing.expected_output(problem, inputs)
        if kind == "avg" and problem.divisor is None and not problem.count_include_pad:
            assert np.allclose(share, 1)
        float32 = whole.astype(np.float32)
        assert np.array_equal(float32.astype(numpy_dtype(problem.dtype)), reference_output(problem, inputs)), str(problem)
        checked += 1
    assert checked > 20 or kind not in ("avg", "weighted")


def test_a_match_returns_the_worst_ratio():
    problem = parse("n1c1h2w2_k1r1s1_f32")
    expected = np.arange(4.0).reshape(1, 2, 2, 1)
    y = expected.astype(np.float32)
    assert testing.assert_matches(y, expected, problem) == 0
    y[0, 1, 1, 0] += np.float32(2**-20)
    assert testing.assert_matches(y, expected, problem, 2**-19) == 0.5


def test_a_failure_says_what_where_and_how_to_rerun():
    problem = parse("n2c3h4w5_k2r1s1_f16_nchw")
    inputs = testing.exact_inputs(problem)
    expected = testing.expected_output(problem, inputs)
    y = reference_output(problem, inputs)
    y[0, 1, 2, 3] += 1
    y[1, 0, 3, 4] -= 40
    with pytest.raises(AssertionError) as caught:
        testing.assert_matches(y, expected, problem, testing.tolerance(problem, inputs))
    message = str(caught.value)
    assert "2 of 80 elements differ; first y[n=0, k=1, p=2, q=3] is" in message
    assert "worst ratio" in message and "y[n=1, k=0, p=3, q=4]" in message
    assert message.endswith("rerun the case 'n2c3h4w5_k2r1s1_f16_nchw'")


def test_nothing_but_the_same_special_matches_a_special():
    problem = parse("n1c1h1w4_k1r1s1_f32")
    expected = np.array([np.nan, np.inf, 1.0, -np.inf]).reshape(1, 1, 4, 1)
    assert testing.assert_matches(expected.astype(np.float32), expected, problem, 1.0) == 0
    for place, wrong in ((0, 1.0), (0, np.inf), (1, -np.inf), (1, 3e38), (2, np.nan), (2, np.inf), (3, np.nan)):
        y = expected.astype(np.float32)
        y[0, 0, place, 0] = wrong
        with pytest.raises(AssertionError, match="1 of 4"):
            testing.assert_matches(y, expected, problem, 1.0)


@pytest.mark.parametrize("text", ["n1c1h4w9_k2r2s2_f32_bias_silu", "n1c1h4w9_avg_r2s2_f16", "n1c1h4w9_lp3_r2s2_f32", "n1c1h4w9_gaussian_r2s2_f32"])
def test_specials_in_the_input_spoil_no_other_bound(text):
    problem = parse(text)
    inputs = testing.random_inputs(problem)
    clean = testing.tolerance(problem, inputs)
    inputs["x"][0, 0, 0, 0], inputs["x"][0, 3, 7, 0] = np.nan, np.inf
    expected, bound = testing.expected_output(problem, inputs), testing.tolerance(problem, inputs)
    special = ~np.isfinite(expected)
    assert special.any() and np.array_equal(bound[~special], clean[~special])
    y = reference_output(problem, inputs)
    assert testing.assert_matches(y, expected, problem, bound) <= 1
    for place in np.argwhere(special):
        wrong = y.copy()
        wrong[tuple(place)] = 1
        with pytest.raises(AssertionError, match="1 of"):
            testing.assert_matches(wrong, expected, problem, bound)


@pytest.mark.parametrize("kind", KINDS[2:])
def test_pool_bounds_are_a_few_units_in_the_last_place(kind):
    """For float32, relative to the largest |x| times the taps' share: 2^-24 times the taps and a small constant."""
    checked = 0
    for seed in range(150):
        problem = random_problem(seed, kind)
        if problem.dtype != "float32" or (kind == "lp" and problem.power < 1):
            continue
        inputs = testing.random_inputs(problem, seed)
        bound = testing.tolerance(problem, inputs)
        taps = problem.r * problem.s
        largest = float(np.abs(inputs["x"]).max()) * (taps if kind == "lp" or problem.divisor is not None else 1)
        assert (bound <= 2.0**-24 * (2 * taps + 40) * 2 * largest).all(), str(problem)
        checked += 1
    assert checked > 20


def test_wrong_shapes_and_dtypes_do_not_match():
    problem = parse("n1c1h1w4_k1r1s1_f32")
    expected = np.zeros(problem.y_shape)
    with pytest.raises(AssertionError, match="float64"):
        testing.assert_matches(expected, expected, problem)
    with pytest.raises(AssertionError, match="shape"):
        testing.assert_matches(expected[..., 0].astype(np.float32), expected, problem)


def test_half_an_ulp():
    problem = parse("n1c1h1w3_k1r1s1_f16")
    inputs = {"x": np.array([1.0, 1024.0, 0.0], "float16").reshape(1, 1, 3, 1), "weight": np.ones((1, 1, 1, 1), "float16")}
    bound = testing.tolerance(problem, inputs).reshape(-1)
    assert bound[0] == pytest.approx(2.0**-11, rel=1e-3)
    assert bound[1] == pytest.approx(0.5, rel=1e-3)
    assert bound[2] == pytest.approx(2.0**-25, rel=1e-3)


def test_random_problems_are_diverse():
    conv = [random_problem(seed, "conv") for seed in range(400)]
    seen = {field: {getattr(problem, field) for problem in conv} for field in ("dtype", "layout", "padding_mode", "precision", "out_dtype", "groups")}
    assert [len(values) for values in seen.values()] == [6, 2, 4, 3, 7, 6]
    assert any(problem.k > problem.groups == problem.c > 1 for problem in conv), "no channel multiplier"
    assert any(min(problem.pads) < 0 for problem in conv), "no crop"
    assert {problem.activation[0] for problem in conv} >= {"none", "clip", "gelu", "hardswish"}
    assert any(
        len(set(problem.pads)) == 4 and problem.stride[0] != problem.stride[1] and problem.dilation[0] != problem.dilation[1] and problem.r != problem.s
        for problem in conv
    ), "no problem that is unequal everywhere"
    assert {random_problem(seed).flops > 0 for seed in range(100)} == {True}
    assert max(problem.flops for problem in conv) < 3e6
    pools = [random_problem(seed, "avg") for seed in range(200)]
    assert any(problem.r * problem.s > 280 for problem in pools), "no window larger than a block stages"
    assert random_problem(5, "max") == random_problem(5, "max")
    for kind in KINDS[1:]:
        pools = [random_problem(seed, kind) for seed in range(200)]
        assert {problem.kind for problem in pools} == {kind}
        assert {problem.ceil_mode for problem in pools} == {True, False}
