"""Injects a fault at every numbered call of the fake CUDA runtime, one at a time, and checks what is left behind.

A clean run of a door (a public function, the making of a plan, a plan's call) counts its calls; then for every n the
n-th call fails. Demanded each time: a typed error whose sentence names the operation; red zones intact and inputs
unchanged; not a byte lost; the failed call's arrays let go; and the next call right, bit for bit. A launch is failed a
second way: it does nothing, and every later call fails until a reset, as after a fault inside a kernel.

What a fake cannot show is said in fake_device.py. Run it: `python tests/proof/faults.py [--problems N] [--json FILE]`.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import re
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fake_cupy
import fake_device
from doors import Public, run

import atrous
from atrous import repeats, testing
from atrous.interop import numpy_dtype
from atrous.plan import is_named_weighting
from atrous.problem import Conv2dProblem, parse
from atrous.sampling import random_problem

ENGINES = ("compiled", "runtime", "arrays")
FIXED = (
    "n2c8h5w4_k6r3s2_pad1_f32_scale_bias_residual_relu",
    "n1c8h4w4_k8r1s1_f16_bias",
    "n2c3h6w5_max_r3s3_pad1_stride2_f16_indices",
    "n1c4h5w5_gaussian_r3s3_stride1_f32",
)
ERRORS = (fake_device.UNKNOWN, fake_device.INVALID_VALUE, fake_device.OUT_OF_MEMORY)
#: calls whose failure the call survives: the kernel is there already, or the error that is told is another
SURVIVED = {"nvrtcDestroyProgram", "nvrtcGetProgramLog"}
SENTENCE = re.compile(r"\[(plan_)?(conv2d|\w*pool2d)\] .+; expected .+; .+\.", re.DOTALL)


def words_of(problem):
    """Return the options that every door of a problem takes."""
    top, bottom, left, right = problem.pads
    return {"stride": problem.stride, "dilation": problem.dilation, "layout": problem.layout, "padding": ((top, bottom), (left, right))}


def plan_of(problem, arrays):
    """Return a plan for the problem, made by the public functions."""
    words = words_of(problem)
    if isinstance(problem, Conv2dProblem):
        for name in ("groups", "padding_mode", "weight_layout", "activation", "precision", "out_dtype", "zero_point", "out_zero_point", "residual"):
            words[name] = getattr(problem, name)
        return atrous.plan_conv2d(problem.x_shape, arrays["weight"], arrays.get("bias"), scale=arrays.get("scale"), **words)
    words["ceil_mode"] = problem.ceil_mode
    taken = {"max": ("nan", "return_indices"), "avg": ("count_include_pad", "divisor"), "weighted": ("sigma", "normalize")}
    words |= {name: getattr(problem, name) for name in taken.get(problem.kind, ())}
    if problem.kind == "lp":
        words["p"] = problem.power
    if problem.kind == "weighted":
        words["weights"] = problem.weighting
    return atrous.plan_pool2d(problem.x_shape, (problem.r, problem.s), problem.kind, dtype=problem.dtype, **words)


class Call:
    """A public function on fresh arrays."""

    needs_plan = False

    def __init__(self, case, arrays):
        self.case = case

    def __call__(self, arrays):
        return run(Public(None), self.case.problem, arrays)


class CallOut(Call):
    """A public function that writes to out=."""

    def __call__(self, arrays):
        return self.case.call_out(arrays)


class CalledAgain(Call):
    """A later call of a public function, which it remembers."""

    def __init__(self, case, arrays):
        super().__init__(case, arrays)
        for _ in range(2):
            self(arrays)


class CalledAgainOut(CalledAgain, CallOut):
    """The same with out=."""


class Making(Call):
    """A plan made, and called once."""

    needs_plan = True

    def __call__(self, arrays):
        return self.planned(plan_of(self.case.problem, arrays), arrays)

    def planned(self, plan, arrays, **words):
        return plan(arrays["x"], residual=arrays.get("residual"), **words)


class Planned(Making):
    """The first call of a plan."""

    def __init__(self, case, arrays):
        super().__init__(case, arrays)
        self.plan = plan_of(case.problem, arrays)

    def __call__(self, arrays):
        return self.planned(self.plan, arrays)


class PlannedOut(Planned):
    """The first call of a plan with out=."""

    def __call__(self, arrays):
        return self.planned(self.plan, arrays, out=arrays["out"])


class Recalled(PlannedOut):
    """A later call of a plan with out=, which it remembers."""

    def __init__(self, case, arrays):
        super().__init__(case, arrays)
        for _ in range(2):
            self(arrays)


#: door -> whether all caches are emptied before the call that fails
DOORS = {"call, cold": (Call, True), "call": (Call, False), "call out=": (CallOut, False)}
DOORS |= {"call again": (CalledAgain, False), "call out= again": (CalledAgainOut, False)}
DOORS |= {"plan, cold": (Making, True), "plan": (Making, False)}
DOORS |= {"plan(x), cold": (Planned, True), "plan(x)": (Planned, False), "plan(x, out=)": (PlannedOut, False), "plan(x, out=) again": (Recalled, False)}


def same(got, want):
    """Return whether outputs have the same bits."""
    pairs = zip(got, want) if isinstance(want, tuple) else [(got, want)]
    return all(np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes() for a, b in pairs)


def copied(y):
    return tuple(np.array(part) for part in y) if isinstance(y, tuple) else np.array(y)


@dataclasses.dataclass
class Tally:
    """What was injected and what came of it."""

    faults: int = 0
    survived: int = 0
    sites: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    doors: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    engines: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    errors: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    wrong: list = dataclasses.field(default_factory=list)

    def report(self):
        counts = {name: dict(getattr(self, name).most_common()) for name in ("sites", "doors", "engines", "errors")}
        return {"faults": self.faults, "survived": self.survived, "wrong": self.wrong, **counts}


class Case:
    """One problem on one engine, its arrays on one of the two fake devices; the first is always the current one."""

    def __init__(self, problem, engine, device, cupy, tally, where=0):
        self.problem, self.engine, self.device, self.cupy, self.tally, self.where = problem, engine, device, cupy, tally, where
        self.inputs = testing.exact_inputs(problem, 1)
        self.has_table = is_named_weighting(problem)  # a plan keeps its table of taps
        clean = copied(run(Public(None), problem, self.arrays()))
        self.verify(clean)
        self.clean = clean

    def verify(self, y):
        """Hold the clean run to the reference."""
        want = testing.expected_output(self.problem, self.inputs)
        bound = testing.tolerance(self.problem, self.inputs)
        first = (y[0], want[0]) if isinstance(want, tuple) else (y, want)
        testing.assert_matches(*first, self.problem, bound)
        if isinstance(want, tuple):
            np.testing.assert_array_equal(y[1], want[1])

    def arrays(self):
        """Return fresh operands, and outputs for out=."""
        with self.cupy.cuda.Device(self.where):
            made = {name: self.cupy.asarray(array) for name, array in self.inputs.items()}
            out = self.cupy.empty(self.problem.y_shape, numpy_dtype(self.problem.out_dtype))
            if getattr(self.problem, "return_indices", False):
                out = (out, self.cupy.empty(self.problem.y_shape, np.dtype(self.problem.index_dtype)))
        made["out"] = out
        return made

    def call_out(self, arrays):
        return run(WithOut(arrays["out"]), self.problem, arrays)

    def sites(self, door, cold):
        """Return the names of the calls of a clean run."""
        arrays = self.arrays()
        repeats.forget()
        act = door(self, arrays)
        if cold:
            fake_cupy.forget()
        with self.device.counted() as names:
            y = act(arrays)
        assert same(y, self.clean), f"{self.problem} {self.engine} {door.__name__}: a clean run differs"
        return names

    def inject(self, label, n, site, later):
        """Fail the n-th call of a door and note what is wrong afterwards."""
        door, cold = DOORS[label]
        start = self.device.live_bytes
        kept, lost = self.arrays(), self.arrays()
        repeats.forget()
        act = door(self, kept)
        references = [weakref.ref(array) for array in lost.values() if not isinstance(array, tuple)]
        if cold:
            fake_cupy.forget()
        before = self.device.live_bytes
        self.device.fail(n, ERRORS[n % len(ERRORS)] if site != "cudaMalloc" else fake_device.OUT_OF_MEMORY, later)
        wrong = self.attempt(act, lost, site, later)
        if later:
            wrong += self.attempt(act, lost, "", False)
            self.device.reset(fake_cupy.DEVICES)
        self.device.fail(0)
        if self.cupy.current != 0 and not later and site != "cudaSetDevice":
            wrong.append("another device is current")
        self.cupy.current = 0
        if self.device.live_bytes != before and not (door.needs_plan and self.has_table):
            wrong.append(f"{self.device.live_bytes - before} bytes lost")
        unchanged = all(same(lost[name], array) for name, array in self.inputs.items())
        lost.clear()
        if any(reference() is not None for reference in references):
            wrong.append("arrays of the failed call are kept")
        again = copied(act(kept))
        if not same(again, self.clean):
            wrong.append("the next call is wrong")
        if not unchanged or not all(same(kept[name], array) for name, array in self.inputs.items()):
            wrong.append("an input changed")
        del act, kept
        if self.device.live_bytes != start:
            wrong.append(f"{self.device.live_bytes - start} bytes never freed")
        if self.device.damaged:
            wrong.append("a red zone is damaged")
        self.note(label, n, site, later, wrong)

    def attempt(self, act, arrays, site, later):
        """Make the call that should fail; return what is wrong with the way it ends."""
        try:
            y = act(arrays)
        except Exception as failure:
            if not isinstance(failure, atrous.CudaError):
                return [f"{type(failure).__name__} is not a CudaError: {failure}"]
            self.tally.errors[type(failure).__name__] += 1
            return [] if SENTENCE.fullmatch(str(failure)) else [f"no operation in {str(failure)!r}"]
        if later:
            return []
        self.tally.survived += 1
        if site not in SURVIVED:
            return [f"the fault at {site or 'every call'} went unseen"]
        return [] if same(y, self.clean) else ["a survived fault gave a wrong result"]

    def note(self, label, n, site, later, wrong):
        tally = self.tally
        tally.faults += 1
        tally.sites[site] += 1
        tally.doors[label] += 1
        tally.engines[self.engine] += 1
        if wrong:
            how = "later" if later else "at once"
            tally.wrong.append(f"{self.problem} {self.engine}, {label}, call {n} {site} failing {how}: {'; '.join(wrong)}")


class WithOut(Public):
    """The public functions with out= filled in."""

    def __init__(self, out):
        super().__init__(None)
        self.out = out

    def __getattr__(self, name):
        function = super().__getattr__(name)
        return lambda *given, **words: function(*given, out=self.out, **words)


def problems(count):
    """Return the fixed problems and random ones that a kernel takes."""
    found = [parse(case) for case in FIXED]
    seed = 0
    while len(found) < count:
        problem = random_problem(seed)
        seed += 1
        if 0 < np.prod(problem.y_shape) <= 400 and np.prod(problem.x_shape) <= 2000:
            found.append(problem)
    return found[:count]


def inject_everywhere(case, doors=DOORS, most=None):
    """Fail every call of every door of one case; at most so many a door, spread evenly."""
    problem, engine = case.problem, case.engine
    for label in doors:
        door, cold = DOORS[label]
        if door.needs_plan and getattr(problem, "weighting", None) == "custom":
            continue
        sites = list(enumerate(case.sites(door, cold), 1))
        step = 1 if most is None else max(1, len(sites) // most)
        for n, site in sites[::step]:
            case.inject(label, n, site, False)
            if "Launch" in site and engine != "arrays":
                case.inject(label, n, site, True)


def prove(count, engines=ENGINES, most=24, doors=DOORS):
    """Return the tally of all faults in this many problems on every engine."""
    tally = Tally()
    for engine in engines:
        with pytest.MonkeyPatch.context() as patch:
            device, cupy = fake_cupy.serve_device(patch, engine)
            for position, problem in enumerate(problems(count)):
                fake_cupy.forget()
                inject_everywhere(Case(problem, engine, device, cupy, tally, position % fake_cupy.DEVICES), doors, most)
        fake_cupy.forget()
    return tally


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=16)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    started = time.perf_counter()
    report = prove(options.problems).report()
    report["seconds"] = round(time.perf_counter() - started, 1)
    text = json.dumps(report, indent=1)
    print(text)
    if options.json:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    return 1 if report["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
