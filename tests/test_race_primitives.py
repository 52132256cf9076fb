"""The race check over every primitive: planted pipeline mistakes are reported in every schedule, the probes themselves in none."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "proof"))

import builds

LANDINGS = ("latest", "earliest", "random")
SCHEDULES = [f"{order}:{landing}" for order in ("in-order:0", "reverse:0", "greedy:1", "random:2") for landing in LANDINGS]
#: whole products take a second each
FEW_SCHEDULES = [SCHEDULES[0], "reverse:0:earliest", "greedy:1:random", "random:2:random"]

CLUSTER = "no barrier of the cluster orders them"

OPERATION = "nothing has waited for that operation"
UNFENCED = "no fence_async_proxy lies between them"
#: an order that is missing may also show as a read of what nobody has written yet
MISSING = "a data race on|reads shared memory that nobody wrote"

#: (kind, name) -> what the report of every schedule says
PLANTED = {
    **{("ring", f"test_copy_ring<{ring}>"): MISSING for ring in ("3, WaitsForTooFewGroups", "4, WaitsForTooFewGroups", "3, LosesCountAtTheEnd")},
    **{("ring", f"test_copy_ring<3, {rules}>"): MISSING for rules in ("ReadsWithoutBarrier", "OverwritesWhatIsRead")},
    **{("ring", f"test_barrier_ring<true, {rules}>"): MISSING for rules in ("OverwritesWhatIsFull", "ReadsWithoutWaiting", "ArrivesWithoutWarp")},
    **{("ring", f"test_barrier_ring<false, {rules}>"): MISSING for rules in ("OverwritesWhatIsFull", "ReadsWithoutWaiting", "ArrivesWithoutWarp")},
    ("ring", "test_barrier_ring<false, KeepsParity>"): "a data race on|deadlock",
    ("ring", "test_barrier_ring<false, StartsWithWrongParity>"): "deadlock",
    ("ring", "test_barrier_ring<false, ForgetsToArrive>"): "deadlock",
    ("ring", "test_barrier_ring<false, ArrivesBeforeReading>"): "no barrier of the block orders them",
    ("ring", "test_barrier_ring<false, ArrivesBeforeStoring>"): "no barrier of the block orders them",
    ("ring", "test_cluster_ring<WaitsForOwnBlockOnly>"): CLUSTER,
    ("ring", "test_cluster_ring<OverwritesOthersMail>"): CLUSTER,
    ("ring", "test_cluster_ring<LeavesEarly>"): "has exited|it exits while",
    ("boxes", "no fence"): UNFENCED,
    ("boxes", "no wait for reads"): OPERATION,
    ("boxes", "no wait for empty"): "a data race on|more arrivals than its count",
    ("sm90", "NoOutputFence"): UNFENCED,
    ("sm90", "NoOutputWait"): OPERATION,
    ("sm90", "NoWaitForFull"): MISSING,
    ("sm90", "NoWaitForEmpty"): "a data race on|more arrivals than its count",
    ("sm90", "EarlyRelease"): "a data race on",
    **{("sm80", step): MISSING for step in ("TooFewWaited", "NoBarrier", "WarpBarrier", "BarrierFirst")},
    ("sm80", "CopiesFirst"): "a data race on",
    ("cluster", "race_cluster_reads 0"): CLUSTER,
    ("cluster", "race_cluster_reads 1"): CLUSTER,
    ("cluster", "race_cluster_overwrites 0"): CLUSTER,
    ("cluster", "race_cluster_between 0"): CLUSTER,
    ("cluster", "race_cluster_between 1"): CLUSTER,
    ("cluster", "race_cluster_exits 0"): "of block [01], which has exited|it exits while thread .* reads at .*no barrier of the cluster",
    ("cluster", "race_cluster_exits 1"): "of block [01], which has exited|it exits while thread .* writes at .*no barrier of the cluster",
    ("cluster", "test_exited_block 0"): r"thread \d+ of block 0 reads at test_kernels_machine.cpp:\d+ byte \d+ of .* of block 1, which has exited",
    ("cluster", "test_exited_block 1"): r"thread \d+ of block 0 writes at test_kernels_machine.cpp:\d+ byte \d+ of .* of block 1, which has exited",
}
#: the same without the mistake; those of rings and of the products on sm_80 and sm_90 are probes
RIGHT = [("boxes", "right"), *((kind, f"{name} right") for kind, name in PLANTED if kind == "cluster" and name.startswith("race"))]


def schedules_of(kind):
    return FEW_SCHEDULES if kind in ("sm80", "sm90", "probes") else SCHEDULES


# ---- in the process that has the race build


def run_ring(name):
    import test_sim_barriers as rings

    right = "probe" + name.removeprefix("test").partition("<")[0].replace("cluster_ring", "barrier_cluster")
    probe = next(probe for probe in rings.async_copy.PROBES + rings.mbarrier.PROBES if probe.kernel.startswith(right))
    given = probe.draw(0)
    y = rings.np.zeros(*probe.output)
    how = {"grid": probe.grid[0], "block": probe.block[0], "cluster": probe.cluster[0], "count": probe.count}
    rings.run(name, x=given["x"], w=given.get("w"), y=y, **how)


BOXES = ("no fence", "no wait for reads", "no wait for empty")  # that the kernel's sizes leave out


def run_boxes(name):
    import numpy as np
    import tensor_copies as copies

    x, y = (copies.aligned((43, 64), "int8") for _ in range(2))
    maps = [copies.map_of(array, key, copies.MAP_AT + at, box=(64, 4)) for array, key, at in ((x, "x", 0), (y, "y", 128))]
    copies.run("test_tensor_ring", x=x, y=y, maps=maps, size=[4, 11, *(int(name == mistake) for mistake in BOXES)], count=256, shared=4 * 256)
    assert np.array_equal(y, x + 1)


def run_sm80(step):
    import test_sim_gemm

    test_sim_gemm.product("float16", "SwizzledRows", 70, 66, 200, seed=1, order=f", {step}")


def run_sm90(rules):
    import test_sim_gemm_sm90 as products

    from atrous import config

    probe = dataclasses.replace(products.gemm_sm90.gemm("bfloat16", 136, 104, 328, 1), kernel=f"test_gemm_sm90<{rules}>")
    products.multiply(probe, "bfloat16", config.schedule())


def run_cluster(name):
    import numpy as np
    import simulator_runs

    kernel, variant, *right = name.split()
    how = {"count": len(right), "types": (int(variant), 0), "y": np.zeros(128, np.int32)}
    simulator_runs.run(kernel, grid=(2, 1, 1), cluster=(2, 1, 1), **how)


def run_probe(name):
    from atrous import conformance
    from atrous.probes import every_probe

    conformance.run_probe(every_probe()[name], "simulated", 0)


RUNS = {"ring": run_ring, "boxes": run_boxes, "sm80": run_sm80, "sm90": run_sm90, "cluster": run_cluster, "probes": run_probe}


def answer():
    """Print a report, or "", of each (kind, name, schedule) that comes in."""
    import atrous._sim as sim
    from atrous import config

    assert sim.build_info()["sanitizer"] == "race"
    reports = []
    for kind, name, schedule in eval(sys.stdin.read()):
        os.environ["ATROUS_SIM_SCHEDULE"] = schedule
        sim.set_schedule(*config.schedule())
        try:
            RUNS[kind](name)
            reports.append("")
        except RuntimeError as failure:
            reports.append(str(failure))
    print(reports)


# ---- in pytest's own


def launch(cases):
    """Return {(kind, name, schedule): report} of cases run on the race build in a process of its own."""
    arguments, environment = builds.command("race")
    done = subprocess.run([*arguments, __file__], env=environment, input=repr(cases), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(zip(cases, eval(done.stdout)))


@pytest.fixture(scope="module")
def reports():
    return launch([(kind, name, schedule) for kind, name in [*PLANTED, *RIGHT] for schedule in schedules_of(kind)])


@pytest.mark.parametrize(("kind", "name"), PLANTED)
def test_a_planted_mistake_is_reported_in_every_schedule(reports, kind, name):
    for schedule in schedules_of(kind):
        report = reports[kind, name, schedule]
        assert re.search(PLANTED[kind, name], report), f"{schedule}: {report or 'no report'}"


@pytest.mark.parametrize(("kind", "name"), RIGHT)
def test_its_right_twin_is_not(reports, kind, name):
    assert {schedule: reports[kind, name, schedule] for schedule in schedules_of(kind)} == dict.fromkeys(schedules_of(kind), "")


def test_probes_are_free_of_races():
    from atrous.probes import every_probe

    found = launch([("probes", name, schedule) for name in every_probe() for schedule in schedules_of("probes")])
    assert {case: report for case, report in found.items() if report} == {}


if __name__ == "__main__":
    answer()
