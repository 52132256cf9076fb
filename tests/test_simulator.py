"""The simulator itself: casts to the bit, collectives, schedules, poison and red zones, and a name for every mistake."""

from __future__ import annotations

import importlib
import importlib.util
import struct
import threading
from math import comb

import ml_dtypes
import numpy as np
import pytest
from simulator_runs import SCHEDULES, _in_order, run, sim

from atrous.engines import simulated
from atrous.errors import EngineUnavailable, ProblemError
from atrous.launch import Launch

__all__ = ["_in_order"]

CODES = {"float32": 0, "float16": 1, "bfloat16": 2, "float64": 3, "int8": 4, "uint8": 5, "int32": 6, "int64": 7}
SMALL = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
INFINITY = {"float16": 0x7C00, "bfloat16": 0x7F80}
BEYOND = {"float16": 2.0**16, "bfloat16": 2.0**128}  # what infinity's pattern would stand for


def cast(x, target, real):
    """Return x cast to `target` by the kernels' load and store, by way of float32 or float64."""
    dtype = SMALL.get(target) or np.dtype(target)
    y = np.zeros(x.shape, dtype)
    source = "bfloat16" if x.dtype == ml_dtypes.bfloat16 else x.dtype.name
    return run(f"test_cast<{real}>", grid=(-(-x.size // 256), 1, 1), block=(256, 1, 1), x=x, y=y, count=x.size, types=(CODES[source], CODES[target]))


@np.errstate(invalid="ignore")  # NumPy warns of a signalling NaN
def assert_same(actual, expected):
    """Same bits, any NaN equal to any other."""
    nan = np.isnan(expected.astype(np.float64))
    assert np.isnan(actual.astype(np.float64))[nan].all()
    unsigned = np.dtype(f"u{expected.itemsize}")
    wrong = np.flatnonzero((actual.view(unsigned) != expected.view(unsigned)) & ~nan)
    assert wrong.size == 0, f"{wrong.size} wrong, first at {wrong[0]}: {actual[wrong[0]]!r}, expected {expected[wrong[0]]!r}"


@np.errstate(invalid="ignore")
@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize("small", SMALL)
def test_every_pattern_widens_exactly_and_comes_back(small, real):
    x = np.arange(65536, dtype=np.uint16).view(SMALL[small])
    assert_same(cast(x, real, real), x.astype(real))
    assert_same(cast(x, small, real), x)


@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize("small", SMALL)
def test_halfway_values_round_to_even_and_their_neighbours_to_the_nearer(small, real):
    below = np.arange(INFINITY[small], dtype=np.uint16)
    value = below.view(SMALL[small]).astype(np.float64)
    upper = np.append(value[1:], BEYOND[small])
    halfway = ((value + upper) / 2).astype(real)
    assert (halfway.astype(np.float64) * 2 == value + upper).all()
    even = below + (below & 1)
    toward = halfway.dtype.type
    for x, bits in [(halfway, even), (np.nextafter(halfway, toward(0)), below), (np.nextafter(halfway, toward(np.inf)), below + 1)]:
        for sign, flip in [(1, 0), (-1, 0x8000)]:
            assert_same(cast(sign * x, small, real), (bits | flip).astype(np.uint16).view(SMALL[small]))


@pytest.mark.parametrize("small", SMALL)
def test_random_floats_round_like_numpy(small):
    x = np.random.default_rng(7).integers(0, 2**32, 2**19, dtype=np.uint64).astype(np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        near = (np.random.default_rng(8).standard_normal(2**17) * 2.0 ** np.random.default_rng(9).integers(-26, 18, 2**17)).astype(np.float32)
        for values in (x, near):
            assert_same(cast(values, small, "float32"), values.astype(SMALL[small]))
            assert_same(cast(values, small, "float64"), values.astype(SMALL[small]))


def test_float64_rounds_to_float16_once():
    x = np.random.default_rng(3).integers(0, 2**64, 2**18, dtype=np.uint64).view(np.float64)
    exponents = np.random.default_rng(4).integers(-26, 17, 2**18)
    near = np.ldexp(1 + np.random.default_rng(5).integers(0, 2**11, 2**18) / 2**11 + 2.0**-40, exponents)
    with np.errstate(all="ignore"):
        for values in (x, near):
            assert_same(cast(values, "float16", "float64"), values.astype(np.float16))
    # by way of float32 this would be a tie, and go to 1
    assert cast(np.array([1 + 2.0**-11 + 2.0**-40]), "float16", "float64")[0] == np.float16(1 + 2.0**-10)
    assert cast(np.array([1 + 2.0**-8 + 2.0**-40]), "bfloat16", "float64")[0] == ml_dtypes.bfloat16(1 + 2.0**-7)


@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize(("target", "low", "high"), [("int8", -128, 127), ("uint8", 0, 255), ("int32", -(2**31), 2**31 - 1), ("int64", -(2**63), 2**63 - 1)])
def test_integers_round_half_to_even_and_saturate(target, low, high, real):
    halves = np.arange(-600, 600) / 2
    edges = [low - 1, low - 0.5, low, high, high + 0.5, high + 1.0, 1e30, -1e30, np.inf, -np.inf, 2.0**31, -(2.0**31), 2.0**63, 0.5, 1.5, 2.5, -0.5]
    x = np.concatenate([halves, edges]).astype(real)
    expected = [min(max(round(v), low), high) if np.isfinite(v) else (high if v > 0 else low) for v in x.tolist()]
    np.testing.assert_array_equal(cast(x, target, real), np.array(expected, target))
    np.testing.assert_array_equal(cast(np.array([np.nan], real), target, real), [0])


@pytest.mark.parametrize(("word", "seed"), SCHEDULES)
def test_every_thread_of_every_block_runs_once_with_its_own_indices(word, seed):
    sim.set_schedule(word, seed)
    grid, block = (3, 5, 2), (7, 3, 2)
    y = run("test_indices", grid=grid, block=block, y=np.full((2, 5, 3, 2, 3, 7, 6), -1, np.int32))
    z_block, y_block, x_block, z, row, x = np.indices(y.shape[:-1])
    np.testing.assert_array_equal(y, np.stack([x_block, y_block, z_block, x, row, z], axis=-1))


@pytest.mark.parametrize("threads", [1, 31, 32, 200])
@pytest.mark.parametrize(("word", "seed"), SCHEDULES)
def test_a_correct_kernel_does_not_depend_on_the_schedule(word, seed, threads):
    sim.set_schedule(word, seed)
    rounds = 5
    y = run("test_rounds", block=(threads, 1, 1), y=np.zeros(threads, np.int32), count=rounds)
    # (1 + z)^rounds / (1 - z): sums of binomials
    assert y.tolist() == [sum(comb(rounds, j) for j in range(i + 1)) for i in range(threads)]


def test_a_forgotten_barrier_shows_as_results_that_depend_on_the_schedule():
    results = {}
    for word, seed in SCHEDULES:
        sim.set_schedule(word, seed)
        results[word, seed] = tuple(run("test_forgotten_barrier", y=np.zeros(64, np.int32), count=3))
    assert results["in-order", 0] != results["reverse", 0]
    assert len(set(results.values())) > 8


def test_blocks_run_in_the_order_of_the_schedule():
    last = {}
    for word, seed in SCHEDULES:
        sim.set_schedule(word, seed)
        last[word, seed] = run("test_last_block", grid=(50, 1, 1), y=np.zeros(1, np.int32))[0]
    assert last["in-order", 0] == 49
    assert last["reverse", 0] == 0
    assert len(set(last.values())) > 6


def test_a_seed_repeats_its_schedule():
    def once():
        sim.set_schedule("random", 99)
        return run("test_forgotten_barrier", y=np.zeros(64, np.int32), count=3).tolist()

    assert once() == once()


@pytest.mark.parametrize(("word", "seed"), SCHEDULES)
def test_shuffles_and_ballots(word, seed):
    sim.set_schedule(word, seed)
    x = np.random.default_rng(seed).integers(-(2**62), 2**62, 96)
    x[:40] %= 9
    y = run("test_shuffles", block=(96, 1, 1), x=x, y=np.zeros((5, 96), np.int64))
    lane, warp = np.arange(96) % 32, np.arange(96) // 32 * 32
    np.testing.assert_array_equal(y[0], x[warp + (lane ^ 5)])
    np.testing.assert_array_equal(y[1], x[warp + np.where(lane + 3 < 32, lane + 3, lane)])
    np.testing.assert_array_equal(y[2], x[warp + 5])
    votes = [sum(int(x[w + i] % 3 == 0) << i for i in range(32)) for w in (0, 32, 64)]
    np.testing.assert_array_equal(y[3], np.repeat(votes, 32))
    np.testing.assert_array_equal(y[4], x[warp + (lane ^ 16)].astype(np.float32).astype(np.int64))


@pytest.mark.parametrize(("word", "seed"), SCHEDULES[:3])
def test_shared_memory_is_poisoned_before_every_block(word, seed):
    sim.set_schedule(word, seed)
    for _ in range(2):
        y = run("test_unwritten_shared", grid=(3, 1, 1), block=(1, 1, 1), shared=64, y=np.zeros(2, np.uint32))
        assert y.tolist() == [0xFFFFFFFF] * 2


@pytest.mark.parametrize(
    ("offset", "said"), [(0, None), (99, None), (100, "past the end of dynamic shared memory (100 bytes), at byte 100"), (-1, "at byte -1")]
)
def test_a_write_outside_dynamic_shared_memory_is_named(offset, said):
    check_write(offset, said, shared=100, types=(0, 0))


@pytest.mark.parametrize(
    ("offset", "said"), [(0, None), (1023, None), (1030, r"Numbers (1024 bytes), at byte 1030"), (-200, "before the start of the static shared")]
)
def test_a_write_outside_static_shared_memory_is_named(offset, said):
    check_write(offset, said, shared=0, types=(0, 1))


def check_write(offset, said, **how):
    if said is None:
        run("test_write_shared", count=offset, **how)
        return
    with pytest.raises(RuntimeError) as caught:
        run("test_write_shared", grid=(2, 1, 1), count=offset, **how)
    assert said in str(caught.value)
    assert "test_write_shared, block (0, 0, 0)" in str(caught.value)


@pytest.mark.parametrize(
    ("shared", "refused"), [(0, False), (8192, False), (8193, True), (49152, True), (49153, False), (187 * 1024, False), (187 * 1024 + 1, True)]
)
def test_static_and_dynamic_shared_memory_are_limited_together(shared, refused):
    if not refused:
        run("test_big_static_shared", shared=shared)
        return
    with pytest.raises(RuntimeError, match=f"40960 bytes of static and {shared} of dynamic shared memory are more"):
        run("test_big_static_shared", shared=shared)


MISTAKES = [
    (
        "test_exited_threads",
        {},
        ["exited threads never arrive at the barrier", "threads 0-39 wait at the block barrier at test_kernels.cpp:", "40-63 have exited"],
    ),
    ("test_divergent_barrier", {}, ["divergent barrier: threads 0-15 wait at the block barrier", "; threads 16-63 wait at the block barrier"]),
    (
        "test_exited_lane",
        {},
        ["lanes 3, 30-31 never arrive at the shuffle_xor of warp 0", "threads 0-2, 4-29 wait in shuffle_xor", "threads 3, 30-63 have exited"],
    ),
    ("test_mismatched_collectives", {"block": (32, 1, 1)}, ["mismatched warp collectives", "wait in ballot", "wait in sync_warp"]),
    ("test_divergent_collectives", {"block": (32, 1, 1)}, ["mismatched warp collectives", "wait in sync_warp"]),
    ("test_barrier_against_warp", {}, ["lanes 0-7 never arrive at the sync_warp of warp 0", "threads 0-7 wait at the block barrier"]),
    ("test_exited_lane", {"block": (20, 1, 1)}, ["shuffle_xor of warp 0 names lanes 20-31, which this block does not have"]),
    ("test_stack_overflow", {"types": (0, 1)}, ["overflowed its stack"]),
    ("test_stack_overflow", {}, ["overflowed its stack"]),
    ("test_vector_load", {"x": np.zeros(16, np.float32)[1:], "count": 1}, ["an access of 16 bytes at 0x", "not a multiple of 16"]),
]


@pytest.mark.parametrize(("word", "seed"), SCHEDULES[:5])
@pytest.mark.parametrize(("kernel", "how", "said"), MISTAKES)
def test_mistakes_are_named_and_the_next_launch_is_right(kernel, how, said, word, seed):
    sim.set_schedule(word, seed)
    if "x" in how:
        how = {**how, "x": aligned(16), "count": 1}
    with pytest.raises(RuntimeError) as caught:
        run(kernel, grid=(3, 1, 1), y=aligned(16), **how)
    message = str(caught.value)
    assert message.startswith(f"[simulator] {kernel}, block (")
    assert [words for words in said if words not in message] == []
    y = run("test_rounds", block=(128, 1, 1), y=np.zeros(128, np.int32), count=2)
    assert y.tolist() == [1, 3, *[4] * 126]


def aligned(count):
    """Return float32 zeros that start on 16 bytes."""
    raw = np.zeros(count + 4, np.float32)
    return raw[(-raw.ctypes.data % 16) // 4 :][:count]


def test_divergent_barriers_are_told_by_their_lines():
    with pytest.raises(RuntimeError) as caught:
        run("test_divergent_barrier")
    lines = [int(part.split(".")[0].split(";")[0]) for part in str(caught.value).split("test_kernels.cpp:")[1:]]
    assert len(lines) == 2
    assert lines[0] < lines[1]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"grid": (0, 1, 1)}, r"the grid is \(0, 1, 1\); expected x from 1 to 2147483647"),
        ({"grid": (2**31, 1, 1)}, r"expected x from 1 to 2147483647"),
        ({"grid": (1, 65536, 1)}, r"expected y from 1 to 65535"),
        ({"grid": (1, 1, 65536)}, r"expected z from 1 to 65535"),
        ({"block": (1025, 1, 1)}, r"expected x from 1 to 1024"),
        ({"block": (1, 1, 65)}, r"expected z from 1 to 64"),
        ({"block": (64, 0, 1)}, r"the block is \(64, 0, 1\)"),
        ({"block": (64, 17, 1)}, r"has 1088 threads; expected at most 1024"),
        ({"cluster": (9, 1, 1), "grid": (9, 1, 1)}, r"the cluster is \(9, 1, 1\); expected x from 1 to 8"),
        ({"cluster": (4, 2, 2), "grid": (4, 2, 2)}, r"the cluster \(4, 2, 2\) has 16 blocks; expected at most 8"),
        ({"cluster": (2, 1, 1), "grid": (3, 1, 1)}, r"the grid \(3, 1, 1\) is not whole clusters of \(2, 1, 1\)"),
        ({"shared": 227 * 1024 + 1}, r"asks for 232449 bytes of dynamic shared memory; expected 0 to 232448"),
        ({"shared": -1}, r"asks for -1 bytes"),
    ],
)
def test_launches_that_cuda_refuses_are_refused(how, said):
    with pytest.raises(RuntimeError, match=said):
        run("test_last_block", **how)


def test_the_largest_launches_are_taken():
    run("test_last_block", grid=(1, 65535, 1), block=(1, 1, 1), y=np.zeros(1, np.int32))
    run("test_rounds", block=(256, 1, 1), y=np.zeros(256, np.int32))
    run("test_last_block", block=(16, 1, 64), y=np.zeros(1, np.int32), shared=227 * 1024)


def test_parameters_and_pointers_are_counted():
    assert sim.parameter_bytes("test_rounds") == 32
    with pytest.raises(RuntimeError, match="the parameters have 31 bytes; expected 32"):
        sim.Prepared("test_rounds", (1, 1, 1), (1, 1, 1), (1, 1, 1), 0, bytes(31), 2)
    with pytest.raises(RuntimeError, match="5 pointers do not fit"):
        sim.Prepared("test_rounds", (1, 1, 1), (1, 1, 1), (1, 1, 1), 0, bytes(32), 5)
    with pytest.raises(RuntimeError, match="1 pointers came; expected 2"):
        sim.Prepared("test_rounds", (1, 1, 1), (1, 1, 1), (1, 1, 1), 0, bytes(32), 2).run((0,), 0)
    with pytest.raises(RuntimeError, match="not in this build"):
        sim.Prepared("absent", (1, 1, 1), (1, 1, 1), (1, 1, 1), 0, bytes(32), 2)


def test_several_python_threads_run_launches_at_once():
    wrong = []

    def work():
        for _ in range(40):
            y = run("test_rounds", block=(200, 1, 1), y=np.zeros(200, np.int32), count=2)
            if y.tolist() != [1, 3, *[4] * 198]:
                wrong.append(y)
            try:
                run("test_divergent_barrier")
                wrong.append("no error")
            except RuntimeError:
                pass

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def launch(name="test_last_block", **how):
    return Launch(name, "", (20, 1, 1), (1, 1, 1), 0, struct.pack("=QQqii", 0, 0, 0, 0, 0), ("x", "y"), **how)


def test_the_engine_reads_the_schedule_at_each_run(monkeypatch):
    y = np.zeros(1, np.int32)
    prepared = simulated.prepare(launch())
    for word, last in [("in-order", 19), ("reverse", 0), ("greedy", 19)]:
        monkeypatch.setenv("ATROUS_SIM_SCHEDULE", word)
        prepared.run((0, y.ctypes.data), 0)
        assert y[0] == last
        assert simulated.describe()["schedule"] == word
    prepared.run_blocks((0, y.ctypes.data), [3, 7])
    assert y[0] == 7
    for text, facts in [("random:7", ("random", 7, "latest")), ("greedy:3:random", ("greedy", 3, "random")), ("reverse::earliest", ("reverse", 0, "earliest"))]:
        monkeypatch.setenv("ATROUS_SIM_SCHEDULE", text)
        told = simulated.describe()
        assert (told["schedule"], told["seed"], told["landing"]) == facts
    for text in ("sideways", "random:x", "random:-1", f"random:{2**64}", "random:1:soon", "random:1:latest:2", ""):
        monkeypatch.setenv("ATROUS_SIM_SCHEDULE", text)
        with pytest.raises(ProblemError, match=f"the schedule is {text!r}"):
            prepared.run((0, y.ctypes.data), 0)


def test_a_kernel_that_is_not_built_is_named():
    with pytest.raises(EngineUnavailable, match="the kernel conv_direct<nothing> is not in this build"):
        simulated.prepare(launch("conv_direct<nothing>"))


def test_not_built_and_failed_to_load_are_two_sentences(monkeypatch):
    def fail(name):
        raise ImportError("libmissing.so.1: cannot open shared object file")

    simulated._load.cache_clear()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(importlib, "import_module", fail)
            assert "built but failed to load, because libmissing.so.1" in str(simulated.available())
            simulated._load.cache_clear()
            patch.setattr(importlib.util, "find_spec", lambda name: None)
            assert "was not built" in str(simulated.available())
            with pytest.raises(EngineUnavailable, match="was not built"):
                simulated.prepare(launch())
    finally:
        simulated._load.cache_clear()
    assert simulated.available() is None
