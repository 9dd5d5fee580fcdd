"""Gaussian mixtures without labels: five forms of covariance, any number of components."""

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
    "spherical": ("spherical", False),
    "diag": ("diag", False),
    "full": ("full", False),
    "tied spherical": ("spherical", True),
    "tied": ("full", True),
}


@dataclass(frozen=True)
class Mixture:
    """Gaussian mixtures by expectation maximisation; a candidate is a form of covariance and K.

    Attributes:
        forms: pairs of covariance form and number of components: ``spherical`` (one variance a
            component), ``diag``, ``full``; ``tied`` (one full covariance for all components),
            ``tied spherical``. Simple ones first: see :func:`~lsmi.density.family.choose`.
        floor: added to the variances, as a share of the variance of the fit's rows.
        shrinkage: of components' covariances towards their pooled shape; see
            :class:`~lsmi.density.em.Fitting`.
        effort: starts and rounds of the components of a form, for K > 1.
        seed: of the starts.

    Raises:
        ConfigError: an unknown form or a number of components below 1.
    """

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
    floor: float = 1e-4
    shrinkage: float = 1.0
    effort: Effort = THOROUGH
    seed: int = 0

    def __post_init__(self) -> None:
        for form, count in self.forms:
            if form not in COVARIANCES or count < 1:
                raise ConfigError(
                    f"mixture of {count} components of form {form!r}; expected at least one, of "
                    f"one of the forms {', '.join(COVARIANCES)}"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """One a form."""
        return tuple(f"{form} Gaussian mixture, {count}" for form, count in self.forms)

    @property
    def steps(self) -> int:
        """One a form."""
        return len(self.forms)

    def only(self, name: str) -> Mixture:
        """See :class:`~lsmi.density.family.DensityFamily`."""
        return replace(self, forms=(self.forms[position(name, self.names)],))

    def quick(self) -> Mixture:
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
        """See :class:`~lsmi.density.family.DensityFamily`; labels are not looked at."""
        found = []
        for form, count in self.forms:
            kind, shared = COVARIANCES[form]
            how = Fitting(kind, shared, count, self.floor, self.shrinkage, self.effort, self.seed)
            parts, _ = component_log_densities(x, np.zeros(len(x), np.int64), 1, fits, how)
            found.append(torch.logsumexp(parts, dim=1).numpy())
            progress(1)
        return Densities(self.names, np.stack(found))
