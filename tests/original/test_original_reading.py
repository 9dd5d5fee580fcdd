"""Which files are read as checkpoints of the original code, and how all others are refused."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace

import pytest
import torch
from original.published import Form, build, checkpoint

from mimrl.errors import CheckpointError, ConfigError, MissingFileError
from mimrl.original import OriginalOptions, is_original, load_options, load_original

FORM = Form()
NAME = "best_valid_model.pth.tar"


@pytest.fixture(scope="module")
def content():
    """A whole checkpoint; tests change copies of its top two levels."""
    return checkpoint(build(FORM), prefix="")


class Command:
    """Would run a command when it is unpickled."""

    def __init__(self, text):
        self.text = text

    def __reduce__(self):
        return os.system, (self.text,)


def changed(content, **weights):
    """A checkpoint with other weights; None takes them out."""
    model = {name: value for name, value in content["model"].items() if name not in weights}
    named = {name: value for name, value in weights.items() if value is not None}
    return {**content, "model": {**model, **named}}


def test_a_folder_stands_for_its_checkpoint(content, tmp_path):
    assert not is_original(tmp_path)
    torch.save(content, tmp_path / NAME)
    assert is_original(tmp_path)
    loaded = load_original(tmp_path)
    assert loaded.path == tmp_path / NAME
    assert loaded.epoch == 4  # 3 in the file, which counts from 0
    assert not loaded.model.training


def test_an_epoch_is_not_needed(content, tmp_path):
    torch.save({"model": content["model"]}, tmp_path / NAME)
    assert load_original(tmp_path).epoch is None


def test_what_is_no_original_checkpoint(content, tmp_path):
    files = {
        "absent": None,
        "empty": b"",
        "text": b"hello",
        "data": pickle.dumps({"mlp_encoder.layers_stack.0.mlp_l.fc1.weight": 1}),
        "other.pt": {"model": {"weight": torch.zeros(2)}},
    }
    for name, value in files.items():
        path = tmp_path / name
        if isinstance(value, bytes):
            path.write_bytes(value)
        elif value is not None:
            torch.save(value, path)
        assert not is_original(path), name


def test_forbidden_names_are_recognised_but_not_run(content, tmp_path):
    mark = tmp_path / "mark"
    harmful = {**content, "optim_main": Command(f"touch {mark}")}
    for zipped in (True, False):
        path = tmp_path / f"{zipped}.pth.tar"
        torch.save(harmful, path, _use_new_zipfile_serialization=zipped)
        assert is_original(path)
        with pytest.raises(CheckpointError, match=r"refused, because it asks for \w+\.system"):
            load_original(path)
    assert not mark.exists()


def test_damaged_files(content, tmp_path):
    for zipped in (True, False):
        whole = tmp_path / f"{zipped}.pth.tar"
        torch.save(content, whole, _use_new_zipfile_serialization=zipped)
        data = whole.read_bytes()
        for size in (0, 10, len(data) // 2, len(data) - 3):
            whole.write_bytes(data[:size])
            with pytest.raises(CheckpointError, match="expected a whole file written by torch"):
                load_original(whole)
    with pytest.raises(MissingFileError, match="does not exist; expected a file such as"):
        load_original(tmp_path / "absent")
    with pytest.raises(MissingFileError, match=NAME):
        load_original(tmp_path)


def test_other_contents(content, tmp_path):
    path = tmp_path / "x.pth.tar"
    for value, message in (
        (torch.zeros(3), "got Tensor; name its"),
        ({}, "got one with nothing in it"),
        ({"state": {}, "epoch": 1}, "got one with epoch, state"),
        ({"model": [1]}, "got one with model"),
        ({"model": {}}, "got 0 names such as none"),
        (content["model"], "expected a dictionary with 'epoch', 'model'"),
        ({"model": {"a.b": torch.zeros(1)}}, r"no weights 'mlp_encoder.*got 1 names such as a\.b"),
        (changed(content, note="text"), "note is str, expected a tensor"),
    ):
        torch.save(value, path)
        with pytest.raises(CheckpointError, match=message) as caught:
            load_original(path)
        assert str(path) in str(caught.value)


def test_weights_that_are_not_finite(content, tmp_path):
    bad = content["model"]["W_t.weight"].clone()
    bad[1, 1] = torch.nan
    torch.save(changed(content, **{"W_t.weight": bad}), tmp_path / NAME)
    with pytest.raises(CheckpointError, match=r"W_t\.weight holds NaN or infinite weights"):
        load_original(tmp_path)


STACK = "mlp_encoder.layers_stack"
WRONG = {
    "no projection": ({"W_t.weight": None}, "expected weights 'W_t.weight', got none"),
    "axes": ({"W_t.weight": torch.zeros(8)}, r"expected W_t\.weight with 2 axes, got shape \(8,\)"),
    "no encoder": ({"rnn_a.weight_ih_l0": None}, "expected weights 'rnn_a.weight_ih_l0'"),
    "one direction": ({"rnn_v.weight_ih_l0_reverse": None}, "rnn_v.weight_ih_l0_reverse"),
    "gates": ({"rnn_a.weight_ih_l0": torch.zeros(16, 3)}, r"3 \(gru\) or 4 \(lstm\) times 8 rows"),
    "kernel": ({"conv_a.weight": torch.zeros(8, 3, 5)}, "with kernel 3, got kernel 5"),
    "no bias": ({"ln_a.bias": None}, r"encoders\.audio\.norm\.bias is missing"),
    "stranger": ({"extra.weight": torch.zeros(1)}, r"extra\.weight has no place"),
    "widths": (
        {"W_t.weight": torch.zeros(8, 32)},
        r"W_t\.weight has shape \(8, 32\) where \(8, 64\) fits",
    ),
    "hidden": (
        {f"{STACK}.1.mlp_k.fc2.weight": torch.zeros(2, 9)},
        r"layers_stack\.1\.mlp_k\.fc2\.weight has shape \(2, 9\) where \(2, 3\) fits",
    ),
    "residual": ({f"{STACK}.0.res_projection_l.weight": None}, "sizes make no network"),
    "head": ({"classifier.0.weight": torch.zeros(1, 7)}, "its head reads 7 features"),
    "layer": (
        {"bertmodel.encoder.layer.1.output.dense.weight": None},
        r"layer\.1\.output\.dense\.weight is missing",
    ),
    "no words": ({"bertmodel.embeddings.word_embeddings.weight": None}, "word_embeddings.weight'"),
    "block": ({f"{STACK}.1.mlp_l.fc1.weight": None}, "layers_stack.1.mlp_l.fc1.weight'"),
    "size one": (
        {f"{STACK}.1.mlp_k.fc2.weight": torch.zeros(1, 3)},
        "sizes has a 1 with ln_first=false",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_weights_that_do_not_fit_each_other(name, content, tmp_path):
    weights, message = WRONG[name]
    torch.save(changed(content, **weights), tmp_path / NAME)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_original(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / NAME))


def test_identity_residual_between_unequal_sizes(tmp_path):
    model = build(replace(FORM, outs=((6, 3, 8), (4, 2, 5)), project=(False, True)))
    weights = {
        name: value for name, value in model.state_dict().items() if "stack.1.res" not in name
    }
    torch.save({"model": weights}, tmp_path / NAME)
    with pytest.raises(CheckpointError, match=r"sizes make no network.*equal sizes, got 6 -> 4"):
        load_original(tmp_path)


def test_options_from_a_file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        "activation: relu\ndropout: [0.5, 0.5, 0.5, 0.5]\nscaling: {audio: minmax}\nbatch_size: 16"
    )
    wanted = OriginalOptions(
        activation="relu", dropout=(0.5,) * 4, scaling={"audio": "minmax"}, batch_size=16
    )
    assert load_options(path) == wanted
    assert load_options() == OriginalOptions()
    path.write_text("")
    assert load_options(path) == OriginalOptions()


def test_all_problems_of_an_options_file_come_in_one_message(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        "activate: relu\nln_frist: true\nheads: 0\nmeans: all\nscaling: {text: none}\n"
        "dropout: [0.1]\ncompose_time: max"
    )
    with pytest.raises(ConfigError) as caught:
        load_options(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: 9 problems:")
    for part in (
        "activate: unknown key; did you mean activation?",
        "ln_frist: unknown key; did you mean ln_first?",
        "heads: expected greater than or equal to 1, got 0",
        "means: expected 'padded' or 'valid', got \"all\"",
        "scaling.text: expected 'audio' or 'video', got",
        "dropout.1: a value is missing",
        "compose_time: expected 'mean', 'sum' or 'cat', got \"max\"",
        "Options of an original checkpoint: activation, ln_first",
    ):
        assert part in message, part


def test_options_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "run.yaml"
    with pytest.raises(MissingFileError, match="does not exist"):
        load_options(path)
    for text, message in (("[1, 2]", "expected a mapping"), ("a: [", "is not YAML")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_options(path)


def test_every_option_has_a_text():
    for name, field in OriginalOptions.model_fields.items():
        assert field.description, name
        assert not field.description.endswith("."), name
