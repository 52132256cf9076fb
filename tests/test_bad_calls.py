"""Every bad call is refused before anything runs, in one typed sentence; what the caller passed stays as it was."""

from __future__ import annotations

import collections
import importlib.util
import re
import warnings

import bad_calls_arrays
import bad_calls_numbers
import bad_calls_outputs
import bad_calls_pairs
import bad_calls_plans
import bad_calls_problems
import bad_calls_separable
import numpy as np
import pytest
from bad_calls_rows import BASES, OUT_SHAPES, make

import atrous
from atrous.engines import arrays, compiled, runtime, simulated

ROWS = bad_calls_numbers.ROWS + bad_calls_arrays.ROWS + bad_calls_problems.ROWS + bad_calls_outputs.ROWS + bad_calls_pairs.ROWS + bad_calls_plans.ROWS
ROWS += bad_calls_separable.ROWS
FORM = re.compile(r"\[(\w+)\] (\S.*); expected (\S.*); (\S.*[^.])\.")
SENTINEL = -77.0

pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")


@pytest.fixture
def ran(monkeypatch):
    """The names of engine entry points in the order in which they were called."""
    calls: list[str] = []

    def count(name, result=None):
        def entered(*arguments, **words):
            calls.append(name)
            return result

        return entered

    for engine, entries in ((arrays, ("conv2d", "pool2d")), (compiled, ("prepare",)), (runtime, ("prepare",)), (simulated, ("prepare",))):
        for entry in entries:
            monkeypatch.setattr(engine, entry, count(f"{engine.__name__}.{entry}"))
    monkeypatch.setattr(simulated, "available", lambda: None)  # so that its refusals are the same where it is not built
    return calls


def memory(value):
    """Return every byte of the memory behind an array, or of each array of a tuple; None for anything else."""
    if isinstance(value, (tuple, list)):
        return [memory(entry) for entry in value]
    if isinstance(value, np.ndarray):
        while isinstance(value.base, np.ndarray):
            value = value.base
        return value.tobytes()
    if type(value).__module__ == "torch" and str(value.layout) == "torch.strided" and value.device.type == "cpu":
        return bytes(value.untyped_storage())
    return None


def refused(row, ran, **more):
    """Make the call, check the refusal, and return its message."""
    arguments = {**row.arguments(), **more}
    before = {name: memory(value) for name, value in arguments.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Exception) as caught:
            make(arguments, row.function)
    error = caught.value
    assert type(error) is row.error, f"{type(error).__name__}: {error}"
    assert isinstance(error, atrous.AtrousError)
    assert {name: memory(value) for name, value in arguments.items()} == before
    assert ran == []
    return str(error)


@pytest.mark.parametrize("row", ROWS, ids=[row.identity for row in ROWS])
def test_refused_in_a_sentence(row, ran, record_property):
    if row.needs and importlib.util.find_spec(row.needs) is None:
        pytest.skip(f"{row.needs} is not installed")
    message = refused(row, ran)
    record_property("bad_calls", 1)
    form = FORM.fullmatch(message)
    assert form, message
    assert form[1] == (row.operation or row.function), message
    missing = [word for word in row.words if word not in message]
    assert not missing, f"{missing} not in: {message}"
    assert len(message) < 700, message


@pytest.mark.parametrize("row", [row for row in ROWS if row.function in OUT_SHAPES], ids=lambda row: row.identity)
def test_nothing_is_half_written(row, ran, record_property):
    if row.needs and importlib.util.find_spec(row.needs) is None:
        pytest.skip(f"{row.needs} is not installed")
    given = row.arguments()
    if given.get("out") is not None:
        return  # the row brings its own output, and the other test watches it
    out = np.full(OUT_SHAPES[row.function], SENTINEL, "float32")
    if given.get("return_indices") is True:
        out = (out, np.full(out.shape, 7, "int32"))
    refused(row, ran, out=out)
    record_property("bad_calls", 1)


@pytest.mark.parametrize("function", BASES)
def test_the_spoilt_calls_are_good_before(function):
    make(BASES[function](), function)


@pytest.mark.parametrize("function", OUT_SHAPES)
def test_an_engine_is_seen_when_it_runs(function, ran):
    make(BASES[function](), function)
    of_two = ("pool" in function and "conv" in function) or function == "pooled plan" or "separable" in function
    assert len(ran) == (2 if of_two else 1)


def test_there_are_enough_rows():
    identities = [row.identity for row in ROWS]
    assert [name for name, times in collections.Counter(identities).items() if times > 1] == []
    assert len(ROWS) >= 1000
    print(f"{len(ROWS)} bad calls of {len({row.function for row in ROWS})} functions")
