"""The Gaussian channel of MMG, and the laws by which its log-SNR is drawn.

``z = sqrt(sigmoid(a)) x + sqrt(sigmoid(-a)) noise`` with the log-SNR ``a``. An integral over ``a``
is the mean of ``weight(a) * integrand(a)`` under a law whose density is ``1 / weight``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mimrl.errors import ConfigError, ShapeError


def channel(x: Tensor, noise: Tensor, logsnr: Tensor) -> Tensor:
    """What the channel puts out.

    Args:
        x: ``(N, d)``.
        noise: ``(N, d)`` standard normal.
        logsnr: ``(N, 1)``.

    Returns:
        ``(N, d)``; of unit variance wherever x is.
    """
    return logsnr.sigmoid().sqrt() * x + (-logsnr).sigmoid().sqrt() * noise


class LogSnrLaw(Protocol):
    """A law on an interval of log-SNRs."""

    @property
    def low(self) -> float:
        """Lower end of the interval."""

    @property
    def high(self) -> float:
        """Upper end of the interval."""

    def quantile(self, share: Tensor) -> Tensor:
        """The log-SNR below which a share in [0, 1] of the law lies; any shape."""

    def weight(self, logsnr: Tensor) -> Tensor:
        """One over the density; any shape."""


@dataclass(frozen=True)
class LogisticLaw:
    """A logistic law cut at ``clip`` scales on both sides, and normalised there.

    The defaults are the published ones: the interval is [-10, 14] (Kong, Brekelmans, Ver Steeg,
    ICLR 2023, section 5; DMI).

    Attributes:
        location: its middle.
        scale: of the logistic law, positive.
        clip: half width of the interval in scales, positive.

    Raises:
        ConfigError: a scale or clip that is not positive and finite.

    >>> law = LogisticLaw()
    >>> law.low, law.high
    (-10.0, 14.0)
    """

    location: float = 2.0
    scale: float = 3.0
    clip: float = 4.0

    def __post_init__(self) -> None:
        usable = math.isfinite(self.location) and self.scale > 0 and self.clip > 0
        if not usable or math.isinf(self.scale * self.clip):
            raise ConfigError(
                f"log-SNR law with location {self.location}, scale {self.scale} and clip "
                f"{self.clip}; expected a finite location, and a positive scale and clip"
            )

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.location - self.clip * self.scale

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.location + self.clip * self.scale

    @property
    def mass(self) -> float:
        """Share of the logistic law that the interval holds."""
        return math.tanh(self.clip / 2)

    def quantile(self, share: Tensor) -> Tensor:
        """See :class:`LogSnrLaw`."""
        outside = (1 - self.mass) / 2
        found = self.location + self.scale * torch.logit(outside + self.mass * share)
        return found.clamp(self.low, self.high)

    def weight(self, logsnr: Tensor) -> Tensor:
        """See :class:`LogSnrLaw`."""
        place = (logsnr - self.location) / self.scale
        return self.scale * self.mass / (place.sigmoid() * (-place).sigmoid())


@dataclass(frozen=True)
class PiecewiseLaw:
    """A law that is uniform within each of some cells of equal width.

    Attributes:
        low: lower end.
        high: upper end.
        shares: probability of each cell, positive, summing to 1.
    """

    low: float
    high: float
    shares: tuple[float, ...]

    @classmethod
    def of(cls, low: float, high: float, sizes: Sequence[float], floor: float) -> PiecewiseLaw:
        """The law proportional to ``sizes``, mixed with a uniform one.

        Args:
            low: lower end.
            high: upper end.
            sizes: 0 or more, one a cell.
            floor: share of the uniform law, in (0, 1], which keeps every weight bounded.
        """
        total = math.fsum(sizes)
        parts = [size / total if total > 0 else 1 / len(sizes) for size in sizes]
        return cls(low, high, tuple((1 - floor) * p + floor / len(parts) for p in parts))

    @property
    def width(self) -> float:
        """Of a cell."""
        return (self.high - self.low) / len(self.shares)

    def quantile(self, share: Tensor) -> Tensor:
        """See :class:`LogSnrLaw`."""
        cells = torch.tensor(self.shares, dtype=torch.float64, device=share.device)
        ends = cells.cumsum(0)
        wide = share.double()
        cell = torch.searchsorted(ends, wide, right=True).clamp(max=len(cells) - 1)
        inside = ((wide - (ends - cells)[cell]) / cells[cell]).clamp(0, 1)
        return (self.low + self.width * (cell + inside)).to(share.dtype)

    def weight(self, logsnr: Tensor) -> Tensor:
        """See :class:`LogSnrLaw`."""
        cells = torch.tensor(self.shares, dtype=logsnr.dtype, device=logsnr.device)
        return self.width / cells[self.cell(logsnr)]

    def cell(self, logsnr: Tensor) -> Tensor:
        """Number of the cell in which a log-SNR lies; any shape."""
        return cell_of(logsnr, self.low, self.high, len(self.shares))


def cell_of(logsnr: Tensor, low: float, high: float, cells: int) -> Tensor:
    """Number of the cell, of ``cells`` of equal width, in which a log-SNR lies; any shape."""
    place = (logsnr - low) / (high - low) * cells
    return place.long().clamp(0, cells - 1)


def stratified(count: int, passes: int, generator: torch.Generator) -> Tensor:
    """Shares in [0, 1), uniform, spread evenly over the rows of a pass and the passes of a row.

    In each pass every one of ``count`` equal intervals holds one row up to a common shift, and the
    ``passes`` shares of a row lie ``1 / passes`` apart (randomised quadrature): each share alone is
    uniform, so means stay unbiased, with far less noise.

    Args:
        count: rows.
        passes: shares of a row.
        generator: of the order and the place within intervals; on the CPU.

    Returns:
        ``(passes, count)`` in float64.

    Raises:
        ShapeError: no rows or no passes.
    """
    if count < 1 or passes < 1:
        raise ShapeError(f"{count} rows and {passes} passes; expected one or more of each")
    place = torch.rand(count, generator=generator, dtype=torch.float64)
    order = torch.randperm(count, generator=generator)
    steps = torch.arange(passes, dtype=torch.float64)[:, None] / passes
    return ((order + place) / count + steps).remainder(1.0)
