"""Product samples p(y | z) p(x, z) from a batch alone: each row takes the y of a row near in z.

Where :class:`~mimrl.mi.bank.Bank` searches all samples of a split, here the rows of one batch find
their partners among each other. Joint and product samples then come from one moment and both carry
gradients, which is what critics need while the model moves under them.

Runge, "Conditional independence testing based on a nearest-neighbor estimator of conditional mutual
information" (AISTATS 2018) permutes locally in z in the same way, for a test of independence.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mimrl.errors import EstimationError
from mimrl.mi.ranks import inverse, order


@torch.no_grad()
def partners_within(classes: Tensor, generator: torch.Generator) -> Tensor:
    """A random row of the same class for each row.

    The rows of a class pass their places on in a random circle, so each row is a partner once. A
    row that is alone in its class is its own partner.

    Args:
        classes: ``(N, C)``, the largest value in the column of the row's class; on any device,
            which is not waited for.
        generator: source of the order.

    Returns:
        ``(N,)`` int64, a permutation of the rows.
    """
    count = len(classes)
    shuffled = order(count, generator, classes.device)
    number = classes.argmax(dim=1)[shuffled]
    by_class = number.argsort(stable=True)
    sizes = (number[:, None] == torch.arange(classes.shape[1], device=number.device)).sum(dim=0)
    starts = sizes.cumsum(0) - sizes
    sorted_class = number[by_class]
    place = torch.arange(count, device=classes.device)
    start, size = starts[sorted_class], sizes[sorted_class]
    following = start + (place - start + 1) % size
    rows = shuffled[by_class]
    return rows[following][inverse(rows)]


@torch.no_grad()
def partners_near(places: Tensor, generator: torch.Generator) -> Tensor:
    """The nearest other row for each row; among rows at equal distance, a random one.

    Args:
        places: ``(N, r)`` where the rows stand, N >= 2.
        generator: source of the choice among equals.

    Returns:
        ``(N,)`` int64, no row its own partner; a row may be the partner of several.

    Raises:
        EstimationError: fewer than two rows.
    """
    count = len(places)
    if count < 2:
        raise EstimationError(f"a partner needs two or more rows, got {count}")
    shuffled = order(count, generator, places.device)
    here = places[shuffled].float()
    apart = (here[:, None] - here).square().sum(dim=2)
    apart.diagonal().fill_(math.inf)
    return shuffled[apart.argmin(dim=1)][inverse(shuffled)]
