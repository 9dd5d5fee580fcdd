"""The network: the density of n rank pairs on a grid in, their density ratio and its mean out.

It reads the samples spread over a Q x Q grid of the unit square, at four scales, smooths them with
a small U-Net that knows n, and puts out a table of density ratios p(x, y) / (p(x) p(y)) in rank
coordinates, scaled towards uniform margins. The Donsker-Varadhan value of the table at the samples,
with the product expectation taken exactly over all pairs of samples, plus a learned correction is
the estimate.

Note:
    Differs from the published network (Hu et al., InfoNet, ICML 2024), which attends to the
    samples through a layer norm that leaves only the sign of x - y, looks ranks up in a quarter of
    its table, and takes the product expectation from random shuffles. This one is smaller, has
    neither fault, is deterministic, and does not change when samples change their order, when x
    and y change places, or when one of them changes its sign.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mimrl.mi.infonet.grid import Cells, cells
from mimrl.mi.infonet.symmetric import SYMMETRIES, LiftingConv, LoweringConv, SymmetricConv

SOFT_LIMIT = 10.0
"""Log ratios stay within this distance of 0 before the margins are scaled."""
SCALINGS = 3
"""Steps that bring the table's margins towards uniform."""
INPUTS = 4
"""Channels that each scale reads."""


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network.

    Attributes:
        grid: Q, a multiple of 16.
        fields: features at Q/2, Q/4, Q/8 and Q/16.
        down: residual blocks at each of these scales on the way down.
        up: and on the way up again.
        width: of the layers that read n and correct the estimate.
        largest: a larger n is read as this one, on which the network was still trained; the density
            of the samples is then smoother than the network takes it for, which does no harm.
    """

    grid: int = 64
    fields: tuple[int, int, int, int] = (4, 6, 8, 12)
    down: tuple[int, int, int, int] = (0, 1, 1, 1)
    up: tuple[int, int, int, int] = (1, 1, 1, 0)
    width: int = 64
    largest: int = 6000


@dataclass(frozen=True)
class Reading:
    """What one pass gives for a batch of pairs.

    Attributes:
        table: ``(B, Q, Q)`` density ratios, mean 1; rows are x, columns are y.
        dv: ``(B,)`` Donsker-Varadhan value of the table at the samples it was made from, nats.
        information: ``(B,)`` the estimate, nats.
    """

    table: Tensor
    dv: Tensor
    information: Tensor


class GridNetwork(nn.Module):
    """Mutual information of 1-D pairs from their ranks.

    Args:
        config: sizes.

    Attributes:
        low_precision: convolutions in bfloat16: for training, where it takes half the time.
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.low_precision = False
        self.config = config = config or NetworkConfig()
        self.count = nn.Sequential(nn.Linear(1, config.width), nn.SiLU())
        self.stem = LiftingConv(INPUTS, config.fields[0], size=4)
        self.read = nn.ModuleList(LiftingConv(INPUTS, fields) for fields in config.fields)
        down = zip(config.fields, config.down, strict=True)
        self.down = nn.ModuleList(_Blocks(config, *scale) for scale in down)
        up = zip(config.fields, config.up, strict=True)
        self.up = nn.ModuleList(_Blocks(config, *scale) for scale in up)
        steps = list(zip(config.fields[:-1], config.fields[1:], strict=True))
        self.widen = nn.ModuleList(SymmetricConv(fine, wide, size=1) for fine, wide in steps)
        self.narrow = nn.ModuleList(SymmetricConv(wide, fine, size=1) for fine, wide in steps)
        self.table = LoweringConv(config.fields[0], gain=0.1)
        self.correction = _Correction(config)

    def forward(self, u: Tensor, v: Tensor) -> Reading:
        """Reads a batch of pairs.

        Args:
            u: ``(B, N)`` ranks of x in [0, 1].
            v: ``(B, N)`` ranks of y, paired with u.
        """
        places = cells(u, v, self.config.grid)
        density = places.density()
        count = min(u.shape[1], self.config.largest)
        size = self.count(u.new_full((1, 1), math.log(count / 1000)))
        with torch.autocast(u.device.type, torch.bfloat16, enabled=self.low_precision):
            logarithm, pooled = self._log_ratio(density[:, None], count, size)
        table = copula_table(logarithm.float())
        dv = donsker_varadhan(table, density, places)
        return Reading(table, dv, dv + self.correction(pooled.float(), table, dv, size))

    def estimate(self, u: Tensor, v: Tensor) -> Tensor:
        """The estimates alone, ``(B,)`` nats; arguments as of :meth:`forward`."""
        return self(u, v).information

    def _log_ratio(self, density: Tensor, count: int, size: Tensor) -> tuple[Tensor, Tensor]:
        """Log ratios ``(B, Q, Q)``, not yet scaled, and pooled features ``(B, F)``."""
        scales = [density]
        for _ in self.config.fields:
            scales.append(_halved(scales[-1]))
        maps = self.stem(_inputs(scales[0], count))
        kept = []
        for level, blocks in enumerate(self.down):
            if level:
                maps = self.widen[level - 1](_halved(maps))
            maps = blocks(maps + self.read[level](_inputs(scales[level + 1], count)), size)
            kept.append(maps)
        for level in reversed(range(len(self.up))):
            if level < len(self.up) - 1:
                above = functional.interpolate(self.narrow[level](maps), scale_factor=2.0)
                maps = kept[level] + above
            maps = self.up[level](maps, size)
        pooled = torch.cat([_pooled(kept[-1]), _pooled(maps)], dim=1)
        return self.table(functional.silu(maps)).squeeze(1), pooled


class _Blocks(nn.Module):
    """Residual blocks at one scale."""

    def __init__(self, config: NetworkConfig, fields: int, count: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(config, fields) for _ in range(count))

    def forward(self, maps: Tensor, size: Tensor) -> Tensor:
        for block in self.blocks:
            maps = block(maps, size)
        return maps


class _Block(nn.Module):
    """Two convolutions beside a direct way; n shifts and scales what they read."""

    def __init__(self, config: NetworkConfig, fields: int) -> None:
        super().__init__()
        self.first = SymmetricConv(fields, fields)
        self.second = SymmetricConv(fields, fields, gain=0.1)
        self.adapt = nn.Linear(config.width, 4 * fields)

    def forward(self, maps: Tensor, size: Tensor) -> Tensor:
        scale, shift, later_scale, later_shift = self.adapt(size).chunk(4, dim=1)
        inner = self.first(functional.silu(_normal(maps, scale, shift)))
        return maps + self.second(functional.silu(_normal(inner, later_scale, later_shift)))


class _Correction(nn.Module):
    """What the Donsker-Varadhan value misses, from features that no symmetry changes.

    The table is read detached: it is to be the best table, not the one whose value is corrected
    most easily.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        features = config.fields[0] + config.fields[-1] + 2
        self.first = nn.Linear(features, config.width)
        self.size = nn.Linear(config.width, config.width)
        self.second = nn.Linear(config.width, config.width)
        self.last = nn.Linear(config.width, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, pooled: Tensor, table: Tensor, dv: Tensor, size: Tensor) -> Tensor:
        table = table.detach()
        own = (table * table.clamp_min(1e-12).log()).mean(dim=(1, 2))
        features = torch.cat([pooled, own[:, None], dv.detach()[:, None]], dim=1)
        hidden = functional.silu(self.first(features) + self.size(size))
        return self.last(functional.silu(self.second(hidden))).squeeze(1)


def copula_table(logarithm: Tensor) -> Tensor:
    """From log ratios to a table of ratios whose margins are near uniform.

    Args:
        logarithm: ``(B, Q, Q)``, any real numbers.

    Returns:
        ``(B, Q, Q)`` positive, mean 1. Rows and columns are divided by the root of their means, at
        once, so that no axis is preferred; alternating full divisions would be Sinkhorn's.
    """
    table = (SOFT_LIMIT * torch.tanh(logarithm / SOFT_LIMIT)).exp()
    for _ in range(SCALINGS):
        rows = table.mean(dim=2, keepdim=True)
        columns = table.mean(dim=1, keepdim=True)
        table = table / (rows * columns).sqrt()
    return table / table.mean(dim=(1, 2), keepdim=True)


def donsker_varadhan(table: Tensor, density: Tensor, places: Cells) -> Tensor:
    """The Donsker-Varadhan value of a table at samples.

    Args:
        table: ``(B, Q, Q)`` density ratios.
        density: ``(B, Q, Q)`` of the samples, mean 1.
        places: the samples' cells.

    Returns:
        ``(B,)``, nats: the samples' mean log ratio less the log of the mean ratio over all n^2
        pairs of one sample's x with another's y, which the margins of ``density`` give exactly.
    """
    rows, columns = density.mean(dim=2), density.mean(dim=1)
    size = density.shape[-1]
    product = torch.einsum("bi,bij,bj->b", rows, table, columns) / size**2
    return places.look_up(table).log().mean(dim=1) - product.log()


def _inputs(density: Tensor, count: int) -> Tensor:
    """What one scale reads: ``(B, 1, H, H)`` density -> ``(B, 4, H, H)``."""
    size = density.shape[-1]
    expected = count / size**2  # samples in a cell
    centre = ((torch.arange(size, device=density.device) + 0.5) / size * 2 - 1).abs()
    rows, columns = centre.expand(size, size).T, centre.expand(size, size)
    places = torch.stack([torch.maximum(rows, columns), torch.minimum(rows, columns)])
    return torch.cat(
        [
            density.sqrt() - 1,  # of equal noise in full and in empty cells
            (density + 1 / (1 + expected)).log(),
            places.to(density.dtype).expand(len(density), 2, size, size),
        ],
        dim=1,
    )


def _halved(maps: Tensor) -> Tensor:
    """Means of two by two places; avg_pool2d is slow in bfloat16 on a CPU."""
    rows = maps[..., ::2, :] + maps[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) / 4


def _normal(maps: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Layer norm over all maps of a pair, then a scale and a shift for each feature."""
    scale = 1 + scale.repeat_interleave(SYMMETRIES, dim=1)
    shift = shift.repeat_interleave(SYMMETRIES, dim=1)
    return functional.group_norm(maps, 1) * scale[:, :, None, None] + shift[:, :, None, None]


def _pooled(maps: Tensor) -> Tensor:
    """Mean of each feature over places and symmetries, ``(B, fields)``."""
    batch, channels = maps.shape[:2]
    return maps.mean(dim=(2, 3)).reshape(batch, channels // SYMMETRIES, SYMMETRIES).mean(dim=2)
