"""Runs of the simulator's own test kernels, and the schedules that tests run them in."""

from __future__ import annotations

import importlib
import struct

import pytest

from atrous.engines import simulated

if simulated.available() is not None:
    pytest.skip(str(simulated.available()), allow_module_level=True)

sim = importlib.import_module("atrous._sim")

SCHEDULES = [("in-order", 0), ("reverse", 0), *(("random", seed) for seed in range(12)), *(("greedy", seed) for seed in range(4))]
#: few of each, with every landing
LANDINGS = [(word, seed, landing) for word, seed in [*SCHEDULES[:6], *SCHEDULES[-2:]] for landing in ("latest", "earliest", "random")]


def run(name, *, grid=(1, 1, 1), block=(64, 1, 1), x=None, y=None, count=0, types=(0, 0), shared=0, cluster=(1, 1, 1), blocks=None):
    """Run a test kernel, or only some of its blocks, and return y."""
    prepared = sim.Prepared(name, grid, block, cluster, shared, struct.pack("=QQqii", 0, 0, count, *types), 2)
    pointers = tuple(0 if array is None else array.ctypes.data for array in (x, y))
    if blocks is None:
        prepared.run(pointers, 0)
    else:
        prepared.run_blocks(pointers, blocks)
    return y


def said(name, **how):
    """Return what a run that fails says."""
    with pytest.raises(RuntimeError) as caught:
        run(name, **how)
    return str(caught.value)


@pytest.fixture(autouse=True)
def _in_order():
    sim.set_schedule("in-order", 0)
    yield
    sim.set_schedule("in-order", 0)
