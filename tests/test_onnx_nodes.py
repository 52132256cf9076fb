"""The onnx package's own cases for convolution and pooling pass through the public functions; exceptions are listed by name."""

from __future__ import annotations

import collections
import re

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the onnx package, whose cases these are, is not installed")

from conftest import why_not
from onnx_nodes import EXCEPTIONS, OPERATORS, collect

from atrous import UnsupportedProblem
from atrous.adapters import onnx as adapter

CASES = collect()
TAKEN = [case for case in CASES if case.name not in EXCEPTIONS]
CALLS = [(case, engine) for engine in ("arrays", "simulated") for case in TAKEN]


def run(case, inputs, engine):
    """Return the outputs of a model."""
    values = {**case.constants, **inputs}
    for node in case.nodes:
        given = [values[name] for name in node.inputs if name]
        if node.operator == "Unsqueeze":
            made = (np.expand_dims(given[0], tuple(node.attributes["axes"])),)
        elif node.operator == "Squeeze":
            made = (np.squeeze(given[0], tuple(node.attributes["axes"])),)
        elif node.operator == "MaxPool" and len(node.outputs) == 2:
            made = adapter.max_pool(given, node.attributes, indices=True, engine=engine)
        else:
            made = (adapter.OPERATORS[node.operator](given, node.attributes, engine=engine),)
        values.update(zip(node.outputs, made))
    return [values[name] for name in case.output_names]


@pytest.mark.parametrize(("case", "engine"), CALLS, ids=[f"{case.name}-{engine}" for case, engine in CALLS])
def test_case(case, engine):
    reason = why_not(engine)
    if reason:
        pytest.skip(reason)
    for inputs, expected in case.data_sets:
        outputs = run(case, inputs, engine)
        assert len(outputs) == len(expected)
        for output, wanted in zip(outputs, expected):
            assert type(output) is np.ndarray
            assert output.dtype == wanted.dtype
            np.testing.assert_allclose(output, wanted, rtol=case.rtol, atol=case.atol)


@pytest.mark.parametrize("case", [case for case in CASES if case.name in EXCEPTIONS], ids=lambda case: case.name)
def test_exception_is_declined(case):
    inputs, _ = case.data_sets[0]
    with pytest.raises(UnsupportedProblem, match=re.escape(EXCEPTIONS[case.name][1])):
        run(case, inputs, "arrays")


def test_every_case_is_either_taken_or_excepted(capsys):
    names = {case.name for case in CASES}
    assert set(EXCEPTIONS) <= names, f"no longer shipped: {sorted(set(EXCEPTIONS) - names)}"
    assert len(TAKEN) >= 75 and len(EXCEPTIONS) == 25
    covered = collections.Counter(case.operator for case in TAKEN)
    assert set(covered) >= set(OPERATORS) - {"GlobalLpPool"}  # onnx ships no case of GlobalLpPool
    with capsys.disabled():
        print(f"\nonnx cases: {len(TAKEN)} run as arrays and simulated; {len(EXCEPTIONS)} excepted; {dict(covered)}")


def test_global_lp_pool():
    x = np.array([[[[3, 0], [0, 4]], [[1, 1], [1, 1]]]], "float32")
    np.testing.assert_array_equal(adapter.global_lp_pool([x]), np.array([5, 2], "float32").reshape(1, 2, 1, 1))
    np.testing.assert_array_equal(adapter.global_lp_pool([x], {"p": 1}), np.array([7, 4], "float32").reshape(1, 2, 1, 1))
