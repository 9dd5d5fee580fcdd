"""Samples in the coordinates in which denoisers work, and what denoisers give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Paired samples.

    Attributes:
        x: ``(N, dx)``, what goes through the channel.
        y: ``(N, dy)``.
        residual: ``(N, dx)``, x without its linear prediction from y. It is made in float64: at
            10 nats and more, float32 copies of x and y no longer hold it.
    """

    x: Tensor
    y: Tensor
    residual: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def select(self, rows: Tensor | slice) -> Rows:
        """The samples at some rows."""
        return Rows(self.x[rows], self.y[rows], self.residual[rows])

    def to(self, device: str | torch.device, dtype: torch.dtype) -> Rows:
        """The samples elsewhere."""
        x, y, residual = (part.to(device, dtype) for part in (self.x, self.y, self.residual))
        return Rows(x, y, residual)


@dataclass(frozen=True)
class Branches:
    """``noise - denoised`` with the same noise in both branches.

    Attributes:
        free: ``(N, dx)`` without y.
        given: ``(N, dx)`` with y.
    """

    free: Tensor
    given: Tensor

    def plain(self) -> Tensor:
        """``(N,)`` the gap in squared error."""
        return self.free.square().sum(1) - self.given.square().sum(1)

    def orthogonal(self) -> Tensor:
        """``(N,)`` the squared difference of the denoised."""
        return (self.free - self.given).square().sum(1)


@dataclass(frozen=True)
class Errors:
    """Errors of denoisers and of the simpler ones that they are compared with.

    Attributes:
        own: of the denoisers.
        base: of denoisers whose integrals are known in closed form, for the same noise.
    """

    own: Branches
    base: Branches


class Denoisers(Protocol):
    """Two denoisers, without and with y."""

    def errors(self, rows: Rows, noise: Tensor, logsnr: Tensor) -> Errors:
        """Their errors for noise ``(N, dx)`` at log-SNRs ``(N, 1)``."""
