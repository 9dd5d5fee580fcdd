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

CHUNK_ELEMENTS = 2**25
"""Entries of the distance matrix held at once (128 MiB in float32)."""
EXACT_WIDTH = 4
"""Up to this width of z distances are summed directly, so that equal ones come out equal."""


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
    slopes: Tensor | None = None,
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
        slopes: ``(dz, dx)`` of :func:`regression_slopes`; x moves by ``(z_anchor - z_neighbour) @
            slopes``, which takes away the part of the pairing error that is linear in z.

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
    wanted = _anchor_count(count, neighbours)
    with torch.no_grad():
        classes = _classes(z, anchors.z if anchors is not None else None) if discrete else None
        bank_classes = None if classes is None else classes[: len(bank)]
        if anchors is None:
            chosen = _choose_anchors(len(bank), wanted, neighbours, bank_classes, generator)
            chosen = chosen.to(z.device)
            banned: Tensor | None = chosen
            anchor_y, anchor_z = y[chosen], z[chosen]
            anchor_classes = None if bank_classes is None else bank_classes[chosen]
        else:
            picked = _choose_given(len(anchors.y), wanted, generator).to(z.device)
            banned = None if anchors.rows is None else anchors.rows[picked]
            anchor_classes = None if classes is None else classes[len(bank) :][picked]
    if anchors is not None:
        anchor_y, anchor_z = anchors.y[picked], anchors.z[picked]
    with torch.no_grad():
        if bank_classes is not None and anchor_classes is not None:
            found = _within_class(bank_classes, anchor_classes, banned, neighbours, generator)
        else:
            found = _nearest(z, anchor_z, banned, neighbours, generator)
    rows = found.reshape(-1)[:count]
    paired_y = anchor_y.repeat_interleave(neighbours, dim=0)[:count]
    paired_z = anchor_z.repeat_interleave(neighbours, dim=0)[:count]
    paired_x = x[rows]
    if slopes is not None:
        paired_x = paired_x + (paired_z - z[rows]) @ slopes
    return ProductSamples(paired_x, paired_y, paired_z, rows)


def regression_slopes(x: Tensor, z: Tensor, *, ridge: float = 1e-3) -> Tensor:
    """Slopes of the linear regression of x on z over a bank, for :func:`product_samples`.

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
        return torch.linalg.solve(gram, centred_z.T @ centred_x / len(z))


def _anchor_count(count: int, neighbours: int) -> int:
    if count < 1 or neighbours < 1:
        raise EstimationError(
            f"product samples need a count and a number of neighbours of 1 or more, "
            f"got {count} and {neighbours}"
        )
    return math.ceil(count / neighbours)


def _choose_anchors(
    size: int, wanted: int, neighbours: int, classes: Tensor | None, generator: torch.Generator
) -> Tensor:
    order = torch.randperm(size, generator=generator, device=generator.device)
    if classes is None:
        if size - wanted < neighbours:
            raise EstimationError(
                f"a bank of {size} rows is too small for {wanted} anchors with {neighbours} "
                "neighbours each outside the anchors; take fewer samples or a larger bank"
            )
        return order[:wanted]
    order = order.to(classes.device)
    shuffled = classes[order]
    kept = torch.zeros(int(classes.max()) + 1, dtype=torch.long, device=classes.device)
    kept.scatter_(0, shuffled, torch.arange(size, device=classes.device))
    may_anchor = torch.ones(size, dtype=torch.bool, device=classes.device)
    may_anchor[kept[shuffled.unique()]] = False
    allowed = order[may_anchor]
    if len(allowed) < wanted:
        raise EstimationError(
            f"a bank of {size} rows in {size - len(allowed)} classes is too small for {wanted} "
            "anchors: one row of each class must stay a neighbour; take fewer samples or a "
            "larger bank"
        )
    return allowed[:wanted]


def _choose_given(size: int, wanted: int, generator: torch.Generator) -> Tensor:
    if size < wanted:
        raise EstimationError(f"{wanted} anchors are needed, but only {size} were given")
    return torch.randperm(size, generator=generator, device=generator.device)[:wanted]


def _classes(z: Tensor, more: Tensor | None) -> Tensor:
    """Class numbers of the rows of z, and after them of the rows of ``more``."""
    rows = z if more is None else torch.cat([z, more])
    if rows.shape[1] == 1:
        return torch.unique(rows[:, 0], return_inverse=True)[1]
    return torch.unique(rows, dim=0, return_inverse=True)[1]


def _within_class(
    classes: Tensor,
    anchor_classes: Tensor,
    banned: Tensor | None,
    neighbours: int,
    generator: torch.Generator,
) -> Tensor:
    """``(A, k)`` bank rows drawn from the anchors' classes.

    The free rows are shuffled and sorted by class; an anchor takes k rows in a circle from a random
    place of its class, so each is uniform, and all differ where the class is large enough.
    """
    free = torch.ones_like(classes, dtype=torch.bool)
    if banned is not None:
        free[banned] = False
    shuffle = torch.randperm(len(classes), generator=generator, device=generator.device)
    pool = shuffle.to(classes.device)
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
    place = torch.rand(len(size), generator=generator, device=generator.device).to(size.device)
    first = (place * size).long().clamp_(max=size - 1)
    offset = (first[:, None] + torch.arange(neighbours, device=size.device)) % size[:, None]
    return pool[starts[anchor_classes][:, None] + offset]


def _nearest(
    bank: Tensor,
    anchors: Tensor,
    banned: Tensor | None,
    neighbours: int,
    generator: torch.Generator,
) -> Tensor:
    """``(A, k)`` rows of the bank nearest to each anchor, without the banned rows."""
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
        self.exact = bank.shape[1] <= EXACT_WIDTH
        self.centre = bank.mean(dim=0)
        self.bank = bank if self.exact else bank - self.centre
        self.squares = None if self.exact else self.bank.square().sum(dim=1)
        self.banned = banned

    def __call__(self, anchors: Tensor) -> Tensor:
        anchors = anchors.detach().to(self.bank.dtype)
        if self.squares is None:
            found = torch.cdist(anchors, self.bank, compute_mode="donot_use_mm_for_euclid_dist")
        else:  # |b|^2 - 2 a.b: the anchor's own norm does not change the order
            found = torch.addmm(self.squares, anchors - self.centre, self.bank.T, alpha=-2)
        if self.banned is not None:
            found.index_fill_(1, self.banned, math.inf)
        return found


def _smallest(distances: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """``(A, k)`` columns of the k smallest entries of each row, equal ones in random choice."""
    values, columns = distances.topk(k, dim=1, largest=False)
    farthest = values[:, -1:]
    tied = (distances <= farthest).sum(dim=1) > k
    if bool(tied.any()):
        rows = tied.nonzero()[:, 0]
        near, limit = distances[rows], farthest[rows]
        key = torch.rand(near.shape, generator=generator, device=generator.device).to(near.device)
        key = torch.where(near < limit, -1.0, torch.where(near == limit, key, 2.0))
        columns[rows] = key.topk(k, dim=1, largest=False).indices
    return columns
