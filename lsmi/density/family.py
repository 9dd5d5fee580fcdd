"""What a family of density models is, what it gives, and how one of its candidates is chosen.

A family fits all its candidates on each set of rows and evaluates all rows; it does not judge.
Which candidate is read is decided by the likelihood of rows that no fit has seen. Log densities
are in nats; ``h(x) = -log p(x)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mimrl.errors import ConfigError, EstimationError, NonFiniteError, ShapeError

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Progress = Callable[[int], object]


@dataclass(frozen=True)
class Densities:
    """Log densities of all rows under ``S`` candidates, each fitted on ``F`` sets of rows.

    Attributes:
        names: ``S`` names, all different.
        marginal: ``(S, F, N)`` log p(x) in nats.
        given: candidate number -> ``(F, N, C)`` log p(x|y = c) in nats, for those candidates
            that model it. A class without rows in a fit has the density of all its rows.
    """

    names: tuple[str, ...]
    marginal: FloatArray
    given: Mapping[int, FloatArray] = field(default_factory=dict)


class DensityFamily(Protocol):
    """Density models of one kind; its candidates are forms, sizes or moments of a training."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the candidates, in the order of :attr:`Densities.names`."""
        ...

    @property
    def steps(self) -> int:
        """How many steps a call reports as progress."""
        ...

    def only(self, name: str) -> DensityFamily:
        """The family restricted to one candidate.

        Moments of a training are not restricted: which is best is each fit's own matter.

        Raises:
            ConfigError: no candidate has this name.
        """
        ...

    def quick(self) -> DensityFamily:
        """The family with just the effort that ranking its candidates takes."""
        ...

    def __call__(
        self,
        x: FloatArray,
        labels: Rows,
        classes: int,
        fits: Sequence[Rows],
        progress: Progress,
    ) -> Densities:
        """Fits every candidate on every set of rows.

        Args:
            x: ``(N, D)`` finite features.
            labels: ``(N,)`` in ``0 .. classes - 1``.
            classes: ``C``.
            fits: row numbers of each fit. Its models have seen the features and labels of these
                rows only, but evaluate all ``N`` rows.
            progress: called with the number of steps just done.
        """
        ...


def estimate(
    x: FloatArray,
    labels: Rows,
    classes: int,
    fits: Sequence[Rows],
    families: Sequence[DensityFamily],
    progress: Progress = lambda count: None,
) -> Densities:
    """The candidates of all families together; arguments as of :class:`DensityFamily`.

    Raises:
        ShapeError: arrays that do not fit together.
        NonFiniteError: NaN or infinite features, or a training that became so.
        EstimationError: no fit, or a fit with fewer than two rows.
        ConfigError: no family, or two candidates of one name.
    """
    _check(x, labels, classes, fits)
    names = tuple(name for family in families for name in family.names)
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"density candidates {names}: expected at least one, each name once")
    parts = [family(x, labels, classes, fits, progress) for family in families]
    given: dict[int, FloatArray] = {}
    for number, part in enumerate(parts):
        before = sum(len(other.names) for other in parts[:number])
        given |= {before + candidate: values for candidate, values in part.given.items()}
    return Densities(names, np.concatenate([part.marginal for part in parts]), given)


def choose(densities: Densities, fit: int, rows: Rows, margin: float = 0.0) -> int:
    """The candidate most likely to have produced ``rows``, which its fit must not have seen.

    Args:
        densities: candidates, simple ones first.
        fit: number of the fit.
        rows: that judge.
        margin: the first candidate is taken that is behind the most likely one by no more than
            so many standard errors of the difference. Among twenty forms that fit alike, chance
            chooses one that is larger than need be; a margin of 1 keeps to the simplest.

    Raises:
        EstimationError: no rows to judge by.
    """
    values = densities.marginal[:, fit, rows]
    count = values.shape[1]
    if count == 0:
        raise EstimationError("no held-out rows to choose a density by; expected at least one")
    behind = values[values.mean(axis=1).argmax()] - values
    return int(np.argmax(behind.mean(axis=1) <= margin * behind.std(axis=1) / math.sqrt(count)))


def restrict(families: Sequence[DensityFamily], name: str) -> DensityFamily:
    """The family that has a candidate of this name, restricted to it.

    Raises:
        ConfigError: none has.
    """
    for family in families:
        if name in family.names:
            return family.only(name)
    known = ", ".join(name for family in families for name in family.names)
    raise ConfigError(f"no density candidate is called {name!r}; expected one of: {known}")


def position(name: str, names: Sequence[str]) -> int:
    """Where ``name`` is among a family's candidates.

    Raises:
        ConfigError: nowhere.
    """
    if name not in names:
        raise ConfigError(f"no candidate is called {name!r}; expected one of: {', '.join(names)}")
    return names.index(name)


def _check(x: FloatArray, labels: Rows, classes: int, fits: Sequence[Rows]) -> None:
    if x.ndim != 2 or x.shape[1] < 1 or labels.shape != (len(x),):
        raise ShapeError(
            f"features of shape {x.shape} with labels of shape {labels.shape}; expected (N, D) "
            "with D >= 1, and (N,)"
        )
    if not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0, 0])
        raise NonFiniteError(f"features are NaN or infinite, first in row {row}")
    fewest = min((len(rows) for rows in fits), default=0)
    if fewest < 2:
        raise EstimationError(f"a density model was given {fewest} rows; expected at least 2")
    seen = labels[np.unique(np.concatenate(list(fits)))]
    if seen.min() < 0 or seen.max() >= classes:
        raise ShapeError(
            f"labels lie in {seen.min()}..{seen.max()}; expected 0..{classes - 1} for {classes} "
            "classes"
        )
