"""Critics of the copula critic: one that cuts sharply, one of leading columns, and their mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from mimrl.mi.critics import MLP, Critic, SeparableCritic
from mimrl.mi.estimators.started import silence

CHANNEL_WIDTH = 4


class ChannelCritic(Critic):
    """``g(x) . h(y) + sum_c w_c softplus(g_c(x) . h_c(y))``, with B calls of the networks.

    An inner product is a critic of low rank: where the ratio ends at an edge (uniform noise), it
    would need many large terms that cancel. Each channel bends one more inner product into a soft
    half-space, and a few of these make an edge.

    Args:
        x_dim: width of x.
        y_dim: width of y.
        hidden: hidden width of both MLPs.
        layers: hidden layers after the input layer.
        embedding: width of g and h.
        channels: number of half-spaces.
    """

    def __init__(
        self, x_dim: int, y_dim: int, *, hidden: int, layers: int, embedding: int, channels: int
    ) -> None:
        super().__init__(x_dim, y_dim)
        self.embedding = embedding
        outputs = embedding + channels * CHANNEL_WIDTH
        self.x_network, self.y_network = (
            MLP(width, outputs, hidden=hidden, layers=layers, activation="silu")
            for width in (x_dim, y_dim)
        )
        spread_biases(self)
        self.weights = nn.Parameter(torch.zeros(channels))
        with torch.no_grad():  # 0 everywhere at the start, and the channels differ
            for parameter in self.y_network[-1].parameters():
                parameter[:embedding] = 0

    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        """``(N, M)`` of all combinations."""
        (g, g_channels), (h, h_channels) = self._parts(x, y)
        total = g @ h.T
        for weight, left, right in zip(self.weights, g_channels, h_channels, strict=True):
            total = total + weight * softplus(left @ right.T)
        return total

    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        """``(N,)`` of pairs."""
        (g, g_channels), (h, h_channels) = self._parts(x, y)
        bent = softplus((g_channels * h_channels).sum(dim=2))
        return (g * h).sum(dim=1) + self.weights @ bent

    def _parts(self, x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Embeddings, and channels ``(C, N, CHANNEL_WIDTH)``, of x and of y."""
        found = []
        for values in (self.x_network(x), self.y_network(y)):
            plain, rest = values[:, : self.embedding], values[:, self.embedding :]
            found.append((plain, rest.reshape(len(rest), -1, CHANNEL_WIDTH).transpose(0, 1)))
        return found


class WithQuadratic(nn.Module):
    """Appends a learned quadratic form of all columns; at the start the squared length.

    Laws whose dependence turns or fades with the length of a vector (spirals, elliptical laws)
    have it as a function of this one number. A network of 25 columns does not find it from a few
    thousand rows. For white Gaussian columns it starts with mean 0 and variance 1.

    Args:
        width: columns.
        columns: those that are passed on.
    """

    def __init__(self, width: int, columns: Sequence[int]) -> None:
        super().__init__()
        self.columns = list(columns)
        self.weights = nn.Parameter(torch.full((width,), (2 * width) ** -0.5))
        self.centre = nn.Parameter(torch.zeros(width))
        self.mean = (width / 2) ** 0.5

    def forward(self, values: Tensor) -> Tensor:
        """``(N, width)`` to ``(N, len(columns) + 1)``."""
        form = (values - self.centre).square() @ self.weights - self.mean
        return torch.cat([values[:, self.columns], form[:, None]], dim=1)


class LeadingCritic(Critic):
    """A separable critic of some columns and a quadratic form of all, 0 at the start.

    Args:
        widths: columns of x and of y.
        columns: which of them it sees, of x and of y.
        hidden: hidden and half of the embedding width.
        layers: hidden layers after the input layer.
    """

    def __init__(
        self,
        widths: tuple[int, int],
        columns: tuple[Sequence[int], Sequence[int]],
        *,
        hidden: int,
        layers: int,
    ) -> None:
        super().__init__(*widths)
        self.seen_x, self.seen_y = (
            WithQuadratic(width, chosen) for width, chosen in zip(widths, columns, strict=True)
        )
        self.critic = SeparableCritic(
            *(len(chosen) + 1 for chosen in columns),
            hidden=hidden,
            layers=layers,
            embedding=max(1, hidden // 2),
            activation="silu",
        )
        spread_biases(self)
        silence(self.critic)
        nn.init.zeros_(self.critic.y_network[-1].bias)  # type: ignore[arg-type]

    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        """``(N, M)`` of all combinations."""
        return self.critic.scores(self.seen_x(x), self.seen_y(y))

    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        """``(N,)`` of pairs."""
        return self.critic.paired(self.seen_x(x), self.seen_y(y))


def spread_biases(module: nn.Module) -> None:
    """Draws all biases from +-1 / sqrt(inputs), so that units bend at different places.

    With biases of zero all units of a first layer bend at 0, and one column is seen as nothing but
    its sign and size until they have moved apart: on uniform noise it cost 0.1 nats.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            nn.init.uniform_(layer.bias, -bound, bound)


class MeanCritic(Critic):
    """The mean score of some critics of the same variables.

    Args:
        critics: one or more.
    """

    def __init__(self, critics: Sequence[Critic]) -> None:
        super().__init__(critics[0].x_dim, critics[0].y_dim)
        self.critics = list(critics)
        self.members = nn.ModuleList(critics)

    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        """``(N, M)`` of all combinations."""
        return torch.stack([critic.scores(x, y) for critic in self.critics]).mean(dim=0)

    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        """``(N,)`` of pairs."""
        return torch.stack([critic.paired(x, y) for critic in self.critics]).mean(dim=0)
