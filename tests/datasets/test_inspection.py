"""Every number of an inspection, on data in which each is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from generated import make_corpus

from mimrl.datasets import hdf5, rows
from mimrl.datasets.features import SPLITS, Corpus, Ragged, Split
from mimrl.datasets.inspection import as_text, inspect, shared
from mimrl.settings import DataSettings


@pytest.fixture
def corpus():
    def split(ids, audio, labels, texts=None):
        ragged = Ragged.from_list([np.array(a, np.float32).reshape(-1, 2) for a in audio], 2)
        labels = np.array(labels, np.float32)
        return Split(tuple(ids), {"audio": ragged}, labels, raw_text=texts)

    train = split(
        ["a$_$0", "a$_$1", "a$_$0", "b$_$0"],
        [[0, 0, 0, 0], [np.nan, 1, -np.inf, np.inf, np.nan, 0], [], [0, 0, 0, 1]],
        [[1, 0.5], [2, np.nan], [1, 3.0], [0, -1.0]],
        ("x", " ", "", "y"),
    )
    test = split(["b$_$0", "c$_$0"], [[], []], [[0, np.nan], [0, np.nan]], ("u", "v"))
    repairs = {"text: cut": 4}
    return Corpus("mmsa", "made.pkl", {"train": train, "test": test}, ("class", "score"), repairs)


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_counts(corpus, monkeypatch, block):
    monkeypatch.setattr(rows, "BLOCK_VALUES", block)
    report = inspect(corpus)
    train, test = report.splits["train"], report.splits["test"]
    assert (train.samples, train.groups, train.duplicate_ids) == (4, 2, 1)
    assert (train.raw_text, train.empty_text) == (True, 2)
    audio = train.sequences["audio"]
    assert (audio.width, audio.shortest, audio.median, audio.longest) == (2, 2, 2, 3)
    assert audio.non_finite == {"NaN": 2, "+inf": 1, "-inf": 1}
    assert (audio.all_zero, audio.empty) == (1, 1)
    assert audio.range == (0, 1), "of the finite values: eight zeros but for two ones"
    assert audio.mean_absolute == pytest.approx(2 / 10)
    audio = test.sequences["audio"]
    assert (audio.shortest, audio.median, audio.longest, audio.empty) == (0, 0, 0, 2)
    assert (audio.range, audio.mean_absolute) == (None, None)
    assert report.shared_ids == {"train, test": 1}
    assert report.shared_groups == {"train, test": 1}
    assert report.reading == {"text: cut": 4}


@pytest.mark.parametrize("block", [1, 1000])
def test_range_and_size_of_values(monkeypatch, block):
    monkeypatch.setattr(rows, "BLOCK_VALUES", block)
    audio = Ragged.from_list([np.array([[-3.0], [0.0]]), np.array([[1.5], [np.inf], [np.nan]])])
    tokens = Ragged.from_list([np.array([101, 7]), np.array([102])])
    split = Split(("a", "b"), {"audio": audio}, np.zeros((2, 1), np.float32), token_ids=tokens)
    report = inspect(Corpus("csd", "x", {"train": split}))
    found = report.splits["train"].sequences
    assert (found["audio"].range, found["audio"].mean_absolute) == ((-3, 1.5), 1.5)
    assert (found["token_ids"].range, found["token_ids"].mean_absolute) == ((7, 102), 70)
    assert "-3  1.5      1.5" in as_text(report)


def test_labels_by_value(corpus):
    labels = inspect(corpus).labels
    assert labels["class"].bins == ("0", "1", "2")
    assert labels["class"].histogram == {"train": (1, 2, 1), "test": (2, 0, 0)}
    assert labels["class"].ranges == {"train": (0, 2), "test": (0, 0)}
    score = labels["score"]
    assert score.ranges == {"train": (-1, 3), "test": None}
    assert score.non_finite == {"train": 1, "test": 2}
    assert score.histogram == {"train": (1, 1, 1), "test": (0, 0, 0)}


def test_labels_in_bins():
    values = np.arange(100, dtype=np.float32)[:, None]
    split = Split(tuple(map(str, range(100))), {}, values)
    report = inspect(Corpus("csd", "x", {"train": split}))
    assert report.labels["label"].histogram["train"] == (10,) * 10
    assert report.labels["label"].bins[0] == "0..9.9"


def test_real_counts(data_root):
    from mimrl.datasets.catalogue import read_corpus

    path = data_root / "mfn/pom"
    splits = inspect(read_corpus(DataSettings(path=str(path)))).splits
    all_zero = {name: split.sequences["video"].all_zero for name, split in splits.items()}
    assert all_zero == {"train": 322, "valid": 48, "test": 116}


def test_a_file_on_disk_is_inspected_like_one_in_memory(tmp_path):
    original = make_corpus({"train": 20, "valid": 6}, groups=3)
    hdf5.write(original, tmp_path / "a.h5")
    stored = hdf5.read(tmp_path / "a.h5", DataSettings(path="a.h5"))
    one, other = inspect(original), inspect(stored, "mmsa, made.pkl")
    assert one.splits == other.splits
    assert one.labels == other.labels
    assert other.converted_from == "mmsa, made.pkl"


def test_json_and_text_tell_the_same(corpus):
    report = inspect(corpus, "words, old.pkl")
    data = json.loads(json.dumps(report.as_json()))
    assert data["splits"]["train"]["sequences"]["audio"]["all_zero"] == 1
    assert data["labels"]["score"]["ranges"]["test"] is None
    text = as_text(report)
    for part in ("layout  mmsa", "origin  words, old.pkl", "label 'score'", "while reading: text"):
        assert part in text
    assert "ids in both train, test: 1" in text
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert " ".join(lines["audio"]) == "audio test 2 - - - 0 0 0 0 2 - - -"


def test_shared_names_by_pair():
    assert shared({"train": "ab", "valid": "bc", "test": "d"}) == {"train, valid": 1}
    assert shared({"train": "ab"}) == {}


def test_nothing_but_labels():
    split = Split(("a",), {}, np.zeros((1, 1), np.float32))
    report = inspect(Corpus("csd", "x", dict.fromkeys(SPLITS, split)))
    assert report.splits["train"].groups is None
    assert "no feature sequences" in as_text(report)


def test_last_line_says_what_stands_in_the_way_of_training():
    def told(*names):
        splits = {n: Split((n,), {}, np.zeros((1, 1), np.float32)) for n in names}
        return as_text(inspect(Corpus("csd", "x", splits))).splitlines()[-1]

    assert told("train", "valid", "test") == "no id or group is in two splits"
    assert told("train").startswith("no valid and no test split: training needs data.split_file")
