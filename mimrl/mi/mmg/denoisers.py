"""Trained denoisers of both branches, as the reading of an estimate uses them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mimrl.mi.mmg.bases import Base
from mimrl.mi.mmg.network import Experts
from mimrl.mi.mmg.rows import Errors, Rows


@dataclass(frozen=True)
class NetworkDenoisers:
    """A network on its base.

    Attributes:
        base: what the network's output is added to.
        experts: one network or two.
    """

    base: Base
    experts: Experts

    def errors(self, rows: Rows, noise: Tensor, logsnr: Tensor) -> Errors:
        """Both branches with common random numbers; see :class:`~mimrl.mi.mmg.rows.Denoisers`."""
        nothing = torch.zeros_like(logsnr, dtype=torch.bool)
        free = self.base.prepare(rows, noise, logsnr, nothing)
        given = self.base.prepare(rows, noise, logsnr, ~nothing)
        found = self.experts(
            torch.cat([free.features, given.features]), torch.cat([logsnr, logsnr])
        )
        first, second = found.chunk(2)
        own = (
            free.error - free.scale * self.base.turned(first, nothing),
            given.error - given.scale * self.base.turned(second, ~nothing),
        )
        return Errors(self.base.aligned(*own), self.base.aligned(free.error, given.error))

    def branch_errors(self, rows: Rows, noise: Tensor, logsnr: Tensor, given: Tensor) -> Excess:
        """One branch for each row, as training needs them.

        Args:
            rows: ``N`` of them.
            noise: ``(N, dx)``.
            logsnr: ``(N, 1)``.
            given: ``(N, 1)`` booleans, whether y is shown.
        """
        prepared = self.base.prepare(rows, noise, logsnr, given)
        output = self.base.turned(self.experts(prepared.features, logsnr), given)
        error = prepared.error - prepared.scale * output
        return Excess(error.square().sum(1), prepared.error.square().sum(1))


@dataclass(frozen=True)
class Excess:
    """Squared errors, ``(N,)`` each.

    Attributes:
        own: of the network on its base.
        base: of the base alone, for the same noise.
    """

    own: Tensor
    base: Tensor
