"""The simulated machine beyond a block: clusters, named barriers, registers, schedules, and a name for every mistake."""

from __future__ import annotations

import numpy as np
import pytest
from simulator_runs import SCHEDULES, _in_order, run, said, sim

__all__ = ["_in_order"]

every_schedule = pytest.mark.parametrize(("word", "seed"), SCHEDULES)
CLUSTERS = [(1, 1, 1), (2, 1, 1), (1, 3, 1), (2, 2, 2), (8, 1, 1), (1, 1, 4)]


@every_schedule
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_ranks_count_x_fastest_and_every_block_runs_once(cluster, word, seed):
    sim.set_schedule(word, seed)
    grid = tuple(2 * extent for extent in cluster)
    before = sim.counters()
    y = run("test_ranks", grid=grid, block=(33, 1, 1), cluster=cluster, y=np.full((*grid[::-1], 2), -1, np.int32))
    z, row, x = np.indices(grid[::-1])
    rank = x % cluster[0] + cluster[0] * (row % cluster[1] + cluster[1] * (z % cluster[2]))
    np.testing.assert_array_equal(y, np.stack([rank, np.full_like(rank, np.prod(cluster))], axis=-1))
    after = sim.counters()
    assert [after[what] - before[what] for what in ("launches", "blocks", "threads")] == [1, np.prod(grid), 33 * np.prod(grid)]


@every_schedule
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_blocks_of_a_cluster_pass_values_on(cluster, word, seed):
    sim.set_schedule(word, seed)
    blocks, rounds = int(np.prod(cluster)), 3
    y = run("test_cluster_ring", grid=cluster, cluster=cluster, block=(40, 1, 1), count=rounds, y=np.zeros((blocks, 40), np.int32))
    np.testing.assert_array_equal(y, (np.arange(blocks)[:, None] + rounds) % blocks * 1000 + np.arange(40))


@every_schedule
def test_objects_lie_at_one_offset_in_every_block(word, seed):
    sim.set_schedule(word, seed)
    y = run("test_offsets", grid=(4, 1, 1), cluster=(4, 1, 1), y=np.zeros((4, 2), np.int32))
    assert (y == y[0]).all()
    assert abs(y[0, 0] - y[0, 1]) >= 24
    assert (y % [4, 8] == 0).all()


def test_only_the_blocks_asked_for_run_with_those_of_their_clusters():
    before = sim.counters()
    y = run("test_ranks", grid=(8, 4, 1), cluster=(2, 2, 1), blocks=[31, 3, 22], y=np.full((4, 8, 2), -1, np.int32))
    expected = np.zeros((4, 8), bool)
    expected[:2, 2:4] = expected[2:, 6:] = True
    np.testing.assert_array_equal(y[..., 0] >= 0, expected)
    assert sim.counters()["blocks"] - before["blocks"] == 8
    huge = run("test_last_block", grid=(2**31 - 1, 1, 1), block=(32, 1, 1), blocks=[2**31 - 2], y=np.zeros(1, np.int32))
    assert huge[0] == 2**31 - 2
    run("test_last_block", blocks=[])
    for block in (-1, 32):
        assert f"block {block} of the grid (8, 4, 1)" in said("test_ranks", grid=(8, 4, 1), blocks=[block])


@every_schedule
def test_what_a_block_leaves_behind_is_not_read_or_written(word, seed):
    sim.set_schedule(word, seed)
    two = {"grid": (2, 1, 1), "cluster": (2, 1, 1)}
    y = run("test_exited_block", **two, y=np.zeros(64, np.int32))
    assert (y == -1).all()
    written = said("test_exited_block", **two, types=(1, 0))
    assert "block (1, 0, 0): a block of its cluster wrote to its shared memory after it had exited: byte 0 of the static shared" in written
    mapped = said("test_exited_block", **two, types=(2, 0))
    assert "map_shared at test_kernels_machine.cpp:" in mapped
    assert "names block 1 of the cluster, which has exited" in mapped
    assert "lies in the shared memory of block 1 of the cluster, which has exited" in said("test_exited_block", **two, types=(3, 0))


CLUSTER_MISTAKES = [
    (0, ["wait_cluster at test_kernels_machine.cpp:", "comes without an arrive_cluster"]),
    (1, ["thread (5, 0, 0)", "arrive_cluster at test_kernels_machine.cpp:", "comes a second time without a wait_cluster in between"]),
    (
        2,
        ["deadlock", "block (0, 0, 0): threads 0-4, 6-63 wait at the cluster barrier, where 126 of 128", "threads 5 have exited; block (1, 0, 0): threads 0-4"],
    ),
    (3, ["names block 2; expected 0 to 1, a block of the cluster"]),
    (4, ["lies in the shared memory of block 1 of the cluster; expected the running block's own"]),
]


@every_schedule
@pytest.mark.parametrize(("mode", "words"), CLUSTER_MISTAKES)
def test_mistakes_with_clusters_are_named(mode, words, word, seed):
    sim.set_schedule(word, seed)
    message = said("test_cluster_mistakes", grid=(2, 1, 1), cluster=(2, 1, 1), types=(mode, 0))
    if mode == 4:
        message = message.replace("of block 0 of", "of block 1 of")  # whichever block comes first
    assert [text for text in words if text not in message] == []
    assert run("test_cluster_ring", grid=(2, 1, 1), cluster=(2, 1, 1), block=(1, 1, 1), count=1, y=np.zeros(2, np.int32)).tolist() == [1000, 0]


@every_schedule
def test_named_barriers_hand_a_buffer_over(word, seed):
    sim.set_schedule(word, seed)
    y = run("test_handover", block=(128, 1, 1), count=6, y=np.zeros(64, np.int32))
    np.testing.assert_array_equal(y, np.arange(64) * 15)


NAMED_MISTAKES = [
    ((0, 0), ["sync_named at test_kernels_machine.cpp:", "names barrier 0; expected 1 to 15"]),
    ((0, 16), ["names barrier 16; expected 1 to 15"]),
    ((1, 48), ["expects 48 threads; expected a multiple of 32 up to the block's 128"]),
    ((1, 160), ["expects 160 threads"]),
    ((1, 0), ["expects 0 threads"]),
    ((2, 0), ["threads at named barrier 1, and the warp that came first at test_kernels_machine.cpp:"]),
    ((3, 0), ["arrive_named", "warp 0 arrives twice at named barrier 3 in one phase, of which 32 of 96 threads have arrived"]),
    ((4, 0), ["names barrier 1 for 64 threads, lane 1 barrier 2 for 64; expected one of both in a warp"]),
    ((5, 0), ["deadlock", "threads 0-31, 64-127 wait at named barrier 3, where 96 of 128 threads have arrived, at test_kernels", "threads 32-63 have exited"]),
    ((6, 0), ["deadlock, lanes 8 never arrive at the sync_named of warp 1", "threads 40 have exited"]),
]


@every_schedule
@pytest.mark.parametrize(("types", "words"), NAMED_MISTAKES)
def test_mistakes_with_named_barriers_are_named(types, words, word, seed):
    sim.set_schedule(word, seed)
    message = said("test_named_mistakes", block=(128, 1, 1), types=types)
    assert [text for text in words if text not in message] == []


@every_schedule
def test_registers_change_hands(word, seed):
    sim.set_schedule(word, seed)
    # 384 threads start with 168 registers each: 3 * 168 = 40 + 2 * 232
    assert run("test_registers", block=(384, 1, 1), y=np.zeros(1, np.int32))[0] == 1
    message = said("test_registers", block=(512, 1, 1), y=np.zeros(1, np.int32))
    assert "wait for 232 registers a thread, of which they have 128 and the block's pool enough for" in message


REGISTER_MISTAKES = [
    ((0, 44), 128, ["give_registers at test_kernels_machine.cpp:", "asks for 44 registers a thread; expected a multiple of 8 from 24 to 256"]),
    ((0, 16), 128, ["asks for 16 registers"]),
    ((1, 264), 128, ["take_registers", "asks for 264 registers"]),
    ((0, 256), 256, ["give_registers<256>", "has 248 registers a thread; expected at most that many"]),
    ((1, 40), 384, ["take_registers<40>", "has 168 registers a thread; expected at least that many"]),
    ((2, 0), 128, ["of its warpgroup executed give_registers<4", "expected the same in all 4"]),
    ((3, 0), 128, ["warp 2 never executes the give_registers<40> that warp", "of its warpgroup executed; expected all 4"]),
    ((4, 0), 128, ["give_registers<40>", "warp 1 executes it before warp 0 has executed the give_registers<48> before it"]),
    ((0, 40), 96, ["a block of 96 threads is not whole warpgroups; expected a multiple of 128"]),
    ((5, 0), 384, ["deadlock", "wait for 224 registers a thread, of which they have 168 and the block's pool enough for 16 more,"]),
]


@every_schedule
@pytest.mark.parametrize(("types", "threads", "words"), REGISTER_MISTAKES)
def test_mistakes_with_registers_are_named(types, threads, words, word, seed):
    sim.set_schedule(word, seed)
    message = said("test_register_mistakes", block=(threads, 1, 1), types=types)
    assert [text for text in words if text not in message] == []


@every_schedule
def test_an_action_sees_the_lanes_of_its_mask(word, seed):
    sim.set_schedule(word, seed)
    y = run("test_actions", block=(96, 1, 1), y=np.zeros(96, np.int32))
    np.testing.assert_array_equal(y, np.arange(96).reshape(6, 16).sum(1).repeat(16))


ACTION_MISTAKES = [
    (1, ["mismatched warp collectives", "wait in add_up at", "wait in add at"]),
    (2, ["add_up at test_kernels_machine.cpp:", "is called by lane", "which its mask does not name"]),
    (3, ["lanes 9 never arrive at the add_up of warp 0"]),
    (4, ["test_actions, block (0, 0, 0), thread (", "it is too late"]),
]


@every_schedule
@pytest.mark.parametrize(("mode", "words"), ACTION_MISTAKES)
def test_mistakes_with_actions_are_named(mode, words, word, seed):
    sim.set_schedule(word, seed)
    message = said("test_actions", block=(32, 1, 1), types=(mode, 0), y=np.zeros(32, np.int32))
    assert [text for text in words if text not in message] == []


def test_one_warp_runs_as_long_as_it_can():
    def turns(word, seed):
        sim.set_schedule(word, seed)
        return run("test_turns", block=(96, 1, 1), y=np.full(192, -1, np.int32)) // 32

    assert turns("greedy", 0).tolist() == [warp for warp in range(3) for _ in range(64)]
    assert turns("in-order", 0).tolist() == [*np.arange(96) // 32, *np.arange(96) // 32]
    orders = {tuple(turns("greedy", seed)[::64].tolist()) for seed in range(20)}
    assert orders == {(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)}
    assert all(np.diff(turns("greedy", seed)).nonzero()[0].tolist() == [63, 127] for seed in range(20))


def test_schedules_are_words():
    with pytest.raises(ValueError, match="the schedule is 'sideways'; expected one of 'in-order', 'reverse', 'random', 'greedy'"):
        sim.set_schedule("sideways", 0)
    with pytest.raises(ValueError, match="the landing is 'soon'; expected one of 'latest', 'earliest', 'random'"):
        sim.set_schedule("in-order", 0, "soon")
