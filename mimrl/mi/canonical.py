"""Canonical analysis (Hotelling, 1936): maps that make a Gaussian pair a list of correlations.

Invertible linear maps of x and of y leave I(X; Y) as it is. In canonical coordinates both variables
are white, and coordinate k of one correlates with coordinate k of the other only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
CanonicalMaps = tuple[tuple[Floats, Floats], tuple[Floats, Floats]]

SMALLEST_SHARE = 1e-12
"""A direction with less than this share of the largest variance is a function of the others."""


def canonical_maps(x: Floats, y: Floats) -> CanonicalMaps:
    """Centres and maps to all canonical coordinates, strongest correlation first.

    Args:
        x: ``(N, dx)``.
        y: ``(N, dy)``, paired with x.

    Returns:
        Centres ``(dx,)`` and ``(dy,)``, and maps ``(dx, rx)`` and ``(dy, ry)`` with the ranks rx
        and ry: the coordinates are ``(x - centre) @ map``.
    """
    centres = x.mean(axis=0), y.mean(axis=0)
    x, y = x - centres[0], y - centres[1]
    white = whitening(x), whitening(y)
    cross = (x @ white[0]).T @ (y @ white[1]) / len(x)
    left, _, right = np.linalg.svd(cross, full_matrices=True)
    return centres, (white[0] @ left, white[1] @ right.T)


def whitening(centred: Floats) -> Floats:
    """``(d, r)``: the ``(N, d)`` rows times it are uncorrelated, of variance 1; r is the rank."""
    # Units first: the smallest directions of columns of very different size keep their digits.
    spread = centred.std(axis=0)
    units = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1.0), 0.0)
    scaled = centred * units
    variances, directions = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    kept = variances > SMALLEST_SHARE * max(float(variances[-1]), 0.0)
    return units[:, None] * directions[:, kept] / np.sqrt(variances[kept])
