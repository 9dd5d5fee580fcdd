"""The lists of MISA, MMIM and MAG-BERT: rows of known values, and MISA's real validation split."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimrl.datasets import avec2019, mimrl_sdk, mmsa, multibench, noalign, words
from mimrl.datasets.catalogue import read_corpus
from mimrl.datasets.embeddings import load_embeddings
from mimrl.datasets.pickles import read_pickle
from mimrl.datasets.rowlists import folder_content, folder_sample
from mimrl.errors import ConfigError, DataError, MissingFileError
from mimrl.settings.data import DataSettings

SETTINGS = DataSettings(path="dev.pkl")
OTHERS = (mmsa, multibench, noalign, mimrl_sdk, avec2019)
CLIPS = (("v[0]", ["so", "good"], 2.0), ("v[1]", ["Bad", "very", "bad"], -1.5), ("w[0]", ["x"], 0))


def features(clip: int, steps: int, width: int) -> np.ndarray:
    return np.arange(steps * width).reshape(steps, width) + 10.0 * clip + 1


def misa(clip: int) -> tuple[Any, ...]:
    name, said, label = CLIPS[clip]
    n = len(said)
    parts = (np.arange(n), features(clip, n, 4), features(clip, n, 3).astype("f4"), said)
    return parts, np.array([[label]]), name


def mag(clip: int) -> tuple[Any, ...]:
    (_, video, audio, said), label, name = misa(clip)
    return (said, video, audio), label, name


def mmim(clip: int, *, padded: bool) -> tuple[Any, ...]:
    (ids, _, _, said), label, _ = misa(clip)
    video, audio = features(clip, 5 - clip, 4), features(clip, clip + 1, 3)
    steps = (len(video), len(audio))
    if padded:
        video = np.concatenate([np.zeros((7 - len(video), 4)), video])
        audio = np.concatenate([np.zeros((6 - len(audio), 3)), audio])
    return (
        (ids, video, audio, said, *steps),
        label,
        np.array([f"v_{clip + 1}", "", ""]).astype("S8"),
    )


MADE = {
    "misa": [misa(i) for i in range(3)],
    "mag": [mag(i) for i in range(3)],
    "mmim": [mmim(i, padded=False) for i in range(3)],
    "mmim padded": [mmim(i, padded=True) for i in range(3)],
}


@pytest.mark.parametrize("kind", MADE)
def test_only_this_layout_recognises_it(kind: str) -> None:
    forms: list[object] = [MADE[kind], {"train": MADE[kind], "dev": MADE[kind]}]
    for content in forms:
        assert words.matches(content)
        assert not any(module.matches(content) for module in OTHERS)
    others: list[object] = [None, [], {}, [1], [(1, 2, 3)], [((1, 2, 3), 0, "a")], {"train": []}]
    assert not any(words.matches(other) for other in others)


@pytest.mark.parametrize("kind", ["misa", "mag"])
def test_word_aligned_rows(kind: str) -> None:
    corpus = words.read(MADE[kind], Path("mosi_dev.pkl"), SETTINGS)
    split = corpus.splits["valid"]
    assert list(corpus.splits) == ["valid"]
    assert (corpus.layout, corpus.label_names) == ("words", ("label",))
    assert split.ids == ("v[0]", "v[1]", "w[0]")
    assert split.groups == ("v", "v", "w")
    assert split.raw_text == ("so good", "Bad very bad", "x")
    assert split.labels[:, 0].tolist() == [2, -1.5, 0]
    assert corpus.widths == {"audio": 3, "video": 4}
    for i in range(3):
        np.testing.assert_array_equal(split.sequences["video"][i], features(i, len(CLIPS[i][1]), 4))
        assert split.sequences["audio"][i].dtype == np.float32


@pytest.mark.parametrize("kind", ["mmim", "mmim padded"])
def test_rows_of_mmim(kind: str) -> None:
    corpus = words.read(MADE[kind], Path("train.pkl"), SETTINGS)
    split = corpus.splits["train"]
    assert split.sequences["video"].lengths.tolist() == [5, 4, 3]
    assert split.sequences["audio"].lengths.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(split.sequences["video"][1], features(1, 4, 4))
    assert split.ids == ("v$_$1", "v$_$2", "v$_$3")
    assert split.groups == ("v", "v", "v")
    assert split.raw_text == ("so good", "Bad very bad", "x")
    assert not corpus.repairs


def test_splits_of_a_dict_and_of_a_folder(tmp_path: Path) -> None:
    content = {"train": MADE["mag"], "dev": MADE["mag"][:2], "test": MADE["mag"][2:]}
    corpus = words.read(content, Path("mosi.pkl"), SETTINGS)
    assert {k: len(v) for k, v in corpus.splits.items()} == {"train": 3, "valid": 2, "test": 1}
    for name, rows in content.items():
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(rows))
    (tmp_path / "glove.npz").write_bytes(b"")
    found = read_corpus(DataSettings(path=str(tmp_path)))
    assert found.layout == "words"
    assert {k: v.ids for k, v in found.splits.items()} == {
        k: v.ids for k, v in corpus.splits.items()
    }


def test_folders_that_do_not_fit(tmp_path: Path) -> None:
    assert folder_sample(tmp_path) is None
    with pytest.raises(MissingFileError, match=r"train\.pkl"):
        folder_content(tmp_path)
    for name in ("dev", "valid"):
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(MADE["misa"]))
    with pytest.raises(DataError, match=r"dev\.pkl and valid\.pkl for 'valid'"):
        read_corpus(DataSettings(path=str(tmp_path)))


def test_a_file_whose_name_tells_no_split_is_train() -> None:
    assert list(words.read(MADE["misa"], Path("clips.pkl"), SETTINGS).splits) == ["train"]


TABLE = {"so": (1, 2), "good": (3, 4), "bad": (5, 6), "unused": (7, 8)}


def vectors(folder: Path, form: str) -> Path:
    if form == "npz":
        path = folder / "vectors.npz"
        np.savez(path, words=np.array(list(TABLE)), vectors=np.array(list(TABLE.values()), "f4"))
        return path
    path = folder / "vectors.txt"
    lines = [" ".join([word, *map(str, numbers)]) for word, numbers in TABLE.items()]
    head = [f"{len(TABLE)} 2"] if form == "word2vec" else []
    path.write_text("\n".join([*head, lines[0], ". . . 0.5 0.5", *lines[1:]]), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", ["npz", "glove", "word2vec"])
@pytest.mark.parametrize("kind", ["misa", "mag", "mmim"])
def test_word_vectors_become_text(tmp_path: Path, form: str, kind: str) -> None:
    settings = DataSettings(path="x", embeddings=str(vectors(tmp_path, form)))
    corpus = words.read(MADE[kind], Path("dev.pkl"), settings)
    text = corpus.splits["valid"].sequences["text"]
    assert text[0].tolist() == [[1, 2], [3, 4]]
    assert text[1].tolist() == [[5, 6], [0, 0], [5, 6]]  # "Bad" in lower case; "very" unknown
    assert text[2].tolist() == [[0, 0]]
    assert dict(corpus.repairs) == {words.UNKNOWN: 2}
    assert corpus.modalities == ("text", "audio", "video")


@pytest.mark.parametrize("form", ["npz", "glove", "word2vec"])
def test_only_vectors_of_the_words_wanted_are_kept(tmp_path: Path, form: str) -> None:
    """So that files of millions of words need little memory."""
    found = load_embeddings(vectors(tmp_path, form), ["bad", "Good", "zebra"])
    assert sorted(found.rows) == ["bad", "good"]
    assert found.vectors.shape == (2, 2)
    assert found.embed(["Good", "bad"])[0].tolist() == [[3, 4], [5, 6]]


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04rest", b"word\n", b"so 1 x\n"])
@pytest.mark.parametrize("suffix", ["npz", "txt"])
def test_word_vectors_of_another_form(tmp_path: Path, raw: bytes, suffix: str) -> None:
    path = tmp_path / f"v.{suffix}"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"v\.(npz|txt)"):
        load_embeddings(path, {"so"})


def test_word_vectors_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    np.savez(path, words=np.array(["a"]), vectors=np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"words \(1,\) and vectors \(2, 3\)"):
        load_embeddings(path, {"a"})
    np.savez(path, words=np.array(["a"]))
    with pytest.raises(DataError, match="vectors"):
        load_embeddings(path, {"a"})
    with pytest.raises(DataError, match="none of the 1 words"):
        load_embeddings(vectors(tmp_path, "npz"), {"zebra"})


def test_word_vectors_without_effect_are_refused() -> None:
    rows = [((features(0, 2, 5), *misa(0)[0][1:]), 1.0, "v[0]")]
    corpus = words.read(rows, Path("dev.pkl"), SETTINGS)
    assert corpus.widths["text"] == 5
    with pytest.raises(ConfigError, match=r"data\.embeddings has no effect"):
        words.read(rows, Path("dev.pkl"), DataSettings(path="x", embeddings="v.npz"))
    with pytest.raises(ValueError, match="embeddings has no effect"):
        DataSettings(path="x", layout="mmsa", embeddings="v.npz")


def altered(**changes: Any) -> list[Any]:
    """The rows of MISA, the second one changed in some parts."""
    (ids, video, audio, said), label, name = MADE["misa"][1]
    given = {"video": video, "audio": audio, "said": said, "label": label, "name": name} | changes
    row = ((ids, given["video"], given["audio"], given["said"]), given["label"], given["name"])
    return [MADE["misa"][0], row, MADE["misa"][2]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (altered(video=np.ones((2, 4))), "'row 1'.*one step a word.*'visual': 2"),
        (altered(audio=np.ones((3, 3, 1))), "'row 1, acoustic'.*axes"),
        (altered(audio=np.ones((3, 2))), "'audio'.*3 features.*2 in row 1"),
        (altered(audio="abc"), "'row 1, acoustic'.*numbers"),
        (altered(said=["a", "b", 3]), "'row 1'.*strings.*int 3"),
        (altered(label=np.array([[np.nan]])), r"1 samples of 3 .*v\[1\]"),
        (altered(label="x"), "'row 1, label'.*numbers"),
        (altered(label=[1, 2]), r"one number of labels a sample, got \[1, 2\]"),
        (altered(name=3), "'row 1, id'.*strings"),
        ([MADE["misa"][0], 5], r"'row 1'.*\(features, label, id\).*int 5"),
        ([MADE["misa"][0], ((1, 2), 0, "a")], "3, 4 or 6 parts"),
        ([], "expected samples, got an empty list"),
        ({"dev": 3}, "a list with one row a sample"),
    ],
)
def test_one_message_names_the_place(rows: object, message: str) -> None:
    with pytest.raises(DataError, match=rf"(?s)dev\.pkl.*{message}"):
        words.read(rows, Path("dev.pkl"), SETTINGS)


def test_lengths_of_mmim_are_checked() -> None:
    features, label, name = MADE["mmim"][0]
    rows = [((*features[:4], 6, 1), label, name)]
    with pytest.raises(DataError, match=r"lengths of at most \(5, 1\).*6"):
        words.read(rows, Path("dev.pkl"), SETTINGS)


def test_real_validation_split(data_root: Path) -> None:
    path = data_root / "mosi_misa" / "dev.pkl"
    content: Any = read_pickle(path)
    assert words.matches(content)
    assert not any(module.matches(content) for module in OTHERS)
    settings = DataSettings(path="x", embeddings=str(path.parent / "glove300_vocab.npz"))
    corpus = words.read(content, path, settings)
    split = corpus.splits["valid"]
    assert len(split) == 229
    assert corpus.widths == {"text": 300, "audio": 74, "video": 47}
    assert not corpus.repairs  # every word has a vector
    lengths = [len(row[0][3]) for row in content]
    assert all(seq.lengths.tolist() == lengths for seq in split.sequences.values())
    # The ids of this file count in this vocabulary, so both ways must give the same vectors.
    table = np.load(path.parent / "glove300_vocab.npz")["vectors"]
    np.testing.assert_array_equal(split.sequences["text"][5], table[content[5][0][0]])
    assert split.raw_text is not None
    assert split.raw_text[0].startswith("uh i really enjoyed")
    assert len(set(split.groups or ())) == 10
    assert list(read_corpus(DataSettings(path=str(path.parent))).splits) == ["valid"]
