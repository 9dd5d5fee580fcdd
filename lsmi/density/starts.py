"""Starting points: greedy k-means++ and a few rounds of k-means, all jobs and starts at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

PROPOSALS = 3  # centres tried at each step of k-means++, of which the best is taken


def assignments(
    x: Tensor, weight: Tensor, count: int, starts: int, seed: int, rounds: int = 3
) -> Tensor:
    """Which of ``count`` clusters each row belongs to (Arthur and Vassilvitskii, 2007).

    Every job draws the same numbers, so that none depends on what else is fitted.

    Args:
        x: ``(J, n, D)``, the rows of each job.
        weight: ``(J, n)``; those of weight 0 do not count.
        count: ``K``.
        starts: ``R``.
        seed: of the draws.
        rounds: of k-means after k-means++.

    Returns:
        ``(J, R, K, n)``, 1 where a row belongs to the cluster and counts, else 0.
    """
    centres = _plus_plus(x, weight, count, starts, seed)
    for _ in range(rounds):
        member = _members(x, weight, centres)
        sizes = member.sum(-1, keepdim=True)
        moved = (member.flatten(1, 2) @ x).view(centres.shape) / sizes.clamp_min(1)
        centres = torch.where(sizes > 0, moved, centres)
    return _members(x, weight, centres)


def _members(x: Tensor, weight: Tensor, centres: Tensor) -> Tensor:
    nearest = _distances(x, centres).argmin(dim=2, keepdim=True)
    numbers = torch.arange(centres.shape[2])[:, None]
    return (nearest == numbers) * weight[:, None, None]


def _distances(x: Tensor, centres: Tensor) -> Tensor:
    """Squared distances ``(J, R, K, n)`` of the rows to ``(J, R, K, D)`` centres."""
    flat = centres.flatten(1, 2)
    found = torch.baddbmm(x.square().sum(-1).unsqueeze(1), flat, x.transpose(1, 2), alpha=-2)
    found += flat.square().sum(-1, keepdim=True)
    return found.clamp_min_(0).view(*centres.shape[:3], x.shape[1])


def _plus_plus(x: Tensor, weight: Tensor, count: int, starts: int, seed: int) -> Tensor:
    """Greedy k-means++ centres, ``(J, R, K, D)``."""
    jobs, size = weight.shape
    uniform = torch.from_numpy(np.random.default_rng(seed).random((count, starts, PROPOSALS)))
    weight = weight.unsqueeze(1).expand(jobs, starts, size)
    nearest, centres = torch.full_like(weight, torch.inf), []
    for k in range(count):
        chances, draws = weight, uniform[k, :, :1]
        if k > 0:
            chances = weight * nearest
            # where all rows lie on centres already, any of them will do
            chances = torch.where(chances.sum(-1, keepdim=True) > 0, chances, weight)
            draws = uniform[k]
        steps = chances.cumsum(-1)
        rows = torch.searchsorted(steps, draws * steps[..., -1:], right=True).clamp_max_(size - 1)
        proposed = x[torch.arange(jobs)[:, None], rows.flatten(1)].view(*rows.shape, -1)
        far = torch.minimum(_distances(x, proposed), nearest.unsqueeze(2))
        best = (far * weight.unsqueeze(2)).sum(-1).argmin(-1)[..., None, None]
        centres.append(proposed.gather(2, best.expand(-1, -1, 1, x.shape[-1])))
        nearest = far.gather(2, best.expand(-1, -1, 1, size)).squeeze(2)
    return torch.cat(centres, dim=2)
