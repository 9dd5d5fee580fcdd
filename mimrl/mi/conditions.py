"""Conditions of product samples: where the anchors of a bank are, and who is near them."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from mimrl.errors import EstimationError
from mimrl.mi.nearest import Nearest, at_least_float32
from mimrl.mi.neighbours import regression_slopes
from mimrl.mi.prepared import Classes, Search, Values
from mimrl.mi.ranks import Free, order


class Condition(Protocol):
    """One condition z over the rows of a bank, prepared for searches."""

    @property
    def search(self) -> Search:
        """Finds neighbours of coordinates."""
        ...

    def anchors(self, searches: int, count: int, generator: torch.Generator) -> Tensor:
        """``(S, count)`` rows drawn as anchors: without replacement, every row as likely."""
        ...

    def coordinates(self, z: Tensor) -> Tensor:
        """Where anchors with z ``(S, A, dz)`` stand, in the terms of the search."""
        ...

    def check(self, anchors: int, neighbours: int, *, given: bool) -> None:
        """Refuses what cannot be drawn.

        Args:
            anchors: wanted by each search.
            neighbours: of each anchor.
            given: the anchors come from elsewhere.

        Raises:
            EstimationError: the bank is too small.
        """
        ...


class Near:
    """Neighbours are near in z, or in the linear prediction of x from z.

    Args:
        z: ``(M, dz)``.
        x: ``(M, dx)``, for neighbours in the prediction; None: in z.
    """

    def __init__(self, z: Tensor, x: Tensor | None = None) -> None:
        self.size, self.device = len(z), z.device
        self.slopes = None if x is None else regression_slopes(x, at_least_float32(z))
        self.line = self.slopes is None and z.shape[1] == 1
        if self.line:
            self.search: Search = Values(z[:, 0])
        else:
            self.search = Nearest(self.coordinates(z).to(z.dtype))

    def anchors(self, searches: int, count: int, generator: torch.Generator) -> Tensor:
        """As of :class:`Condition`."""
        return slices(self.size, searches, count, generator, self.device)

    def coordinates(self, z: Tensor) -> Tensor:
        """As of :class:`Condition`."""
        z = at_least_float32(z.detach())
        if self.line:
            return z[..., 0]
        if self.slopes is None:
            return z
        with torch.autocast(z.device.type, enabled=False):
            return z @ self.slopes

    def check(self, anchors: int, neighbours: int, *, given: bool) -> None:
        """As of :class:`Condition`."""
        if self.size - anchors < neighbours:
            raise EstimationError(
                f"a bank of {self.size} rows is too small for {anchors} anchors: besides them it "
                f"needs {neighbours} other rows as neighbours; take fewer samples or a larger bank"
            )


class Within:
    """Neighbours are any rows of the same class.

    One row of each class never becomes an anchor, so that no class is without neighbours.

    Args:
        classes: ``(M,)`` int64, of the rows of the bank.
        values: ``(C, dz)`` what z is in each class.
    """

    def __init__(self, classes: Tensor, values: Tensor) -> None:
        sizes = torch.bincount(classes, minlength=len(values))
        there = sizes > 0
        self.values = at_least_float32(values[there])
        self.size, self.count = len(classes), len(self.values)
        self.smallest = int(sizes.min())
        self.search = Classes((there.cumsum(0) - 1)[classes], self.count)

    def anchors(self, searches: int, count: int, generator: torch.Generator) -> Tensor:
        """As of :class:`Condition`."""
        left_out = Free(self.search.draw(generator, searches), self.size)
        device = self.search.rows.device
        ranks = slices(self.size - self.count, searches, count, generator, device)
        return self.search.rows[left_out.place(ranks)]

    def coordinates(self, z: Tensor) -> Tensor:
        """The class whose value is z, or, after rounding, the nearest to it."""
        apart = at_least_float32(z.detach())[..., None, :] - self.values
        return apart.square().sum(dim=-1).argmin(dim=-1)

    def check(self, anchors: int, neighbours: int, *, given: bool) -> None:
        """As of :class:`Condition`."""
        if given and self.smallest < 2:
            raise EstimationError(
                f"a class has {self.smallest} rows in the bank of {self.size}; the samples of a "
                "batch need another row of their class: leave the class out, take a larger bank, "
                "or take the anchors from the bank"
            )
        if not given and self.size - self.count < anchors:
            raise EstimationError(
                f"a bank of {self.size} rows is too small for {anchors} anchors: besides them it "
                "needs one row of each class as neighbours; take fewer samples or a larger bank"
            )


def slices(
    size: int, searches: int, count: int, generator: torch.Generator, device: torch.device
) -> Tensor:
    """``(S, count)`` numbers below ``size``, those of a search all different; ``count <= size``.

    Consecutive stretches of one random order, which goes round: each is as random as one of its
    own, and one order costs less than one a search.
    """
    shuffled = order(size, generator, device)
    place = torch.arange(searches * count, device=device).view(searches, count)
    return shuffled[place % size]
