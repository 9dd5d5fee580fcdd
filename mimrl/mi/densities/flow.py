"""A normalizing flow: autoregressive affine maps and splines, bent by a context.

A density needs one direction only, from the data to a standard normal, and in this direction all
coordinates of an autoregressive flow are computed at once (Papamakarios et al., 2017).
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from mimrl.mi.densities.density import LOG_2_PI, Density
from mimrl.mi.densities.spline import numbers_a_spline, rational_quadratic

BOUND = 4.0
"""Standard deviations within which the splines bend."""

LARGEST_LOG_SCALE = 4.0
"""Soft bound of the logs of the affine scales."""


class AutoregressiveLayer(nn.Module):
    """Every coordinate is shifted, scaled and bent as those before it and the context say.

    Args:
        dimensions: of v.
        hidden: units of the one hidden layer.
        bins: of a spline.
    """

    hears: Tensor
    tells: Tensor

    def __init__(self, dimensions: int, *, hidden: int, bins: int) -> None:
        super().__init__()
        self.outputs = numbers_a_spline(bins) + 2
        self.first = nn.Parameter(torch.randn(dimensions, hidden) / math.sqrt(dimensions))
        self.bias = nn.Parameter(torch.rand(hidden) * 2 - 1)
        self.bend: nn.Linear | None = None
        self.last = nn.Parameter(torch.zeros(hidden, dimensions, self.outputs))
        self.own = nn.Parameter(torch.zeros(dimensions, self.outputs))
        # unit k hears coordinates 0 .. d_k and speaks to those behind d_k; d_k = -1: context only
        coordinates = torch.arange(dimensions)
        latest = torch.arange(hidden) % dimensions - 1
        self.register_buffer("hears", (coordinates[:, None] <= latest).float())
        self.register_buffer("tells", (latest[:, None] < coordinates).float().unsqueeze(-1))

    def forward(self, v: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
        """``(N, D)`` mapped, and the log determinants ``(N,)``."""
        inside = v @ (self.first * self.hears) + self.bias
        if self.bend is not None and features is not None:
            inside = inside + self.bend(features)
        raw = torch.tanh(inside) @ (self.last * self.tells).flatten(1)
        raw = raw.unflatten(1, (v.shape[1], self.outputs)) + self.own
        shift, log_scale = raw[..., 0], raw[..., 1]
        log_scale = LARGEST_LOG_SCALE * torch.tanh(log_scale / LARGEST_LOG_SCALE)
        moved, log_slope = rational_quadratic((v - shift) * log_scale.exp(), raw[..., 2:], BOUND)
        return moved, (log_scale + log_slope).sum(1)


class SplineFlow(Density):
    """A standard normal behind autoregressive layers; at the start it is the standard normal.

    Args:
        dimensions: of v.
        transforms: layers; every second one runs through the coordinates backwards.
        hidden: units of a layer, and of the network of a context.
        bins: of a spline.
    """

    def __init__(
        self, dimensions: int, *, transforms: int = 2, hidden: int = 64, bins: int = 8
    ) -> None:
        super().__init__(dimensions)
        self.hidden = hidden
        self.features: nn.Module | None = None
        self.layers = nn.ModuleList(
            AutoregressiveLayer(dimensions, hidden=hidden, bins=bins) for _ in range(transforms)
        )

    def conditioned(self, context: int) -> SplineFlow:
        """See :class:`~mimrl.mi.densities.density.Density`."""
        flow = copy.deepcopy(self)
        like, hidden = next(self.parameters()), self.hidden
        flow.features = nn.Sequential(
            nn.Linear(context, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        ).to(like)
        for layer in flow.layers:
            layer.bend = nn.Linear(hidden, hidden, bias=False).to(like)
            nn.init.zeros_(layer.bend.weight)
        return flow

    def forward(self, v: Tensor, u: Tensor | None = None) -> Tensor:
        """See :class:`~mimrl.mi.densities.density.Density`."""
        z, log_volume = self.map(v, u)
        return log_volume - 0.5 * (z.square().sum(1) + self.dimensions * LOG_2_PI)

    def map(self, v: Tensor, u: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Where the flow takes v, ``(N, D)``, and the log determinants there, ``(N,)``."""
        features = None if self.features is None else self.features(u)
        log_volume = torch.zeros_like(v[:, 0])
        for layer in self.layers:
            v, log_slopes = layer(v, features)
            log_volume = log_volume + log_slopes
            v = v.flip(1)
        return v, log_volume
