"""Counts of samples around every sample, for estimators by nearest neighbours.

A sample has a few blocks (x, y, z); its distance to another is the largest of the distances of
their blocks. The ball around a sample reaches its k-th neighbour in the space of all blocks; how
many others lie in it when only some of the blocks are looked at is what the estimators are made of.
Distances are compared exactly as they were computed, so trees and the full table of distances give
the same counts, ties included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree
from sklearn.neighbors import KDTree
from torch import Tensor

from mimrl.errors import EstimationError

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Groups = Sequence[Sequence[int]]
Norm = Literal["max", "euclidean"]
Reach = Literal["open", "closed", "own"]

TREE_WIDTH = 10
"""Columns up to which trees are faster than all distances (measured at 5,000 and 50,000 rows)."""
CHUNK_ELEMENTS = 2**20
"""Distances of one block held at once (8 MiB)."""


@dataclass(frozen=True)
class Surroundings:
    """What lies around each of ``N`` samples.

    Attributes:
        radius: ``(N,)`` distance of the k-th neighbour.
        inside: ``(N,)`` samples other than the centre that the ball was made of: k, or more where
            a tie makes them more (see :func:`surroundings`).
        counts: ``(G, N)``, for each group of blocks the n of which a digamma is to be taken.
    """

    radius: Floats
    inside: Counts
    counts: Counts


def surroundings(
    blocks: Sequence[Floats],
    neighbours: int,
    groups: Groups,
    *,
    reach: Reach = "open",
    norm: Norm = "max",
) -> Surroundings:
    """Counts around every sample.

    Args:
        blocks: ``(N, d)`` each.
        neighbours: k, at most N - 1.
        groups: for each count the blocks that are looked at.
        reach: ``open`` counts samples nearer than the k-th neighbour, and the centre; ``closed``
            counts others as near as the k-th neighbour or nearer; ``own`` counts others as near as
            the farthest, in this group of blocks, of the k neighbours.
        norm: distance inside a block.

    Raises:
        EstimationError: too few samples for k.

    Note:
        Ties. Where k others or more are equal to the centre, the radius is 0: then every reach
        counts the others at distance 0, and ``inside`` is their number (Gao, Kannan, Oh, Viswanath
        2017, who mix discrete and continuous parts so). With ``own``, all samples at the distance
        of the k-th neighbour are neighbours. No choice among tied samples is ever made.
    """
    size = len(blocks[0])
    if neighbours >= size:
        raise EstimationError(
            f"{neighbours} neighbours of each sample need at least {neighbours + 1} samples, got "
            f"{size}; take fewer neighbours or more samples"
        )
    flat = norm == "max" or all(block.shape[1] == 1 for block in blocks)
    if flat and sum(block.shape[1] for block in blocks) <= TREE_WIDTH:
        return _by_trees(blocks, neighbours, groups, reach)
    return _by_distances(blocks, np.arange(size), neighbours, groups, reach, norm)


def count_within(values: Floats, radii: Floats) -> Counts:
    """How many rows lie as near as a radius to each row in the max-norm, itself included.

    Args:
        values: ``(N, d)``.
        radii: ``(N,)``, 0 or more.

    Returns:
        ``(N,)``.
    """
    if values.shape[1] == 1:
        return _count_on_line(values[:, 0], radii)
    counted = KDTree(values, metric="chebyshev").query_radius(values, radii, count_only=True)
    return np.asarray(counted, dtype=np.int64)


def _by_trees(
    blocks: Sequence[Floats], neighbours: int, groups: Groups, reach: Reach
) -> Surroundings:
    joint = np.hstack(blocks)
    asked = min(neighbours + 2, len(joint))
    distances, rows = cKDTree(joint).query(joint, asked, p=np.inf, workers=torch.get_num_threads())
    radius = distances[:, neighbours]
    inside = np.full(len(joint), neighbours)
    if not radius.all():
        inside = np.where(radius > 0, inside, count_within(joint, np.zeros(len(joint))) - 1)
    centre = _centre(radius, reach)
    counts = np.empty((len(groups), len(joint)), dtype=np.int64)
    for number, group in enumerate(groups):
        values = np.hstack([blocks[block] for block in group])
        if reach == "own":
            reached = _farthest(values, rows[:, : neighbours + 1])
        else:
            reached = _limit(radius, reach)
        counts[number] = count_within(values, reached) - centre
    if reach == "own" and asked > neighbours + 1:  # the tree names only some of tied neighbours
        tied = np.flatnonzero((distances[:, neighbours + 1] == radius) & (radius > 0))
        again = _by_distances(blocks, tied, neighbours, groups, reach, "max")
        inside[tied], counts[:, tied] = again.inside, again.counts
    return Surroundings(radius, inside, counts)


def _limit(radius: Floats, reach: Reach) -> Floats:
    """The largest distance that is counted: for an open ball the number before its radius."""
    return np.nextafter(radius, 0) if reach == "open" else radius


def _centre(radius: Floats, reach: Reach) -> Counts:
    """``(N,)`` 1 where the centre itself is to be taken from a count."""
    return np.where(radius > 0, 0 if reach == "open" else 1, 1)


def _farthest(values: Floats, rows: Counts) -> Floats:
    """``(N,)`` largest max-norm distance of each row to its ``rows`` ``(N, k)``."""
    found = np.zeros(len(values))
    for column in rows.T:
        np.maximum(found, np.abs(values[column] - values).max(axis=1), out=found)
    return found


def _count_on_line(column: Floats, radii: Floats) -> Counts:
    """:func:`count_within` in one dimension, by sorting."""
    points, repeats = np.unique(column, return_counts=True)
    before = np.concatenate([[0], repeats.cumsum()])
    low = np.searchsorted(points, column - radii)
    high = np.searchsorted(points, column + radii, side="right") - 1
    low, high = (
        _last_within(points, column, radii, start, step) for start, step in ((low, -1), (high, 1))
    )
    return before[high + 1] - before[low]


def _last_within(points: Floats, column: Floats, radii: Floats, at: Counts, step: int) -> Counts:
    """The last of ordered ``points`` within the radius, going by ``step`` from the centre.

    ``column + radii`` is rounded, so a point found by it may be one too far or one too near.
    """
    while (outside := np.abs(points[at] - column) > radii).any():
        at = np.where(outside, at - step, at)
    while True:
        further = (at + step).clip(0, len(points) - 1)
        moves = (further != at) & (np.abs(points[further] - column) <= radii)
        if not moves.any():
            return at
        at = np.where(moves, further, at)


def _by_distances(
    blocks: Sequence[Floats],
    rows: Counts,
    neighbours: int,
    groups: Groups,
    reach: Reach,
    norm: Norm,
) -> Surroundings:
    """:func:`surroundings` of some rows from all their distances."""
    tensors = [torch.from_numpy(np.ascontiguousarray(block)) for block in blocks]
    step = max(1, CHUNK_ELEMENTS // len(blocks[0]))
    parts = [
        _around(
            [_distances(block[part], block, norm) for block in tensors], neighbours, groups, reach
        )
        for part in torch.from_numpy(rows).split(step)
    ]
    return Surroundings(
        np.concatenate([part.radius for part in parts]),
        np.concatenate([part.inside for part in parts]),
        np.concatenate([part.counts for part in parts], axis=1),
    )


def _distances(some: Tensor, block: Tensor, norm: Norm) -> Tensor:
    """Without the detour over products, whose rounding makes equal distances differ."""
    order = np.inf if norm == "max" else 2.0
    return torch.cdist(some, block, p=order, compute_mode="donot_use_mm_for_euclid_dist")


def _around(tables: list[Tensor], neighbours: int, groups: Groups, reach: Reach) -> Surroundings:
    """From distances ``(A, N)`` in each block; a row's own distance, 0, is among them."""
    joint = _largest(tables)
    radius = joint.topk(neighbours + 1, dim=1, largest=False).values[:, -1]
    found = radius.numpy()
    limit, centre = torch.from_numpy(_limit(found, reach)), _centre(found, reach)
    member = joint <= radius[:, None]
    inside = member.sum(dim=1).numpy() - 1
    if reach != "own":
        inside = np.where(found > 0, neighbours, inside)
    counts = []
    for group in groups:
        table = _largest([tables[block] for block in group])
        if reach == "own":
            limit = torch.where(member, table, 0.0).amax(dim=1)
        counts.append((table <= limit[:, None]).sum(dim=1).numpy() - centre)
    return Surroundings(found, inside, np.stack(counts))


def _largest(tables: list[Tensor]) -> Tensor:
    found = tables[0]
    for table in tables[1:]:
        found = torch.maximum(found, table)
    return found
