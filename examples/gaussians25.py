"""25 Gaussians on a grid, and how well samples meet them; run alone it does nothing."""

from __future__ import annotations

import torch
from gan import Quality
from torch import Tensor

MODES = 25
SPACING, DEVIATION = 0.7, 0.018  # 39 standard deviations from mode to mode
RADIUS = 4 * DEVIATION
LIMIT = 1.9


def centres() -> Tensor:
    """``(25, 2)``."""
    line = SPACING * torch.arange(-2.0, 3.0)
    return torch.cartesian_prod(line, line)


def sample(n: int) -> Tensor:
    """``(n, 2)``, each of a mode drawn uniformly, from torch's global generator."""
    return centres()[torch.randint(MODES, (n,))] + DEVIATION * torch.randn(n, 2)


def nearest_mode(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to the nearest centre and its number, ``(n,)`` each."""
    distance, mode = torch.cdist(samples, centres()).min(dim=1)
    return distance, mode


def quality(samples: Tensor) -> Quality:
    """Near is within four standard deviations; for the data themselves that is 99.97 %."""
    distance, mode = nearest_mode(samples)
    return Quality.of(mode, distance, MODES, RADIUS)
