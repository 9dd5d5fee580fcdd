"""Pointwise redundancy, uniqueness and synergy: the formulas of LSMI, on arrays, nothing else.

For two modalities and a discrete label, with ``i`` pointwise information about the label and
``h = -log p(x)`` pointwise entropy (Yang et al., ICML 2025; the pointwise lattice is Finn and
Lizier, Entropy 2018):

    r = min(h1, h2) - min(h1 - i1, h2 - i2)
    u1 = i1 - r,  u2 = i2 - r,  s = i12 - r - u1 - u2

Everything is in nats and in float64.

>>> quiet = np.zeros(2)
>>> xor = PointwiseInformation(i1=quiet, i2=quiet, i12=quiet + np.log(2), h1=quiet, h2=quiet)
>>> decompose_pointwise(xor).totals.round(3)
Totals(r=0.0, u1=0.0, u2=0.0, s=0.693)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mimrl.errors import NonFiniteError, ShapeError

FloatArray = npt.NDArray[np.float64]
SLACK = 1e-12  # nats of rounding that the bounds of a feasible shift may miss each other by


@dataclass(frozen=True)
class PointwiseInformation:
    """What the estimators say about each sample, in nats; every array is ``(N,)`` float64.

    Attributes:
        i1: ``log p(y|x1) - log p(y)``.
        i2: the same for the second modality.
        i12: the same for both together.
        h1: ``-log p(x1)``, a differential entropy: it depends on the units of ``x1``.
        h2: ``-log p(x2)``, in units comparable with those of ``x1``.
        h1_given: ``-log p(x1|y)`` where a model of it was fitted; None: ``h1 - i1``.
        h2_given: the same for ``x2``.

    Raises:
        ShapeError: not arrays of one length, or only one of ``h1_given`` and ``h2_given``.
        NonFiniteError: a value is NaN or infinite; the message names the array.
    """

    i1: FloatArray
    i2: FloatArray
    i12: FloatArray
    h1: FloatArray
    h2: FloatArray
    h1_given: FloatArray | None = None
    h2_given: FloatArray | None = None

    def __post_init__(self) -> None:
        if (self.h1_given is None) != (self.h2_given is None):
            raise ShapeError("h1_given and h2_given: expected both or none")
        for item in fields(self):
            if getattr(self, item.name) is None:
                continue
            value = np.asarray(getattr(self, item.name), dtype=np.float64)
            object.__setattr__(self, item.name, value)
            if value.ndim != 1 or value.shape != self.i1.shape:
                raise ShapeError(f"{item.name} has shape {value.shape}, i1 {np.shape(self.i1)}; "
                                 "expected one value a sample in each")  # fmt: skip
            if not np.isfinite(value).all():
                row = int(np.flatnonzero(~np.isfinite(value))[0])
                raise NonFiniteError(f"{item.name} of sample {row} is {value[row]}")

    def __len__(self) -> int:
        return len(self.i1)

    def rows(self, rows: npt.NDArray[np.int64]) -> PointwiseInformation:
        """Some of the samples."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        columns: dict[str, Any] = {k: v[rows] for k, v in found.items() if v is not None}
        return PointwiseInformation(**columns)

    def offset(self, nats: float) -> PointwiseInformation:
        """The same with the first features in other units: ``nats`` more in ``h1``, given y too."""
        given = None if self.h1_given is None else self.h1_given + nats
        return replace(self, h1=self.h1 + nats, h1_given=given)


@dataclass(frozen=True)
class Totals:
    """Means over a data set, in nats."""

    r: float
    u1: float
    u2: float
    s: float

    def __iter__(self) -> Iterator[float]:
        return iter(astuple(self))

    def round(self, digits: int) -> Totals:
        """The same, rounded, with no negative zero."""
        return Totals(*(round(value, digits) + 0.0 for value in self))

    @property
    def largest(self) -> str:
        """Name of the largest of the four."""
        names = [item.name for item in fields(self)]
        return names[int(np.argmax(astuple(self)))]


@dataclass(frozen=True)
class Atoms:
    """Redundant, unique and synergistic information of each sample; ``(N,)`` float64, nats."""

    r: FloatArray
    u1: FloatArray
    u2: FloatArray
    s: FloatArray

    @property
    def totals(self) -> Totals:
        """Means over the samples."""
        return Totals(*(float(np.mean(getattr(self, item.name))) for item in fields(self)))

    def shifted(self, shift: float) -> Atoms:
        """``r + a, u1 - a, u2 - a, s + a``: keeps ``r + u1``, ``r + u2`` and the sum of all."""
        return Atoms(self.r + shift, self.u1 - shift, self.u2 - shift, self.s + shift)


def published_shift(totals: Totals) -> float:
    """The shift that the published adjustment applies, from the raw totals.

    If mean r or mean s is negative: ``-min(mean r, mean s)``; else, if mean u1 or mean u2 is:
    ``min(mean u1, mean u2)``; else 0.

    Note:
        It can leave other means negative, and where a mean u is the negative one it makes the
        redundancy ``min(I1, I2)``.

    >>> published_shift(Totals(0.389, -0.173, -0.173, 0.520))
    -0.173
    """
    if min(totals.r, totals.s) < 0:
        return -min(totals.r, totals.s)
    return min(totals.u1, totals.u2, 0.0)


def feasible_shift(totals: Totals) -> float | None:
    """The shift ``a`` of least size with ``r + a, s + a, u1 - a, u2 - a >= 0`` on average.

    There is one exactly if ``I1, I2 >= 0`` and ``I12 >= max(I1, I2)``: ``a`` must lie between
    ``max(-r, -s)`` and ``min(u1, u2)``, and ``u1 + r = I1``, ``u2 + s = I12 - I1`` and so on.

    Returns:
        The shift in nats, or None where there is none.

    >>> round(feasible_shift(Totals(0.389, -0.173, -0.173, 0.520)), 3)
    -0.173
    >>> feasible_shift(Totals(0.1, -0.2, 0.3, 0.0)) is None
    True
    """
    low, high = max(-totals.r, -totals.s), min(totals.u1, totals.u2)
    if low > high + SLACK:
        return None
    return min(max(0.0, low), high) if low <= high else (low + high) / 2


@dataclass(frozen=True)
class PointwiseDecomposition:
    """The decomposition of every sample, raw and adjusted.

    Attributes:
        information: what it was computed from.
        raw: the atoms as the formulas give them.
        adjusted: the atoms after the published shift.
        shift: ``a`` of the published adjustment, in nats, one number for the data set.
        feasible: the atoms after the least shift that leaves no mean negative, or None where
            there is no such shift.
        feasible_shift: its ``a``, or None.
    """

    information: PointwiseInformation
    raw: Atoms
    adjusted: Atoms
    shift: float
    feasible: Atoms | None
    feasible_shift: float | None

    def __len__(self) -> int:
        return len(self.information)

    @property
    def r(self) -> FloatArray:
        """Raw redundancy of each sample."""
        return self.raw.r

    @property
    def u1(self) -> FloatArray:
        """Raw uniqueness of the first modality."""
        return self.raw.u1

    @property
    def u2(self) -> FloatArray:
        """Raw uniqueness of the second modality."""
        return self.raw.u2

    @property
    def s(self) -> FloatArray:
        """Raw synergy of each sample."""
        return self.raw.s

    @property
    def totals(self) -> Totals:
        """Raw means."""
        return self.raw.totals

    def residual(self) -> float:
        """Largest violation of ``r+u1=i1, r+u2=i2, r+u1+u2+s=i12`` over samples, in nats.

        Zero but for rounding: a shift moves information between atoms and keeps these sums.
        """
        known = self.information
        return max(
            float(np.max(np.abs(difference), initial=0.0))
            for atoms in (self.raw, self.adjusted, self.feasible)
            if atoms is not None
            for difference in (
                atoms.r + atoms.u1 - known.i1,
                atoms.r + atoms.u2 - known.i2,
                atoms.r + atoms.u1 + atoms.u2 + atoms.s - known.i12,
            )
        )


def decompose_pointwise(information: PointwiseInformation) -> PointwiseDecomposition:
    """Redundancy, uniqueness and synergy of each sample.

    Args:
        information: pointwise information and entropies of ``N >= 1`` samples, all read the same
            way and in the same order.

    Returns:
        Atoms in nats: raw, after the published shift, and after the feasible one.

    Raises:
        ShapeError: no samples.
    """
    if len(information) == 0:
        raise ShapeError("a decomposition needs at least one sample, got none")
    raw = raw_atoms(information)
    shift, feasible = published_shift(raw.totals), feasible_shift(raw.totals)
    return PointwiseDecomposition(
        information=information,
        raw=raw,
        adjusted=raw.shifted(shift),
        shift=shift,
        feasible=None if feasible is None else raw.shifted(feasible),
        feasible_shift=feasible,
    )


def raw_atoms(information: PointwiseInformation) -> Atoms:
    """The formulas: ``r = min(h1, h2) - min(h1|y, h2|y)`` and what follows from it."""
    i1, i2, h1, h2 = information.i1, information.i2, information.h1, information.h2
    given1 = h1 - i1 if information.h1_given is None else information.h1_given
    given2 = h2 - i2 if information.h2_given is None else information.h2_given
    r = np.minimum(h1, h2) - np.minimum(given1, given2)
    u1, u2 = i1 - r, i2 - r
    return Atoms(r, u1, u2, information.i12 - r - u1 - u2)


def pointwise_information(
    log_probabilities: FloatArray, labels: npt.NDArray[np.int64], log_prior: FloatArray
) -> FloatArray:
    """``i(x; y) = log p(y|x) - log p(y)`` of each sample.

    Args:
        log_probabilities: ``(N, C)`` of a classifier, normalised over classes.
        labels: ``(N,)`` class numbers.
        log_prior: ``(C,)``.

    Returns:
        ``(N,)`` in nats; at most ``-log p(y)``.

    Raises:
        ShapeError: the shapes do not fit together.
    """
    log_probabilities = np.asarray(log_probabilities, dtype=np.float64)
    if log_probabilities.shape != (len(labels), len(log_prior)):
        raise ShapeError(
            f"log probabilities have shape {log_probabilities.shape}; expected "
            f"({len(labels)}, {len(log_prior)}) for these labels and this prior"
        )
    return log_probabilities[np.arange(len(labels)), labels] - np.asarray(log_prior)[labels]
