"""The largest value that a reading can have, and the warning near it."""

from __future__ import annotations

import math

from mimrl.errors import CeilingWarning
from mimrl.mi.objectives import Bound, InfoNce, Interpolated

NEAR = 0.9
"""Share of the ceiling from which on a reading is doubted."""


def ceiling(bound: Bound, rows: int) -> tuple[str, float]:
    """The formula of a bound's ceiling and its value in nats.

    InfoNCE cannot exceed log B by its construction, nor the interpolated bound
    1 + log((B - 1) / alpha): the pair itself is among the B - 1 rows of its baseline, and the
    product term, which is taken away from 1, is not negative (Poole et al., 2019, have log(B /
    alpha) for a baseline over all B rows). The others have no such limit, but no estimate that is
    below the truth with high probability can exceed about log N of the N rows that are read
    (McAllester and Stratos, 2020).

    Args:
        bound: what is read.
        rows: scored against each other.
    """
    if isinstance(bound, InfoNce):
        return "log B", math.log(rows)
    if isinstance(bound, Interpolated):
        return "1 + log((B - 1) / alpha)", 1 + math.log((rows - 1) / bound.alpha)
    return "log N", math.log(rows)


def ceiling_doubt(bound: Bound, rows: int, estimate: float) -> tuple[CeilingWarning, ...]:
    """A warning if an estimate in nats is within a tenth of the ceiling, or nothing."""
    formula, top = ceiling(bound, rows)
    if estimate < NEAR * top:
        return ()
    return (CeilingWarning(_text(bound, rows, formula, top, estimate)),)


def _text(bound: Bound, rows: int, formula: str, top: float, estimate: float) -> str:
    read = f"{type(bound).__name__} reads {estimate:.3g} nats from {rows} rows"
    if isinstance(bound, InfoNce | Interpolated):
        return (
            f"{read} scored against each other, with which no more than {formula} = {top:.3g} can "
            "be read; the information may be larger. Score more rows against each other: more "
            "samples, or a larger 'reading' or batch where there is one"
        )
    return (
        f"{read}; above about {formula} = {top:.3g} the mean of e^score over products hangs on "
        "pairs that so few rows do not hold, and the reading may be far too high or too low. Take "
        "more samples, or a method whose reading has no such mean (gaussian, mmg)"
    )
