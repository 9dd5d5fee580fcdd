"""Copulas with closed densities: samples of the unit square and the log of the density at them.

For a copula the log ratio p(x, y) / (p(x) p(y)) is the log of its density. Formulas: Nelsen, An
Introduction to Copulas, 2006, chapter 4, and Joe, Dependence Modeling with Copulas, 2014. Only
positive dependence is drawn: the network does not see the difference.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mimrl.mi.infonet.drawing import Source

Drawn = tuple[Tensor, Tensor, Tensor]
"""x, y and the log ratio, ``(B, N)`` each."""
MOST = 4.0
"""Mutual information of a Gaussian copula, at most, nats."""


def gaussian(batch: int, count: int, source: Source) -> Drawn:
    """Correlated Gaussians whose information is uniform between 0 and 4 nats, or is small."""
    rho = _correlation(batch, source)
    x, noise = source.normal(2, batch, count)
    y = rho * x + (1 - rho.square()).sqrt() * noise
    rest = 1 - rho.square()
    square = (rho.square() * (x.square() + y.square()) - 2 * rho * x * y) / rest
    return x, y, -0.5 * (rest.log() + square)


def student(batch: int, count: int, source: Source) -> Drawn:
    """Correlated Student pairs of 1 to 8 degrees of freedom, uncorrelated ones among them."""
    rho = _correlation(batch, source)
    rho = torch.where(source.uniform(batch, 1) < 0.3, 0.0, rho)
    freedom = torch.ceil(8 * source.uniform(batch, 1))
    squares = source.normal(8, batch, count).square()
    counted = torch.arange(8, device=rho.device)[:, None, None] < freedom
    shrink = (freedom / (squares * counted).sum(dim=0)).sqrt()
    first, noise = source.normal(2, batch, count)
    x, y = shrink * first, shrink * (rho * first + (1 - rho.square()).sqrt() * noise)
    rest = 1 - rho.square()
    square = (x.square() + y.square() - 2 * rho * x * y) / rest
    joint = -(freedom / 2 + 1) * torch.log1p(square / freedom) - 0.5 * rest.log()
    alone = sum(-(freedom + 1) / 2 * torch.log1p(z.square() / freedom) for z in (x, y))
    constant = torch.lgamma(freedom / 2 + 1) + torch.lgamma(freedom / 2)
    return x, y, joint - alone + constant - 2 * torch.lgamma((freedom + 1) / 2)


def clayton(batch: int, count: int, source: Source) -> Drawn:
    """Dependence in one corner; Kendall's tau uniform between 0 and 0.9."""
    tau = source.between(0.0, 0.9, batch, 1)
    theta = 2 * tau / (1 - tau) + 1e-3
    u, w = source.uniform(2, batch, count)
    # v from its distribution given u, inverted
    inner = torch.log1p((torch.expm1(-theta / (1 + theta) * w.log())) * torch.exp(-theta * u.log()))
    v = torch.exp(-inner / theta)
    powers = _log_sum_minus_one(-theta * u.log(), -theta * v.log())
    density = torch.log1p(theta) - (1 + theta) * (u.log() + v.log()) - (2 + 1 / theta) * powers
    return u, v, density


def frank(batch: int, count: int, source: Source) -> Drawn:
    """Dependence along the diagonal without a peak in the corners; theta from 0.3 to 60."""
    theta = source.between(math.log(0.3), math.log(60.0), batch, 1).exp()
    u, w = source.uniform(2, batch, count)
    a = torch.exp(-theta * u)
    # v from its distribution given u, inverted
    given = torch.log(w * torch.exp(-theta) + (1 - w) * a) - torch.log(w + (1 - w) * a)
    v = -given / theta
    b = torch.exp(-theta * v)
    below = -a * torch.expm1(-theta * v) - b * torch.expm1(-theta * (1 - v))
    whole = -torch.expm1(-theta)
    return u, v, (theta * whole).log() - theta * (u + v) - 2 * below.log()


def gumbel(batch: int, count: int, source: Source) -> Drawn:
    """Dependence in the other corner; Kendall's tau uniform between 0 and 0.9.

    Sampled through a positive stable variable (Marshall and Olkin 1988; Chambers, Mallows and Stuck
    1976 for the variable).
    """
    theta = 1 / (1 - source.between(0.01, 0.9, batch, 1))
    angle = math.pi * source.uniform(batch, count)
    part = 1 / theta
    stable = (torch.sin(part * angle).log() - angle.sin().log() / part) + (1 / part - 1) * (
        torch.sin((1 - part) * angle).log() - source.exponential(batch, count).log()
    )
    a, b = ((source.exponential(batch, count).log() - stable) / theta for _ in range(2))
    a, b = a.exp().clamp_min(1e-12), b.exp().clamp_min(1e-12)  # -log u, -log v
    total = torch.logaddexp(theta * a.log(), theta * b.log())  # log of a^theta + b^theta
    radius = (total / theta).exp()
    density = (
        (theta - 1) * (a.log() + b.log())
        + (1 / theta - 2) * total
        + (radius + theta - 1).log()
        - radius
        + a
        + b
    )
    return -a, -b, density


def _correlation(batch: int, source: Source) -> Tensor:
    """Such that half of the pairs have 0 to 4 nats, uniformly, and half less than 1."""
    most = torch.where(source.uniform(batch, 1) < 0.5, MOST, 1.0)
    information = most * source.uniform(batch, 1)
    return (-torch.expm1(-2 * information)).sqrt()


def _log_sum_minus_one(a: Tensor, b: Tensor) -> Tensor:
    """Log of e^a + e^b - 1 for a, b >= 0."""
    larger, smaller = torch.maximum(a, b), torch.minimum(a, b)
    return larger + torch.log1p((smaller - larger).exp() - (-larger).exp())
