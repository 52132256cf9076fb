"""Whether this process can still use its GPU: after some errors of a kernel every later CUDA call fails, until the process ends."""

from __future__ import annotations

import sys


def lost() -> str | None:
    """Return what every CUDA call of this process fails with, or None.

    CuPy, which holds our arrays on a GPU, is asked twice: the error of one call is told once, that of a lost context every time.
    """
    cupy = sys.modules.get("cupy")
    said = None
    for _ in range(2 if cupy is not None else 0):
        try:
            cupy.cuda.runtime.deviceSynchronize()  # type: ignore[union-attr]
            return None
        except Exception as failure:  # of CuPy's own class
            said = in_a_line(failure)
    return said


def in_a_line(failure: Exception) -> str:
    """Return an exception's class and the first line of what it says."""
    return f"{type(failure).__name__}: {str(failure).strip().partition(chr(10))[0]}"
