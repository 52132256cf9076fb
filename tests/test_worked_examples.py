"""The worked examples of the documentation, on the reference and on every engine that takes NumPy arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest
from battery import agrees

from atrous import reference
from atrous.geometry import axis_output, dilated_extent
from atrous.problem import Conv2dProblem, parse
from cases import FOLDER, read_cases


@pytest.mark.parametrize(
    "size, kernel, words, outputs",
    [
        (28, 3, {"padding": 1}, 28),
        (28, 3, {"padding": 1, "stride": 3}, 10),
        (5, 3, {"padding": "same", "stride": 2}, 3),
        (5, 3, {"dilation": 2}, 1),
    ],
)
def test_sizes(door, size, kernel, words, outputs):
    x, weight = np.ones((1, size, size, 1), "float32"), np.ones((1, kernel, kernel, 1), "float32")
    assert np.asarray(door.conv2d(x, weight, **words)).shape == (1, outputs, outputs, 1)
    pads = words.get("padding", 0)
    pads = (pads, pads) if isinstance(pads, int) else (1, 1)
    assert axis_output(size, kernel, words.get("stride", 1), words.get("dilation", 1), pads) == outputs


def test_field_of_view():
    assert dilated_extent(3, 2) == 5


def test_mean_of_36(door):
    y = np.asarray(door.conv2d(np.arange(36.0).reshape(1, 6, 6, 1), np.full((1, 3, 3, 1), 1 / 9)))
    assert y.shape == (1, 4, 4, 1)
    assert y[0, 0, 0, 0] == pytest.approx(7, rel=1e-15)
    np.testing.assert_allclose(y[0, :, :, 0], [[7, 8, 9, 10], [13, 14, 15, 16], [19, 20, 21, 22], [25, 26, 27, 28]], rtol=1e-14)


def test_batch_of_12_images():
    problem = Conv2dProblem.make((12, 224, 224, 3), (64, 3, 3, 3), dtype="float32", padding="same")
    assert problem.y_shape == (12, 224, 224, 64)
    assert problem.pads == (1, 1, 1, 1)


def test_norm_in_half_precision(door):
    y = np.asarray(door.l2_pool2d(np.full((1, 1, 2, 1), 300, "float16"), (1, 2)))
    assert y.tolist() == [[[[424.25]]]]


def test_norm_of_order_one_takes_magnitudes(door):
    y = np.asarray(door.lp_pool2d(np.array([-3.0, -4.0]).reshape(1, 1, 2, 1), (1, 2), 1))
    assert y.tolist() == [[[[7]]]]
    y = np.asarray(door.lp_pool2d(np.array([-3.0, -4.0]).reshape(1, 1, 2, 1), (1, 2), 3))
    assert y[0, 0, 0, 0] == pytest.approx(91 ** (1 / 3), rel=1e-14)


def test_dilated_window_beyond_the_input_is_refused(door):
    x, weight = np.ones((1, 2, 2, 1), "float32"), np.ones((1, 3, 3, 1), "float32")
    with pytest.raises(ValueError, match=r"floor\(\(2 \+ 0 \+ 0 - 3\) / 2\) \+ 1 = 0"):
        door.conv2d(x, weight, stride=2)


@pytest.mark.parametrize("case", read_cases(FOLDER / "worked.txt"), ids=lambda case: case.name)
def test_case(door, case):
    agrees(door, case.text)


def test_truncating_division_would_have_said_one():
    assert axis_output(2, 3, 2, 1, (0, 0)) == 0
    assert math.trunc((2 - 3) / 2) + 1 == 1


def test_the_reference_alone_needs_no_engine():
    problem = parse("n1c1h5w5_k1r3s3_same_stride2_f32")
    y = reference.conv2d(problem, np.ones(problem.x_shape, "float32"), np.ones(problem.weight_shape, "float32"))
    assert y[0, :, :, 0].tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]
