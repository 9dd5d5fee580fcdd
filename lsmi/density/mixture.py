"""Gaussian mixtures without labels: five forms of covariance, any number of components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lsmi.density.components import component_log_densities
from lsmi.density.covariances import Kind
from lsmi.density.family import Densities, FloatArray, Progress, Rows
from lsmi.density.forms import GaussianFamily

COVARIANCES: Mapping[str, tuple[Kind, bool]] = {
    "spherical": ("spherical", False),
    "diag": ("diag", False),
    "full": ("full", False),
    "tied spherical": ("spherical", True),
    "tied": ("full", True),
}


@dataclass(frozen=True)
class Mixture(GaussianFamily):
    """Gaussian mixtures by expectation maximisation; a candidate is a form of covariance and K.

    What is not listed here is as in :class:`~lsmi.density.forms.GaussianFamily`.

    Attributes:
        forms: pairs of covariance form and number of components: ``spherical`` (one variance a
            component), ``diag``, ``full``; ``tied`` (one full covariance for all components),
            ``tied spherical``.
    """

    title = "mixture"
    covariances = COVARIANCES

    forms: tuple[tuple[str, int], ...] = (
        ("full", 1),
        ("tied spherical", 2),
        ("tied spherical", 4),
        ("spherical", 4),
        ("tied spherical", 10),
        ("tied", 3),
        ("tied", 6),
        ("full", 2),
        ("diag", 4),
        ("full", 4),
        ("diag", 8),
        ("full", 8),
    )

    @property
    def names(self) -> tuple[str, ...]:
        """One a form."""
        return tuple(f"{form} Gaussian mixture, {count}" for form, count in self.forms)

    def __call__(
        self,
        x: FloatArray,
        labels: Rows,
        classes: int,
        fits: Sequence[Rows],
        progress: Progress,
    ) -> Densities:
        """See :class:`~lsmi.density.family.DensityFamily`; labels are not looked at."""
        found = []
        for how in self.fittings():
            parts, _ = component_log_densities(x, np.zeros(len(x), np.int64), 1, fits, how)
            found.append(torch.logsumexp(parts, dim=1).numpy())
            progress(1)
        return Densities(self.names, np.stack(found))
