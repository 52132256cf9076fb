"""The models of mbarrier and cp.async: probes against NumPy in every schedule, a name for every misuse, planted pipeline bugs."""

from __future__ import annotations

import importlib
import struct

import numpy as np
import pytest

from atrous import conformance
from atrous.engines import simulated
from atrous.probes import async_copy, mbarrier

if simulated.available() is not None:
    pytest.skip(str(simulated.available()), allow_module_level=True)

sim = importlib.import_module("atrous._sim")

LANDINGS = ("latest", "earliest", "random")
ORDERS = [("in-order", 0), ("reverse", 0), *(("greedy", seed) for seed in range(2)), *(("random", seed) for seed in range(6))]
SCHEDULES = [(word, seed, landing) for word, seed in ORDERS for landing in LANDINGS]
LARGEST = 2**20 - 1  # of arrivals, and of bytes either way

#: rings with a mistake -> how a plain build sees it, over all schedules: "value", "deadlock", or "named" by another failure
PLANTED = {
    "test_copy_ring<3, WaitsForTooFewGroups>": {"value"},
    "test_copy_ring<4, WaitsForTooFewGroups>": {"value"},
    "test_copy_ring<3, ReadsWithoutBarrier>": {"value"},
    "test_copy_ring<3, OverwritesWhatIsRead>": {"value"},
    "test_copy_ring<3, LosesCountAtTheEnd>": {"value"},
    "test_barrier_ring<false, OverwritesWhatIsFull>": {"deadlock"},
    "test_barrier_ring<true, OverwritesWhatIsFull>": {"value", "deadlock"},
    "test_barrier_ring<false, KeepsParity>": {"deadlock"},
    "test_barrier_ring<false, StartsWithWrongParity>": {"deadlock"},
    "test_barrier_ring<false, ForgetsToArrive>": {"deadlock"},
    "test_barrier_ring<false, ReadsWithoutWaiting>": {"value", "deadlock"},
    "test_barrier_ring<true, ReadsWithoutWaiting>": {"value", "deadlock", "named"},
    "test_barrier_ring<false, ArrivesWithoutWarp>": {"value", "deadlock"},
    "test_barrier_ring<true, ArrivesWithoutWarp>": {"value", "deadlock"},
    "test_barrier_ring<false, ArrivesBeforeReading>": {"deadlock"},
    "test_cluster_ring<OverwritesOthersMail>": {"deadlock"},
    "test_cluster_ring<LeavesEarly>": {"named"},
}
#: rings with a mistake that leaves right values in every schedule: a store stands so close behind its arrival that nothing
#: comes between on the simulator, as it may on a device; and a wait that does not see what another block wrote
KERNELS_ONLY_RACE_SEES = {"test_barrier_ring<false, ArrivesBeforeStoring>", "test_cluster_ring<WaitsForOwnBlockOnly>"}


@pytest.fixture(autouse=True)
def _in_order():
    yield
    sim.set_schedule("in-order", 0)


def run(name, *, block=1, grid=1, cluster=1, x=None, w=None, y=None, count=0, size=()):
    """Run a test kernel and return y."""
    addresses = [0 if array is None else array.ctypes.data for array in (x, w, y)]
    image = struct.pack("=QQQq8i", 0, 0, 0, count, *size, *[0] * (8 - len(size)))
    sim.Prepared(name, (grid, 1, 1), (block, 1, 1), (cluster, 1, 1), 0, image, 3).run(tuple(addresses), 0)
    return y


# ---- the probes against NumPy


def copied(given, width):
    return np.where(np.arange(width) < given["w"][:, None], given["x"], 0).astype(np.uint8)


def summed(given):
    """y[i] = sum of x[t, (i + t) % 128, j] * w[t, 127 - i, j] over t and j."""
    steps, threads = given["x"].shape[:2]
    total = np.zeros(threads, np.int64)
    for t in range(steps):
        total += (np.roll(given["x"][t].astype(np.int64), -t, axis=0) * given["w"][t, ::-1]).sum(1)
    return total.astype(np.int32)


def passed(given):
    """Each consumer's own multiple of the numbers, rotated by the step."""
    sums = given["x"].sum(2)
    rotated = np.stack([np.roll(row, -step) for step, row in enumerate(sums)])
    return np.stack([rotated, 2 * rotated], axis=1).astype(np.int32)


def mailed(given, blocks):
    """Each block takes what the block before it in its cluster wrote, lanes backwards."""
    clusters = given["x"].reshape(-1, given["x"].shape[1] // blocks, blocks, 32)
    return np.roll(clusters, 1, axis=2)[..., ::-1].reshape(given["x"].shape)


def expected_of(probe, given):
    kernel = probe.kernel.partition("<")[0]
    if kernel == "probe_copy_async":
        return copied(given, given["x"].shape[1])
    if kernel == "probe_barrier_cluster":
        return mailed(given, probe.cluster[0])
    return {"probe_copy_ring": summed, "probe_barrier_ring": passed}[kernel](given)


@pytest.mark.parametrize("probe", async_copy.PROBES + mbarrier.PROBES, ids=lambda probe: probe.name)
def test_probes_in_every_schedule(probe, record_property, monkeypatch):
    given = probe.draw(0)
    expected = expected_of(probe, given)
    for word, seed, landing in SCHEDULES:
        monkeypatch.setenv("ATROUS_SIM_SCHEDULE", f"{word}:{seed}:{landing}")
        np.testing.assert_array_equal(conformance.run_probe(probe, "simulated", 0), expected, err_msg=f"{word}:{seed}:{landing}")
    record_property("probe_schedules", len(SCHEDULES))


def test_phases_complete_as_the_manual_says():
    for word, seed, landing in SCHEDULES:
        sim.set_schedule(word, seed, landing)
        before, other, open_, after = run("test_barrier_phases", y=np.full((4, 4), -1, np.int32)).T.tolist()
        # In phase n the phases of parity (n + 1) % 2 have completed; of its own parity, none has until it ends.
        assert (before, other, open_, after) == ([0, 1, 0, 1], [1, 0, 1, 0], [0] * 4, [1] * 4), (word, seed, landing)


def test_a_block_arrives_at_the_barrier_of_another():
    for word, seed, landing in SCHEDULES:
        sim.set_schedule(word, seed, landing)
        run("test_barrier_remote", grid=2, cluster=2)


def test_polling_two_barriers_in_turn_goes_on():
    for word, seed, landing in SCHEDULES:
        sim.set_schedule(word, seed, landing)
        assert run("test_barrier_polls_in_turn", y=np.zeros(1, np.int32))[0] == 1


# ---- when copies land


def test_a_copy_that_nobody_waits_for_has_landed_or_not():
    x, seen = np.array([7], np.int32), set()
    for word, seed, landing in SCHEDULES:
        sim.set_schedule(word, seed, landing)
        early, late = run("test_copy_not_waited_for", x=x, y=np.zeros(2, np.int32)).tolist()
        assert late == 7
        assert early == {"latest": 1, "earliest": 7}.get(landing, early)
        seen.add(early)
    assert seen == {1, 7}


@pytest.mark.parametrize(("landing", "value"), [("latest", 2), ("earliest", 1)])
def test_the_source_may_be_read_late(landing, value):
    sim.set_schedule("in-order", 0, landing)
    assert run("test_copy_source_overwritten", y=np.array([1], np.int32))[0] == value


@pytest.mark.parametrize("width", [4, 8, 16])
def test_bytes_beyond_the_valid_ones_are_not_read(width):
    # the copy ends at the last byte of its allocation, past which a sanitizer sees a read
    for valid in range(1, width + 1):
        run(f"test_copy<{width}>", x=np.zeros(16 + valid, np.uint8), size=(16, 0, valid))


# ---- misuses, each by its sentence

MISUSES = {
    "misaligned": ("test_barrier_misaligned", {}, r"init_barrier at .*:\d+: the mbarrier at 0x\w+ does not lie on a multiple of 8 bytes"),
    "in global memory": ("test_barrier_not_in_shared", {"y": 1}, r"init_barrier at .*: the mbarrier at 0x\w+ does not lie in shared memory"),
    "not initialised": ("test_barrier_not_initialised", {}, r"arrive at .*: the mbarrier at shared offset 0x\w+ is not initialised"),
    "of an earlier block": ("test_barrier_of_an_earlier_block", {"grid": 2}, r"block \(1, 0, 0\).*arrive at .* is not initialised"),
    "overwritten": ("test_barrier_overwritten", {}, r"was overwritten since it was initialised; its bytes are 0x0000000000001234"),
    "live": ("test_barrier_initialised_again", {}, r"init_barrier at .* is live already; expected invalidate\(\) before"),
    "sleepers": ("test_barrier_initialised_under_sleepers", {"block": 2}, r"is live already and threads wait for it"),
    "count 0": ("test_barrier_count", {"size": (0,)}, r"a count of 0 arrivals; expected 1 to 1048575"),
    "count 2^20": ("test_barrier_count", {"size": (LARGEST + 1,)}, r"a count of 1048576 arrivals; expected 1 to 1048575"),
    "arrivals": ("test_barrier_too_many_arrivals", {}, r"more arrivals than its count in phase 0 of .*: 0 of 2 arrivals, 64 of 64 bytes still to come"),
    "negative bytes": ("test_barrier_expect", {"size": (-1, 0)}, r"expect_bytes at .*: -1 bytes more leave the range of -1048575 to 1048575"),
    "too many bytes": ("test_barrier_expect", {"size": (LARGEST, 1)}, r"arrive_expect at .*: 1 bytes more leave the range"),
    "parity": ("test_barrier_parity", {}, r"wait at .*: the parity is 2; expected 0 or 1"),
    "invalidated under sleepers": ("test_barrier_invalidated_under_sleepers", {"block": 2}, r"invalidate at .*: 1 threads wait for phase 0"),
    "invalidated twice": ("test_barrier_invalidated_twice", {}, r"invalidate at .* is not initialised"),
    "exit": ("test_barrier_exit", {"size": (64,)}, r"exits with bytes outstanding in phase 0 of .*64 of 64 bytes still to come"),
    "not published": ("test_barrier_not_published", {}, r"was initialised by thread 0 without a fence_barrier_init\(\) after it"),
    "delivered": ("test_barrier_delivered_range", {"size": (LARGEST,)}, r"1048575 delivered bytes leave the range"),
    "remote, not published": (
        "test_barrier_remote", {"grid": 2, "cluster": 2, "size": (1,)},
        r"arrive_remote at .*of block 0 of the cluster was initialised by thread 0 without a fence_barrier_init\(\)",
    ),
    "remote, exited": ("test_barrier_remote", {"grid": 2, "cluster": 2, "size": (2,)}, r"arrive_remote at .* belongs to a block that has exited"),
    "remote, local arrival": ("test_barrier_remote", {"grid": 2, "cluster": 2, "size": (3,)}, r"arrive at .* belongs to another block; only arrive_remote"),
    "rank": ("test_barrier_remote_rank", {}, r"arrive_remote at .*: block 1 of a cluster of 1"),
    "valid bytes below 0": ("test_copy<8>", {"x": 64, "size": (0, 0, -1)}, r"copy_async<8> at .*: -1 valid bytes; expected 0 to 8"),
    "valid bytes above": ("test_copy<16>", {"x": 64, "size": (0, 0, 17)}, r"copy_async<16> at .*: 17 valid bytes; expected 0 to 16"),
    "to global": ("test_copy_to_global", {"x": 64, "y": 64}, r"copy_async.* shared memory"),
    "from shared": ("test_copy_from_shared", {}, r"copy_async<16> at .*: the source lies in shared memory; expected global memory"),
    **{
        f"{width} bytes from {source} to {target}": (f"test_copy<{width}>", {"x": 64, "size": (source, target, width)}, r"expected multiples of " + str(width))
        for width in (4, 8, 16)
        for source, target in ((width // 2, 0), (0, width // 2))
    },
}  # fmt: skip


@pytest.mark.parametrize("case", MISUSES)
@pytest.mark.parametrize("word", ["in-order", "reverse"])
def test_misuses_are_named(case, word):
    name, how, sentence = MISUSES[case]
    how = {key: np.zeros(64, np.int32) if key in "xy" else value for key, value in how.items()}
    sim.set_schedule(word, 0)
    with pytest.raises(RuntimeError, match=sentence):
        run(name, **how)


@pytest.mark.parametrize("kernel", ["test_barrier_phase", "test_barrier_polls"])
@pytest.mark.parametrize(
    ("size", "missing"),
    [
        ((2, 4096, 1, 3584), "1 of 2 arrivals, 512 of 4096 bytes still to come"),
        ((1, 4096, 1, 3584), "0 of 1 arrivals, 512 of 4096 bytes still to come"),
        ((2, 0, 1, 0), "1 of 2 arrivals still to come"),
        ((1, 64, 1, 96), "0 of 1 arrivals still to come, 32 bytes came that nothing expected"),
    ],
)
@pytest.mark.parametrize("landing", LANDINGS)
def test_a_phase_that_cannot_complete_is_a_named_deadlock(kernel, size, missing, landing):
    sim.set_schedule("in-order", 0, landing)
    with pytest.raises(RuntimeError, match=rf"deadlock.*for phase 0 of the mbarrier at shared offset 0x\w+: {missing}"):
        run(kernel, size=size)


def test_a_later_phase_is_described_by_its_own_bytes():
    with pytest.raises(RuntimeError, match=r"for phase 5 of .*: 1 of 2 arrivals, 512 of 4096 bytes still to come"):
        run("test_barrier_phase", count=5, size=(2, 4096, 1, 3584))


def test_copies_that_arrive_too_seldom_are_a_named_deadlock():
    with pytest.raises(RuntimeError, match=r"deadlock.*for phase 0 .*: 1 of 2 arrivals still to come"):
        run("test_copies_arrive_too_few", x=np.zeros(1, np.int32))


def test_an_arrival_that_may_come_before_the_initialisation_fails_where_it_does():
    outcomes = set()
    for word in ("in-order", "reverse"):
        sim.set_schedule(word, 0)
        try:
            run("test_barrier_init_not_ordered", block=2)
            outcomes.add("right")
        except RuntimeError as failure:
            assert "is not initialised" in str(failure)
            outcomes.add("named")
    assert outcomes == {"right", "named"}


# ---- pipelines with one mistake


def exposures(name):
    """Return how schedules expose a planted ring, each way with one of those schedules."""
    right = "probe" + name.removeprefix("test").partition("<")[0].replace("cluster_ring", "barrier_cluster")
    probe = next(probe for probe in async_copy.PROBES + mbarrier.PROBES if probe.kernel.startswith(right))
    given = probe.draw(0)
    expected = expected_of(probe, given)
    found = {}
    for word, seed, landing in SCHEDULES:
        sim.set_schedule(word, seed, landing)
        y = np.full(expected.shape, -1, np.int32)
        try:
            run(name, grid=probe.grid[0], block=probe.block[0], cluster=probe.cluster[0], x=given["x"], w=given.get("w"), y=y, count=probe.count)
        except RuntimeError as failure:
            found["deadlock" if "deadlock" in str(failure) else "named"] = (word, seed, landing)
            continue
        if (y != expected).any():
            found["value"] = (word, seed, landing)
    return found


@pytest.mark.parametrize("name", PLANTED)
def test_some_schedule_exposes_a_planted_bug(name):
    found = exposures(name)
    assert set(found) == PLANTED[name], found


@pytest.mark.parametrize("name", sorted(KERNELS_ONLY_RACE_SEES))
def test_what_only_the_race_check_sees_gives_right_values(name):
    assert exposures(name) == {}


def test_every_planted_ring_is_listed():
    planted = {name for name in sim.test_kernels() if "_ring<" in name}
    assert planted == set(PLANTED) | KERNELS_ONLY_RACE_SEES
