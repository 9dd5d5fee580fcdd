"""KNIFE: Gaussian mixtures trained by gradient, all fits in the same products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lsmi.density.coordinates import padded
from lsmi.density.descent import Model
from lsmi.density.family import Rows
from lsmi.density.starts import assignments
from lsmi.density.trained import TrainedFamily
from lsmi.discriminators import MOMENTS

SMALLEST_VARIANCE = 1e-3  # of a component at the start, in units of the fit's coordinates
POOLED_ROWS = 10  # by which a cluster's variances are drawn towards those of all clusters
STARTS, K_MEANS_ROUNDS = 4, 10


def knife_log_density(
    x: Tensor, means: Tensor, log_scales: Tensor, lower: Tensor, log_weights: Tensor
) -> Tensor:
    """Log density of a mixture of ``K`` Gaussians in KNIFE's form (Pichler et al., ICML 2022).

    With ``e = (x - mean_k) * exp(log_scale_k)`` and ``z = e + L_k e``, ``L_k`` strictly lower
    triangular, component ``k`` has density ``N(z; 0, I) * exp(sum log_scale_k)``: any precision
    matrix can be written so.

    Args:
        x: ``(..., N, D)``.
        means: ``(..., K, D)``.
        log_scales: ``(..., K, D)``, logs of *inverse* scales. The published code bounds them by
            a tanh, which a scale outside [1/e, e] cannot pass; here they are free.
        lower: ``(..., K, D, D)``; the diagonal and what is above it are ignored.
        log_weights: ``(..., K)``, not necessarily normalised.

    Returns:
        ``(..., N)`` in nats.
    """
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    factor = (eye + torch.tril(lower, -1)) * log_scales.exp().unsqueeze(-2)
    offset = (factor @ means.unsqueeze(-1)).squeeze(-1)
    # of all components in one product, which is several times faster than one for each
    z = x @ factor.flatten(-3, -2).transpose(-2, -1) - offset.flatten(-2).unsqueeze(-2)
    z = z.unflatten(-1, means.shape[-2:])
    inside = log_scales.sum(-1) + torch.log_softmax(log_weights, -1)
    exponents = inside.unsqueeze(-2) - 0.5 * z.square().sum(-1)
    return torch.logsumexp(exponents, -1) - 0.5 * x.shape[-1] * math.log(2 * math.pi)


@dataclass(frozen=True, kw_only=True)
class Knife(TrainedFamily):
    """KNIFE, started from the data and trained by gradient; its candidates are moments.

    What is not listed here is as in :class:`~lsmi.density.trained.TrainedFamily`.

    Attributes:
        components: ``K``.

    Note:
        The published code starts from noise (standard normal means and factors) in whatever
        units the features have and is read after a fixed number of epochs; 5 to 50 nats too high
        in 16 to 40 dimensions. This one whitens, starts with a diagonal Gaussian at each
        centre of a k-means clustering and is stopped by held-out likelihood.
    """

    title = "KNIFE"
    word = "knife"
    most_moments = MOMENTS

    components: int = 5
    rate: float = 3e-2

    def start(self, inputs: Tensor, fits: Sequence[Rows]) -> Model:
        """A Gaussian at each centre of a k-means clustering."""
        start = _start(inputs, fits, self.components, self.seed)
        parameters = [part.float().to(self.device).requires_grad_() for part in start]
        return Model(lambda rows: knife_log_density(rows, *parameters), parameters)


def _start(inputs: Tensor, fits: Sequence[Rows], components: int, seed: int) -> list[Tensor]:
    """Means, log inverse scales, lower factors and log weights, each with ``F`` in front."""
    rows, weight = padded(fits)
    x = inputs.gather(1, rows.unsqueeze(-1).expand(-1, -1, inputs.shape[-1]))
    count = min(components, *(len(part) for part in fits))
    member = assignments(x, weight, count, STARTS, seed, rounds=K_MEANS_ROUNDS)
    sizes = member.sum(-1, keepdim=True)
    means = _mean(member, x, sizes)
    within = (_mean(member, x.square(), sizes) - means.square()).clamp_min(0)
    best = torch.arange(len(fits)), (sizes * within).sum(dim=(2, 3)).argmin(1)
    sizes, means, within = sizes[best], means[best], within[best]
    # a small cluster's variances are drawn towards those of all clusters
    pooled = (within * sizes).sum(1, keepdim=True) / sizes.sum(1, keepdim=True)
    variances = (within * sizes + POOLED_ROWS * pooled) / (sizes + POOLED_ROWS)
    scales = -0.5 * variances.clamp_min(SMALLEST_VARIANCE).log()
    lower = torch.zeros(*means.shape, means.shape[-1])
    return [means, scales, lower, sizes.clamp_min(1e-3).log().squeeze(-1)]


def _mean(member: Tensor, x: Tensor, sizes: Tensor) -> Tensor:
    """``(F, R, K, D)`` means of the members' rows."""
    sums = (member.flatten(1, 2) @ x).view(*member.shape[:3], -1)
    return sums / sizes.clamp_min(1)
