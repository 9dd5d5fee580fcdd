"""How all pictures look: colours, panels, and figures as PNG bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lsmi.report.words import atom_names
from lsmi.results import Pair

# Okabe and Ito (2008): told apart by the colour-blind and in print
COLOURS = {"r": "#0072B2", "u1": "#E69F00", "u2": "#CC79A7", "s": "#009E73"}
SOURCES = {"i1": "#D55E00", "i2": "#56B4E9", "i12": "#000000"}  # the rest of their palette
MARKERS = {"i1": "o", "i2": "s", "i12": "D"}
INK, LINE, GRID, BAND = "0.15", "0.35", "0.9", "0.82"
TEXT, SMALL = 10, 8.5  # points
SMALLEST_RANGE = 0.1  # nats that an axis of totals spans at least: noise is not magnified
DPI = 130
COLUMNS = 3  # panels side by side, at most


def panels(
    count: int,
    width: float = 3.3,
    height: float = 3.2,
    *,
    share: bool = True,
    columns: int = COLUMNS,
) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` panels, in rows of ``columns``.

    Args:
        count: at least 1.
        width: inches of a panel.
        height: inches of a panel.
        share: whether all have the same axes.
        columns: panels side by side, at most.
    """
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(max(columns * width, 5.5), rows * height + 0.8), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=share, sharey=share, squeeze=False).ravel()
    for spare in grid[count:]:
        spare.set_visible(False)
    return figure, list(grid[:count])


def tidy(panel: Axes, *, grid: Literal["x", "y", "both"] = "y") -> None:
    """Thin grid behind the data, no frame."""
    panel.grid(axis=grid, color=GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=SMALL, color=LINE)


def room(low: float, high: float, margin: float = 0.08) -> tuple[float, float]:
    """Limits of an axis of totals: 0 in sight, some room, and at least the smallest range."""
    low, high = min(0.0, low), max(0.0, high)
    extra = max(margin * (high - low), (SMALLEST_RANGE - (high - low)) / 2)
    return low - extra, high + extra


def finite(values: list[float]) -> list[float]:
    """Those that are numbers."""
    return [value for value in values if math.isfinite(value)]


def literal(text: str) -> str:
    """``text`` for a picture, where a dollar sign would start a formula."""
    return text.replace("$", r"\$")


def atom_handles(pair: Pair) -> list[Patch]:
    """Legend entries of the four atoms."""
    return [
        Patch(color=COLOURS[atom], label=literal(name)) for atom, name in atom_names(pair).items()
    ]


def dot_handle(label: str, **look: Any) -> Line2D:
    """A legend entry that is a marker or a line."""
    return Line2D([], [], **{"linestyle": "none", "color": INK, "label": label, **look})


def legend(figure: Figure, handles: Sequence[Artist], columns: int = 4) -> None:
    """One legend below all panels."""
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=TEXT,
    )


def errors(value: float, low: float, high: float) -> np.ndarray:
    """``(2, 1)`` lengths of a whisker; a percentile interval need not hold the value itself."""
    lengths = np.array([[value - low], [high - value]])
    return np.maximum(np.nan_to_num(lengths), 0.0)


def png(figure: Figure) -> bytes:
    """The figure as a PNG."""
    out = io.BytesIO()
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(DPI)
    canvas.print_png(out, metadata={"Software": "mimrl"})
    return out.getvalue()
