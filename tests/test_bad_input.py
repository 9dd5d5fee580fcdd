"""Bad input through the commands: exit code 2, one message that helps, nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file
from training.small import SMALL

import lsmi.command
import mimrl.command
import mimrl.datasets.__main__
from mimrl.datasets.features import SPLITS
from mimrl.training.checkpoint import BEST, HEADER, LAST

Main = Callable[[Sequence[str]], int]
TRAIN, READ, DATA = mimrl.command.main, lsmi.command.main, mimrl.datasets.__main__.main

NETWORK = tuple(item for item in SMALL if not item.startswith(("data.", "training.loss")))
SIZE = 12


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working folder; relative names in these tests are in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIMRL_DATA_ROOT", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of one small complete run, to be copied and damaged."""
    output = tmp_path_factory.mktemp("trained")
    assert TRAIN([*SMALL, "training.epochs=1", f"output={output}", "device=cpu"]) == 0
    return output / "run" / "seed0"


@pytest.fixture
def run_folder(trained, folder):
    """A copy of that run where a command with the same settings looks for it."""
    return Path(shutil.copytree(trained, folder / "runs" / "run" / "seed0"))


@pytest.fixture
def refused(folder, capsys) -> Callable[[Main, Sequence[str]], str]:
    """Runs a command that has to fail, checks what all failures share, returns the message."""

    def run(main: Main, argv: Sequence[str]) -> str:
        before = contents(folder)
        capsys.readouterr()
        assert main(list(argv)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("error:") == 1
        assert err.endswith("\n")
        assert "Traceback" not in err
        assert contents(folder) == before, "something was written, changed or left behind"
        return err.removeprefix("error: ").rstrip("\n")

    return run


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: files with their bytes, folders with None."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def clips(name: str) -> dict[str, Any]:
    """A split of a small MMSA file."""
    generator = np.random.default_rng(0)
    return {
        "raw_text": np.array(["a word"] * SIZE, dtype=object),
        "text": generator.normal(size=(SIZE, 3, 4)).astype("f4"),
        "audio": generator.normal(size=(SIZE, 3, 2)).astype("f4"),
        "vision": generator.normal(size=(SIZE, 3, 3)).astype("f4"),
        "regression_labels": np.linspace(-3, 3, SIZE),
        "id": [f"{name}{i // 2}$_${i % 2}" for i in range(SIZE)],
    }


def write_clips(path: str = "clips.pkl", **changes: Any) -> str:
    """A small MMSA file with changed keys in train; None removes a split of that name."""
    content = {name: clips(name) for name in SPLITS if changes.get(name, 1) is not None}
    content["train"] |= {k: v for k, v in changes.items() if k not in SPLITS}
    Path(path).write_bytes(pickle.dumps(content))
    return path


def on_clips(*overrides: str, path: str = "clips.pkl") -> list[str]:
    """Arguments that train on such a file, its text features read by a recurrent encoder."""
    return [*NETWORK, f"data.path={path}", "device=cpu", *overrides]


def test_the_unchanged_file_is_good():
    write_clips()
    assert TRAIN(on_clips("training.epochs=1", "steering.default=0", "training.controls=0")) == 0
    assert Path("runs/run/seed0/metrics.json").is_file()


class Forbidden:
    """Asks whoever unpickles it to make a folder."""

    def __reduce__(self):
        return os.mkdir, ("made-by-a-pickle",)


class TestDataFiles:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda whole: whole[: len(whole) // 2], ["truncated", "copy or download it again"]),
            (lambda whole: whole[:-1], ["truncated", "copy or download it again"]),
            (lambda whole: whole[:50] + b"\xff" * 50 + whole[100:], ["clips.pkl", "damaged"]),
            (lambda whole: b"", ["clips.pkl", "empty"]),
            (lambda whole: b"id,label\n1,2\n", ["clips.pkl", "expected", "pickle", "HDF5"]),
            (lambda whole: b'{"id": [1, 2]}', ["clips.pkl", "expected", "pickle", "HDF5"]),
            (lambda whole: b"PK\x03\x04 an archive", ["clips.pkl", "expected", "pickle", "HDF5"]),
        ],
        ids=["half", "last byte", "overwritten", "empty", "csv", "json", "zip"],
    )
    @pytest.mark.parametrize("command", ["train", "inspect", "convert"])
    def test_no_whole_pickle(self, refused, command, change, message):
        write_clips()
        Path("clips.pkl").write_bytes(change(Path("clips.pkl").read_bytes()))
        self._refused_by(refused, command, message)

    @pytest.mark.parametrize("command", ["train", "inspect", "convert"])
    def test_forbidden_global(self, refused, command):
        Path("clips.pkl").write_bytes(pickle.dumps({"train": Forbidden()}))
        self._refused_by(refused, command, ["clips.pkl", "mkdir", "arrays, strings"])

    @pytest.mark.parametrize("command", ["train", "inspect", "convert"])
    @pytest.mark.parametrize("kept", [0.02, 0.5, 0.999])
    def test_truncated_hdf5(self, refused, command, kept):
        assert DATA(["convert", write_clips("whole.pkl"), "clips.pkl"]) == 0
        whole = Path("clips.pkl").read_bytes()
        Path("clips.pkl").write_bytes(whole[: int(kept * len(whole))])
        self._refused_by(refused, command, ["clips.pkl", "expected a whole HDF5 file", "truncated"])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"audio": clips("train")["audio"][:-1]}, ["'train'", "audio 11", "12"]),
            ({"regression_labels": np.ones(SIZE + 1)}, ["'train'", "regression_labels 13", "12"]),
            ({"vision": np.ones((SIZE, 3, 5))}, ["video", "number of features", "5", "3"]),
            ({"audio_lengths": [9] * SIZE}, ["'train'", "audio_lengths", "9"]),
            ({"audio": [["loud"]] * SIZE}, ["'train'", "'audio'", "numbers"]),
        ],
        ids=["rows", "labels", "widths", "steps", "words"],
    )
    @pytest.mark.parametrize("command", ["train", "inspect", "convert"])
    def test_mismatched_content(self, refused, command, changes, message):
        write_clips(**changes)
        self._refused_by(refused, command, ["clips.pkl", *message])

    def _refused_by(self, refused, command, message):
        if command == "train":
            text = refused(TRAIN, on_clips())
        else:
            text = refused(DATA, [command, "clips.pkl", *["out.h5"] * (command == "convert")])
        assert all(part in text for part in message), text
        assert "\n" not in text

    def test_nan_labels(self, refused):
        labels = clips("train")["regression_labels"]
        labels[[3, 5]] = np.nan, np.inf
        write_clips(regression_labels=labels)
        text = refused(TRAIN, on_clips())
        assert "2 " in text
        assert "train1$_$1" in text
        assert "NaN" in text
        assert "remove these samples" in text

    @pytest.mark.parametrize("split", ["valid", "test"])
    def test_no_valid_split(self, refused, split):
        write_clips(**{split: None})
        text = refused(TRAIN, on_clips())
        assert f"no {split} split" in text
        assert "'train': 12" in text
        assert "data.split_by_group" in text

    def test_too_few_groups_for_a_split(self, refused):
        write_clips(valid=None, test=None, id=[f"one$_${i}" for i in range(SIZE)])
        text = refused(TRAIN, on_clips("data.split_by_group=[0.6,0.2,0.2]"))
        assert "clips.pkl" in text
        assert "group" in text

    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            ("data.label=anger", ["data.label is 'anger'", "0: regression_labels"]),
            ("data.label=7", ["data.label is 7", "0: regression_labels"]),
            ("data.modalities=[text,smell]", ["no modality 'smell'", "text, audio, video"]),
            ("data.scaling.smell=none", ["scaling names ['smell']"]),
            ("data.layout=multibench", ["multibench", "data.layout", "mmsa"]),
            ("data.target=class training.loss=ce", ["'regression_labels'", "12 distinct values"]),
            ("data.split_file=mine.json", ["mine.json does not exist"]),
        ],
    )
    def test_the_file_lacks_what_the_settings_name(self, refused, overrides, message):
        write_clips()
        argv = on_clips(*overrides.split())
        if "modalities" in overrides:
            argv = [item for item in argv if "encoders.audio" not in item and "video" not in item]
        text = refused(TRAIN, argv)
        assert all(part in text for part in message), text

    def test_no_such_file(self, refused):
        for text in (
            refused(TRAIN, on_clips(path="nowhere.pkl")),
            refused(DATA, ["inspect", "nowhere.pkl"]),
            refused(DATA, ["convert", "nowhere.pkl", "out.h5"]),
        ):
            assert "data file nowhere.pkl does not exist" in text
            assert "MIMRL_DATA_ROOT is not set" in text

    def test_empty_folder(self, refused):
        Path("empty").mkdir()
        for text in (refused(TRAIN, on_clips(path="empty")), refused(DATA, ["inspect", "empty"])):
            assert "empty: expected one of the layouts mmsa, " in text
            assert "a folder with nothing" in text

    def test_conversion_leaves_foreign_files_alone(self, refused):
        Path("thesis.txt").write_text("years of work")
        assert "left alone" in refused(DATA, ["convert", write_clips(), "thesis.txt"])
        assert "folder that exists" in refused(DATA, ["convert", "clips.pkl", "no/out.h5"])


class TestSettings:
    def test_several_problems_are_one_message(self, refused):
        Path("mine.yaml").write_text(
            "modle: {width: 8}\ntraining: {epochs: many, batch_size: 1, patiance: 3}\n"
        )
        text = refused(TRAIN, ["--config", "mine.yaml", "data.target=class", "critics.k=2"])
        assert text.startswith("mine.yaml: 6 problems:\n")
        for part in (
            "modle: unknown key; did you mean model?",
            "training.epochs: expected an integer",
            'got "many"',
            "training.batch_size: ",
            "training.patiance: unknown key; did you mean patience?",
            "critics.k: unknown key",
            "training.loss mae does not fit data.target class",
            "--help",
        ):
            assert part in text, text

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("training.loss=ce", "training.loss ce does not fit data.target regression"),
            ("training.stage1_passes=0", "steering.default=0"),
            ("data.layout=mmsa", "needs a file or folder"),
            ("model.encoders.smell=gru", "smell"),
            ("training.epochs", "expected group.key=value"),
            ("training.epochs=[1", "not YAML"),
            ("name=../up", "name"),
        ],
    )
    def test_impossible(self, refused, override, message):
        assert message in refused(TRAIN, [override])

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "mine.yaml does not exist; configs/ holds one"),
            (b"name: [1", "mine.yaml is not YAML"),
            (b"\xff\xfe\x00", "mine.yaml is not YAML"),
            (b"- a\n- b\n", "expected a mapping of settings, got list"),
            (b"seed: 1\nseed: 2\n", "twice"),
        ],
    )
    def test_file(self, refused, content, message):
        if content is not None:
            Path("mine.yaml").write_bytes(content)
        assert message in refused(TRAIN, ["--config", "mine.yaml"])

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_no_gpu(self, refused, run_folder):
        assert "no GPU" in refused(TRAIN, [*SMALL, "name=other", "--device", "cuda"])
        assert "no GPU" in refused(READ, ["--ckpt_path", str(run_folder), "--device", "cuda"])

    def test_output_that_is_a_file(self, refused):
        Path("runs").write_text("a list of morning runs")
        text = refused(TRAIN, [*SMALL, "device=cpu"])
        assert "runs" in text
        assert "folder" in text


class TestTextEncoder:
    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("./encoder", ["'./encoder'", "no such folder", "config.json"]),
            ("package:no_such_package/model", ["no package 'no_such_package' is installed"]),
            ("package:mimrl/no_such_folder", ["'mimrl' has no folder 'no_such_folder'"]),
            ("package:mimrl", ["expected package:<import name>/<folder>"]),
            ("./empty", ["./empty", "cannot be loaded", "model.encoders.text.source"]),
        ],
    )
    def test_missing(self, refused, source, message):
        write_clips()
        Path("empty").mkdir()
        argv = [item for item in on_clips() if "encoders.text" not in item]
        text = refused(TRAIN, [*argv, f"model.encoders.text.source={source}"])
        assert all(part in text for part in message), text


def rewrite(path: Path, **header: Any) -> None:
    """One of our files again, with changed entries of its header."""
    with safe_open(path, framework="pt") as file:
        meta = json.loads(file.metadata()[HEADER])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    gone = {key for key, value in header.items() if value is None}
    meta = {key: value for key, value in (meta | header).items() if key not in gone}
    save_file(tensors, path, metadata={HEADER: json.dumps(meta)})


def resettled(path: Path, **changes: Any) -> None:
    """One of our files again, with changed settings in its header."""
    with safe_open(path, framework="pt") as file:
        settings = json.loads(file.metadata()[HEADER])["settings"]
    rewrite(path, settings=settings | changes)


DAMAGES = [
    (lambda p: rewrite(p, format=99), ["format 99", "reads format 2", "train again"]),
    (lambda p: rewrite(p, format=None), ["format None", "reads format 2"]),
    (lambda p: resettled(p, colour="red"), ["settings in", "colour: unknown key"]),
    (lambda p: rewrite(p, settings=None), ["settings", "does not fit"]),
    (lambda p: p.write_bytes(p.read_bytes()[:1000]), ["not a readable safetensors file"]),
    (lambda p: p.write_bytes(p.read_bytes()[:-1]), ["not a readable safetensors file"]),
    (lambda p: p.write_bytes(b""), ["not a readable safetensors file", "train again"]),
    (lambda p: p.write_text("epoch 3: 0.71\n"), ["not a readable safetensors file"]),
    (lambda p: p.write_bytes(pickle.dumps({"a": 1})), ["not a readable safetensors file"]),
    (lambda p: save_file({"a": torch.ones(1)}, p), ["not one that mimrl wrote"]),
    (lambda p: save_file({"a": torch.ones(1)}, p, {HEADER: "{"}), ["header", "damaged"]),
]
NAMES = ["version", "no version", "unknown key", "no settings", "start", "last byte", "empty",
         "text", "pickle", "foreign", "header"]  # fmt: skip


class TestCheckpoints:
    @pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=NAMES)
    @pytest.mark.parametrize("as_folder", [False, True])
    def test_reading(self, refused, run_folder, damage, message, as_folder):
        damage(run_folder / BEST)
        path = run_folder if as_folder else run_folder / BEST
        text = refused(READ, ["--ckpt_path", str(path), "--save_path", "out/reading"])
        assert BEST in text
        assert all(part in text for part in message), text

    @pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=NAMES)
    def test_resuming(self, refused, run_folder, damage, message):
        damage(run_folder / LAST)
        (run_folder / "metrics.json").unlink()
        text = refused(TRAIN, [*SMALL, "training.epochs=1", "device=cpu", "--resume"])
        assert LAST in text
        assert all(part in text for part in message), text

    @pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"valid": 1}'])
    def test_results_that_are_no_results(self, refused, run_folder, content):
        (run_folder / "metrics.json").write_text(content)
        text = refused(TRAIN, [*SMALL, "training.epochs=1", "device=cpu", "--resume"])
        assert "metrics.json" in text
        assert "remove it" in text

    def test_the_settings_of_a_run_with_an_unknown_key(self, refused, run_folder):
        tree = yaml.safe_load((run_folder / "settings.yaml").read_text())
        (run_folder / "settings.yaml").write_text(yaml.safe_dump(tree | {"colour": "red"}))
        text = refused(TRAIN, ["--config", str(run_folder / "settings.yaml")])
        assert "settings.yaml: 1 problem:" in text
        assert "colour: unknown key" in text

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("nowhere.safetensors", "nowhere.safetensors does not exist"),
            ("empty", f"empty holds no {BEST}; expected a run folder"),
        ],
    )
    def test_missing(self, refused, path, message):
        Path("empty").mkdir()
        assert message in refused(READ, ["--ckpt_path", path])

    def test_an_existing_run_is_kept(self, refused, run_folder):
        text = refused(TRAIN, [*SMALL, "device=cpu"])
        assert "already holds a run" in text
        assert "--resume" in text
        assert "--overwrite" in text


class TestReading:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--modalities", "text", "smell"], "two different ones of text, audio"),
            (["--modalities", "text", "text"], "two different ones of text, audio"),
            (["--labels", "seven"], "--labels seven"),
            (["--data", "nowhere.pkl"], "data file nowhere.pkl does not exist"),
            (["--folds", "1"], "folds is 1, expected at least 2"),
            (["--batch_size", "0", "--folds", "0"], "folds is 0"),
            (["--components", "3", "--scaling", "none"], "components has no effect"),
        ],
    )
    def test_arguments(self, refused, run_folder, arguments, message):
        text = refused(READ, ["--ckpt_path", str(run_folder), *arguments])
        assert message in text

    def test_data_of_another_kind(self, refused, run_folder):
        text = refused(READ, ["--ckpt_path", str(run_folder), "--data", write_clips()])
        assert "clips.pkl" in text

    def test_data_that_are_not_found(self, refused, run_folder):
        tree = yaml.safe_load((run_folder / "settings.yaml").read_text())
        del tree["data"]["planted"]
        resettled(run_folder / BEST, data=tree["data"] | {"layout": "mmsa", "path": "gone.pkl"})
        text = refused(READ, ["--ckpt_path", str(run_folder)])
        assert "gone.pkl does not exist" in text
        assert "--data" in text
        text = refused(READ, ["--ckpt_path", str(run_folder), "--dataset", "gone"])
        assert f"settings file {Path('configs/gone.yaml')} does not exist" in text

    def test_place_that_cannot_be_written(self, refused, run_folder):
        Path("taken").write_text("a file")
        stem = str(Path("taken") / "reading")
        quick = ["--discriminator_epochs", "1", "--entropy_epochs", "1", "--folds", "2"]
        text = refused(READ, ["--ckpt_path", str(run_folder), "--save_path", stem, *quick])
        assert "taken" in text


def test_hdf5_file_of_another_version(refused):
    assert DATA(["convert", write_clips(), "clips.h5"]) == 0
    with h5py.File("clips.h5", "r+") as file:
        file.attrs["format_version"] = 99
    for text in (refused(TRAIN, on_clips(path="clips.h5")), refused(DATA, ["inspect", "clips.h5"])):
        assert "expected format version 1, got 99" in text
        assert "convert the original file again" in text
