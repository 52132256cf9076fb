"""What a GPU gave, replayed on the simulator; and the record and the replay themselves, on a recording that is thrown away."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
from pathlib import Path

import fake_device
import ml_dtypes
import numpy as np
import pytest

from atrous import EngineUnavailable, conformance, testing
from atrous.cli import main
from atrous.engines import runtime, simulated
from atrous.probes import every_probe
from atrous.probes import warp as probes_of_warp
from atrous.redzones import Host

RECORDINGS = sorted((Path(__file__).parent / "conformance").glob("*.npz"))
PROBES = every_probe()

pytestmark = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))


def test_recordings_of_devices_replay_bit_for_bit(record_property):
    if not RECORDINGS:
        pytest.skip("0 recorded: no GPU has run `atrous verify --record` yet")
    compared, devices, wrong = 0, [], []
    for path in RECORDINGS:
        facts = conformance.facts_of(path)
        assert facts["engine"] in ("compiled", "runtime"), f"{path.name} was recorded on no device"
        count, differences = conformance.replay(path)
        compared, devices = compared + count, [*devices, f"{facts['device']['name']}, driver {facts['device']['driver']}"]
        wrong += [f"{path.name}: {difference}" for difference in differences]
    record_property("conformance_outputs", compared)
    print(f"{compared} outputs recorded on {'; '.join(devices)}")
    assert not wrong, "\n".join(wrong)


def test_every_kernel_of_a_probe_is_built_and_stands_in_its_header():
    built = {name for name in simulated._load()[0].kernels() if name.startswith("probe_")}
    assert {probe.kernel for probe in PROBES.values()} <= built
    headers = runtime.kernel_headers()
    for probe in PROBES.values():
        text = (headers / probe.header).read_text()
        assert re.search(rf"void (__\w+\([^()]*\) )?{probe.kernel.partition('<')[0]}\(", text), f"{probe.name}: {probe.header} does not hold {probe.kernel}"


@pytest.mark.parametrize("name", PROBES)
def test_inputs_follow_from_the_seed_and_y_is_written(name):
    probe = PROBES[name]
    once, again = probe.draw(3), probe.draw(3)
    assert set(once) <= {"x", "w"} and once.keys() == again.keys()
    for operand, array in once.items():
        assert array.tobytes() == again[operand].tobytes()
    y = conformance.run_probe(probe, "simulated", 3)
    assert y.shape == probe.output[0] and y.dtype == testing.numpy_dtype(probe.output[1])


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A recording of the simulator by itself; nothing like it may be kept among the devices'."""
    path = tmp_path_factory.mktemp("recording") / "of_the_simulator.npz"
    conformance.record(path, "simulated", seeds=1)
    return path


def test_a_recording_replays(recording):
    count, wrong = conformance.replay(recording)
    assert (count, wrong) == (len(PROBES), [])
    facts = conformance.facts_of(recording)
    assert facts["engine"] == "simulated" and facts["left_out"] == [] and set(facts["entries"]) == {f"{name}.0" for name in PROBES}


def test_one_bit_of_a_recording_is_missed(recording, tmp_path):
    with np.load(recording) as file:
        arrays = dict(file)
    arrays["ballot.0"] = arrays["ballot.0"].copy()
    arrays["ballot.0"][4 * 7] ^= 1
    path = tmp_path / "flipped.npz"
    np.savez_compressed(path, **arrays)
    _, (difference,) = conformance.replay(path)
    assert difference.startswith("ballot.0: 1 of 64 elements differ; first y[7] is ") and "recorded" in difference


def test_a_probe_that_changed_must_be_recorded_again(recording):
    changed = {**PROBES, "ballot": dataclasses.replace(PROBES["ballot"], size=(11,))}
    del changed["rounds"]
    _, wrong = conformance.replay(recording, probes=changed)
    assert [difference.partition(";")[0] for difference in wrong] == [
        "ballot.0: its inputs or its launch are no longer those recorded",
        "rounds.0: no probe is called 'rounds' any more",
    ]


def test_a_bounded_probe_may_differ_by_its_bound(recording):
    name = "silu_float32"
    at_zero = {**PROBES, name: dataclasses.replace(PROBES[name], bound=lambda given: -1.0)}
    assert conformance.replay(recording, probes=at_zero)[1] == [], "equal numbers are within any bound"
    with np.load(recording) as file:
        stored = file[f"{name}.0"].view(np.float32) + np.float32(1e-3)
    difference = conformance.compare(PROBES[name], 0, stored.view(np.uint8), "simulated")
    assert difference is not None and "elements differ" in difference
    wide = dataclasses.replace(PROBES[name], bound=lambda given: 1.1e-3)
    assert conformance.compare(wide, 0, stored.view(np.uint8), "simulated") is None


def test_a_probe_that_writes_beside_y_is_seen():
    probe = dataclasses.replace(PROBES["ballot"], output=((63,), "uint32"))
    with pytest.raises(RuntimeError, match=r"\[ballot\] y: \d bytes written after it, the nearest 1 bytes after its last"):
        conformance.run_probe(probe, "simulated", 0)


def test_a_device_records_what_it_can_run(tmp_path, monkeypatch):
    monkeypatch.setattr(conformance, "run_probe", functools.partial(run_as, "simulated", conformance.run_probe))
    monkeypatch.setitem(conformance.ENGINES, "compiled", simulated)
    monkeypatch.setattr(conformance, "memory_for", lambda engine: Host())
    everywhere = {name: probe for name, probe in PROBES.items() if probe.capability == 80}
    hopper_only = {**everywhere, "ballot": dataclasses.replace(PROBES["ballot"], capability=90)}
    for capability, left_out in (((8, 0), ["ballot"]), ((9, 0), []), ((12, 0), ["ballot"])):
        device = {"name": "a device", "driver": "1", "capability": capability}
        facts = conformance.record(tmp_path / "a.npz", "compiled", 1, device, hopper_only)
        assert facts["left_out"] == left_out


def failing(words, failure):
    """Return a run_probe that raises for these probes."""
    inner = conformance.run_probe

    def run_probe(probe, engine, seed):
        if probe.name in words:
            raise failure
        return inner(probe, engine, seed)

    return run_probe


FEW = {name: PROBES[name] for name in ("ballot", "rounds", "shuffles_int32")}


def test_a_failed_probe_is_noted_and_does_not_lose_the_others(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    monkeypatch.setattr(conformance, "run_probe", failing(["rounds"], RuntimeError("[rounds] a fault, says the test")))
    facts = conformance.record(path, "simulated", 2, probes=FEW)
    assert facts["failures"] == {"rounds.0": "[rounds] a fault, says the test", "rounds.1": "[rounds] a fault, says the test"}
    monkeypatch.undo()
    assert conformance.facts_of(path) == json.loads(json.dumps(facts)) and facts["lost"] is None
    assert set(facts["entries"]) == {"ballot.0", "ballot.1", "shuffles_int32.0", "shuffles_int32.1"}
    assert conformance.replay(path) == (4, [])


def test_what_was_recorded_is_kept_whatever_ends_the_recording(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    monkeypatch.setattr(conformance, "run_probe", failing(["shuffles_int32"], KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        conformance.record(path, "simulated", 1, probes=FEW)
    monkeypatch.undo()
    assert conformance.replay(path) == (2, [])


@pytest.fixture
def device(breakable_device):
    return breakable_device


def test_a_lost_device_ends_a_recording_and_leaves_what_it_had(device, tmp_path, monkeypatch, capsys):
    """No probe after the one that broke the device is blamed."""
    inner = conformance.run_probe

    def run_probe(probe, engine, seed):
        if probe.name == "rounds":
            device.fail(9, fake_device.ILLEGAL_ADDRESS, later=True)
        return inner(probe, engine, seed)

    monkeypatch.setattr(conformance, "run_probe", run_probe)
    monkeypatch.setattr(conformance, "every_probe", lambda: FEW)
    path = tmp_path / "a.npz"
    code = main(["verify", "--record", str(path)])
    facts = conformance.facts_of(path)
    assert code == 1 and facts["lost"] == "rounds.0" and set(facts["failures"]) == {"rounds.0"} and set(facts["entries"]) == {"ballot.0", "ballot.1"}
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("2 outputs of probes on ") and printed[1].startswith("failed: rounds.0: ") and "IllegalAddress" in printed[1]
    assert printed[2] == "the device was lost at rounds.0, and nothing ran after it"


def run_as(engine, function, probe, _, seed):
    return function(probe, engine, seed)


def test_recording_without_a_device_is_refused(tmp_path):
    if conformance.ENGINES["compiled"].available() is None:
        pytest.skip("a device is here")
    with pytest.raises(EngineUnavailable, match="engine 'compiled' cannot run here"):
        conformance.record(tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


# ---- the probes of warp.cuh against NumPy


def probed(name, seed=0):
    probe = PROBES[name]
    given = probe.draw(seed)
    return given, conformance.run_probe(probe, "simulated", seed)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_shuffles(dtype):
    given, y = probed(f"shuffles_{dtype}")
    warps = given["x"].reshape(-1, 32)
    lanes = np.arange(32)
    down = np.where(lanes + 3 < 32, lanes + 3, lanes)  # past the last lane: one's own
    named = np.take_along_axis(warps, warps.astype(np.int64) & 31, axis=1)
    for row, expected in enumerate([warps[:, lanes ^ 5], warps[:, down], np.broadcast_to(warps[:, 37 % 32, None], warps.shape), named]):
        np.testing.assert_array_equal(y[row].reshape(-1, 32), expected)


def test_ballot():
    given, y = probed("ballot")
    value = given["x"].reshape(-1, 32) * np.where(np.arange(32) > 12, -1, 1)
    bits = ((value > 0).astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(1)
    np.testing.assert_array_equal(y.reshape(-1, 32), np.broadcast_to(bits[:, None], (2, 32)))


def test_rounds():
    given, y = probed("rounds")
    value = given["x"].copy()
    for _ in range(20):
        value[1:] += value[:-1].copy()
    np.testing.assert_array_equal(y, value)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "uint8"])
def test_packed_maxima(dtype):
    """To the bit: +0 above -0, a NaN as the format's canonical one, and a number above NaN where numbers are asked for."""
    given, y = probed(f"packed_max_{dtype}")
    word = {1: np.uint8, 2: np.uint16, 4: np.uint32}[np.dtype(testing.numpy_dtype(dtype)).itemsize]
    for one, other, *found in zip(*(bits.view(word).tolist() for bits in (given["x"], given["w"], y[0], y[1])), strict=True):
        with np.errstate(invalid="ignore"):  # of NaN whose first bit of mantissa is 0
            a, b = (np.array(bits, word).view(testing.numpy_dtype(dtype)).astype(np.float64).item() for bits in (one, other))
        canonical = 2 ** (8 * np.dtype(word).itemsize - 1) - 1
        above = one if a > b or (a == b and not math.copysign(1, a) < 0) else other
        propagated = canonical if math.isnan(a) or math.isnan(b) else above
        number = canonical if math.isnan(a) and math.isnan(b) else other if math.isnan(a) else one if math.isnan(b) else above
        assert found == [propagated, number], (hex(one), hex(other))


@pytest.mark.parametrize("source", ["float32", "float64"])
@pytest.mark.parametrize("target", probes_of_warp.CASTS)
def test_casts(source, target):
    given, y = probed(f"cast_{source}_{target}")
    x = given["x"]
    if target.startswith("int") or target == "uint8":
        limits = np.iinfo(target)
        exact = [0 if math.isnan(v) else max(limits.min, min(limits.max, round(v) if math.isfinite(v) else int(math.copysign(2**70, v)))) for v in x.tolist()]
        assert y.tolist() == exact
        return
    with np.errstate(over="ignore"):
        expected = x.astype(testing.numpy_dtype(target)) if target != "bfloat16" else to_bfloat16(x.astype(np.float64))
    np.testing.assert_array_equal(y.astype(np.float64), expected.astype(np.float64))
    assert (np.signbit(y) == np.signbit(expected))[~np.isnan(x)].all()


def to_bfloat16(x):
    """Round float64 to bfloat16 once: the nearer of the two neighbours, at a tie the one with an even last bit."""
    grid = np.arange(0x7F81, dtype=np.uint16).view(ml_dtypes.bfloat16).astype(np.float64)
    grid[0x7F80] = 2.0**128  # where infinity begins to be nearer
    magnitude = np.where(np.isfinite(x), np.abs(x), 0)
    above = np.minimum(np.searchsorted(grid, magnitude), 0x7F80)
    below = np.maximum(above - 1, 0)
    low, high = magnitude - grid[below], grid[above] - magnitude
    bits = np.where((low < high) | ((low == high) & (below % 2 == 0)), below, above).astype(np.uint16)
    bits = np.where(np.isinf(x), 0x7F80, np.where(np.isnan(x), 0x7FC0, bits)).astype(np.uint16)
    return (bits | (np.signbit(x).astype(np.uint16) << 15)).view(ml_dtypes.bfloat16)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", probes_of_warp.ACTIVATIONS)
def test_activations(name, dtype):
    given, y = probed(f"{name}_{dtype}")
    bound = PROBES[f"{name}_{dtype}"].bound(given)
    for x, got, allowed in zip(given["x"].tolist(), y.tolist(), bound.tolist(), strict=True):
        assert abs(got - scalar_activation(name, x, *given["w"].tolist())) <= allowed, (name, x)


def scalar_activation(name, x, a, b):
    sigmoid = lambda z: 1 / (1 + math.exp(-z)) if z > -700 else 0.0  # noqa: E731
    forms = {
        "relu": lambda: max(x, 0.0),
        "relu6": lambda: min(max(x, 0.0), 6.0),
        "leaky_relu": lambda: x if x > 0 else a * x,
        "silu": lambda: x * sigmoid(x),
        "gelu": lambda: 0.5 * x * math.erfc(-x / math.sqrt(2)),
        "gelu_tanh": lambda: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        "hardswish": lambda: x * min(max(x + 3, 0.0), 6.0) / 6,
        "sigmoid": lambda: sigmoid(x),
        "tanh": lambda: math.tanh(x),
        "clip": lambda: min(max(x, a), b),
    }
    return forms[name]()
