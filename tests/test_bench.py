"""The contest behind `atrous bench`: wrong results are refused before they are timed, slower is seen to be slower, and noise is no verdict."""

from __future__ import annotations

import dataclasses
import json
import math

import fake_cupy
import numpy as np
import pytest
from fake_rival import Rival, install

import atrous
from atrous import ProblemError, engines, parse, testing
from atrous.bench import check, contest, measure, ratios, record, rivals, suite, summary
from atrous.bench.rivals import atrous_plans, torch_eager
from atrous.sampling import any_problem

CONV = "n2c8h9w9_k8r3s3_pad1_f32_bias_relu"
QUICK = dict(rounds=3, turn_seconds=0.0, pause_seconds=0.0)


def held(monkeypatch, *fakes, case=CONV, **options):
    """Return a Bench against fakes after one layer."""
    install(monkeypatch, *fakes)
    bench = measure.Bench(contest.Options(**{**QUICK, **options}), list(fakes))
    bench.measure(measure.Wanted(suite.Layer("case/one", case, 2), parse(case)))
    return bench


def nudge(y):
    y[..., -1, -1, -1] += 0.01 * (1 + abs(y[..., -1, -1, -1]))


def test_a_wrong_result_is_refused_before_it_is_timed(monkeypatch):
    wrong, right = Rival("wrong", spoil=nudge), Rival("right")
    bench = held(monkeypatch, wrong, right)
    assert wrong.calls == 1 and right.calls > 1
    assert {row["contestant"] for row in bench.document["rows"]} == {"atrous", "atrous plan", "right mode"}
    (skip,) = bench.document["skipped"]
    assert skip["contestant"] == "wrong mode" and skip["reason"].startswith("wrong result: ") and CONV in skip["reason"]
    assert (skip["case"], skip["layer"]) == (CONV, "case/one")


@pytest.mark.parametrize("spoil", [lambda y: y.fill(0), lambda y: y.fill(np.nan), lambda y: y.sort()], ids=["zeros", "NaN", "sorted"])
def test_results_that_were_never_computed_are_refused(monkeypatch, spoil):
    assert held(monkeypatch, Rival(spoil=spoil)).document["skipped"][0]["reason"].startswith("wrong result")


def test_a_slower_rival_shows_as_slower_and_one_as_fast_within_a_few_times(monkeypatch):
    bench = held(monkeypatch, Rival("slow", seconds=0.02), Rival("even"))
    found = {total.contestant: total for total in summary.totals(bench.document["rows"], "wall")}
    assert list(found)[:2] == ["atrous", "atrous plan"]
    slow = found["slow mode"]
    assert slow.seconds >= 2 * 0.02 and slow.geomean > 3 and (slow.count(True), slow.count(False)) == (1, 0)
    assert found["even mode"].seconds < slow.seconds


def test_a_row_holds_what_it_takes_to_trust_it(monkeypatch):
    bench = held(monkeypatch, Rival())
    row = next(row for row in bench.document["rows"] if row["contestant"] == "atrous plan")
    expected = dict(layer="case/one", net="case", count=2, family="conv3x3", case=CONV, metric="wall", cold=False, floor_seconds=None)
    assert {name: row[name] for name in expected} == expected
    assert len(row["seconds"]) == 3 and min(row["seconds"]) > 0
    assert 0 <= row["error"] <= 1 and row["checked"] == math.prod(parse(CONV).y_shape)
    assert row["flops"] == parse(CONV).flops and row["bytes"] > 0 and "arrays" in row["kernel"]
    document = json.loads(json.dumps(bench.document))
    assert document["format"] == 2 and document["measures"] == "suite" and document["settings"]["rounds"] == 3
    assert document["rivals"] == {"fake": None} and document["versions"]["fake"] == "1.0"
    assert document["versions"]["numpy"] == np.__version__ and document["atrous"] == atrous.__version__
    assert {"gpu", "processor", "cores", "threads", "python", "system"} <= set(document["where"])


def test_who_takes_no_part_is_named_with_the_reason(monkeypatch):
    fakes = (Rival("absent", absent="absent is not installed"), Rival("picky", refuses="no such operation"), Rival("broken", fails="no memory\nfor this"))
    bench = held(monkeypatch, *fakes)
    assert bench.document["rivals"] == {"absent": "absent is not installed", "picky": None, "broken": None}
    assert [(skip["contestant"], skip["reason"]) for skip in bench.document["skipped"]] == [
        ("picky", "no such operation"),
        ("broken", "failed: MemoryError: no memory"),
    ]
    assert {row["contestant"] for row in bench.document["rows"]} == {"atrous", "atrous plan"}


def test_every_contestant_has_a_turn_in_every_round_and_each_is_first_in_its_round(monkeypatch):
    problem, turns = parse(CONV), []
    inputs = contest.inputs_of(problem)
    y = atrous_plans.functional(problem, inputs, "arrays")()
    several = [contest.Contestant(name, lambda: None, lambda: y) for name in "abc"]
    monkeypatch.setattr(contest, "wall_turn", lambda contestant, budget: lambda: turns.append(contestant.name) or 1.0)
    monkeypatch.setattr(contest, "interruptions", lambda: 0)
    outcome = contest.run(problem, inputs, several, contest.Options(**QUICK))
    assert "".join(turns) == "abc" + "bca" + "cab"
    assert {row["contestant"]: row["seconds"] for row in outcome.rows} == {name: [1.0, 1.0, 1.0] for name in "abc"}


def test_a_turn_that_was_interrupted_is_made_again(monkeypatch):
    def turn_after_turn(*counts, deadline=math.inf):
        """Return the turn that counts (1.0 the first, 2.0 the second ...), interrupted so often each."""
        seen = iter([place for count in counts for place in (0, count)])
        monkeypatch.setattr(contest, "interruptions", lambda: next(seen))
        turns = iter(range(1, 99))
        return contest.undisturbed(lambda: next(turns), deadline)

    assert turn_after_turn(0) == 1
    assert turn_after_turn(5, 1, 0) == 3
    assert turn_after_turn(5, 1, 3, 2, 4) == 2  # as often as it may
    assert turn_after_turn(5, deadline=0.0) == 1


def test_inputs_are_never_zeros_and_images_repeat_only_in_large_batches(monkeypatch):
    problem = parse("n8c4h6w6_k4r3s3_pad1_f16_residual")
    inputs = contest.inputs_of(problem)
    assert len({image.tobytes() for image in inputs["x"]}) == 8 and np.count_nonzero(inputs["x"]) > 0.95 * inputs["x"].size
    monkeypatch.setattr(contest, "DRAWN_ELEMENTS", 3 * 4 * 6 * 6)
    for many in (problem, parse("n8c4h6w6_k4r3s3_pad1_f16_residual+max_r2s2"), parse("n8c4h6w6_max_r2s2_f16")):
        inputs = contest.inputs_of(many)
        assert inputs["x"].shape == many.x_shape and len({image.tobytes() for image in inputs["x"]}) == 3
        assert "residual" not in inputs or inputs["residual"].shape == getattr(many, "conv", many).y_shape


def is_layer(problem):
    """Return whether bench measures it: windows, without indices, neither operations on single elements nor two convolutions."""
    return 0 not in problem.y_shape and not getattr(problem, "return_indices", False) and not any(hasattr(problem, name) for name in ("other", "depthwise"))


SAMPLED = [
    *filter(is_layer, map(any_problem, range(60))),
    parse("n2c4h11w11_avg_r3s3_pad0:-1:0:-1_stride2_ceil_f32"),  # the last windows hang over cells that are cropped
    parse("n2c4h9w9_avg_r3s3_pad1_stride2_ceil_includepad_f32"),
    parse("n2c4h9w9_gaussian_r3s3_pad1_stride2_normfull_f32"),
    parse("n2c4h9w9_inverse_r3s2_pad1_stride2_dil2_f16_nchw"),
    parse("n2c8h9w9_k8r3s3_pad1_stride2_dil2_g4_circular_f32_nchw_bias_residual"),
    parse("n2c8h9w9_k8r3s3_pad1_u8_outi8_scalef32_biasi32_relu_zp7_outzp3"),
    parse("n2c8h11w9_k8r3s3_pad1_stride2_f32_residual_silu+avg_r3s2_pad1_stride2_ceil_includepad"),
]


@pytest.mark.parametrize("problem", SAMPLED, ids=str)
def test_a_sampled_check_passes_what_is_right_and_sees_what_is_wrong(problem, monkeypatch):
    """The sampled part of a small result is judged as the whole: right is within the bound, and what is wrong everywhere is seen."""
    seed = SAMPLED.index(problem)
    inputs = testing.random_inputs(problem, seed)
    y = atrous_plans.functional(problem, inputs, "arrays")()
    monkeypatch.setattr(check, "WHOLE_STEPS", -1)
    error, checked = check.worst_error(problem, inputs, y, seed=seed)
    assert 0 <= error <= 1 and checked > 0
    spoilt = y + y.dtype.type(64) if y.dtype.kind in "iu" else (2 * y + 1).astype(y.dtype)  # integers wrap around
    with pytest.raises(check.WrongResult, match="of which a part was computed"):
        check.worst_error(problem, inputs, spoilt, seed=seed)


def test_a_large_result_is_checked_at_its_corners_and_a_shift_of_one_pixel_is_seen():
    problem = parse("n4c64h56w56_k96r3s3_pad1_f32")
    inputs = contest.inputs_of(problem)
    y = atrous_plans.functional(problem, inputs, "arrays")()
    error, checked = check.worst_error(problem, inputs, y)
    assert error <= 1 and checked == 32 * 64 < y.size
    for spoil in (lambda y: np.roll(y, 1, axis=2), lambda y: np.roll(y, 1, axis=0), lambda y: np.roll(y, 1, axis=3)):
        with pytest.raises(check.WrongResult):
            check.worst_error(problem, inputs, spoil(y))
    for corner in ((0, 0, 0, 0), (-1, -1, -1, -1), (-1, 0, -1, 0)):
        spoilt = y.copy()
        spoilt[corner] += 1
        with pytest.raises(check.WrongResult):
            check.worst_error(problem, inputs, spoilt)
    with pytest.raises(check.WrongResult, match="shape"):
        check.worst_error(problem, inputs, y[:2])


def test_a_rival_that_rounds_after_every_operation_is_allowed_that_and_no_more():
    problem = parse("n1c16h8w8_k16r3s3_pad1_f16_bias_residual")
    inputs = contest.inputs_of(problem)
    plain = dataclasses.replace(problem, bias=None, residual=False)
    y = atrous_plans.functional(plain, {name: inputs[name] for name in ("x", "weight")}, "arrays")()
    rounded = ((y + inputs["bias"]) + inputs["residual"]).astype(np.float16)
    with pytest.raises(check.WrongResult):
        check.worst_error(problem, inputs, rounded)
    assert check.worst_error(problem, inputs, rounded, unfused=True)[0] <= 1
    with pytest.raises(check.WrongResult):
        check.worst_error(problem, inputs, rounded + np.float16(0.02), unfused=True)


def test_noise_that_overlaps_gives_no_verdict():
    assert ratios.ratio([2.0, 2.1, 2.2], [1.0, 1.1, 1.2]).outside_noise
    assert not ratios.ratio([2.0, 2.1], [1.0, 1.1, 1.2]).outside_noise  # two rounds have no spread
    assert not ratios.ratio([1.0, 1.3, 1.4], [1.2, 1.1, 1.0]).outside_noise
    assert not ratios.ratio([1.2, 1.3, 1.25], [1.0, 1.2, 1.1]).outside_noise
    found = ratios.ratio([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    assert (found.value, found.low, found.high, found.outside_noise) == (0.4, 1 / 6, 0.75, True)
    assert summary.ratio_in_words(found) == "0.40" and summary.ratio_in_words(ratios.ratio([1.0], [1.0])) == "(1.00)"
    assert ratios.geomean([1.0, 4.0]) == 2.0 and math.isnan(ratios.geomean([]))


def test_a_small_ratio_keeps_two_figures():
    assert [ratios.in_figures(value) for value in (12.345, 1.0, 0.0961, 0.0949, 0.034, 0.00151)] == ["12.35", "1.00", "0.10", "0.095", "0.034", "0.0015"]


def test_a_problem_that_two_layers_share_is_measured_once(monkeypatch):
    fake = Rival()
    bench = held(monkeypatch, fake)
    calls, rows = fake.calls, len(bench.document["rows"])
    again, _ = bench.measure(measure.Wanted(suite.Layer("net/two", CONV, 5), parse(CONV)))
    assert fake.calls == calls and len(bench.document["rows"]) == 2 * rows
    assert {(row["layer"], row["count"]) for row in again} == {("net/two", 5)}
    assert [row["seconds"] for row in again] == [row["seconds"] for row in bench.document["rows"][:rows]]


def test_the_gpu_s_facts_are_read_from_nvidia_smi_as_it_prints_them():
    said = "NVIDIA H200, 580.95.05, 1980, 3201, 1980, 34, 700.00, 143771\n"
    facts = record._facts_of(said)
    assert facts["name"] == "NVIDIA H200" and facts["driver"] == "580.95.05" and facts["sm_clock_mhz"] == 1980 and facts["power_limit_w"] == 700.0
    assert record._facts_of("NVIDIA-SMI has failed because it could not talk to the driver\n") is None


@pytest.fixture
def cupy(monkeypatch):
    monkeypatch.setattr(engines.compiled, "available", lambda: "not built, says the test")
    monkeypatch.setattr(engines.runtime, "available", lambda: "no NVRTC, says the test")
    if engines.simulated.available():
        pytest.skip(engines.simulated.available())
    found = fake_cupy.install(monkeypatch)
    found.launches = fake_cupy.serve_compiled(monkeypatch, found)
    monkeypatch.setattr(contest, "ROTATED_BYTES", 100_000)
    monkeypatch.setattr(contest, "LONG_CALL_SECONDS", math.inf)  # the simulator's
    yield found
    fake_cupy.forget()


@pytest.mark.parametrize(
    "case", ["n2c8h9w9_k8r3s3_pad1_f16_bias_residual_relu", "n2c8h9w9_max_r3s3_stride2_f16_indices", "n1c16h8w8_k16r3s3_f16_relu+max_r2s2"]
)
def test_on_a_device_kernel_wall_and_issue_are_timed_and_the_graph_s_own_result_is_checked(cupy, case):
    problem = parse(case)
    bench = measure.Bench(contest.Options("cuda", **{**QUICK, "rounds": 2}), [])
    bench.measure(measure.Wanted(suite.Layer("case/one", case, 1), problem))
    rows = {(row["contestant"], row["metric"]): row for row in bench.document["rows"]}
    assert set(rows) == {("atrous plan", metric) for metric in ("kernel", "wall", "issue")} | {("atrous", "wall"), ("atrous", "issue")}
    assert {metric for (_, metric), row in rows.items() if row["cold"]} == {"kernel"}
    assert "compiled" in rows["atrous plan", "kernel"]["kernel"] and rows["atrous plan", "kernel"]["floor_seconds"] > 0
    assert bench.document["skipped"] == []
    on_stream = [name for name, _, stream in cupy.launches if stream == fake_cupy.Stream.POINTER]
    inputs = contest.inputs_of(problem)
    assert len(on_stream) >= 2 * max(contest.GRAPH_CALLS, contest.sets_of(problem, inputs))


def test_a_graph_of_nothing_is_refused(cupy, monkeypatch):
    monkeypatch.setattr(fake_cupy.Stream, "begin_capture", lambda self: None)
    monkeypatch.setattr(fake_cupy.Stream, "end_capture", lambda self: type("Graph", (), {"launch": lambda self, stream: None})())
    bench = measure.Bench(contest.Options("cuda", metrics=("kernel",), **QUICK), [])
    bench.measure(measure.Wanted(suite.Layer("case/one", CONV, 1), parse(CONV)))
    assert bench.document["rows"] == []
    assert {skip["contestant"]: skip["reason"].split(":")[0] for skip in bench.document["skipped"]}["atrous plan, kernel"] == "wrong result"


def test_enough_sets_of_buffers_to_leave_nothing_in_l2():
    for case in ("n1c64h56w56_k64r3s3_pad1_f16", "n256c64h56w56_k64r3s3_pad1_f16", "n1c512h7w7_k512r3s3_pad1_f16"):
        problem = parse(case)
        inputs = {name: np.empty(shape, "float16") for name, shape in (("x", problem.x_shape), ("weight", problem.weight_shape))}
        assert contest.sets_of(problem, inputs) * contest.bytes_of(problem, inputs) > contest.ROTATED_BYTES


def test_a_device_that_is_not_here_is_refused(monkeypatch):
    monkeypatch.setattr(atrous_plans, "available", lambda device: "no CUDA device")
    with pytest.raises(ProblemError, match="no CUDA device"):
        measure.Bench(contest.Options("cuda"), [])


def test_rivals_are_found_by_their_names():
    real = [rivals.module(name) for name in rivals.ORDER if name != rivals.OURS]
    assert rivals.named(["all"]) == real and rivals.named([]) == []
    assert rivals.named(["torch"]) == rivals.named(["torch eager", "torch_eager"]) == [torch_eager]
    with pytest.raises(ProblemError, match="'torch eager'"):
        rivals.named(["nobody"])
    for rival in real:
        reason = rival.available("cpu")
        assert rival.NAME and (reason is None or len(reason.split()) > 3)


@pytest.mark.parametrize(
    "case",
    [
        "n2c6h9w8_k8r3s2_pad1:0:2:1_stride2x1_dil1x2_f32_scale_bias_residual_silu",
        "n2c8h9w9_k8r3s3_pad1_g8_reflect_f32_bias_leaky-relu0.25",
        "n2c8h9w9_k8r3s3_pad1_f16_nchw_bias_residual_relu",
        "n2c8h9w9_k8r3s3_pad1_bf16_bias_gelu",
        "n2c8h9w9_k8r3s3_pad1_f32_relu+max_r2s2",
        "n2c8h9w9_max_r3s3_pad1_stride2_ceil_f32",
        "n2c8h9w9_avg_r3s3_pad1_stride2_includepad_f32",
        "n2c8h9w9_avg_r9s9_f16",
        "n2c8h9w9_lp2_r3s3_f32",
    ],
)
def test_torch_writes_each_problem_as_its_users_would(case):
    reason = torch_eager.available("cpu")
    if reason:
        pytest.skip(reason)
    problem = parse(case)
    inputs = contest.inputs_of(problem)
    outcome = contest.run(problem, inputs, torch_eager.contestants(problem, inputs, "cpu"), contest.Options(**{**QUICK, "rounds": 1}))
    assert not outcome.skipped and {row["contestant"] for row in outcome.rows} == set(torch_eager.MODES)
