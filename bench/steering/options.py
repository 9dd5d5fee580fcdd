"""What all studies are told, and the tables that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from mimrl.terms import Quantity, quantities

QUANTITIES = {q.name: q for q in quantities(("text", "audio", "video"))}
UNSTEERED = ("steering.default=0", "training.stage1_passes=0")
"""Overrides without steering and, as none is read, without critics; the model is the same."""


@dataclass(frozen=True)
class Options:
    """What the command line asks for.

    Attributes:
        seeds: each is of data and training; None: as many as the study is planned for.
        quick: settings and grids so small that a test can run them.
        before: honesty: critics and weights as they were, beside the present ones.
        only: quantities (honesty, dose) or settings (study); empty: all.
        values: weights (honesty) or doses (dose); empty: all.
        cells: study: ``SIZE/FLIPS``; empty: all.
    """

    seeds: tuple[int, ...] | None = None
    quick: bool = False
    before: bool = False
    only: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    cells: tuple[str, ...] = ()


def steered(**weights: float) -> tuple[str, ...]:
    """Overrides that steer some quantities and no other."""
    return (
        "steering.default=0",
        *(f"steering.weights.{name}={weight}" for name, weight in weights.items()),
    )


def named(names: Sequence[str]) -> list[Quantity]:
    """The quantities of these names; all of none."""
    return [q for name, q in QUANTITIES.items() if not names or name in names]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean and half the width of its 95 % interval (Student's t); nan for one value."""
    if len(values) < 2:
        return float(np.mean(values)), float("nan")
    error = float(np.std(values, ddof=1)) / np.sqrt(len(values))
    return float(np.mean(values)), float(t.ppf(0.975, len(values) - 1)) * error


def with_deviation(values: Sequence[float], digits: int = 2) -> str:
    """``mean (sd)`` over seeds."""
    if not len(values):
        return ""
    mean = f"{float(np.mean(values)) + 0.0:.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ({float(np.std(values, ddof=1)):.{digits}f})"
