"""A permutation control: what an estimator reads where there is nothing to read.

With y in a random order, y knows nothing of x. What an estimator still finds is its bias and its
scatter on data with these margins, and an estimate within that range is no evidence of dependence.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from mimrl.errors import ConfigError, EstimationWarning
from mimrl.mi.estimators.options import AnyEstimator

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

NEIGHBOURS = 5
"""Nearest rows in z among which y may go, as Runge (2018) recommends."""


@dataclass(frozen=True)
class Control:
    """Estimates of shuffled samples.

    Attributes:
        estimate: of the samples as they are, nats.
        values: of the shuffled ones, nats, one a shuffle.
    """

    estimate: float
    values: Sequence[float]

    @property
    def mean(self) -> float:
        """Nats."""
        return float(np.mean(self.values))

    @property
    def largest(self) -> float:
        """Nats."""
        return max(self.values)

    @property
    def p_value(self) -> float:
        """Share of the orders, the given one included, that read as much as the given one.

        With S shuffles it is ``1 / (S + 1)`` or more (Phipson and Smyth, 2010).
        """
        as_large = sum(value >= self.estimate for value in self.values)
        return (1 + as_large) / (1 + len(self.values))


def shuffled_estimates(
    estimator: AnyEstimator, arrays: Sequence[Floats], shuffles: int, seed: int
) -> Iterator[float]:
    """Estimates with y in random orders, one after the other.

    Args:
        estimator: of x and y, or of x, y and z.
        arrays: x and y, or x, y and z, ``(N, d)`` each.
        shuffles: how many.
        seed: of the orders.

    Yields:
        Nats. Warnings are not given again.

    Raises:
        ConfigError: a negative number of shuffles.
    """
    if shuffles < 0:
        raise ConfigError(f"shuffles must be 0 or more, got {shuffles}")
    x, y, *rest = arrays
    generator = np.random.default_rng(seed)
    for _ in range(shuffles):
        order = local_order(rest[0], generator) if rest else generator.permutation(len(y))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EstimationWarning)
            yield float(estimator.estimate_with_info(x, y[order], *rest).mi_estimate)


def local_order(z: Floats, generator: np.random.Generator) -> Rows:
    """A random order that moves rows among their nearest neighbours in z only.

    Y then keeps its relation with z and loses the one with x given z. Each row, in a random order,
    takes one of its five neighbours that no other row took, at random; rows that are left over do
    the same among those that nobody took, until all have one.

    Args:
        z: ``(N, dz)``; columns are scaled to equal spread here.
        generator: is advanced.

    Returns:
        ``(N,)`` row numbers, each once.

    Note:
        J. Runge, "Conditional independence testing based on a nearest-neighbor estimator", AISTATS
        2018, algorithm 1, lets rows that are left over take what others took. The repeated values
        are ties, which estimators by nearest neighbours read as dependence.
    """
    spread = z.std(axis=0)
    scaled = z / np.where(spread > 0, spread, 1.0)
    order = np.full(len(z), -1, dtype=np.int64)
    rows = free = np.arange(len(z))
    while len(rows):
        near = cKDTree(scaled[free]).query(scaled[rows], min(NEIGHBOURS, len(free)))[1]
        _take(order, rows, free[near.reshape(len(rows), -1)], generator)
        rows = np.flatnonzero(order < 0)
        free = np.setdiff1d(free, order)
    return order


def _take(order: Rows, rows: Rows, near: Rows, generator: np.random.Generator) -> None:
    """Gives each of ``rows`` in turn the first of its ``near`` that is not taken, if any."""
    near = generator.permuted(near, axis=1)
    taken = np.zeros(len(order), dtype=bool)
    for place in generator.permutation(len(rows)):
        left = near[place][~taken[near[place]]]
        if len(left):
            order[rows[place]] = left[0]
            taken[left[0]] = True
