"""A law seen through one-to-one maps of X and of Y, which keep its information."""

from __future__ import annotations

from dataclasses import dataclass

import numpy.typing as npt

from mimrl.mi.tasks.law import Floats, Law, Seed, TotalDimension, pairs_of
from mimrl.mi.tasks.transforms import HALF_CUBE, IDENTITY, Asinh, NormalCdf, Spiral, Transform


@dataclass(frozen=True)
class Transformed(TotalDimension):
    """The law of (f(X), g(Y)), where (X, Y) follows ``base``.

    Args:
        base: any law, transformed ones included.
        transform_x: f.
        transform_y: g.

    Raises:
        ConfigError: a map that does not take the width of its variable.

    >>> from mimrl.mi.tasks.normal import CoupledPairs
    >>> uniform = Transformed(CoupledPairs(1, 1, (0.4375,)), NormalCdf(), NormalCdf())
    >>> round(uniform.mutual_information(), 4)
    0.4133
    """

    base: Law
    transform_x: Transform = IDENTITY
    transform_y: Transform = IDENTITY

    def __post_init__(self) -> None:
        self.transform_x.widened(self.base.dim_x)
        self.transform_y.widened(self.base.dim_y)

    @property
    def dim_x(self) -> int:
        """Width of f(X)."""
        return self.transform_x.widened(self.base.dim_x)

    @property
    def dim_y(self) -> int:
        """Width of g(Y)."""
        return self.transform_y.widened(self.base.dim_y)

    def sample(self, n_points: int, rng: Seed) -> tuple[Floats, Floats]:
        """Images of what the base law draws with the same seed."""
        x, y = self.base.sample(n_points, rng)
        return self.transform_x.forward(x), self.transform_y.forward(y)

    def mutual_information(self) -> float:
        """That of the base law, nats."""
        return self.base.mutual_information()

    def log_ratio(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """``(N,)`` nats: that of the base law at the samples mapped back.

        Jacobians of f and g stand in the joint density and in the product alike and cancel.

        Raises:
            ShapeError: widths or lengths that do not fit.
            EstimationError: values that are no image of anything.
        """
        xs, ys = pairs_of(self, x, y)
        return self.base.log_ratio(self.transform_x.inverse(xs), self.transform_y.inverse(ys))


def uniform_margins(law: Law) -> Transformed:
    """The normal distribution function of every coordinate."""
    return Transformed(law, NormalCdf(), NormalCdf())


def half_cubed(law: Law) -> Transformed:
    """The signed power 3/2 of every coordinate."""
    return Transformed(law, HALF_CUBE, HALF_CUBE)


def shortened_tails(law: Law) -> Transformed:
    """The inverse hyperbolic sine of every coordinate."""
    return Transformed(law, Asinh(), Asinh())


def spiralled(law: Law, speed: float = 1.0) -> Transformed:
    """X turned in the plane of its coordinates 0 and 1, Y in that of 1 and 2.

    Squared lengths grow with the width of a variable, so ``speed`` is divided by it.

    Raises:
        ConfigError: X is narrower than 2 or Y narrower than 3.
    """
    return Transformed(law, Spiral(0, 1, speed / law.dim_x), Spiral(1, 2, speed / law.dim_y))
