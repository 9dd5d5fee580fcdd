"""Pictures of totals over checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lsmi.report.changes import BALANCE, KINDS, Course
from lsmi.report.style import (
    COLOURS,
    INK,
    LINE,
    SMALL,
    TEXT,
    dot_handle,
    errors,
    finite,
    legend,
    literal,
    room,
    tidy,
)
from lsmi.report.words import atom_names, pair_title, short
from lsmi.results import Pair

DODGE = 0.07  # between the points of one checkpoint
LONG = 9  # characters of a checkpoint's name from which names are slanted


def over_checkpoints(courses: Sequence[Course], checkpoints: Sequence[str]) -> Figure:
    """All pairs: a row a pair, a column a split, raw totals."""
    pairs = list(dict.fromkeys(course.pair for course in courses))
    splits = list(dict.fromkeys(course.split for course in courses))
    figure, axes = _grid(len(pairs), len(splits))
    for row, pair in enumerate(pairs):
        limits = [0.0]
        for course in (one for one in courses if one.pair == pair):
            panel = axes[row, splits.index(course.split)]
            limits += _lines(panel, course, "raw", checkpoints)
        axes[row, 0].set_ylim(*room(min(limits), max(limits), 0.05))
    _name(axes, [f"{short(a)} (1), {short(b)} (2)" for a, b in pairs], splits)
    figure.suptitle("Raw totals", fontsize=TEXT + 1)
    _legend(figure, ("the first", "the second"))
    return figure


def pair_over_checkpoints(courses: Sequence[Course], checkpoints: Sequence[str]) -> Figure:
    """One pair: raw in the upper row, adjusted in the lower, a column a split."""
    figure, axes = _grid(len(KINDS), len(courses))
    for row, kind in enumerate(KINDS):
        limits = [0.0]
        for panel, course in zip(axes[row], courses, strict=True):
            limits += _lines(panel, course, kind, checkpoints)
        axes[row, 0].set_ylim(*room(min(limits), max(limits), 0.05))
    _name(axes, list(KINDS), [course.split for course in courses])
    figure.suptitle(literal(short(pair_title(courses[0].pair), 60)), fontsize=TEXT + 1)
    _legend(figure, courses[0].pair)
    return figure


def _grid(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    size = (max(5.5, 3.3 * columns), 2.5 * rows + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)


def _lines(panel: Axes, course: Course, kind: str, checkpoints: Sequence[str]) -> list[float]:
    """Draws the five totals; gives what the axis has to span."""
    totals = course.totals(kind)
    places = np.array([checkpoints.index(name) for name in totals], dtype=float)
    limits = [0.0]
    for k, name in enumerate((*COLOURS, BALANCE)):
        found = [one[name] for one in totals.values()]
        look: dict[str, Any] = {
            "color": COLOURS.get(name, INK),
            "linestyle": "--" if name == BALANCE else "-",
        }
        spread = np.hstack([errors(one.value, one.low, one.high) for one in found])
        panel.errorbar(places + (k - 2) * DODGE, [one.value for one in found], spread, marker="o",
                       markersize=4, linewidth=1.5, elinewidth=1, capsize=2, **look)  # fmt: skip
        limits += finite([edge for one in found for edge in (one.value, one.low, one.high)])
    panel.axhline(0, color=LINE, linewidth=0.8)
    longest = max(map(len, checkpoints))
    panel.set_xticks(range(len(checkpoints)), [literal(short(name, 24)) for name in checkpoints],
                     rotation=30 if longest > LONG else 0,
                     ha="right" if longest > LONG else "center")  # fmt: skip
    panel.set_xlim(-0.4, len(checkpoints) - 0.6)
    tidy(panel)
    return limits


def _name(axes: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    for panel, name in zip(axes[0], columns, strict=True):
        panel.set_title(literal(name), fontsize=TEXT)
    for panel, name in zip(axes[:, 0], rows, strict=True):
        panel.set_ylabel(literal(f"{name}\nnats"), fontsize=SMALL)


def _legend(figure: Figure, pair: Pair) -> None:
    handles = [
        dot_handle(literal(name), marker="o", color=COLOURS[atom], linestyle="-")
        for atom, name in atom_names(pair).items()
    ]
    handles.append(dot_handle("|U1 - U2|", marker="o", linestyle="--"))
    legend(figure, handles, columns=5)
