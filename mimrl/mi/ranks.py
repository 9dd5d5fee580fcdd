"""Random choices among places and among those of them that are free, without reading a value back.

Where a search would drop banned rows or count ties, these work with ranks among the free places:
all shapes are known beforehand, so nothing waits for the device.
"""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(
    shape: tuple[int, ...], generator: torch.Generator, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Random numbers in [0, 1), drawn where the generator lives; the device is not waited for."""
    drawn = torch.rand(shape, generator=generator, device=generator.device, dtype=dtype)
    return sent(drawn, device)


def order(size: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """The numbers below ``size`` in random order, ``(size,)``; the device is not waited for."""
    drawn = torch.randperm(size, generator=generator, device=generator.device)
    return sent(drawn, device)


def sent(values: Tensor, device: torch.device) -> Tensor:
    """``values`` on ``device``, which is not waited for.

    To a GPU they go from pinned memory: a copy from other memory goes through a buffer of the
    driver, which may wait for all earlier work before it fills it (beyond 64 KB it does).
    """
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()  # kept until the copy is made, though nothing here holds it
    return values.to(device, non_blocking=True)


def draw_below(sizes: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``(..., count)`` different numbers below each size, in random order; every order as likely.

    The i-th is drawn among what the i before it have left: it is a rank among the numbers that are
    not taken, and each taken one at or below it pushes it up by one. Where a size is below
    ``count``, its numbers are used again from the start.

    Args:
        sizes: ``(...)`` int64, 1 or more.
        count: numbers wanted of each.
        generator: source of randomness.
    """
    shares = uniform((*sizes.shape, count), generator, sizes.device, torch.float64)
    left = (sizes[..., None] - torch.arange(count, device=sizes.device)).clamp_(min=1)
    ranks = torch.minimum((shares * left).long(), left - 1)
    found = ranks[..., :1]
    for index in range(1, count):
        taken = found.sort(dim=-1).values - torch.arange(index, device=sizes.device)
        rank = ranks[..., index : index + 1]
        found = torch.cat([found, rank + (taken <= rank).sum(dim=-1, keepdim=True)], dim=-1)
    if count == 1:
        return found
    return found.gather(-1, torch.arange(count, device=sizes.device) % sizes[..., None])


class Free:
    """Places in a sorted list, and ranks among those of them that are not banned.

    Args:
        banned: ``(S, A)`` int64 places, all different within a search; -1: none.
        size: places in the list.
    """

    def __init__(self, banned: Tensor, size: int) -> None:
        self.size = size
        self.banned = torch.where(banned < 0, 2 * size, banned).sort(dim=1).values
        self.shifted = self.banned - torch.arange(banned.shape[1], device=banned.device)
        self.count = size - (self.banned < size).sum(dim=1, keepdim=True)

    def rank(self, places: Tensor) -> Tensor:
        """How many free places are below each, ``(S, ...)``."""
        flat = places.flatten(1)
        return (flat - torch.searchsorted(self.banned, flat)).view_as(places)

    def place(self, ranks: Tensor) -> Tensor:
        """The place of the free one with each rank, ``(S, ...)``; ranks beyond end at the last."""
        flat = ranks.flatten(1).clamp(0, self.size - 1)
        found = flat + torch.searchsorted(self.shifted, flat, right=True)
        return found.clamp_(max=self.size - 1).view_as(ranks)


def inverse(permutation: Tensor) -> Tensor:
    """Where each number stands in a permutation, ``(M,)``."""
    found = torch.empty_like(permutation)
    found[permutation] = torch.arange(len(permutation), device=permutation.device)
    return found
