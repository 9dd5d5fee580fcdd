"""The Gaussian part of a dependence: canonical coordinates and correlations that held-out rows see.

Linear maps of x and of y leave I(X; Y) as it is. In canonical coordinates (Hotelling, 1936) both
variables are white and coordinate k of one goes with coordinate k of the other only, so that a
Gaussian pair is nothing but a list of correlations. Estimators that learn start from here: what is
left to a network is what no Gaussian has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimrl.mi.canonical import INNER_FOLDS, Affine, canonical_maps, held_out_coordinates
from mimrl.mi.estimators.samples import Pair

Floats = npt.NDArray[np.float64]

LARGEST_CORRELATION = 0.99999
"""A larger one is a deterministic relation, which has no density."""


@dataclass(frozen=True)
class Canonical:
    """Canonical coordinates of some fitting rows.

    Attributes:
        maps: to ``(N, rx)`` and ``(N, ry)``, strongest correlation first; ``rx`` and ``ry`` are
            the ranks.
        correlations: ``(min(rx, ry),)`` in [0, 1), as read on rows that did not choose the
            directions; see :func:`~mimrl.mi.canonical.held_out_coordinates`.
    """

    maps: tuple[Affine, Affine]
    correlations: Floats

    @classmethod
    def fit(cls, pair: Pair) -> Canonical:
        """Directions from all rows given, correlations from five inner folds of them."""
        maps = canonical_maps(pair.x, pair.y)
        count = min(part.matrix.shape[1] for part in maps)
        return cls(maps, _held_out_correlations(pair, count))

    def __call__(self, pair: Pair) -> Pair:
        """The pair in canonical coordinates."""
        return Pair(self.maps[0](pair.x), self.maps[1](pair.y))


def gaussian_log_ratio(pair: Pair, correlations: Floats) -> Floats:
    """Log ratio of a Gaussian pair in canonical coordinates.

    Args:
        pair: coordinates, ``(N, rx)`` and ``(N, ry)``.
        correlations: ``(k,)`` of the first k coordinates, in (-1, 1).

    Returns:
        ``(N,)`` in nats.
    """
    u, v = pair.x[:, : len(correlations)], pair.y[:, : len(correlations)]
    left = 1 - correlations**2
    bend = (correlations**2 * (u**2 + v**2) - 2 * correlations * u * v) / (2 * left)
    return -(bend + 0.5 * np.log(left)).sum(axis=1)


def _held_out_correlations(pair: Pair, count: int) -> Floats:
    """Mean over folds of the correlations of directions that the other folds chose."""
    found = np.zeros((INNER_FOLDS, count))
    for row, (u, v) in zip(found, held_out_coordinates(pair.x, pair.y), strict=True):
        u, v = u[:, :count], v[:, :count]
        spread = np.sqrt((u**2).mean(axis=0) * (v**2).mean(axis=0))
        row[: u.shape[1]] = (u * v).mean(axis=0) / np.where(spread > 0, spread, 1.0)
    return found.mean(axis=0).clip(0, LARGEST_CORRELATION)
