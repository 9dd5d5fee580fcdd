"""A normalizing flow: autoregressive rational-quadratic splines on whitened features.

A density needs one direction only, from the features to a standard normal, and in this direction
all coordinates of an autoregressive flow are computed at once (Papamakarios et al., 2017).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lsmi.density.descent import Model
from lsmi.density.family import Rows
from lsmi.density.trained import TrainedFamily
from mimrl.mi.densities.spline import numbers_a_spline, rational_quadratic

BOUND = 4.0  # standard deviations within which the splines bend


@dataclass(frozen=True)
class Layer:
    """One transform of each fit: a network with one hidden layer gives every coordinate a spline.

    Attributes:
        weight: ``(F, D, H)``.
        bias: ``(F, 1, H)``.
        last: ``(F, H, D * P)``, ``P`` the numbers of a spline.
        last_bias: ``(F, 1, D * P)``: the spline of a coordinate that no other one bends.
    """

    weight: Tensor
    bias: Tensor
    last: Tensor
    last_bias: Tensor

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(F, N, D)`` mapped, and the log slopes of all coordinates, ``(F, N, D)``."""
        before, after = _masks(x.shape[-1], self.weight.shape[-1], x.dtype, str(x.device))
        hidden = torch.tanh(torch.baddbmm(self.bias, x, self.weight * before))
        last = (self.last.unflatten(-1, (x.shape[-1], -1)) * after).flatten(-2)
        raw = torch.baddbmm(self.last_bias, hidden, last).unflatten(-1, (x.shape[-1], -1))
        return rational_quadratic(x, raw, BOUND)


@dataclass(frozen=True, kw_only=True)
class Flow(TrainedFamily):
    """Autoregressive spline flows on whitened features; the candidates are moments.

    The start is the identity: a Gaussian of the fit's mean and covariance. What is not listed here
    is as in :class:`~lsmi.density.trained.TrainedFamily`.

    Attributes:
        transforms: splines one after the other; every second one runs through the coordinates
            backwards.
        bins: of a spline.
        hidden: width of the network that gives a coordinate's spline from those before it.
        weight_decay: decoupled decay of the weights, not of the biases: a network of weight 0
            leaves every coordinate a spline of its own.
    """

    title = "the flow"
    word = "flow"
    most_moments = 10  # reading one costs as much as an epoch

    transforms: int = 2
    bins: int = 8
    hidden: int = 64
    rate: float = 5e-3
    weight_decay: float = 4.0

    def start(self, inputs: Tensor, fits: Sequence[Rows]) -> Model:
        """The identity: a standard normal in the white coordinates."""
        numbers = range(self.transforms)
        layers = [self._layer(len(fits), inputs.shape[-1], number) for number in numbers]
        return Model(
            lambda rows: flow_log_density(rows, layers),
            [bias for layer in layers for bias in (layer.bias, layer.last_bias)],
            [weight for layer in layers for weight in (layer.weight, layer.last)],
            self.weight_decay,
        )

    def _layer(self, fits: int, dimensions: int, number: int) -> Layer:
        """All fits start alike: the last weights and biases are 0, which is the identity."""
        generator = torch.Generator().manual_seed(self.seed + number)
        numbers = dimensions * numbers_a_spline(self.bins)
        first = torch.randn(dimensions, self.hidden, generator=generator) / math.sqrt(dimensions)
        bias = torch.rand(1, self.hidden, generator=generator) * 2 - 1
        parts = [first, bias, torch.zeros(self.hidden, numbers), torch.zeros(1, numbers)]
        return Layer(*(part.repeat(fits, 1, 1).to(self.device).requires_grad_() for part in parts))


def flow_log_density(x: Tensor, layers: Sequence[Layer]) -> Tensor:
    """Log density of the flows in their own coordinates: ``(F, N, D)`` to ``(F, N)`` nats."""
    z, log_volume = flow_map(x, layers)
    return log_volume - 0.5 * (z.square().sum(-1) + x.shape[-1] * math.log(2 * math.pi))


def flow_map(x: Tensor, layers: Sequence[Layer]) -> tuple[Tensor, Tensor]:
    """Where the flows take ``x``, ``(F, N, D)``, and the log determinants there, ``(F, N)``."""
    log_volume = torch.zeros_like(x[..., 0])
    for layer in layers:
        x, log_slopes = layer(x)
        log_volume = log_volume + log_slopes.sum(-1)
        x = x.flip(-1)
    return x, log_volume


@functools.lru_cache(maxsize=16)
def _masks(dimensions: int, hidden: int, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    """``(D, H)`` and ``(H, D, 1)``: a coordinate hears those before it (Germain et al., 2015)."""
    inputs = torch.arange(dimensions, device=device)
    units = torch.arange(hidden, device=device) % max(dimensions - 1, 1)
    heard, told = inputs[:, None] <= units, units[:, None] < inputs
    return heard.to(dtype), told.to(dtype).unsqueeze(-1)
