"""Pictures of how far the numbers can be trusted: calibration, and the totals at other scales."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lsmi.report.readings import totals_at
from lsmi.report.style import (
    COLOURS,
    INK,
    LINE,
    MARKERS,
    SMALL,
    SOURCES,
    TEXT,
    atom_handles,
    dot_handle,
    legend,
    literal,
    panels,
    room,
    tidy,
)
from lsmi.report.words import number, pair_title, short, signed
from lsmi.results import ATOMS, PairReading, Reliability, ScaleReading, SplitReading

FloatArray = npt.NDArray[np.float64]
POINTS = 97  # of the curves over the offset
TAIL = 0.01  # share of the samples' switches on either side that the axis may leave out
NEAR = 0.05  # scales closer than this share of the axis get one mark
TALLEST = 260  # points^2 of the marker of a bin that holds all samples


def calibration(pair: PairReading) -> Figure:
    """Reliability diagrams of the three classifiers, a panel a split."""
    figure, axes = panels(len(pair.splits), width=3.3, height=3.9)
    names = {"i1": pair.names[0], "i2": pair.names[1], "i12": "both"}
    lowest = min(
        (float(min(one.confidence.min(initial=1), one.accuracy.min(initial=1)))
         for reading in pair.splits.values() for one in reading.reliability.values()),
        default=0.0,
    )  # fmt: skip
    for panel, (split, reading) in zip(axes, pair.splits.items(), strict=True):
        _reliability(panel, reading.reliability)
        panel.set_title(literal(split), fontsize=TEXT)
    margin = 0.04
    for panel in axes:
        panel.set_xlim(max(0.0, lowest - margin) - 0.01, 1 + margin)
        panel.set_ylim(max(0.0, lowest - margin) - 0.01, 1 + margin)
    axes[0].set_ylabel("share of samples where it is right", fontsize=SMALL)
    figure.suptitle(literal(short(pair_title(pair.names), 60)), fontsize=TEXT + 1)
    handles = [
        dot_handle(literal(short(name)), marker=MARKERS[key], color=SOURCES[key], linestyle="-")
        for key, name in names.items()
    ]
    handles.append(dot_handle("perfect", linestyle="--", color=LINE))
    legend(figure, handles)
    return figure


def _reliability(panel: Axes, found: Mapping[str, Reliability]) -> None:
    panel.plot([0, 1], [0, 1], color=LINE, linestyle="--", linewidth=1)
    for key, one in found.items():
        sizes = TALLEST * one.count / max(int(one.count.sum()), 1)
        look: dict[str, Any] = {"color": SOURCES[key], "alpha": 0.9}
        panel.plot(one.confidence, one.accuracy, linewidth=1.2, **look)
        panel.scatter(one.confidence, one.accuracy, s=8 + sizes, marker=MARKERS[key],
                      linewidths=0.6, edgecolors="white", zorder=3, **look)  # fmt: skip
    label = "probability of its likeliest class"
    if found:
        label += "\ncalibration error: " + ", ".join(number(one.error) for one in found.values())
    panel.set_xlabel(label, fontsize=SMALL)
    panel.tick_params(labelbottom=True)
    tidy(panel, grid="both")


def scales(pair: PairReading) -> Figure:
    """Raw R, U1, U2, S against the offset of ``h1 - h2``, the named scales marked; a panel a split.

    To the far left every sample reads ``r = i1``, to the far right ``r = i2``.
    """
    figure, axes = panels(len(pair.splits), width=3.4, height=3.7, share=False)
    limits = [0.0]
    for panel, (split, reading) in zip(axes, pair.splits.items(), strict=True):
        offsets = _offsets(reading)
        totals = np.array([list(totals_at(reading, float(offset))) for offset in offsets])
        for name, curve in zip(ATOMS, totals.T, strict=True):
            panel.plot(offsets, curve, color=COLOURS[name], linewidth=2)
        panel.set_xlim(offsets[0], offsets[-1])
        limits += [float(totals.min()), float(totals.max())]
        panel.set_title(literal(split), fontsize=TEXT, pad=20)
        panel.axhline(0, color=LINE, linewidth=0.8)
        tidy(panel)
        words = _marks(panel, reading.scales, float(offsets[0]), float(offsets[-1]))
        label = "\n".join(["nats added to h1 - h2", *words])
        panel.set_xlabel(literal(label), fontsize=SMALL, loc="left")
    for panel in axes:
        panel.set_ylim(*room(min(limits), max(limits)))
    axes[0].set_ylabel("nats about the label", fontsize=TEXT)
    figure.suptitle(literal(short(pair_title(pair.names), 60)), fontsize=TEXT + 1)
    legend(figure, atom_handles(pair.names))
    return figure


def _offsets(reading: SplitReading) -> FloatArray:
    """From where ``r = i1`` in nearly all samples to where ``r = i2``, and 0.

    Scales that lie beyond are marked at the edge: the curves are flat there.
    """
    known = reading.decomposition.information
    given1 = known.h1 - known.i1 if known.h1_given is None else known.h1_given
    given2 = known.h2 - known.i2 if known.h2_given is None else known.h2_given
    switches = np.concatenate([known.h2 - known.h1, given2 - given1])
    low, high = np.quantile(switches, [TAIL, 1 - TAIL])
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    margin = 0.08 * (high - low) + 0.5
    near = [
        one.offset
        for one in reading.scales.values()
        if low - 4 * margin <= one.offset <= high + 4 * margin
    ]
    return np.linspace(min([low, *near]) - margin, max([high, *near]) + margin, POINTS)


def _marks(panel: Axes, found: Mapping[str, ScaleReading], low: float, high: float) -> list[str]:
    """A numbered line for each scale; what the numbers mean, one line a scale."""
    groups: list[tuple[float, list[str]]] = []
    words = []
    numbered = [(str(k), name, one.offset) for k, (name, one) in enumerate(found.items(), 1)]
    for digit, name, offset in numbered:
        words.append(f"{digit}  {short(name, 30)}: {signed(offset, 1)}")
    for digit, _, offset in sorted(numbered, key=lambda item: item[2]):
        place = min(max(offset, low), high)
        if groups and place - groups[-1][0] < NEAR * (high - low):
            groups[-1][1].append(digit)
        else:
            groups.append((place, [digit]))
        if low <= offset <= high:
            panel.axvline(offset, color=LINE, linewidth=1, linestyle=":")
    beyond = {digit for digit, _, offset in numbered if not low <= offset <= high}
    for place, digits in groups:
        text = ", ".join(digits)
        if beyond & set(digits):
            text = f"\N{LEFTWARDS ARROW}{text}" if place == low else f"{text}\N{RIGHTWARDS ARROW}"
        panel.annotate(text, (place, 1.01), xycoords=("data", "axes fraction"), ha="center",
                       va="bottom", fontsize=SMALL, color=INK)  # fmt: skip
    return words
