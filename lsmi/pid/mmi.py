"""MMI: minimum mutual information as redundancy (Barrett 2015)."""

from __future__ import annotations

from lsmi.decomposition import Totals
from lsmi.pid.tables import Information, from_redundancy
from mimrl.errors import NonFiniteError


def mmi(i1: float, i2: float, i12: float) -> Totals:
    """The less informative modality is called redundant: ``r = min(I1, I2)``.

    It is the largest redundancy that leaves no unique information negative. Barrett (2015,
    "Exploration of synergistic and redundant information sharing in static and dynamical Gaussian
    systems") showed that for jointly Gaussian modalities and one Gaussian target it equals the
    measures of Williams and Beer, of Griffith and Koch and of Bertschinger et al.

    Args:
        i1: I(X1; Y) in nats.
        i2: I(X2; Y).
        i12: I(X1, X2; Y).

    Returns:
        Atoms in nats; ``u1`` or ``u2`` is 0. Estimates may make others negative: r where an
        information is, s where ``i12 < max(i1, i2)``.

    Raises:
        NonFiniteError: an argument is NaN or infinite.

    >>> mmi(0.3, 0.1, 0.5).round(3)
    Totals(r=0.1, u1=0.2, u2=0.0, s=0.2)
    """
    for name, value in (("i1", i1), ("i2", i2), ("i12", i12)):
        if not abs(value) < float("inf"):
            raise NonFiniteError(f"{name} is {value}; MMI needs three finite numbers")
    return from_redundancy(min(i1, i2), Information(i1, i2, i12))
