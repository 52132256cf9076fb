"""conv_depthwise_planes under the race check where x and y are parts of one array: no copy reads what another block writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "proof"))

import builds


def halves(dtype, images, channels, side):
    """Return an array and two views of it that share no element: the first and the last channels of each image."""
    room = np.ones((images, 2 * channels, side, side), dtype)
    return room[:, :channels], room[:, channels:]


def answer():
    """Be the process with the race build: print what each case gives, the report of a race or nothing."""
    import atrous
    import atrous._sim as sim

    assert sim.build_info()["sanitizer"] == "race"
    for dtype, images, channels, side in eval(sys.argv[1]):
        x, y = halves(dtype, images, channels, side)
        try:
            weight = np.ones((channels, 1, 3, 3), dtype)
            atrous.conv2d(x, weight, out=y, padding=1, groups=channels, layout="NCHW", engine="simulated", kernel="conv_depthwise_planes")
            print("right" if y[:, :, 1:-1, 1:-1].min() == 9 else "wrong")
        except RuntimeError as failure:
            print(str(failure).replace("\n", " "))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_images_that_end_where_y_begins_and_begin_where_it_ends(dtype):
    """Planes of 49 elements: an image of x begins within a piece of 16 bytes whose first elements are of y."""
    arguments, environment = builds.command("race")
    cases = [(dtype, images, channels, side) for images, channels, side in ((2, 3, 7), (4, 1, 5), (3, 8, 8))]
    done = subprocess.run([*arguments, __file__, repr(cases)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.split("\n") == ["right"] * len(cases) + [""]


if __name__ == "__main__":
    answer()
