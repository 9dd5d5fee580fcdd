"""Multivariate Student laws: dependent through their common scale even where nothing correlates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import digamma, gammaln

from mimrl.errors import ShapeError
from mimrl.mi.gaussian import gaussian_information
from mimrl.mi.tasks.law import Floats, Seed, TotalDimension, drawing, pairs_of, positive, width
from mimrl.mi.tasks.normal import frozen_matrix, gaussian_rows


@dataclass(frozen=True, eq=False)
class Student(TotalDimension):
    """A centred multivariate Student vector whose first coordinates are X and whose others are Y.

    A Gaussian vector divided by the root of an independent chi-squared variable over its degrees
    of freedom. Variances are infinite up to two degrees, means do not exist at one.

    Args:
        dispersion: ``(D, D)``, symmetric, positive definite; covariance of the Gaussian vector.
        dim_x: width of X, below D.
        freedom: degrees of freedom, positive.

    Raises:
        ShapeError: the dispersion is not square, or leaves no coordinate for Y.
        EstimationError: the dispersion is not symmetric and positive definite.
        ConfigError: the degrees of freedom are not positive.

    >>> round(Student(np.eye(2), 1, 1).mutual_information(), 4)
    0.2242
    """

    dispersion: Floats
    dim_x: int
    freedom: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "dispersion", frozen_matrix(self.dispersion))
        positive("degrees of freedom", self.freedom)
        if not 0 < width("dim_x", self.dim_x) < len(self.dispersion):
            raise ShapeError(
                f"dim_x {self.dim_x} must leave a coordinate of {len(self.dispersion)} for y"
            )
        self.mutual_information()  # refuses what is not a dispersion

    @property
    def dim_y(self) -> int:
        """Width of Y."""
        return len(self.dispersion) - self.dim_x

    def sample(self, n_points: int, rng: Seed) -> tuple[Floats, Floats]:
        """``(N, dim_x)`` and ``(N, dim_y)``; see :class:`~mimrl.mi.tasks.law.Law`."""
        count, generator = drawing(n_points, rng)
        joint = gaussian_rows(self.dispersion, count, generator)
        joint /= np.sqrt(generator.chisquare(self.freedom, size=(count, 1)) / self.freedom)
        return joint[:, : self.dim_x], joint[:, self.dim_x :]

    def mutual_information(self) -> float:
        """The information of the Gaussian vector plus :func:`common_scale_information`, nats."""
        columns = range(self.dim_x), range(self.dim_x, len(self.dispersion))
        gaussian = gaussian_information(self.dispersion, *columns)
        return gaussian + common_scale_information(self.dim_x, self.dim_y, self.freedom)

    def log_ratio(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """``(N,)`` nats; see :class:`~mimrl.mi.tasks.law.Law`.

        The parts of a Student vector are Student vectors with the same degrees of freedom and the
        blocks of its dispersion.
        """
        xs, ys = pairs_of(self, x, y)
        split = self.dim_x
        joint = self._log_density(np.hstack([xs, ys]), self.dispersion)
        joint -= self._log_density(xs, self.dispersion[:split, :split])
        return joint - self._log_density(ys, self.dispersion[split:, split:])

    def _log_density(self, rows: Floats, dispersion: Floats) -> Floats:
        """Log density but for the powers of pi and of the degrees, which cancel in a log ratio."""
        half = 0.5 * (self.freedom + len(dispersion))
        factor = np.linalg.cholesky(dispersion)
        length = np.hypot.reduce(np.linalg.solve(factor, rows.T), axis=0)
        constant = gammaln(half) - gammaln(0.5 * self.freedom) - np.log(np.diagonal(factor)).sum()
        # log(1 + length^2 / freedom) without the square, which heavy tails can take to infinity
        return constant - 2 * half * np.log(np.hypot(1, length / np.sqrt(self.freedom)))


def common_scale_information(dim_x: int, dim_y: int, freedom: float) -> float:
    """I(X; Y) of a Student vector whose dispersion is the identity.

    h(X) + h(Y) - h(X, Y), with the entropy of a standard Student vector of k coordinates (see
    Arellano-Valle, Contreras-Reyes, Genton, Scandinavian Journal of Statistics 40, 2013, eq. 7)
    log G(n/2) - log G((n+k)/2) + k/2 log(n pi) + (n+k)/2 (digamma((n+k)/2) - digamma(n/2)), where
    n are the degrees of freedom and G is the gamma function. The terms k/2 log(n pi) cancel.

    Args:
        dim_x: width of X.
        dim_y: width of Y.
        freedom: degrees of freedom, positive.

    Returns:
        Nats, positive, falling to 0 as the degrees grow.

    Note:
        The paper's own closing formula for the mutual information does not agree with its
        entropies; benchmark-mi goes back to the entropies too.
    """

    def entropy(dim: int) -> float:
        half, whole = 0.5 * freedom, 0.5 * (freedom + dim)
        spread = whole * (digamma(whole) - digamma(half))
        return float(gammaln(half) - gammaln(whole) + spread)

    return entropy(dim_x) + entropy(dim_y) - entropy(dim_x + dim_y)
