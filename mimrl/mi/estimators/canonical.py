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

from mimrl.mi.canonical import canonical_maps
from mimrl.mi.estimators.samples import Pair

Floats = npt.NDArray[np.float64]

LARGEST_CORRELATION = 0.99999
"""A larger one is a deterministic relation, which has no density."""

INNER_FOLDS = 5


@dataclass(frozen=True)
class Canonical:
    """Canonical coordinates of some fitting rows.

    Attributes:
        centres: ``(dx,)`` and ``(dy,)``.
        maps: ``(dx, rx)`` and ``(dy, ry)``; ``rx`` and ``ry`` are the ranks. The coordinates are
            ``(x - centre) @ map``, strongest correlation first.
        correlations: ``(min(rx, ry),)`` in [0, 1), as read on rows that did not choose the
            directions. In the sample itself even independent variables correlate: by
            ``sqrt(d / N)`` in ``d`` dimensions.
    """

    centres: tuple[Floats, Floats]
    maps: tuple[Floats, Floats]
    correlations: Floats

    @classmethod
    def fit(cls, pair: Pair) -> Canonical:
        """Directions from all rows given, correlations from five inner folds of them."""
        whole = canonical_maps(pair.x, pair.y)
        return cls(*whole, correlations=_held_out_correlations(pair, len(_shared(whole[1]))))

    def __call__(self, pair: Pair) -> Pair:
        """The pair in canonical coordinates."""
        return Pair(*_mapped(pair, self.centres, self.maps))


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
    parts = np.arange(len(pair)) % INNER_FOLDS
    found = np.zeros((INNER_FOLDS, count))
    for number in range(INNER_FOLDS):
        others = pair.select(np.flatnonzero(parts != number))
        centres, maps = canonical_maps(others.x, others.y)
        u, v = _mapped(pair.select(np.flatnonzero(parts == number)), centres, maps)
        shared = min(u.shape[1], v.shape[1], count)
        u, v = u[:, :shared], v[:, :shared]
        spread = np.sqrt((u**2).mean(axis=0) * (v**2).mean(axis=0))
        found[number, :shared] = (u * v).mean(axis=0) / np.where(spread > 0, spread, 1.0)
    return found.mean(axis=0).clip(0, LARGEST_CORRELATION)


def _mapped(
    pair: Pair, centres: tuple[Floats, Floats], maps: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    return (pair.x - centres[0]) @ maps[0], (pair.y - centres[1]) @ maps[1]


def _shared(maps: tuple[Floats, Floats]) -> range:
    return range(min(maps[0].shape[1], maps[1].shape[1]))
