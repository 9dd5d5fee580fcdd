"""Linear layers that leave padding out: the same states and gradients, fewer rows computed."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from mimrl.model.encoders import TextEncoder
from mimrl.model.valid_rows import ValidLinear, ValidRows, leave_padding_out
from mimrl.settings.model import TransformerSettings

pytestmark = pytest.mark.usefixtures("seeded")

COMMON = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "pad_token_id": 1,
}
FAMILIES = {
    "bert": COMMON,
    "mpnet": COMMON,
    "roberta": COMMON,
    "modernbert": {**COMMON, "global_attn_every_n_layers": 1},
    "distilbert": {"vocab_size": 20, "dim": 8, "n_heads": 2, "n_layers": 2, "hidden_dim": 12},
}
IDS = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0], [2, 3, 0, 0, 0], [0, 0, 0, 0, 0]])
LENGTHS = torch.tensor([5, 3, 2, 0])


def made(kind: str) -> TextEncoder:
    config = {"model_type": kind, **FAMILIES[kind]}
    return TextEncoder(TransformerSettings(dropout=0, max_tokens=10), 4, config).double()


def result(encoder: TextEncoder) -> tuple[Tensor, dict[str, Tensor]]:
    """Features, and the gradient of each parameter; dropout is drawn from one seed."""
    encoder.zero_grad()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        found = encoder(IDS, LENGTHS)
    found.square().sum().backward()
    gradients = {n: p.grad for n, p in encoder.named_parameters() if p.grad is not None}
    return found.detach(), gradients


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("training", [False, True])
def test_states_and_gradients_are_the_same(
    kind: str, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = made(kind).train(training)
    fast, fast_gradients = result(encoder)
    monkeypatch.setattr(TextEncoder, "_without_padding", lambda *_: nullcontext())
    slow, slow_gradients = result(encoder)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-12)
    assert fast_gradients.keys() == slow_gradients.keys()
    for name, gradient in fast_gradients.items():
        torch.testing.assert_close(gradient, slow_gradients[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", FAMILIES)
def test_padding_with_zeros_suits_every_family(kind: str) -> None:
    """MPNet and RoBERTa pad with 1 and count positions from there; our batches pad with 0."""
    encoder = made(kind).eval()
    together = encoder.hidden(IDS, LENGTHS)
    for row, length in enumerate(LENGTHS[:3].tolist()):
        alone = encoder.transformer(input_ids=IDS[row : row + 1, :length]).last_hidden_state
        torch.testing.assert_close(together[row, :length], alone[0], rtol=0, atol=1e-12)


def test_padding_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text without tokens counts as one of one token."""
    rows: list[int] = []
    linear = nn.functional.linear

    def counted(values: Tensor, *rest: Tensor) -> Tensor:
        rows.append(values.numel() // values.shape[-1])
        return linear(values, *rest)

    encoder = made("bert").eval()
    monkeypatch.setattr(nn.functional, "linear", counted)
    encoder.hidden(IDS, LENGTHS)
    assert rows == [5 + 3 + 2 + 1] * 6 * 2
    rows.clear()
    encoder.hidden(IDS[:1], LENGTHS[:1])
    assert rows == [5] * 6 * 2


def test_compiled_transformers_compute_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = made("bert")
    monkeypatch.setattr(ValidRows, "only", lambda *_: pytest.fail("shapes would change each time"))
    encoder.transformer._compiled_call_impl = encoder.transformer._call_impl
    encoder.hidden(IDS, LENGTHS)


def test_parameters_and_names_stay() -> None:
    network = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    before = dict(network.named_parameters())
    leave_padding_out(network)
    after = dict(network.named_parameters())
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)
    assert sum(isinstance(module, ValidLinear) for module in network) == 2


def test_other_shapes_are_computed_whole() -> None:
    network = nn.Sequential(nn.Linear(3, 4))
    valid = leave_padding_out(network)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    values = torch.randn(2, 3, 3)
    with valid.only(mask):
        assert torch.equal(network(values[:, 0]), network[0](values[:, 0]))
        assert network(values[:, :2])[1, 1].count_nonzero() > 0
        assert network(values)[~mask].count_nonzero() == 0
    assert network(values)[~mask].count_nonzero() > 0
