"""What the families of Gaussians share: forms of covariance as candidates, and their fitting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from lsmi.density.covariances import Kind
from lsmi.density.em import QUICK, THOROUGH, Effort, Fitting
from lsmi.density.family import position
from mimrl.errors import ConfigError


@dataclass(frozen=True)
class GaussianFamily(ABC):
    """Gaussians by expectation maximisation; a candidate is a form of covariance and K.

    Attributes:
        forms: pairs of covariance form and number of components. Simple ones first: see
            :func:`~lsmi.density.family.choose`.
        floor: added to the variances, as a share of the variance of the fit's rows.
        shrinkage: of components' covariances towards their pooled shape; see
            :class:`~lsmi.density.em.Fitting`.
        effort: starts and rounds of the components of a form, for K > 1.
        seed: of the starts.

    Raises:
        ConfigError: an unknown form or a number of components below 1.
    """

    title: ClassVar[str]
    """What is fitted, for messages."""
    covariances: ClassVar[Mapping[str, tuple[Kind, bool]]]
    """Form -> the kind of covariance, and whether all components share one."""

    forms: tuple[tuple[str, int], ...]
    floor: float = 1e-4
    shrinkage: float = 1.0
    effort: Effort = THOROUGH
    seed: int = 0

    def __post_init__(self) -> None:
        for form, count in self.forms:
            if form not in self.covariances or count < 1:
                raise ConfigError(
                    f"{self.title} of {count} components of form {form!r}; expected at least one, "
                    f"of one of the forms {', '.join(self.covariances)}"
                )

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """One a form."""

    @property
    def steps(self) -> int:
        """One a form."""
        return len(self.forms)

    def only(self, name: str) -> Self:
        """See :class:`~lsmi.density.family.DensityFamily`."""
        return replace(self, forms=(self.forms[position(name, self.names)],))

    def quick(self) -> Self:
        """See :class:`~lsmi.density.family.DensityFamily`."""
        return replace(self, effort=QUICK)

    def fittings(self) -> Iterator[Fitting]:
        """How each candidate is fitted."""
        for form, count in self.forms:
            kind, shared = self.covariances[form]
            yield Fitting(kind, shared, count, self.floor, self.shrinkage, self.effort, self.seed)
