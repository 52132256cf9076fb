"""Who takes part: one module a library, in ORDER, each with NAME, available(device), version() and contestants(problem, inputs, device).

- `NAME`: what tables call the library, the first word or words of its contestants' names.
- `available(device) -> None | str`: for "cpu" or "cuda", None or the sentence why not. Nothing is imported that is not installed.
- `version() -> str`.
- `contestants(problem, inputs, device) -> list[Contestant]`: its ways to compute the problem with all of the epilogue, as its
  users would write it; or raises `Unsupported` with a sentence where it has no operation for it.
"""

from __future__ import annotations

import importlib
from typing import Any

from ...errors import ProblemError, sentence, shown

#: modules here; ours first
ORDER = ("atrous_plans", "torch_eager", "torch_compile", "jax_jit", "onnxruntime_session", "cudnn_graph", "cupy_im2col", "tensorflow_jit")
OURS = ORDER[0]


def module(name: str) -> Any:
    """Return the plug-in of this module name."""
    return importlib.import_module(f".{name}", __name__)


def named(words: list[str]) -> list[Any]:
    """Return the plug-ins that words name: by NAME ("torch eager"), by module ("torch_eager"), by a NAME's first word (its first), or "all".

    Raises
    ------
    ProblemError
        If a word names none.
    """
    known = [module(name) for name in ORDER if name != OURS]
    found: list[Any] = []
    for word in words:
        exact = [rival for rival in known if word in (rival.NAME, rival.__name__.rpartition(".")[2])]
        first = [rival for rival in known if rival.NAME.partition(" ")[0] == word]
        taken = known if word == "all" else exact or first[:1]
        if not taken:
            names = ", ".join(repr(rival.NAME) for rival in known)
            raise ProblemError(sentence("bench", f"the rival is {shown(word)}", f"one of {names}, or 'all'", "correct the name"))
        found += [rival for rival in taken if rival not in found]
    return found


def presence(rivals: list[Any], device: str) -> dict[str, str | None]:
    """Return, for every plug-in, None or the sentence why it takes no part."""
    return {rival.NAME: rival.available(device) for rival in rivals}
