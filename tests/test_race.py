"""The race check: every planted race is reported in every schedule, with both lines; right kernels give no report."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "proof"))

import builds

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ROOT / "csrc" / "sim" / "test_kernels_race.cpp"
SCHEDULES = ["in-order", "reverse", "greedy", *(f"random:{seed}" for seed in range(8))]

#: kernel, variant -> what the report says of the missing order
PLANTED = {
    ("race_overwrite", 0): "no barrier of the block orders them",
    ("race_lanes", 0): "neither sync_warp nor a barrier orders them",
    ("race_blocks", 0): "blocks of a launch run in any order",
    ("race_blocks", 1): "blocks of a launch run in any order",
    ("race_bytes", 0): "neither sync_warp nor a barrier orders them",
    ("race_bytes", 1): "neither sync_warp nor a barrier orders them",
    **{("race_copies", variant): "a data race on|reads shared memory that nobody wrote" for variant in range(6)},
    ("race_unwritten", 0): r"reads shared memory that nobody wrote, byte 5 of the static shared atrous::.*RaceNumbers \(1024 bytes\) of block [01]",
    ("race_unwritten", 1): r"reads shared memory that nobody wrote, byte 5 of dynamic shared memory \(256 bytes\) of block [01]",
    ("race_cells", 0): "no barrier of the block orders them",
    ("race_cells", 1): "no barrier of the block orders them",
    ("race_operations", 0): "nothing has waited for that operation",
    ("race_operations", 1): "nothing has waited for that operation",
    ("race_proxies", 0): "no fence_async_proxy lies between them",
    ("race_proxies", 1): "no fence_async_proxy lies between them",
}


def launch(cases):
    """Run (kernel, variant, count, schedule) cases on the race build in a process of its own; return a report, or "", of each."""
    arguments, environment = builds.command("race")
    done = subprocess.run([*arguments, __file__], env=environment, input=repr(list(cases)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return eval(done.stdout)


def answer():
    """Be that process."""
    import struct

    import numpy as np

    import atrous._sim as sim

    assert sim.build_info()["sanitizer"] == "race"
    reports = []
    for kernel, variant, count, schedule in eval(sys.stdin.read()):
        word, _, seed = schedule.partition(":")
        sim.set_schedule(word, int(seed or 0))
        y = np.zeros(128, np.int32)
        parameters = struct.pack("=QQqii", 0, 0, count, variant, 0)
        try:
            sim.Prepared(kernel, (2, 1, 1), (64, 1, 1), (1, 1, 1), 256, parameters, 2).run((0, y.ctypes.data), 0)
            reports.append("")
        except RuntimeError as failure:
            reports.append(str(failure))
    print(reports)


@pytest.fixture(scope="module")
def reports():
    """(kernel, variant, count, schedule) -> report"""
    cases = [(*planted, count, schedule) for planted in PLANTED for count in (0, 1) for schedule in SCHEDULES]
    return dict(zip(cases, launch(cases)))


@pytest.mark.parametrize(("kernel", "variant"), PLANTED)
def test_planted_races_are_reported_and_right_twins_are_not(reports, kernel, variant):
    for schedule in SCHEDULES:
        assert reports[kernel, variant, 1, schedule] == "", schedule
        report = reports[kernel, variant, 0, schedule]
        assert re.search(PLANTED[kernel, variant], report), f"{schedule}: {report or 'no report'}"
        assert report.startswith(f"[simulator] {kernel}, block (")


def line(text, after=""):
    """Return the number of the first line of the kernels that holds `text`, behind the one that holds `after`."""
    lines = KERNELS.read_text().splitlines()
    start = next(number for number, each in enumerate(lines) if after in each)
    return next(number for number, each in enumerate(lines, 1) if number > start and text in each)


def test_a_report_names_both_lines_and_both_threads(reports):
    report = reports["race_overwrite", 0, 0, "in-order"]
    reading, writing = line("result(a) = value[other]"), line("value[me] = -1")
    assert re.search(
        r"a data race on byte \d+ of the static shared .*RaceNumbers \(1024 bytes\) of block 0: "
        rf"thread (\d+) of block 0 (writes at test_kernels_race\.cpp:{writing} what thread (\d+) of block 0 has read at test_kernels_race\.cpp:{reading}"
        rf"|reads at test_kernels_race\.cpp:{reading} what thread (\d+) of block 0 wrote at test_kernels_race\.cpp:{writing})",
        report,
    ), report


def test_every_access_of_the_kernels_text_goes_through_a_hook():
    """No object calls a memory function of the C library, nor a hook that is not defined."""
    builds.build("race")
    for unit in filter(builds.is_kernel_text, builds.sources()):
        found = builds.object_of("race", unit)
        wanted = set(subprocess.run(["nm", "-u", found], capture_output=True, text=True, check=True).stdout.split())
        assert not wanted & set(builds.WATCHED_CALLS), unit
        assert any(name.startswith("__tsan_read") for name in wanted), unit


if __name__ == "__main__":
    answer()
