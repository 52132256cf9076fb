"""Draws the demo's picture: digits, the feature maps they cause, what the network reads, and every mistake."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CELL, GAP, GUTTER, MARGIN = 1.18, 0.16, 1.75, 0.45  # inches: a panel, the space between panels, row titles, the rim
HEADER, BARS, STRIP, CAPTION = 1.3, 1.15, 0.5, 0.5  # inches: the titles, the bars with the verdict, the rule above the mistakes, their words
MOST_COLUMNS, MAPS_SHOWN, MAP_PIXELS, MAP_GAP = 10, 9, 32, 2
INK, FAINT, RIGHT, WRONG, PAPER = "#1b1f2a", "#6b7280", "#15803d", "#c81e1e", "#fbfaf7"
DIGITS_COLOURS, MAPS_COLOURS = "Greys", "magma"


@dataclass(frozen=True)
class FeatureMaps:
    """What one layer made of one digit."""

    layer: str
    note: str
    maps: NDArray[np.float32]  # [P, Q, K]


@dataclass(frozen=True)
class Specimen:
    """One digit, what it is, what the network says, and what its layers saw."""

    sample: int
    image: NDArray[np.uint8]  # [8, 8], 0..16
    label: int
    probabilities: NDArray[np.float64]  # [10]
    seen: tuple[FeatureMaps, ...] = ()

    @property
    def read(self) -> int:
        """The digit with the highest probability."""
        return int(self.probabilities.argmax())


def missing() -> str | None:
    """Return None if pictures can be drawn, else the sentence that says why not."""
    if importlib.util.find_spec("matplotlib") is None:
        return "matplotlib is not installed; pip install atrous[plot] brings it."
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError as error:
        return f"matplotlib is installed but failed to load, because {error}."
    return None


def busiest(maps: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return, in their own order, the channels of (N, P, Q, K) that differ most over space: up to MAPS_SHOWN of them."""
    spread = maps.std(axis=(1, 2)).mean(axis=0)
    return np.sort(np.argsort(-spread, kind="stable")[:MAPS_SHOWN])


def mosaic(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the maps of (P, Q, K) as one nearly square image, about MAP_PIXELS a map, NaN between neighbours."""
    rows, columns, channels = maps.shape
    scale = max(1, MAP_PIXELS // max(rows, columns))
    across = math.ceil(math.sqrt(channels))
    down = math.ceil(channels / across)
    step_down, step_across = rows * scale + MAP_GAP, columns * scale + MAP_GAP
    image = np.full((down * step_down - MAP_GAP, across * step_across - MAP_GAP), np.nan, np.float32)
    for channel in range(channels):
        top, left = channel // across * step_down, channel % across * step_across
        image[top : top + rows * scale, left : left + columns * scale] = np.kron(maps[..., channel], np.ones((scale, scale), np.float32))
    return image


class Sheet:
    """A figure measured in inches from its top left corner."""

    def __init__(self, width: float, height: float) -> None:
        figure = importlib.import_module("matplotlib.figure")
        self.width, self.height = width, height
        self.figure = figure.Figure(figsize=(width, height), dpi=130, facecolor=PAPER)

    def panel(self, left: float, top: float, width: float, height: float) -> Any:
        """Return bare axes at this place."""
        axes = self.figure.add_axes((left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height))
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_facecolor(PAPER)
        return axes

    def text(self, left: float, top: float, text: str, size: float, **style: Any) -> None:
        """Write text whose top left corner is at this place, unless `style` aligns it otherwise."""
        place = {"ha": "left", "va": "top", "color": INK, **style}
        self.figure.text(left / self.width, 1 - top / self.height, text, fontsize=size, **place)


def draw(path: Path, title: str, subtitle: str, specimens: Sequence[Specimen], mistakes: Sequence[Specimen]) -> None:
    """Write the PNG: `specimens` with their feature maps side by side, `mistakes` below."""
    specimens = specimens[:MOST_COLUMNS]
    layers = len(specimens[0].seen)
    columns = max(7, len(specimens))
    strip = STRIP + (CELL + CAPTION if mistakes else 0.0)
    width = 2 * MARGIN + GUTTER + columns * (CELL + GAP) - GAP
    height = MARGIN + HEADER + (1 + layers) * (CELL + GAP) + BARS + strip + MARGIN
    sheet = Sheet(width, height)
    sheet.text(MARGIN, MARGIN, title, 21, weight="bold")
    sheet.text(MARGIN, MARGIN + 0.45, subtitle, 12, color=FAINT, linespacing=1.4)
    _row_titles(sheet, specimens[0])
    channels, peaks = _shown(specimens)
    for column, specimen in enumerate(specimens):
        _specimen(sheet, MARGIN + GUTTER + column * (CELL + GAP), specimen, channels, peaks)
    _mistakes(sheet, height - MARGIN - strip, columns, mistakes)
    sheet.figure.savefig(path, facecolor=PAPER)


def _shown(specimens: Sequence[Specimen]) -> tuple[list[NDArray[np.intp]], list[float]]:
    """Return each layer's channels to show and the value drawn brightest, the same for all columns so that they compare."""
    layers = [np.stack([specimen.seen[layer].maps for specimen in specimens]) for layer in range(len(specimens[0].seen))]
    channels = [busiest(maps) for maps in layers]
    return channels, [float(np.quantile(maps[..., chosen], 0.99)) for maps, chosen in zip(layers, channels, strict=True)]


def _row_top(row: int) -> float:
    return MARGIN + HEADER + row * (CELL + GAP)


def _row_titles(sheet: Sheet, specimen: Specimen) -> None:
    titles = [("input", "a scan, 8x8")]
    for seen in specimen.seen:
        rows, columns, channels = seen.maps.shape
        some = f"{MAPS_SHOWN} busiest of {channels}" if channels > MAPS_SHOWN else str(channels)
        titles.append((seen.layer, f"{seen.note}\n{some} maps\n{rows}x{columns} each"))
    titles.append(("what it reads", "probability\nof 0 ... 9"))
    for row, (name, note) in enumerate(titles):
        sheet.text(MARGIN, _row_top(row) + 0.22, name, 13, weight="bold")
        sheet.text(MARGIN, _row_top(row) + 0.46, note, 10, color=FAINT, linespacing=1.35)


def _specimen(sheet: Sheet, left: float, specimen: Specimen, channels: list[NDArray[np.intp]], peaks: list[float]) -> None:
    sheet.panel(left, _row_top(0), CELL, CELL).imshow(specimen.image, cmap=DIGITS_COLOURS, vmin=0, vmax=16, interpolation="nearest")
    for row, (seen, chosen, peak) in enumerate(zip(specimen.seen, channels, peaks, strict=True), start=1):
        axes = sheet.panel(left, _row_top(row), CELL, CELL)
        axes.imshow(mosaic(seen.maps[..., chosen]), cmap=MAPS_COLOURS, vmin=0, vmax=peak, interpolation="nearest")
    top = _row_top(1 + len(specimen.seen))
    _bars(sheet, left, top + 0.05, specimen)
    _verdict(sheet, left, top + BARS - 0.42, specimen)


def _bars(sheet: Sheet, left: float, top: float, specimen: Specimen) -> None:
    axes = sheet.panel(left, top, CELL, 0.5)
    places = np.arange(len(specimen.probabilities))
    colours = ["#c9ccd3"] * len(places)
    colours[specimen.read] = WRONG
    colours[specimen.label] = RIGHT
    axes.bar(places, 1, width=0.8, color="#eceae4")
    axes.bar(places, specimen.probabilities, width=0.8, color=colours)
    axes.set_xlim(-0.6, len(places) - 0.4)
    axes.set_ylim(0, 1)
    axes.set_xticks(places, [str(place) for place in places])
    axes.tick_params(length=0, labelsize=7, colors=FAINT, pad=1.5)


def _verdict(sheet: Sheet, left: float, top: float, specimen: Specimen) -> None:
    right = specimen.read == specimen.label
    text = f"✓ {specimen.read}" if right else f"✗ {specimen.read}, not {specimen.label}"
    style = {"ha": "center", "color": RIGHT if right else WRONG}
    sheet.text(left + CELL / 2, top, text, 13, weight="bold", **style)
    sheet.text(left + CELL / 2, top + 0.23, f"{100 * specimen.probabilities.max():.0f} % sure", 9, **style)


def _mistakes(sheet: Sheet, top: float, columns: int, mistakes: Sequence[Specimen]) -> None:
    shown = mistakes[:columns]
    if not mistakes:
        sheet.text(MARGIN, top + 0.35, "No mistakes among these images.", 13, weight="bold", color=RIGHT)
        return
    some = f"the first {len(shown)}\nof {len(mistakes)}" if len(shown) < len(mistakes) else f"all {len(shown)} of them" if len(shown) > 1 else "the only one"
    line = sheet.panel(MARGIN, top + 0.2, sheet.width - 2 * MARGIN, 0.01)
    line.set_facecolor("#d6d3cb")
    top += STRIP
    sheet.text(MARGIN, top + 0.22, "mistakes", 13, weight="bold", color=WRONG)
    sheet.text(MARGIN, top + 0.46, some, 10, color=FAINT, linespacing=1.35)
    for column, specimen in enumerate(shown):
        left = MARGIN + GUTTER + column * (CELL + GAP)
        axes = sheet.panel(left, top, CELL, CELL)
        axes.imshow(specimen.image, cmap=DIGITS_COLOURS, vmin=0, vmax=16, interpolation="nearest")
        for spine in axes.spines.values():
            spine.set(visible=True, color=WRONG, linewidth=2)
        confidence = 100 * specimen.probabilities.max()
        sheet.text(left + CELL / 2, top + CELL + 0.07, f"is {specimen.label}, read as {specimen.read}", 10.5, ha="center", weight="bold", color=WRONG)
        sheet.text(left + CELL / 2, top + CELL + 0.28, f"{confidence:.0f} % sure · no. {specimen.sample}", 8.5, ha="center", color=FAINT)
