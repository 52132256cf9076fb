"""Sequences of launches in functions, plans and proofs: packed operands made once, workspace held, the order kept, and all of it counted."""

from __future__ import annotations

import logging
import re
import shlex
from dataclasses import replace
from types import SimpleNamespace

import fake_cupy
import fake_device
import numpy as np
import pytest
import toy_sequence
from doors import Public, run

import atrous
from atrous import kernels, routes, testing, verify
from atrous.cli import main
from atrous.engines import simulated
from atrous.interop import Operand, Torch
from atrous.kernels.base import DEVICES, alignment_of, default_strides
from atrous.launch import Launch
from atrous.problem import parse
from atrous.sequence import SCRATCH_ALIGNMENT, placed

pytestmark = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))

CASE = "n2c8h7w6_k12r3s2_pad1_f32_bias_relu"
WEIGHT_BYTES, Y_BYTES = 4 * 12 * 3 * 2 * 8, 4 * 2 * 7 * 7 * 12
WORKSPACE = 2 * Y_BYTES + -2 * Y_BYTES % 256 + 255  # what an odd address needs


@pytest.fixture
def toy(monkeypatch):
    toy_sequence.install(monkeypatch)
    yield
    routes.route.cache_clear()


@pytest.fixture
def ran(toy, monkeypatch):
    """The names of the kernels that the simulator runs, first template argument and index width aside."""
    names, prepare = [], simulated.prepare

    class Prepared:
        def __init__(self, launch):
            self.name, self.inner = launch.name, prepare(launch)

        def run(self, pointers, stream, schedule=None):
            names.append(self.name)
            self.inner.run(pointers, stream, schedule)

    monkeypatch.setattr(simulated, "prepare", Prepared)
    return names


@pytest.fixture
def device(toy, monkeypatch):
    """The fake device under the compiled engine, and CuPy."""
    if fake_device.library()[0] is None:
        pytest.skip("the simulator, which holds the fake runtime, was not built")
    yield fake_cupy.serve_device(monkeypatch)
    fake_cupy.forget()


def short(names):
    return [f"{name.partition('<')[0]} {re.search('int32|int64', name)[0]}" for name in names]


def plan_and_inputs(seed=1, array=np.asarray, **words):
    problem = parse(CASE)
    inputs = testing.exact_inputs(problem, seed)
    made = {name: array(values) for name, values in inputs.items()}
    plan = atrous.plan_conv2d(problem.x_shape, made["weight"], made["bias"], padding=1, activation="relu", **words)
    return problem, inputs, made, plan


PACK, MAIN, FINISH = "pool int32", "conv_direct int32", "pool int32"


def test_a_function_runs_all_in_order(ran):
    problem = parse(CASE)
    inputs = testing.random_inputs(problem, 1)
    for _ in range(2):
        testing.assert_matches(run(Public("simulated"), problem, inputs), testing.expected_output(problem, inputs), problem, testing.tolerance(problem, inputs))
    assert short(ran) == [PACK, MAIN, FINISH] * 2


def test_a_plan_packs_once_and_says_what_it_holds(ran):
    problem, inputs, _, plan = plan_and_inputs(engine="simulated")
    assert short(ran) == [PACK] and plan.kernel == "toy"
    assert plan.packed_bytes == WEIGHT_BYTES + 4 * 12 + WEIGHT_BYTES and plan.workspace_bytes == WORKSPACE
    y = np.empty(problem.y_shape, "f4")
    for _ in range(3):
        y[...] = np.nan
        assert plan(inputs["x"], out=y) is y
        testing.assert_matches(y, testing.expected_output(problem, inputs), problem)
    testing.assert_matches(plan(inputs["x"]), testing.expected_output(problem, inputs), problem)
    assert short(ran) == [PACK, *[MAIN, FINISH] * 4]
    assert plan.workspace_bytes == WORKSPACE


def test_a_plan_for_another_input_shares_what_is_packed_and_no_workspace(ran):
    _, inputs, _, plan = plan_and_inputs(engine="simulated")
    other = plan.for_input((1, 9, 11, 8))
    assert short(ran) == [PACK] and other.packed_bytes == plan.packed_bytes
    assert other._memory._workspace["cpu"][0] is not plan._memory._workspace["cpu"][0]
    x = np.arange(9 * 11 * 8, dtype="f4").reshape(1, 9, 11, 8) % 5
    expected = atrous.conv2d(x, inputs["weight"], inputs["bias"], padding=1, activation="relu", engine="arrays")
    np.testing.assert_array_equal(other(x), expected)
    assert short(ran) == [PACK, MAIN, FINISH]


def at_offset(values, elements):
    """Return a copy of an array so many elements after an address that is a multiple of 16."""
    memory = np.zeros(values.size + 16, values.dtype)
    begin = -memory.ctypes.data % 16 // values.itemsize + elements
    found = memory[begin : begin + values.size].reshape(values.shape)
    found[...] = values
    return found


def test_a_recalled_launch_serves_only_addresses_as_aligned_as_it_was_made_for(ran):
    problem, inputs, _, plan = plan_and_inputs(engine="simulated")
    y = np.empty(problem.y_shape, "f4")
    del ran[:]
    for offset, width in ((0, "int32"), (0, "int32"), (1, "int64"), (1, "int64"), (2, "int64"), (0, "int32"), (1, "int64")):
        plan(at_offset(inputs["x"], offset), out=y)
        assert short(ran) == [f"conv_direct {width}", FINISH], offset
        testing.assert_matches(y, testing.expected_output(problem, inputs), problem)
        del ran[:]


class Repeating(toy_sequence.Toy):
    """The toy with its last launch twice, so that y has two slots."""

    def sequence(self, problem, strides, index):
        made = super().sequence(problem, strides, index)
        return replace(made, after=made.after * 2)


def test_a_recalled_call_hands_new_arrays_to_every_launch(monkeypatch):
    toy_sequence.install(monkeypatch, Repeating())
    problem, inputs, _, plan = plan_and_inputs(engine="simulated")
    first, second = (np.empty(problem.y_shape, "f4") for _ in range(2))
    plan(inputs["x"], out=first)
    first[...] = 77
    plan(inputs["x"].copy(), out=second)
    assert (first == 77).all(), "a launch wrote to the array of an earlier call"
    testing.assert_matches(second, testing.expected_output(problem, inputs), problem)
    routes.route.cache_clear()


def test_other_strides_take_their_workspace_at_their_first_call_and_keep_it(toy, caplog):
    problem, inputs, _, plan = plan_and_inputs(engine="simulated")
    wide = np.zeros((2, 7, 6, 9), "f4")
    wide[..., :8] = inputs["x"]
    y = np.empty(problem.y_shape, "f4")
    with caplog.at_level(logging.DEBUG, "atrous"):
        for _ in range(3):
            plan(wide[..., :8], out=y)
            testing.assert_matches(y, testing.expected_output(problem, inputs), problem)
    assert caplog.text.count("workspace of") == 1
    assert plan.workspace_bytes == WORKSPACE + 3 * Y_BYTES + -3 * Y_BYTES % 256 + 255


def test_scratch_begins_at_multiples_of_256_and_does_not_overlap():
    for base in (0, 1, 255, 256, 1000):
        places, size = placed({"a": 1, "b": 256, "c": 300, "d": 0, "e": 7}, base)
        assert all(address % SCRATCH_ALIGNMENT == 0 for address in places.values())
        assert [places[name] - places["a"] for name in "abcde"] == [0, 256, 512, 1024, 1024]
        assert places["a"] >= base and places["e"] + 7 <= base + size
    assert [alignment_of(16), alignment_of(8, 4), alignment_of(6), alignment_of(1), alignment_of()] == [16, 4, 2, 1, 16]


# ---- on a device


def test_the_first_call_of_a_plan_allocates_waits_and_copies_nothing_and_can_be_captured(device):
    device, cupy = device
    problem, inputs, arrays, plan = plan_and_inputs(array=cupy.asarray)
    assert plan.engine == "compiled" and plan.kernel == "toy"
    y = cupy.empty(problem.y_shape, "f4")
    with device.counted() as names, device.capture(4242) as graphs:
        plan(arrays["x"], out=y, stream=4242)
    assert not {"cudaMalloc", "cudaStreamSynchronize", "cudaMemcpyAsync"} & set(names)
    assert device.graph_launches(graphs[0]) == 2
    for seed in (2, 3):
        inputs["x"] = testing.exact_inputs(problem, seed)["x"]
        np.asarray(arrays["x"])[...] = inputs["x"]
        np.asarray(y)[...] = np.nan
        device.replay(graphs[0])
        testing.assert_matches(np.asarray(y), testing.expected_output(problem, inputs), problem)


def test_the_first_call_at_an_odd_address_can_be_captured_too(device):
    device, cupy = device
    problem, _, _, plan = plan_and_inputs(array=cupy.asarray)
    memory, y = cupy.empty(2 * 7 * 6 * 8 + 1, "f4"), cupy.empty(problem.y_shape, "f4")
    with device.counted() as names, device.capture(4242):
        plan(memory[1:].reshape(problem.x_shape), out=y, stream=4242)
    assert "cudaMalloc" not in names


def test_packed_operands_first_met_in_a_capture_are_packed_in_every_replay(device):
    """Marked as made there, they would be read by the next call though nothing had made them."""
    device, cupy = device
    problem, inputs, arrays, plan = plan_and_inputs(array=cupy.asarray)
    y = cupy.empty(problem.y_shape, "f4")
    plan._memory._packed.clear()
    plan(arrays["x"])
    with device.capture(4242) as graphs:
        plan(arrays["x"], out=y, stream=4242)
    assert device.graph_launches(graphs[0]) == 3
    plan(arrays["x"], out=y)
    testing.assert_matches(np.asarray(y), testing.expected_output(problem, inputs), problem)


def test_a_function_gives_its_scratch_back(device):
    device, cupy = device
    problem = parse(CASE)
    inputs = testing.exact_inputs(problem, 1)
    arrays = {name: cupy.asarray(values) for name, values in inputs.items()}
    before = device.live_bytes
    y = run(Public(None), problem, arrays)
    assert device.live_bytes - before == y.nbytes
    testing.assert_matches(np.asarray(y), testing.expected_output(problem, inputs), problem)
    assert device.damaged == 0


# ---- in explain


def test_explain_shows_the_whole_sequence(toy):
    told = atrous.explain(CASE)
    row = next(row for row in told.rows if row["kernel"] == "toy")
    assert row["chosen"] and row["launch"].name.startswith("conv_direct<float32")
    line = next(line for line in told.splitlines() if line.startswith("-> toy"))
    assert "; before it once a weight pool<float32, Nhwc, int32, MaxReduction>: 12x1x1 blocks of" in line, line
    assert "; after it pool<float32, Nhwc, int32, MaxReduction>: " in line
    assert f"; packs {WEIGHT_BYTES:,} bytes" in line and f"; workspace {Y_BYTES:,} bytes" in line
    plain = kernels.named("conv_pointwise").launch(parse("n1c4h3w3_k4r1s1_f32"))
    assert str(plain) == f"{plain.name}: 1x1x1 blocks of 256x1x1 threads, 0 shared bytes"


# ---- in proofs


def test_a_campaign_runs_sequences_and_counts_every_launch(toy):
    prover = verify.Prover("simulated", kernel="toy")
    verify.verify(prover, problems=40)
    ledger = prover.ledger
    assert not ledger.failures and ledger.problems == 40
    assert ledger.instances.total() > ledger.runs + 40  # a sequence counts three times
    assert {"pool<float32, Nhwc, int32, MaxReduction>", "conv_direct<float32, Nhwc, int64, NarrowTile>"} <= set(ledger.instances)
    finishes = [name for name in verify.every_instance() if name == "pool<float16, Nhwc, int32, MaxReduction>"]
    assert len(finishes) == 1
    assert verify.Prover("simulated", kernel="toy").reach(finishes, 2, iter(range(2000))) == []


def test_every_variant_of_a_problem_is_drawn_and_a_choice_always():
    found = [verify.Candidate("a", None, i == 1) for i in range(5)] + [verify.Candidate("b", None, True)]
    wholes, randoms = [], []
    for seed in range(0, 80, 4):
        whole, at_random = verify.draw(found, seed)
        assert whole.count(found[1]) >= 1 and found[5] in whole and len(whole) == 3 and len(at_random) == 2
        wholes += map(id, whole)
        randoms += map(id, at_random)
    assert set(wholes) == set(randoms) == set(map(id, found))


class Forgetful(toy_sequence.Toy):
    """The toy with a copy to y that begins one element late in what the convolution left."""

    def sequence(self, problem, strides, index):
        made = super().sequence(problem, strides, index)
        short = dict(made.scratch) | {"unfinished": dict(made.scratch)["unfinished"] + 4}
        last = made.after[0]
        moved = replace(made, pointers=tuple("packed_weight" if name == "unfinished" else name for name in made.pointers))
        return replace(made, scratch=tuple(short.items()), pointers=moved.pointers, after=(last,))


def test_a_read_of_scratch_that_nothing_wrote_is_seen_and_rerun_by_its_command(monkeypatch, capsys):
    """The convolution writes over the packed weight, and the last launch copies what nobody wrote: NaN, not zeros."""
    toy_sequence.install(monkeypatch, Forgetful())
    case = "n1c2h3w3_k2r3s3_pad1_f32"
    try:
        code = main(["verify", "--engine", "simulated", "--case", case, "--kernel", "toy", "--schedule", "in-order", "--data", "whole"])
        printed = capsys.readouterr().out
        assert code == 1 and "is nan, expected" in printed, printed
        command = shlex.split(printed.partition("rerun: ")[2].splitlines()[0])
        names = command[command.index("--instance") + 1].split(" + ")
        assert [name.partition("<")[0] for name in names] == ["pool", "conv_direct", "pool"]
        assert main(command[1:]) == 1
        assert "1 failures" in capsys.readouterr().out, "the sequence of that index alone, not what else has one of its names"
        command[command.index("--instance") + 1] = names[1]
        assert main(command[1:]) == 0, "conv_direct alone under the same name is right"
    finally:
        routes.route.cache_clear()


@pytest.mark.parametrize("case", ["n2c8h7w6_k12r3s2_pad1_f32", "n1c4h3w3_k4r1s1_f16", "n1c3h6w7_max_r3s2_f16_indices", "n70000c16h65w64_k16r3s3_pad1_bf16"])
@pytest.mark.parametrize("alignment", [2, 16])
def test_every_launch_is_one_of_the_variants_and_its_names_are_instances(case, alignment):
    problem = parse(case)
    strides = replace(default_strides(problem), alignment=alignment)
    for kernel in kernels.for_operation("conv2d" if hasattr(problem, "groups") else "pool2d"):
        for device in DEVICES.values():
            if kernel.declines(problem, device) is None:
                variants = list(kernel.variants(problem, strides))
                assert kernel.launch(problem, strides, device) in variants
                helpers = {name for helper in kernels.HELPERS for name in helper.instances()}
                assert {name for launch in variants for name in launch.names} <= {*kernel.instances(), *helpers}
                assert len(set(variants)) == len(variants), "a variant twice"


def test_a_launch_names_its_sequence_in_order():
    bare = Launch("main", "h", (1, 1, 1), (32, 1, 1), 0, b"", ())
    assert bare.sequence == (bare,) and bare.names == ("main",)
    assert replace(bare, before=(replace(bare, name="a"),), after=(replace(bare, name="b"), replace(bare, name="c"))).names == ("a", "main", "b", "c")


def test_a_pooled_convolution_runs_in_two_with_its_middle_in_scratch():
    x, weight = (np.random.default_rng(1).integers(-3, 4, shape).astype("f4") for shape in ((2, 9, 8, 5), (6, 3, 3, 5)))
    words = dict(padding=1, activation="relu", window=3, pool_stride=2)
    expected = atrous.conv2d_pool2d(x, weight, engine="arrays", **words)
    np.testing.assert_array_equal(atrous.conv2d_pool2d(x, weight, engine="simulated", **words), expected)
    plan = atrous.plan_conv2d_pool2d(x.shape, weight, engine="simulated", **words)
    assert plan.workspace_bytes >= 4 * 2 * 9 * 8 * 6
    y = np.empty_like(expected)
    for _ in range(2):
        y[...] = np.nan
        np.testing.assert_array_equal(plan(x, out=y), expected)


def test_torch_takes_scratch_on_the_stream_of_the_call():
    """Taken on another stream, it could be given to that stream's next tensor while the launch still writes to it."""
    told = []
    cuda = SimpleNamespace(
        current_stream=lambda device: SimpleNamespace(cuda_stream=70),
        device=lambda device: told.append(("device", device)),
        stream=lambda stream: told.append(("stream", stream)),
        ExternalStream=lambda handle, device: (handle, device),
    )
    library = Torch.__new__(Torch)
    library.torch = SimpleNamespace(cuda=cuda)
    for stream in (70, -1, 99):
        library.on(Operand(None, (1,), (1,), "float32", "cuda:1", 64, True), stream)
    assert told == [("device", "cuda:1"), ("device", "cuda:1"), ("stream", (99, "cuda:1"))]
