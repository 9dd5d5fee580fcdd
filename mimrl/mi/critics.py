"""Critics f(x, y): networks that score every combination of a batch of x with a batch of y."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mimrl.errors import ShapeError

Activation = Literal["relu", "silu"]
_ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU}


class MLP(nn.Sequential):
    """Linear, activation, ``layers`` times (Linear, activation), Linear; biases start at zero.

    Args:
        inputs: width of the input.
        outputs: width of the output.
        hidden: width in between.
        layers: number of hidden layers after the input layer.
        activation: ``relu`` as published, or the smooth ``silu``.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        hidden: int = 256,
        layers: int = 2,
        activation: Activation = "relu",
    ) -> None:
        first = zero_bias(nn.Linear(inputs, hidden))
        super().__init__(
            first, *hidden_layers(hidden, outputs, layers=layers, activation=activation)
        )


class JointInput(nn.Module):
    """A linear layer of several variables: the sum of one linear map a variable, and one bias.

    Each map is initialised by the fan-in of its own variable, divided by the square root of the
    number of variables. Joined into one vector, a scalar label beside 256 feature columns would
    make up 1/257 of the sum's variance and be found only slowly; here every variable has an equal
    share at the start, whatever its width.

    Args:
        widths: width of each variable.
        outputs: width of the sum.
    """

    def __init__(self, widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        maps = [nn.Linear(width, outputs, bias=False) for width in widths]
        with torch.no_grad():
            for linear in maps:
                linear.weight /= math.sqrt(len(widths))
        self.maps = nn.ModuleList(maps)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, *variables: Tensor) -> Tensor:
        """``(..., outputs)`` from variables ``(..., width)`` that broadcast against each other."""
        total = self.bias
        for linear, variable in zip(self.maps, variables, strict=True):
            total = total + linear(variable)
        return total


class Critic(nn.Module):
    """What every critic offers: scores of all combinations.

    Args:
        x_dim: width of x.
        y_dim: width of y.
    """

    def __init__(self, x_dim: int, y_dim: int) -> None:
        super().__init__()
        self.x_dim, self.y_dim = x_dim, y_dim

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """``scores[i, j] = f(x_i, y_j)``.

        Args:
            x: ``(B, x_dim)`` float.
            y: ``(B, y_dim)`` float, ``y[i]`` paired with ``x[i]``.

        Returns:
            ``(B, B)`` scores, pairs on the diagonal.

        Raises:
            ShapeError: widths or lengths that do not fit.
        """
        if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
            raise ShapeError(
                f"a critic takes x (B, {self.x_dim}) and y (B, {self.y_dim}), "
                f"got {tuple(x.shape)} and {tuple(y.shape)}"
            )
        if x.shape[1] != self.x_dim or y.shape[1] != self.y_dim:
            raise ShapeError(
                f"this critic was built for widths {self.x_dim} and {self.y_dim}, "
                f"got x {tuple(x.shape)} and y {tuple(y.shape)}"
            )
        return self.scores(x, y)

    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        """:meth:`forward` without its checks; x and y may differ in rows."""
        raise NotImplementedError

    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        """``(B,)`` f(x_i, y_i), without the scores of other combinations and without checks."""
        raise NotImplementedError


class SeparableCritic(Critic):
    """``f(x, y) = g(x) . h(y)`` with two MLPs; B calls of each network, the cheap default.

    Args:
        x_dim: width of x.
        y_dim: width of y.
        hidden: hidden width of both MLPs.
        layers: hidden layers after the input layer.
        embedding: width of g(x) and h(y).
        activation: of both MLPs.
    """

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        *,
        hidden: int = 256,
        layers: int = 2,
        embedding: int = 128,
        activation: Activation = "relu",
    ) -> None:
        super().__init__(x_dim, y_dim)
        self.x_network, self.y_network = (
            MLP(width, embedding, hidden=hidden, layers=layers, activation=activation)
            for width in (x_dim, y_dim)
        )

    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        """Inner products of the embeddings."""
        return self.x_network(x) @ self.y_network(y).T

    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        """Inner products of the embeddings of a pair."""
        return (self.x_network(x) * self.y_network(y)).sum(dim=1)


class ConcatenatedCritic(Critic):
    """One MLP of the pair (x_i, y_j), called on all B^2 combinations.

    Its first layer is linear in the pair, so it is computed once for each x and each y and summed.

    Args:
        x_dim: width of x.
        y_dim: width of y.
        hidden: hidden width.
        layers: hidden layers after the input layer.
        activation: between the layers.
    """

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        *,
        hidden: int = 256,
        layers: int = 2,
        activation: Activation = "relu",
    ) -> None:
        super().__init__(x_dim, y_dim)
        self.joint_input = JointInput((x_dim, y_dim), hidden)
        self.network = hidden_layers(hidden, 1, layers=layers, activation=activation)

    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        """The network on the ``(B, B, hidden)`` sums of the two input maps."""
        return self.network(self.joint_input(x[:, None], y[None, :])).squeeze(-1)

    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        """The network on the ``(B, hidden)`` sums of the two input maps."""
        return self.network(self.joint_input(x, y)).squeeze(-1)


class BilinearCritic(Critic):
    """``f(x, y) = x^T W y``.

    Args:
        x_dim: width of x.
        y_dim: width of y.
    """

    def __init__(self, x_dim: int, y_dim: int) -> None:
        super().__init__(x_dim, y_dim)
        self.weight = nn.Parameter(torch.empty(x_dim, y_dim))
        nn.init.xavier_uniform_(self.weight)

    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        """``x W y^T``."""
        return x @ self.weight @ y.T

    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        """``x_i W y_i^T``."""
        return ((x @ self.weight) * y).sum(dim=1)


def hidden_layers(
    hidden: int,
    outputs: int,
    *,
    layers: int,
    activation: Activation = "relu",
    dropout: float = 0.0,
) -> nn.Sequential:
    """What follows an input layer: activation, ``layers`` times (Linear, activation), Linear.

    Args:
        hidden: width of the input and of all hidden layers.
        outputs: width of the output.
        layers: number of hidden layers.
        activation: ``relu`` or ``silu``.
        dropout: share of hidden units zeroed in training mode, after each activation.
    """
    linears = [nn.Linear(hidden, hidden) for _ in range(layers)] + [nn.Linear(hidden, outputs)]
    steps: list[nn.Module] = []
    for linear in linears:
        steps.append(_ACTIVATIONS[activation]())
        if dropout > 0:
            steps.append(nn.Dropout(dropout))
        steps.append(zero_bias(linear))
    return nn.Sequential(*steps)


def zero_bias(linear: nn.Linear) -> nn.Linear:
    """``linear`` with its bias set to zero."""
    nn.init.zeros_(linear.bias)
    return linear
