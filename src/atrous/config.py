"""Settings of atrous: every environment variable it reads, in one place."""

from __future__ import annotations

import os

from .errors import ProblemError, sentence, shown

DEFAULT_WORKSPACE_MIB = 256
#: the orders in which the simulator runs threads, and the moments at which its asynchronous operations land; defaults first
SCHEDULES = ("in-order", "reverse", "random", "greedy")
LANDINGS = ("latest", "earliest", "random")


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


def schedule_of(text: str, source: str = "ATROUS_SIM_SCHEDULE") -> tuple[str, int, str]:
    """Return (order, seed, landing) of ``ORDER[:SEED[:LANDING]]``; `source` is what a refusal names."""
    word, seed, landing = (*text.split(":"), "", "")[:3] if text.count(":") < 3 else ("", "", "")
    landing = landing or LANDINGS[0]
    if word not in SCHEDULES or landing not in LANDINGS or (seed and not (seed.isascii() and seed.isdigit() and int(seed) < 2**64)):
        orders, landings = ", ".join(map(repr, SCHEDULES)), ", ".join(map(repr, LANDINGS))
        raise ProblemError(
            sentence(source, f"the schedule is {shown(text)}", f"ORDER[:SEED[:LANDING]] with an order of {orders} and a landing of {landings}", "correct it")
        )
    return word, int(seed or 0), landing


def schedule() -> tuple[str, int, str]:
    """Return the simulator's order, its seed, and when asynchronous operations land (``ATROUS_SIM_SCHEDULE``: ``ORDER[:SEED[:LANDING]]``)."""
    return schedule_of(os.environ.get("ATROUS_SIM_SCHEDULE", SCHEDULES[0]))


def no_color() -> bool:
    """Return whether ``NO_COLOR`` asks for plain text on terminals (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))
