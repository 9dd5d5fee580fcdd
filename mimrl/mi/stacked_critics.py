"""Critics of one kind as one computation: scores of several pairs of variables at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from mimrl.errors import EstimationError, ShapeError
from mimrl.mi.critics import BilinearCritic, ConcatenatedCritic, Critic, SeparableCritic
from mimrl.mi.nearest import at_least_float32
from mimrl.mi.stacked import (
    Chosen,
    Spread,
    Stacks,
    chain_of,
    fill,
    in_order,
    pick,
    together,
)


@dataclass(frozen=True)
class Pairs:
    """Paired samples of two variables: x ``(B, x_dim)``, y ``(B, y_dim)``, ``y[i]`` with ``x[i]``.

    Raises:
        ShapeError: a variable is not two-dimensional, or their numbers of rows differ.
    """

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.y.ndim != 2 or len(self.x) != len(self.y):
            raise ShapeError(
                f"pairs must be x (B, x_dim) and y (B, y_dim) with as many rows, got "
                f"{tuple(self.x.shape)} and {tuple(self.y.shape)}"
            )


class StackedCritics(nn.Module):
    """What every kind offers: scores of all combinations, for several critics."""

    def scores(self, pairs: Mapping[str, Pairs], spread: Spread) -> Tensor:
        """``scores[g, i, j] = f_g(x_i, y_j)``, ``(G, B, B)``, never narrower than float32.

        Args:
            pairs: name of a critic -> its variables; the critics are in this order in the result.
            spread: applies networks to rows.
        """
        raise NotImplementedError

    def read(self, name: str, critic: Critic) -> None:
        """Copies the weights of one critic into an ordinary one of its form."""
        raise NotImplementedError

    def write(self, name: str, critic: Critic) -> None:
        """Copies the weights of an ordinary critic over those of one of its form."""
        raise NotImplementedError


class StackedSeparable(StackedCritics):
    """Separable critics; networks of one form are stacked, be they of x or of y.

    Args:
        critics: name -> critic.
    """

    def __init__(self, critics: Mapping[str, SeparableCritic]) -> None:
        super().__init__()
        x = {f"{name}.x": chain_of(critic.x_network) for name, critic in critics.items()}
        y = {f"{name}.y": chain_of(critic.y_network) for name, critic in critics.items()}
        self.networks = Stacks(x | y)

    def scores(self, pairs: Mapping[str, Pairs], spread: Spread) -> Tensor:
        """Inner products of the embeddings, each summed in float32."""
        inputs = {f"{name}.x": pair.x for name, pair in pairs.items()}
        inputs |= {f"{name}.y": pair.y for name, pair in pairs.items()}
        embeddings = at_least_float32(self.networks(inputs, spread))
        with torch.autocast(embeddings.device.type, enabled=False):
            return torch.bmm(embeddings[: len(pairs)], embeddings[len(pairs) :].transpose(1, 2))

    def read(self, name: str, critic: Critic) -> None:
        """Both networks."""
        critic = cast("SeparableCritic", critic)
        fill(self.networks.layers(f"{name}.x"), critic.x_network)
        fill(self.networks.layers(f"{name}.y"), critic.y_network)

    def write(self, name: str, critic: Critic) -> None:
        """Both networks."""
        critic = cast("SeparableCritic", critic)
        self.networks.fill(f"{name}.x", chain_of(critic.x_network).layers)
        self.networks.fill(f"{name}.y", chain_of(critic.y_network).layers)


class StackedConcatenated(StackedCritics):
    """Concatenated critics; those of the same widths are stacked.

    Args:
        critics: name -> critic.
    """

    def __init__(self, critics: Mapping[str, ConcatenatedCritic]) -> None:
        super().__init__()
        self.networks = Stacks(
            {name: chain_of(c.network, c.joint_input) for name, c in critics.items()},
            {name: f"{c.x_dim}_{c.y_dim}" for name, c in critics.items()},
        )

    def scores(self, pairs: Mapping[str, Pairs], spread: Spread) -> Tensor:
        """The networks on the ``(G, B, B, hidden)`` sums of the two input maps."""
        parts = []
        for networks, names in self.networks.groups(list(pairs)):
            x, y = (torch.stack([getattr(pairs[name], v) for name in names]) for v in "xy")
            parts.append((at_least_float32(spread(_Grid(networks, y), x)), names))
        return in_order(parts, list(pairs))

    def read(self, name: str, critic: Critic) -> None:
        """The joint input and the network."""
        critic = cast("ConcatenatedCritic", critic)
        fill(self.networks.layers(name), critic.network, critic.joint_input)

    def write(self, name: str, critic: Critic) -> None:
        """The joint input and the network."""
        critic = cast("ConcatenatedCritic", critic)
        self.networks.fill(name, chain_of(critic.network, critic.joint_input).layers)


class _Grid:
    """Rows of x against all y: ``(G, N, B)`` from ``(G, N, x_dim)``.

    The first layer is linear in the pair: it is computed once for each x and each y, and summed.
    """

    def __init__(self, networks: Chosen, y: Tensor) -> None:
        self.networks = networks
        weight, bias = networks.stack.layer(0, networks.places)
        width = weight.shape[1] - y.shape[2]
        self.of_x = weight[:, :width]
        self.from_y = torch.baddbmm(bias, y, weight[:, width:])

    def __call__(self, x: Tensor) -> Tensor:
        hidden = torch.bmm(x, self.of_x)[:, :, None] + self.from_y[:, None]
        scores = self.networks.stack.hidden(hidden.flatten(1, 2), self.networks.places)
        return scores.view(hidden.shape[:3])


class StackedBilinear(StackedCritics):
    """Bilinear critics; those of the same widths are stacked.

    Args:
        critics: name -> critic.
    """

    def __init__(self, critics: Mapping[str, BilinearCritic]) -> None:
        super().__init__()
        self.keys = {name: f"{c.x_dim}_{c.y_dim}" for name, c in critics.items()}
        self.weights = nn.ParameterDict()
        self.places: dict[str, int] = {}
        for key, names in together(self.keys).items():
            weights = [critics[name].weight.detach() for name in names]
            self.weights[key] = nn.Parameter(torch.stack(weights))
            self.places |= {name: place for place, name in enumerate(names)}

    def scores(self, pairs: Mapping[str, Pairs], spread: Spread) -> Tensor:
        """``x W y^T``; nothing is spread: there is no network of a row."""
        parts = []
        for key, names in together({name: self.keys[name] for name in pairs}).items():
            weight = pick(self.weights[key], [self.places[name] for name in names])
            x, y = (torch.stack([getattr(pairs[name], v) for name in names]) for v in "xy")
            mapped = at_least_float32(torch.bmm(x, weight))
            with torch.autocast(x.device.type, enabled=False):
                parts.append((torch.bmm(mapped, at_least_float32(y).transpose(1, 2)), names))
        return in_order(parts, list(pairs))

    @torch.no_grad()
    def read(self, name: str, critic: Critic) -> None:
        """The matrix."""
        cast("BilinearCritic", critic).weight.copy_(self._matrix(name))

    @torch.no_grad()
    def write(self, name: str, critic: Critic) -> None:
        """The matrix."""
        self._matrix(name).copy_(cast("BilinearCritic", critic).weight)

    def _matrix(self, name: str) -> Tensor:
        return self.weights[self.keys[name]][self.places[name]]


def stacked_critics(critics: Mapping[str, Critic]) -> StackedCritics:
    """The stacked form of critics of one kind.

    Raises:
        EstimationError: no critic, or critics of several kinds or of one without a stacked form.
    """
    kinds = {type(critic) for critic in critics.values()}
    if kinds == {SeparableCritic}:
        return StackedSeparable(cast("Mapping[str, SeparableCritic]", critics))
    if kinds == {ConcatenatedCritic}:
        return StackedConcatenated(cast("Mapping[str, ConcatenatedCritic]", critics))
    if kinds == {BilinearCritic}:
        return StackedBilinear(cast("Mapping[str, BilinearCritic]", critics))
    raise EstimationError(
        "separable, concatenated or bilinear critics, all of one kind, can be computed together, "
        f"got {sorted(kind.__name__ for kind in kinds) or 'none'}"
    )
