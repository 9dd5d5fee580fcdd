"""KNIFE: mixtures of Gaussian kernels whose parameters are learned (Pichler et al., ICML 2022)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from mimrl.mi.densities.density import LOG_2_PI, Density, context_network


def kernel_log_density(
    v: Tensor, means: Tensor, log_scales: Tensor, lower: Tensor, log_weights: Tensor
) -> Tensor:
    """Log density of mixtures of ``K`` Gaussians, each row of its own mixture or of a common one.

    With ``e = (v - mean_k) * exp(log_scale_k)`` and ``z = e + L_k e``, ``L_k`` strictly lower
    triangular, component k has density ``N(z; 0, I) * exp(sum log_scale_k)``.

    Args:
        v: ``(N, D)``.
        means: ``(N or 1, K, D)``.
        log_scales: ``(N or 1, K, D)``, logs of inverse scales.
        lower: ``(K, D, D)``; the diagonal and what is above it are ignored.
        log_weights: ``(N or 1, K)``, not necessarily normalised.

    Returns:
        ``(N,)`` in nats.
    """
    scaled = (v.unsqueeze(1) - means) * log_scales.exp()
    bent = (scaled.transpose(0, 1) @ torch.tril(lower, -1).transpose(1, 2)).transpose(0, 1)
    inside = log_scales.sum(-1) + torch.log_softmax(log_weights, -1)
    exponents = inside - 0.5 * (scaled + bent).square().sum(-1)
    return torch.logsumexp(exponents, -1) - 0.5 * v.shape[1] * LOG_2_PI


class KernelMixture(Density):
    """A mixture of Gaussian kernels; with a context, a network moves, scales and weighs them.

    Args:
        means: ``(K, D)`` at the start; scales are 1 and weights equal there.
        hidden: width of the network of a context.

    Note:
        The published code bounds log scales by a tanh, which a scale outside [1/e, e] cannot pass,
        and starts from noise; here they are free, and the start is what the caller read from data.
    """

    def __init__(self, means: Tensor, *, hidden: int = 64) -> None:
        count, dimensions = means.shape
        super().__init__(dimensions)
        self.hidden = hidden
        self.means = nn.Parameter(means.clone())
        self.log_scales = nn.Parameter(torch.zeros(count, dimensions))
        self.lower = nn.Parameter(torch.zeros(count, dimensions, dimensions))
        self.log_weights = nn.Parameter(torch.zeros(count))
        self.network: nn.Module | None = None

    def conditioned(self, context: int) -> KernelMixture:
        """See :class:`~mimrl.mi.densities.density.Density`."""
        outputs = len(self.means) * (2 * self.dimensions + 1)
        mixture = copy.deepcopy(self)
        mixture.network = context_network(context, outputs, self.hidden).to(self.means)
        return mixture

    def forward(self, v: Tensor, u: Tensor | None = None) -> Tensor:
        """See :class:`~mimrl.mi.densities.density.Density`."""
        means, scales = self.means.unsqueeze(0), self.log_scales.unsqueeze(0)
        weights = self.log_weights.unsqueeze(0)
        if self.network is not None:
            moved = self.network(u).unflatten(1, (len(self.means), -1))
            by_mean, by_scale, by_weight = moved.split([self.dimensions, self.dimensions, 1], -1)
            means, scales = means + by_mean, scales + by_scale
            weights = weights + by_weight.squeeze(-1)
        return kernel_log_density(v, means, scales, self.lower, weights)
