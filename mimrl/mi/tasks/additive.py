"""A uniform variable seen through additive uniform noise: densities with edges."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimrl.mi.tasks.law import Floats, Seed, TotalDimension, drawing, pairs_of, positive

ROUNDING = 1e-6
"""How far y may overstep the noise: pairs at its edge do so when a file keeps them as float32."""


@dataclass(frozen=True)
class AdditiveUniform(TotalDimension):
    """X uniform on [0, 1], and Y = X + noise uniform on [-epsilon, epsilon].

    p(y) is the share of [y - epsilon, y + epsilon] that lies in [0, 1], over 2 epsilon.

    Args:
        epsilon: half the width of the noise, positive.

    Raises:
        ConfigError: it is not.

    >>> round(AdditiveUniform(0.75).mutual_information(), 4)  # 1 / (4 epsilon)
    0.3333
    """

    epsilon: float

    def __post_init__(self) -> None:
        positive("epsilon", self.epsilon)

    @property
    def dim_x(self) -> int:
        """1."""
        return 1

    @property
    def dim_y(self) -> int:
        """1."""
        return 1

    def sample(self, n_points: int, rng: Seed) -> tuple[Floats, Floats]:
        """``(N, 1)`` and ``(N, 1)``; see :class:`~mimrl.mi.tasks.law.Law`."""
        count, generator = drawing(n_points, rng)
        x = generator.uniform(size=(count, 1))
        return x, x + generator.uniform(-self.epsilon, self.epsilon, size=(count, 1))

    def mutual_information(self) -> float:
        """h(Y) - log(2 epsilon), nats.

        The density of Y is a trapezoid. Its entropy is minus the log of the plateau's height (1,
        or 1 / (2 epsilon) when the noise is wider than X) plus epsilon, or 1 / (4 epsilon), from
        the two sloping sides.
        """
        if self.epsilon > 0.5:
            return 0.25 / self.epsilon
        return self.epsilon - math.log(2 * self.epsilon)

    def log_ratio(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """``(N,)`` nats; see :class:`~mimrl.mi.tasks.law.Law`.

        Minus infinity for a pair that cannot occur though its x and its y can.
        """
        xs, ys = (value[:, 0] for value in pairs_of(self, x, y))
        overlap = np.minimum(ys + self.epsilon, 1) - np.maximum(ys - self.epsilon, 0)
        possible = (np.abs(ys - xs) <= self.epsilon + ROUNDING) & (overlap > 0)
        return np.where(possible, -np.log(np.where(possible, overlap, 1)), -np.inf)
