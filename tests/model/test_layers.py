"""The upper layers of a transformer alone: from the lower ones' states as from the tokens."""

from __future__ import annotations

import pytest
import torch
from model.test_valid_rows import FAMILIES, IDS, LENGTHS
from torch import Tensor

from mimrl.errors import ConfigError, ShapeError
from mimrl.model.encoders import TextEncoder
from mimrl.model.layers import stack_of
from mimrl.settings.model import TransformerSettings

pytestmark = pytest.mark.usefixtures("seeded")


def made(kind: str, *, top_layers: int = 1, **changes: object) -> TextEncoder:
    fields = {"train": "top", "top_layers": top_layers, "cache_lower": True, "max_tokens": 10}
    settings = TransformerSettings.model_validate({**fields, **changes})
    config = {"model_type": kind, **FAMILIES[kind]}
    return TextEncoder(settings, 4, config).double()


def result(encoder: TextEncoder, values: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    encoder.zero_grad()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        found = encoder(values, LENGTHS)
    found.square().sum().backward()
    gradients = {n: p.grad for n, p in encoder.named_parameters() if p.grad is not None}
    return found.detach(), gradients


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("training", [False, True])
def test_fixed_states_stand_for_ids(kind: str, training: bool) -> None:
    """With dropout too: the layers below have none, so what is drawn is the same."""
    encoder = made(kind).train(training)
    with torch.no_grad():
        states = encoder.fixed_states(IDS, LENGTHS)
    from_states, gradients = result(encoder, states)
    from_ids, expected = result(encoder, IDS)
    torch.testing.assert_close(from_states, from_ids, rtol=0, atol=1e-12)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-12)


def test_fixed_states_are_those_before_the_layers_that_learn() -> None:
    encoder = made("bert")
    taken: list[Tensor] = []
    stack = stack_of(encoder.transformer, "")
    stack[1].register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    states = encoder.fixed_states(IDS, LENGTHS)
    assert torch.equal(states[0], taken[0][0])
    assert torch.count_nonzero(states[1, 3:]) == 0


def test_only_the_layers_that_learn_have_dropout() -> None:
    encoder = made("bert").train()
    stack = stack_of(encoder.transformer, "")
    assert [layer.training for layer in stack] == [False, True]
    assert not encoder.transformer.embeddings.training
    assert encoder.dropout.training
    assert not any(module.training for module in encoder.eval().modules())


def test_the_transformer_is_whole_afterwards() -> None:
    encoder = made("mpnet")
    names = list(encoder.state_dict())
    encoder(encoder.fixed_states(IDS, LENGTHS), LENGTHS)
    with pytest.raises(RuntimeError):
        encoder.double()(torch.zeros(4, 5, 8, dtype=torch.float16), LENGTHS)
    assert list(encoder.state_dict()) == names


def test_what_cannot_be_cached_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"all 2 layers of .* learn"):
        made("bert", top_layers=2)
    with pytest.raises(ValueError, match="no effect with train=all"):
        TransformerSettings(train="all", cache_lower=True)
    with pytest.raises(ShapeError, match="token ids"):
        made("bert", cache_lower=False)(torch.zeros(4, 5, 8), LENGTHS)
    with pytest.raises(ShapeError, match="8"):
        made("bert")(torch.zeros(4, 5, 7), LENGTHS)


def test_a_transformer_with_something_between_is_refused() -> None:
    """ELECTRA's small models project what the embeddings give."""
    config = {"model_type": "electra", **FAMILIES["bert"], "embedding_size": 4}
    fields = {"train": "top", "top_layers": 1, "cache_lower": True, "max_tokens": 10}
    with pytest.raises(ConfigError, match="kind 'electra' cannot begin with layer 1"):
        TextEncoder(TransformerSettings.model_validate(fields), 4, config)
