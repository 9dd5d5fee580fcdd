"""Several networks of one shape as one computation: weights stacked, products batched.

A handful of networks with 256 hidden units and a batch of 32 rows leaves a processor mostly waiting
for the next small product to start. Stacked, each layer of all of them is one batched product.
Tensors have the network on axis 0 and the rows on axis 1, ``(G, N, d)``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mimrl.errors import ShapeError
from mimrl.mi.critics import Activation, JointInput

K = TypeVar("K", bound=Hashable)

_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,  # in place: what comes in is not needed for its gradient
    "silu": functional.silu,
}


class Spread(Protocol):
    """Where stacked networks meet their rows; an implementation may share the rows out."""

    def __call__(self, network: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        """``network(*rows)``.

        Args:
            network: maps its arguments row by row: axis 1 of every argument and of the result is
                the axis of rows, and each row of the result depends on the same row of the
                arguments only.
            rows: ``(G, N, d)`` each.

        Returns:
            ``(G, N, ...)``, all rows, in their order.
        """


def here(network: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """The :class:`Spread` of a process that computes all rows itself."""
    return network(*rows)


@dataclass(frozen=True)
class Layer:
    """A linear layer: weight ``(out, in)``, bias ``(out,)``."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Form:
    """What networks must have in common to be stacked.

    Attributes:
        widths: of the input, of every hidden layer, of the output.
        activation: between the layers.
        dropout: share of hidden units zeroed in training mode, after each activation.
    """

    widths: tuple[int, ...]
    activation: Activation
    dropout: float


@dataclass(frozen=True)
class Chain:
    """Linear layers with an activation between them; parameters are those of the network."""

    layers: tuple[Layer, ...]
    activation: Activation
    dropout: float = 0.0

    @property
    def form(self) -> Form:
        """What it must share with others to be stacked with them."""
        inputs = self.layers[0].weight.shape[1]
        widths = (inputs, *(len(layer.weight) for layer in self.layers))
        return Form(widths, self.activation, self.dropout)


def chain_of(network: nn.Sequential, joint: JointInput | None = None) -> Chain:
    """The layers of an MLP, or of a joint input and the hidden layers that follow it.

    The maps of a joint input are one map of its variables side by side.
    """
    layers = [Layer(linear.weight, linear.bias) for linear in _linears(network)]
    if joint is not None:
        weights = [linear.weight for linear in _linears(joint)]
        layers.insert(0, Layer(torch.cat(weights, dim=1), joint.bias))
    activation: Activation = "silu" if any(isinstance(m, nn.SiLU) for m in network) else "relu"
    dropout = next((m.p for m in network if isinstance(m, nn.Dropout)), 0.0)
    return Chain(tuple(layers), activation, dropout)


@torch.no_grad()
def fill(layers: Sequence[Layer], network: nn.Sequential, joint: JointInput | None = None) -> None:
    """Copies layers into what :func:`chain_of` takes them from."""
    rest = list(layers)
    if joint is not None:
        first = rest.pop(0)
        joint.bias.copy_(first.bias)
        maps = _linears(joint)
        parts = first.weight.split([linear.in_features for linear in maps], dim=1)
        for linear, weight in zip(maps, parts, strict=True):
            linear.weight.copy_(weight)
    for linear, layer in zip(_linears(network), rest, strict=True):
        linear.weight.copy_(layer.weight)
        linear.bias.copy_(layer.bias)


def _linears(module: nn.Module) -> list[nn.Linear]:
    return [part for part in module.modules() if isinstance(part, nn.Linear)]


class Stack(nn.Module):
    """``G`` chains of one form, with weights ``(G, in, out)`` of their own.

    Biases are parameters of one axis, ``(G * out,)``: optimisers tell vectors from matrices by
    their axes, and biases are not to decay here if they do not in a network of its own.

    Args:
        chains: their weights are copied.

    Raises:
        ShapeError: they differ in form.
    """

    def __init__(self, chains: Sequence[Chain]) -> None:
        super().__init__()
        forms = {chain.form for chain in chains}
        if len(forms) != 1:
            raise ShapeError(f"networks of one form can be stacked, got {sorted(map(str, forms))}")
        self.count, self.form = len(chains), chains[0].form
        columns = list(zip(*(chain.layers for chain in chains), strict=True))
        self.weights = nn.ParameterList(
            nn.Parameter(torch.stack([layer.weight.detach().T for layer in column]).contiguous())
            for column in columns
        )
        self.biases = nn.ParameterList(
            nn.Parameter(torch.cat([layer.bias.detach() for layer in column])) for column in columns
        )

    def forward(self, rows: Tensor, chosen: Sequence[int] | None = None) -> Tensor:
        """``(G, N, out)`` from ``(G, N, in)``; ``chosen`` as in :meth:`hidden`."""
        weight, bias = self.layer(0, chosen)
        return self.hidden(torch.baddbmm(bias, rows, weight), chosen)

    def hidden(self, hidden: Tensor, chosen: Sequence[int] | None = None) -> Tensor:
        """What follows the first layer: ``(G, N, out)`` from ``(G, N, hidden)``, overwritten.

        Args:
            hidden: output of the first layer.
            chosen: the networks that the rows belong to; None: all.
        """
        activation = _ACTIVATIONS[self.form.activation]
        for index in range(1, len(self.weights)):
            hidden = activation(hidden)
            if self.form.dropout:
                hidden = functional.dropout(hidden, self.form.dropout, self.training)
            weight, bias = self.layer(index, chosen)
            hidden = torch.baddbmm(bias, hidden, weight)
        return hidden

    def layer(self, index: int, chosen: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Weight ``(G, in, out)`` and bias ``(G, 1, out)`` of a layer of the chosen networks."""
        bias = self.biases[index].view(self.count, 1, -1)
        return pick(self.weights[index], chosen), pick(bias, chosen)

    def layers(self, network: int) -> tuple[Layer, ...]:
        """The layers of one network."""
        pairs = (self.layer(index, (network,)) for index in range(len(self.weights)))
        return tuple(Layer(weight[0].T, bias[0, 0]) for weight, bias in pairs)

    @torch.no_grad()
    def fill(self, network: int, layers: Sequence[Layer]) -> None:
        """Copies the layers of a chain over those of one network."""
        for index, layer in enumerate(layers):
            self.weights[index][network].copy_(layer.weight.T)
            self.biases[index].view(self.count, -1)[network].copy_(layer.bias)


def pick(values: Tensor, chosen: Sequence[int] | None) -> Tensor:
    """The entries ``chosen`` of axis 0, without a copy where they are neighbours; None: all.

    The numbers stay on the host: indexing by a tensor would send it to the device first.
    """
    if chosen is None or list(chosen) == list(range(len(values))):
        return values
    first, count = chosen[0], len(chosen)
    if list(chosen) == list(range(first, first + count)):
        return values.narrow(0, first, count)
    return torch.stack([values[index] for index in chosen])


class Stacks(nn.Module):
    """Named networks of any forms: those of one key are stacked.

    Args:
        chains: name -> network.
        keys: name -> what its stack is called; networks of one key have one form.
    """

    def __init__(self, chains: Mapping[str, Chain], keys: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.keys = {name: _key(chain.form) for name, chain in chains.items()} | dict(keys or {})
        self.stacks = nn.ModuleDict()
        self.places: dict[str, int] = {}
        for key, names in together(self.keys).items():
            self.stacks[key] = Stack([chains[name] for name in names])
            self.places |= {name: place for place, name in enumerate(names)}

    def groups(self, names: Sequence[str]) -> list[tuple[Chosen, list[str]]]:
        """Some networks as functions of rows ``(G, N, in)``, each with the names it computes."""
        found = together({name: self.keys[name] for name in names}).items()
        return [(Chosen(self.stack(m[0]), [self.places[n] for n in m]), m) for _, m in found]

    def forward(self, inputs: Mapping[str, Tensor], spread: Spread = here) -> Tensor:
        """``(G, N, out)`` of the named networks, in the order of ``inputs``.

        Args:
            inputs: name -> ``(N, in)``; all the same N, and networks with the same width of output.
            spread: applies a stack to its rows.
        """
        found = [
            (spread(network, torch.stack([inputs[name] for name in names])), names)
            for network, names in self.groups(list(inputs))
        ]
        return in_order(found, list(inputs))

    def stack(self, name: str) -> Stack:
        """The stack that holds one network."""
        found = self.stacks[self.keys[name]]
        if not isinstance(found, Stack):
            raise TypeError(f"expected a Stack, got {type(found).__name__}")
        return found

    def layers(self, name: str) -> tuple[Layer, ...]:
        """The layers of one network."""
        return self.stack(name).layers(self.places[name])

    def fill(self, name: str, layers: Sequence[Layer]) -> None:
        """Copies layers over those of one network."""
        self.stack(name).fill(self.places[name], layers)


@dataclass(frozen=True)
class Chosen:
    """Some networks of a stack, as a function of their rows."""

    stack: Stack
    places: Sequence[int]

    def __call__(self, rows: Tensor) -> Tensor:
        """``(G, N, out)`` from ``(G, N, in)``."""
        return self.stack(rows, self.places)


def in_order(parts: Sequence[tuple[Tensor, Sequence[str]]], names: Sequence[str]) -> Tensor:
    """Results of groups ``(G, ...)`` as one tensor in the order of ``names``."""
    if len(parts) == 1:
        return parts[0][0]
    found = {
        name: value
        for values, members in parts
        for name, value in zip(members, values.unbind(), strict=True)
    }
    return torch.stack([found[name] for name in names])


def together(keys: Mapping[str, K]) -> dict[K, list[str]]:
    """Names of the same key, in their order."""
    found: dict[K, list[str]] = {}
    for name, key in keys.items():
        found.setdefault(key, []).append(name)
    return found


def _key(form: Form) -> str:
    """A form in words that name a module: ``128_256_256_1_silu``."""
    dropout = f"_{form.dropout}".replace(".", "p") if form.dropout else ""
    return "_".join(map(str, form.widths)) + f"_{form.activation}{dropout}"
