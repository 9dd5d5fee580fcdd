"""Relations beyond Gaussians and copulas: noisy functions, steps, blocks, closed curves."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mimrl.mi.infonet.drawing import Source
from mimrl.mi.infonet.mixtures import Mixtures

Drawn = tuple[Tensor, Tensor, Tensor]
"""x, y and the log ratio, ``(B, N)`` each."""
FINE = 400
"""Points of the integrals over x, and of the grid of y that they are taken on."""
ON_CURVE = 32
"""Gaussians along a closed curve."""


def functions(batch: int, count: int, source: Source) -> Drawn:
    """A random smooth function of a uniform x, with Gaussian noise of random strength.

    The density of y is integrated over x by the midpoint rule and interpolated in y.
    """
    shape = _function(batch, source)
    x = source.between(-1, 1, batch, count)
    scale = source.between(math.log(0.05), math.log(2.0), batch, 1).exp()
    noise = source.normal(batch, count)
    y = shape(x) + scale * noise
    middle = (torch.arange(FINE, device=x.device, dtype=x.dtype) + 0.5) / FINE * 2 - 1
    values = shape(middle.expand(batch, FINE))
    low, high = y.amin(dim=1, keepdim=True), y.amax(dim=1, keepdim=True)
    knots = low + (high - low) * torch.linspace(0, 1, FINE, device=x.device, dtype=x.dtype)
    away = ((knots[:, :, None] - values[:, None]) / scale[:, :, None]).float()
    log_density = (-0.5 * away.square()).logsumexp(dim=2).to(x.dtype) - math.log(FINE)
    place = (y - low) / (high - low) * (FINE - 1)
    lower = place.floor().clamp(0, FINE - 2)
    left, right = (log_density.gather(1, lower.long() + step) for step in (0, 1))
    return x, y, -0.5 * noise.square() - (left + (place - lower) * (right - left))


def uniform_noise(batch: int, count: int, source: Source) -> Drawn:
    """A random function of a uniform x with uniform noise: sharp edges, and gaps for weak noise.

    One in two is y = x + noise. The density of y is the share of x whose value lies within the
    noise of y, over its width.
    """
    smooth = _function(batch, source)
    straight = source.uniform(batch, 1) < 0.5

    def shape(x: Tensor) -> Tensor:
        return torch.where(straight, x, smooth(x))

    x = source.between(-1, 1, batch, count)
    scale = source.between(math.log(0.04), math.log(2.0), batch, 1).exp()
    y = shape(x) + scale * source.between(-1, 1, batch, count)
    points = 16 * FINE
    middle = (torch.arange(points, device=x.device, dtype=x.dtype) + 0.5) / points * 2 - 1
    values = shape(middle.expand(batch, points)).sort(dim=1).values
    below, above = (torch.searchsorted(values, y + sign * scale) for sign in (-1, 1))
    share = (above - below).clamp_min(1).to(x.dtype) / points
    return x, y, -share.log()


def blocks(batch: int, count: int, source: Source) -> Drawn:
    """Rectangular blocks of constant density: checkerboards, steps, random tables."""
    rows, columns = (2 + int(7 * source.uniform(1)) for _ in range(2))
    even = torch.arange(rows, device=source.device)[:, None]
    even = (even + torch.arange(columns, device=source.device)) % 2 == 0
    contrast = source.between(0, 1, batch, 1, 1)
    board = torch.where(even, 1.0, contrast.square())
    power = source.between(0.3, 4, batch, 1, 1)
    table = source.exponential(batch, rows, columns) ** power
    drawn = torch.where(source.uniform(batch, 1, 1) < 0.3, board, table)
    drawn = drawn / drawn.sum(dim=(1, 2), keepdim=True)
    cell = source.choice(drawn.flatten(1), count)
    x = cell // columns + source.uniform(batch, count)
    y = cell % columns + source.uniform(batch, count)
    ratio = drawn / (drawn.sum(dim=1, keepdim=True) * drawn.sum(dim=2, keepdim=True))
    return x, y, ratio.flatten(1).gather(1, cell).log()


def noisy_curves(batch: int, source: Source) -> Mixtures:
    """Equal Gaussians along random closed curves, not much narrower than their distance.

    Returns:
        Curves with one to three waves in each coordinate, an ellipse where both have one.
    """
    waves = torch.ceil(3 * source.uniform(batch, 2, 1))
    phase = 2 * math.pi * source.uniform(batch, 2, 1)
    angle = torch.arange(ON_CURVE, device=source.device) * (2 * math.pi / ON_CURVE)
    mean = torch.sin(waves * angle + phase).transpose(1, 2)
    steps = (mean - mean.roll(1, dims=1)).norm(dim=2).amax(dim=1)
    variance = (0.4 * steps * (1 + 2 * source.uniform(batch).square())).square()
    covariance = variance[:, None, None, None] * torch.eye(2, device=mean.device)
    weight = torch.full((batch, ON_CURVE), 1 / ON_CURVE, device=mean.device)
    return Mixtures(weight, mean, covariance.expand(batch, ON_CURVE, 2, 2))


class _function:  # noqa: N801  (used as a function that draws a function)
    """Sums of a line, a parabola and two waves, scaled to variance 1 over [-1, 1]."""

    def __init__(self, batch: int, source: Source) -> None:
        weight = source.normal(batch, 4) * (source.uniform(batch, 4) < 0.5)
        weight[:, 0] += (weight == 0).all(dim=1)
        self.weight = weight
        self.speed = source.between(1.0, 12.0, batch, 2)
        self.phase = source.between(0, 2 * math.pi, batch, 2)
        grid = torch.linspace(-1, 1, 201, device=weight.device, dtype=weight.dtype)
        raw = self._raw(grid.expand(batch, 201))
        self.scale = raw.std(dim=1, keepdim=True).clamp_min(1e-6)

    def __call__(self, x: Tensor) -> Tensor:
        return self._raw(x) / self.scale

    def _raw(self, x: Tensor) -> Tensor:
        total = self.weight[:, :1] * x + self.weight[:, 1:2] * x.square()
        for wave in (0, 1):
            inner = self.speed[:, wave, None] * x + self.phase[:, wave, None]
            total = total + self.weight[:, 2 + wave, None] * torch.sin(inner)
        return total
