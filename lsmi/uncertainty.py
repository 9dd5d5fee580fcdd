"""Intervals of all totals: a bootstrap over samples, whole groups at a time, and over repeats.

The models are not fitted again: what varies are the samples that are read, what each sample that
the densities were fitted to contributed through them (:mod:`lsmi.influence`), and which of the
repeats (cross-fittings with other folds and starts) are averaged. ``bench/lsmi_coverage.py``
shows how often such intervals hold the truth.
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
# how i1, i2, i12, r, u1, u2, s move with what the densities add to r
THROUGH_DENSITIES = (0.0, 0.0, 0.0, 1.0, -1.0, -1.0, 1.0)


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


@dataclass(frozen=True)
class Drawn:
    """Samples that a bootstrap draws.

    Attributes:
        values: held-out values of ``N`` samples.
        labels: ``(N,)`` classes.
        groups: ``(N,)`` numbers; samples of a group are drawn together. None: one by one.
    """

    values: Repeated
    labels: Rows
    groups: Rows | None = None

    def means(self, columns: FloatArray, draws: int, generator: np.random.Generator) -> FloatArray:
        """``(draws, Q)`` means of ``(N, Q)`` columns over samples drawn with replacement."""
        everyone = np.arange(len(columns)) if self.groups is None else self.groups
        number = np.unique(everyone, return_inverse=True)[1]
        sizes = np.bincount(number)
        sums = np.stack([np.bincount(number, column) for column in columns.T], axis=1)
        count = len(sizes)
        weights = generator.multinomial(count, np.full(count, 1 / count), draws)
        return np.asarray((weights @ sums) / (weights @ sizes)[:, None])


def intervals(
    read: Drawn, draws: int, level: float, seed: int, fitted: Drawn | None = None
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of every quantity.

    Args:
        read: the samples whose means they are.
        draws: bootstrap draws.
        level: coverage.
        seed: of the draws.
        fitted: the samples that the densities were fitted to, where these are others than those
            read: they are drawn too, for their part in the densities. None: cross-fitted, each
            sample read has its part in the densities of the others.

    Returns:
        quantity -> (low, high) in nats. A feasible atom's interval is over the draws that have
        a feasible shift; without one it is missing.
    """
    totals: dict[str, list[float]] = {}
    for draw in _drawn_means(read, draws, seed, fitted):
        means = dict(zip(INFORMATION, draw[:3], strict=True))
        for name, value in with_adjustments(means, Totals(*draw[3:])).items():
            totals.setdefault(name, []).append(value)
    tail = 50 * (1 - level)
    return {
        name: (float(low), float(high))
        for name, found in totals.items()
        for low, high in [np.percentile(found, [tail, 100 - tail])]
    }


def _drawn_means(read: Drawn, draws: int, seed: int, fitted: Drawn | None) -> Iterator[list[float]]:
    """Means of information and raw atoms in each bootstrap draw."""
    generator = np.random.default_rng(seed)
    repeats = read.values.repeats
    drawn = np.sort(generator.integers(repeats, size=(draws, repeats)), axis=1)
    for members, times in zip(*np.unique(drawn, axis=0, return_counts=True), strict=True):
        chosen = tuple(members.tolist())
        columns = _columns(read.values.averaged(chosen))
        source = fitted or read
        through = density_influence(source.values.averaged(chosen), source.labels)
        parts = np.multiply.outer(through, THROUGH_DENSITIES)
        for first in range(0, times, CHUNK):
            many = min(CHUNK, times - first)
            if fitted is None:
                means = read.means(columns + parts, many, generator)
            else:
                means = read.means(columns, many, generator)
                means += fitted.means(parts, many, generator)
            yield from means.tolist()


def _columns(information: PointwiseInformation) -> FloatArray:
    """``(N, 7)``: information and raw atoms of each sample."""
    atoms = raw_atoms(information)
    parts = [getattr(information, name) for name in INFORMATION]
    return np.stack([*parts, atoms.r, atoms.u1, atoms.u2, atoms.s], axis=1)


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
