"""Ranks of columns, hard and soft, scaled into (0, 1)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mimrl.errors import EstimationError


def ranks(values: Tensor) -> Tensor:
    """Ranks of each row's values; equal values share the mean of their ranks.

    Args:
        values: ``(..., N)``, finite.

    Returns:
        ``(..., N)`` float32 in (0, 1): (rank - 1/2) / N for ranks from 1, so that the ranks of
        ``-values`` are 1 less those of ``values``.

    >>> ranks(torch.tensor([3.0, -1.0, 3.0, 8.0]))
    tensor([0.5000, 0.1250, 0.5000, 0.8750])
    """
    count = values.shape[-1]
    ordered, order = values.sort(dim=-1)
    place = torch.arange(count, device=values.device, dtype=torch.float64).expand(values.shape)
    if bool((ordered[..., 1:] == ordered[..., :-1]).any()):
        rows = ordered.reshape(-1, count).contiguous()
        first = torch.searchsorted(rows, rows)
        last = torch.searchsorted(rows, rows, right=True) - 1
        place = ((first + last).double() / 2).reshape(values.shape)
    found = torch.empty_like(place).scatter_(-1, order, place)
    return ((found + 0.5) / count).float()


def ordinal(values: Tensor) -> Tensor:
    """As :func:`ranks`, in half its time, for values of which hardly any are equal."""
    count = values.shape[-1]
    place = torch.arange(count, device=values.device, dtype=torch.float32).expand(values.shape)
    found = torch.empty_like(place).scatter_(-1, values.argsort(dim=-1), place)
    return (found + 0.5) / count


def ranks_without_ties(values: Tensor, seed: int) -> Tensor:
    """As :func:`ranks`, but equal values get their ranks one each, in random order.

    Where both columns of a pair are broken independently of each other, their information stays
    what it was: each value becomes an interval that says no more than the value.

    Args:
        values: ``(B, N)``, finite.
        seed: of the order, which is one for all rows: that of a row does not depend on the others.

    Returns:
        ``(B, N)`` float32 in (0, 1), as of :func:`ranks` where no values are equal.
    """
    count = values.shape[-1]
    shuffle = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    order = values[:, shuffle.to(values.device)].argsort(dim=1, stable=True)
    order = shuffle.to(values.device)[order]
    place = torch.arange(count, device=values.device, dtype=torch.float64).expand(values.shape)
    return ((torch.empty_like(place).scatter_(1, order, place) + 0.5) / count).float()


def soft_ranks(values: Tensor, strength: float) -> Tensor:
    """Ranks that change continuously with the values, and can be differentiated.

    The point of the permutahedron (the convex hull of all permutations of 1 to N) closest to
    ``values / strength``. Values further apart than about ``strength`` get their hard ranks; closer
    ones get ranks whose differences are those of ``values / strength``.

    Args:
        values: ``(..., N)``, finite.
        strength: greater than 0, in units of the values.

    Returns:
        ``(..., N)`` ranks from 1 to N, in the dtype of ``values``; they sum to N (N + 1) / 2.

    Raises:
        EstimationError: ``strength`` is not greater than 0.

    Note:
        Blondel et al., Fast Differentiable Sorting and Ranking, ICML 2020, equation 6 and
        proposition 3: a sort and an isotonic regression by pooling adjacent violators, in
        O(N log N).

    >>> soft_ranks(torch.tensor([0.0, 5.0, 5.1, 9.0]), 1.0)
    tensor([1.0000, 2.4500, 2.5500, 4.0000])
    """
    if not strength > 0:
        raise EstimationError(f"the strength of soft ranks must be greater than 0, got {strength}")
    return _SoftRanks.apply(values, strength)


def scaled_soft_ranks(values: Tensor, strength: float) -> Tensor:
    """Soft ranks in (0, 1) with a strength that does not depend on the values' unit.

    Args:
        values: ``(..., N)``, finite and not all equal.
        strength: of :func:`soft_ranks`, for values spread over N units: 1 is the mean distance of
            two neighbours. The published preprocessing has strength 0.1 for values from 0 to 1,
            here ``0.1 * N``: so strong that little more than the values themselves is left.

    Returns:
        ``(..., N)`` float32, (rank - 1/2) / N.
    """
    count = values.shape[-1]
    low, high = values.amin(dim=-1, keepdim=True), values.amax(dim=-1, keepdim=True)
    spread = (values.double() - low) / (high - low) * count
    return ((soft_ranks(spread, strength) - 0.5) / count).float()


class _SoftRanks(torch.autograd.Function):
    """Forward: projection onto the permutahedron. Backward: less the mean of each pooled block."""

    @staticmethod
    def forward(ctx, values: Tensor, strength: float) -> Tensor:  # type: ignore[no-untyped-def]
        count = values.shape[-1]
        ordered, order = (values.detach() / strength).reshape(-1, count).sort(descending=True)
        steps = torch.arange(count, 0, -1, device=values.device, dtype=ordered.dtype)
        blocks = _decreasing_blocks((ordered - steps).double().cpu().numpy())
        block = torch.from_numpy(blocks).to(values.device)
        ctx.save_for_backward(order, block)
        ctx.strength = strength
        found = ordered - _block_means(ordered - steps, block)
        return torch.empty_like(found).scatter_(1, order, found).reshape(values.shape)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        order, block = ctx.saved_tensors
        ordered = gradient.reshape(order.shape).gather(1, order)
        found = (ordered - _block_means(ordered, block)) / ctx.strength
        return torch.empty_like(found).scatter_(1, order, found).reshape(gradient.shape), None


def _block_means(rows: Tensor, block: Tensor) -> Tensor:
    """Each element replaced by the mean of its block of its row."""
    total, size = torch.zeros_like(rows), torch.zeros_like(rows)
    total.scatter_add_(1, block, rows)
    size.scatter_add_(1, block, torch.ones_like(rows))
    return (total / size.clamp_min(1)).gather(1, block)


def _decreasing_blocks(rows: np.ndarray) -> np.ndarray:
    """Numbers of the blocks over which the closest non-increasing sequence is constant."""
    return np.stack([_blocks_of_one(row.tolist()) for row in rows])


def _blocks_of_one(row: list[float]) -> np.ndarray:
    """Pool adjacent violators: a block that exceeds the one before it joins it."""
    sums: list[float] = []
    sizes: list[int] = []
    for value in row:
        total, size = value, 1
        while sums and sums[-1] * size <= total * sizes[-1]:
            total += sums.pop()
            size += sizes.pop()
        sums.append(total)
        sizes.append(size)
    return np.repeat(np.arange(len(sizes)), sizes)
