"""Product samples p(x | z) p(y, z) from a bank of joint samples, by nearest neighbours in z.

Mukherjee, Asnani, Kannan, "CCMI" (UAI 2019) and Molavipour, Bassi, Skoglund, "Conditional mutual
information neural estimator" (ICASSP 2020).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mimrl.errors import EstimationError, ShapeError
from mimrl.mi.search import nearest, shuffled, within_class


@dataclass(frozen=True)
class Triples:
    """``N`` rows of three variables in the same order: x ``(N, dx)``, y ``(N, dy)``, z ``(N, dz)``.

    Raises:
        ShapeError: a variable is not two-dimensional, or their numbers of rows differ.
    """

    x: Tensor
    y: Tensor
    z: Tensor

    def __post_init__(self) -> None:
        shapes = {name: tuple(getattr(self, name).shape) for name in ("x", "y", "z")}
        if any(len(shape) != 2 for shape in shapes.values()):
            raise ShapeError(f"x, y and z must be (N, d) each, got {shapes}")
        if len({shape[0] for shape in shapes.values()}) > 1:
            raise ShapeError(f"x, y and z must have the same number of rows, got {shapes}")

    def __len__(self) -> int:
        return len(self.x)

    def select(self, rows: Tensor) -> Triples:
        """The rows ``rows`` in that order."""
        return Triples(self.x[rows], self.y[rows], self.z[rows])


@dataclass(frozen=True)
class ProductSamples(Triples):
    """Triples in which x came from a neighbour in z, so that x and y are independent given z.

    Attributes:
        rows: ``(N,)`` int64, the bank row each x came from.
    """

    rows: Tensor


@dataclass(frozen=True)
class Anchors:
    """Rows (y, z) that are to be paired with the x of their neighbours.

    Attributes:
        y: ``(A, dy)``, with or without gradient.
        z: ``(A, dz)``, with or without gradient.
        rows: ``(A,)`` int64, where these samples stand in the bank, or None if they are not in it.
            A sample left in the bank would be its own nearest neighbour.
    """

    y: Tensor
    z: Tensor
    rows: Tensor | None = None


def product_samples(
    x: Tensor,
    y: Tensor,
    z: Tensor,
    count: int,
    neighbours: int,
    generator: torch.Generator,
    *,
    discrete: bool = False,
    anchors: Anchors | None = None,
    metric: Tensor | None = None,
) -> ProductSamples:
    """Draws ``count`` samples of p(x | z) p(y, z) from a bank of samples of p(x, y, z).

    ``ceil(count / neighbours)`` anchors (y, z) are drawn without replacement; each is paired with
    the x of its nearest neighbours in z (Euclidean) among the bank without the anchors. Neighbours
    at equal distance are chosen at random.

    Args:
        x: ``(N, dx)`` bank.
        y: ``(N, dy)`` bank, same rows.
        z: ``(N, dz)`` bank, same rows. Scales matter: bring its columns to comparable ones.
        count: samples to draw.
        neighbours: k >= 1, neighbours of each anchor.
        generator: source of all randomness, on any device.
        discrete: z holds classes: neighbours are drawn uniformly within the anchor's class (again
            from the start if it has fewer than k rows). One row of each class never becomes an
            anchor, so that no class is without neighbours.
        anchors: take these instead of rows of the bank; ``ceil(count / neighbours)`` of them are
            chosen at random.
        metric: ``(dz, r)``; distances are taken between rows of ``z @ metric`` instead of z. With
            the :func:`regression_slopes` of x on z, neighbours are near in what z says about x.

    Returns:
        x, y and z with ``count`` rows each, the k neighbours of an anchor one after the other.

    Raises:
        ShapeError: the banks differ in rows or are not two-dimensional.
        EstimationError: the bank is too small, or the class of a given anchor has no row.

    Note:
        The code published with MIMRL takes ``floor(count / k)`` anchors (none for a small last
        batch) and always the lowest row numbers among equal distances.
    """
    bank = Triples(x, y, z)
    wanted = anchor_count(count, neighbours)
    classes, given_classes = _classes(bank, anchors) if discrete else (None, None)
    if anchors is None:
        chosen = _from_bank(bank, wanted, neighbours, classes, generator)
    else:
        chosen = _from_given(anchors, given_classes, wanted, generator)
    with torch.no_grad():
        if classes is not None and chosen.classes is not None:
            found = within_class(classes, chosen.classes, chosen.rows, neighbours, generator)
        else:
            places = (z, chosen.z) if metric is None else (z @ metric, chosen.z @ metric)
            found = nearest(*places, chosen.rows, neighbours, generator)
    rows = found.reshape(-1)[:count]
    paired_y, paired_z = (
        value.repeat_interleave(neighbours, dim=0)[:count] for value in (chosen.y, chosen.z)
    )
    return ProductSamples(x[rows], paired_y, paired_z, rows)


def regression_slopes(x: Tensor, z: Tensor, *, ridge: float = 1e-3) -> Tensor:
    """Slopes of the linear regression of x on z over a bank, a metric for :func:`product_samples`.

    If x depends on z only through this prediction, a neighbour in it is as good as one in z, and
    much nearer where z is wide.

    Args:
        x: ``(N, dx)`` bank.
        z: ``(N, dz)`` bank, same rows.
        ridge: added to the covariance of z as a share of its mean variance.

    Returns:
        ``(dz, dx)``.
    """
    with torch.no_grad():
        centred_z, centred_x = z - z.mean(dim=0), x - x.mean(dim=0)
        gram = centred_z.T @ centred_z / len(z)
        gram.diagonal().add_(ridge * gram.diagonal().mean() + torch.finfo(z.dtype).tiny)
        factor, _ = torch.linalg.cholesky_ex(gram)  # unlike solve, waits for no device
        return torch.cholesky_solve(centred_z.T @ centred_x / len(z), factor)


def anchor_count(count: int, neighbours: int) -> int:
    """How many anchors ``count`` samples take.

    Raises:
        EstimationError: a count or a number of neighbours below 1.
    """
    if count < 1 or neighbours < 1:
        raise EstimationError(
            f"product samples need a count and a number of neighbours of 1 or more, "
            f"got {count} and {neighbours}"
        )
    return math.ceil(count / neighbours)


@dataclass(frozen=True)
class _Chosen:
    """Anchors that will be paired; ``rows`` of the bank are banned from being their neighbours."""

    y: Tensor
    z: Tensor
    rows: Tensor | None
    classes: Tensor | None


def _from_bank(
    bank: Triples,
    wanted: int,
    neighbours: int,
    classes: Tensor | None,
    generator: torch.Generator,
) -> _Chosen:
    order = shuffled(len(bank), generator, bank.z.device)
    if classes is not None:
        order = _without_one_of_each(order, classes)
    allowed = len(order) if classes is not None else len(order) - neighbours
    if allowed < wanted:
        needs = "one row of each class" if classes is not None else f"{neighbours} other rows"
        raise EstimationError(
            f"a bank of {len(bank)} rows is too small for {wanted} anchors: besides them it needs "
            f"{needs} as neighbours; take fewer samples or a larger bank"
        )
    rows = order[:wanted]
    return _Chosen(bank.y[rows], bank.z[rows], rows, None if classes is None else classes[rows])


def _without_one_of_each(order: Tensor, classes: Tensor) -> Tensor:
    """``order`` without the last row of each class in it."""
    shuffled = classes[order]
    last = torch.full((int(classes.max()) + 1,), -1, device=classes.device)
    place = torch.arange(len(order), device=classes.device)
    last = last.scatter_reduce_(0, shuffled, place, reduce="amax")
    return order[last[shuffled] != place]


def _from_given(
    anchors: Anchors, classes: Tensor | None, wanted: int, generator: torch.Generator
) -> _Chosen:
    if len(anchors.y) < wanted:
        raise EstimationError(f"{wanted} anchors are needed, but only {len(anchors.y)} were given")
    picked = shuffled(len(anchors.y), generator, anchors.z.device)[:wanted]
    return _Chosen(
        anchors.y[picked],
        anchors.z[picked],
        None if anchors.rows is None else anchors.rows[picked],
        None if classes is None else classes[picked],
    )


@torch.no_grad()
def _classes(bank: Triples, anchors: Anchors | None) -> tuple[Tensor, Tensor | None]:
    """Class numbers of the rows of the bank, and of given anchors."""
    rows = bank.z if anchors is None else torch.cat([bank.z, anchors.z])
    if rows.shape[1] == 1:
        classes = torch.unique(rows[:, 0], return_inverse=True)[1]
    elif bool(((rows == 0) | (rows == 1)).all() & (rows.sum(dim=1) == 1).all()):
        classes = rows.argmax(dim=1)  # one-hot; the general way takes ten times as long
    else:
        classes = torch.unique(rows, dim=0, return_inverse=True)[1]
    return classes[: len(bank)], None if anchors is None else classes[len(bank) :]
