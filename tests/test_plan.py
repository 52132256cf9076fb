"""What a plan promises: a snapshot of its weights, outputs in the caller's memory, and an honest account of itself."""

from __future__ import annotations

import numpy as np
import pytest
from libraries import BIAS, CONV_Y, POOL_Y, WEIGHT, Producer, X, engine, equal, library, numbers

import atrous
from atrous import operands, reference
from atrous.engines import arrays
from atrous.problem import Conv2dProblem, Pool2dProblem

__all__ = ["engine", "library"]  # fixtures


def test_plan_holds_a_snapshot(library):
    make, back, _ = library
    weight, bias = WEIGHT.copy(), BIAS.copy()
    held = make(weight), make(bias)
    plan = atrous.plan_conv2d(X.shape, *held, padding=1, stride=2)
    equal(back(plan(make(X))), CONV_Y)
    for array in held:
        if "jax" not in type(array).__module__:
            (array.array if isinstance(array, Producer) else array)[...] = 7
    equal(back(plan(make(X))), CONV_Y)


def test_plan_writes_and_returns_out(engine):
    plan = atrous.plan_conv2d(X.shape, WEIGHT, BIAS, padding=1, stride=2, engine=engine)
    out = np.zeros_like(CONV_Y)
    assert plan(X, out=out) is out
    equal(out, CONV_Y)
    equal(plan(X), CONV_Y)
    pool = atrous.plan_pool2d(X.shape, (3, 2), "max", dtype=X.dtype, padding=1, engine=engine)
    out = np.zeros_like(POOL_Y)
    assert pool(X, out=out) is out
    equal(out, POOL_Y)


def test_plan_takes_a_residual(engine):
    residual = numbers(CONV_Y.shape, seed=5)
    plan = atrous.plan_conv2d(X.shape, WEIGHT, BIAS, padding=1, stride=2, residual=True, engine=engine)
    equal(plan(X, residual=residual), CONV_Y + residual)


def test_plan_for_input(engine):
    plan = atrous.plan_conv2d(X.shape, WEIGHT, BIAS, padding=1, stride=2, engine=engine)
    other = plan.for_input((1, 9, 11, 4))
    x = numbers((1, 9, 11, 4), seed=6)
    problem = Conv2dProblem.make(x.shape, WEIGHT.shape, dtype="float32", bias="float32", padding=1, stride=2)
    equal(other(x), reference.conv2d(problem, x, WEIGHT, None, BIAS))
    equal(plan(X), CONV_Y)
    pool = atrous.plan_pool2d(X.shape, (3, 2), "max", dtype="float32", padding=1, engine=engine).for_input(x.shape)
    equal(pool(x), reference.pool2d(Pool2dProblem.make(x.shape, (3, 2), "max", dtype="float32", padding=1), x))


@pytest.mark.parametrize("kind", ["max", "avg", "lp", "l2", "rms", "weighted"])
def test_plans_of_every_pool(kind):
    words = {"p": 3.0} if kind == "lp" else {"weights": "binomial"} if kind == "weighted" else {}
    plan = atrous.plan_pool2d(X.shape, 2, kind, dtype="float32", **words)
    function = {"l2": atrous.l2_pool2d, "weighted": atrous.weighted_avg_pool2d}.get(kind) or getattr(atrous, f"{kind}_pool2d")
    equal(plan(X), function(X, 2, **words))


def test_plan_describes_itself():
    plan = atrous.plan_conv2d(X.shape, WEIGHT, BIAS, padding=1, stride=2)
    text = repr(plan)
    assert "\n" not in text
    for word in ("conv2d", "n2c4h7w6_k3r3s2_pad1_stride2_f32_bias", "engine='arrays'", f"packed={plan.packed_bytes} B", f"workspace={plan.workspace_bytes} B"):
        assert word in text
    assert plan.packed_bytes == (3 * 3 * 2 * 4 + 3) * 4
    assert plan.workspace_bytes >= 0
    assert plan.problem == atrous.parse("n2c4h7w6_k3r3s2_pad1_stride2_f32_bias")
    pool = atrous.plan_pool2d((1, 8, 8, 2), 2, "max", dtype="float16")
    assert pool.packed_bytes == 0 and "max_pool2d n1c2h8w8_max_r2s2_f16" in repr(pool)


def test_simulated_plan_holds_no_workspace():
    reason = atrous.engine_reasons()["simulated"]
    if reason:
        pytest.skip(reason)
    plan = atrous.plan_conv2d(X.shape, WEIGHT, engine="simulated")
    assert (plan.engine, plan.workspace_bytes) == ("simulated", 0)
    assert plan.kernel == "conv_direct"
    assert plan.kernel in repr(plan)


def test_explain_tells_the_same_of_case_problem_and_plan():
    case = "n1c64h56w56_k64r3s3_pad1_f16"
    text = atrous.explain(case, "sm_80")
    assert isinstance(text, str) and str(text) == str(atrous.explain(atrous.parse(case), "sm_80"))
    assert text.startswith(f"conv2d {case}")
    assert f"{2 * 56 * 56 * 64 * 64 * 9:,} FLOPs" in text
    assert f"{2 * (56 * 56 * 64 * 2 + 64 * 9 * 64):,} bytes" in text
    rows = {row["kernel"]: row for row in text.rows}
    assert sum(row["chosen"] for row in text.rows) == 1
    assert "1x1" in rows["conv_pointwise"]["reason"]
    assert all((row["reason"] is None) or isinstance(row["reason"], str) for row in text.rows)
    plan = atrous.plan_conv2d(X.shape, WEIGHT)
    assert [row["kernel"] for row in atrous.explain(plan).rows if row["chosen"]] == ["arrays"]
    assert str(atrous.explain(plan)) == str(plan.explain())
    assert "sm_90" in atrous.explain(plan, "sm_90")


# The engine that the environment names


def test_engine_of_the_environment(monkeypatch):
    if atrous.engine_reasons()["simulated"]:
        pytest.skip(atrous.engine_reasons()["simulated"])
    monkeypatch.setenv("ATROUS_ENGINE", "simulated")
    monkeypatch.setattr(arrays, "conv2d", None)  # it may not run
    equal(atrous.conv2d(X, WEIGHT, BIAS, padding=1, stride=2), CONV_Y)
    assert atrous.plan_conv2d(X.shape, WEIGHT).engine == "simulated"
    monkeypatch.undo()
    assert atrous.plan_conv2d(X.shape, WEIGHT).engine == "arrays"


def test_engine_of_the_call_beats_the_environment(monkeypatch):
    monkeypatch.setenv("ATROUS_ENGINE", "simulated")
    assert atrous.plan_conv2d(X.shape, WEIGHT, engine="arrays").engine == "arrays"


def test_misspelt_engine_of_the_environment(monkeypatch):
    monkeypatch.setenv("ATROUS_ENGINE", "aray")
    with pytest.raises(atrous.ProblemError, match=r"\[conv2d\] the environment variable ATROUS_ENGINE is 'aray'; expected one of 'compiled'"):
        atrous.conv2d(X, WEIGHT)
    monkeypatch.setenv("ATROUS_ENGINE", "")
    equal(atrous.conv2d(X, WEIGHT, BIAS, padding=1, stride=2), CONV_Y)


@pytest.mark.parametrize("engine_name", ["compiled", "runtime"])
def test_gpu_engine_of_the_environment_refuses_host_arrays(monkeypatch, engine_name):
    monkeypatch.setenv("ATROUS_ENGINE", engine_name)
    with pytest.raises(atrous.ProblemError, match="x is on cpu; expected one of arrays, simulated"):
        atrous.max_pool2d(X, 2)


def test_device_of_a_plan_and_of_x_must_agree(monkeypatch):
    plan = atrous.plan_conv2d(X.shape, WEIGHT)
    plan._constants["weight"].device = "cuda:1"
    with pytest.raises(atrous.ProblemError, match="x is on cpu and the plan's weight on cuda:1; expected arrays on one device; move the plan's weight"):
        plan(X)


@pytest.mark.parametrize(
    "make", [lambda: atrous.plan_conv2d(X.shape, WEIGHT, BIAS, padding=1, stride=2, engine="simulated"), lambda: simulated_pool("weighted")]
)
def test_a_repeated_call_is_recalled_and_still_refuses(make, monkeypatch):
    """The second call of known forms skips the checks of form, never those of addresses."""
    plan = make()
    out = np.zeros(plan.problem.y_shape, "float32")
    first = plan(X, out=out).copy()
    looked = []
    monkeypatch.setattr("atrous.plan.gather", lambda *words, **others: looked.append(words) or operands.gather(*words, **others))
    out[...] = 0
    other = np.asfortranarray(X * 2)
    assert plan(X, out=out) is out and not looked
    equal(out, first)
    plan(other, out=out)  # other strides: checked afresh
    assert len(looked) == 1
    equal(out, plan(other))
    out.flags.writeable = False
    with pytest.raises(atrous.ProblemError, match="read-only"):
        plan(X, out=out)
    both = np.zeros(X.size + out.size, "float32")
    x, y = both[: X.size].reshape(X.shape), both[8 : 8 + out.size].reshape(out.shape)
    for _ in range(2):
        with pytest.raises(atrous.ProblemError, match="shares memory"):
            plan(x, out=y)


def simulated_pool(kind):
    return atrous.plan_pool2d(X.shape, (3, 2), kind, dtype="float32", padding=1, engine="simulated")


@pytest.mark.parametrize(("n", "k"), [(0, 6), (2, 0)])
def test_a_plan_of_nothing_writes_nothing_and_launches_nothing(engine, n, k):
    plan = atrous.plan_conv2d((n, 6, 6, 4), np.ones((k, 3, 3, 4), "float32"), engine=engine)
    out = np.empty((n, 4, 4, k), "float32")
    for _ in range(2):
        assert plan(np.ones((n, 6, 6, 4), "float32"), out=out) is out
