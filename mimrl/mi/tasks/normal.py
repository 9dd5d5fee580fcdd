"""Jointly Gaussian laws: any covariance, and coupled pairs that stay exact at strong coupling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimrl.errors import ConfigError, ShapeError
from mimrl.mi.gaussian import gaussian_information, gaussian_pointwise
from mimrl.mi.tasks.law import Floats, Seed, TotalDimension, drawing, pairs_of, width

LEAST_UNEXPLAINED = 1e-20
"""Smallest 1 - rho^2, 23 nats a pair. Its root, 1e-10, is what tells y from x; float64 rounds x to
1e-16 and keeps it to six digits, and at 1e-28 it would keep two."""


@dataclass(frozen=True)
class CoupledPairs(TotalDimension):
    """Standard normal coordinates of which the first few of X and Y are correlated one to one.

    Each coupling is held as 1 - rho^2, the share of the variance of y_i that x_i does not explain.
    Near rho = 1 it is the number that matters: as a float64 rho = 1 - 2.5e-7 has lost six of the
    digits of 1 - rho, and 1 - rho^2 held as such has lost none. Samples are x, and
    y = rho x + sqrt(1 - rho^2) e; no covariance is factorised.

    Args:
        dim_x: width of X, at least the number of pairs.
        dim_y: width of Y, at least the number of pairs.
        unexplained: 1 - rho^2 of each pair, in [1e-20, 1]; rho is its positive root.

    Raises:
        ConfigError: more pairs than coordinates, or a share outside its range.

    >>> law = CoupledPairs(1, 1, (unexplained_by_correlation(0.75),))
    >>> round(law.mutual_information(), 4)
    0.4133
    """

    dim_x: int
    dim_y: int
    unexplained: tuple[float, ...]

    def __post_init__(self) -> None:
        width("dim_x", self.dim_x)
        width("dim_y", self.dim_y)
        if len(self.unexplained) > min(self.dim_x, self.dim_y):
            raise ConfigError(
                f"{len(self.unexplained)} coupled pairs need as many coordinates of x and of y, "
                f"got {self.dim_x} and {self.dim_y}"
            )
        for share in self.unexplained:
            if not LEAST_UNEXPLAINED <= share <= 1:
                raise ConfigError(
                    f"1 - correlation^2 of a pair must be between {LEAST_UNEXPLAINED} and 1, "
                    f"got {share!r}: a stronger coupling than 23 nats is lost in float64 samples"
                )

    def sample(self, n_points: int, rng: Seed) -> tuple[Floats, Floats]:
        """``(N, dim_x)`` and ``(N, dim_y)``; see :class:`~mimrl.mi.tasks.law.Law`."""
        count, generator = drawing(n_points, rng)
        x = generator.standard_normal((count, self.dim_x))
        y = generator.standard_normal((count, self.dim_y))
        share, pairs = np.asarray(self.unexplained), len(self.unexplained)
        y[:, :pairs] = np.sqrt(1 - share) * x[:, :pairs] + np.sqrt(share) * y[:, :pairs]
        return x, y

    def mutual_information(self) -> float:
        """-1/2 of the summed log(1 - rho^2), nats."""
        return float(-0.5 * np.log(self.unexplained).sum())

    def log_ratio(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """``(N,)`` nats; see :class:`~mimrl.mi.tasks.law.Law`.

        From log p(y | x) - log p(y), in which y - rho x is formed first: sums of squares of x and
        y would cancel in all but their last digits.
        """
        xs, ys = pairs_of(self, x, y)
        share, pairs = np.asarray(self.unexplained), len(self.unexplained)
        left = ys[:, :pairs] - np.sqrt(1 - share) * xs[:, :pairs]
        ratios = ys[:, :pairs] ** 2 - left**2 / share - np.log(share)
        return 0.5 * ratios.sum(axis=1)


@dataclass(frozen=True, eq=False)
class Gaussian(TotalDimension):
    """A centred Gaussian vector whose first coordinates are X and whose others are Y.

    Args:
        covariance: ``(D, D)``, symmetric, positive definite; kept as a read-only copy.
        dim_x: width of X, below D.

    Raises:
        ShapeError: the covariance is not square, or leaves no coordinate for Y.
        EstimationError: the covariance is not symmetric and positive definite.
    """

    covariance: Floats
    dim_x: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "covariance", frozen_matrix(self.covariance))
        if not 0 < width("dim_x", self.dim_x) < len(self.covariance):
            raise ShapeError(
                f"dim_x {self.dim_x} must leave a coordinate of {len(self.covariance)} for y"
            )
        self.mutual_information()  # refuses what is not a covariance

    @property
    def dim_y(self) -> int:
        """Width of Y."""
        return len(self.covariance) - self.dim_x

    def sample(self, n_points: int, rng: Seed) -> tuple[Floats, Floats]:
        """``(N, dim_x)`` and ``(N, dim_y)``; see :class:`~mimrl.mi.tasks.law.Law`."""
        count, generator = drawing(n_points, rng)
        joint = gaussian_rows(self.covariance, count, generator)
        return joint[:, : self.dim_x], joint[:, self.dim_x :]

    def mutual_information(self) -> float:
        """From log determinants, nats."""
        return gaussian_information(self.covariance, *self._columns())

    def log_ratio(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """``(N,)`` nats; see :class:`~mimrl.mi.tasks.law.Law`."""
        joint = np.hstack(pairs_of(self, x, y))
        return gaussian_pointwise(joint, self.covariance, *self._columns())

    def _columns(self) -> tuple[range, range]:
        return range(self.dim_x), range(self.dim_x, len(self.covariance))


def unexplained_by_correlation(correlation: float) -> float:
    """1 - rho^2.

    Raises:
        ConfigError: rho is not in [0, 1).
    """
    if not 0 <= correlation < 1:
        raise ConfigError(f"the correlation of a pair must be in [0, 1), got {correlation!r}")
    return (1 - correlation) * (1 + correlation)


def unexplained_at_strength(strength: float) -> float:
    """1 - rho^2 of rho = s^2 / (1 + s^2), as (1 + 2 s^2) / (1 + s^2)^2, without cancellation.

    x_i and y_i are s times a shared standard normal variable plus standard normal noise.

    Raises:
        ConfigError: the strength is negative or not finite.
    """
    if not np.isfinite(strength) or strength < 0:
        raise ConfigError(f"a strength must be 0 or more and finite, got {strength!r}")
    square = float(strength) ** 2
    return (1 + 2 * square) / (1 + square) / (1 + square)


def unexplained_at_information(information: float) -> float:
    """1 - rho^2 of a pair that carries ``information`` nats: exp(-2 I).

    Raises:
        ConfigError: the information is negative or not finite.
    """
    if not np.isfinite(information) or information < 0:
        raise ConfigError(f"information must be 0 or more nats and finite, got {information!r}")
    return float(np.exp(-2 * information))


def equicorrelated(dim: int, correlation: float) -> Floats:
    """``(dim, dim)`` covariance with ones on the diagonal and ``correlation`` elsewhere."""
    return np.full((dim, dim), correlation) + (1 - correlation) * np.eye(dim)


def gaussian_rows(covariance: Floats, count: int, generator: np.random.Generator) -> Floats:
    """``(count, D)`` rows of a centred Gaussian vector, through its Cholesky factor."""
    rows = generator.standard_normal((count, len(covariance)))
    return rows @ np.linalg.cholesky(covariance).T


def frozen_matrix(values: npt.ArrayLike) -> Floats:
    """A read-only float64 copy of a square matrix.

    Raises:
        ShapeError: it is not square.
    """
    matrix = np.array(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ShapeError(f"a covariance or dispersion must be (D, D), got {matrix.shape}")
    matrix.setflags(write=False)
    return matrix
