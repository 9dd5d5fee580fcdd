"""MFN folders: trimming of padding, missing files, checks; the real ICT-MMMO and POM."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from mimrl.datasets import mfn
from mimrl.errors import DataError
from mimrl.settings import DataSettings

SETTINGS = DataSettings(path="folder", layout="mfn")
STEPS = 6


def write(folder, name, values, key="d1"):
    with h5py.File(folder / f"{name}.h5", "w") as file:
        file[key] = np.asarray(values, dtype=np.float64)


def padded(rows, width, start=0):
    """``(STEPS, width)`` zeros with ``rows`` rows of 1, 2... from ``start`` on."""
    array = np.zeros((STEPS, width))
    array[start : start + rows] = 1 + np.arange(rows)[:, None]
    return array


@pytest.fixture
def folder(tmp_path):
    for split, size in (("train", 3), ("valid", 2)):
        write(tmp_path, f"audio_{split}", [padded(2, 4, start=STEPS - 2)] * size)
        write(tmp_path, f"video_{split}", [padded(3, 5, start=STEPS - 3)] * size)
        write(tmp_path, f"y_{split}", np.arange(size))
    write(tmp_path, "text_valid_emb", [padded(1, 7, start=STEPS - 1)] * 2)
    return tmp_path


def test_padding_is_cut_where_all_modalities_are_zero_so_that_words_stay_aligned():
    audio = np.stack([padded(2, 4, 2), padded(2, 4, 0), padded(0, 4), padded(STEPS, 4)])
    video = np.stack([padded(3, 5, 2), padded(1, 5, 1), padded(0, 5), padded(0, 5)])
    cut = mfn.trim_jointly({"audio": audio, "video": video})
    for ragged in cut.values():  # rows 2-4; rows 0-1; nothing to tell padding by; all rows
        assert ragged.lengths.tolist() == [3, 2, STEPS, STEPS]
    assert cut["audio"][0][:, 0].tolist() == [1, 2, 0]
    assert cut["video"][0][:, 0].tolist() == [1, 2, 3]
    assert cut["video"][1][:, 0].tolist() == [0, 1]
    assert not cut["video"][3].any()


def test_arrays_of_unequal_steps_are_cut_by_themselves():
    audio = padded(2, 4, 3)[None]
    video = np.zeros((1, STEPS + 2, 1))
    video[0, 4] = 1
    cut = mfn.trim_jointly({"audio": audio, "video": video})
    assert (cut["audio"].lengths.tolist(), cut["video"].lengths.tolist()) == ([2], [1])


def test_zero_rows_inside_stay():
    array = np.zeros((1, STEPS, 1))
    array[0, [1, 4]] = 5
    assert mfn.trim_jointly({"audio": array})["audio"][0].ravel().tolist() == [5, 0, 0, 5]


def test_a_split_without_text_lacks_it_in_every_sample(folder):
    assert mfn.matches(folder)
    corpus = mfn.read(folder, SETTINGS)
    assert corpus.modalities == ("text", "audio", "video")
    assert corpus.widths == {"text": 7, "audio": 4, "video": 5}
    assert corpus.splits["train"].sequences["text"].lengths.tolist() == [0, 0, 0]
    assert corpus.splits["valid"].sequences["text"][0].tolist() == [[0.0] * 7] * 2 + [[1.0] * 7]
    assert corpus.repairs == {"text: no file for train, all its samples lack it": 3}
    assert corpus.splits["train"].ids == ("train_0", "train_1", "train_2")
    assert corpus.label_names == ("label",)
    assert corpus.splits["train"].labels.tolist() == [[0], [1], [2]]


def test_text_without_emb_in_its_name_and_several_labels(folder):
    write(folder, "text_train", [padded(1, 7)] * 3)
    for split, size in (("train", 3), ("valid", 2)):
        write(folder, f"y_{split}", np.ones((size, 3)))
    corpus = mfn.read(folder, SETTINGS)
    assert corpus.repairs == {}
    assert len(set(corpus.label_names)) == corpus.splits["valid"].labels.shape[1] == 3


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("audio_train", np.ones((2, STEPS, 4)), "has 2 samples but y_train.h5 has 3"),
        ("video_valid", np.ones((2, 5)), r"expected features .* got shape \(2, 5\)"),
        ("y_train", np.ones((3, 2, 2)), "expected labels"),
    ],
)
def test_wrong_shapes_are_named(folder, name, values, message):
    write(folder, name, values)
    with pytest.raises(DataError, match=message) as caught:
        mfn.read(folder, SETTINGS)
    assert f"{name}.h5" in str(caught.value)


def test_wrong_keys_damaged_files_and_other_folders(folder, tmp_path_factory):
    write(folder, "audio_train", np.ones((3, STEPS, 4)), key="data")
    with pytest.raises(DataError, match=r"expected the key 'd1', found \['data'\]"):
        mfn.read(folder, SETTINGS)
    content = (folder / "video_train.h5").read_bytes()
    write(folder, "audio_train", np.ones((3, STEPS, 4)))
    (folder / "video_train.h5").write_bytes(content[:-100])
    with pytest.raises(DataError, match="truncated"):
        mfn.read(folder, SETTINGS)
    other = tmp_path_factory.mktemp("other")
    assert not mfn.matches(other)
    assert not mfn.matches(folder / "y_train.h5")
    with pytest.raises(DataError, match="found none"):
        mfn.read(other, SETTINGS)


def test_real_pom(data_root):
    corpus = mfn.read(data_root / "mfn/pom", SETTINGS)
    assert {name: len(split) for name, split in corpus.splits.items()} == {
        "train": 600,
        "valid": 100,
        "test": 203,
    }
    assert corpus.widths == {"audio": 43, "video": 41}
    assert len(corpus.label_names) == 17
    video = corpus.splits["train"].sequences["video"]
    assert sum(not sequence.any() for sequence in video) == 322
    assert all(len(sequence) > 0 for sequence in video)


def test_real_mmmo(data_root):
    corpus = mfn.read(data_root / "mfn/mmmo", SETTINGS)
    assert corpus.widths == {"text": 300, "audio": 74, "video": 36}
    assert corpus.repairs == {"text: no file for train, all its samples lack it": 220}
    labels = corpus.splits["train"].labels
    assert (labels.min(), labels.max(), labels.shape) == (1, 5, (220, 1))
