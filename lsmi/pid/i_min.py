"""I_min: the redundancy of Williams and Beer (2010), the first measure of its kind."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import rel_entr

from lsmi.decomposition import Totals
from lsmi.pid.tables import FloatArray, checked, from_redundancy, information


def i_min(table: npt.ArrayLike) -> Totals:
    """Expected smaller specific information: ``r = sum_y p(y) min_k I(Y = y; X_k)``.

    The specific information ``I(Y = y; X) = sum_x p(x|y) log(p(y|x) / p(y))`` says how much X tells
    of this label value on average (Williams and Beer 2010, equations 2 and 3).

    Args:
        table: ``(C, K1, K2)`` probabilities p(y, x1, x2).

    Returns:
        Atoms in nats, none negative.

    Raises:
        ShapeError: not ``(C, K1, K2)``.
        NonFiniteError: NaN or infinite entries.
        EstimationError: not probabilities.

    Note:
        It asks how much two modalities tell, not whether they tell the same: the two-bit copy,
        whose modalities are independent, has ``r = log 2``.

    >>> from lsmi.pid.gates import GATES
    >>> i_min(GATES["two-bit copy"].table).round(3)
    Totals(r=0.693, u1=0.0, u2=0.0, s=0.693)
    """
    p = checked(table)
    smaller = np.minimum(weighted_specific(p.sum(axis=2)), weighted_specific(p.sum(axis=1)))
    return from_redundancy(float(smaller.sum()), information(p))


def weighted_specific(joint: FloatArray) -> FloatArray:
    """``(C,)`` terms ``p(y) I(Y = y; X)`` of ``p(y, x)``, ``(C, K)``; their sum is I(X; Y)."""
    product = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    return rel_entr(joint, product).sum(axis=1)
