"""What is wrong or weak about a reading, in sentences that are also warned of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from lsmi.decomposition import PointwiseInformation
from lsmi.results import ATOMS, INFORMATION, Quantity

WORSE_THAN_PRIOR = 3.0  # standard errors of a mean below 0 that are worth a word
BEYOND_ENTROPY = 3.0  # the same for a mean of i12 above H(Y)
BY_CHANCE = 1e-3  # probability of class shares that differ more from those of train


def remarks(
    information: PointwiseInformation,
    quantities: Mapping[str, Quantity],
    label_entropy: float,
    classes: int,
) -> tuple[str, ...]:
    """Sentences about one split.

    Args:
        information: of its samples.
        quantities: its totals.
        label_entropy: H(Y) of their labels, in nats.
        classes: ``C``.
    """
    return (
        *(text for name in INFORMATION for text in _below_zero(information, name)),
        *_above_entropy(information.i12, label_entropy, classes),
        *_chance(quantities),
    )


def _below_zero(information: PointwiseInformation, name: str) -> list[str]:
    """Information is never negative; an estimate far below 0 says that its classifier misleads."""
    values = getattr(information, name)
    mean, error = values.mean(), values.std() / np.sqrt(len(values))
    if mean >= -WORSE_THAN_PRIOR * error - 1 / len(values):
        return []
    return [
        f"mean {name} is {mean:.3f} nats (standard error {error:.3f}): its classifier is worse "
        "than the class prior, so the totals mean little; more samples in valid, or fewer "
        "components, may help"
    ]


def exceeds_entropy(i12: npt.NDArray[np.float64], label_entropy: float, classes: int) -> bool:
    """Whether mean ``i12`` is above H(Y) by more than chance.

    A classifier that is always right reads H(Y) and the divergence of the split's class shares
    from the prior. That of two samples of one population is chi-square over their size.
    """
    error = i12.std() / np.sqrt(len(i12))
    by_chance = chi2.isf(BY_CHANCE, max(classes - 1, 1)) / len(i12)
    return bool(i12.mean() > label_entropy + BEYOND_ENTROPY * error + by_chance)


def _above_entropy(i12: npt.NDArray[np.float64], label_entropy: float, classes: int) -> list[str]:
    if not exceeds_entropy(i12, label_entropy, classes):
        return []
    return [
        f"mean i12 is {i12.mean():.3f} nats, above the label's entropy {label_entropy:.3f}: the "
        "class prior is not the class shares of this split, and that difference is no information"
    ]


def _chance(quantities: Mapping[str, Quantity]) -> list[str]:
    unclear = [name for name in (*INFORMATION, *ATOMS) if quantities[name].distinguishable is False]
    if not unclear:
        return []
    names = ", ".join(name.upper() for name in unclear)
    return [f"not distinguishable from shuffled labels: {names} (raw)"]
