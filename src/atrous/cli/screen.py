"""What a person sees: styled lines on a terminal, plain text elsewhere, and a progress bar where rich is installed."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from typing import Any

from .. import config


class Screen:
    """Writes lines to stdout; styles and the progress bar appear on terminals only; NO_COLOR turns every style off."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._rich = importlib.util.find_spec("rich") is not None
        self.console: Any = None  # rich's, where stdout is a terminal that takes styles
        if self._rich and sys.stdout.isatty() and not config.no_color():
            from rich.console import Console

            self.console = Console(highlight=False, soft_wrap=True)

    def line(self, text: str = "", style: str = "") -> None:
        """Print one line, in a style of rich ("bold", "red") where stdout is a terminal."""
        if self._quiet:
            return
        if self.console is None:
            print(text, flush=True)
        else:
            self.console.print(text, style=style or None, markup=False)

    @contextlib.contextmanager
    def progress(self) -> Iterator[Callable[[str, float], None]]:
        """Yield ``report(stage, done)`` with done in 0..1: on a terminal a bar on stderr, or without rich a line for every tenth."""
        if self._quiet or not sys.stderr.isatty():
            yield lambda stage, done: None
            return
        if not self._rich:
            yield _plain_progress()
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description:<24}"), BarColumn(bar_width=40), TextColumn("{task.percentage:>3.0f} %"))
        # rich would otherwise carry what is printed meanwhile from stdout over to the bar's own stream
        with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
            task = bar.add_task("", total=1.0)
            yield lambda stage, done: bar.update(task, description=stage, completed=done)


def _plain_progress() -> Callable[[str, float], None]:
    shown = [-1]

    def report(stage: str, done: float) -> None:
        if (tenth := int(done * 10)) > shown[0]:
            shown[0] = tenth
            print(f"{stage}: {tenth * 10} %", file=sys.stderr, flush=True)

    return report
