"""Networks built from original checkpoints say what the original network says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from original.published import Form, build, checkpoint, inputs
from torch import Tensor

from mimrl.datasets.loading import Batch
from mimrl.errors import CheckpointError, ShapeError
from mimrl.original import OriginalMimrl, OriginalOptions, is_original, load_original

FORM = Form()
FORMS = {
    "gru": FORM,
    "lstm": replace(FORM, encoders="lstm"),
    "conv": replace(FORM, encoders="conv"),
    "ln_first": replace(FORM, ln_first=True),
    "no bias": replace(FORM, bias=False),
    "prelu": replace(FORM, activate="prelu"),
    "cat time": replace(FORM, compose_t="cat"),
    "cat modalities": replace(FORM, compose_k="cat"),
    "cat both": replace(FORM, compose_k="cat", compose_t="cat"),
    "wide head": replace(
        FORM, outs=((4, 3, 6), (9, 2, 8)), compose_k="cat", compose_t="cat", outputs=7
    ),
    "one block": replace(FORM, hidden=((5, 4, 7),), outs=((4, 2, 6),), project=(True,)),
    "identity residual": replace(FORM, outs=((6, 3, 8), (4, 2, 5)), project=(False, True)),
}


def save(path: Path, form: Form, *, prefix: str = "module.") -> Path:
    torch.save(checkpoint(build(form), prefix=prefix), path)
    return path


def batch(ids: Tensor, mask: Tensor, audio: Tensor, video: Tensor) -> Batch:
    """No lengths of audio and video: the original counts frames."""
    values = {"text": ids, "audio": audio, "video": video}
    return Batch(torch.arange(len(ids)), values, {"text": mask.sum(1)}, torch.zeros(len(ids)))


@torch.no_grad()
def outputs(model: OriginalMimrl, given: Batch) -> dict[str, Tensor]:
    output = model(given)
    return {**output.unimodal, "fused": output.fused, "prediction": output.prediction}


def same(found: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=tolerance)


@pytest.mark.parametrize("prefix", ["module.", ""])
@pytest.mark.parametrize("kind", ["gru", "conv"])
def test_outputs_of_the_published_code(kind, prefix, reference_root, tmp_path):
    file = reference_root / f"mimrl_{kind}_best_valid_model.pth.tar"
    if not prefix:
        content = torch.load(file, weights_only=True)
        content["model"] = {n.removeprefix("module."): v for n, v in content["model"].items()}
        file = tmp_path / "bare.pth.tar"
        torch.save(content, file)
    with np.load(reference_root / f"mimrl_{kind}_forward.npz") as arrays:
        config = json.loads(str(arrays["config"]))
        given = {n: torch.from_numpy(arrays[n]) for n in arrays.files if n != "config"}
    loaded = load_original(file)
    names = {"text": "text", "audio": "audio_feature", "video": "video_feature"}
    wanted = {n: given[names.get(n, n)] for n in (*names, "fused", "prediction")}
    inputs = (given[n] for n in ("input_ids", "attention_mask", "audio", "video"))
    same(outputs(loaded.model, batch(*inputs)), wanted)
    assert loaded.sizes.width == config["d_common"]
    assert loaded.sizes.time_len == config["time_len"]
    assert [list(block) for block in loaded.sizes.blocks] == config["d_outs"]
    assert loaded.sizes.bert.layers == config["bert"]["num_hidden_layers"]
    assert loaded.epoch == 8
    cat = config["features_compose_t"] == "cat"
    assert any("time steps are joined by their mean" in text for text in loaded.assumed) != cat


@pytest.mark.parametrize("name", FORMS)
def test_outputs_of_an_independent_network(name, tmp_path):
    form = FORMS[name]
    loaded = load_original(save(tmp_path / "x.pth.tar", form))
    given = inputs(form)
    with torch.no_grad():
        wanted = build(form)(*given.values())
    same(outputs(loaded.model, batch(*given.values())), wanted)


def test_options_that_sizes_do_not_tell(tmp_path):
    """All sizes stay the same here, so the order of LayerNorm is an option too."""
    form = replace(
        FORM,
        hidden=((6, 3, 8),) * 2,
        outs=((6, 3, 8),) * 2,
        project=(False, False),
        ln_first=True,
        activate="hardtanh",
        compose_k="sum",
        compose_t="sum",
        bert_width=48,
        heads=3,
    )
    file = save(tmp_path / "x.pth.tar", form)
    options = OriginalOptions(
        ln_first=True, activation="hardtanh", compose_modalities="sum", compose_time="sum", heads=3
    )
    given = inputs(form)
    with torch.no_grad():
        wanted = build(form)(*given.values())
    loaded = load_original(file, options)
    same(outputs(loaded.model, batch(*given.values())), wanted)
    for key in ("ln_first", "activation", "compose_modalities", "compose_time"):
        changed = OriginalOptions(**{k: v for k, v in options if k != key and v is not None})
        other = outputs(load_original(file, changed).model, batch(*given.values()))
        assert (other["fused"] - wanted["fused"]).abs().max() > 1e-3, key


def test_sizes_are_read_from_the_weights(tmp_path):
    form = replace(FORM, audio=11, video=2, width=16, time_len=9, encoders="lstm", bias=False)
    sizes = load_original(save(tmp_path / "x.pth.tar", form)).sizes
    assert (sizes.width, sizes.time_len, sizes.hidden, sizes.blocks) == (
        16,
        9,
        form.hidden,
        form.outs,
    )
    assert (sizes.audio.kind, sizes.audio.features, sizes.audio.layers) == ("lstm", 11, 1)
    assert (sizes.video.features, sizes.project, sizes.bias) == (2, (True, True), False)
    bert = sizes.bert
    assert (bert.vocabulary, bert.width, bert.layers, bert.intermediate) == (31, 64, 2, 48)
    assert (bert.positions, bert.types, sizes.outputs, sizes.fused) == (20, 2, 1, 8)
    assert sizes.ln_first is False


def test_our_network_with_these_weights_agrees_where_nothing_is_padded(tmp_path):
    loaded = load_original(save(tmp_path / "x.pth.tar", FORM))
    given = inputs(FORM)
    whole = {
        "ids": given["ids"][:1],
        "mask": given["mask"][:1],
        "a": given["a"][:1] + 0.1,
        "v": given["v"][:1],
    }
    full = batch(*whole.values())
    lengths = {name: torch.tensor([value.shape[1]]) for name, value in full.inputs.items()}
    ours = replace(full, lengths=lengths)
    with torch.no_grad():
        output = loaded.model.network(ours)
    wanted = outputs(loaded.model, full)
    same({**output.unimodal, "fused": output.fused, "prediction": output.prediction}, wanted)


def test_padding_counts_as_published_or_not_at_all(tmp_path):
    file = save(tmp_path / "x.pth.tar", FORM)
    given = inputs(FORM)
    longer = {
        "ids": torch.nn.functional.pad(given["ids"], (0, 3)),
        "mask": torch.nn.functional.pad(given["mask"], (0, 3)),
        "a": torch.nn.functional.pad(given["a"], (0, 0, 0, 3)),
        "v": torch.nn.functional.pad(given["v"], (0, 0, 0, 3)),
    }
    for means, stays in (("padded", False), ("valid", True)):
        model = load_original(file, OriginalOptions(means=means)).model
        short, padded = (outputs(model, batch(*x.values())) for x in (given, longer))
        for name in ("text", "audio", "video"):
            assert torch.allclose(short[name], padded[name], atol=1e-6) == stays, (means, name)


def test_weights_of_bert_only_older_transformers_had(tmp_path):
    content = checkpoint(build(FORM))
    content["model"]["module.bertmodel.embeddings.position_ids"] = torch.arange(20)[None]
    file = tmp_path / "x.pth.tar"
    torch.save(content, file, _use_new_zipfile_serialization=False)
    assert is_original(file)
    given = inputs(FORM)
    with torch.no_grad():
        wanted = build(FORM)(*given.values())
    same(outputs(load_original(file).model, batch(*given.values())), wanted)


def test_what_was_assumed(tmp_path):
    file = save(tmp_path / "x.pth.tar", FORM)
    assumed = load_original(file).assumed
    named = [text.partition("(option ")[2].rstrip(").") for text in assumed]
    options = ["activation", "compose_modalities", "compose_time", "heads", "means", "batch_size"]
    options += ["tokenizer", "max_tokens", "text_padding", "scaling"]
    assert [key.rpartition("(option ")[2] or key for key in named if key] == options
    assert "Texts are cut to 6 tokens (option max_tokens)." in assumed
    assert assumed[-1].startswith("The original code keeps references")
    given = OriginalOptions(
        **{"activation": "gelu", "compose_modalities": "mean", "compose_time": "mean", "heads": 1},
        **{"means": "padded", "batch_size": 16, "tokenizer": "x", "max_tokens": 5},
        **{"text_padding": "batch", "scaling": {"audio": "minmax"}},
    )
    assert load_original(file, given).assumed == assumed[-2:]


def test_shapes_that_do_not_fit_the_network(tmp_path):
    model = load_original(save(tmp_path / "x.pth.tar", FORM)).model
    given = batch(*inputs(FORM).values())
    for name, value, message in (
        ("audio", torch.zeros(4, 9, 2), r"audio: expected \(B, T, 3\)"),
        ("text", torch.zeros(4, 7, 64), r"text: expected \(B, T\) token ids"),
    ):
        with pytest.raises(ShapeError, match=message):
            model(replace(given, inputs={**given.inputs, name: value}))
    with pytest.raises(ShapeError, match="no modality 'video'"):
        model(replace(given, inputs={n: v for n, v in given.inputs.items() if n != "video"}))


OPTIONS = {
    "ln_first": (FORM, {"ln_first": True}, "option ln_first is true, but its LayerNorms have"),
    "prelu": (FORM, {"activation": "prelu"}, "but its MLPs have no weight of a prelu"),
    "no prelu": (
        replace(FORM, activate="prelu"),
        {"activation": "gelu"},
        "but its MLPs have the weight of a prelu",
    ),
    "cat": (FORM, {"compose_time": "cat"}, "no choice of compose_modalities and compose_time"),
    "same cat": (
        replace(FORM, outs=((4, 3, 6), (3, 3, 8)), compose_k="cat"),
        {},
        "fits cat of modalities and cat of time alike; set option",
    ),
    "heads": (replace(FORM, bert_width=48, heads=3), {}, "width 48 is not divided by heads of 64"),
    "wrong heads": (FORM, {"heads": 5}, "width 64 is not divided by 5 heads; set option heads"),
    "positions": (FORM, {"max_tokens": 21}, "max_tokens is 21, but its BERT has 20 positions"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_contradict_the_weights(name, tmp_path):
    form, values, message = OPTIONS[name]
    file = save(tmp_path / "x.pth.tar", form)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_original(file, OriginalOptions(**values))
    assert str(caught.value).startswith(str(file))


def test_the_option_that_tells_the_two_cats_apart(tmp_path):
    form = replace(FORM, outs=((4, 3, 6), (3, 3, 8)), compose_k="cat")
    file = save(tmp_path / "x.pth.tar", form)
    given = inputs(form)
    with torch.no_grad():
        wanted = build(form)(*given.values())
    loaded = load_original(file, OriginalOptions(compose_modalities="cat"))
    same(outputs(loaded.model, batch(*given.values())), wanted)
