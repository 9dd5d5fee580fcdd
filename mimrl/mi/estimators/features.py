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

TAIL = 4.0
"""Standard deviations beyond which values go on logarithmically."""


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
        canonical: coordinates.
        radii: of u and v.
        tails: whether tails are drawn in.
    """

    canonical: Canonical
    radii: tuple[Radius, Radius]
    tails: bool

    @classmethod
    def fit(cls, pair: Pair, *, tails: bool) -> Features:
        """Of fitting rows.

        Args:
            pair: columns as the preprocessing maps them.
            tails: whether values beyond :data:`TAIL` are drawn in; they should be standardised.
        """
        pair = drawn_in(pair) if tails else pair
        canonical = Canonical.fit(pair)
        seen = canonical(pair)
        return cls(canonical, (Radius.fit(seen.x), Radius.fit(seen.y)), tails)

    def coordinates(self, pair: Pair) -> Pair:
        """Canonical coordinates u ``(N, rx)`` and v ``(N, ry)``."""
        return self.canonical(drawn_in(pair) if self.tails else pair)

    def __call__(self, pair: Pair) -> Pair:
        """Coordinates and radius, ``(N, rx + 1)`` and ``(N, ry + 1)``."""
        seen = self.coordinates(pair)
        return Pair(self.radii[0](seen.x), self.radii[1](seen.y))


def drawn_in(pair: Pair) -> Pair:
    """Values beyond :data:`TAIL` continue as logarithms, strictly increasing.

    A row far outside the fitting rows would otherwise decide a mean over thousands: a Cauchy
    sample of 5,000 has values a thousand times as far out as its largest fitting row.
    """
    return Pair(_drawn_in(pair.x), _drawn_in(pair.y))


def _drawn_in(values: Floats) -> Floats:
    beyond = np.maximum(np.abs(values) - TAIL, 0)
    return np.sign(values) * (np.minimum(np.abs(values), TAIL) + np.log1p(beyond))


def _log_radius(values: Floats) -> Floats:
    radii: Floats = np.log((values**2).mean(axis=1) + 0.1)
    return radii
