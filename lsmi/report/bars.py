"""Pictures of totals: stacked bars of every pair and split, and totals beside their control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from lsmi.report.readings import ROUNDING, distinct_kinds, quantities
from lsmi.report.style import (
    BAND,
    COLOURS,
    INK,
    LINE,
    SMALL,
    TEXT,
    atom_handles,
    dot_handle,
    errors,
    finite,
    legend,
    literal,
    panels,
    room,
    tidy,
)
from lsmi.report.words import LETTERS, pair_title, short, splits_of
from lsmi.results import ATOMS, Analysis, PairReading, Quantity

SHORT_KINDS = {"raw": "raw", "adjusted": "adj.", "feasible": "feas."}
STEP = 0.85  # between bars of one split
FEW_PAIRS = 3  # up to which the splits of the overview lie side by side
GAP = 0.7  # more between splits


def stack(panel: Axes, place: float, found: Mapping[str, Quantity], width: float = 0.7) -> None:
    """One bar: what is positive is stacked above zero, what is negative below; a mark at the sum.

    Whiskers are the intervals of the segments, each at the end of its own.
    """
    ends = {True: 0.0, False: 0.0}
    for k, (atom, quantity) in enumerate(found.items()):
        up = quantity.value > ROUNDING  # a zero's whisker lies at zero, not on the stack
        panel.bar(place, quantity.value, width, bottom=ends[up], color=COLOURS[atom],
                  edgecolor="white", linewidth=0.6)  # fmt: skip
        ends[up] += quantity.value
        panel.errorbar(place + (k - 1.5) * width / 4.5, ends[up],
                       errors(quantity.value, quantity.low, quantity.high),
                       color=INK, linewidth=1, capsize=2, zorder=3)  # fmt: skip
    total = sum(ends.values())
    panel.plot([place - width / 2, place + width / 2], [total, total], color=INK, linewidth=2.2,
               zorder=4, solid_capstyle="butt")  # fmt: skip


def reach(found: Mapping[str, Quantity]) -> tuple[float, float]:
    """Lowest and highest point of a stacked bar with its whiskers."""
    ups = sum(max(one.value, 0.0) for one in found.values())
    downs = sum(min(one.value, 0.0) for one in found.values())
    longest = max(finite([one.high - one.low for one in found.values()]), default=0.0)
    return downs - longest / 2, ups + longest / 2


def bars(pair: PairReading) -> Figure:
    """Stacked bars of one pair: for each split raw, adjusted and, where it is another, feasible."""
    figure, (panel,) = panels(1, width=max(5.5, 1.0 + 1.9 * len(pair.splits)), height=3.8)
    places, names, middles, limits = [], [], [], [0.0]
    place = 0.0
    for split, reading in pair.splits.items():
        first = place
        for kind in distinct_kinds(reading):
            found = quantities(reading, kind)
            stack(panel, place, found)
            limits += reach(found)
            places.append(place)
            names.append(SHORT_KINDS[kind])
            place += STEP
        middles.append(((first + place - STEP) / 2, f"{split}, N = {len(reading.ids)}"))
        place += GAP
    panel.set_xticks(places, names)
    panel.set_ylim(*room(min(limits), max(limits)))
    _second_line(panel, middles)
    _finish(figure, panel, pair)
    return figure


def _second_line(panel: Axes, labels: Sequence[tuple[float, str]]) -> None:
    below = panel.secondary_xaxis(location=-0.075)
    below.set_xticks([place for place, _ in labels], [literal(text) for _, text in labels])
    below.tick_params(length=0, labelsize=TEXT)
    below.spines["bottom"].set_visible(False)


def _finish(figure: Figure, panel: Axes, pair: PairReading) -> None:
    panel.axhline(0, color=LINE, linewidth=0.8)
    panel.set_ylabel("nats about the label", fontsize=TEXT)
    tidy(panel)
    figure.suptitle(literal(short(pair_title(pair.names), 60)), fontsize=TEXT + 1)
    marks = [dot_handle("sum = I12", linestyle="-", linewidth=2.2)]
    legend(figure, [*atom_handles(pair.names), *marks], columns=3)


def overview(analysis: Analysis) -> Figure:
    """All pairs and splits: a panel a split, in it for each pair a raw and an adjusted bar."""
    splits = splits_of(analysis)
    if len(analysis.pairs) <= FEW_PAIRS:
        figure, axes = panels(len(splits), width=3.7, height=3.8)
    else:  # one below the other, or the words become too small
        width = 1.2 + 1.25 * len(analysis.pairs)
        figure, axes = panels(len(splits), width=width, height=2.9, columns=1)
    limits = [0.0]
    for panel, split in zip(axes, splits, strict=True):
        ticks = []
        for place, (names, pair) in enumerate(analysis.pairs.items()):
            ticks.append("\n".join(literal(short(name, 12)) for name in names))
            if split not in pair.splits:
                continue
            for kind, shift in (("raw", -0.2), ("adjusted", 0.2)):
                found = quantities(pair.splits[split], kind)
                stack(panel, place + shift, found, width=0.36)
                limits += reach(found)
        panel.set_xticks(range(len(ticks)), ticks)
        panel.axhline(0, color=LINE, linewidth=0.8)
        panel.set_title(literal(split), fontsize=TEXT)
        tidy(panel)
        panel.tick_params(labelbottom=True)
    axes[0].set_ylim(*room(min(limits), max(limits)))
    for panel in axes[:1] if len(analysis.pairs) <= FEW_PAIRS else axes:
        panel.set_ylabel("nats about the label", fontsize=TEXT)
    figure.suptitle("Left bar of each pair: raw; right bar: adjusted", fontsize=TEXT)
    marks = [dot_handle("sum = I12", linestyle="-", linewidth=2.2)]
    legend(figure, [*atom_handles(("the first", "the second")), *marks], columns=5)
    return figure


def intervals(pair: PairReading) -> Figure:
    """Every total as a point with its interval, over the range that shuffled labels gave."""
    figure, axes = panels(len(pair.splits), width=3.3, height=3.0)
    limits: list[float] = [0.0]
    for panel, (split, reading) in zip(axes, pair.splits.items(), strict=True):
        drawn = distinct_kinds(reading)
        for row, atom in enumerate(ATOMS):
            for k, kind in enumerate(drawn):
                found = quantities(reading, kind)[atom]
                height = row + (k - (len(drawn) - 1) / 2) * 0.26
                _row(panel, height, found, COLOURS[atom], kind)
                edges = (found.low, found.high, found.control_low, found.control_high)
                limits += finite([found.value, *(one for one in edges if one is not None)])
        panel.set_yticks(range(len(ATOMS)), [LETTERS[atom] for atom in ATOMS])
        panel.set_ylim(len(ATOMS) - 0.45, -0.55)
        panel.axvline(0, color=LINE, linewidth=0.8)
        panel.set_title(literal(split), fontsize=TEXT)
        tidy(panel, grid="x")
        panel.set_xlabel("nats", fontsize=SMALL)
        panel.tick_params(labelbottom=True)
        panel.xaxis.set_major_locator(MaxNLocator(5))
    axes[0].set_xlim(*room(min(limits), max(limits), 0.05))
    figure.suptitle(literal(short(pair_title(pair.names), 60)), fontsize=TEXT + 1)
    legend(figure, _interval_handles(pair), columns=4)
    return figure


def _row(panel: Axes, height: float, found: Quantity, colour: str, kind: str) -> None:
    if found.control_low is not None and found.control_high is not None:
        panel.fill_betweenx([height - 0.1, height + 0.1], found.control_low, found.control_high,
                            color=BAND, linewidth=2.5)  # fmt: skip
    faces = {"raw": colour, "adjusted": "white", "feasible": "white"}
    shapes = {"raw": "o", "adjusted": "o", "feasible": "D"}
    panel.errorbar(found.value, height, xerr=errors(found.value, found.low, found.high),
                   color=colour, marker=shapes[kind], markerfacecolor=faces[kind], markersize=6,
                   linewidth=1.6, capsize=3, zorder=3)  # fmt: skip


def _interval_handles(pair: PairReading) -> list[Artist]:
    drawn = {kind for reading in pair.splits.values() for kind in distinct_kinds(reading)}
    handles: list[Artist] = [
        dot_handle("raw", marker="o"),
        dot_handle("adjusted", marker="o", markerfacecolor="white"),
    ]
    if "feasible" in drawn:
        handles.append(dot_handle("feasible", marker="D", markerfacecolor="white"))
    if any(
        found.control is not None
        for reading in pair.splits.values()
        for found in reading.quantities.values()
    ):
        handles.append(Patch(color=BAND, label="shuffled labels"))
    return handles
