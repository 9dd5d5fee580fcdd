"""Computational sequences: averages over words and segments, missing parts, the real labels."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrl.datasets import csd
from mimrl.datasets.alignment import SHORTEST, averages, overlapping
from mimrl.datasets.catalogue import open_corpus
from mimrl.errors import DataError, DataWarning, MissingFileError
from mimrl.settings import DataSettings


def write(path, root, videos, names=None):
    """A ``.csd``: video -> (features, intervals)."""
    with h5py.File(path, "w") as file:
        for video, (features, intervals) in videos.items():
            file[f"{root}/data/{video}/features"] = features
            file[f"{root}/data/{video}/intervals"] = np.asarray(intervals, float)
        if names is not None:
            file.create_dataset(f"{root}/metadata/dimension names", data=[json.dumps(names)])
    return path


def seconds(*numbers):
    """Intervals from one number to the next."""
    return np.stack([numbers[:-1], numbers[1:]], axis=1).astype(float)


@pytest.fixture
def folder(tmp_path):
    """Two videos; the second has no audio. Audio rows of half a second are 0, 1, 2..."""
    write(
        tmp_path / "labels.csd",
        "Opinion Segment Labels",
        {"a": ([[1.0], [-2.0]], seconds(0, 2, 4)), "b": ([[3.0]], seconds(0, 1))},
        ["sentiment"],
    )
    audio = np.arange(10, dtype=np.float32)[:, None] * [1.0, 10.0]
    write(tmp_path / "audio.csd", "COVAREP", {"a": (audio, seconds(*np.arange(0, 5.5, 0.5)))})
    words = np.array([[b"sp"], [b"good"], [b"film"], [b"sp"], [b"bad"]], dtype="S32")
    write(
        tmp_path / "words.csd",
        "words",
        {
            "a": (words, [[0, 0.5], [0.5, 1], [1, 2], [2, 2.5], [2.5, 3.5]]),
            "b": (np.array([[b"so"]], dtype="S32"), [[0.0, 1.0]]),
        },
    )
    return tmp_path


def settings(folder, **files):
    return DataSettings(path=str(folder), layout="csd", feature_files=files)


def test_without_words_a_segment_is_one_mean(folder):
    corpus = csd.read(folder, settings(folder, audio="audio.csd"))
    train = corpus.splits["train"]
    assert train.ids == ("a$_$0", "a$_$1", "b$_$0")
    assert train.groups == ("a", "a", "b")
    assert corpus.label_names == ("sentiment",)
    assert train.labels.tolist() == [[1], [-2], [3]]
    assert train.raw_text is None
    audio = train.sequences["audio"]
    assert audio.lengths.tolist() == [1, 1, 0]
    assert audio[0].tolist() == [[1.5, 15.0]]  # rows 0..3
    assert audio[1].tolist() == [[5.5, 55.0]]  # rows 4..7
    assert corpus.repairs == {"audio: no features in the segment": 1}


def test_with_words_a_step_is_a_word_and_pauses_are_dropped(folder):
    corpus = csd.read(folder, settings(folder, text="words.csd", audio="audio.csd"))
    train = corpus.splits["train"]
    assert train.raw_text == ("good film", "bad", "so")
    assert corpus.modalities == ("audio",)  # words are text, not features
    audio = train.sequences["audio"]
    assert audio[0][:, 0].tolist() == [1.0, 2.5]
    assert audio[1][:, 0].tolist() == [5.5]
    assert audio.lengths.tolist() == [2, 1, 0]


def test_word_vectors_beside_words_and_a_word_without_rows(folder):
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    times = [[0, 0.5], [0.5, 1], [1, 2], [2, 2.5]]  # none for "bad"
    write(folder / "glove.csd", "glove", {"a": (vectors, times), "b": (vectors[:1], [[5, 6]])})
    corpus = csd.read(
        folder, settings(folder, words="words.csd", text="glove.csd", audio="audio.csd")
    )
    text = corpus.splits["train"].sequences["text"]
    assert text[0].tolist() == [[3, 4, 5], [6, 7, 8]]
    assert text.lengths.tolist() == [2, 0, 0]
    assert corpus.repairs["text: no features in the segment"] == 2


def test_a_segment_without_words_is_one_mean_and_a_word_without_rows_a_step_of_zeros(folder):
    words = np.array([[b"good"], [b"late"]], dtype="S32")
    write(folder / "few.csd", "words", {"a": (words, [[0.5, 1], [1, 2]])})
    rows = np.ones((1, 2), np.float32)
    write(folder / "one.csd", "facet", {"a": (rows, [[0.6, 0.9]]), "b": (rows * 7, [[0, 9]])})
    corpus = csd.read(folder, settings(folder, text="few.csd", video="one.csd"))
    train = corpus.splits["train"]
    assert train.raw_text == ("good late", "", "")
    video = train.sequences["video"]
    assert [sequence.tolist() for sequence in video] == [[[1, 1], [0, 0]], [], [[7, 7]]]
    assert corpus.repairs == {
        "text: no words in the segment": 2,
        "video: no features in the segment": 1,
    }


def test_non_finite_values_are_zero_before_the_mean(folder):
    audio = np.array([[np.nan, 2.0], [-np.inf, 4.0]], np.float32)
    write(folder / "audio.csd", "COVAREP", {"a": (audio, seconds(0, 1, 2))})
    corpus = csd.read(folder, settings(folder, audio="audio.csd"))
    assert corpus.splits["train"].sequences["audio"][0].tolist() == [[0, 3]]
    assert corpus.repairs["audio: NaN set to 0"] == 1
    assert corpus.repairs["audio: -inf set to 0"] == 1


def test_segments_that_mmsdk_named_keep_their_number_and_video(tmp_path):
    write(
        tmp_path / "labels.csd",
        "All Labels",
        {"v_x[0]": ([[1.0]], seconds(0, 1)), "v_x[11]": ([[2.0]], seconds(3, 4))},
    )
    corpus = csd.read(tmp_path, settings(tmp_path))
    assert corpus.splits["train"].ids == ("v_x$_$0", "v_x$_$11")
    assert set(corpus.splits["train"].groups) == {"v_x"}


def test_opened_with_splits_of_whole_videos(folder):
    data = settings(folder, audio="audio.csd").model_copy(
        update={"split_file": str(folder / "folds.json"), "label_file": "labels.csd"}
    )
    (folder / "folds.json").write_text('{"train": ["a$_$0"], "valid": ["a$_$1"], "test": ["b"]}')
    with pytest.warns(DataWarning, match=r"audio: no features in the segment \(1\)"):
        corpus = open_corpus(data)
    assert [len(split) for split in corpus.splits.values()] == [1, 1, 1]


def test_one_sequence_alone_can_be_looked_at(folder):
    alone = csd.read(folder / "audio.csd", DataSettings(path="x", layout="csd"))
    assert alone.splits["train"].sequences["COVAREP"][0].shape == (10, 2)
    assert alone.label_names == ()
    with pytest.raises(DataError, match="holds words"):
        csd.read(folder / "words.csd", DataSettings(path="x", layout="csd"))


def test_what_is_wrong_is_named(folder):
    assert csd.matches(folder)
    assert csd.matches(folder / "words.csd")
    with pytest.raises(MissingFileError, match=r"none\.csd"):
        csd.read(folder, settings(folder, audio="none.csd"))
    with pytest.raises(DataError, match="name one such file"):
        csd.read(folder, settings(folder, text="words.csd", words="words.csd"))
    write(folder / "other.csd", "COVAREP", {"z": (np.ones((1, 2)), seconds(0, 1))})
    with pytest.raises(DataError, match="none of the videos"):
        csd.read(folder, settings(folder, audio="other.csd"))
    write(folder / "bad.csd", "COVAREP", {"a": (np.ones((3, 2)), seconds(0, 1))})
    with pytest.raises(DataError, match=r"bad\.csd, video a: expected features \(n, 2\)"):
        csd.read(folder, settings(folder, audio="bad.csd"))
    with h5py.File(folder / "half.csd", "w") as file:
        file["COVAREP/data/a/features"] = np.ones((1, 2))
    with pytest.raises(DataError, match="no 'intervals'"):
        csd.read(folder, settings(folder, audio="half.csd"))
    write(folder / "more.csd", "more labels", {"a": ([[1.0]], seconds(0, 1))})
    with pytest.raises(DataError, match=r"expected one \.csd of labels"):
        csd.read(folder, settings(folder, audio="audio.csd"))


times = st.floats(0, 10, allow_nan=False).map(lambda t: round(t, 2))
intervals = st.lists(st.tuples(times, times).map(sorted), min_size=1, max_size=12)


@given(rows=intervals, targets=intervals)
def test_averages_agree_with_their_definition(rows, targets):
    rows, targets = np.array(rows), np.array(targets)
    features = np.arange(len(rows) * 2, dtype=np.float32).reshape(-1, 2) - 3
    means, found = averages(features, rows, targets)
    for target, mean, present in zip(targets, means, found, strict=True):
        chosen = [
            row
            for row, (start, stop) in zip(features, rows, strict=True)
            if min(stop, target[1]) - max(start, target[0]) > SHORTEST
        ]
        assert present == bool(chosen)
        np.testing.assert_allclose(mean, np.mean(chosen, axis=0) if chosen else 0, rtol=1e-6)


def test_touching_intervals_do_not_overlap():
    rows = np.array([[0.0, 1.0], [1.0, 2.0], [0.5, 0.5], [1 - 1e-6, 3.0]])
    assert overlapping(rows, np.array([0.0, 1.0])).tolist() == [True, False, False, False]


def test_real_labels(data_root):
    corpus = csd.read(data_root / "csd", DataSettings(path="csd", layout="csd"))
    train = corpus.splits["train"]
    assert (len(train), len(set(train.groups))) == (2199, 93)
    assert corpus.label_names == ("sentiment score",)
    assert (train.labels.min(), train.labels.max()) == (-3, 3)
    assert train.ids[:2] == ("03bSnISJMiM$_$0", "03bSnISJMiM$_$1")
    np.testing.assert_allclose(train.labels[:3, 0], [2.4, -0.8, -1.0], rtol=1e-6)
