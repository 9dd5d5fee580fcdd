"""What every density of the toolbox offers."""

from __future__ import annotations

import math

from torch import Tensor, nn

from mimrl.mi.critics import MLP

LOG_2_PI = math.log(2 * math.pi)


class Density(nn.Module):
    """p(v), or p(v | u) with a context u; trained by likelihood.

    Args:
        dimensions: of v.
    """

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.dimensions = dimensions

    def forward(self, v: Tensor, u: Tensor | None = None) -> Tensor:
        """Log density.

        Args:
            v: ``(N, dimensions)``, about white.
            u: ``(N, context)``, about white; None for a density without a context.

        Returns:
            ``(N,)`` in nats.
        """
        raise NotImplementedError

    def conditioned(self, context: int) -> Density:
        """A copy that takes a context as well, and does not heed it until it has been trained.

        Args:
            context: width of u.
        """
        raise NotImplementedError


def context_network(context: int, outputs: int, hidden: int) -> MLP:
    """An MLP of the context that gives 0 at the start."""
    network = MLP(context, outputs, hidden=hidden, layers=1, activation="silu")
    nn.init.zeros_(network[-1].weight)  # type: ignore[arg-type]
    return network
