"""Window geometry against its definitions: windows are laid down one by one and counted."""

from __future__ import annotations

import itertools

import pytest

from atrous.geometry import PADDING_NAMES, arithmetic, axis_output, axis_pads, dilated_extent, first_empty_window, real_taps

SIZES, KERNELS, STRIDES, DILATIONS = range(1, 12), range(1, 6), range(1, 5), range(1, 4)
PADS = [(0, 0), (1, 1), (2, 0), (0, 3), (3, 1), (-1, 0), (0, -2), (-1, 2), (2, -1), (5, 4)]
GRID = list(itertools.product(SIZES, KERNELS, STRIDES, DILATIONS))


def cells(kernel, dilation, start):
    """Return the coordinates of the taps of a window that starts at `start`."""
    return [start + tap * dilation for tap in range(kernel)]


def windows_that_fit(size, kernel, stride, dilation, low, high):
    """Return how many windows fit between -low and size + high, stepping by the stride from -low."""
    start, count = -low, 0
    while cells(kernel, dilation, start)[-1] < size + high:
        start += stride
        count += 1
    return count


def test_extent_is_the_span_of_the_taps():
    for kernel, dilation in itertools.product(range(1, 10), range(1, 8)):
        taps = cells(kernel, dilation, 0)
        assert dilated_extent(kernel, dilation) == len(range(taps[0], taps[-1] + 1))


def test_output_is_the_number_of_windows_that_fit():
    checked = 0
    for (size, kernel, stride, dilation), pads in itertools.product(GRID, PADS):
        outputs = axis_output(size, kernel, stride, dilation, pads)
        assert max(0, outputs) == windows_that_fit(size, kernel, stride, dilation, *pads)
        checked += 1
    assert checked == 6600


def test_division_floors():
    """Truncation, which is C++'s, would find one window where none fits."""
    assert axis_output(2, 3, 2, 1, (0, 0)) == 0
    assert axis_output(1, 5, 4, 1, (0, 0)) == 0
    assert axis_output(1, 3, 3, 3, (0, 0)) == -1
    assert arithmetic(2, 3, 2, 1, (0, 0)) == "floor((2 + 0 + 0 - 3) / 2) + 1 = 0"


def test_the_formula_with_stride_plus_one_is_always_wrong():
    """Some texts print (I - K + 2P)/(S + 1)."""
    valid = wrong = 0
    for size, kernel, pad, stride in itertools.product(range(1, 10), range(1, 6), range(3), range(1, 5)):
        right = windows_that_fit(size, kernel, stride, 1, pad, pad)
        if right < 1:
            continue
        valid += 1
        wrong += (size - kernel + 2 * pad) // (stride + 1) != right
        assert (size - kernel + 2 * pad) // stride + 1 == right
    assert wrong == valid == 488


def test_valid_pads_nothing():
    for geometry in GRID:
        assert axis_pads(*geometry, "valid") == (0, 0)


@pytest.mark.parametrize("name", ["same", "same_lower"])
def test_same_is_the_least_padding_that_gives_an_output_per_stride(name):
    for size, kernel, stride, dilation in GRID:
        low, high = axis_pads(size, kernel, stride, dilation, name)
        outputs = len(range(0, size, stride))
        assert axis_output(size, kernel, stride, dilation, (low, high)) == outputs
        assert low >= 0 and high >= 0
        least = next(total for total in itertools.count() if windows_that_fit(size, kernel, stride, dilation, 0, total) >= outputs)
        assert low + high == least
        assert (high - low if name == "same" else low - high) in (0, 1)


def test_full_lets_every_window_touch_the_input():
    """With stride 1, every window that shares a cell with the input, if dense, and no other."""
    for size, kernel, stride, dilation in GRID:
        low, high = axis_pads(size, kernel, stride, dilation, "full")
        first = cells(kernel, dilation, -low)
        assert first[-1] == 0
        last = cells(kernel, dilation, size + high - dilated_extent(kernel, dilation))
        assert last[0] == size - 1
        if stride == 1:
            assert axis_output(size, kernel, stride, dilation, (low, high)) == size + dilated_extent(kernel, dilation) - 1


def test_causal_sees_nothing_ahead():
    """The last tap of window o stands on cell o*S."""
    for size, kernel, stride, dilation in GRID:
        low, high = axis_pads(size, kernel, stride, dilation, "causal")
        assert high == 0
        outputs = axis_output(size, kernel, stride, dilation, (low, high))
        assert outputs == len(range(0, size, stride))
        for output in range(outputs):
            assert cells(kernel, dilation, output * stride - low)[-1] == output * stride


def test_numbers_stay_as_they_are():
    assert axis_pads(5, 3, 1, 1, (2, -1)) == (2, -1)


def test_unknown_name():
    with pytest.raises(ValueError, match="same_upper"):
        axis_pads(5, 3, 1, 1, "same_upper")
    assert PADDING_NAMES == ("valid", "same", "same_lower", "full", "causal")


def test_ceil_mode_adds_the_window_that_covers_the_rest():
    """One more window where cells are left over, unless it would start past the input and its low padding."""
    dropped = added = 0
    for (size, kernel, stride, dilation), pads in itertools.product(GRID, [pair for pair in PADS if min(pair) >= 0]):
        fit = windows_that_fit(size, kernel, stride, dilation, *pads)
        outputs = axis_output(size, kernel, stride, dilation, pads, ceil_mode=True)
        if fit == 0:
            assert outputs < 1
            continue
        covered = cells(kernel, dilation, (fit - 1) * stride - pads[0])[-1] + 1
        expected = fit + (covered < size + pads[1])
        if (expected - 1) * stride - pads[0] >= size:
            expected -= 1
            dropped += 1
        added += expected > fit
        assert outputs == expected
    assert dropped > 100 and added > 500


def test_real_taps_counts_cells_of_the_input():
    for (size, kernel, stride, dilation), low in itertools.product(GRID, range(-2, 4)):
        for output in range(6):
            taps = cells(kernel, dilation, output * stride - low)
            assert real_taps(size, kernel, stride, dilation, low, output) == sum(0 <= cell < size for cell in taps)


def test_first_empty_window():
    found = 0
    for (size, kernel, stride, dilation), low, high in itertools.product(GRID, range(0, 6), (0, 2, 5)):
        outputs = axis_output(size, kernel, stride, dilation, (low, high))
        empty = [o for o in range(outputs) if not any(0 <= cell < size for cell in cells(kernel, dilation, o * stride - low))]
        assert first_empty_window(size, kernel, stride, dilation, low, outputs) == (empty[0] if empty else None)
        found += bool(empty)
    assert found > 1000


def test_a_window_that_would_start_in_cropped_cells_is_left_out():
    # 6 cells, the last 2 cropped: rounding up would add a window at cell 4, which is gone
    assert axis_output(6, 2, 4, 1, (0, -2), ceil_mode=True) == 1
    assert axis_output(6, 2, 4, 1, (0, -1), ceil_mode=True) == 2
