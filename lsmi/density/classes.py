"""Class-conditional Gaussians: p(x) = sum_c p(c) p(x|c), fitted with labels.

Where the classes are clusters they are found without a search, and log p(x|y) is modelled itself
instead of read as log p(x) + i(x;y).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from lsmi.density.components import component_log_densities
from lsmi.density.covariances import Kind
from lsmi.density.em import QUICK, THOROUGH, Effort, Fitting
from lsmi.density.family import Densities, FloatArray, Progress, Rows, position
from mimrl.errors import ConfigError

COVARIANCES: Mapping[str, tuple[Kind, bool]] = {
    "shared spherical": ("spherical", True),
    "shared full": ("full", True),
    "own spherical": ("spherical", False),
    "own diag": ("diag", False),
    "own full": ("full", False),
}


@dataclass(frozen=True)
class ClassConditional:
    """A Gaussian, or a mixture of K, for each class; a candidate is a form of covariance and K.

    With K = 1 the fit is in closed form; ``shared full`` is linear and ``own full`` quadratic
    discriminant analysis.

    Attributes:
        forms: pairs of covariance form and number of components of each class. A shared
            covariance is one for all classes and components, an own one a component's. Simple
            ones first: see :func:`~lsmi.density.family.choose`.
        floor: added to the variances, as a share of the variance of the fit's rows.
        shrinkage: of own covariances towards their pooled shape; see
            :class:`~lsmi.density.em.Fitting`.
        effort: starts and rounds of the components of a form, for K > 1.
        seed: of the starts.

    Raises:
        ConfigError: an unknown form or a number of components below 1.
    """

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
    floor: float = 1e-4
    shrinkage: float = 1.0
    effort: Effort = THOROUGH
    seed: int = 0

    def __post_init__(self) -> None:
        for form, count in self.forms:
            if form not in COVARIANCES or count < 1:
                raise ConfigError(
                    f"class-conditional density of {count} components of form {form!r}; expected "
                    f"at least one, of one of the forms {', '.join(COVARIANCES)}"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """One a form."""
        return tuple(f"class-conditional Gaussian, {form}, {count}" for form, count in self.forms)

    @property
    def steps(self) -> int:
        """One a form."""
        return len(self.forms)

    def only(self, name: str) -> ClassConditional:
        """See :class:`~lsmi.density.family.DensityFamily`."""
        return replace(self, forms=(self.forms[position(name, self.names)],))

    def quick(self) -> ClassConditional:
        """See :class:`~lsmi.density.family.DensityFamily`."""
        return replace(self, effort=QUICK)

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
        for number, (form, count) in enumerate(self.forms):
            kind, shared = COVARIANCES[form]
            how = Fitting(kind, shared, count, self.floor, self.shrinkage, self.effort, self.seed)
            parts, log_weights = component_log_densities(x, labels, classes, fits, how)
            joint = torch.logsumexp(parts.unflatten(1, (classes, count)), dim=2)
            log_prior = torch.logsumexp(log_weights.unflatten(1, (classes, count)), dim=2)
            marginal.append(torch.logsumexp(joint, dim=1).numpy())
            given[number] = (joint - log_prior.unsqueeze(-1)).transpose(1, 2).numpy()
            progress(1)
        return Densities(self.names, np.stack(marginal), given)
