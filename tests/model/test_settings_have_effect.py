"""No setting of the model is without effect: each field has a change here that must be noticed.

What is compared is all a setting can touch: the parameters' names, shapes, start and whether they
learn, and the output in training and in evaluation, from one seed.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from mimrl.errors import ConfigError
from mimrl.model.model import MIMRL
from mimrl.settings import model as module
from mimrl.settings.base import Group
from mimrl.settings.model import (
    ConcatFusionSettings,
    ConvSettings,
    CrossModalSettings,
    CubeMlpSettings,
    GruSettings,
    LinearSettings,
    LowRankFusionSettings,
    LstmSettings,
    ModelSettings,
    TensorFusionSettings,
    TransformerSettings,
)

pytestmark = pytest.mark.usefixtures("seeded")

CUBE = {"time_len": 6, "sizes": ((6, 2, 8),), "hidden": ((4, 4, 4),)}
# group -> (fields beside the defaults, field -> another value)
CASES: dict[type[Group], tuple[dict[str, Any], dict[str, Any]]] = {
    TransformerSettings: (
        {"max_tokens": 20, "train": "top", "top_layers": 1},
        {
            "train": "none",
            "top_layers": 2,
            "cache_lower": True,
            "dropout": 0.6,
            "source": "OTHER",
        },
    ),
    LinearSettings: ({}, {"dropout": 0.6}),
    GruSettings: ({}, {"layers": 1, "dropout": 0.6}),
    LstmSettings: ({}, {"layers": 2, "dropout": 0.6}),
    ConvSettings: ({}, {"dropout": 0.6}),
    CubeMlpSettings: (
        CUBE,
        {
            "time_len": 5,
            "sizes": ((3, 2, 8),),
            "hidden": ((4, 5, 4),),
            "activation": "tanh",
            "dropout": (0.0, 0.0, 0.4),
            "bias": False,
            "ln_first": True,
            "project_residual": False,
            "residual_start": "pooling",
            "length_scaling": True,
            "compose_modalities": "sum",
            "compose_time": "cat",
        },
    ),
    TensorFusionSettings: ({}, {"factor_width": 3, "width": 9, "dropout": 0.6}),
    LowRankFusionSettings: ({}, {"rank": 3, "width": 9, "dropout": 0.6}),
    ConcatFusionSettings: ({}, {"width": 9, "dropout": 0.6}),
    CrossModalSettings: ({"heads": 2}, {"heads": 4, "layers": 1, "width": 9, "dropout": 0.6}),
    ModelSettings: (
        {"width": 8},
        {
            "width": 4,
            "encoders": {"text": {"kind": "linear"}},
            "fusion": {"kind": "concat"},
            "head_dropout": 0.6,
        },
    ),
}
ENCODERS = (TransformerSettings, LinearSettings, GruSettings, LstmSettings, ConvSettings)
# Tested elsewhere: a kind names the group; token ids are cut where texts are read.
ELSEWHERE = {"kind", "max_tokens"}


def settings(group: type[Group], fields: dict[str, Any], source: str) -> ModelSettings:
    common = {"width": 8, "fusion": {"kind": "concat", "width": 130}}
    if group is ModelSettings:
        encoders = {"text": {"kind": "gru"}}
        return ModelSettings.model_validate({**common, "encoders": encoders, **fields})
    if group in ENCODERS:
        given = {"source": source, **fields} if group is TransformerSettings else fields
        return ModelSettings.model_validate({**common, "encoders": {"text": group(**given)}})
    plain = {"text": LinearSettings(), "audio": LinearSettings()}
    return ModelSettings(width=8, encoders=plain, fusion=group(**fields))


def trace(model_settings: ModelSettings, make_batch: Any) -> list[Any]:
    reads_tokens = model_settings.encoders["text"].kind == "transformer"
    widths = {"text": 0 if reads_tokens else 3, "audio": 5}
    torch.manual_seed(0)
    model = MIMRL(model_settings, ("text", "audio"), widths, 2)
    parameters = [(n, tuple(p.shape), p.requires_grad) for n, p in model.named_parameters()]
    batch = make_batch(widths, {"text": (4, 2, 7), "audio": (8, 5, 1)})
    torch.manual_seed(1)
    trained = model.train()(batch).prediction.tolist()
    return [parameters, trained, model.eval()(batch).prediction.tolist()]


def test_every_group_has_a_case() -> None:
    groups = {g for g in vars(module).values() if isinstance(g, type) and issubclass(g, Group)}
    assert groups - {Group} == set(CASES)


@pytest.mark.parametrize("group", CASES, ids=lambda g: g.__name__)
def test_every_field_has_a_case(group: type[Group]) -> None:
    assert set(CASES[group][1]) == set(group.model_fields) - ELSEWHERE


@pytest.mark.parametrize(
    ("group", "field"),
    [(group, field) for group, (_, changes) in CASES.items() for field in changes],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_a_change_is_noticed(
    group: type[Group], field: str, tiny_source: str, make_batch: Any, tmp_path: Any
) -> None:
    base, changes = CASES[group]
    value = changes[field]
    if value == "OTHER":
        model = transformers.AutoModel.from_pretrained(tiny_source)
        with torch.no_grad():
            model.embeddings.word_embeddings.weight.add_(0.1)
        model.save_pretrained(tmp_path)
        value = str(tmp_path)
    before = trace(settings(group, base, tiny_source), make_batch)
    after = trace(settings(group, {**base, field: value}, tiny_source), make_batch)
    assert before != after


def test_the_trace_itself_is_repeatable(tiny_source: str, make_batch: Any) -> None:
    for group, (base, _) in CASES.items():
        chosen = settings(group, base, tiny_source)
        assert trace(chosen, make_batch) == trace(chosen, make_batch)


def test_max_tokens_is_held_against_the_encoder(tiny_source: str) -> None:
    with pytest.raises(ConfigError, match="max_tokens is 41"):
        MIMRL(
            settings(TransformerSettings, {"max_tokens": 41}, tiny_source),
            ("text", "audio"),
            {"audio": 5},
            1,
        )
