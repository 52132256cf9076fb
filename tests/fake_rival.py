"""A rival that is the array path under another name, as slow and as wrong as a test asks, or absent."""

from __future__ import annotations

import functools
import time

from atrous.bench import rivals
from atrous.bench.contest import Contestant, Unsupported
from atrous.bench.rivals import atrous_plans


class Rival:
    """A plug-in of `atrous.bench.rivals`."""

    __name__ = "atrous.bench.rivals.fake"

    def __init__(self, name="fake", seconds=0.0, spoil=None, absent=None, refuses=None, fails=None):
        self.NAME = name
        self.seconds, self.spoil, self.absent, self.refuses, self.fails = seconds, spoil, absent, refuses, fails
        self.calls = 0
        self.before = lambda problem: None  # what a test lets happen at a call

    def available(self, device):
        return self.absent

    def version(self):
        return "1.0"

    def contestants(self, problem, inputs, device):
        if self.refuses:
            raise Unsupported(self.refuses)
        if self.fails:
            raise MemoryError(self.fails)
        compute, last = atrous_plans.functional(problem, inputs, "arrays"), []

        def call():
            self.calls += 1
            self.before(problem)
            last[:] = [compute()]
            time.sleep(self.seconds)

        def output():
            y = last[0].copy()
            if self.spoil:
                self.spoil(y)
            return y

        return [Contestant(f"{self.NAME} mode", call, output)]


def install(monkeypatch, *fakes):
    """Make fakes all the rivals that there are."""
    known = {f"fake_{number}": fake for number, fake in enumerate(fakes)}
    real = rivals.module
    monkeypatch.setattr(rivals, "ORDER", (rivals.OURS, *known))
    monkeypatch.setattr(rivals, "module", functools.partial(lambda name: known[name] if name in known else real(name)))
    return fakes
