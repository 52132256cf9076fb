"""Settings of atrous: every environment variable it reads, in one place."""

from __future__ import annotations

import os

from .errors import ProblemError, sentence

DEFAULT_WORKSPACE_MIB = 256


def _integer(name: str, default: int, smallest: int) -> int:
    text = os.environ.get(name)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        value = smallest - 1
    if value < smallest:
        raise ProblemError(
            sentence(
                name,
                f"the environment variable is {text!r}",
                f"an integer >= {smallest}",
                f"unset it for the default of {default}",
            )
        )
    return value


def workspace_bytes() -> int:
    """Return how many bytes the array path may hold beyond the output (``ATROUS_WORKSPACE_MIB``, default 256)."""
    return _integer("ATROUS_WORKSPACE_MIB", DEFAULT_WORKSPACE_MIB, 1) * 2**20


def forced_engine() -> str | None:
    """Return the engine that ``ATROUS_ENGINE`` names for calls that name none, or None."""
    return os.environ.get("ATROUS_ENGINE") or None


def schedule() -> tuple[str, int]:
    """Return the simulator's schedule and seed (``ATROUS_SIM_SCHEDULE``: ``in-order``, ``reverse`` or ``random:SEED``)."""
    text = os.environ.get("ATROUS_SIM_SCHEDULE", "in-order")
    word, _, seed = text.partition(":")
    if word not in ("in-order", "reverse", "random") or (seed and not seed.isdigit()):
        raise ProblemError(
            sentence(
                "ATROUS_SIM_SCHEDULE",
                f"the environment variable is {text!r}",
                "'in-order', 'reverse' or 'random:SEED'",
                "correct or unset it",
            )
        )
    return word, int(seed or 0)


def no_color() -> bool:
    """Return whether ``NO_COLOR`` asks for plain text on terminals (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))
