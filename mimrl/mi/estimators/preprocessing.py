"""Invertible maps of each column, which leave mutual information as it is.

I(X; Y) = I(f(X); g(Y)) for invertible f and g. A map is fitted on training rows and applied to any
others: between the fitted quantiles it interpolates, beyond them it continues linearly, so that it
stays strictly increasing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]

Preprocessing = Literal["none", "standardise", "normal_scores", "ranks"]


class ColumnMap(Protocol):
    """A strictly increasing map of each column."""

    def __call__(self, values: Floats) -> Floats:
        """``(N, d)`` to ``(N, d)``."""
        ...


def fit_map(values: Floats, kind: Preprocessing) -> ColumnMap:
    """The map of some training rows.

    Args:
        values: ``(N, d)``; every column varies.
        kind: ``none``; ``standardise`` (mean 0, standard deviation 1); ``normal_scores`` (the
            standard normal quantile of rank / (N + 1)); ``ranks`` (rank / (N + 1), in (0, 1)).
            Equal values share their mean rank.
    """
    if kind == "none":
        return Affine(np.zeros(values.shape[1]), np.ones(values.shape[1]))
    if kind == "standardise":
        spread = values.std(axis=0)
        return Affine(values.mean(axis=0), np.where(spread > 0, spread, 1.0))
    return Quantiles.fit(values, normal=kind == "normal_scores")


@dataclass(frozen=True)
class Affine:
    """``(value - centre) / scale``, column by column.

    Attributes:
        centre: ``(d,)``.
        scale: ``(d,)``, positive.
    """

    centre: Floats
    scale: Floats

    def __call__(self, values: Floats) -> Floats:
        """``(N, d)`` to ``(N, d)``."""
        return (values - self.centre) / self.scale


@dataclass(frozen=True)
class Quantiles:
    """Each column's empirical distribution function, made continuous, or its normal scores.

    Attributes:
        knots: for each column its different training values in order.
        heights: for each column what they are mapped to.
    """

    knots: tuple[Floats, ...]
    heights: tuple[Floats, ...]

    @classmethod
    def fit(cls, values: Floats, *, normal: bool) -> Quantiles:
        """Of training rows ``(N, d)``."""
        knots, heights = [], []
        for column in values.T:
            points, first = np.unique(column, return_index=True)
            share = rankdata(column)[first] / (len(column) + 1)
            knots.append(points)
            heights.append(ndtri(share) if normal else share)
        return cls(tuple(knots), tuple(heights))

    def __call__(self, values: Floats) -> Floats:
        """``(N, d)`` to ``(N, d)``."""
        columns = [
            _continued(column, knots, heights)
            for column, knots, heights in zip(values.T, self.knots, self.heights, strict=True)
        ]
        return np.stack(columns, axis=1)


def _continued(column: Floats, knots: Floats, heights: Floats) -> Floats:
    """Linear interpolation; beyond the knots on with the mean slope of the whole map."""
    inside = np.interp(column, knots, heights)
    span = knots[-1] - knots[0]
    slope = (heights[-1] - heights[0]) / span if span > 0 else 1.0
    return inside + slope * (np.minimum(column - knots[0], 0) + np.maximum(column - knots[-1], 0))
