"""The picture of a reading: R, U1, U2, S of each split, raw beside adjusted."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lsmi.decomposition import Totals
from lsmi.pipeline import Analysis

# Okabe and Ito (2008): told apart by the colour-blind and in print
COLOURS = {"r": "#0072B2", "u1": "#E69F00", "u2": "#CC79A7", "s": "#009E73"}
SMALLEST_RANGE = 0.2  # nats that the axis spans at least


def draw(analysis: Analysis, names: tuple[str, str]) -> bytes:
    """A PNG: two panels (raw, adjusted), a group of four bars for each split, in nats.

    Args:
        analysis: the result.
        names: the two modalities.
    """
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    readings = analysis.splits.values()
    raw = [reading.decomposition.raw.totals for reading in readings]
    adjusted = [reading.decomposition.adjusted.totals for reading in readings]
    legend = {"r": "R redundant", "u1": f"U1 only {names[0]}", "u2": f"U2 only {names[1]}",
              "s": "S synergy"}  # fmt: skip
    _bars(panels[0], raw, legend)
    _bars(panels[1], adjusted, legend)
    panels[0].set_ylabel("information about the label (nats)")
    panels[0].set_title("raw")
    panels[1].set_title("adjusted")
    ticks = [
        f"{split}\nN = {len(reading.ids)}\n"
        f"I12 = {_two_digits(reading.decomposition.information.i12.mean())}"
        for split, reading in analysis.splits.items()
    ]
    for panel in panels:
        panel.set_xticks(range(len(ticks)), ticks)
    _set_range(panels[0], [value for total in (*raw, *adjusted) for value in total])
    figure.suptitle(f"LSMI: {names[0]} and {names[1]}", fontsize=13)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out, metadata={"Software": "mimrl"})
    return out.getvalue()


def _set_range(panel: Axes, values: list[float]) -> None:
    """Room for the numbers, and no magnifying of differences that are noise."""
    low, high = min(0.0, *values), max(0.0, *values)
    room = max(0.12 * (high - low), (SMALLEST_RANGE - (high - low)) / 2)
    panel.set_ylim(low - room, high + room)


def _two_digits(value: float) -> str:
    return f"{round(float(value), 2) + 0.0:.2f}"


def _bars(panel: Axes, totals: list[Totals], legend: dict[str, str]) -> None:
    width = 0.2
    for number, (name, label) in enumerate(legend.items()):
        heights = [getattr(total, name) for total in totals]
        places = np.arange(len(totals)) + (number - 1.5) * width
        bars = panel.bar(places, heights, width * 0.92, color=COLOURS[name], label=label)
        panel.bar_label(bars, [f"{round(h, 2) + 0.0:.2f}" for h in heights], fontsize=8, padding=2)
    panel.axhline(0, color="0.2", linewidth=0.8)
    panel.grid(axis="y", color="0.9")
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
