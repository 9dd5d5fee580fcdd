"""Searches in a bank that is prepared once and asked many times, without waiting for the device.

What :mod:`mimrl.mi.search` does in one call is cut in two here: sorting, classes, norms and the
check for equal rows when a bank is prepared; a matrix product or a binary search when it is asked.
No step reads a value of the device on the host, so nothing waits: where a search would drop rows
(those banned) or count ties, it works with ranks among the free rows instead.

Several searches run side by side: anchors ``(S, A, ...)`` and rows banned from each ``(S, A)``.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from mimrl.mi.ranks import Free, draw_below, inverse


class Search(Protocol):
    """Finds neighbours in the rows it was prepared for."""

    def find(
        self, anchors: Tensor, banned: Tensor, neighbours: int, generator: torch.Generator
    ) -> Tensor:
        """``(S, A, k)`` int64 rows, chosen at random where several are as near.

        Args:
            anchors: ``(S, A, ...)``.
            banned: ``(S, A)`` int64 rows that are not to be found by the same search, those of
                one search all different; -1: none.
            neighbours: k; so many rows are free.
            generator: source of randomness.
        """
        ...


class Classes:
    """Rows of the anchor's own class, each as likely.

    Args:
        classes: ``(M,)`` int64 class of every row, 0 to ``count - 1``; each has a row.
        count: number of classes.
    """

    def __init__(self, classes: Tensor, count: int) -> None:
        self.rows = classes.argsort(stable=True)
        self.places = inverse(self.rows)
        self.sizes = torch.bincount(classes, minlength=count)
        self.ends = self.sizes.cumsum(0)
        self.starts = self.ends - self.sizes

    def find(
        self, anchors: Tensor, banned: Tensor, neighbours: int, generator: torch.Generator
    ) -> Tensor:
        """As of :class:`Search`; ``anchors`` are ``(S, A)`` classes.

        Where all rows of a class are banned, its anchors find each other; each class then needs
        two rows or more.
        """
        own = torch.where(banned < 0, -1, self.places[banned])
        free = Free(own, len(self.rows))
        start, end = self.starts[anchors], self.ends[anchors]
        first = free.rank(start)
        size = free.rank(end) - first
        none = size == 0
        others = (end - start - 1).clamp_(min=1)
        drawn = draw_below(torch.where(none, others, size), neighbours, generator)
        without_self = start[..., None] + drawn
        without_self = without_self + (without_self >= own[..., None]).long()
        places = torch.where(none[..., None], without_self, free.place(first[..., None] + drawn))
        return self.rows[places.clamp_(max=len(self.rows) - 1)]

    def draw(self, generator: torch.Generator, searches: int) -> Tensor:
        """``(S, classes)`` places in :attr:`rows`: one row of each class."""
        sizes = self.sizes.expand(searches, -1)
        return self.starts + draw_below(sizes, 1, generator)[..., 0]


class Values:
    """Nearest rows on a line: a binary search instead of a pass over the bank.

    The k nearest free rows lie among the k free ones on either side of the anchor. If others are
    as near as the last of them, they have one of two values, and the choice is among all rows of
    these. Distances are taken in float64, where those of different float32 values differ.

    Args:
        values: ``(M,)`` float.
    """

    def __init__(self, values: Tensor) -> None:
        self.values, self.rows = values.double().sort(stable=True)
        self.places = inverse(self.rows)
        self.starts = torch.searchsorted(self.values, self.values)
        self.ends = torch.searchsorted(self.values, self.values, right=True)

    def find(
        self, anchors: Tensor, banned: Tensor, neighbours: int, generator: torch.Generator
    ) -> Tensor:
        """As of :class:`Search`; ``anchors`` are ``(S, A)`` values."""
        anchors = anchors.double().contiguous()
        free = Free(torch.where(banned < 0, -1, self.places[banned]), len(self.rows))
        here = free.rank(torch.searchsorted(self.values, anchors))
        beside = torch.arange(-neighbours, neighbours, device=anchors.device)
        ranks = here[..., None] + beside
        places = free.place(ranks)
        distances = (self.values[places] - anchors[..., None]).abs()
        outside = (ranks < 0) | (ranks >= free.count[..., None])
        distances = distances.masked_fill(outside, math.inf)
        nearest, by_distance = distances.sort(dim=-1)
        limit = nearest[..., neighbours - 1 : neighbours]
        nearer = (nearest[..., :neighbours] < limit).sum(dim=-1, keepdim=True)
        tied = self._tied(free, places, distances == limit, neighbours, generator)
        index = torch.arange(neighbours, device=anchors.device)
        fill = tied.gather(-1, (index - nearer).clamp_(min=0))
        near = places.gather(-1, by_distance[..., :neighbours])
        return self.rows[torch.where(index < nearer, near, fill)]

    def _tied(
        self, free: Free, places: Tensor, at_limit: Tensor, count: int, generator: torch.Generator
    ) -> Tensor:
        """``(S, A, count)`` places drawn among all free rows as near as the last neighbour."""
        found = torch.where(at_limit, places, -1)
        runs = []
        for side in (found[..., :count], found[..., count:]):
            one = side.amax(dim=-1)
            start, end = free.rank(self.starts[one]), free.rank(self.ends[one])
            runs.append((start, torch.where(one < 0, 0, end - start)))
        (left, n_left), (right, n_right) = runs
        drawn = draw_below((n_left + n_right).clamp_(min=1), count, generator)
        shift = torch.where(drawn < n_left[..., None], left[..., None], (right - n_left)[..., None])
        return free.place(drawn + shift)
