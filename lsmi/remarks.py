"""What is wrong or weak about a reading, in sentences that are also warned of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lsmi.decomposition import PointwiseInformation
from lsmi.results import ATOMS, INFORMATION, Quantity

WORSE_THAN_PRIOR = 3.0  # standard errors of a mean below 0 that are worth a word
BEYOND_ENTROPY = 3.0  # the same for a mean of i12 above H(Y)


def remarks(
    information: PointwiseInformation, quantities: Mapping[str, Quantity], label_entropy: float
) -> tuple[str, ...]:
    """Sentences about one split.

    Args:
        information: of its samples.
        quantities: its totals.
        label_entropy: what the mean of ``i12`` cannot exceed, in nats.
    """
    return (
        *(text for name in INFORMATION for text in _below_zero(information, name)),
        *_above_entropy(information, label_entropy),
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


def _above_entropy(information: PointwiseInformation, label_entropy: float) -> list[str]:
    values = information.i12
    mean, error = values.mean(), values.std() / np.sqrt(len(values))
    if mean <= label_entropy + BEYOND_ENTROPY * error + 1e-9:
        return []
    return [
        f"mean i12 is {mean:.3f} nats, above the label's entropy {label_entropy:.3f}: the classes "
        "of this split are not those of train, or samples of train are in it"
    ]


def _chance(quantities: Mapping[str, Quantity]) -> list[str]:
    unclear = [name for name in (*INFORMATION, *ATOMS) if quantities[name].above_chance is False]
    if not unclear:
        return []
    names = ", ".join(name.upper() for name in unclear)
    return [f"not distinguishable from shuffled labels: {names} (raw)"]
