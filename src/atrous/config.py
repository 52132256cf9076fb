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


_ORDERS = ("in-order", "reverse", "random", "greedy")
_LANDINGS = ("latest", "earliest", "random")


def schedule() -> tuple[str, int, str]:
    """Return the simulator's schedule, seed and landing (``ATROUS_SIM_SCHEDULE=WORD[:SEED[:LANDING]]``).

    The word orders threads and blocks, and the landing says when asynchronous operations take effect; ``in-order:0:latest`` is the default.
    """
    text = os.environ.get("ATROUS_SIM_SCHEDULE", "in-order")
    word, seed, landing = (*text.split(":"), "", "")[:3]
    known = text.count(":") <= 2 and word in _ORDERS and landing in (*_LANDINGS, "")
    if not known or (seed and not (seed.isascii() and seed.isdigit() and int(seed) < 2**64)):
        raise ProblemError(
            sentence(
                "ATROUS_SIM_SCHEDULE",
                f"the environment variable is {text!r}",
                f"WORD, WORD:SEED or WORD:SEED:LANDING with a word of {', '.join(_ORDERS)} and a landing of {', '.join(_LANDINGS)}",
                "correct or unset it",
            )
        )
    return word, int(seed or 0), landing or "latest"


def no_color() -> bool:
    """Return whether ``NO_COLOR`` asks for plain text on terminals (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))
