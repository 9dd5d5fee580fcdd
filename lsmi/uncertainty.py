"""Intervals of all totals: a bootstrap over samples, whole groups at a time, and over repeats.

The models are not fitted again: what varies are the samples that are read, what each of them
contributed through the fitted densities (:mod:`lsmi.influence`), and which of the repeats
(cross-fittings with other folds and starts) are averaged. ``bench/lsmi_coverage.py`` shows how
often such intervals hold the truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from lsmi.decomposition import (
    Atoms,
    PointwiseInformation,
    Totals,
    feasible_shift,
    published_shift,
    raw_atoms,
)
from lsmi.influence import density_influence
from lsmi.results import ADJUSTED, ATOMS, FEASIBLE, INFORMATION, Reliability

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
CHUNK = 100  # draws at a time: (CHUNK, groups) weights are held
BINS = 10


@dataclass(frozen=True)
class Repeated:
    """Held-out values of ``N`` samples in ``R`` repeats; arrays are ``(R, N)``, in nats.

    Attributes:
        i1: pointwise information of the first features.
        i2: of the second.
        i12: of both.
        h1: ``-log p(x1)``.
        h2: ``-log p(x2)``.
        h1_given: ``-log p(x1|y)`` or None.
        h2_given: the same for ``x2``.
    """

    i1: FloatArray
    i2: FloatArray
    i12: FloatArray
    h1: FloatArray
    h2: FloatArray
    h1_given: FloatArray | None = None
    h2_given: FloatArray | None = None

    def averaged(self, repeats: tuple[int, ...]) -> PointwiseInformation:
        """Probabilities and densities averaged over ``repeats`` (with multiplicity)."""
        chosen = list(repeats)

        columns: dict[str, Any] = {}
        for item in fields(self):
            values = getattr(self, item.name)
            if values is not None:
                # i is the log of a probability, h the negative log of a density
                sign = 1.0 if item.name in INFORMATION else -1.0
                pooled = np.logaddexp.reduce(sign * values[chosen], axis=0) - np.log(len(chosen))
                columns[item.name] = sign * pooled
        return PointwiseInformation(**columns)

    def rows(self, rows: Rows) -> Repeated:
        """Some of the samples."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        columns: dict[str, Any] = {k: v[:, rows] for k, v in found.items() if v is not None}
        return Repeated(**columns)

    @property
    def repeats(self) -> int:
        """``R``."""
        return len(self.i1)


def all_totals(information: PointwiseInformation, atoms: Atoms) -> dict[str, float]:
    """Every quantity of :mod:`lsmi.results` from one set of samples."""
    means = {name: float(getattr(information, name).mean()) for name in INFORMATION}
    return with_adjustments(means, atoms.totals)


def with_adjustments(means: Mapping[str, float], raw: Totals) -> dict[str, float]:
    """Means of the information, raw atoms, and the atoms after either adjustment."""
    found = {**means, **dict(zip(ATOMS, raw, strict=True))}
    shifts = {ADJUSTED: published_shift(raw), FEASIBLE: feasible_shift(raw)}
    for names, shift in shifts.items():
        if shift is not None:
            moved = (raw.r + shift, raw.u1 - shift, raw.u2 - shift, raw.s + shift)
            found |= dict(zip(names, moved, strict=True))
    return found


def intervals(
    values: Repeated, labels: Rows, groups: Rows | None, draws: int, level: float, seed: int
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of every quantity.

    Args:
        values: held-out values of the samples.
        labels: ``(N,)`` classes.
        groups: ``(N,)`` numbers; samples of a group are drawn together. None: one by one.
        draws: bootstrap draws.
        level: coverage.
        seed: of the draws.

    Returns:
        quantity -> (low, high) in nats. A feasible atom's interval is over the draws that have
        a feasible shift; without one it is missing.
    """
    totals: dict[str, list[float]] = {}
    for draw in _drawn_means(values, labels, groups, draws, seed):
        means = dict(zip(INFORMATION, draw[:3], strict=True))
        for name, value in with_adjustments(means, Totals(*draw[3:])).items():
            totals.setdefault(name, []).append(value)
    tail = 50 * (1 - level)
    return {
        name: (float(low), float(high))
        for name, found in totals.items()
        for low, high in [np.percentile(found, [tail, 100 - tail])]
    }


def _drawn_means(
    values: Repeated, labels: Rows, groups: Rows | None, draws: int, seed: int
) -> Iterator[list[float]]:
    """Means of information and raw atoms in each bootstrap draw."""
    generator = np.random.default_rng(seed)
    drawn = np.sort(generator.integers(values.repeats, size=(draws, values.repeats)), axis=1)
    count = values.i1.shape[1]
    number = np.unique(np.arange(count) if groups is None else groups, return_inverse=True)[1]
    sizes = np.bincount(number)
    for members, times in zip(*np.unique(drawn, axis=0, return_counts=True), strict=True):
        columns = _columns(values, tuple(members.tolist()), labels)
        sums = np.stack([np.bincount(number, column) for column in columns], axis=1)
        for first in range(0, times, CHUNK):
            many = min(CHUNK, times - first)
            weights = generator.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), many)
            yield from ((weights @ sums) / (weights @ sizes)[:, None]).tolist()


def _columns(values: Repeated, members: tuple[int, ...], labels: Rows) -> list[FloatArray]:
    """What is averaged in a draw: each sample's values and its part in those of the others."""
    information = values.averaged(members)
    atoms = raw_atoms(information)
    through = density_influence(information, labels)
    parts = [getattr(information, name) for name in INFORMATION]
    return [*parts, atoms.r + through, atoms.u1 - through, atoms.u2 - through, atoms.s + through]


def reliability(log_probabilities: FloatArray, labels: Rows) -> Reliability:
    """The reliability diagram of a classifier (Guo et al., ICML 2017), ten bins of equal width.

    Args:
        log_probabilities: ``(N, C)``, normalised.
        labels: ``(N,)`` class numbers.
    """
    best = log_probabilities.argmax(axis=1)
    confidence = np.exp(log_probabilities.max(axis=1))
    right = (best == labels).astype(np.float64)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    held = count > 0
    mean = np.bincount(bins, confidence, BINS)[held] / count[held]
    share = np.bincount(bins, right, BINS)[held] / count[held]
    error = float(np.abs(mean - share) @ count[held] / len(labels))
    return Reliability(confidence=mean, accuracy=share, count=count[held], error=error)
