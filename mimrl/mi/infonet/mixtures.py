"""Mixtures of two-dimensional Gaussians: samples and exact log ratios."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mimrl.mi.infonet.drawing import Source


@dataclass(frozen=True)
class Mixtures:
    """B mixtures of K Gaussians in the plane.

    Attributes:
        weight: ``(B, K)``, rows sum to 1.
        mean: ``(B, K, 2)``.
        covariance: ``(B, K, 2, 2)``, positive definite.
    """

    weight: Tensor
    mean: Tensor
    covariance: Tensor

    def sample(self, count: int, source: Source) -> tuple[Tensor, Tensor]:
        """``(B, count)`` samples of x and of y, in float32."""
        chosen = source.choice(self.weight, count)
        first = self.covariance[..., 0, 0].sqrt()
        slope = self.covariance[..., 0, 1] / first
        rest = (self.covariance[..., 1, 1] - slope.square()).sqrt()

        def picked(values: Tensor) -> Tensor:
            return values.float().gather(1, chosen)

        noise_x, noise_y = source.normal(2, *chosen.shape, dtype=torch.float32)
        x = picked(self.mean[..., 0]) + picked(first) * noise_x
        y = picked(self.mean[..., 1]) + picked(slope) * noise_x + picked(rest) * noise_y
        return x, y

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """Log p(x, y) / (p(x) p(y)) at ``(B, N)`` points, nats."""
        column = (slice(None), slice(None), None)  # components before samples
        variance_x = self.covariance[..., 0, 0][column].to(x.dtype)
        variance_y = self.covariance[..., 1, 1][column].to(x.dtype)
        slope = self.covariance[..., 0, 1][column].to(x.dtype) / variance_x
        rest = variance_y - slope * self.covariance[..., 0, 1][column].to(x.dtype)
        away_x = x[:, None] - self.mean[..., 0][column].to(x.dtype)
        away_y = y[:, None] - self.mean[..., 1][column].to(x.dtype)
        weight = self.weight[column].to(x.dtype).log()
        along_x = weight + _log_normal(away_x, variance_x)
        along_y = weight + _log_normal(away_y, variance_y)
        joint = along_x + _log_normal(away_y - slope * away_x, rest)
        return joint.logsumexp(1) - along_x.logsumexp(1) - along_y.logsumexp(1)


def random_mixtures(batch: int, components: int, source: Source) -> Mixtures:
    """Mixtures as InfoNet's authors draw them.

    Args:
        batch: B.
        components: K.
        source: of the random numbers.

    Returns:
        Weights from a flat Dirichlet distribution; means uniform in [-5, 5]; each variance the sum
        of the squares of two numbers uniform in [-3, 3]; the covariance uniform between the bounds
        that the variances set; 0.01 added to both variances.
    """
    weight = source.exponential(batch, components)
    mean = source.between(-5, 5, batch, components, 2)
    variance = source.between(-3, 3, batch, components, 2, 2).square().sum(dim=-1)
    between = source.between(-1, 1, batch, components) * variance.prod(dim=-1).sqrt()
    covariance = torch.diag_embed(variance + 0.01)
    covariance[..., 0, 1] = covariance[..., 1, 0] = between
    return Mixtures(weight / weight.sum(dim=1, keepdim=True), mean, covariance)


def _log_normal(away: Tensor, variance: Tensor) -> Tensor:
    return -0.5 * (away.square() / variance + (2 * math.pi * variance).log())
