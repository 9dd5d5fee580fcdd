"""Dose against reading: eight panels, the accuracy below each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.steering.options import interval
from mimrl.mi.writing import written_whole

COLUMNS = 4
# Okabe and Ito (2008): told apart by the colour-blind and in print
BLUE, RED, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY, BLACK = "0.55", "black"


@dataclass(frozen=True)
class Reading:
    """One model and one quantity.

    Attributes:
        critics: by fresh critics on test, in nats.
        second: by the second instrument, in nats.
        control: by fresh critics on shuffled pairs, in nats.
        chosen: test accuracy at the chosen epoch.
        last: test accuracy at the last epoch, which the readings are of.
        clean: likewise against the labels before flips.
    """

    critics: float
    second: float
    control: float
    chosen: float
    last: float
    clean: float


@dataclass(frozen=True)
class Limits:
    """What a quantity can be, in nats, and what the upper limit is called."""

    low: float
    high: float
    name: str


@dataclass(frozen=True)
class Style:
    """One line of a panel."""

    what: str
    label: str
    colour: str
    marker: str
    line: str
    shift: float


UPPER = (
    Style("critics", "fresh critics", BLUE, "o", "-", -0.08),
    Style("second", "second instrument", RED, "s", "--", 0.08),
    Style("control", "fresh critics, shuffled pairs", GREY, "x", ":", 0.0),
)
LOWER = (
    Style("last", "accuracy, last epoch", GREEN, "^", "-", -0.08),
    Style("chosen", "accuracy, chosen epoch", PINK, "D", "--", 0.08),
)
Readings = Mapping[float, Sequence[Reading]]


def draw(readings: Mapping[str, Readings], limits: Mapping[str, Limits], path: Path) -> Figure:
    """Means with 95 % intervals over seeds against the dose, at even distances.

    Args:
        readings: quantity -> dose -> one reading a seed.
        limits: quantity -> what it can be.
        path: the PNG, written by a rename.
    """
    rows = -(-len(readings) // COLUMNS)
    figure = Figure(figsize=(16, 6 * rows + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        2 * rows, COLUMNS, squeeze=False, gridspec_kw={"height_ratios": [2.2, 1] * rows}
    )
    for number, (name, found) in enumerate(readings.items()):
        row, column = divmod(number, COLUMNS)
        _panel(axes[2 * row, column], name, found, limits[name])
        _accuracy(axes[2 * row + 1, column], found, first=column == 0)
        axes[2 * row, column].set_ylabel("nats" if column == 0 else "")
        axes[2 * row, column].tick_params(labelbottom=False)
    _alike(list(axes[1::2].flat)[: len(readings)])
    for place in range(len(readings), rows * COLUMNS):
        row, column = divmod(place, COLUMNS)
        axes[2 * row, column].set_axis_off()
        axes[2 * row + 1, column].set_axis_off()
    _legend(figure, axes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        figure.savefig(beside, dpi=100, format="png")
    return figure


def _panel(axis: Axes, name: str, found: Readings, limit: Limits) -> None:
    """One quantity against its dose, with what it can reach."""
    _lines(axis, found, UPPER)
    axis.axhline(limit.high, color=BLACK, linewidth=1.4, label="exact ceiling; of fusion log B")
    axis.axhline(limit.low, color=BLACK, linewidth=1, linestyle="-.", label="floor")
    for height, text, side in ((limit.high, limit.name, "bottom"), (limit.low, "floor", "top")):
        axis.annotate(
            f"{text} {height:.2f}", (0.98, height), xycoords=("axes fraction", "data"),
            xytext=(0, 2 if side == "bottom" else -2), textcoords="offset points",
            ha="right", va=side, fontsize=9,
        )  # fmt: skip
    room = 0.12 * (limit.high - limit.low)
    low, high = axis.get_ylim()
    axis.set_ylim(min(low, limit.low - room), max(high, limit.high + room))
    axis.set_title(name, fontsize=12)


def _accuracy(axis: Axes, found: Readings, *, first: bool) -> None:
    """Test accuracy against the dose; the unsteered model's across."""
    _lines(axis, found, LOWER)
    if 0.0 in found:
        unsteered = float(np.mean([reading.last for reading in found[0.0]]))
        axis.axhline(unsteered, color=BLACK, linewidth=1, linestyle=":")
    axis.set_xlabel("dose")
    axis.set_ylabel("accuracy" if first else "")


def _alike(axes: Sequence[Axes]) -> None:
    """One range of accuracies for all panels, or a panel of noise would look like one of change."""
    ranges = np.array([axis.get_ylim() for axis in axes])
    for axis in axes:
        axis.set_ylim(ranges[:, 0].min(), ranges[:, 1].max())


def _lines(axis: Axes, found: Readings, styles: Sequence[Style]) -> None:
    places = np.arange(len(found))
    for style in styles:
        pairs = [interval([getattr(r, style.what) for r in each]) for each in found.values()]
        means, halves = np.array(pairs).T
        axis.errorbar(
            places + style.shift, means, np.nan_to_num(halves), label=style.label,
            color=style.colour, marker=style.marker, linestyle=style.line, markersize=5,
            linewidth=1.5, capsize=3,
        )  # fmt: skip
    axis.set_xticks(places, [f"{dose:+g}" if dose else "0" for dose in found], rotation=60)
    axis.tick_params(labelsize=9)
    axis.grid(alpha=0.3)
    if 0.0 in found:
        axis.axvline(list(found).index(0.0), color=GREY, linewidth=0.8)


def _legend(figure: Figure, axes: np.ndarray) -> None:
    """One legend for all panels."""
    handles = axes[0, 0].get_legend_handles_labels()[0] + axes[1, 0].get_legend_handles_labels()[0]
    labels = [handle.get_label() for handle in handles]
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=11)
