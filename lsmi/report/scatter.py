"""Pictures of single samples: scatter plots, histograms, and who is led by which atom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lsmi.report.readings import leading_shares
from lsmi.report.style import (
    COLOURS,
    INK,
    LINE,
    SMALL,
    TEXT,
    atom_handles,
    dot_handle,
    legend,
    literal,
    room,
    tidy,
)
from lsmi.report.words import class_label, number, pair_title, share, short
from lsmi.results import ATOMS, PairReading, SplitReading

FloatArray = npt.NDArray[np.float64]
BINS = 40
MOST_CLASSES = 12  # rows a split in the picture of shares
NARROWEST = 0.08  # a share below this has no room for its number


def samples(pair: PairReading, split: str) -> Figure:
    """Every sample of a split: u1 against u2, r against s, i1 against i2, and histograms.

    Atoms are those after the published adjustment, which also decides who leads.
    """
    reading = pair.splits[split]
    figure = Figure(figsize=(10.2, 6.4), layout="constrained")
    # two rows with widths of their own: in one grid long tick labels leave no room for the panels
    grid = figure.add_gridspec(2, 1, height_ratios=(1.5, 1))
    above, below = (figure.add_subfigure(grid[row, 0]) for row in range(2))
    atoms, known = reading.decomposition.adjusted, reading.decomposition.information
    drawn = (("u1", atoms.u1, "u2", atoms.u2), ("r", atoms.r, "s", atoms.s),
             ("i1", known.i1, "i2", known.i2))  # fmt: skip
    for panel, (first, x, second, y) in zip(above.subplots(1, 3), drawn, strict=True):
        _points(panel, x, y, reading)
        panel.set_xlabel(_axis_name(first, pair), fontsize=SMALL)
        panel.set_ylabel(_axis_name(second, pair), fontsize=SMALL)
    _histograms(below.subplots(1, 4), reading)
    title = f"{short(pair_title(pair.names), 60)}, {split}: {len(reading.ids)} samples, adjusted"
    figure.suptitle(literal(title), fontsize=TEXT + 1)
    handles = [
        dot_handle(f"led by {patch.get_label()}", marker="o", color=COLOURS[atom])
        for atom, patch in zip(ATOMS, atom_handles(pair.names), strict=True)
    ]
    legend(figure, handles)
    return figure


def _axis_name(name: str, pair: PairReading) -> str:
    meaning = {
        **{"u1": f"only {short(pair.names[0])}", "u2": f"only {short(pair.names[1])}"},
        **{"r": "redundant", "s": "synergy"},
        **{"i1": short(pair.names[0]), "i2": short(pair.names[1])},
    }
    return literal(f"{name}: {meaning[name]} (nats)")


def _points(panel: Axes, x: FloatArray, y: FloatArray, reading: SplitReading) -> None:
    """All samples in one layer in their own order, so that no colour lies over the others."""
    count = len(x)
    colours = np.array([COLOURS[name] for name in reading.leading])
    size = float(np.clip(4000 / count, 3, 22))
    panel.axhline(0, color=LINE, linewidth=0.8)
    panel.axvline(0, color=LINE, linewidth=0.8)
    panel.scatter(x, y, s=size, c=colours, alpha=0.75 if count < 1500 else 0.5, linewidths=0)
    # rounding makes zeros that differ by 1e-16: an axis of that length says nothing
    panel.set_xlim(*room(float(x.min()), float(x.max())))
    panel.set_ylim(*room(float(y.min()), float(y.max())))
    panel.xaxis.set_major_locator(MaxNLocator(5))
    tidy(panel, grid="both")


def _histograms(axes: Sequence[Axes], reading: SplitReading) -> None:
    values = {name: getattr(reading.decomposition.adjusted, name) for name in ATOMS}
    edges = np.linspace(
        *room(
            min(float(one.min()) for one in values.values()),
            max(float(one.max()) for one in values.values()),
            margin=0.0,
        ),
        BINS + 1,
    ).tolist()
    highest = 0.0
    for panel, (name, one) in zip(axes, values.items(), strict=True):
        heights, _, _ = panel.hist(one, edges, color=COLOURS[name])
        highest = max(highest, float(np.max(heights)))
        panel.axvline(0, color=LINE, linewidth=0.8)
        mean = float(one.mean())
        panel.axvline(mean, color=INK, linewidth=1.3, linestyle="--")
        panel.set_title(f"{name}: mean {number(mean)} (dashed)", fontsize=SMALL)
        panel.set_xlabel("nats", fontsize=SMALL)
        tidy(panel)
    for k, panel in enumerate(axes):
        panel.set_ylim(0, 1.05 * highest)
        panel.tick_params(labelleft=k == 0)
    axes[0].set_ylabel("samples", fontsize=SMALL)


def leading(pair: PairReading, class_names: Sequence[str] = ()) -> Figure:
    """Share of samples led by each atom: a bar for each split and, below it, for each label."""
    rows = _rows(pair, class_names)
    figure = Figure(figsize=(7.6, 1.5 + 0.3 * len(rows)), layout="constrained")
    panel = figure.subplots()
    height = 0.0
    places: list[float] = []
    for strong, _, shares in rows:
        height += 0.45 if strong and places else 0.0
        places.append(height)
        _share_bar(panel, height, shares, strong)
        height += 1.0
    panel.set_yticks(places, [literal(name) for _, name, _ in rows])
    for (strong, _, _), tick in zip(rows, panel.get_yticklabels(), strict=True):
        tick.set_fontweight("bold" if strong else "normal")
    panel.set_ylim(height - 0.4, -0.6)
    panel.set_xlim(0, 1)
    panel.set_xticks(np.linspace(0, 1, 5), ["0 %", "25 %", "50 %", "75 %", "100 %"])
    tidy(panel, grid="x")
    panel.spines[["left"]].set_visible(False)
    panel.tick_params(axis="y", length=0)
    figure.suptitle(literal(short(pair_title(pair.names), 60)), fontsize=TEXT + 1)
    legend(figure, atom_handles(pair.names))
    return figure


def _rows(
    pair: PairReading, class_names: Sequence[str]
) -> list[tuple[bool, str, dict[str, float]]]:
    """Whether it is a whole split, the name, the shares."""
    rows = []
    for split, reading in pair.splits.items():
        rows.append((True, f"{split}, N = {len(reading.ids)}", leading_shares(reading)))
        labels, counts = np.unique(reading.labels, return_counts=True)
        frequent = np.sort(labels[np.argsort(-counts, kind="stable")[:MOST_CLASSES]])
        for label in map(int, frequent):
            count = int((reading.labels == label).sum())
            name = f"label {short(class_label(label, class_names))}, N = {count}"
            rows.append((False, name, leading_shares(reading, label)))
    return rows


def _share_bar(panel: Axes, height: float, shares: dict[str, float], strong: bool) -> None:
    left = 0.0
    for atom, value in shares.items():
        panel.barh(height, value, 0.8 if strong else 0.68, left=left, color=COLOURS[atom],
                   edgecolor="white", linewidth=0.6, alpha=1 if strong else 0.8)  # fmt: skip
        if value >= NARROWEST:
            light = atom in ("r", "s")
            panel.text(left + value / 2, height, share(value), ha="center", va="center",
                       fontsize=SMALL, color="white" if light else "black")  # fmt: skip
        left += value
