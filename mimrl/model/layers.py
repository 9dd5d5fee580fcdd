"""The stack of layers of a transformer: where it is, what it learns, its upper part alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mimrl.errors import ConfigError

ALIKE = 1e-3  # of states of order one; those of a wrong layer differ by as much as they are


def stack_of(transformer: nn.Module, source: str) -> nn.ModuleList:
    """The stack of layers, found by its length: its name differs between models.

    Args:
        transformer: a model of the package transformers.
        source: how the settings name it, for the message.

    Raises:
        ConfigError: the layers were not found.
    """
    config: Any = transformer.config
    depth = int(config.num_hidden_layers)
    for module in transformer.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise ConfigError(
        f"{source!r}: its {depth} layers were not found, so model.encoders.text.train=top and "
        "training.text_layer_decay are impossible; use train=all or none, and no decay"
    )


def from_the_top(
    transformer: nn.Module, source: str = "text"
) -> list[tuple[str, list[nn.Parameter]]]:
    """The parameters that learn, layer by layer.

    Args:
        transformer: a model of the package transformers.
        source: how the settings name it, for messages.

    Returns:
        ``(layer11, its parameters)`` and so on down to ``layer0``; then ``(embeddings, all that is
        in no layer)``.

    Raises:
        ConfigError: the layers were not found.
    """
    stack = stack_of(transformer, source)
    found = [(f"layer{i}", list(layer.parameters())) for i, layer in enumerate(stack)][::-1]
    inside = {id(parameter) for parameter in stack.parameters()}
    others = [p for p in transformer.parameters() if id(p) not in inside]
    return [
        (name, [p for p in parameters if p.requires_grad])
        for name, parameters in [*found, ("embeddings", others)]
    ]


class _Given(nn.Module):
    """Stands for embeddings: gives fixed states, whatever it is asked."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self._states = states

    def forward(self, *_: object, **__: object) -> Tensor:
        return self._states


@contextmanager
def only_above(
    transformer: nn.Module, stack: nn.ModuleList, lower: int, states: Tensor
) -> Iterator[None]:
    """Inside, ``transformer`` begins with the layer number ``lower``, whose input is ``states``.

    Args:
        transformer: a model of the package transformers, with ``embeddings``.
        stack: its layers.
        lower: how many of them are left out.
        states: ``(B, T, d_text)``, what the layers that are left out gave.
    """
    network: Any = transformer
    parent, name = _place(transformer, stack)
    embeddings = network.embeddings
    network.embeddings = _Given(states)
    setattr(parent, name, stack[lower:])
    try:
        yield
    finally:
        network.embeddings = embeddings
        setattr(parent, name, stack)


def _place(transformer: nn.Module, stack: nn.ModuleList) -> tuple[nn.Module, str]:
    for parent in transformer.modules():
        for name, child in parent.named_children():
            if child is stack:
                return parent, name
    raise ConfigError("the stack of layers is not part of the transformer")


@torch.no_grad()
def require_upper_part(transformer: nn.Module, stack: nn.ModuleList, lower: int) -> None:
    """Tries whether the upper layers give the same from the lower ones' states as from tokens.

    Args:
        transformer: in evaluation mode.
        stack: its layers.
        lower: how many of them :func:`only_above` leaves out.

    Raises:
        ConfigError: they do not; between embeddings and layers is something else.
    """
    ids = torch.arange(2, 5)[None]
    whole = transformer(input_ids=ids, output_hidden_states=True)
    try:
        with only_above(transformer, stack, lower, whole.hidden_states[lower]):
            upper = transformer(input_ids=ids).last_hidden_state
        alike = torch.allclose(upper, whole.last_hidden_state, rtol=ALIKE, atol=ALIKE)
    except (AttributeError, RuntimeError):
        alike = False
    if not alike:
        config: Any = transformer.config
        raise ConfigError(
            f"a transformer of kind {config.model_type!r} cannot begin with layer {lower}; set "
            "model.encoders.text.cache_lower=false"
        )
