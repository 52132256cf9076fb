"""Asynchronous operations on the simulator: when they read and land, sleep, polls, and a name for every mistake."""

from __future__ import annotations

import numpy as np
import pytest
from simulator_runs import LANDINGS, _in_order, run, said, sim

__all__ = ["_in_order"]

every_landing = pytest.mark.parametrize(("word", "seed", "landing"), LANDINGS)
QUEUES = {"copy": 0, "bulk": 1, "matrix": 2}


def over_seeds(kernel, landing="random", word="in-order", seeds=60, **how):
    """Return the results of a kernel over many seeds."""
    found = set()
    for seed in range(seeds):
        sim.set_schedule(word, seed, landing)
        found.add(tuple(run(kernel, **{**how, "y": np.zeros(how["y"], np.int32)}).tolist()))
    return found


def one(kernel, landing, word="in-order", **how):
    (result,) = over_seeds(kernel, landing, word, 1, **how)
    return result


def test_a_free_operation_lands_last_or_first_or_in_between():
    how = {"block": (1, 1, 1), "y": 3}
    assert one("test_free_flight", "latest", **how) == (0, 6, 6)
    assert one("test_free_flight", "earliest", **how) == (5, 5, 5)
    found = over_seeds("test_free_flight", **how)
    assert {result[0] for result in found} == {0, 5}
    assert {result[1:] for result in found} == {(5, 5), (5, 6), (6, 5), (6, 6)}


@pytest.mark.parametrize("mode", [0, 1])
def test_operations_without_an_order_land_in_that_of_the_schedule(mode):
    how = {"block": (1, 1, 1), "count": 5, "y": 6, "types": (mode, 0)}
    assert one("test_flight_order", "latest", **how) == (0, 1, 2, 3, 4, 5)
    assert one("test_flight_order", "latest", "greedy", **how) == (0, 1, 2, 3, 4, 5)
    assert one("test_flight_order", "latest", "reverse", **how) == (4, 3, 2, 1, 0, 5)
    assert one("test_flight_order", "earliest", "reverse", **how) == (0, 1, 2, 3, 4, 5)
    for word, landing in [("random", "latest"), ("in-order", "random"), ("random", "random")]:
        assert len(over_seeds("test_flight_order", landing, word, **how)) > 20


@every_landing
def test_matrix_operations_keep_their_order(word, seed, landing):
    sim.set_schedule(word, seed, landing)
    y = run("test_flight_order", block=(1, 1, 1), count=9, types=(2, 0), y=np.zeros(10, np.int32))
    assert y.tolist() == [*range(9), 9]


@every_landing
@pytest.mark.parametrize("queue", QUEUES)
def test_waits_land_all_but_the_groups_they_leave(queue, word, seed, landing):
    sim.set_schedule(word, seed, landing)
    y = run("test_groups", block=(1, 1, 1), types=(QUEUES[queue], 0), y=np.zeros((4, 4), np.int32))
    least = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]])
    assert (y >= least).all()
    if landing == "latest":
        np.testing.assert_array_equal(y, least)
    if landing == "earliest":
        assert (y == 1).all()


def test_groups_land_early_at_random():
    how = {"block": (1, 1, 1), "y": 16}
    assert len(over_seeds("test_groups", types=(QUEUES["copy"], 0), **how)) > 10


@every_landing
def test_a_store_that_has_read_its_source_does_not_see_later_writes(word, seed, landing):
    sim.set_schedule(word, seed, landing)
    y = run("test_bulk_store", block=(1, 1, 1), types=(3, 0), y=np.zeros(2, np.int32))
    assert y.tolist() == [5, 5]
    y = run("test_bulk_store", block=(1, 1, 1), types=(1, 0), y=np.zeros(2, np.int32))
    assert y[0] == 5  # landed when the thread had exited
    assert y[1] == {"latest": 0, "earliest": 5}.get(landing, y[1])


def test_a_source_that_changes_before_its_read_shows():
    how = {"block": (1, 1, 1), "y": 2, "types": (2, 0)}
    assert one("test_bulk_store", "latest", **how) == (6, 6)
    assert one("test_bulk_store", "earliest", **how) == (5, 5)
    assert over_seeds("test_bulk_store", **how) == {(5, 5), (6, 6)}


@every_landing
def test_a_store_that_nobody_waits_for_is_named(word, seed, landing):
    sim.set_schedule(word, seed, landing)
    message = said("test_bulk_store", block=(1, 1, 1), types=(4, 0), y=np.zeros(2, np.int32))
    assert "thread (0, 0, 0): it exits and has not waited for the reads of the copy at test_kernels_flights.cpp:" in message
    y = run("test_bulk_store", block=(1, 1, 1), types=(0, 0), y=np.zeros(2, np.int32))
    assert y[0] in (5, 6)


@every_landing
def test_an_arrival_comes_after_the_copies_before_it(word, seed, landing):
    sim.set_schedule(word, seed, landing)
    y = run("test_arrival_after", block=(64, 1, 1), x=np.array([11, 12], np.int32), y=np.zeros(3, np.int32))
    assert y.tolist()[:2] == [11, 11]
    assert y[2] in {"latest": [0], "earliest": [12]}.get(landing, [0, 12])


@every_landing
def test_polls_let_others_run_and_operations_land(word, seed, landing):
    sim.set_schedule(word, seed, landing)
    for mode in (0, 1):
        polls, second = run("test_polls", block=(2, 1, 1), types=(mode, 0), y=np.zeros(2, np.int32))
        assert 0 <= polls < 5
        if (word, landing) == ("in-order", "latest"):
            assert second == 0  # one operation lands, and the threads have their turn again


@every_landing
def test_polls_without_end_are_a_deadlock(word, seed, landing):
    sim.set_schedule(word, seed, landing)
    message = said("test_polls", block=(3, 1, 1), types=(2, 0), y=np.zeros(2, np.int32))
    assert "deadlock, nothing can end what threads wait for: threads 0 have exited; threads 1-2 poll for cell 0 at test_kernels_flights.cpp:" in message


@every_landing
def test_copies_land_when_their_owner_exits_and_sums_may_not(word, seed, landing):
    sim.set_schedule(word, seed, landing)
    how = {"block": (1, 1, 1), "x": np.array([7], np.int32), "y": np.zeros(1, np.int32)}
    assert run("test_flight_at_exit", types=(QUEUES["copy"], 0), **how)[0] == 7
    message = said("test_flight_at_exit", types=(QUEUES["matrix"], 0), **how)
    assert "thread (0, 0, 0): it exits and has not waited for the copy at test_kernels_flights.cpp:" in message


#: mode, cluster, what is said
EXITS = [
    (0, 1, "block (0, 0, 0): it exits while the copy at test_kernels_flights.cpp:"),
    (1, 1, "block (0, 0, 0): it exits while the copy at test_kernels_flights.cpp:"),
    (2, 2, "block (1, 0, 0): it exits while the copy at test_kernels_flights.cpp:"),
]


@pytest.mark.parametrize(("mode", "cluster", "words"), EXITS)
@pytest.mark.parametrize("word", ["in-order", "reverse", "random", "greedy"])
def test_a_block_that_exits_with_an_operation_in_flight_is_named(mode, cluster, words, word):
    how = {"block": (1, 1, 1), "grid": (cluster, 1, 1), "cluster": (cluster, 1, 1), "types": (mode, 0)}
    sim.set_schedule(word, 1)
    message = said("test_flight_to_exited", **how)
    assert words in message
    assert "is in flight to or from its shared memory" in message
    sim.set_schedule(word, 1, "earliest")
    run("test_flight_to_exited", **how)


@every_landing
def test_an_operation_that_aims_at_an_exited_block_is_named(word, seed, landing):
    sim.set_schedule(word, seed, landing)
    message = said("test_flight_to_exited", block=(1, 1, 1), grid=(2, 1, 1), cluster=(2, 1, 1), types=(10, 0))
    assert "thread (0, 0, 0): the copy at test_kernels_flights.cpp:" in message
    assert "uses the shared memory of block 1 of the cluster, which has exited" in message


FLIGHT_MISTAKES = [
    (3, ["test_flight_mistakes, block (0, 0, 0): the copy at test_kernels_flights.cpp:", "lands: 12 bytes do not add up."]),
    (4, ["deadlock, nothing can end what threads wait for: threads 0-2 wait for cell 3 at test_kernels_flights.cpp:", "threads 3-7 have exited"]),
    (5, ["an owner of asynchronous operations is thread 8; expected one of the block's 8"]),
    (6, ["test: 0x", "is not in the shared memory of this block or its cluster; expected 4 bytes of it"]),
    (7, ["test: 8 bytes at byte 252 of the static shared atrous::", "(256 bytes) leave it"]),
    (8, ["test: 0x", "lies between the objects of shared memory; expected 4 bytes of one"]),
]


@every_landing
@pytest.mark.parametrize(("mode", "words"), FLIGHT_MISTAKES)
def test_mistakes_with_operations_are_named(mode, words, word, seed, landing):
    sim.set_schedule(word, seed, landing)
    message = said("test_flight_mistakes", block=(8, 1, 1), types=(mode, 0))
    assert [text for text in words if text not in message] == []
    run("test_flight_mistakes", block=(8, 1, 1), types=(9, 0))
