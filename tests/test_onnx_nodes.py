"""The onnx package's own cases for convolution and pooling pass through the public functions; exceptions are listed by name."""

from __future__ import annotations

import collections
import re

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the onnx package, whose cases these are, is not installed")

from conftest import why_not
from onnx_nodes import EXCEPTIONS, OPERATORS, collect

from atrous import ProblemError, UnsupportedProblem
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


X = np.arange(1, 13, dtype="float32").reshape(1, 1, 3, 4)


def test_pads_are_every_low_end_and_then_every_high_end():
    y = adapter.conv([X, np.ones((1, 1, 1, 1), "float32")], {"pads": [1, 0, 0, 2]})  # top, left, bottom, right
    np.testing.assert_array_equal(y[0, 0], [[0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 0, 0], [5, 6, 7, 8, 0, 0], [9, 10, 11, 12, 0, 0]])
    flat = adapter.average_pool([X[:, :, 0]], {"kernel_shape": [1], "pads": [0, 2], "count_include_pad": 1})
    np.testing.assert_array_equal(flat[0, 0], [1, 2, 3, 4, 0, 0])


def test_every_attribute_is_of_its_own_axis():
    y, index = adapter.max_pool([X], {"kernel_shape": [2, 1], "strides": [1, 3], "dilations": [2, 1], "storage_order": 1}, indices=True)
    np.testing.assert_array_equal(y, np.array([9, 12], "float32").reshape(1, 1, 1, 2))
    np.testing.assert_array_equal(index, np.array([2, 11]).reshape(1, 1, 1, 2))  # column by column
    y = adapter.lp_pool([X], {"kernel_shape": [1, 2], "strides": [3, 2], "p": 1})
    np.testing.assert_array_equal(y, np.array([3, 7], "float32").reshape(1, 1, 1, 2))


BAD = [
    ("conv", [X], {}, "[Conv] 1 inputs came; expected a list of 2 to 3"),
    ("conv", X, {}, "[Conv] inputs is of type ndarray; expected a list of 2 to 3"),
    ("conv", [X, X], {"kernel": [3, 4]}, "[Conv] attribute 'kernel' was given; expected one of auto_pad"),
    ("conv", [X, X], {"kernel_shape": [4, 3]}, "[Conv] kernel_shape is (4, 3) and W has shape (1, 1, 3, 4); expected the last axes of W"),
    ("conv", [X, X], {"pads": [1, 1]}, "[Conv] pads is [1, 1]; expected 4 numbers for 2 spatial axes"),
    ("conv", [X, X], {"strides": [0, 1]}, "[conv2d] stride[0] is 0; expected an integer >= 1"),
    ("conv", [X, X], {"auto_pad": b"SAME"}, "[Conv] auto_pad is 'SAME'; expected one of NOTSET, VALID, SAME_UPPER, SAME_LOWER"),
    ("conv", [X, X], {"auto_pad": "SAME_UPPER", "pads": [1, 1, 1, 1]}, "[Conv] auto_pad is 'SAME_UPPER' and pads is [1, 1, 1, 1]; expected one of them"),
    ("max_pool", [X], {}, "[MaxPool] kernel_shape is missing; expected the taps along each axis"),
    ("max_pool", [X], {"kernel_shape": [2]}, "[MaxPool] kernel_shape is [2]; expected 2 numbers"),
    ("max_pool", [X], {"kernel_shape": [2, 2], "ceil_mode": 2}, "[MaxPool] ceil_mode is 2; expected 0 or 1"),
    ("average_pool", [X], {"kernel_shape": [2, 2], "count_include_pad": "yes"}, "[AveragePool] count_include_pad is 'yes'; expected 0 or 1"),
    ("lp_pool", [X], {"kernel_shape": [2, 2], "p": 0}, "[lp_pool2d] p is 0; expected a real p > 0"),
    ("global_max_pool", [X], {"p": 2}, "[GlobalMaxPool] attribute 'p' was given; expected none"),
]


@pytest.mark.parametrize(("function", "inputs", "attributes", "message"), BAD, ids=[row[3][:45].replace(" ", "_") for row in BAD])
def test_bad_attributes(function, inputs, attributes, message):
    with pytest.raises(ProblemError, match=re.escape(message)):
        getattr(adapter, function)(inputs, attributes)
