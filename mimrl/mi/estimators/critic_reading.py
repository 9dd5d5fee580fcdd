"""A trained critic read on rows that it was not fitted on, pair by pair.

Where a critic scores all combinations cheaply, the product p(x) p(y) is represented by all
combinations of the rows read (N^2 of them, in groups of at most :data:`GROUP` rows); where each
combination costs a call of the network, by :data:`SHIFTS` cyclic shifts of y against x.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mimrl.errors import EstimationError
from mimrl.mi import bounds
from mimrl.mi.critics import ConcatenatedCritic, Critic
from mimrl.mi.estimators.crossfitting import LogRatio
from mimrl.mi.estimators.features import Features
from mimrl.mi.estimators.interface import Floats
from mimrl.mi.estimators.samples import Pair
from mimrl.mi.estimators.started import StartedCritic
from mimrl.mi.objectives import Dv, InfoNce, Interpolated, Mine, Smile
from mimrl.mi.variational import VariationalMI

GROUP = 4096
SHIFTS = 64
CONCATENATED_GROUP = 512
ROWS_AT_A_TIME = 64


@dataclass(frozen=True)
class CriticRatio(LogRatio):
    """The reading of a bound.

    Attributes:
        model: critic and bound, in evaluation mode.
        features: what the critic sees of x and y.
        group: rows scored against each other at most; it is the B of InfoNCE's ceiling log B.
    """

    model: VariationalMI
    features: Features
    group: int

    def pointwise(self, pair: Pair) -> Floats:
        """``(N,)`` in nats; the mean is the bound's value on these rows."""
        x, y = tensors(self.features(pair), self.model)
        values: Floats = read_pointwise(self.model, x, y, self.group).cpu().numpy()
        return values


@dataclass(frozen=True)
class ProductMean:
    """``log E[e^ratio]`` over product samples.

    Attributes:
        log_mean: 0-d, in nats.
        relative_error: standard error of the mean of e^ratio over rows of x, as a share of it.
    """

    log_mean: Tensor
    relative_error: float


def tensors(pair: Pair, model: torch.nn.Module) -> tuple[Tensor, Tensor]:
    """Both variables as the model takes them."""
    like = next(model.parameters())
    return torch.from_numpy(pair.x).to(like), torch.from_numpy(pair.y).to(like)


def default_group(critic: Critic) -> int:
    """Rows scored against each other when a bound asks for a matrix of scores."""
    return CONCATENATED_GROUP if _costly(critic) else GROUP


@torch.no_grad()
def read_pointwise(model: VariationalMI, x: Tensor, y: Tensor, group: int) -> Tensor:
    """What each pair adds to the bound's value, in nats.

    For InfoNCE and the interpolated bound these are the terms of their sums over pairs, in groups
    of rows; for all others the critic's log ratio less the bound's normaliser, which is one number
    for all rows.

    Args:
        model: critic and bound.
        x: ``(N, dx)``.
        y: ``(N, dy)``.
        group: rows scored against each other, at most.

    Returns:
        ``(N,)`` float64.

    Raises:
        EstimationError: fewer than two rows.
    """
    if len(x) < 2:
        raise EstimationError(f"a bound is read on two or more rows, got {len(x)}")
    bound = model.bound
    if isinstance(bound, InfoNce | Interpolated):
        return _by_group(model, x, y, group)
    ratios = bound.ratios(model.critic.paired(x, y), y).double()
    log_mean = product_mean(model, x, y).log_mean
    if isinstance(bound, Dv | Mine | Smile):
        return ratios - log_mean
    return ratios + 1 - log_mean.exp()


@torch.no_grad()
def product_mean(model: VariationalMI, x: Tensor, y: Tensor) -> ProductMean:
    """The mean of e^ratio over product samples; of clipped ratios for SMILE."""
    bound = model.bound
    clip = bound.clip if isinstance(bound, Smile) else math.inf
    parts = [part.double().clamp(-clip, clip) for part in _product_ratios(model, x, y)]
    means = torch.cat([part.logsumexp(1) - math.log(part.shape[1]) for part in parts])
    log_mean = means.logsumexp(0) - math.log(len(means))
    spread = (means - log_mean).exp().std(correction=0) / math.sqrt(len(means))
    return ProductMean(log_mean, float(spread))


def score_matrix(critic: Critic, x: Tensor, y: Tensor) -> Tensor:
    """Scores of all combinations, a few rows at a time where each is a call of the network."""
    if not _costly(critic):
        return critic.scores(x, y)
    return torch.cat([critic.scores(rows, y) for rows in x.split(ROWS_AT_A_TIME)])


def groups(size: int, most: int) -> list[Tensor]:
    """Row numbers of groups of about equal size; neighbouring rows fall into different groups."""
    count = min(max(1, math.ceil(size / most)), size // 2)
    return [torch.arange(first, size, count) for first in range(count)]


def _by_group(model: VariationalMI, x: Tensor, y: Tensor, group: int) -> Tensor:
    values = torch.empty(len(x), dtype=torch.float64, device=x.device)
    for rows in groups(len(x), group):
        rows = rows.to(x.device)
        scores = score_matrix(model.critic, x[rows], y[rows]).double()
        if isinstance(model.bound, Interpolated):
            baseline = model.bound.baseline(y[rows]).double()
            values[rows] = bounds.interpolated_pointwise(scores, baseline, model.bound.alpha)
        else:
            values[rows] = bounds.infonce_pointwise(scores)
    return values


def _product_ratios(model: VariationalMI, x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """Blocks ``(rows, samples)`` of log ratios of combinations that were not drawn together."""
    critic, bound = model.critic, model.bound
    if _costly(critic):
        shifts = range(1, min(SHIFTS, len(x) - 1) + 1)
        shifted = [y.roll(shift, dims=0) for shift in shifts]
        yield torch.stack([bound.ratios(critic.paired(x, other), other) for other in shifted], 1)
        return
    for rows in groups(len(x), GROUP):
        rows = rows.to(x.device)
        ratios = bound.ratios(critic.scores(x[rows], y[rows]), y[rows])
        yield bounds.off_diagonal(ratios).reshape(len(rows), -1)


def _costly(critic: Critic) -> bool:
    inner = critic.critic if isinstance(critic, StartedCritic) else critic
    return isinstance(inner, ConcatenatedCritic)


def log_rows(size: int) -> float:
    """``log size``, the largest log ratio that so many rows can support."""
    return float(np.log(size))
