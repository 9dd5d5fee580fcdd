"""Nearest rows of a bank in several columns, prepared once; see :mod:`mimrl.mi.prepared`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mimrl.mi.ranks import sent
from mimrl.mi.search import CHUNK_ELEMENTS, EXACT_WIDTH

BLOCK = 128
"""Distances whose smallest one is found first; see :func:`smallest`."""
CAST_ROWS = 4096
"""Rows of a float16 bank that are float32 at once: what a processor's cache holds."""


class Nearest:
    """Nearest rows in Euclidean distance, by one matrix product with the whole bank.

    Up to ``EXACT_WIDTH`` columns distances are summed directly. Ties are sought only where they can
    be: in such a narrow bank, or in one in which some rows are equal. Between other rows of a wide
    one an equal distance is an accident of rounding.

    Args:
        rows: ``(M, d)``; kept in their own type, computed with in float32 or wider.
    """

    def __init__(self, rows: Tensor) -> None:
        wide = at_least_float32(rows)
        self.exact = rows.shape[1] <= EXACT_WIDTH
        self.centre = wide.mean(dim=0)
        self.rows = rows if self.exact else (wide - self.centre).to(rows.dtype)
        kept = at_least_float32(self.rows)
        self.squares = kept.square().sum(dim=1)
        self.ties = self.exact or has_equal_rows(self.rows)

    def find(
        self, anchors: Tensor, banned: Tensor, neighbours: int, generator: torch.Generator
    ) -> Tensor:
        """As of :class:`Search`; ``anchors`` are ``(S, A, d)``."""
        step = max(1, CHUNK_ELEMENTS // len(self.rows))
        searches, count = banned.shape
        size = max(1, step // count)
        found = []
        for first in range(0, searches, size):
            here = slice(first, first + size)
            for part in anchors[here].split(step, dim=1):
                distances = self._distances(part)
                _ban(distances, banned[here])
                found.append(self._choose(distances.flatten(0, 1), neighbours, generator))
        return torch.cat(found).view(searches, count, neighbours)

    def _distances(self, anchors: Tensor) -> Tensor:
        """``(S, A, M)``, rank-preserving."""
        flat = anchors.flatten(0, 1).to(self.squares.dtype)
        with torch.autocast(flat.device.type, enabled=False):
            found = self._summed(flat) if self.exact else self._product(flat - self.centre)
        return found.view(*anchors.shape[:2], -1)

    def _product(self, anchors: Tensor) -> Tensor:
        """``|b|^2 - 2 a.b``: the anchor's own norm does not change the order."""
        if self.rows.dtype == self.squares.dtype:
            return torch.addmm(self.squares, anchors, self.rows.T, alpha=-2)
        found = anchors.new_empty(len(anchors), len(self.rows))
        places = range(0, len(self.rows), CAST_ROWS)
        for place, part in zip(places, self.rows.split(CAST_ROWS), strict=True):
            here = slice(place, place + len(part))
            columns = part.to(anchors.dtype).T
            torch.addmm(self.squares[here], anchors, columns, alpha=-2, out=found[:, here])
        return found

    def _summed(self, anchors: Tensor) -> Tensor:
        total = anchors.new_zeros(len(anchors), len(self.rows))
        for a, b in zip(anchors.T, self.rows.T.to(anchors.dtype), strict=True):
            total.add_((a[:, None] - b).square_())
        return total

    def _choose(self, distances: Tensor, neighbours: int, generator: torch.Generator) -> Tensor:
        values, columns = smallest(distances, neighbours)
        if not self.ties:
            return columns
        limit = values[:, -1:]
        nearer = (values < limit).sum(dim=1, keepdim=True)
        drawn = _among(distances == limit, neighbours, generator)
        index = torch.arange(neighbours, device=columns.device)
        fill = drawn.gather(1, (index - nearer).clamp_(min=0))
        return torch.where(index < nearer, columns, fill)


def smallest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` smallest entries of each row in order, and their columns, ``(A, count)``.

    The ``count`` blocks with the smallest minima hold them all: an entry of another block has
    ``count`` entries before it. Minima of blocks are one vectorised pass, a tenth of the time of
    ``topk`` over the whole row on a processor.

    Args:
        values: ``(A, M)``.
        count: at most M.
    """
    blocks = values.shape[1] // BLOCK
    if blocks < 2 * count:
        return values.topk(count, dim=1, largest=False)
    whole, rest = values[:, : blocks * BLOCK], values[:, blocks * BLOCK :]
    parts = whole.unflatten(1, (blocks, BLOCK))
    chosen = parts.amin(dim=2).topk(count, dim=1, largest=False, sorted=False).indices
    inside = parts.gather(1, chosen[:, :, None].expand(-1, -1, BLOCK)).flatten(1)
    found, places = torch.cat([inside, rest], dim=1).topk(count, dim=1, largest=False)
    block = chosen.gather(1, (places // BLOCK).clamp_(max=count - 1))
    columns = torch.where(
        places < count * BLOCK, block * BLOCK + places % BLOCK, places + (blocks - count) * BLOCK
    )
    return found, columns


def _among(mask: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``(A, count)`` true columns of each row, at random; meaningless beyond their number.

    The columns have random keys, the same for all rows but for the bits that each row flips: for
    every row all choices are as likely, and rows with the same mask choose differently.
    """
    high = 2**30
    device = generator.device
    keys = torch.randint(high, mask.shape[1:], generator=generator, device=device)
    flips = torch.randint(high, (len(mask), 1), generator=generator, device=device)
    mixed = sent(keys.int(), mask.device) ^ sent(flips.int(), mask.device)
    return smallest(mixed.masked_fill_(~mask, high), count)[1]


def _ban(distances: Tensor, banned: Tensor) -> None:
    """Sets the distances ``(S, A, M)`` of the banned rows ``(S, A)`` to infinity, in place."""
    far = torch.where(banned < 0, 0.0, math.inf).to(distances.dtype)
    for one, rows, infinite in zip(distances, banned.clamp(min=0), far, strict=True):
        one.index_add_(1, rows, infinite.expand(len(one), -1))


def has_equal_rows(rows: Tensor) -> bool:
    """Whether two rows are equal: equal rows have equal sums with any weights.

    A few different rows may have the same sum as well; the answer is then yes all the same.
    """
    weights = torch.linspace(1, 2, rows.shape[1], dtype=torch.float64, device=rows.device).sin()
    sums = [(part.double() * weights).sum(dim=1) for part in rows.split(CAST_ROWS)]
    ordered = torch.cat(sums).sort().values
    return bool((ordered[1:] == ordered[:-1]).any())


def at_least_float32(values: Tensor) -> Tensor:
    """float32 from a narrower float; wider ones as they are."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()
