"""Where a launch runs: one module per engine, each with available, prepare and describe."""

from __future__ import annotations

from typing import Any

from ..errors import CudaError


def why_not(engine: Any) -> str | None:
    """Return why an engine cannot run here, or None; a device that fails to answer is a reason too."""
    try:
        answer: str | None = engine.available()
    except CudaError as failure:
        return str(failure)
    return answer
