"""What all tests share: the engines they run on, and hypothesis' settings."""

from __future__ import annotations

import importlib

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
def door(engine):
    """The public functions on one engine, or the reference dressed as them."""
    from doors import Public, Reference

    return Reference() if engine == "reference" else Public(engine)


#: counted by test_kernels.py -> what the last lines of a run call it
COUNTED = {
    "simulated_exact": "problems bit-exact on the simulator",
    "simulated_launches_exact": "kernel runs of them, between red zones",
    "simulated_bounded": "kernel runs on random floats within their bound",
    "instances": "instances of kernels, each of which ran",
    "beyond_2e31": "launches on operands of more than 2^31 elements",
    "batch_invariant": "batch sizes that gave every image the bits that it has alone",
    "injected_faults": "faults injected, each told, with nothing left behind",
    "conformance_outputs": "outputs recorded on GPUs, replayed",
}


def pytest_terminal_summary(terminalreporter):
    """Print what the run proved, in figures."""
    totals = dict.fromkeys(COUNTED, 0)
    worst = 0.0
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name in totals:
                totals[name] += value
            elif name == "worst_ratio":
                worst = max(worst, value)
    if any(totals.values()):
        terminalreporter.section("proved without a GPU")
        for name, text in COUNTED.items():
            terminalreporter.write_line(f"{totals[name]:8,} {text}")
        terminalreporter.write_line(f"{worst:8.3f} worst error, in units of the a priori bound")
