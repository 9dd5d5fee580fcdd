"""Probability tables p(y, x1, x2): their check, their information, atoms from a redundancy.

A table is ``(C, K1, K2)``: label, symbol of the first modality, symbol of the second. Every measure
of this package is a function of such a table and returns four atoms that keep

    r + u1 = I(X1; Y),   r + u2 = I(X2; Y),   r + u1 + u2 + s = I(X1, X2; Y),

so that one number, the redundancy, settles the other three. Everything is in nats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import rel_entr

from lsmi.decomposition import Totals
from mimrl.errors import EstimationError, NonFiniteError, ShapeError

FloatArray = npt.NDArray[np.float64]
Symbols = npt.NDArray[np.int64]
SUM_TOLERANCE = 1e-9  # what rounding may make of a table's sum


@dataclass(frozen=True)
class Information:
    """What a table says about its label, in nats.

    Attributes:
        i1: I(X1; Y).
        i2: I(X2; Y).
        i12: I(X1, X2; Y).
    """

    i1: float
    i2: float
    i12: float


def checked(table: npt.ArrayLike) -> FloatArray:
    """A table as float64.

    Raises:
        ShapeError: not three axes, or an empty one.
        NonFiniteError: NaN or infinite entries.
        EstimationError: negative entries, or a sum other than 1.
    """
    array = np.asarray(table, dtype=np.float64)
    if array.ndim != 3 or 0 in array.shape:
        raise ShapeError(f"table p(y, x1, x2) has shape {array.shape}; expected (C, K1, K2)")
    if not np.isfinite(array).all():
        raise NonFiniteError("table p(y, x1, x2) has NaN or infinite entries")
    if array.min() < 0 or abs(array.sum() - 1) > SUM_TOLERANCE:
        raise EstimationError(
            f"table p(y, x1, x2) has smallest entry {array.min():.3g} and sum {array.sum():.12g}; "
            "expected probabilities, none negative, that sum to 1 (divide counts by their sum)"
        )
    return array


def count_table(
    labels: Symbols, x1: Symbols, x2: Symbols, shape: tuple[int, int, int]
) -> FloatArray:
    """Shares of the ``N`` samples that have each label and each pair of symbols.

    Args:
        labels: ``(N,)`` in ``0 .. C - 1``.
        x1: ``(N,)`` in ``0 .. K1 - 1``.
        x2: ``(N,)`` in ``0 .. K2 - 1``.
        shape: ``(C, K1, K2)``.

    Raises:
        EstimationError: no samples.
    """
    if len(labels) == 0:
        raise EstimationError("a table of shares needs at least one sample, got none")
    flat = np.ravel_multi_index((labels, x1, x2), shape)
    return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape) / len(labels)


def information(table: npt.ArrayLike) -> Information:
    """I(X1; Y), I(X2; Y) and I(X1, X2; Y) of a table.

    Raises:
        ShapeError: not ``(C, K1, K2)``.
        NonFiniteError: NaN or infinite entries.
        EstimationError: not probabilities.
    """
    p = checked(table)
    return Information(mutual(p.sum(axis=2)), mutual(p.sum(axis=1)), mutual(p.reshape(len(p), -1)))


def mutual(joint: FloatArray) -> float:
    """I(Y; X) of ``p(y, x)``, ``(C, K)``, in nats."""
    product = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    return max(0.0, float(rel_entr(joint, product).sum()))  # rounding can give -1e-17


def from_redundancy(r: float, known: Information) -> Totals:
    """The four atoms, given the redundancy, in nats."""
    return Totals(r, known.i1 - r, known.i2 - r, known.i12 - known.i1 - known.i2 + r)
