"""What `atrous bench` shows while it measures: a live table on a terminal with rich, a line a layer elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from ..bench.measure import Bench, Wanted
from ..bench.ratios import median
from ..bench.suite import Layer
from ..bench.summary import Row, by_layer, in_words, layer_ratio, ratio_in_words
from .screen import Screen


class View:
    """Shows each layer's times as they come; the metric shown is the first that the layer has."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._live: Any = None
        self._metric = ""
        self._lines: list[tuple[str, int, dict[str, Row], str]] = []  # name, count, rows by contestant, why there are none
        self._layers = 0
        self._doing = ""

    def __enter__(self) -> View:
        if self._screen.console is not None:
            from rich.live import Live

            self._live = Live(console=self._screen.console, auto_refresh=False, vertical_overflow="visible")
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._doing = ""
            self._draw()
            self._live.stop()

    def begin(self, bench: Bench, layers: int) -> None:
        """Say what is measured, where, and against whom."""
        self._metric, self._layers = bench.options.metrics[0], layers
        where = bench.document["where"]
        place = where["gpu"]["name"] if bench.options.device == "cuda" and where["gpu"] else f"{where['processor']}, {where['threads']} threads"
        taking = [name for name, reason in bench.document["rivals"].items() if reason is None]
        self._line(f"{place}; {self._metric} time; against {', '.join(taking) or 'nobody'}")

    def doing(self, words: str) -> None:
        """Show what is under way."""
        self._doing = f"layer {len(self._lines) + 1} of {self._layers}: {words}"
        self._draw()

    def layer(self, wanted: Wanted, rows: list[Row], skipped: list[dict[str, Any]]) -> None:
        """Show one layer."""
        contestants = next(iter(by_layer(rows, self._metric).values()), {})
        reason = "" if contestants else "; ".join(f"{skip['contestant']}: {skip['reason']}" for skip in skipped)
        self._add(wanted.layer.name, wanted.case, wanted.layer.count, contestants, reason)

    def none(self, layer: Layer, reason: str) -> None:
        """Show a layer that is not measured."""
        self._add(layer.name, layer.case, layer.count, {}, reason)

    def _add(self, name: str, case: str, count: int, contestants: dict[str, Row], reason: str) -> None:
        named = case if name.startswith("case/") else name
        self._lines.append((named, count, contestants, reason))
        if self._live is not None:
            self._draw()
            return
        each = [f"{who} {_spread(row['seconds'])}" for who, row in contestants.items()]
        found = ratio_in_words(layer_ratio(contestants))
        self._line(f"{named} x{count}: " + (", ".join(each) or f"not measured: {reason}") + (f"; ratio {found}" if found else ""))

    def _line(self, text: str) -> None:
        if self._live is None:
            self._screen.line(text)
        else:
            self._live.console.print(text, markup=False, style="bold")

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(self._table(), refresh=True)

    def _table(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(caption=self._doing, caption_justify="left", box=None, header_style="bold")
        names = list(dict.fromkeys(name for _, _, contestants, _ in self._lines for name in contestants))
        table.add_column("layer", overflow="fold")
        for title in ("", *names, "ratio"):
            table.add_column(title, justify="right", overflow="fold")
        for named, count, contestants, reason in self._lines:
            cells = [in_words(median(contestants[name]["seconds"])) if name in contestants else "-" for name in names]
            found = layer_ratio(contestants)
            style = "" if found is None or not found.outside_noise else "green" if found.value > 1 else "red"
            words = [f"{named}: {reason}" if reason else named, f"x{count}", *cells]
            table.add_row(*map(Text, words), Text(ratio_in_words(found), style))
        return table


def _spread(seconds: list[float]) -> str:
    return f"{in_words(median(seconds))} ({in_words(min(seconds))} to {in_words(max(seconds))})"
