"""`atrous verify`: what it counts, what it sees, how it says it, and that the command it prints runs the failure again."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter

import fake_cupy
import numpy as np
import pytest
from test_cli import on_terminal

from atrous import EngineUnavailable, ProblemError, choose, config, engines, sampling, testing, verify
from atrous.cli import main
from atrous.engines import simulated
from atrous.kernels import ORDER, for_operation, operation_of
from atrous.ledger import Ledger, append
from atrous.problem import parse
from atrous.redzones import RED, Guarded, Host
from atrous.verify import Prover, schedule_number

pytestmark = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))

CASE = "n2c3h8w9_k4r3s3_pad1_f32_bias"
INDEXED = "n1c3h6w7_max_r3s2_f16_indices"


def run(capsys, *words):
    """Return the exit code and what was printed to stdout and to stderr."""
    code = main(["verify", *words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize("engine", ["simulated", "arrays"])
def test_a_right_build_is_proved_and_counted(engine, capsys, tmp_path):
    path = tmp_path / "ledger.json"
    for seed in ("0", "1000"):
        code, printed, errors = run(capsys, "--engine", engine, "--problems", "40", "--seed", seed, "--json", str(path))
        assert code == 0 and "0 failures" in printed and not errors, printed
    first, second = json.loads(path.read_text())["runs"]
    assert (first["seed"], second["seed"]) == (0, 1000) and first["problems"] == second["problems"] == 40
    assert first["failures"] == [] and 10 < first["exact_problems"] <= 40
    assert sum(first["instances"].values()) >= sum(first["exact_runs"].values()) + sum(first["bounded_runs"].values()) == sum(first["dtypes"].values())
    assert 0 < first["worst_ratio"] <= 1 and first["worst_case"].startswith(f"atrous verify --engine {engine} --case ")
    assert first["host"]["cores"] and first["atrous"] and first["seconds"] > 0 and first["build"]["numpy" if engine == "arrays" else "build"]
    if engine == "simulated":
        assert {"conv_direct", "pool"} <= set(first["exact_runs"]) and sum(first["orders"].values()) == sum(first["dtypes"].values())
        assert first["schedules"]["conv_direct"] > 5
        assert all(any(f", {width}" in name for name in first["instances"]) for width in ("int32", "int64"))


def test_no_engine_named_is_the_first_that_can_run():
    able = [name for name, module in verify.ENGINES.items() if module.available() is None]
    assert Prover().engine == able[0]


def test_time_ends_a_run(capsys):
    code, printed, _ = run(capsys, "--engine", "simulated", "--seconds", "0.3")
    assert code == 0 and 0.3 <= float(printed.split(" failures in ")[1].split()[0]) < 5


def test_a_case_runs_in_every_order_and_landing(capsys, tmp_path):
    path = tmp_path / "ledger.json"
    code, printed, _ = run(capsys, "--engine", "simulated", "--case", CASE, "--json", str(path))
    assert code == 0 and "1 problem on whole numbers" in printed
    (facts,) = json.loads(path.read_text())["runs"]
    assert set(facts["orders"]) == {f"{order}, {landing}" for order in config.SCHEDULES for landing in config.LANDINGS}
    assert facts["exact_runs"] == {"conv_direct": 96} and facts["bounded_runs"] == {"conv_direct": 96}  # two index widths


def test_consecutive_seeds_meet_every_order_and_landing():
    for first in (0, 12345):
        met = {schedule_number(7 * seed)[::2] for seed in range(first, first + len(config.SCHEDULES) * len(config.LANDINGS))}
        assert len(met) == len(config.SCHEDULES) * len(config.LANDINGS)


# ---- what a wrong kernel looks like


class Wrong:
    """The simulated engine with a fault after every run: fault(launch, pointers)."""

    def __init__(self, launch, fault, prepare):
        self.launch, self.fault, self.inner = launch, fault, prepare(launch)

    def run(self, pointers, stream, schedule=None):
        self.inner.run(pointers, stream, schedule)
        self.fault(self.launch, pointers)


def memory_at(pointer, count, dtype=np.uint8):
    """Return an array over host memory."""
    import ctypes

    size = count * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_ubyte * size).from_address(pointer), dtype)


def plant(monkeypatch, fault):
    prepare = simulated.prepare
    monkeypatch.setattr(simulated, "prepare", lambda launch: Wrong(launch, fault, prepare))


def operand(launch, pointers, name):
    return pointers[launch.pointers.index(name)]


def test_a_wrong_element_is_named_and_its_command_runs_it_again(monkeypatch, capsys):
    def fault(launch, pointers):
        if ", int64" in launch.name:
            memory_at(operand(launch, pointers, "y"), 40, np.float32)[17] += 1  # of (2, 8, 9, 4): n 0, p 0, q 4, k 1

    plant(monkeypatch, fault)
    code, printed, _ = run(capsys, "--engine", "simulated", "--case", CASE, "--seed", "5", "--data", "whole", "--schedule", "reverse:3")
    assert code == 1
    what, instance, rerun = printed.splitlines()[-3:]
    assert what.startswith(f"wrong: {CASE}: 1 of 576 elements differ; first y[n=0, p=0, q=4, k=1] is "), what
    assert instance == "  conv_direct<float32, Nhwc, int64, NarrowTile>, schedule reverse:3:latest"
    command = shlex.split(rerun.partition("rerun: ")[2])
    begin = f"atrous verify --engine simulated --case {CASE} --seed 5 --data whole --kernel conv_direct --instance"
    assert command == [*begin.split(), "conv_direct<float32, Nhwc, int64, NarrowTile>", "--schedule", "reverse:3:latest"]
    again = run(capsys, *command[2:])
    assert again[0] == 1 and again[1].splitlines()[-3:] == [what, instance, rerun]
    monkeypatch.undo()
    assert run(capsys, *command[2:])[0] == 0


FAULTS = {
    "a byte before y": (CASE, lambda at: memory_at(at("y") - 8, 1).fill(0), "y: 1 bytes written before it, the nearest 8 bytes before its first"),
    "a byte after y": (CASE, lambda at: memory_at(at("y") + 4 * 576, 1).fill(0), "y: 1 bytes written after it, the nearest 1 bytes after its last"),
    "an input": (CASE, lambda at: memory_at(at("x") + 4, 4, np.float32).fill(77), "x: "),
    "beside an input": (CASE, lambda at: memory_at(at("weight") - 1, 1).fill(3), "weight: 1 bytes written before it"),
    "an unwritten element": (CASE, lambda at: memory_at(at("y"), 4).fill(0xFF), "first y[n=0, p=0, q=0, k=0] is nan"),
    "an index": (INDEXED, lambda at: memory_at(at("index"), 1, np.int32).fill(99), "1 of 18 indices differ; first index[n=0, p=0, q=0, k=0] is 99, expected "),
    "beside the indices": (INDEXED, lambda at: memory_at(at("index") + 4 * 18 + 3, 1).fill(0), "index: 1 bytes written after it, the nearest 4 bytes"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_seen(name, monkeypatch):
    case, fault, words = FAULTS[name]
    plant(monkeypatch, lambda launch, pointers: fault(lambda slot: operand(launch, pointers, slot)))
    prover = Prover("simulated", index="int32", data="whole")
    prover.prove(parse(case), 4)
    (failure,) = prover.ledger.failures
    assert words in failure["what"] and prover.ledger.runs == 0


def test_an_integer_left_unwritten_is_seen():
    """An output of -1 everywhere must not look written: the poison of integers is no extreme."""
    assert not (Guarded(Host(), (64,), "int8").view() == np.array([-1, 0, 1, 127, -128])[:, None]).any()
    assert np.isnan(Guarded(Host(), (64,), "bfloat16").view().astype(np.float32)).all()


def test_every_kernel_takes_its_share_of_what_is_drawn():
    device, draws = choose.device_named("simulated"), 5000
    taken = Counter(kernel.name for seed in range(draws) for problem in [sampling.any_problem(seed)] for kernel in takers(problem, device))
    # 40,000 problems then give each a thousand schedules, which the scoreboard's floor asks for
    assert set(taken) == {kernel.name for kernel in ORDER} and min(taken.values()) >= draws / 80, taken


def takers(problem, device):
    """Return the kernels that do not decline a problem."""
    return [kernel for kernel in for_operation(operation_of(problem)) if kernel.declines(problem, device) is None]


@pytest.mark.parametrize("case", ["n1c3h9w9_k8r3s3_f16+max_r2s2_stride2", "n1c8h9w9_k8r3s3_f16+max_r2s2_stride2"])
def test_a_kernel_is_proved_where_another_would_be_chosen(case):
    problem = parse(case)
    prover = Prover("simulated")
    assert [kernel.name for kernel in takers(problem, prover.device)] == list(dict.fromkeys(one.kernel for one in prover.candidates(problem, 0)))
    for name in {one.kernel for one in prover.candidates(problem, 0)}:
        assert {one.kernel for one in Prover("simulated", kernel=name).candidates(problem, 0)} == {name}


def test_operands_lie_where_vectors_and_scalars_are_both_tried():
    for shift in (0, 1):
        held = Guarded(Host(), (5, 3), "float16", np.ones((5, 3), np.float16), shift)
        assert held.pointer % RED == 2 * shift and held.fetch()[1] is None


# ---- on a device


def test_the_way_over_device_memory(monkeypatch):
    cupy = fake_cupy.install(monkeypatch)
    try:
        launches = fake_cupy.serve_compiled(monkeypatch, cupy)
        prover = Prover("compiled")
        verify.verify(prover, problems=12)
    finally:
        fake_cupy.forget()
    assert prover.memory.device == "cuda:0" and prover.device.name == "sm_90"
    assert prover.ledger.failures == [] and prover.ledger.runs >= 20 and not prover.ledger.schedules
    assert len(launches) == prover.ledger.instances.total()


def test_no_library_for_device_memory_is_said(monkeypatch):
    monkeypatch.setattr(engines.compiled, "available", lambda: None)
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineUnavailable, match="CuPy or torch that reach a GPU"):
        Prover("compiled")


# ---- the ledger


def test_ledgers_add_up():
    provers = [Prover("simulated") for _ in range(3)]
    for prover, seeds in zip(provers, (range(40), range(25), range(25, 40)), strict=True):
        for seed in seeds:
            prover.prove(testing.random_problem(seed), seed)
    whole, total = provers[0].ledger, Ledger()
    for prover in provers[1:]:
        total.add(Ledger.from_whole(json.loads(json.dumps(prover.ledger.whole()))))
    assert total.whole() == whole.whole()


@pytest.mark.parametrize("text", ["[]", "nonsense", '{"format": 1}', '{"format": 2, "runs": []}'])
def test_a_file_that_is_no_ledger_is_left_alone(text, tmp_path):
    path = tmp_path / "notes.json"
    path.write_text(text)
    with pytest.raises(ProblemError, match="expected a file that can be written, new or of earlier runs"):
        append(path, {})
    assert path.read_text() == text
    with pytest.raises(ProblemError, match="No such file"):
        append(tmp_path / "nowhere" / "a.json", {})


def test_lacking_instances_are_reached():
    names = ["conv_direct<uint8, Nchw, int64, WideTile>", "pool<float64, Nhwc, int64, WeightedReduction>", "pool<nothing>"]
    prover = Prover("simulated")
    assert prover.reach(names, 2, iter(range(3000))) == ["pool<nothing>"]
    assert all(prover.ledger.instances[name] >= 2 for name in names[:2]) and set(prover.ledger.instances) == set(names[:2])


def test_kernels_of_few_instances_are_run_until_they_met_as_many_schedules():
    """A kernel with one instance meets few schedules while the others reach their runs."""
    name = "pack_weight<float32>"
    prover = Prover("simulated")
    assert prover.reach([name], 1, iter(range(5000)), schedules=15) == []
    assert len(prover.ledger.schedules["pack_weight"]) >= 15 <= prover.ledger.instances[name]
    assert prover.reach([name], 1, iter(range(5)), schedules=10_000) == [name]


# ---- words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--engine warp", "[verify] engine is 'warp'; expected one of 'compiled', 'runtime', 'simulated', 'arrays'"),
        (
            "--engine simulated --kernel conv",
            "[verify] --kernel is 'conv'; expected one of conv_first, conv_igemm_sm80, conv_pointwise, conv_depthwise, "
            "conv_depthwise_planes, conv_grouped, conv_depthwise_large, conv_direct, "
            "pool_stream, pool_bands, pool, conv_first_pool, conv_pool, conv_separable, transpose, elementwise",
        ),
        ("--engine simulated --case nonsense", "[case] 'nonsense'"),
        (f"--engine simulated --case {CASE} --kernel conv_pointwise", "conv_pointwise declines: the filter is 3x3"),
        ("--engine simulated --case n0c3h4w4_k2r1s1_f32", "has an output without elements"),
        ("--engine simulated --schedule sideways", "[--schedule] the schedule is 'sideways'; expected ORDER[:SEED[:LANDING]]"),
        ("--engine simulated --schedule random:-1", "[--schedule] the schedule is 'random:-1'"),
        ("--engine simulated --schedule random:1:never", "[--schedule] the schedule is 'random:1:never'"),
        ("--engine simulated --schedule random:1:latest:2", "[--schedule] the schedule is"),
        ("--engine arrays --schedule random:1", "[verify] --schedule is given and the engine is 'arrays'; expected the simulator"),
        ("--engine simulated --problems 1 --json /no/such/folder/a.json", "[verify] the ledger is '/no/such/folder/a.json'"),
        ("--engine simulated --record a.npz", "[verify] --record with engine 'simulated'; expected 'compiled' or 'runtime', which run on a GPU"),
    ],
)
def test_refusals(words, said, capsys):
    code, printed, errors = run(capsys, *words.split())
    assert code == 1 and errors.startswith("atrous verify: ") and said in errors and errors.count("\n") == 1
    assert not printed or "--json" in words


@pytest.mark.parametrize("words", ["--seconds 0", "--seconds nan", "--seconds -3", "--seconds soon", "--problems 0", "--seed -1", "--seed x", "--index 32"])
def test_bad_usage(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["verify", *words.split()])
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert not printed.out and words.split()[1].strip("-") in printed.err.splitlines()[-1]


def test_progress_on_a_terminal_and_results_on_stdout():
    pytest.importorskip("rich", reason="the progress bar comes from rich; pip install rich")
    bar, text = on_terminal(["-m", "atrous", "verify", "--engine", "arrays", "--problems", "30"], "stderr")
    assert b"runs" in bar and b"%" in bar
    assert b"0 failures" in text and b"\x1b" not in text


def test_without_rich_progress_is_lines():
    code = "import importlib.util as u; f = u.find_spec; u.find_spec = lambda n, *a: None if n == 'rich' else f(n, *a)\n"
    code += "from atrous.cli import main; main(['verify', '--engine', 'arrays', '--problems', '30'])"
    lines, text = on_terminal(["-c", code], "stderr")
    assert b"\x1b" not in lines and b"runs: 50 %" in lines and b"0 failures" in text


@pytest.mark.parametrize("kernel", ["conv_direct", "pool"])
def test_one_kernel_alone_meets_only_problems_of_its_operation(kernel, capsys):
    code, printed, errors = run(capsys, "--engine", "simulated", "--kernel", kernel, "--problems", "6")
    assert code == 0 and not errors and "0 failures" in printed
