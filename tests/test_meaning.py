"""The meaning battery on the reference and on every engine that takes NumPy arrays."""

from __future__ import annotations

import pytest
from battery import CHECKS


@pytest.mark.parametrize("name", CHECKS)
def test_meaning(door, name):
    CHECKS[name](door)
