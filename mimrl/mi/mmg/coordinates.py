"""Affine coordinates of x and y, and the Gaussian part of their dependence, from training rows.

Invertible affine maps leave I(X; Y) as it is. Canonical analysis (Hotelling, 1936) finds those in
which a Gaussian pair is a list of correlations; each correlation is read on rows that did not
choose its direction, because in a sample even independent variables correlate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mimrl.errors import EstimationError
from mimrl.mi.canonical import SMALLEST_SHARE, Affine, canonical_maps, held_out_coordinates
from mimrl.mi.mmg.linear import LinearDenoisers

Floats = npt.NDArray[np.float64]
Preprocess = Literal["whiten", "rescale", "none"]

SMALLEST_REST = 1e-12
"""Below this unexplained share of a direction's variance y determines it, up to rounding."""


@dataclass(frozen=True)
class Coordinates:
    """What is fitted in closed form before any network.

    Attributes:
        x: map of x.
        y: map of y.
        linear: the best linear denoisers in these coordinates.
    """

    x: Affine
    y: Affine
    linear: LinearDenoisers

    @classmethod
    def fit(cls, x: Floats, y: Floats, preprocess: Preprocess) -> Coordinates:
        """Of training rows.

        Args:
            x: ``(N, dx)``; at least one column varies.
            y: ``(N, dy)``, likewise.
            preprocess: ``whiten`` by the symmetric root, which stays closest to the columns as
                they are; ``rescale`` each column to standard deviation 1; or ``none``: centred
                only. The units of x decide where log-SNR 0 lies.

        Raises:
            EstimationError: y determines a direction of x, or x one of y: their information is
                infinite.
        """
        maps = canonical_maps(x, y)
        correlations, rest = _held_out(x, y, min(part.matrix.shape[1] for part in maps))
        linear = LinearDenoisers.diagonal(correlations, *(part.matrix.shape[1] for part in maps))
        linear.rest_variances[: len(rest)] = rest
        kept = _columns(x, preprocess), _columns(y, preprocess)
        return cls(*kept, _seen_from(linear, maps, kept))


def _columns(values: Floats, preprocess: Preprocess) -> Affine:
    centre = values.mean(axis=0)
    if preprocess == "none":
        return Affine(centre, np.eye(values.shape[1]))
    spread = values.std(axis=0)
    units = np.diag(1 / np.where(spread > 0, spread, 1.0))
    if preprocess == "rescale":
        return Affine(centre, units)
    scaled = (values - centre) @ units
    variances, directions = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    kept = variances > SMALLEST_SHARE * variances[-1]
    roots = np.sqrt(np.where(kept, variances, 1.0))
    return Affine(centre, units @ (directions / roots) @ directions.T)


def _seen_from(
    linear: LinearDenoisers, maps: tuple[Affine, Affine], kept: tuple[Affine, Affine]
) -> LinearDenoisers:
    """Canonical denoisers in other coordinates with the same centres."""
    # Canonical coordinates are `kept @ onto`; `back` returns from them, the best it can where
    # directions of no variance were left out.
    onto = [np.linalg.pinv(to.matrix) @ by.matrix for by, to in zip(maps, kept, strict=True)]
    back = np.linalg.pinv(onto[0])
    variances, basis = np.linalg.eigh(back.T @ back)
    rest_variances, rest_basis = np.linalg.eigh((back.T * linear.rest_variances) @ back)
    floor = SMALLEST_SHARE * variances[-1]  # of directions left out: the same with and without y
    variances, rest_variances = np.maximum(variances, floor), np.maximum(rest_variances, floor)
    slopes = (onto[1] @ linear.slopes.T @ back).T
    return LinearDenoisers(variances, basis, slopes, rest_variances, rest_basis)


def _held_out(x: Floats, y: Floats, count: int) -> tuple[Floats, Floats]:
    """Slopes of the canonical pairs and the variances they leave, ``(count,)`` each.

    Directions are chosen on four fifths of the rows, and moments are read on the rest.
    """
    moments = np.zeros((3, count))
    for u, v in held_out_coordinates(x, y):
        u, v = u[:, :count], v[:, :count]
        for row, product in enumerate((u * v, u * u, v * v)):
            moments[row, : product.shape[1]] += product.sum(axis=0)
    spread = np.sqrt(moments[1] * moments[2])
    correlations = (moments[0] / np.where(spread > 0, spread, 1.0)).clip(0, 1)
    rest = 1 - correlations**2
    if (rest < SMALLEST_REST).any():
        raise EstimationError(
            f"a linear function of y determines one of x up to {rest.min():.1g} of its variance: "
            "their information is infinite; remove the columns that x and y share"
        )
    return correlations, rest
