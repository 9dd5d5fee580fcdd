"""Bad data files through the commands: exit code 2, one message that helps, nothing written."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from bad_input.commands import DATA, SIZE, TRAIN, clips, on_clips, write_clips


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


def test_hdf5_file_of_another_version(refused):
    assert DATA(["convert", write_clips(), "clips.h5"]) == 0
    with h5py.File("clips.h5", "r+") as file:
        file.attrs["format_version"] = 99
    for text in (refused(TRAIN, on_clips(path="clips.h5")), refused(DATA, ["inspect", "clips.h5"])):
        assert "expected format version 1, got 99" in text
        assert "convert the original file again" in text
