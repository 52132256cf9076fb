"""benchmarks/micro: its kernels against NumPy on the simulator, the file it writes, and its timing on the fake CUDA runtime."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
from fake_device import Device

from atrous import conformance
from atrous.engines import compiled, simulated
from atrous.probes import halo, rate_copy, rate_loads, rate_wgmma
from atrous.redzones import Host

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks" / "micro"))
cudnn_kernels, device, measures, references, micro = (importlib.import_module(name) for name in ("cudnn_kernels", "device", "measures", "references", "micro"))

PROBES = {probe.name: probe for module in (rate_copy, rate_wgmma, rate_loads, halo) for probe in module.PROBES}
SCHEDULES = ["in-order:0:latest", "reverse:0:earliest", "random:1:random", "greedy:1:latest"]
simulator = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))


@simulator
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", PROBES)
def test_a_kernel_gives_what_numpy_says(name, schedule, monkeypatch):
    monkeypatch.setenv("ATROUS_SIM_SCHEDULE", schedule)
    probe = PROBES[name]
    y = conformance.run_probe(probe, "simulated", 1)
    given = probe.draw(1)
    assert not any(references.wrong_in_each(probe, given, y))
    # a wrong byte of y, or of what it was made of, is seen
    y.reshape(-1).view(np.uint8)[-1] ^= 0x40
    assert sum(references.wrong_in_each(probe, given, y)) == 1
    if given and "halo" not in name:
        given["x"] = given["x"] ^ 1
        assert sum(references.wrong_in_each(probe, given, y)) > 1


def test_a_halo_tile_read_from_another_row_is_seen_at_every_shift():
    probe = halo.halo(copied=True, pixels_are_m=True)
    given = probe.draw(0)
    y = references.expected(probe, given)
    wrong = references.wrong_in_each(probe, given, np.roll(y, 1, axis=0))
    assert len(wrong) == 23 and min(wrong) > 3000


def test_shifts_reach_every_tap_of_a_3x3_filter():
    taps = [r * halo.PITCH + s for r in range(3) for s in range(3)]
    assert taps == [0, 1, 2, 10, 11, 12, 20, 21, 22] and max(taps) == halo.SHIFTS - 1


@simulator
@pytest.mark.parametrize("pixels_are_m", [True, False])
def test_bytes_tell_which_rows_were_read(pixels_are_m):
    read = device.rows_read("simulated", Host(), pixels_are_m)
    for shift in range(halo.SHIFTS):
        for m in range(64):
            assert read["row"][shift][m] == [shift + 10 * (m // 8) + m % 8] * 8
            assert read["piece"][shift][m] == list(range(8))


@pytest.mark.parametrize("pixels_are_m", [True, False])
def test_controls_are_the_pixels_that_begin_a_pattern(pixels_are_m):
    wrong = np.zeros((halo.SHIFTS, 64, 64), bool)
    assert device.controls(wrong, pixels_are_m) == 0
    for shift, pixel in ((1, 0), (7, 3), (8, 8), (22, 0)):  # begin within a pattern
        wrong[(shift, pixel) if pixels_are_m else (shift, slice(None), pixel)] = True
    assert device.controls(wrong, pixels_are_m) == 0
    for shift, pixel in ((0, 0), (8, 7), (16, 1)):
        wrong[(shift, pixel, 5) if pixels_are_m else (shift, 5, pixel)] = True
    assert device.controls(wrong, pixels_are_m) == 3


@simulator
def test_a_wrong_halo_tile_is_reported_with_what_was_read(monkeypatch):
    monkeypatch.setattr(references, "wrong_in_each", lambda probe, given, y: [0, 5, *[0] * 21])
    found = device.check(halo.PROBES[0], "simulated", Host())
    assert found["wrong"] == 5 and found["wrong_by_shift"][1] == 5 and len(found["read"]["row"]) == 23
    assert "by shift [0, 5, 0" in micro.line({"group": "halo", "name": "tile", "seconds": None, "reason": "no GPU", "check": found})


@pytest.mark.skipif(micro.nvcc() is None, reason="nvcc not found")
def test_kernels_compile_for_sm_90a_and_spill_nothing():
    found = micro.compiled_here()
    assert found["reason"] is None and found["warnings"] == []
    assert len(found["kernels"]) == len({probe.kernel for probe in PROBES.values()})
    assert not [name for name, facts in found["kernels"].items() if facts["spilled"] or facts["stack"]]


def test_measures_fit_the_device_and_each_is_checked():
    every = measures.every()
    assert len({measure.name for measure in every}) == len(every)
    assert {measure.group for measure in every} == set(measures.GROUPS)
    for measure in every:
        assert measure.check.kernel == measure.probe.kernel
        assert measure.probe.shared_bytes <= 227 * 1024 - 1024, "the ring's barriers lie in shared memory too"
        assert measure.cycles_at is None or measure.probe.size[rate_wgmma.CYCLES] == 1
        if measure.group in ("im2col", "l2"):
            turns, slots, tiles = measure.probe.size[:3]
            stages = turns * (3 if measure.group == "im2col" else 1)
            assert slots <= min(32, stages) and measure.probe.grid[0] * turns < 2**31 and tiles * 128 < 2**31
        if measure.pool:
            assert measure.pool % max(1, measure.bytes // 2) == 0, "the launches of a graph stay within x and y"


def test_rates_follow_from_the_times():
    row = {"group": "wgmma", "seconds": [1e-3, 2e-3, 9e-3], "flops": 4e9, "bytes": 0, "cycles": [100, 300, 200], "products": 5, "warpgroups": 2, "blocks": 3}
    assert micro.figures(row) == {"microseconds": 2e3, "tflop_per_s": 2.0, "clock_ghz": 1e-4, "cycles_of_wgmma": 20.0}
    row |= {"group": "l2", "flops": 0, "bytes": 6000, "products": 0}
    assert micro.figures(row) == pytest.approx({"microseconds": 2e3, "tb_per_s": 3e-6, "clock_ghz": 1e-4, "bytes_per_cycle": 10.0})
    row |= {"group": "halo", "bytes": 0, "products": 50, "warpgroups": 1}
    assert micro.figures(row)["cycles_by_shift"] == [2.0, 6.0, 4.0]
    assert micro.figures(row | {"seconds": None}) == {}


def test_a_wrong_value_is_a_failure_but_for_what_is_asked_of_a_gpu():
    wrong = {"group": "halo", "check": {"wrong": 1, "engine": "compiled"}}
    assert not micro.is_wrong(wrong) and micro.is_wrong(wrong | {"group": "wgmma"})
    assert micro.is_wrong({"group": "halo", "check": {"wrong": 1, "wrong_controls": 1, "engine": "compiled"}})
    assert micro.is_wrong(wrong | {"check": {"wrong": 1, "engine": "simulated"}}) and not micro.is_wrong({"group": "l2", "check": None})


@simulator
def test_a_dry_run_writes_every_row_without_a_time(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(micro, "compiled_here", lambda: {"reason": "not here", "kernels": {}})
    out = tmp_path / "micro.json"
    assert micro.main([str(out), "--dry-run"]) == 0
    found = json.loads(out.read_text())
    rows = [row for row in found["rows"] if row["group"] != "cudnn"]
    assert found["format"] == 2 and found["measures"] == "micro"
    assert [row["name"] for row in rows] == [m.name for group in measures.GROUPS for m in measures.every() if m.group == group]
    assert all(row["seconds"] is None and row["reason"] == "no GPU" and row["check"]["wrong"] == 0 for row in rows)
    suite = [row for row in found["rows"] if row["group"] == "cudnn"]
    assert len(suite) > 150 and all(row["case"].startswith("n32c") for row in suite)
    printed = capsys.readouterr().out
    assert printed.count("\n") == len(rows) + 2 and "not timed, no GPU; 0 of" in printed


def crashing(group):
    """Yield a row, then end the process."""
    yield {"group": group, "name": measures.empties(132)[0].name, "seconds": None, "reason": None, "check": None}
    os._exit(3)


def failing(group):
    """Raise."""
    raise ValueError("a launch failed")


@pytest.mark.parametrize(("rows", "reason"), [(crashing, "its process ended with 3"), (failing, "ValueError: a launch failed")])
def test_a_group_that_crashes_costs_its_own_rows_alone(rows, reason, monkeypatch):
    monkeypatch.setattr(device, "rehearsed", rows)
    found, missing = micro.grouped("empty", True, 0.0)
    assert missing == reason
    completed = micro.completed("empty", found, missing)
    assert [row["reason"] for row in completed] == ([None, reason] if rows is crashing else [reason, reason])


def test_a_group_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(device, "rehearsed", lambda group: time.sleep(60))
    monkeypatch.setattr(micro, "GROUP_SECONDS", 0.5)
    assert micro.grouped("empty", True, 0.0) == ([], "its process hung for 0.5 s and was killed")


def test_no_group_takes_longer_than_what_is_left_of_the_whole(monkeypatch):
    monkeypatch.setattr(device, "missing", lambda: time.sleep(60))
    begin = time.monotonic()
    assert micro.grouped("empty", False, begin + 1.0)[1].endswith("s and was killed")
    assert micro.grouped("copy", False, begin + 1.0) == ([], "the time for it was over")
    assert time.monotonic() - begin < micro.GROUP_SECONDS


def test_without_a_gpu_every_figure_is_missing_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "missing", lambda: "no GPU of that kind")
    assert micro.main([str(tmp_path / "out.json")]) == 1
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert {row["reason"] for row in rows} == {"no GPU of that kind"}


# ---- timing, on the fake runtime


class FakeTensor:
    """Memory of the fake device."""

    def __init__(self, runtime, nbytes):
        self.array = runtime.allocate(nbytes)
        self.array[:] = 1

    def data_ptr(self):
        return self.array.ctypes.data

    def cpu(self):
        return types.SimpleNamespace(numpy=lambda: self.array.copy())


class FakeTorch(types.ModuleType):
    """What benchmarks/micro/device.py asks of torch, above the fake runtime; every event is a millisecond after the one before."""

    def __init__(self, runtime):
        super().__init__("torch")
        self.runtime, self.bfloat16, self.uint8 = runtime, 2, 1
        self.clock, self.replays, self.graphs = 0.0, 0, []
        torch = self

        class CUDAGraph:
            def replay(self):
                torch.replays += 1
                runtime.replay(self.number)

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self, stream):
                torch.clock += 1.0
                self.at = torch.clock

            def synchronize(self):
                runtime.synchronize()

            def elapsed_time(self, other):
                return other.at - self.at

        stream = types.SimpleNamespace(cuda_stream=77, synchronize=runtime.synchronize)
        self.cuda = types.SimpleNamespace(
            CUDAGraph=CUDAGraph, Event=Event, Stream=lambda: stream, stream=lambda stream: contextlib.nullcontext(), synchronize=runtime.synchronize,
            graph=self.captured,
        )  # fmt: skip

    def manual_seed(self, seed):
        pass

    def randn(self, count, device, dtype):
        return FakeTensor(self.runtime, count * dtype)

    def randint(self, low, high, shape, device, dtype):
        return FakeTensor(self.runtime, shape[0] * dtype)

    @contextlib.contextmanager
    def captured(self, graph, stream):
        with self.runtime.capture(stream.cuda_stream) as numbers:
            yield
        graph.number = numbers[0]
        self.graphs.append(self.runtime.graph_launches(numbers[0]))


SMALL = {
    "copy": measures.Measure("copy", "", rate_copy.copy(4096), rate_copy.PROBES[0], bytes=8192, nodes=5, pool=3 * 4096),
    "empty": measures.Measure("empty", "", rate_copy.empty(2, 384, 200 * 1024), rate_copy.PROBES[1], nodes=5, pool=16),
    "wgmma": measures.Measure("wgmma", "", rate_wgmma.resident(64, 2, 2, 2, cycles=True), rate_wgmma.PROBES[0], flops=1, cycles_at=65536, products=32),
    "im2col": measures.Measure("im2col", "", rate_loads.im2col(16, (2, 9, 11), 2, 2, 2, show=False), rate_loads.PROBES[0], bytes=1, cycles_at=0),
    "l2": measures.Measure("l2", "", rate_loads.boxes(True, 640, 5, 3, 4, show=False), rate_loads.PROBES[4], bytes=1, cycles_at=0),
    "halo": measures.Measure("halo", "", halo.halo(True, True, 2, cycles=True), halo.PROBES[2], flops=1, cycles_at=4 * 64 * 64 * 23, products=8),
}  # fmt: skip


@simulator
@pytest.mark.parametrize("group", SMALL)
def test_a_measure_is_timed_by_replays_of_a_graph(group, monkeypatch):
    measure = SMALL[group]
    runtime = Device()
    if runtime.module is None:
        pytest.skip("this simulator has no fake runtime")
    torch = FakeTorch(runtime)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(compiled, "_load", lambda: (runtime.module, None))
    monkeypatch.setattr(device, "WARM_SECONDS", 0.0)
    stage = device.Stage()
    samples, cycles = stage.seconds(measure)
    assert samples == pytest.approx([1e-3 / measure.nodes] * device.SAMPLES) and torch.replays == 1 + 2 * device.SAMPLES
    assert torch.graphs == [measure.nodes]
    # the model's clock stands still, and memory was filled with ones
    assert cycles == ([] if measure.cycles_at is None else [0] * measure.probe.grid[0])
    if group == "copy":
        x, y = (stage.held[f"{name} False", 3 * 4096].array for name in "xy")
        np.testing.assert_array_equal(x, y)
    assert runtime.damaged == 0


def test_every_problem_of_the_suite_is_there_once_and_the_largest_come_first():
    layers = cudnn_kernels.layers()
    assert len({str(problem) for _, problem, _ in layers}) == len(layers)
    work = [count * cudnn_kernels.work(problem) for _, problem, count in layers]
    assert work == sorted(work, reverse=True)


def test_past_the_deadline_a_problem_says_so():
    rows = list(cudnn_kernels.measured(0.0))
    assert len(rows) == len(cudnn_kernels.layers()) and {row["reason"] for row in rows} == {"the time for it was over"}


def test_kernels_of_a_problem_are_named_by_torch():
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    found = cudnn_kernels.kernels(dataclasses.replace(cudnn_kernels.layers(1)[-1][1], n=1), "cpu")
    assert found and all(kernel["seconds"] > 0 and kernel["launches"] > 0 for kernel in found)
