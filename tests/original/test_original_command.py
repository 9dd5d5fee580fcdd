"""The command of the analysis on what the original code left behind."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import yaml
from original.published import build, checkpoint, save_run
from original.test_original_features import FORM, split, tokenizer

import lsmi.command
from mimrl.datasets import hdf5
from mimrl.datasets.features import Corpus

pytestmark = pytest.mark.filterwarnings("ignore::mimrl.errors.EstimationWarning")
QUICK = ["--discriminator_epochs", "2", "--folds", "2", "--repeats", "1", "--components", "2"]
QUICK += ["--shuffles", "0", "--bootstrap", "20", "--density", "em", "--no_measures"]
QUICK += ["--modalities", "text", "fused"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a checkpoint, a data file, a configuration that names it, and options."""
    monkeypatch.chdir(tmp_path)
    torch.save(checkpoint(build(FORM)), "best_valid_model.pth.tar")
    sizes = {"train": 60, "valid": 30, "test": 20}
    splits = {name: split(size, seed) for seed, (name, size) in enumerate(sizes.items())}
    hdf5.write(Corpus("test", "file.pkl", splits), tmp_path / "clips.h5")
    (tmp_path / "configs").mkdir()
    config = {"data": {"path": "clips.h5", "layout": "hdf5"}}
    (tmp_path / "configs" / "clips.yaml").write_text(yaml.safe_dump(config))
    words = tokenizer(tmp_path / "words")
    (tmp_path / "original.yaml").write_text(yaml.safe_dump({"tokenizer": words}))
    return tmp_path


@pytest.mark.parametrize(
    "where",
    [
        ["--dataset", "clips"],
        ["--dataset", "clips", "--data", "clips.h5"],
        ["--data", "clips.h5"],
    ],
)
def test_a_checkpoint_is_read_and_what_was_assumed_is_said(place, capsys, where):
    flags = ["--ckpt_path", "best_valid_model.pth.tar", "--original", "original.yaml"]
    assert lsmi.command.main([*flags, *where, *QUICK, "--save_path", "out/lsmi"]) == 0
    printed = capsys.readouterr().out
    assert "text (1) and fused (2)" in printed
    assert "assumed: " in printed
    report = json.loads((place / "out" / "lsmi.json").read_text())
    assert report["origin"]["assumed"]
    splits = report["pairs"][0]["splits"]
    assert {name: found["samples"] for name, found in splits.items()} == {
        "train": 60, "valid": 30, "test": 20,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "does not name its data"),
        (["--dataset", "clips", "--original", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["--dataset", "clips", "--original", "configs/clips.yaml"], "data"),
        (["--dataset", "nowhere", "--original", "original.yaml"], "nowhere.yaml does not exist"),
    ],
)
def test_one_message_where_something_is_missing(place, capsys, flags, message):
    path = ["--ckpt_path", "best_valid_model.pth.tar"]
    assert lsmi.command.main([*path, *flags, *QUICK, "--save_path", "out/lsmi"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not (place / "out").exists()


def test_saved_features_are_read_without_a_model(tmp_path, capsys):
    generator = torch.Generator().manual_seed(0)
    names = ("fused", "text", "audio", "video")
    batches = [
        {
            **{name: torch.randn(20, 4, generator=generator) for name in names},
            "prediction": torch.randn(20, 1, generator=generator),
        }
        for _ in range(3)
    ]
    save_run(tmp_path, batches, np.random.default_rng(0).normal(size=60))
    out = tmp_path / "out" / "lsmi"
    flags = ["--ckpt_path", str(tmp_path), *QUICK, "--save_path", str(out)]
    assert lsmi.command.main(flags) == 0
    printed = capsys.readouterr().out
    assert "no training features were saved: models are fitted on valid" in printed
    report = json.loads(out.with_suffix(".json").read_text())
    assert list(report["pairs"][0]["splits"]) == ["train", "test", "test_by_test"]
    assert lsmi.command.main([*flags, "--data", "x.pkl"]) == 2
    assert "--data has no effect" in capsys.readouterr().err
