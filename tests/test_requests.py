"""What is remembered of requests: the same answer as at first sight, and no check passed over because an equal number came before."""

from __future__ import annotations

import numpy as np
import pytest

import atrous
from atrous import interop, requests

X, WEIGHT = np.ones((1, 6, 6, 2), "float32"), np.ones((3, 3, 3, 2), "float32")


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (dict(stride=1), dict(stride=True)),
        (dict(stride=1), dict(stride=1.0)),
        (dict(stride=(1, 1)), dict(stride=(1, True))),
        (dict(stride=(1, 2)), dict(stride=(1.0, 2))),
        (dict(padding=((0, 1), (1, 1))), dict(padding=((0, 1), (True, 1)))),
        (dict(padding=((0, 1), (1, 1))), dict(padding=((False, 1), (1, 1)))),
        (dict(groups=1), dict(groups=True)),
        (dict(zero_point=0), dict(zero_point=False)),
        (dict(activation=("clip", 0.0, 1.0)), dict(activation=("clip", 0.0, True))),
    ],
)
def test_an_equal_number_of_another_type_is_still_refused(good, bad):
    for _ in range(2):
        atrous.conv2d(X, WEIGHT, **good)
        with pytest.raises(atrous.ProblemError):
            atrous.conv2d(X, WEIGHT, **bad)


class Step:
    """An integer that can be another one later."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


def test_what_can_change_is_looked_at_anew():
    step, pads = Step(1), [1, 1]
    for value in (1, 2, 3, 1):
        step.value = value
        assert atrous.conv2d(X, WEIGHT, stride=step).shape == atrous.conv2d(X, WEIGHT, stride=value).shape
        assert atrous.conv2d(X, WEIGHT, stride=(step, 1)).shape == atrous.conv2d(X, WEIGHT, stride=(value, 1)).shape
        pads[:] = [value, value]
        assert atrous.conv2d(X, WEIGHT, padding=pads).shape == atrous.conv2d(X, WEIGHT, padding=(value, value)).shape


def test_memories_do_not_grow_for_ever(monkeypatch):
    monkeypatch.setattr(requests, "_MOST_CHECKED", 3)
    for low in range(1, 12):
        assert atrous.conv2d(X, WEIGHT, activation=("clip", -low, low)).max() == min(18, low)
        assert len(requests._checked) <= 3


def test_each_library_finds_strides_and_dtypes_again():
    """The facts of an array are those of the first sight of its kind, in native byte order only."""
    for dtype in ("float32", "float16", "int8"):
        for array in (np.zeros((4, 6), dtype), np.zeros((4, 6), dtype).T, np.zeros((4, 6), dtype)[::-2, ::3], np.zeros((0, 6), dtype)):
            for _ in range(2):
                operand = interop.numpy_operand("test", "x", array)
                assert operand.dtype == dtype and operand.shape == array.shape and operand.writable
                assert operand.strides == tuple(step // array.itemsize for step in array.strides)
                assert operand.pointer == array.__array_interface__["data"][0]
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    assert not interop.numpy_operand("test", "x", frozen).writable
    for _ in range(2):
        with pytest.raises(atrous.ProblemError, match="foreign byte order"):
            interop.numpy_operand("test", "x", np.zeros(3, np.dtype("float32").newbyteorder()))
        with pytest.raises(atrous.ProblemError, match="byte strides"):
            interop.numpy_operand("test", "x", np.zeros(8, [("a", "f4"), ("b", "i2")])["a"])
