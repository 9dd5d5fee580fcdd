"""Encoders: closed forms on single samples, masks, and what of a transformer learns."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mimrl import pretrained
from mimrl.errors import ConfigError, ShapeError
from mimrl.model.encoders import (
    MASK_AS_IT_IS,
    NORM_EPS,
    RecurrentEncoder,
    TextEncoder,
    build_encoder,
    run_packed,
)
from mimrl.model.masks import masked_mean, step_mask, zero_padding
from mimrl.settings.model import (
    ConvSettings,
    GruSettings,
    LinearSettings,
    LstmSettings,
    TransformerSettings,
)

pytestmark = pytest.mark.usefixtures("seeded")

D_IN, D = 5, 8
FEATURE_ENCODERS = [
    LinearSettings(dropout=0),
    GruSettings(dropout=0),
    LstmSettings(dropout=0),
    ConvSettings(dropout=0),
]
each_feature_encoder = pytest.mark.parametrize("settings", FEATURE_ENCODERS, ids=lambda s: s.kind)


def sequences(lengths: list[int], width: int = D_IN) -> tuple[Tensor, Tensor]:
    valid = torch.tensor(lengths)
    x = torch.randn(len(lengths), max(1, max(lengths)), width, dtype=torch.float64)
    return zero_padding(x, valid), valid


def test_masked_mean_by_hand() -> None:
    x = torch.tensor([[[1.0], [3.0], [float("nan")]], [[2.0], [4.0], [6.0]]])
    assert masked_mean(x, torch.tensor([2, 3])).tolist() == [[2.0], [4.0]]


def test_masks_count_valid_steps() -> None:
    lengths = torch.tensor([0, 2, 5])
    assert step_mask(lengths, 4).sum(1).tolist() == [0, 2, 4]


@each_feature_encoder
def test_a_padded_batch_equals_its_samples_alone(settings: GruSettings) -> None:
    encoder = build_encoder(settings, D_IN, D).double()
    x, lengths = sequences([6, 1, 4])
    together = encoder(x, lengths)
    for row, n in enumerate(lengths.tolist()):
        alone = encoder(x[row : row + 1, :n], lengths[row : row + 1])
        torch.testing.assert_close(together[row, :n], alone[0], rtol=0, atol=1e-12)
        assert torch.count_nonzero(together[row, n:]) == 0


@each_feature_encoder
def test_what_stands_in_the_padding_does_not_matter(settings: GruSettings) -> None:
    encoder = build_encoder(settings, D_IN, D).double()
    x, lengths = sequences([6, 1, 4])
    dirty = torch.where(step_mask(lengths, 6)[..., None], x, torch.nan)
    torch.testing.assert_close(encoder(dirty, lengths), encoder(x, lengths), rtol=0, atol=0)


@each_feature_encoder
def test_an_empty_sequence_counts_as_one_step_of_zeros(settings: GruSettings) -> None:
    encoder = build_encoder(settings, D_IN, D).double()
    x, _ = sequences([3, 3])
    lengths = torch.tensor([3, 0])
    zero = encoder(torch.zeros(1, 1, D_IN, dtype=torch.float64), torch.tensor([1]))
    encoded = encoder(x, lengths)
    torch.testing.assert_close(encoded[1, :1], zero[0], rtol=0, atol=1e-12)
    assert torch.count_nonzero(encoded[1, 1:]) == 0


@each_feature_encoder
def test_dropout_acts_in_training_only(settings: GruSettings) -> None:
    encoder = build_encoder(settings.model_copy(update={"dropout": 0.5}), D_IN, D).double()
    x, lengths = sequences([4, 4])
    assert not torch.equal(encoder(x, lengths), encoder(x, lengths))
    encoder.eval()
    assert torch.equal(encoder(x, lengths), encoder(x, lengths))


def test_linear_is_a_projection_without_bias() -> None:
    encoder = build_encoder(LinearSettings(dropout=0), D_IN, D).double()
    x, lengths = sequences([3, 2])
    weight = encoder.projection.weight
    torch.testing.assert_close(encoder(x, lengths), torch.einsum("bti,oi->bto", x, weight))


@pytest.mark.parametrize("settings", [GruSettings(dropout=0), LstmSettings(dropout=0, layers=2)])
def test_recurrent_directions_are_added(settings: GruSettings) -> None:
    encoder = RecurrentEncoder(settings, D_IN, D).double()
    x, lengths = sequences([7])
    states = encoder.recurrent(x)[0]
    added = states[..., :D] + states[..., D:]
    normed = functional.layer_norm(added, (D,), encoder.norm.weight, encoder.norm.bias, NORM_EPS)
    torch.testing.assert_close(encoder(x, lengths), normed.relu(), rtol=0, atol=1e-12)
    assert encoder.recurrent.num_layers == settings.layers
    assert encoder.recurrent.bidirectional


@pytest.mark.parametrize("settings", [GruSettings(layers=2), LstmSettings()])
def test_recurrent_weights_start_orthogonal(settings: GruSettings) -> None:
    encoder = RecurrentEncoder(settings, D_IN, D)
    weights = [p for n, p in encoder.recurrent.named_parameters() if n.startswith("weight_hh")]
    assert len(weights) == 2 * settings.layers
    for weight in weights:
        torch.testing.assert_close(weight.T @ weight, torch.eye(D), rtol=0, atol=1e-5)


def test_convolution_sees_three_steps() -> None:
    encoder = build_encoder(ConvSettings(dropout=0), D_IN, D).double()
    x, lengths = sequences([5])
    weight, bias = encoder.convolution.weight, encoder.convolution.bias
    around = functional.pad(x[0], (0, 0, 1, 1)).unfold(0, 3, 1)
    mixed = torch.einsum("tik,oik->to", around, weight) + bias
    normed = functional.layer_norm(mixed, (D,), eps=1e-6).relu()
    torch.testing.assert_close(encoder(x, lengths)[0], normed, rtol=0, atol=1e-12)


def test_token_ids_need_a_transformer() -> None:
    with pytest.raises(ConfigError, match="token ids"):
        build_encoder(GruSettings(), 0, D)


# --- transformers -------------------------------------------------------------------------------

MakeText = Callable[..., TextEncoder]


@pytest.fixture
def text(tiny_source: str) -> MakeText:
    def make(**changes: object) -> TextEncoder:
        fields = {"source": tiny_source, "max_tokens": 40, "dropout": 0, **changes}
        return TextEncoder(TransformerSettings.model_validate(fields), D)

    return make


IDS = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0], [0, 0, 0, 0, 0]])
TOKENS = torch.tensor([5, 3, 0])


def learning(encoder: TextEncoder) -> set[str]:
    return {name for name, p in encoder.transformer.named_parameters() if p.requires_grad}


def test_text_padded_equals_text_alone(text: MakeText) -> None:
    encoder = text().double().eval()
    together = encoder(IDS, TOKENS)
    for row, n in enumerate(TOKENS[:2].tolist()):
        alone = encoder(IDS[row : row + 1, :n], TOKENS[row : row + 1])
        torch.testing.assert_close(together[row, :n], alone[0], rtol=0, atol=1e-12)
        assert torch.count_nonzero(together[row, n:]) == 0
    other = torch.where(step_mask(TOKENS, 5), IDS, 17)
    torch.testing.assert_close(encoder(other, TOKENS), together, rtol=0, atol=1e-12)


def test_no_text_is_zero_and_its_gradient_finite(text: MakeText) -> None:
    encoder = text()
    encoded = encoder(IDS, TOKENS)
    assert torch.count_nonzero(encoded[2]) == 0
    encoded.square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in encoder.parameters() if p.requires_grad)
    nothing = encoder(torch.zeros(2, 1, dtype=torch.int64), torch.tensor([0, 0]))
    assert torch.count_nonzero(nothing) == 0


def test_text_is_the_projected_last_hidden_state(text: MakeText) -> None:
    encoder = text().double().eval()
    states = encoder.transformer(input_ids=IDS[:1]).last_hidden_state
    expected = states @ encoder.projection.weight.T
    torch.testing.assert_close(encoder(IDS[:1], TOKENS[:1]), expected, rtol=0, atol=1e-12)
    assert encoder.projection.bias is None


def test_train_all_learns_everything(text: MakeText) -> None:
    encoder = text(train="all")
    assert learning(encoder) == {name for name, _ in encoder.transformer.named_parameters()}
    assert encoder.transformer.training


@pytest.mark.parametrize("top", [1, 2, 3])
def test_train_top_learns_the_last_layers_only(text: MakeText, top: int) -> None:
    encoder = text(train="top", top_layers=top)
    layers = {name.split(".")[2] for name in learning(encoder)}
    assert layers == {str(i) for i in range(3 - top, 3)}
    assert all(name.startswith("encoder.layer.") for name in learning(encoder))
    encoder(IDS, TOKENS).square().sum().backward()
    touched = {n for n, p in encoder.transformer.named_parameters() if p.grad is not None}
    assert touched == learning(encoder)


def test_train_none_is_fixed_even_in_training(text: MakeText) -> None:
    encoder = text(train="none").train()
    assert learning(encoder) == set()
    assert not any(module.training for module in encoder.transformer.modules())
    assert encoder.dropout.training
    assert torch.equal(encoder(IDS, TOKENS), encoder(IDS, TOKENS))


def test_inner_dropout_is_on_while_learning(text: MakeText) -> None:
    encoder = text(train="all").train()
    assert not torch.equal(encoder(IDS, TOKENS), encoder(IDS, TOKENS))


def test_cached_hidden_states_stand_for_ids(text: MakeText) -> None:
    encoder = text(train="none")
    cached = encoder.hidden(IDS, TOKENS)
    assert not cached.requires_grad
    assert torch.equal(encoder(cached, TOKENS), encoder(IDS, TOKENS))


def test_cached_hidden_states_need_a_frozen_encoder_and_its_width(text: MakeText) -> None:
    with pytest.raises(ShapeError, match="token ids"):
        text(train="all")(torch.zeros(1, 2, 16), torch.tensor([2]))
    with pytest.raises(ShapeError, match="16"):
        text(train="none")(torch.zeros(1, 2, 15), torch.tensor([2]))


def test_more_top_layers_than_layers(text: MakeText) -> None:
    with pytest.raises(ConfigError, match="has 3 layers"):
        text(train="top", top_layers=4)


def test_longer_texts_than_the_position_table(text: MakeText) -> None:
    with pytest.raises(ConfigError, match="at most 40"):
        text(max_tokens=41)


def test_positions_of_roberta_start_after_its_padding_id() -> None:
    config = {
        "model_type": "roberta",
        "vocab_size": 9,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "max_position_embeddings": 12,
        "pad_token_id": 1,
    }
    encoder = TextEncoder(TransformerSettings(max_tokens=10), D, config)
    ids = torch.full((1, 10), 5)
    assert encoder(ids, torch.tensor([10])).shape == (1, 10, D)
    with pytest.raises(ConfigError, match="at most 10"):
        TextEncoder(TransformerSettings(max_tokens=11), D, config)


@pytest.mark.parametrize("kind", ["distilbert", "electra", "mpnet", "modernbert"])
def test_other_families_find_their_layers(kind: str) -> None:
    sizes = {
        "distilbert": {"dim": 8, "n_heads": 2, "n_layers": 2, "hidden_dim": 8},
        "modernbert": {"global_attn_every_n_layers": 1, "pad_token_id": 0},
    }.get(kind, {})
    common = {
        "vocab_size": 20,
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }
    fields = sizes if kind == "distilbert" else {**common, **sizes}
    config = {"model_type": kind, "vocab_size": 20, **fields}
    encoder = TextEncoder(TransformerSettings(train="top", top_layers=1), D, config)
    encoder(IDS.clamp(max=19), TOKENS).square().sum().backward()
    learns = [p for p in encoder.transformer.parameters() if p.requires_grad]
    assert learns
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in learns)


def test_modules_are_in_the_mode_they_were_set_to(text: MakeText) -> None:
    network = nn.ModuleList([text(train="none")])
    network.train()
    assert not network[0].transformer.training
    network.eval()
    assert not network[0].training


class TestOnAGpu:
    """What runs on a GPU in the place of the CPU's code; here it runs on the CPU."""

    @pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
    def test_states_of_packed_sequences_come_in_the_order_of_the_rows(
        self, kind: type[nn.GRU]
    ) -> None:
        network = kind(D_IN, D, 2, batch_first=True, bidirectional=True).double()
        x, lengths = sequences([2, 6, 1, 6, 4])
        together = run_packed(network, x.requires_grad_(), lengths)
        (gradient,) = torch.autograd.grad(together.square().sum(), x)
        for row, n in enumerate(lengths.tolist()):
            single = x[row : row + 1, :n].detach().requires_grad_()
            alone = network(single)[0]
            torch.testing.assert_close(together[row, :n], alone[0], rtol=0, atol=1e-13)
            (expected,) = torch.autograd.grad(alone.square().sum(), single)
            torch.testing.assert_close(gradient[row, :n], expected[0], rtol=0, atol=1e-12)
            assert torch.count_nonzero(together[row, n:]) == 0

    def test_recurrences_stay_in_float32_under_autocast(self) -> None:
        network = nn.GRU(D_IN, D, batch_first=True, bidirectional=True)
        x, lengths = sequences([2, 6, 1])
        exact = run_packed(network, x.float(), lengths)
        with torch.autocast("cpu", torch.bfloat16):
            found = run_packed(network, x.to(torch.bfloat16), lengths)
            assert torch.equal(run_packed(network, x.float(), lengths), exact)
        assert found.dtype == torch.float32

    @pytest.mark.parametrize("kind", MASK_AS_IT_IS)
    def test_a_ready_mask_is_what_transformers_makes_of_the_lengths(self, kind: str) -> None:
        """And it is taken as it is: the same states to the last bit, also with every row full."""
        sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "embedding_size": 16}
        sizes |= {"num_attention_heads": 2, "intermediate_size": 32}
        sizes |= {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}  # DistilBERT's names
        network = pretrained.build_encoder({"model_type": kind, **sizes}).eval()
        encoder = TextEncoder.__new__(TextEncoder)
        nn.Module.__init__(encoder)
        encoder.transformer = network
        ids = torch.randint(5, 50, (3, 7))
        for lengths in (torch.tensor([7, 3, 1]), torch.tensor([7, 7, 7])):
            valid = step_mask(lengths, 7)
            whole = encoder._whole_mask(valid)
            assert whole.shape == (3, 1, 7, 7)
            given, expected = (
                network(input_ids=ids, attention_mask=mask).last_hidden_state
                for mask in (whole, valid.long())
            )
            torch.testing.assert_close(
                zero_padding(given, lengths), zero_padding(expected, lengths), rtol=0, atol=1e-6
            )

    def test_other_transformers_get_the_lengths(self) -> None:
        """MPNet adds its mask to the scores: a mask of truth values would be wrong there."""
        network = pretrained.build_encoder(
            {
                "model_type": "mpnet",
                "vocab_size": 50,
                "hidden_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 32,
            }
        )
        encoder = TextEncoder.__new__(TextEncoder)
        nn.Module.__init__(encoder)
        encoder.transformer = network
        assert encoder._whole_mask(step_mask(torch.tensor([2, 3]), 3)).tolist() == [
            [1, 1, 0],
            [1, 1, 1],
        ]
