"""What all tests share: the engines they run on, and hypothesis' settings."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("atrous", deadline=None, derandomize=True, max_examples=200)
settings.load_profile("atrous")

#: What serves NumPy arrays; the other engines take device arrays, and their tests are marked gpu.
ENGINES = ("reference", "arrays", "simulated")


def pytest_configure(config):
    config.addinivalue_line("markers", "gpu: needs an NVIDIA GPU")


def why_not(engine):
    """Return why an engine cannot run here, or None."""
    if engine == "reference":
        return None
    return importlib.import_module(f"atrous.engines.{engine}").available()


@pytest.fixture(params=ENGINES)
def engine(request):
    """Every engine that serves NumPy arrays, and the reference."""
    reason = why_not(request.param)
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.fixture
def breakable_device(monkeypatch):
    """The fake CUDA runtime as the GPU of the compiled engine, for tests that break it for good: it is whole again after each."""
    import fake_cupy
    import fake_device

    if fake_device.library()[0] is None:
        pytest.skip("the simulator, which holds the fake runtime, was not built")
    found, _ = fake_cupy.serve_device(monkeypatch)
    yield found
    found.reset()
    fake_cupy.forget()


@pytest.fixture
def door(engine):
    """The public functions on one engine, or the reference dressed as them."""
    from doors import Public, Reference

    return Reference() if engine == "reference" else Public(engine)


#: what tests count with record_property -> what the last lines of a run call it
COUNTED = {
    "simulated_exact": "problems bit-exact on the simulator",
    "simulated_launches_exact": "kernel runs of them, between red zones",
    "simulated_bounded": "kernel runs on random floats within their bound",
    "instances": "instances of kernels, each of which ran",
    "beyond_2e31": "launches on operands of more than 2^31 elements",
    "batch_invariant": "batch sizes that gave every image the bits that it has alone",
    "injected_faults": "faults injected, each told, with nothing left behind",
    "conformance_outputs": "outputs recorded on GPUs, replayed",
    "bad_calls": "bad calls refused in a typed sentence, nothing launched",
}


def pytest_addoption(parser):
    parser.addoption("--figures", metavar="FILE", help="write what the tests counted to FILE, as JSON")


def pytest_terminal_summary(terminalreporter, config):
    """Print what the run proved, in figures; counts add up over tests, of a figure called worst_... the largest stays."""
    totals = {}
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if isinstance(value, (int, float)):
                totals[name] = max(totals.get(name, value), value) if name.startswith("worst_") else totals.get(name, 0) + value
    if path := config.getoption("--figures"):
        failed = sum(len(terminalreporter.stats.get(word, [])) for word in ("failed", "error"))
        totals.update({"tests_" + word: len(terminalreporter.stats.get(word, [])) for word in ("passed", "skipped")}, tests_failed=failed)
        Path(path).write_text(json.dumps(totals, indent=1) + "\n")
    if any(name in totals for name in COUNTED):
        terminalreporter.section("proved without a GPU")
        for name, text in COUNTED.items():
            if name in totals:
                terminalreporter.write_line(f"{totals[name]:8,} {text}")
        if "worst_ratio" in totals:
            terminalreporter.write_line(f"{totals['worst_ratio']:8.3f} worst error, in units of the a priori bound")
