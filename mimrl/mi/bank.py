"""A bank: the samples of a split that joint and product samples are taken from, step after step.

:func:`~mimrl.mi.product_samples` searches once, in samples it has never seen. Here everything that
depends on the bank alone is computed when it is made, once an epoch: classes, sorted values, norms,
regression slopes. A draw for six terms is then one matrix product a condition, and reads no value
back from the device.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mimrl.errors import EstimationError
from mimrl.mi.conditions import Condition, Near, Within, slices
from mimrl.mi.nearest import at_least_float32
from mimrl.mi.neighbours import ProductSamples, anchor_count
from mimrl.mi.ranks import inverse, order

KEPT_OF_A_CLASS = 2
"""Rows of each class that a capped bank keeps where it can: one for the other to find."""


@dataclass(frozen=True)
class Product:
    """What to draw, by names of variables: samples of p(x | z) p(y, z).

    Attributes:
        x: taken from neighbours.
        y: stays with its z.
        z: the condition.
        regression: neighbours are sought in the linear prediction of x from z, not in z.
    """

    x: str
    y: str
    z: str
    regression: bool = False

    @property
    def space(self) -> str:
        """Terms with the same one share their searches."""
        return f"{self.x} from {self.z}" if self.regression else self.z


@dataclass(frozen=True)
class Given:
    """Samples whose (y, z) are to be anchors.

    Attributes:
        variables: name -> ``(B, d)``, with or without gradient.
        rows: ``(B,)`` int64, all different: where the samples stand in the bank; None: nowhere. A
            sample left in the bank would be its own nearest neighbour.
    """

    variables: Mapping[str, Tensor]
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(next(iter(self.variables.values())))


class Bank:
    """Named variables of the samples of a split, without gradients, prepared for searches.

    Args:
        variables: name -> ``(N, d)`` float, the same rows.
        wanted: name of a term -> the product samples that will be asked for.
        discrete: variables that hold classes: neighbours are then drawn within the class.
        size: product samples come from so many rows, drawn at random (with two rows or more of
            each class, where it has them); None: from all.
        dtype: how the variables are kept; computed is in float32 or wider. None: as they are.
        generator: draws the rows that ``size`` asks for.

    Attributes:
        variables: as kept.
        wanted: as given.
        members: ``(M,)`` int64, in ascending order: the rows that product samples come from;
            None: all.

    Raises:
        EstimationError: ``size`` without a generator.
    """

    def __init__(
        self,
        variables: Mapping[str, Tensor],
        wanted: Mapping[str, Product] | None = None,
        *,
        discrete: Collection[str] = (),
        size: int | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.variables = {
            name: value.detach().to(dtype or value.dtype) for name, value in variables.items()
        }
        self.wanted = dict(wanted or {})
        self._classes = {
            product.z: torch.unique(self.variables[product.z], dim=0, return_inverse=True)
            for product in self.wanted.values()
            if product.z in discrete
        }
        self.members = self._chosen(size, generator)
        self._places = None if self.members is None else _places(self.members, len(self))
        self._conditions = {p.space: self._condition(p) for p in self.wanted.values()}

    def __len__(self) -> int:
        """Samples of the split."""
        return len(next(iter(self.variables.values())))

    @property
    def size(self) -> int:
        """Rows that product samples are drawn from."""
        return len(self) if self.members is None else len(self.members)

    def rows(self, chosen: Tensor) -> dict[str, Tensor]:
        """Every variable of the samples ``chosen``, ``(B, d)``, float32 or wider.

        Args:
            chosen: ``(B,)`` int64 on the bank's device.
        """
        return {name: self._take(name, chosen) for name in self.variables}

    def draw(
        self,
        names: Sequence[str],
        count: int,
        neighbours: int,
        generator: torch.Generator,
        *,
        given: Given | None = None,
    ) -> dict[str, ProductSamples]:
        """``count`` product samples of each named term; see :func:`~mimrl.mi.product_samples`.

        Terms with the same condition share one search. Each has anchors of its own, which only its
        own neighbours keep away from.

        Args:
            names: of terms in ``wanted``.
            count: samples to draw of each term.
            neighbours: k >= 1, neighbours of each anchor.
            generator: source of all randomness, on any device.
            given: anchors are taken from these samples at random; None: from the bank.

        Raises:
            EstimationError: the bank, or what is given, is too small; or anchors are given and a
                class has a single row in the bank.

        Note:
            Where all rows of a class are anchors at once, they find each other; ``product_samples``
            refuses. Their number would have to be read back from the device in each step.
        """
        anchors = anchor_count(count, neighbours)
        if given is not None and len(given) < anchors:
            raise EstimationError(f"{anchors} anchors are needed, but only {len(given)} were given")
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(self.wanted[name].space, []).append(name)
        found: dict[str, ProductSamples] = {}
        for space, members in groups.items():
            condition = self._conditions[space]
            condition.check(anchors, neighbours, given=given is not None)
            if given is None:
                places = condition.anchors(len(members), anchors, generator)
                chosen, own = self._row(places), places
            else:
                chosen = slices(len(given), len(members), anchors, generator, self._device)
                own = self._own(given, chosen)
            asked = _Asked(members, chosen, own, given)
            found |= self._found(condition, asked, count, neighbours, generator)
        return {name: found[name] for name in names}

    def _found(
        self,
        condition: Condition,
        asked: _Asked,
        count: int,
        neighbours: int,
        generator: torch.Generator,
    ) -> dict[str, ProductSamples]:
        """The samples of terms with one condition."""
        z_name = self.wanted[asked.names[0]].z
        z = self._of_anchors(asked, z_name, asked.chosen)
        with torch.no_grad():
            coordinates = condition.coordinates(z)
            near = condition.search.find(coordinates, asked.own, neighbours, generator)
        rows = self._row(near).flatten(1)[:, :count]
        found = {}
        for index, name in enumerate(asked.names):
            product = self.wanted[name]
            y = self._of_anchors(asked, product.y, asked.chosen[index])
            found[name] = ProductSamples(
                self._take(product.x, rows[index]),
                _each(y, neighbours, count),
                _each(z[index], neighbours, count),
                rows[index],
            )
        return found

    def _of_anchors(self, asked: _Asked, name: str, chosen: Tensor) -> Tensor:
        if asked.given is None:
            return self._take(name, chosen)
        return asked.given.variables[name][chosen]

    def _own(self, given: Given, chosen: Tensor) -> Tensor:
        """Where given anchors stand among the rows that are searched; -1: nowhere."""
        if given.rows is None:
            return torch.full_like(chosen, -1)
        rows = given.rows[chosen]
        return rows if self._places is None else self._places[rows]

    def _row(self, places: Tensor) -> Tensor:
        """Rows of the split from places among those that are searched."""
        return places if self.members is None else self.members[places]

    def _take(self, name: str, rows: Tensor) -> Tensor:
        return at_least_float32(self.variables[name][rows])

    def _condition(self, product: Product) -> Condition:
        z = self._member(self.variables[product.z])
        if product.regression:
            return Near(z, at_least_float32(self._member(self.variables[product.x])))
        if product.z in self._classes:
            values, classes = self._classes[product.z]
            return Within(self._member(classes), values)
        return Near(z)

    def _member(self, values: Tensor) -> Tensor:
        return values if self.members is None else values[self.members]

    def _chosen(self, size: int | None, generator: torch.Generator | None) -> Tensor | None:
        """The rows that are searched, in ascending order; None: all."""
        if size is None or size >= len(self):
            return None
        if generator is None:
            raise EstimationError("a bank of fewer rows needs a generator that chooses them")
        shuffled = order(len(self), generator, self._device)
        first = torch.zeros_like(shuffled, dtype=torch.bool)
        for _, classes in self._classes.values():
            first |= _rank_in_class(classes[shuffled]) < KEPT_OF_A_CLASS
        kept_first = (~first).to(torch.uint8).argsort(stable=True)
        return shuffled[kept_first][:size].sort().values

    @property
    def _device(self) -> torch.device:
        return next(iter(self.variables.values())).device


@dataclass(frozen=True)
class _Asked:
    """Terms with one condition and their anchors.

    Attributes:
        names: the S terms.
        chosen: ``(S, A)`` rows of the split, or of what is given.
        own: ``(S, A)`` the anchors' places among the rows that are searched; -1: nowhere.
        given: where the anchors come from; None: the bank.
    """

    names: Sequence[str]
    chosen: Tensor
    own: Tensor
    given: Given | None


def _each(values: Tensor, times: int, count: int) -> Tensor:
    """Every row ``times`` times one after the other, the first ``count`` of them."""
    return values[:, None].expand(-1, times, -1).reshape(-1, values.shape[1])[:count]


def _places(members: Tensor, size: int) -> Tensor:
    """``(N,)`` the place of each row among the members; -1: it is none."""
    found = members.new_full((size,), -1)
    found[members] = torch.arange(len(members), device=members.device)
    return found


def _rank_in_class(classes: Tensor) -> Tensor:
    """How many rows of the same class are before each."""
    by_class = classes.argsort(stable=True)
    sizes = torch.bincount(classes)
    starts = (sizes.cumsum(0) - sizes)[classes[by_class]]
    ranks = torch.arange(len(classes), device=classes.device) - starts
    return ranks[inverse(by_class)]
