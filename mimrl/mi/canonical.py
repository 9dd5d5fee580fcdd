"""Canonical analysis (Hotelling, 1936): maps that make a Gaussian pair a list of correlations.

Invertible linear maps of x and of y leave I(X; Y) as it is. In canonical coordinates both variables
are white, and coordinate k of one correlates with coordinate k of the other only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SMALLEST_SHARE = 1e-12
"""A direction with less than this share of the largest variance is a function of the others."""

INNER_FOLDS = 5


@dataclass(frozen=True)
class Affine:
    """``(values - centre) @ matrix``.

    Attributes:
        centre: ``(d,)``.
        matrix: ``(d, r)``.
    """

    centre: Floats
    matrix: Floats

    def __call__(self, values: Floats) -> Floats:
        """``(N, d)`` to ``(N, r)``."""
        return (values - self.centre) @ self.matrix


def canonical_maps(x: Floats, y: Floats) -> tuple[Affine, Affine]:
    """Maps of x and of y to all their canonical coordinates, strongest correlation first.

    Args:
        x: ``(N, dx)``.
        y: ``(N, dy)``, paired with x.

    Returns:
        Matrices are ``(dx, rx)`` and ``(dy, ry)`` with the ranks rx and ry.
    """
    centres = x.mean(axis=0), y.mean(axis=0)
    x, y = x - centres[0], y - centres[1]
    white = whitening(x), whitening(y)
    cross = (x @ white[0]).T @ (y @ white[1]) / len(x)
    left, _, right = np.linalg.svd(cross, full_matrices=True)
    return Affine(centres[0], white[0] @ left), Affine(centres[1], white[1] @ right.T)


def held_out_coordinates(x: Floats, y: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Every row once, in canonical coordinates that other rows have chosen.

    In the rows that chose the directions even independent variables correlate: by ``sqrt(d / N)``
    in ``d`` dimensions.

    Args:
        x: ``(N, dx)``.
        y: ``(N, dy)``, paired with x.

    Yields:
        For each of :data:`INNER_FOLDS` parts of the rows the coordinates of x and of y that have a
        counterpart, ``(n, k)`` both. k is the smaller rank of the other parts, which may lack a
        column that varies in one part only.
    """
    parts = np.arange(len(x)) % INNER_FOLDS
    for number in range(INNER_FOLDS):
        held = parts == number
        of_x, of_y = canonical_maps(x[~held], y[~held])
        u, v = of_x(x[held]), of_y(y[held])
        shared = min(u.shape[1], v.shape[1])
        yield u[:, :shared], v[:, :shared]


def whitening(centred: Floats) -> Floats:
    """``(d, r)``: the ``(N, d)`` rows times it are uncorrelated, of variance 1; r is the rank."""
    # Units first: the smallest directions of columns of very different size keep their digits.
    spread = centred.std(axis=0)
    units = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1.0), 0.0)
    scaled = centred * units
    variances, directions = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    kept = variances > SMALLEST_SHARE * max(float(variances[-1]), 0.0)
    return units[:, None] * directions[:, kept] / np.sqrt(variances[kept])
