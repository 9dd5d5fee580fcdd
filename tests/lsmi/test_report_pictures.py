"""The pictures of the report: lines and bars are where the analysis has them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from made_up import PAIRS, reading
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lsmi.decomposition import PointwiseInformation
from lsmi.report import bars, curves
from lsmi.report.scatter import samples
from lsmi.report.style import png
from lsmi.results import ATOMS, PairReading, Quantity


def test_the_curves_over_the_offset_go_through_the_analysis_itself(made):
    pair = made.pairs[PAIRS[0]]
    figure = curves.scales(pair)
    for panel, one in zip(figure.axes, pair.splits.values(), strict=True):
        lines = [line for line in panel.get_lines() if len(line.get_xdata()) > 2]
        assert len(lines) == 4
        for line, total in zip(lines, one.decomposition.totals, strict=True):
            at_zero = np.interp(0.0, line.get_xdata(), line.get_ydata())
            # a straight line between two of the 97 offsets, each sample moves r by < 1 nat there
            assert at_zero == pytest.approx(total, abs=0.02)
        low, high = panel.get_xlim()
        assert low <= 0 <= high
        assert low > -60  # the far scale is marked at the edge, it does not stretch the axis


def test_stacked_bars_stack_up_and_down_and_mark_the_sum():
    values = dict(zip(ATOMS, (0.3, -0.1, -0.2, 0.4), strict=True))
    found = {name: Quantity(value, value - 0.1, value + 0.1) for name, value in values.items()}
    panel = Figure().subplots()
    assert isinstance(panel, Axes)
    bars.stack(panel, 1.0, found)
    spans = [sorted((p.get_y(), p.get_y() + p.get_height())) for p in panel.patches]
    expected = [(0, 0.3), (-0.1, 0), (-0.3, -0.1), (0.3, 0.7)]
    assert np.array(spans) == pytest.approx(np.array(expected))
    sums = [line.get_ydata()[0] for line in panel.get_lines() if len(set(line.get_ydata())) == 1
            and len(line.get_ydata()) == 2]  # fmt: skip
    assert sums == pytest.approx([0.4])


def test_samples_whose_values_differ_by_rounding_alone_are_drawn_without_a_warning():
    """An uninformative modality: i1 is 0 but for rounding, the others are small."""
    rng = np.random.default_rng(0)
    known = PointwiseInformation(
        i1=rng.choice([0.0, -1.1e-16], 22), **{name: rng.normal(0, 0.04, 22) for name in
                                               ("i2", "i12", "h1", "h2")}
    )  # fmt: skip
    splits = {"test": reading(known, rng.integers(0, 2, 22))}
    pair = PairReading(("video", "fused"), splits, (3, 4), choices={})
    figure = samples(pair, "test")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where panels find no room
        assert png(figure).startswith(b"\x89PNG")
    nats = [np.ptp(panel.get_xlim()) for panel in every_panel(figure)]
    assert len(nats) == 7
    assert min(nats) >= 0.1


def every_panel(figure):
    return [panel for part in figure.subfigs for panel in part.axes]
