"""Random numbers from one generator on one device."""

from __future__ import annotations

import torch
from torch import Tensor


class Source:
    """Draws from a generator of its own, so that the same seed gives the same pairs.

    Args:
        seed: of the generator.
        device: where the numbers are drawn.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.generator = torch.Generator(device).manual_seed(seed)
        self.device = torch.device(device)

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """Uniform numbers inside (0, 1), neither end included.

        Args:
            *shape: of the result.
            dtype: float64 unless the precision is not needed.
        """
        drawn = torch.rand(*shape, generator=self.generator, device=self.device, dtype=dtype)
        least = torch.finfo(dtype).eps
        return drawn.clamp(least, 1 - least)

    def between(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform numbers between two, float64."""
        return low + (high - low) * self.uniform(*shape)

    def normal(self, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(*shape, generator=self.generator, device=self.device, dtype=dtype)

    def exponential(self, *shape: int) -> Tensor:
        """Exponential numbers of mean 1, float64."""
        return -self.uniform(*shape).log()

    def choice(self, weights: Tensor, count: int) -> Tensor:
        """``(B, count)`` int64 drawn with replacement by the rows of ``weights`` ``(B, K)``."""
        limits = weights.double().cumsum(dim=1)
        places = self.uniform(len(weights), count) * limits[:, -1:]
        return torch.searchsorted(limits, places).clamp_(max=weights.shape[1] - 1)
