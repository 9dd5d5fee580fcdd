"""Expectation maximisation of Gaussian mixtures, all jobs and starts in the same products.

A fit is one job, or one for each group of its rows. The E-step is one matrix product of the rows'
products ``[1, x, q(x)]`` with the components' coefficients, the M-step one of the
responsibilities with the same products (:mod:`lsmi.density.covariances`). Where all components
share one covariance, ``q(x)`` adds the same to all of them and its mean is known beforehand:
there the products are ``[1, x]`` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lsmi.density.covariances import (
    Gaussians,
    Kind,
    free_numbers,
    linear_form,
    products,
    relative_size,
    unit,
)
from lsmi.density.starts import assignments

TINY = 1e-12  # rows; what is divided by the weight of a component without rows
START_ROWS = 2048  # rows that starts are compared on, at most
START_ROUNDS = 10


@dataclass(frozen=True)
class Effort:
    """How long the components are sought.

    Attributes:
        starts: k-means++ starts, of which the most likely one is continued.
        rounds: of expectation maximisation, at most.
        tolerance: nats a row; a round that gains less is the last.
    """

    starts: int = 4
    rounds: int = 100
    tolerance: float = 1e-4


THOROUGH = Effort()
QUICK = Effort(starts=2, rounds=20, tolerance=1e-3)
"""Enough to rank forms: on Gaussian mixtures in 10 dimensions it chose as the full effort did."""


@dataclass(frozen=True)
class Fitting:
    """How mixtures are fitted.

    Attributes:
        kind: of covariance.
        shared: one covariance for all components.
        components: ``K`` of each group.
        floor: variance that is added to all coordinates.
        shrinkage: a component's covariance is drawn towards the one pooled over components as if
            by ``shrinkage`` times the rows that it takes to determine a covariance of its form.
        effort: starts, rounds and when to end.
        seed: of the starts.
    """

    kind: Kind
    shared: bool
    components: int
    floor: float = 1e-4
    shrinkage: float = 1.0
    effort: Effort = THOROUGH
    seed: int = 0


@dataclass(frozen=True)
class _Data:
    """What is the same in all rounds.

    Attributes:
        terms: ``(J, P, n)`` products of the rows: ``[1, x]`` or ``[1, x, q(x)]``.
        weight: ``(J, n)``, sums to 1 over the jobs of a fit.
        total: ``(J, Q)`` sum of weighted ``q(x)``.
        sizes: ``(F,)`` rows of each fit.
    """

    terms: Tensor
    weight: Tensor
    total: Tensor
    sizes: Tensor

    @property
    def groups(self) -> int:
        """``G``: jobs of a fit."""
        return len(self.weight) // len(self.sizes)


def fit_gaussians(x: Tensor, weight: Tensor, groups: int, how: Fitting) -> Gaussians:
    """Mixtures of ``G * K`` Gaussians; a row belongs to one of the ``K`` of its group.

    With one group it is a mixture model; with the labels as groups it is a class-conditional
    one, fitted to log p(x, y).

    Args:
        x: ``(J, n, D)`` of about unit scale, centred: rows of ``J = F * G`` jobs, those of a
            fit's groups one after the other.
        weight: ``(J, n)``, 1 or, for rows that fill up a job, 0.
        groups: ``G``.
        how: form and effort.

    Returns:
        Components of the ``F`` fits, those of group 0 first; weights sum to 1 over all. A group
        without rows has Gaussians around the mean of all rows.
    """
    data = _prepare(x, weight, groups, how)
    if how.components == 1:
        model = _maximise(data, data.weight[:, None, None], how)
    else:
        few = _some_rows(weight, how.seed)
        some = x.gather(1, few.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
        model = _start(some, weight.gather(1, few), groups, how)
        model, _ = _rounds(data, model, how.effort.rounds, how)
    if how.shared:
        spreads = model.spreads[::groups, 0]
    else:
        spreads = _by_fit(model.spreads, groups).flatten(1, 3)
    means = _by_fit(model.means, groups).flatten(1, 3)
    return Gaussians(_by_fit(model.log_weights, groups).flatten(1), means, spreads)


def _by_fit(values: Tensor, groups: int) -> Tensor:
    """``(J, ...)`` to ``(F, G, ...)``."""
    return values.unflatten(0, (-1, groups))


def _prepare(x: Tensor, weight: Tensor, groups: int, how: Fitting) -> _Data:
    pairs = products(x, how.kind)
    sizes = _by_fit(weight, groups).sum(dim=(1, 2))
    share = weight / sizes.repeat_interleave(groups).unsqueeze(1)
    parts = [torch.ones_like(x[..., :1]), x, *([] if how.shared else [pairs])]
    return _Data(
        terms=torch.cat(parts, -1).transpose(1, 2).contiguous(),
        weight=share,
        total=(share.unsqueeze(1) @ pairs).squeeze(1),
        sizes=sizes,
    )


def _start(x: Tensor, weight: Tensor, groups: int, how: Fitting) -> Gaussians:
    """The start that is most likely after a few rounds; ``R`` is 1."""
    data = _prepare(x, weight, groups, how)
    member = assignments(x, weight, how.components, how.effort.starts, how.seed)
    model = _maximise(data, member * data.weight[:, None, None], how)
    model, likelihood = _rounds(data, model, START_ROUNDS, how)
    if how.shared:  # a start's covariance is made by all groups, so they are chosen together
        likelihood = _by_fit(likelihood, groups).sum(1).repeat_interleave(groups, dim=0)
    best = torch.arange(len(x)), likelihood.argmax(1)
    parts = (model.log_weights, model.means, model.spreads)
    return Gaussians(*(part[best].unsqueeze(1) for part in parts))


def _rounds(data: _Data, model: Gaussians, most: int, how: Fitting) -> tuple[Gaussians, Tensor]:
    """Rounds until no fit gains more than the tolerance; the model and its likelihoods.

    A fit that has gained less stays as it is: what becomes of it does not depend on the others.
    """
    shares, likelihood = _expect(data, model, how)
    moving = torch.ones_like(likelihood, dtype=torch.bool)
    for _ in range(most):
        after = _where(moving, _maximise(data, shares, how), model)
        shares, reached = _expect(data, after, how)
        gain = _by_fit(reached - likelihood, data.groups).sum(1) >= how.effort.tolerance
        moving = moving & gain.repeat_interleave(data.groups, dim=0)
        model, likelihood = after, reached
        if not bool(moving.any()):
            break
    return model, likelihood


def _where(moving: Tensor, new: Gaussians, old: Gaussians) -> Gaussians:
    mask = moving[:, :, None]
    return Gaussians(
        torch.where(mask, new.log_weights, old.log_weights),
        torch.where(mask.unsqueeze(-1), new.means, old.means),
        torch.where(mask.unsqueeze(-1), new.spreads, old.spreads),
    )


def _expect(data: _Data, model: Gaussians, how: Fitting) -> tuple[Tensor, Tensor]:
    """Responsibilities times weights, ``(J, R, K, n)``, and log likelihoods ``(J, R)``.

    The likelihoods of a fit's jobs sum to its mean log p(x), or log p(x, group).
    """
    a, b, c = linear_form(model, how.kind)
    parts = [c.unsqueeze(-1), b, *([] if how.shared else [a])]
    logs = torch.bmm(torch.cat(parts, -1).flatten(1, 2), data.terms).view(*c.shape, -1)
    top = logs.amax(2, keepdim=True)
    shares = logs.sub_(top).exp_()
    sums = shares.sum(2, keepdim=True)
    weight = data.weight[:, None, None]
    likelihood = ((top + sums.log()) * weight).sum(dim=(2, 3))
    if how.shared:
        likelihood = likelihood + (a.squeeze(2) * data.total.unsqueeze(1)).sum(-1)
    return shares.mul_(weight / sums), likelihood


def _maximise(data: _Data, shares: Tensor, how: Fitting) -> Gaussians:
    """The components that the rows' shares ask for."""
    moments = torch.bmm(shares.flatten(1, 2), data.terms.transpose(1, 2))
    moments = moments.view(*shares.shape[:3], -1)
    dimensions = data.terms.shape[1] - 1 - (0 if how.shared else data.total.shape[-1])
    weights = moments[..., :1]
    scaled = moments / weights.clamp_min(TINY)
    means = scaled[..., 1 : 1 + dimensions]
    total = _over_groups(data.total[:, None, None], data.groups)
    floor = how.floor * unit(dimensions, how.kind)
    if how.shared:
        spreads = total - _over_groups(weights * products(means, how.kind), data.groups) + floor
    else:
        own = scaled[..., 1 + dimensions :] - products(means, how.kind)
        own = torch.where(weights > 0, _shrunk(own, weights, data, how), total)
        spreads = own + floor
    return Gaussians(weights.clamp_min(TINY).log().squeeze(-1), means, spreads)


def _over_groups(values: Tensor, groups: int) -> Tensor:
    """Sum over a fit's jobs and components: ``(J, R, K, Q)`` to ``(J, R, 1, Q)``."""
    sums = _by_fit(values, groups).sum(dim=(1, 3)).unsqueeze(2)
    return sums.repeat_interleave(groups, dim=0)


def _shrunk(own: Tensor, weights: Tensor, data: _Data, how: Fitting) -> Tensor:
    """Covariances drawn towards the shape of the pooled one, at about their own size.

    The size is the component's own but for one row: a narrow cluster is not widened by broad
    ones, and one of few rows does not shrink to a point.
    """
    if how.shrinkage == 0:
        return own
    dimensions = data.terms.shape[1] - 1 - own.shape[-1]
    pooled = _over_groups(weights * own, data.groups)
    pooled = pooled + how.floor * unit(dimensions, how.kind)
    counts = weights * data.sizes.repeat_interleave(data.groups)[:, None, None, None]
    size = relative_size(own, pooled, dimensions, how.kind)
    target = pooled * (counts * size + 1) / (counts + 1)
    rows = how.shrinkage * free_numbers(dimensions, how.kind) / dimensions
    return (counts * own + rows * target) / (counts + rows)


def _some_rows(weight: Tensor, seed: int) -> Tensor:
    """``(J, m)`` positions of rows at random, those that count first."""
    size = weight.shape[1]
    order = torch.arange(size)
    if size > START_ROWS:
        order = torch.from_numpy(np.random.default_rng(seed).permutation(size))
    filled = torch.argsort(1 - weight[:, order], dim=1, stable=True)
    return order[filled[:, :START_ROWS]]
