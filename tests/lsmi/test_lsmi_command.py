"""From a checkpoint to the report's files, and what goes wrong on the way."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import yaml

from lsmi.command import main
from lsmi.features import checkpoint_features
from lsmi.report import COLUMNS
from mimrl.datasets import hdf5
from mimrl.datasets.planted import generate
from mimrl.errors import ConfigError, MissingFileError
from mimrl.settings import PlantedSettings, from_mapping
from mimrl.training.run import train

QUICK = ["--discriminator_epochs", "2", "--entropy_epochs", "2", "--folds", "2"]
QUICK += ["--components", "3"]


SIZES = {"interaction": "redundant", "train_size": 60, "valid_size": 40, "test_size": 30}


def tiny(folder, **data):
    planted = {} if "path" in data else {"planted": SIZES}
    settings = from_mapping(
        {
            "name": "tiny",
            "output": str(folder),
            "device": "cpu",
            "data": {**planted, **data},
            "model": {
                "encoders": {"text": "gru"},
                "width": 8,
                "fusion": {"time_len": 4, "sizes": [[2, 3, 8]]},
            },
            "critics": {"hidden": 8, "embedding": 4, "conditional": {"hidden": 8}},
            "training": {
                "epochs": 1,
                "batch_size": 20,
                "controls": 0,
                "loss": "ce" if data.get("target") == "class" else "mae",
            },
        }
    )
    return train(settings, progress=False).folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("runs"), target="class")


@pytest.fixture(scope="module")
def regressor(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("runs"))


def test_the_command_of_the_readme(classifier, tmp_path, capsys):
    out = tmp_path / "deep" / "reading"
    flags = ["--ckpt_path", str(classifier), "--dataset", "mosi", "--batch_size", "64"]
    flags += ["--device", "cpu", "--save_path", str(out), "--config_path", "./configs"]
    assert main([*flags, *QUICK]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""  # no progress bars where there is no terminal
    assert "LSMI of text (1) and audio (2)" in printed.out
    assert {path.name for path in out.parent.iterdir()} == {
        *("reading.csv", "reading.json", "reading.png")
    }
    report = json.loads(out.with_suffix(".json").read_text())
    assert report["unit"] == "nats"
    assert report["modalities"] == ["text", "audio"]
    assert report["settings"]["discriminator_epochs"] == 2
    assert list(report["splits"]) == ["train", "valid", "test"]
    with out.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["split"] for row in rows] == ["train"] * 60 + ["valid"] * 40 + ["test"] * 30
    check_sums(rows, report)


def check_sums(rows, report):
    """What the files say agrees within and between them; nine digits are written."""
    value = {key: np.array([float(row[key]) for row in rows]) for key in COLUMNS[3:]}
    for ending in ("", "_adjusted"):
        r, u1, u2, s = (value[f"{name}{ending}"] for name in ("r", "u1", "u2", "s"))
        assert r + u1 == pytest.approx(value["i1"], abs=1e-6)
        assert r + u2 == pytest.approx(value["i2"], abs=1e-6)
        assert r + u1 + u2 + s == pytest.approx(value["i12"], abs=1e-6)
    for split, totals in report["splits"].items():
        here = np.array([row["split"] == split for row in rows])
        for atom in ("r", "u1", "u2", "s"):
            assert value[atom][here].mean() == pytest.approx(totals["raw"][atom], abs=1e-6)
            adjusted = value[f"{atom}_adjusted"][here].mean()
            assert adjusted == pytest.approx(totals["adjusted"][atom], abs=1e-6)
        assert value["i12"][here].mean() <= totals["label_entropy"] + 1e-9


def test_report_lies_beside_the_checkpoint_and_other_pairs_are_read(regressor, capsys):
    flags = ["--ckpt_path", str(regressor / "best.safetensors"), "--labels", "median"]
    assert main([*flags, "--modalities", "fused", "video", "--prior", "uniform", *QUICK]) == 0
    assert "labels: median" in capsys.readouterr().out
    report = json.loads((regressor / "lsmi_fused_video.json").read_text())
    assert report["prior"] == [0.5, 0.5]
    assert report["label_rule"].startswith("median")


def test_features_follow_the_order_of_the_data_and_their_labels(classifier, regressor):
    first, again = (checkpoint_features(classifier, batch_size=size) for size in (7, 64))
    for name, pair in first.splits.items():
        # a mean over time in other batches adds in another order: float32 rounding
        assert pair.x1 == pytest.approx(again.splits[name].x1, abs=1e-5)
        assert list(pair.ids) == sorted(pair.ids)
    signs = checkpoint_features(regressor).splits["test"].labels
    # a planted rating and a planted class come from one latent draw
    assert np.array_equal(signs, first.splits["test"].labels)
    assert checkpoint_features(regressor, labels="non0").label_rule.startswith("non0")


def test_data_are_the_checkpoints_else_the_configs_else_those_named(tmp_path):
    planted = {"train_size": 40, "valid_size": 30, "test_size": 20}
    corpus = generate(PlantedSettings(**planted), "regression")
    file, moved = tmp_path / "data.h5", tmp_path / "moved.h5"
    hdf5.write(corpus, file)
    folder = tiny(tmp_path, layout="hdf5", path=str(file))
    own = checkpoint_features(folder)
    file.rename(moved)
    with pytest.raises(MissingFileError, match="--data"):
        checkpoint_features(folder)
    with pytest.raises(MissingFileError, match=r"other\.yaml does not exist"):
        checkpoint_features(folder, dataset="other", config_path=tmp_path)
    config = {"data": {"path": str(moved), "layout": "hdf5", "modalities": ["audio", "video"]}}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(config))
    by_config = checkpoint_features(folder, dataset="other", config_path=tmp_path)
    by_name = checkpoint_features(folder, data=moved)
    for found in (by_config, by_name):
        assert found.source == str(moved)
        assert found.modalities == ("text", "audio")  # the checkpoint's, not the config's
        assert np.array_equal(found.splits["test"].x1, own.splits["test"].x1)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ckpt_path", "nowhere"], "does not exist"),
        (["--data", "nowhere.pkl"], "nowhere.pkl"),
        (["--modalities", "text", "smell"], "names text smell"),
        (["--folds", "1"], "folds is 1"),
        (["--labels", "seven"], "predicts classes"),
    ],
)
def test_one_message_exit_code_2_and_nothing_written(classifier, tmp_path, capsys, flags, message):
    out = tmp_path / "out"
    assert main(["--ckpt_path", str(classifier), "--save_path", str(out), *QUICK, *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_a_stem_in_a_place_that_cannot_be_written(classifier, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    assert main(["--ckpt_path", str(classifier), "--save_path", str(out), *QUICK]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_unknown_label_rule(regressor):
    with pytest.raises(ConfigError, match="expected one of auto"):
        checkpoint_features(regressor, labels="mood")


def test_interruption_is_a_word_and_exit_code_130(classifier, tmp_path, capsys, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("lsmi.command.analyse", interrupt)
    arguments = ["--ckpt_path", str(classifier), "--save_path", str(tmp_path / "out")]
    assert main(arguments) == 130
    assert "interrupted" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))
