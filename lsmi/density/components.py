"""Gaussian components fitted on sets of rows and evaluated on all rows, in the features' units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lsmi.density.coordinates import Scale, fit_coordinates, padded
from lsmi.density.covariances import Kind, free_numbers, log_joint
from lsmi.density.em import Fitting, fit_gaussians
from lsmi.density.family import FloatArray, Rows
from mimrl.errors import EstimationError

SCALES: Mapping[Kind, Scale] = {"spherical": "one number", "diag": "standard", "full": "white"}
NUMBERS_AT_A_TIME = 3e7  # of the rows' products: 240 MB


def component_log_densities(
    x: FloatArray, labels: Rows, groups: int, fits: Sequence[Rows], how: Fitting
) -> tuple[Tensor, Tensor]:
    """Log of weight times density of every component, and log weights.

    Args:
        x: ``(N, D)``.
        labels: ``(N,)`` group of each row, ``0 .. groups - 1``; only rows in ``fits`` count.
        groups: ``G``; each has ``how.components`` components of its own.
        fits: rows of each fit.
        how: form and effort. Floors are in units of the fit's coordinates, in which variances
            are 1.

    Returns:
        ``(F, G * K, N)`` in nats and ``(F, G * K)``, components of group 0 first.

    Raises:
        EstimationError: a covariance became singular, which a positive floor does not allow.
    """
    most = max(len(rows) for rows in fits)
    numbers = most * (free_numbers(x.shape[1], how.kind) + x.shape[1] + 1)
    together = max(1, int(NUMBERS_AT_A_TIME / numbers))
    parts = [
        _some_fits(x, labels, groups, fits[first : first + together], how)
        for first in range(0, len(fits), together)
    ]
    densities, log_weights = zip(*parts, strict=True)
    return torch.cat(densities), torch.cat(log_weights)


def _some_fits(
    x: FloatArray, labels: Rows, groups: int, fits: Sequence[Rows], how: Fitting
) -> tuple[Tensor, Tensor]:
    inputs = torch.tensor(x)
    coordinates = fit_coordinates(x, fits, SCALES[how.kind])
    jobs = [rows[labels[rows] == group] for rows in fits for group in range(groups)]
    rows, weight = padded(jobs)
    seen = coordinates(inputs[rows].unflatten(0, (-1, groups)).flatten(1, 2))
    try:
        model = fit_gaussians(seen.view(*rows.shape, -1), weight, groups, how)
    except torch.linalg.LinAlgError as error:
        raise EstimationError(
            f"a covariance of {how.components} components of form {how.kind} became singular with "
            f"floor {how.floor:g}; raise the floor (1e-4 by default)"
        ) from error
    values = torch.cat(
        [log_joint(coordinates(chunk), model, how.kind) for chunk in inputs.split(4096)], dim=2
    )
    return values + coordinates.log_volume[:, None, None], model.log_weights
