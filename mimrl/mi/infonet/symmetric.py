"""Convolutions that commute with swapping the axes of a square and with mirroring either of them.

Mutual information does not change when X and Y change places or when one of them changes its sign.
On a table over the unit square these are the eight symmetries of the square, and a network made of
the layers here keeps them exactly (up to rounding) instead of learning them. A feature has one map
for each symmetry: ``(B, C * 8, H, W)``, the symmetry running fastest.

Source: Cohen and Welling, Group Equivariant Convolutional Networks, ICML 2016, section 6.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SYMMETRIES = 8
"""Of the square: transposed or not, rows mirrored or not, columns mirrored or not."""


def act(symmetry: int, maps: Tensor) -> Tensor:
    """Applies one symmetry to square maps.

    Args:
        symmetry: 0 (none) to 7; bit 0 transposes, then bit 1 mirrors rows and bit 2 columns.
        maps: ``(..., H, H)``.

    Returns:
        ``(..., H, H)``.
    """
    if symmetry & 1:
        maps = maps.transpose(-1, -2)
    mirrored = [axis for bit, axis in ((2, -2), (4, -1)) if symmetry & bit]
    return maps.flip(mirrored) if mirrored else maps


def _product_with_inverse() -> Tensor:
    """``[g, h]``: the number of the symmetry g^-1 h."""
    square = torch.arange(9).reshape(3, 3)
    found = torch.empty(SYMMETRIES, SYMMETRIES, dtype=torch.long)
    for g, k in itertools.product(range(SYMMETRIES), repeat=2):
        both = act(g, act(k, square))
        h = next(h for h in range(SYMMETRIES) if torch.equal(act(h, square), both))
        found[g, h] = k
    return found


def _sources(size: int) -> Tensor:
    """``[g, p]``: which element of a filter of this size lands on place p under symmetry g."""
    square = torch.arange(size * size).reshape(size, size)
    return torch.stack([act(g, square).flatten() for g in range(SYMMETRIES)])


class LiftingConv(nn.Module):
    """From plain maps to features: each filter is applied in its eight positions.

    Args:
        inputs: plain input channels.
        fields: output features, of eight maps each.
        size: of the filter; with an even size the maps are halved.
    """

    places: Tensor

    def __init__(self, inputs: int, fields: int, size: int = 3) -> None:
        super().__init__()
        self.size, self.stride = size, 2 if size % 2 == 0 else 1
        scale = 1 / math.sqrt(inputs * size * size)
        self.weight = nn.Parameter(torch.randn(fields, inputs, size * size) * scale)
        self.bias = nn.Parameter(torch.zeros(fields))
        self.register_buffer("places", _sources(size), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, inputs, H, H)`` -> ``(B, fields * 8, H', H')``, H' = H or H / 2."""
        fields, inputs, _ = self.weight.shape
        filters = self.weight[:, :, self.places].transpose(1, 2)
        filters = filters.reshape(fields * SYMMETRIES, inputs, self.size, self.size)
        bias = self.bias.repeat_interleave(SYMMETRIES)
        padding = (self.size - 1) // 2
        return functional.conv2d(maps, filters, bias, stride=self.stride, padding=padding)


class SymmetricConv(nn.Module):
    """From features to features.

    Args:
        inputs: input features.
        fields: output features.
        size: of the filter, odd.
        gain: of the initial weights; 0 makes a branch that starts as nothing.
    """

    places: Tensor

    def __init__(self, inputs: int, fields: int, size: int = 3, gain: float = 1.0) -> None:
        super().__init__()
        self.size = size
        scale = gain / math.sqrt(inputs * SYMMETRIES * size * size)
        weight = torch.randn(fields, inputs, SYMMETRIES * size * size) * scale
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(fields))
        turned, sources = _product_with_inverse(), _sources(size)
        places = turned[:, :, None] * size * size + sources[:, None, :]
        self.register_buffer("places", places, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, inputs * 8, H, H)`` -> ``(B, fields * 8, H, H)``."""
        fields, inputs, _ = self.weight.shape
        filters = self.weight[:, :, self.places]  # (fields, inputs, g, h, place)
        filters = filters.permute(0, 2, 1, 3, 4)
        shape = fields * SYMMETRIES, inputs * SYMMETRIES, self.size, self.size
        bias = self.bias.repeat_interleave(SYMMETRIES)
        return functional.conv2d(maps, filters.reshape(shape), bias, padding=self.size // 2)


class LoweringConv(nn.Module):
    """From features to one plain map of twice the size.

    Args:
        inputs: input features.
        gain: of the initial weights.
    """

    places: Tensor

    def __init__(self, inputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.size = 4
        scale = gain / math.sqrt(inputs * SYMMETRIES * 4)
        self.weight = nn.Parameter(torch.randn(inputs, self.size**2) * scale)
        self.register_buffer("places", _sources(self.size), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, inputs * 8, H, H)`` -> ``(B, 1, 2 H, 2 H)``."""
        filters = self.weight[:, self.places].reshape(-1, 1, self.size, self.size)
        return functional.conv_transpose2d(maps, filters, stride=2, padding=1)
