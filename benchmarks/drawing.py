"""Draws plots as SVG that keeps the size of its text at every width: positions across are per cent, positions down are pixels."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

PREFIXES = {12: "T", 9: "G", 6: "M", 3: "k", 0: "", -3: "m", -6: "µ", -9: "n"}


def quantity(value: float, unit: str = "") -> str:
    """Return a value with three digits and a prefix: 1.53 ms, 12.3 GB/s."""
    if value == 0:
        return f"0 {unit}".strip()
    power = 3 * math.floor(math.log10(abs(value)) / 3)
    power = min(12, max(-9, power))
    number = value / 10.0**power
    if abs(float(f"{number:.3g}")) >= 1000 and power < 12:
        power, number = power + 3, number / 1000
    digits = f"{number:.0f}" if abs(number) >= 1000 else f"{number:.3g}"
    return f"{digits} {PREFIXES[power]}{unit}".strip()


def tick(value: float) -> str:
    """Return a tick's label: 0.25, 8, 10 k."""
    return f"{value:g}" if 0.01 <= value < 10_000 else quantity(value)


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis from `low` to `high`, both above 0."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """Return where a value lies: 0 at the low end, 1 at the high one."""
        return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))

    def ticks(self, base: int = 10, most: int = 5) -> list[float]:
        """Return powers of a base, every one or every second ... so that there are at most `most`; 1 is one of them where it is in range."""
        first, last = math.ceil(math.log(self.low, base) - 1e-9), math.floor(math.log(self.high, base) + 1e-9)
        step = max(1, math.ceil((last - first + 1) / most))
        return [float(base) ** power for power in range(first, last + 1) if power % step == 0]


def around(values: Iterable[float], margin: float = 0.06, least: float = 2.0) -> Axis:
    """Return an axis that holds some values above 0 and a margin, and spans a factor `least` or more."""
    found = list(values)
    low, high = math.log(min(found)), math.log(max(found))
    span = max(high - low, math.log(least))
    middle = (low + high) / 2
    return Axis(math.exp(middle - span * (0.5 + margin)), math.exp(middle + span * (0.5 + margin)))


@dataclass
class Plot:
    """A plot on two logarithmic axes; its parts are drawn in the order of the calls."""

    x: Axis
    y: Axis
    height: int
    parts: list[str] = field(default_factory=list)

    def across(self, value: float) -> str:
        """Return the position of a value on the x axis."""
        return f"{100 * self.x.share(value):.2f}%"

    def down(self, value: float) -> str:
        """Return the position of a value on the y axis."""
        return f"{self.height * (1 - self.y.share(value)):.1f}"

    def grid(self, ticks_x: Sequence[float], ticks_y: Sequence[float], name_x: Callable[[float], str] = tick, name_y: Callable[[float], str] = tick) -> None:
        """Draw lines and labels at some values of both axes."""
        for value in ticks_x:
            at = self.across(value)
            self.parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="0" y2="{self.height}"/>')
            self.parts.append(f'<text class="tick" x="{at}" y="{self.height + 15}" text-anchor="middle">{name_x(value)}</text>')
        for value in ticks_y:
            at = self.down(value)
            self.parts.append(f'<line class="grid" x1="0" x2="100%" y1="{at}" y2="{at}"/>')
            self.parts.append(f'<text class="tick" x="-6" y="{float(at) + 4:.1f}" text-anchor="end">{name_y(value)}</text>')

    def line(self, start: tuple[float, float], end: tuple[float, float], kind: str) -> None:
        """Draw a line between two points."""
        (a, b), (c, d) = start, end
        self.parts.append(f'<line class="{kind}" x1="{self.across(a)}" y1="{self.down(b)}" x2="{self.across(c)}" y2="{self.down(d)}"/>')

    def dot(self, x: float, y: float, kind: str, tip: str, radius: float = 4) -> None:
        """Draw a point that says what it is when pointed at."""
        self.parts.append(f'<circle class="{kind}" cx="{self.across(x)}" cy="{self.down(y)}" r="{radius:g}" data-tip="{html.escape(tip)}"/>')

    def svg(self, label: str) -> str:
        """Return the drawing."""
        return f'<div class="plot"><svg role="img" aria-label="{html.escape(label)}" height="{self.height}">{"".join(self.parts)}</svg></div>'


@dataclass(frozen=True)
class Bar:
    """One bar of a ratio: to the right of 1 where above it, with the range over rounds as a thin line."""

    ratio: float
    low: float
    high: float
    kind: str
    tip: str


BAR, GAP, HEAD = 9, 3, 20  # pixels: a bar, the space around a row's bars, the room for ticks above them


def row_height(bars: int) -> int:
    """Return the pixels of a row of so many bars."""
    return max(20, bars * BAR + 2 * GAP)


def ratio_bars(rows: Sequence[Sequence[Bar | None]], axis: Axis, label: str) -> str:
    """Return rows of bars that start at 1, as SVG; None leaves a bar's place empty."""
    settings = max(len(row) for row in rows)
    step = row_height(settings)
    height = HEAD + step * len(rows)
    parts = []

    def at(value: float) -> float:
        return 100 * axis.share(value)

    for value in axis.ticks(base=2):
        kind = "one" if value == 1 else "grid"
        parts.append(f'<line class="{kind}" x1="{at(value):.2f}%" x2="{at(value):.2f}%" y1="{HEAD - 4}" y2="{height}"/>')
        parts.append(f'<text class="tick" x="{at(value):.2f}%" y="{HEAD - 8}" text-anchor="middle">{tick(value)}</text>')
    for index, row in enumerate(rows):
        top = HEAD + index * step + (step - settings * BAR) / 2
        for place, bar in enumerate(row):
            if bar is None:
                continue
            left, right = sorted((at(1), at(bar.ratio)))
            y = top + place * BAR
            tip = html.escape(bar.tip)
            parts.append(f'<rect class="{bar.kind}" x="{left:.2f}%" width="{right - left:.2f}%" y="{y + 1:.1f}" height="{BAR - 2}" data-tip="{tip}"/>')
            parts.append(f'<line class="spread" x1="{at(bar.low):.2f}%" x2="{at(bar.high):.2f}%" y1="{y + BAR / 2:.1f}" y2="{y + BAR / 2:.1f}"/>')
    return f'<svg role="img" aria-label="{html.escape(label)}" height="{height}">{"".join(parts)}</svg>'


def amount_bars(rows: Sequence[tuple[str, float, str, str]], label: str) -> str:
    """Return (name, value, text, kind) as bars from 0, one below the other, each under its name and text."""
    largest = max(value for _, value, _, _ in rows) or 1.0
    parts = []
    for index, (name, value, text, kind) in enumerate(rows):
        top = 34 * index
        parts.append(f'<text class="name" x="0" y="{top + 12}">{html.escape(name)}</text>')
        parts.append(f'<text class="name" x="100%" y="{top + 12}" text-anchor="end">{html.escape(text)}</text>')
        parts.append(f'<rect class="rail" x="0" width="100%" y="{top + 17}" height="9" rx="2"/>')
        parts.append(f'<rect class="{kind}" x="0" width="{max(0.3, 100 * value / largest):.2f}%" y="{top + 17}" height="9" rx="2"/>')
    return f'<svg role="img" aria-label="{html.escape(label)}" height="{34 * len(rows)}">{"".join(parts)}</svg>'
