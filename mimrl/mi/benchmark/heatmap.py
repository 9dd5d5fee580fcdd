"""The result of a benchmark as a picture, after figure 1 of Czyz et al., "Beyond Normal" (2023).

Every cell holds an estimate in nats and is coloured by its error: red where it is too large, blue
where it is too small. Below are the means of each estimator.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from mimrl.mi.benchmark.result import CLOSE, BenchmarkResult
from mimrl.mi.writing import written_whole

MOST_ERROR = 0.5
"""Nats of error beyond which the colour does not change."""
COLOURS = "RdBu_r"
FAILED = "failed"
FONT = 8
CELL_WIDTH, ROW_HEIGHT = 0.58, 0.235  # inches that hold "12.34" in this font
LETTER = 0.066  # inches of a letter, roughly
DOTS_PER_INCH = 130


def draw_heatmap(result: BenchmarkResult, path: Path | None = None) -> Figure:
    """Tasks in rows with their information, estimators in columns.

    Args:
        result: what was found.
        path: where the PNG is written, by a rename; None writes nothing.
    """
    tasks, estimators = list(result.tasks), list(result.estimators)
    left = LETTER * (max(len(task) for task in tasks) + 8)
    top = LETTER * max(len(name) for name in estimators) + 0.15
    bottom, right = 2 * ROW_HEIGHT + 0.25, 0.9
    grid = max(CELL_WIDTH * len(estimators), 1.2), ROW_HEIGHT * len(tasks)
    size = left + grid[0] + right, top + grid[1] + bottom
    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    axis = figure.add_axes((left / size[0], bottom / size[1], grid[0] / size[0], grid[1] / size[1]))
    image = _draw_cells(axis, result)
    _label(axis, result)
    _draw_totals(axis, result)
    bar = figure.add_axes(
        ((left + grid[0] + 0.2) / size[0], bottom / size[1], 0.12 / size[0], grid[1] / size[1])
    )
    figure.colorbar(image, cax=bar, extend="both")
    bar.set_ylabel("estimate - truth (nats)", fontsize=FONT)
    bar.tick_params(labelsize=FONT - 1)
    if path is not None:
        with written_whole(path) as beside:
            figure.savefig(beside, dpi=DOTS_PER_INCH, format="png")
    return figure


def errors(result: BenchmarkResult) -> npt.NDArray[np.float64]:
    """``(tasks, estimators)`` estimate less truth in nats, NaN where there is no estimate."""
    found = np.full((len(result.tasks), len(result.estimators)), np.nan)
    for row, task in enumerate(result.tasks):
        for column, name in enumerate(result.estimators):
            cell = result.cells.get((task, name))
            if cell is not None and cell.error is not None:
                found[row, column] = cell.error
    return found


def _draw_cells(axis: Axes, result: BenchmarkResult) -> AxesImage:
    scale = Normalize(-MOST_ERROR, MOST_ERROR, clip=True)
    colours = colormaps[COLOURS]
    found = errors(result)
    image = axis.imshow(found, cmap=colours, norm=scale, aspect="auto")
    axis.set_facecolor("0.88")  # seen where there is no estimate
    for row, task in enumerate(result.tasks):
        for column, name in enumerate(result.estimators):
            cell = result.cells.get((task, name))
            if cell is None:
                continue
            text = FAILED if cell.estimate is None else f"{cell.estimate:z.2f}"
            dark = abs(scale(np.nan_to_num(found[row, column])) - 0.5) > 0.33
            axis.text(
                *(column, row, text),
                ha="center",
                va="center",
                fontsize=FONT - 1,
                color="white" if dark else "black",
            )
    return image


def _label(axis: Axes, result: BenchmarkResult) -> None:
    rows = [f"{task}  {truth:6.2f}" for task, truth in result.tasks.items()]
    axis.set_yticks(range(len(rows)), rows, fontsize=FONT)
    axis.set_xticks(range(len(result.estimators)), result.estimators, fontsize=FONT, rotation=90)
    axis.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axis.annotate(
        "task and truth (nats)",
        (0, 1),
        (-4, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        fontsize=FONT,
        weight="bold",
    )
    axis.set_xticks(np.arange(len(result.estimators) + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="white", linewidth=0.8)
    axis.tick_params(which="minor", length=0, top=False)
    axis.spines[:].set_visible(False)


def _draw_totals(axis: Axes, result: BenchmarkResult) -> None:
    """Two lines of text below the cells."""
    totals = [result.totals[name] for name in result.estimators]
    lines = {
        "mean absolute error": [
            "-" if one.mean_absolute_error is None else f"{one.mean_absolute_error:.3f}"
            for one in totals
        ],
        f"tasks within {CLOSE:g} nats": [f"{one.within}/{one.tasks}" for one in totals],
    }
    style: dict[str, Any] = {"fontsize": FONT, "weight": "bold", "va": "center", "clip_on": False}
    for number, (name, texts) in enumerate(lines.items()):
        height = len(result.tasks) + 0.2 + number
        axis.text(-0.6, height, name, ha="right", **style)
        for column, text in enumerate(texts):
            axis.text(column, height, text, ha="center", **style | {"fontsize": FONT - 1})
