"""Jointly Gaussian X, Y and Z whose conditional information I(X; Y | Z) is known in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from mimrl.errors import ConfigError, ShapeError
from mimrl.mi.gaussian import gaussian_information, gaussian_pointwise
from mimrl.mi.tasks.law import Floats, Seed, drawing, pairs_of, positive, width
from mimrl.mi.tasks.normal import frozen_matrix, gaussian_rows
from mimrl.mi.tasks.task import named


@dataclass(frozen=True, eq=False)
class ConditionalTask:
    """A centred Gaussian vector that is X, then Y, then Z.

    Args:
        name: short, unique.
        covariance: ``(D, D)``, symmetric, positive definite; kept as a read-only copy.
        dim_x: width of X.
        dim_y: width of Y; what is left of D, at least 1, is Z.
        description: one line.
        source: who proposed it.

    Raises:
        ShapeError: the covariance is not square, or has no coordinates left for Z.
        EstimationError: the covariance is not symmetric and positive definite.
        ConfigError: a width below 1.
    """

    name: str
    covariance: Floats
    dim_x: int
    dim_y: int
    description: str = "a Gaussian vector"
    source: str = "closed form"

    def __post_init__(self) -> None:
        object.__setattr__(self, "covariance", frozen_matrix(self.covariance))
        width("dim_x", self.dim_x)
        width("dim_y", self.dim_y)
        if self.dim_z < 1:
            raise ShapeError(
                f"a covariance of {len(self.covariance)} coordinates leaves none for z beside "
                f"{self.dim_x} of x and {self.dim_y} of y"
            )
        gaussian_information(self.covariance, *self._columns())  # refuses what is no covariance

    @property
    def dim_z(self) -> int:
        """Width of Z."""
        return len(self.covariance) - self.dim_x - self.dim_y

    @property
    def conditional_mutual_information(self) -> float:
        """I(X; Y | Z) in nats."""
        return gaussian_information(self.covariance, *self._columns())

    @property
    def mutual_information(self) -> float:
        """I(X; Y) in nats: what an estimator finds that forgets Z."""
        x, y, _ = self._columns()
        return gaussian_information(self.covariance, x, y)

    def sample(self, n_samples: int, seed: Seed) -> tuple[Floats, Floats, Floats]:
        """Draws independent triples; the same seed gives the same numbers.

        Args:
            n_samples: N, 1 or more.
            seed: 0 or more, or a generator, which is advanced.

        Returns:
            x ``(N, dim_x)``, y ``(N, dim_y)`` and z ``(N, dim_z)``, float64.

        Raises:
            ConfigError: N below 1, or no seed.
        """
        count, generator = drawing(n_samples, seed)
        rows = gaussian_rows(self.covariance, count, generator)
        x, y, z = np.split(rows, [self.dim_x, self.dim_x + self.dim_y], axis=1)
        return x, y, z

    def log_ratio(self, x: npt.ArrayLike, y: npt.ArrayLike, z: npt.ArrayLike) -> Floats:
        """Exact log p(x, y | z) / (p(x | z) p(y | z)).

        Args:
            x: ``(N, dim_x)``.
            y: ``(N, dim_y)``.
            z: ``(N, dim_z)``.

        Returns:
            ``(N,)`` in nats.

        Raises:
            ShapeError: widths or lengths that do not fit.
        """
        xs, ys = pairs_of(self, x, y)
        zs = np.asarray(z, dtype=np.float64)
        if zs.shape != (len(xs), self.dim_z):
            raise ShapeError(f"z must be ({len(xs)}, {self.dim_z}), got {zs.shape}")
        return gaussian_pointwise(np.hstack([xs, ys, zs]), self.covariance, *self._columns())

    def _columns(self) -> tuple[range, range, range]:
        after_x, after_y = self.dim_x, self.dim_x + self.dim_y
        return range(after_x), range(after_x, after_y), range(after_y, len(self.covariance))


def noisy_channel(slope: float = 0.5, noise: float = 0.2) -> ConditionalTask:
    """Y = slope X + noise e, and a Z that has nothing to do with either.

    Args:
        slope: of the channel.
        noise: standard deviation, positive.

    Returns:
        1/2 log(1 + slope^2 / noise^2) nats, with and without Z.

    Raises:
        ConfigError: no noise.

    >>> round(noisy_channel().conditional_mutual_information, 4)
    0.9905
    """
    positive("noise", noise)
    spread = slope**2 + noise**2
    covariance = np.array([[1.0, slope, 0.0], [slope, spread, 0.0], [0.0, 0.0, 1.0]])
    return ConditionalTask(
        "noisy-channel", covariance, 1, 1, f"y = {slope:g} x + {noise:g} e; z independent"
    )


def common_cause(dim_z: int, correlation: float = 0.6) -> ConditionalTask:
    """X = C + e and Y = C + f, where C is the sum of Z over its root width, so of variance 1.

    The truth does not depend on the width of Z, only the difficulty does.

    Args:
        dim_z: width of Z.
        correlation: of the standard normal e and f, which is the partial one; 0 leaves X and Y
            independent given Z.

    Returns:
        -1/2 log(1 - correlation^2) nats given Z; without Z the correlation is
        (1 + correlation) / 2.

    Raises:
        ConfigError: a correlation outside (-1, 1), or no Z.
    """
    if not -1 < correlation < 1:
        raise ConfigError(f"a partial correlation must lie in (-1, 1), got {correlation!r}")
    load = np.full((2, width("dim_z", dim_z)), dim_z**-0.5)
    covariance = np.eye(2 + dim_z)
    covariance[:2, :2] = 1 + np.array([[1.0, correlation], [correlation, 1.0]])
    covariance[:2, 2:], covariance[2:, :2] = load, load.T
    kind = "common-cause" if correlation else "independent-given"
    left = f"partial correlation {correlation:g}" if correlation else "nothing left given z"
    return ConditionalTask(
        f"{kind}-{dim_z}", covariance, 1, 1, f"x and y share the mean of {dim_z} z; {left}"
    )


def independent_given(dim_z: int) -> ConditionalTask:
    """:func:`common_cause` with nothing left given Z: 0 nats, and 0.1438 without Z."""
    return common_cause(dim_z, 0.0)


def common_effect(noise: float = 0.5) -> ConditionalTask:
    """Independent X and Y, and Z = X + Y + noise of this variance: known together, they inform.

    Args:
        noise: variance, positive.

    Returns:
        -1/2 log(1 - 1 / (1 + noise)^2) nats given Z, none without.

    Raises:
        ConfigError: no noise.
    """
    positive("noise", noise)
    covariance = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 2.0 + noise]])
    return ConditionalTask(
        "common-effect", covariance, 1, 1, "x and y are independent until their sum z is known"
    )


def two_causes(correlations: tuple[float, float] = (0.5, 0.8)) -> ConditionalTask:
    """Two independent copies of :func:`common_cause`, of one cause each, as vectors.

    Args:
        correlations: partial ones of the two copies.

    Returns:
        The sum of -1/2 log(1 - correlation^2) nats given Z.

    Raises:
        ConfigError: a correlation outside (-1, 1).
    """
    covariance = np.zeros((6, 6))
    for copy, correlation in enumerate(correlations):
        places = np.arange(copy, 6, 2)
        covariance[np.ix_(places, places)] = common_cause(1, correlation).covariance
    return ConditionalTask("two-causes", covariance, 2, 2, "two common causes side by side")


CONDITIONAL_TASKS: Mapping[str, ConditionalTask] = MappingProxyType(
    {
        "noisy-channel": noisy_channel(),
        "common-cause-1": common_cause(1),
        "common-cause-5": common_cause(5),
        "common-cause-20": common_cause(20),
        "independent-given-1": independent_given(1),
        "independent-given-5": independent_given(5),
        "independent-given-20": independent_given(20),
        "common-effect": common_effect(),
        "two-causes": two_causes(),
    }
)
"""Name -> task."""


def conditional_task_named(name: str) -> ConditionalTask:
    """A task of :data:`CONDITIONAL_TASKS`.

    Raises:
        ConfigError: no such task; the message names those spelled like it.
    """
    return named(name, CONDITIONAL_TASKS, "conditional task")
