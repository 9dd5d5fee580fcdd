"""Samples on a grid over the unit square: spread them over cells, look a table up at them.

Cell i of Q has its centre at (i + 1/2) / Q. A coordinate between two centres belongs to both, by
linear weights; beyond the outermost centres the outermost cell takes all. Integrated over a
uniform coordinate every cell has then the weight 1 / Q, so the integral of a table that is looked
up this way is the mean of its cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FIXED_POINT = 1 << 24
"""Weights are added as integers of this unit: their sum does not depend on the order."""


@dataclass(frozen=True)
class Cells:
    """The four cells of each sample and its weights in them.

    Attributes:
        index: ``(B, 4, N)`` int64, number of the cell in the flattened grid.
        weight: ``(B, 4, N)``, at least 0, sum 1 over the four.
        size: Q.
    """

    index: Tensor
    weight: Tensor
    size: int

    def density(self) -> Tensor:
        """The samples' density on the grid: ``(B, Q, Q)``, mean 1 for each pair."""
        batch, _, count = self.index.shape
        shift = torch.arange(batch, device=self.index.device)[:, None, None] * self.size**2
        units = (self.weight * FIXED_POINT).round().long()
        total = torch.zeros(batch * self.size**2, dtype=torch.long, device=units.device)
        total.scatter_add_(0, (self.index + shift).flatten(), units.flatten())
        density = total.to(self.weight.dtype) * (self.size**2 / (FIXED_POINT * count))
        return density.reshape(batch, self.size, self.size)

    def look_up(self, table: Tensor) -> Tensor:
        """Values of a table ``(B, Q, Q)`` at the samples, ``(B, N)``."""
        batch, _, count = self.index.shape
        values = table.flatten(1).gather(1, self.index.flatten(1))
        return (values.reshape(batch, 4, count) * self.weight).sum(dim=1)


def cells(u: Tensor, v: Tensor, size: int) -> Cells:
    """Places samples of the unit square on a grid.

    Args:
        u: ``(B, N)`` in [0, 1], the coordinate along rows.
        v: ``(B, N)`` in [0, 1], the coordinate along columns.
        size: Q.

    Returns:
        The cells and weights.
    """
    row, row_part = _along(u, size)
    column, column_part = _along(v, size)
    index, weight = [], []
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        index.append((row + down) * size + column + right)
        row_weight = row_part if down else 1 - row_part
        column_weight = column_part if right else 1 - column_part
        weight.append(row_weight * column_weight)
    return Cells(torch.stack(index, dim=1), torch.stack(weight, dim=1), size)


def _along(coordinate: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The lower of two neighbouring cells and the weight of the upper one."""
    place = (coordinate * size - 0.5).clamp(0, size - 1)
    lower = place.floor().clamp(max=size - 2)
    return lower.long(), place - lower
