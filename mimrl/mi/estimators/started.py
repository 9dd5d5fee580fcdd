"""A critic that starts as a Gaussian log ratio, or at zero, and is bounded from there on."""

from __future__ import annotations

import numpy.typing as npt
import torch
from torch import Tensor, nn

from mimrl.mi.critics import BilinearCritic, ConcatenatedCritic, Critic, SeparableCritic
from mimrl.mi.objectives import LearnedBaseline


class StartedCritic(Critic):
    """``limit * tanh(critic / limit)`` plus the log ratio of a Gaussian pair.

    A network's scores grow without end where it has seen no rows, and a mean of e^score over
    product samples is then a matter of the one farthest out. Bounded by about log N, no single
    pair can outweigh the N^2 others; a bounded critic is a critic, and its bound is still a bound.

    Args:
        critic: what learns; it should give 0 at the start (:func:`silence`).
        correlations: ``(k,)`` of the leading columns of x and y, which are canonical coordinates;
            none for a start at zero.
        limit: of the network's part of a score, in nats; None for no bound.
        offset: added to all scores, for bounds whose optimum is not the log ratio itself.
    """

    cross: Tensor
    own: Tensor

    def __init__(
        self,
        critic: Critic,
        correlations: npt.ArrayLike = (),
        *,
        limit: float | None = None,
        offset: float = 0.0,
    ) -> None:
        super().__init__(critic.x_dim, critic.y_dim)
        self.critic, self.limit = critic, limit
        squared = torch.as_tensor(correlations, dtype=torch.float64) ** 2
        left = 1 - squared
        self.register_buffer("cross", (squared.sqrt() / left).float())
        self.register_buffer("own", (squared / left).float())
        self.constant = offset - 0.5 * float(left.log().sum())

    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        """``(N, M)`` of all combinations of ``(N, x_dim)`` and ``(M, y_dim)``."""
        u, v = self._leading(x, y)
        gaussian = (u * self.cross) @ v.T - self._own(u)[:, None] - self._own(v)
        return gaussian + self.constant + self._bounded(self.critic.scores(x, y))

    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        """``(N,)`` of pairs."""
        u, v = self._leading(x, y)
        gaussian = (u * v) @ self.cross - self._own(u) - self._own(v)
        return gaussian + self.constant + self._bounded(self.critic.paired(x, y))

    def _leading(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        count = len(self.cross)
        return x[:, :count], y[:, :count]

    def _own(self, u: Tensor) -> Tensor:
        return 0.5 * u.square() @ self.own

    def _bounded(self, scores: Tensor) -> Tensor:
        return scores if self.limit is None else self.limit * (scores / self.limit).tanh()


def silence(
    network: SeparableCritic | ConcatenatedCritic | BilinearCritic | LearnedBaseline,
) -> None:
    """Sets to zero the weights that make all outputs 0 and that still receive a gradient."""
    if isinstance(network, BilinearCritic):
        nn.init.zeros_(network.weight)
        return
    layers = network.y_network if isinstance(network, SeparableCritic) else network.network
    nn.init.zeros_(layers[-1].weight)  # type: ignore[arg-type]
