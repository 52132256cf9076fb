"""What a user of the CPU path feels: import stays quick and light, and the script that measures it measures that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import cpu_facts  # noqa: E402

#: CPU seconds, four times the budget of the wall clock: machines that test are slow and busy
GENEROUS_SECONDS = 4 * cpu_facts.IMPORT_BUDGET_SECONDS
HEAVY = {"cupy", "torch", "jax", "tensorflow", "onnx", "matplotlib", "PIL", "rich", "importlib.metadata"}
HEAVY |= {"atrous.bench", "atrous.cli", "atrous.nets"}


def test_import_is_quick_and_loads_nothing_heavy():
    text = "import time, sys, json; import atrous; print(json.dumps([time.process_time(), sorted(sys.modules)]))"
    runs = [json.loads(subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    assert min(seconds for seconds, _ in runs) < GENEROUS_SECONDS
    bare = set(json.loads(subprocess.run([sys.executable, "-c", "import sys, json, numpy; print(json.dumps(list(sys.modules)))"], capture_output=True).stdout))
    assert (set(runs[0][1]) - bare) & HEAVY == set()


def test_the_version_is_there_when_asked_for():
    import atrous

    assert isinstance(atrous.__version__, str) and atrous.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'versoin'"):
        _ = atrous.versoin


@pytest.mark.parametrize("what", ("import", "first call", "peak memory"))
def test_a_figure_comes_from_a_fresh_process(what):
    rows, skipped = cpu_facts.timed(["atrous", "numpy"], 1, lambda words: None)
    assert skipped == []
    found = {row["package"]: row for row in rows if row["what"] == what}
    assert set(found) == ({"atrous"} if what == "first call" else {"atrous", "numpy"})
    for row in found.values():
        assert len(row["values"]) == 1
        assert (1e7 < row["values"][0] < 1e9) if row["unit"] == "bytes" else (0.001 < row["values"][0] < 60)
    assert ("budget" in found["atrous"]) == (what == "import")


def test_memory_is_of_the_process_alone_and_counts_what_it_held():
    ballast = bytearray(300_000_000)  # of this process; a child must not be charged with it
    text = f"print(1024 * int({cpu_facts.MEMORY}))"
    small, large = cpu_facts.fresh(text)[0], cpu_facts.fresh(f"x = b'x' * 100_000_000; del x; {text}")[0]
    assert small < 100_000_000 < large < len(ballast)


def test_a_package_that_fails_is_left_out_with_its_reason(monkeypatch):
    monkeypatch.setitem(cpu_facts.CODE, "broken", ("raise SystemError('it is broken')", "", ""))
    rows, skipped = cpu_facts.timed(["broken"], 1, lambda words: None)
    assert rows == [] and "it is broken" in skipped[0]["reason"]
    assert cpu_facts.presence(["json", "no_such_package"]) == {"json": None, "no_such_package": "no_such_package is not installed"}


def test_install_size_counts_the_files_of_a_distribution():
    assert cpu_facts.installed_bytes(["no-such-distribution"]) is None
    assert 100_000 < cpu_facts.installed_bytes(["pytest"]) < 100_000_000
    both = cpu_facts.installed_bytes(["pytest", "numpy", "no-such-distribution"])
    assert both == cpu_facts.installed_bytes(["pytest"]) + cpu_facts.installed_bytes(["numpy"])


def test_roofs_are_rates(monkeypatch):
    monkeypatch.setattr(cpu_facts, "ROOFS", cpu_facts.ROOFS.replace(f"({cpu_facts.PRODUCT_SIZE}, ", "(256, ").replace(f"{cpu_facts.PRODUCT_SIZE})", "256)"))
    found = cpu_facts.roofs(with_torch=False)
    assert found["flops_per_second"] > 1e8 and 1e8 < found["bytes_per_second"] < 1e13
    assert "NumPy's" in found["product"] and "256 MiB" in found["copy"]
