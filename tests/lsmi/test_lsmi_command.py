"""From a checkpoint to the report's files, and what goes wrong on the way."""

from __future__ import annotations

import csv
import itertools
import json

import numpy as np
import pytest
import yaml

from lsmi.command import main
from lsmi.features import checkpoint_features
from lsmi.report import COLUMNS, gallery
from mimrl.datasets import hdf5
from mimrl.datasets.planted import generate
from mimrl.errors import ConfigError, MissingFileError
from mimrl.original import is_original
from mimrl.settings import PlantedSettings, from_mapping
from mimrl.training.run import train

QUICK = ["--discriminator_epochs", "2", "--entropy_epochs", "2", "--folds", "2", "--repeats", "1"]
QUICK += ["--components", "3", "--shuffles", "0", "--bootstrap", "20", "--density", "em"]
ATOMS = ("r", "u1", "u2", "s")


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


pytestmark = pytest.mark.filterwarnings("ignore::mimrl.errors.EstimationWarning")


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
    flags += ["--modalities", "text", "audio"]
    assert main([*flags, *QUICK]) == 0
    printed = capsys.readouterr()
    assert "it/s" not in printed.err  # no progress bars where there is no terminal
    assert "text (1) and audio (2)" in printed.out
    written = {path.name for path in out.parent.iterdir()}
    assert {"reading.csv", "reading.json", "reading.png", "reading.html"} <= written
    report = json.loads(out.with_suffix(".json").read_text())
    assert report["unit"] == "nats"
    assert report["settings"]["discriminator_epochs"] == 2
    with out.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert {(row["first"], row["second"]) for row in rows} == {("text", "audio")}
    assert [row["split"] for row in rows] == ["train"] * 60 + ["valid"] * 40 + ["test"] * 30
    check_sums(rows)


def check_sums(rows):
    """What the file says adds up; nine digits are written."""
    names = (*("i1", "i2", "i12"), *ATOMS, *(f"{name}_adjusted" for name in ATOMS))
    value = {key: np.array([float(row[key]) for row in rows]) for key in names}
    for ending in ("", "_adjusted"):
        r, u1, u2, s = (value[f"{name}{ending}"] for name in ATOMS)
        assert r + u1 == pytest.approx(value["i1"], abs=1e-6)
        assert r + u2 == pytest.approx(value["i2"], abs=1e-6)
        assert r + u1 + u2 + s == pytest.approx(value["i12"], abs=1e-6)


def test_all_pairs_without_being_asked(classifier, tmp_path, capsys, monkeypatch):
    # the 49 figures are made, but not drawn: that takes longest, and other tests draw them
    monkeypatch.setattr(gallery, "png", lambda figure: b"")
    out = tmp_path / "all"
    assert main(["--ckpt_path", str(classifier), "--save_path", str(out), *QUICK]) == 0
    printed = capsys.readouterr().out
    for first, second in itertools.combinations(("text", "audio", "video", "fused"), 2):
        assert f"{first} (1) and {second} (2)" in printed


def test_layers_of_the_model_by_name(regressor):
    found = checkpoint_features(regressor, features=["text", "fused", "fusion"])
    split = found.splits["test"]
    assert found.names == ("text", "fused", "fusion")
    # the fusion's output is what the model calls fused
    assert split.features["fusion"] == pytest.approx(split.features["fused"], abs=1e-5)
    assert split.predictions.shape == split.ratings.shape == (30,)
    with pytest.raises(ConfigError, match="names text nothing; expected at least two"):
        checkpoint_features(regressor, features=["text", "nothing"])


def test_many_checkpoints_are_compared(classifier, regressor, tmp_path, capsys):
    out = tmp_path / "course"
    paths = [str(folder / f"{name}.safetensors") for folder, name in
             ((classifier, "best"), (regressor, "best"))]  # fmt: skip
    flags = ["--modalities", "text", "audio", "--save_path", str(out)]
    assert main(["--ckpt_path", *paths, *flags, *QUICK]) == 0
    printed = capsys.readouterr().out
    names = {path.name for path in tmp_path.iterdir()}
    assert {"course.html", "course.csv", "course.json", "course.png"} <= names
    assert sum(name.endswith("_best.csv") for name in names) == 2
    assert printed.count("text (1) and audio (2)") >= 2
    assert main(["--ckpt_path", paths[0], paths[0], *flags, *QUICK]) == 2
    assert "names a file twice" in capsys.readouterr().err


def test_files_of_features_need_no_model(tmp_path, capsys):
    generator = np.random.default_rng(0)
    arrays = {}
    for split, size in (("train", 60), ("val", 40)):
        arrays[f"{split}_modal_1_features"] = generator.normal(size=(size, 4))
        arrays[f"{split}_modal_2_features"] = generator.normal(size=(size, 5))
        arrays[f"{split}_targets"] = np.arange(size) % 2
    np.savez(tmp_path / "features.npz", **arrays)
    flags = ["--ckpt_path", str(tmp_path / "features.npz"), "--save_path", str(tmp_path / "out")]
    assert main([*flags, *QUICK]) == 0
    assert "modal_1 (1) and modal_2 (2)" in capsys.readouterr().out
    assert main([*flags, *QUICK, "--dataset", "mosi"]) == 2
    assert "--dataset has no effect" in capsys.readouterr().err


@pytest.mark.parametrize("rank", ["0", "1"])
def test_of_several_processes_the_first_refuses_and_none_writes(
    tmp_path, capsys, monkeypatch, rank
):
    """torchrun ends the others when one has failed: the first must be the only one that does."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    arrays = {
        f"{s}_modal_{k}_features": np.eye(60)[:, :4] for s in ("train", "val") for k in (1, 2)
    }
    arrays |= {f"{split}_targets": np.arange(60) % 2 for split in ("train", "val")}
    np.savez(tmp_path / "features.npz", **arrays)
    flags = ["--ckpt_path", str(tmp_path / "features.npz"), "--save_path", str(tmp_path / "out")]
    assert main([*flags, *QUICK]) == (2 if rank == "0" else 0)
    said = capsys.readouterr()
    assert said.out == ""
    if rank == "0":
        assert said.err.startswith("error: WORLD_SIZE=2 in the environment")
        assert "start evaluate_lsmi.py by itself, or unset WORLD_SIZE" in said.err
        assert said.err.count("\n") == 1
    else:
        assert said.err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["features.npz"]


def test_a_checkpoint_of_the_original_code(reference_root, tmp_path, capsys):
    """Whole way: data by name, tokenizer by option, features, report."""
    path = reference_root / "mimrl_gru_best_valid_model.pth.tar"
    assert is_original(path)
    flags = ["--ckpt_path", str(path), "--save_path", str(tmp_path / "out"), *QUICK]
    assert main(flags) == 2
    assert "does not name its data" in capsys.readouterr().err


def test_report_lies_beside_the_checkpoint_and_other_pairs_are_read(regressor, capsys):
    flags = ["--ckpt_path", str(regressor / "best.safetensors"), "--labels", "median"]
    assert main([*flags, "--modalities", "fused", "video", "--prior", "uniform", *QUICK]) == 0
    assert "labels: median" in capsys.readouterr().out
    report = json.loads((regressor / "lsmi.json").read_text())
    assert report["prior"] == [0.5, 0.5]
    assert "median" in (regressor / "lsmi.json").read_text()


def test_features_follow_the_order_of_the_data_and_their_labels(classifier, regressor):
    first, again = (checkpoint_features(classifier, batch_size=size) for size in (7, 64))
    for name, split in first.splits.items():
        # a mean over time in other batches adds in another order: float32 rounding
        text = again.splits[name].features["text"]
        assert split.features["text"] == pytest.approx(text, abs=1e-5)
        assert list(split.ids) == sorted(split.ids)
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
    with pytest.raises(MissingFileError, match=r"other\.yaml does not exist"):  # needed or not
        checkpoint_features(folder, dataset="other", config_path=tmp_path)
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
        # the checkpoint's modalities, not the config's
        assert found.names == ("text", "audio", "video", "fused")
        again = found.splits["test"].features["text"]
        assert np.array_equal(again, own.splits["test"].features["text"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ckpt_path", "nowhere"], "does not exist"),
        (["--data", "nowhere.pkl"], "nowhere.pkl"),
        (["--modalities", "text", "smell"], "names text smell"),
        (["--modalities", "text", "text"], "--modalities names text twice"),
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
