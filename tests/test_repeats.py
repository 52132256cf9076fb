"""Functional calls that were made before: the same bits, the same refusals, and nothing kept of what a caller may change."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import atrous
from atrous import repeats
from atrous.engines import simulated

pytestmark = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))
WORDS = dict(padding=1, activation="relu", engine="simulated")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Each test begins with nothing remembered."""
    monkeypatch.setattr(repeats, "_calls", {})
    monkeypatch.setattr(repeats, "_libraries", {})


def operands(seed=0, shape=(2, 5, 6, 8), dtype="float32"):
    random = np.random.default_rng(seed)
    return [random.integers(-4, 5, size).astype(dtype) for size in (shape, (8, 3, 3, shape[3]), (8,))]


def in_full(x, weight, bias, **words):
    """Return what the call gives with nothing remembered before or after."""
    calls, repeats._calls = repeats._calls, {}
    try:
        return atrous.conv2d(x, weight, bias, **{**WORDS, **words})
    finally:
        repeats._calls = calls


@pytest.fixture
def counted(monkeypatch):
    """The results of `repeats.again`, in order: None where a call went the whole way."""
    results, plain = [], repeats.again
    monkeypatch.setattr("atrous.ops.again", lambda *given: results.append(plain(*given)) or results[-1])
    return results


def test_a_second_call_gives_what_its_own_arrays_mean(counted):
    for seed in range(4):
        x, weight, bias = operands(seed)
        np.testing.assert_array_equal(atrous.conv2d(x, weight, bias, **WORDS), in_full(x, weight, bias))
    assert [y is None for y in counted[::2]] == [True, False, False, False]
    for seed in range(4):
        x, weight, bias = operands(seed)
        out = np.full((2, 5, 6, 8), np.nan, "float32")
        assert atrous.conv2d(x, weight, bias, out=out, **WORDS) is out
        np.testing.assert_array_equal(out, in_full(x, weight, bias))


def test_weights_are_read_at_every_call(counted):
    x, weight, bias = operands()
    before = atrous.conv2d(x, weight, bias, **WORDS)
    weight[...] *= -1
    after = atrous.conv2d(x, weight, bias, **WORDS)
    assert counted[1] is not None and not np.array_equal(before, after)
    np.testing.assert_array_equal(after, in_full(x, weight, bias))


def test_other_words_shapes_and_dtypes_are_other_calls():
    for words in ({}, {"stride": 2}, {"activation": None}, {"padding": 0}, {"padding": "same"}, {"dilation": 2, "padding": 2}, {"out_dtype": "float16"}):
        for dtype, shape in (("float32", (2, 5, 6, 8)), ("float16", (2, 5, 6, 8)), ("float32", (1, 5, 6, 8)), ("float32", (2, 5, 6, 4))):
            x, weight, bias = operands(1, shape, dtype)
            for _ in range(2):
                y = atrous.conv2d(x, weight, bias, **{**WORDS, **words})
                np.testing.assert_array_equal(y, in_full(x, weight, bias, **words))
                assert y.dtype == words.get("out_dtype", dtype)


def test_absent_operands_are_told_apart():
    x, weight, bias = operands()
    for given in ({}, {"bias": bias}, {"scale": bias}, {"bias": bias, "scale": bias}, {"residual": np.ones((2, 5, 6, 8), "float32")}):
        for _ in range(2):
            y = atrous.conv2d(x, weight, **given, **WORDS)
            full = {name: given.get(name) for name in ("scale", "residual")}
            np.testing.assert_array_equal(y, in_full(x, weight, given.get("bias"), **full))


@pytest.mark.parametrize(
    "words", [dict(stride=True), dict(stride=1.0), dict(groups=True), dict(stream=0), dict(kernel="none"), dict(padding=((1, 1), (1, True)))]
)
def test_refusals_stand_after_a_call_like_it(words):
    x, weight, bias = operands()
    for padding in (1, ((1, 1), (1, 1))):
        for _ in range(2):
            atrous.conv2d(x, weight, bias, stride=1, groups=1, **{**WORDS, "padding": padding})
    with pytest.raises(atrous.ProblemError):
        atrous.conv2d(x, weight, bias, **{**WORDS, **words})


def test_outputs_are_checked_at_every_call():
    x, weight, bias = operands()
    out = np.empty((2, 5, 6, 8), "float32")
    for _ in range(2):
        atrous.conv2d(x, weight, bias, out=out, **WORDS)
    frozen = out.copy()
    frozen.flags.writeable = False
    overlapping = np.lib.stride_tricks.as_strided(out, out.shape, (0, *out.strides[1:]))
    whole = np.zeros(x.nbytes + 2, "uint8")
    askew = whole[1 : 1 + x.nbytes].view("float32").reshape(x.shape)
    for bad in (x, frozen, overlapping, np.empty((2, 5, 6, 8), "float16"), np.empty((2, 5, 8, 6), "float32"), askew):
        for _ in range(2):
            with pytest.raises(atrous.ProblemError):
                atrous.conv2d(x, weight, bias, out=bad, **WORDS)
    memory = np.zeros(x.size + 400, "float32")
    shifted = memory[200:680].reshape(x.shape)
    atrous.conv2d(memory[:480].reshape(x.shape), weight, bias, out=np.empty_like(x), **WORDS)
    with pytest.raises(atrous.ProblemError, match="shares memory with x"):
        atrous.conv2d(memory[:480].reshape(x.shape), weight, bias, out=shifted, **WORDS)
    with pytest.raises(atrous.ProblemError, match="alignment"):
        atrous.conv2d(askew, weight, bias, out=out, **WORDS)


def test_addresses_of_less_alignment_are_served_by_their_own_launch():
    x, weight, bias = operands()
    memory = np.zeros(x.size + 8, "float32")
    for offset in (0, 1, 2, 3, 4, 1, 0):
        view = memory[offset : offset + x.size].reshape(x.shape)
        view[...] = x
        for _ in range(2):
            np.testing.assert_array_equal(atrous.conv2d(view, weight, bias, **WORDS), in_full(x, weight, bias))
    (call,) = repeats._calls.values()
    assert len({x_alignment for x_alignment, _ in call._bounds}) >= 3, "4, 8 and 16 bytes"


def test_a_strided_bias_is_copied_every_time():
    x, weight, _ = operands()
    bias = np.arange(16, dtype="float32")[::2]
    for _ in range(3):
        np.testing.assert_array_equal(atrous.conv2d(x, weight, bias, **WORDS), in_full(x, weight, bias.copy()))


def test_what_is_remembered_holds_no_array_and_does_not_grow_for_ever(monkeypatch):
    monkeypatch.setattr(repeats, "MOST_CALLS", 3)
    for width in range(3, 12):
        x, weight, bias = operands(0, (1, 4, width, 8))
        for _ in range(2):
            y = atrous.conv2d(x, weight, bias, **WORDS)
        assert 1 <= len(repeats._calls) <= 3
    held = [weakref.ref(array) for array in (x, weight, bias, y)]
    del x, weight, bias, y
    gc.collect()
    assert [one() for one in held] == [None] * 4


def test_the_environment_is_asked_at_every_call(monkeypatch):
    x, weight, bias = operands()
    for _ in range(2):
        atrous.conv2d(x, weight, bias, padding=1)
    monkeypatch.setenv("ATROUS_ENGINE", "simulated")
    for _ in range(2):
        np.testing.assert_array_equal(atrous.conv2d(x, weight, bias, padding=1), in_full(x, weight, bias, activation=None))
    monkeypatch.setenv("ATROUS_ENGINE", "nonsense")
    with pytest.raises(atrous.ProblemError, match="ATROUS_ENGINE"):
        atrous.conv2d(x, weight, bias, padding=1)
