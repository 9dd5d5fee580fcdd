"""What networks see of x and of y: tails drawn in, canonical coordinates, and the radius.

All of it is invertible, or added to what is invertible, so that no information is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimrl.mi.estimators.canonical import Canonical
from mimrl.mi.estimators.samples import Pair

Floats = npt.NDArray[np.float64]

BEYOND = 0.5
"""Standard deviations by which a value may lie beyond those of the fitting rows, at most."""


@dataclass(frozen=True)
class Range:
    """Draws in what lies outside the range of the fitting rows, strictly increasing.

    A network says anything far from where it was trained, and a single row there would decide a
    mean over thousands: 5,000 more samples of a Cauchy law hold values a thousand times as far out.

    Attributes:
        low: ``(d,)`` least value of each column.
        high: ``(d,)`` largest.
        width: ``(d,)`` by which values go on beyond them, at most.
    """

    low: Floats
    high: Floats
    width: Floats

    @classmethod
    def fit(cls, values: Floats) -> Range:
        """Of fitting rows ``(N, d)``."""
        return cls(values.min(axis=0), values.max(axis=0), BEYOND * values.std(axis=0) + 1e-12)

    def __call__(self, values: Floats) -> Floats:
        """``(N, d)`` to ``(N, d)``; what is inside stays as it is."""
        inside = np.clip(values, self.low, self.high)
        excess = values - inside
        return inside + excess / (1 + np.abs(excess) / self.width)


@dataclass(frozen=True)
class Radius:
    """The standardised logarithm of the squared length, as one more column.

    Where x says how far out y lies and not in which direction (all elliptical laws but the
    Gaussian: Student's t), or turns with its length, the radius is what a network has to find
    first; from a few thousand rows it finds it late.

    Attributes:
        centre: mean over the fitting rows.
        scale: standard deviation over them.
    """

    centre: float
    scale: float

    @classmethod
    def fit(cls, values: Floats) -> Radius:
        """Of fitting rows ``(N, d)``, about white."""
        radii = _log_radius(values)
        return cls(float(radii.mean()), float(radii.std()) or 1.0)

    def __call__(self, values: Floats) -> Floats:
        """``(N, d)`` to ``(N, d + 1)``."""
        radius = (_log_radius(values) - self.centre) / self.scale
        return np.concatenate([values, radius[:, None]], axis=1)


@dataclass(frozen=True)
class Features:
    """From mapped columns to what networks see.

    Attributes:
        ranges: of x and y.
        canonical: coordinates.
        radii: of u and v.
    """

    ranges: tuple[Range, Range]
    canonical: Canonical
    radii: tuple[Radius, Radius]

    @classmethod
    def fit(cls, pair: Pair) -> Features:
        """Of fitting rows, columns as the preprocessing maps them."""
        canonical = Canonical.fit(pair)
        seen = canonical(pair)
        return cls(
            (Range.fit(pair.x), Range.fit(pair.y)),
            canonical,
            (Radius.fit(seen.x), Radius.fit(seen.y)),
        )

    def coordinates(self, pair: Pair) -> Pair:
        """Canonical coordinates u ``(N, rx)`` and v ``(N, ry)``."""
        return self.canonical(Pair(self.ranges[0](pair.x), self.ranges[1](pair.y)))

    def __call__(self, pair: Pair) -> Pair:
        """Coordinates and radius, ``(N, rx + 1)`` and ``(N, ry + 1)``."""
        seen = self.coordinates(pair)
        return Pair(self.radii[0](seen.x), self.radii[1](seen.y))


def _log_radius(values: Floats) -> Floats:
    radii: Floats = np.log((values**2).mean(axis=1) + 0.1)
    return radii
