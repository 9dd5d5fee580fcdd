"""The training curves of a run as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mimrl.mi.writing import written_whole

COLOURS = 10
STYLES = ("-", "--", ":")
Log = Sequence[Mapping[str, Any]]


def draw_curves(log: Log, path: Path | None = None, *, chosen: int | None = None) -> Figure:
    """Task loss, validation metrics, held-out terms and quantities against epochs.

    Args:
        log: lines of a run's ``log.jsonl``.
        path: where the PNG is written, by a rename; None writes nothing.
        chosen: the epoch that validation chose, marked in every panel.
    """
    figure = Figure(figsize=(14, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    loss = {
        "task loss (train)": _series(log, "stage2", "task"),
        "total loss (train)": _series(log, "stage2", "total"),
    }
    panels = (
        (loss, "Loss of stage 2", ""),
        (_group(log, "metrics"), "Validation metrics", ""),
        (_group(log, "terms"), "Terms, held out (validation)", "nats"),
        (_group(log, "quantities"), "Quantities, held out", "nats"),
    )
    for axis, (lines, title, unit) in zip(axes.flat, panels, strict=True):
        if chosen is not None and lines:
            axis.axvline(chosen, color="0.5", linestyle=":", linewidth=1, label="chosen epoch")
        _lines(axis, log, lines, title, unit)
    if path is not None:
        with written_whole(path) as beside:
            figure.savefig(beside, dpi=110, format="png")
    return figure


def _series(log: Log, *keys: str) -> list[float]:
    found = []
    for record in log:
        value: Any = record
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        found.append(float("nan") if value is None else float(value))
    return found


def _group(log: Log, name: str) -> dict[str, list[float]]:
    names = {key: None for record in log for key in record["valid"].get(name, {})}
    return {key: _series(log, "valid", name, key) for key in names}


def _lines(
    axis: Axes, log: Log, lines: Mapping[str, Sequence[float]], title: str, unit: str
) -> None:
    epochs = [int(record["epoch"]) for record in log]
    for index, (name, values) in enumerate(lines.items()):
        style = STYLES[index // COLOURS % len(STYLES)]
        axis.plot(epochs, np.asarray(values), style, marker=".", markersize=4, label=name)
    # of one epoch alone, a second tick would have to be a fraction
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.set_title(title, fontsize=11)
    axis.set_xlabel("epoch")
    axis.set_ylabel(unit)
    axis.grid(alpha=0.3)
    if lines:
        axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    else:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.text(0.5, 0.5, "not estimated", ha="center", transform=axis.transAxes)
