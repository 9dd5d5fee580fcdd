"""Searches in a bank of samples: nearest rows, rows of the same class; ties broken at random."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mimrl.errors import EstimationError

CHUNK_ELEMENTS = 2**25
"""Entries of the distance matrix held at once (128 MiB in float32)."""
EXACT_WIDTH = 4
"""Up to this width of z distances are summed directly, so that equal ones come out equal."""


def shuffled(size: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """The numbers below ``size`` in random order, ``(size,)`` int64 on ``device``."""
    return torch.randperm(size, generator=generator, device=generator.device).to(device)


def _uniform(shape: torch.Size, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device).to(device)


def within_class(
    classes: Tensor,
    anchor_classes: Tensor,
    banned: Tensor | None,
    neighbours: int,
    generator: torch.Generator,
) -> Tensor:
    """``(A, k)`` bank rows drawn from the anchors' classes.

    Args:
        classes: ``(N,)`` int64 class of every row of the bank.
        anchor_classes: ``(A,)`` int64.
        banned: rows of the bank that are not to be found, or None.
        neighbours: k.
        generator: source of randomness.

    Raises:
        EstimationError: the class of an anchor has no free row.

    The free rows are shuffled and sorted by class; an anchor takes k rows in a circle from a random
    place of its class, so each is uniform, and all differ where the class is large enough.
    """
    free = torch.ones_like(classes, dtype=torch.bool)
    if banned is not None:
        free[banned] = False
    pool = shuffled(len(classes), generator, classes.device)
    pool = pool[free[pool]]
    pool = pool[classes[pool].argsort(stable=True)]
    total = int(torch.maximum(classes.max(), anchor_classes.max())) + 1
    sizes = torch.bincount(classes[pool], minlength=total)
    starts = sizes.cumsum(0) - sizes
    size = sizes[anchor_classes]
    if bool((size == 0).any()):
        missing = int((size == 0).sum())
        raise EstimationError(
            f"{missing} of {len(size)} anchors are of a class without another row in the bank; "
            "leave the class out or take a larger bank"
        )
    first = (_uniform(size.shape, generator, size.device) * size).long().clamp_(max=size - 1)
    offset = (first[:, None] + torch.arange(neighbours, device=size.device)) % size[:, None]
    return pool[starts[anchor_classes][:, None] + offset]


def nearest(
    bank: Tensor,
    anchors: Tensor,
    banned: Tensor | None,
    neighbours: int,
    generator: torch.Generator,
) -> Tensor:
    """``(A, k)`` rows of the bank nearest to each anchor, equal distances in random choice.

    Args:
        bank: ``(N, d)``.
        anchors: ``(A, d)``.
        banned: rows of the bank that are not to be found, or None.
        neighbours: k.
        generator: source of randomness.

    Raises:
        EstimationError: fewer than k free rows.
    """
    free = len(bank) - (0 if banned is None else len(banned))
    if free < neighbours:
        raise EstimationError(
            f"{neighbours} neighbours of each anchor are needed, but the bank has only {free} "
            "rows besides the anchors; take fewer neighbours or a larger bank"
        )
    step = max(1, CHUNK_ELEMENTS // len(bank))
    distances = _Distances(bank, banned)
    found = [_smallest(distances(part), neighbours, generator) for part in anchors.split(step)]
    return torch.cat(found)


class _Distances:
    """Rank-preserving distances to the rows of a bank; infinite to banned rows."""

    def __init__(self, bank: Tensor, banned: Tensor | None) -> None:
        bank = bank if bank.is_floating_point() else bank.float()
        exact = bank.shape[1] <= EXACT_WIDTH
        self.centre = bank.mean(dim=0)
        self.bank = bank if exact else bank - self.centre
        self.columns = self.bank.T.contiguous() if exact else self.bank.T
        self.squares = None if exact else torch.linalg.vector_norm(self.bank, dim=1).square_()
        self.banned = banned

    def __call__(self, anchors: Tensor) -> Tensor:
        anchors = anchors.detach().to(self.bank.dtype)
        if self.squares is None:
            found = self._exact(anchors)
        else:  # |b|^2 - 2 a.b: the anchor's own norm does not change the order
            found = torch.addmm(self.squares, anchors - self.centre, self.columns, alpha=-2)
        if self.banned is not None:
            found.index_fill_(1, self.banned, math.inf)
        return found

    def _exact(self, anchors: Tensor) -> Tensor:
        """Summed column by column: equal rows are at exactly equal distances."""
        if self.bank.shape[1] == 1:
            return (anchors - self.columns).abs_()
        total = anchors.new_zeros(len(anchors), len(self.bank))
        for a, b in zip(anchors.T, self.columns, strict=True):
            difference = a[:, None] - b
            total.addcmul_(difference, difference)
        return total


def _smallest(distances: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """``(A, k)`` columns of the k smallest entries of each row, equal ones in random choice."""
    values, columns = distances.topk(min(k + 1, distances.shape[1]), dim=1, largest=False)
    columns = columns[:, :k]
    if values.shape[1] == k:
        return columns
    tied = (values[:, k - 1] == values[:, k]).nonzero()[:, 0]  # the next one is as near
    if not len(tied):
        return columns
    limit = values[tied, k - 1, None]
    nearer = (values[tied, :k] < limit).sum(dim=1, keepdim=True)
    drawn = _draw_true(distances[tied] == limit, k, generator)
    place = torch.arange(k, device=columns.device).expand(len(tied), k)
    fill = drawn.gather(1, (place - nearer).clamp_(min=0))
    return columns.index_copy(0, tied, torch.where(place < nearer, columns[tied], fill))


def _draw_true(mask: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """``(A, k)`` columns in which a row of ``mask`` is true, at random, without replacement.

    What follows the last true column of a row with fewer than k of them has no meaning.
    """
    row, column = mask.nonzero(as_tuple=True)
    key = _uniform(row.shape, generator, row.device).double()
    column = column[(row + key).argsort()]
    counts = torch.bincount(row, minlength=len(mask))
    starts = counts.cumsum(0) - counts
    place = starts[:, None] + torch.arange(k, device=row.device)
    return column[place.clamp_(max=len(column) - 1)]
