"""Synthetic pairs whose mutual information is known, to train and to check InfoNet with.

Every family gives samples and, at each sample, the exact log ratio p(x, y) / (p(x) p(y)). Its mean
over samples that the network does not see is the truth where no closed form is at hand. Only ranks
reach the network, so the scale of x and y is of no account.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mimrl.mi.infonet import copulas, relations
from mimrl.mi.infonet.drawing import Source
from mimrl.mi.infonet.mixtures import Mixtures, random_mixtures


@dataclass(frozen=True)
class Pairs:
    """Samples of B distributions.

    Attributes:
        x: ``(B, N)`` samples.
        y: ``(B, N)``, paired with x.
        log_ratio: ``(B, N)`` log p(x, y) / (p(x) p(y)) at the samples, nats.
    """

    x: Tensor
    y: Tensor
    log_ratio: Tensor


Family = Callable[[int, int, Source], Pairs]
"""Number of distributions, samples of each, random numbers -> pairs."""


def gaussian_mixtures(batch: int, count: int, source: Source) -> Pairs:
    """Mixtures of 1 to 20 Gaussians as the published network was trained on; few are likelier.

    Means uniform in [-5, 5], weights from a flat Dirichlet, covariances as in
    :func:`~mimrl.mi.infonet.mixtures.random_mixtures`.
    """
    components = 1 + int(20 * source.uniform(1).square())
    return _from_mixtures(random_mixtures(batch, components, source), count, source)


def curves(batch: int, count: int, source: Source) -> Pairs:
    """Noise around random closed curves (ellipses, figures of eight, knots)."""
    return _from_mixtures(relations.noisy_curves(batch, source), count, source)


def independent(batch: int, count: int, source: Source) -> Pairs:
    """Two unrelated columns."""
    x, y = source.uniform(2, batch, count)
    return Pairs(x, y, torch.zeros_like(x))


def _from_mixtures(mixtures: Mixtures, count: int, source: Source) -> Pairs:
    x, y = mixtures.sample(count, source)
    return Pairs(x, y, mixtures.log_ratio(x, y))


def _as_family(draw: Callable[[int, int, Source], tuple[Tensor, Tensor, Tensor]]) -> Family:
    def family(batch: int, count: int, source: Source) -> Pairs:
        return Pairs(*draw(batch, count, source))

    return family


FAMILIES: dict[str, Family] = {
    "gaussian_mixtures": gaussian_mixtures,
    "independent": independent,
    "gaussian": _as_family(copulas.gaussian),
    "student": _as_family(copulas.student),
    "clayton": _as_family(copulas.clayton),
    "gumbel": _as_family(copulas.gumbel),
    "frank": _as_family(copulas.frank),
    "functions": _as_family(relations.functions),
    "uniform_noise": _as_family(relations.uniform_noise),
    "blocks": _as_family(relations.blocks),
    "curves": curves,
}
"""All families by name."""

SHARES = {
    "gaussian_mixtures": 0.5,
    "independent": 0.07,
    "gaussian": 0.08,
    "student": 0.05,
    "clayton": 0.03,
    "gumbel": 0.03,
    "frank": 0.03,
    "functions": 0.07,
    "uniform_noise": 0.04,
    "blocks": 0.06,
    "curves": 0.04,
}
"""How often training draws a family; the shares sum to 1."""

GROUP = 4
"""Distributions of one family that are drawn together."""


def draw_pairs(batch: int, count: int, source: Source) -> Pairs:
    """Pairs of random families.

    Args:
        batch: number of distributions, a multiple of 4: so many are of one family each time.
        count: samples of each.
        source: of all random numbers.

    Returns:
        The pairs, in float32.
    """
    names = list(SHARES)
    limits = torch.tensor([SHARES[name] for name in names], dtype=torch.float64).cumsum(0)
    groups = []
    for _ in range(batch // GROUP):
        place = float(source.uniform(1)) * float(limits[-1])
        name = names[min(int((limits < place).sum()), len(names) - 1)]
        groups.append(FAMILIES[name](GROUP, count, source))
    columns = (torch.cat([getattr(g, f).float() for g in groups]) for f in ("x", "y", "log_ratio"))
    return Pairs(*columns)


def draw_size(least: int, most: int, source: Source) -> int:
    """A number of samples between two, uniform in its logarithm."""
    low, high = math.log(least), math.log(most)
    return round(math.exp(low + (high - low) * float(source.uniform(1))))
