"""Class-conditional Gaussians: p(x) = sum_c p(c) p(x|c), fitted with labels.

Where the classes are clusters they are found without a search, and log p(x|y) is modelled itself
instead of read as log p(x) + i(x;y).
"""

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
    "shared spherical": ("spherical", True),
    "shared full": ("full", True),
    "own spherical": ("spherical", False),
    "own diag": ("diag", False),
    "own full": ("full", False),
}


@dataclass(frozen=True)
class ClassConditional(GaussianFamily):
    """A Gaussian, or a mixture of K, for each class; a candidate is a form of covariance and K.

    With K = 1 the fit is in closed form; ``shared full`` is linear and ``own full`` quadratic
    discriminant analysis. What is not listed here is as in
    :class:`~lsmi.density.forms.GaussianFamily`.

    Attributes:
        forms: pairs of covariance form and number of components of each class. A shared
            covariance is one for all classes and components, an own one a component's.
    """

    title = "class-conditional density"
    covariances = COVARIANCES

    forms: tuple[tuple[str, int], ...] = (
        ("shared spherical", 1),
        ("own spherical", 1),
        ("own diag", 1),
        ("shared full", 1),
        ("own full", 1),
        ("shared spherical", 2),
        ("shared full", 2),
        ("own full", 2),
    )

    @property
    def names(self) -> tuple[str, ...]:
        """One a form."""
        return tuple(f"class-conditional Gaussian, {form}, {count}" for form, count in self.forms)

    def __call__(
        self,
        x: FloatArray,
        labels: Rows,
        classes: int,
        fits: Sequence[Rows],
        progress: Progress,
    ) -> Densities:
        """See :class:`~lsmi.density.family.DensityFamily`."""
        marginal: list[FloatArray] = []
        given: dict[int, FloatArray] = {}
        for number, how in enumerate(self.fittings()):
            parts, log_weights = component_log_densities(x, labels, classes, fits, how)
            sizes = classes, how.components
            joint = torch.logsumexp(parts.unflatten(1, sizes), dim=2)
            log_prior = torch.logsumexp(log_weights.unflatten(1, sizes), dim=2)
            marginal.append(torch.logsumexp(joint, dim=1).numpy())
            given[number] = (joint - log_prior.unsqueeze(-1)).transpose(1, 2).numpy()
            progress(1)
        return Densities(self.names, np.stack(marginal), given)
