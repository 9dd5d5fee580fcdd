"""The coordinates in which a model sees its rows: centred, and of unit scale.

Every fit has its own, made from its own rows. Which scale depends on the model: it is the one
whose change the model's law does not notice, so that starts, floors and steps of a training do
not depend on the units of the features either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lsmi.density.family import FloatArray, Rows

Scale = Literal["one number", "standard", "white"]
SMALLEST_SHARE = 1e-9  # a direction with less than this share of the largest variance is constant


@dataclass(frozen=True)
class Coordinates:
    """An affine map of the features for each of ``F`` fits.

    Attributes:
        centre: ``(F, 1, D)``.
        factor: ``(F, D, D)``; the map is ``(x - centre) @ factor``.
        log_volume: ``(F,)`` log of the determinant of ``factor``: what is added to a log density
            in these coordinates to give the one in the features' own.
    """

    centre: Tensor
    factor: Tensor
    log_volume: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """``(N, D)`` or ``(F, N, D)`` features as ``(F, N, D)``."""
        return (x - self.centre) @ self.factor

    def part(self, fits: slice) -> Coordinates:
        """Those of some fits."""
        return Coordinates(self.centre[fits], self.factor[fits], self.log_volume[fits])


def fit_coordinates(x: FloatArray, fits: Sequence[Rows], scale: Scale) -> Coordinates:
    """Coordinates of each fit in float64.

    Args:
        x: ``(N, D)``.
        fits: rows of each fit.
        scale: ``one number`` divides all coordinates by the root of their mean variance,
            ``standard`` each by its own standard deviation, ``white`` multiplies by the inverse
            root of the covariance. What does not vary is divided by the former.
    """
    centres = np.stack([x[rows].mean(axis=0) for rows in fits])
    factors, volumes = [], []
    for rows, centre in zip(fits, centres, strict=True):
        factor, volume = _factor(x[rows] - centre, scale)
        factors.append(factor)
        volumes.append(volume)
    return Coordinates(
        torch.from_numpy(centres[:, None]),
        torch.from_numpy(np.stack(factors)),
        torch.tensor(volumes, dtype=torch.float64),
    )


def _factor(centred: FloatArray, scale: Scale) -> tuple[FloatArray, float]:
    """``(D, D)`` and the log of its determinant."""
    if scale == "white":
        variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
        roots = _roots(variances)
        return (directions / roots) @ directions.T, float(-np.log(roots).sum())
    variances = centred.var(axis=0)
    if scale == "one number":
        variances = np.full_like(variances, variances.mean())
    roots = _roots(variances)
    return np.diag(1 / roots), float(-np.log(roots).sum())


def _roots(variances: FloatArray) -> FloatArray:
    largest = max(float(variances.max()), 0.0)
    typical = float(variances.mean()) if largest > 0 else 1.0
    return np.sqrt(np.where(variances > SMALLEST_SHARE * largest, variances, typical))


def padded(jobs: Sequence[Rows]) -> tuple[Tensor, Tensor]:
    """Rows of all jobs side by side.

    Returns:
        ``(J, n)`` row numbers, ``n`` those of the largest job, and ``(J, n)`` weights, 1 for a
        row of the job and 0 for what fills it up.
    """
    numbers = np.zeros((len(jobs), max(len(rows) for rows in jobs)), dtype=np.int64)
    weight = np.zeros(numbers.shape)
    for job, rows in enumerate(jobs):
        numbers[job, : len(rows)] = rows
        weight[job, : len(rows)] = 1
    return torch.from_numpy(numbers), torch.from_numpy(weight)
