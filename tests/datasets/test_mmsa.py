"""MMSA's layout: small files with known values, and the real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimrl.datasets import avec2019, mimrl_sdk, mmsa, multibench, noalign, words
from mimrl.datasets.features import SPLITS, Corpus
from mimrl.datasets.padding import CONTRADICTED
from mimrl.datasets.pickles import read_pickle
from mimrl.errors import DataError
from mimrl.settings.data import DataSettings

PATH = Path("mosi.pkl")
SETTINGS = DataSettings(path="mosi.pkl", layout="mmsa")
LENGTHS = (2, 5, 3)
OTHERS = (multibench, noalign, words, mimrl_sdk, avec2019)


def padded(width: int, steps: int, lengths: tuple[int, ...], *, front: bool) -> np.ndarray:
    """Sequences of positive values of the given lengths in zeros."""
    values = np.zeros((len(lengths), steps, width), dtype=np.float64)
    for i, n in enumerate(lengths):
        rows = slice(steps - n, steps) if front else slice(0, n)
        values[i, rows] = 1 + i + np.arange(n * width).reshape(n, width) / 10
    return values


def table(*, front: bool = False) -> dict[str, Any]:
    """Three clips of an unaligned file."""
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    ids = np.array([[101, 7, 102, 0, 0], [101, 5, 6, 7, 102], [101, 102, 0, 0, 0]])
    return {
        "raw_text": np.array(["good", "very good film", ""], dtype=object),
        "text": padded(4, 5, (3, 5, 2), front=front),
        "text_bert": np.stack([ids, mask, np.zeros_like(ids)], axis=1).astype(np.float32),
        "audio": padded(2, 8, LENGTHS, front=front),
        "vision": padded(3, 6, (6, 1, 2), front=front),
        "audio_lengths": list(LENGTHS),
        "vision_lengths": [6, 1, 2],
        "regression_labels": np.array([-1.5, 0.0, 3.0]),
        "classification_labels": np.array([0.0, 1.0, 2.0]),
        "annotations": ["Negative", "Neutral", "Positive"],
        "id": ["a_b$_$3", "a_b$_$10", "c$_$1"],
    }


def read(**changes: Any) -> Corpus:
    """The corpus of that file with some keys of train changed, or removed by None."""
    front = changes.pop("front", False)
    content = {name: table(front=front) for name in SPLITS}
    content["train"] = {k: v for k, v in {**table(front=front), **changes}.items() if v is not None}
    assert mmsa.matches(content)
    return mmsa.read(content, PATH, SETTINGS)


@pytest.mark.parametrize("front", [False, True])
def test_padding_on_either_side_is_removed(front: bool) -> None:
    split = read(front=front).splits["train"]
    assert split.sequences["audio"].lengths.tolist() == [2, 5, 3]
    assert split.sequences["video"].lengths.tolist() == [6, 1, 2]
    assert split.sequences["text"].lengths.tolist() == [3, 5, 2]
    wanted = padded(2, 8, LENGTHS, front=False)
    for i, n in enumerate(LENGTHS):
        np.testing.assert_array_equal(split.sequences["audio"][i], wanted[i, :n].astype("f4"))
        assert split.sequences["audio"][i].dtype == np.float32


def test_all_fields() -> None:
    corpus = read()
    split = corpus.splits["train"]
    assert (corpus.layout, corpus.source, dict(corpus.repairs)) == ("mmsa", "mosi.pkl", {})
    assert corpus.label_names == ("regression_labels", "classification_labels")
    assert split.labels.tolist() == [[-1.5, 0], [0, 1], [3, 2]]
    assert split.ids == ("a_b$_$3", "a_b$_$10", "c$_$1")
    assert split.groups == ("a_b", "a_b", "c")
    assert split.raw_text == ("good", "very good film", "")
    assert split.token_ids is not None
    assert [ids.tolist() for ids in split.token_ids] == [
        [101, 7, 102],
        [101, 5, 6, 7, 102],
        [101, 102],
    ]


def test_only_this_layout_recognises_it() -> None:
    content = {name: table() for name in SPLITS}
    assert not any(module.matches(content) for module in OTHERS)
    others: list[object] = [None, 1, [], {}, {"train": 1}, {"train": {}}, [[]], {"train": {"a": 1}}]
    for strange in others:
        assert not mmsa.matches(strange)


def test_labels_of_sims() -> None:
    parts = {f"regression_labels_{m}": np.array([0.1, 0.2, 0.3]) for m in "TAV"}
    content = {"train": {**table(), **parts}}
    corpus = mmsa.read(content, PATH, SETTINGS)
    assert corpus.label_names[2:] == tuple(parts)
    np.testing.assert_allclose(corpus.splits["train"].labels[:, 4], [0.1, 0.2, 0.3])


def test_zero_rows_inside_are_kept_and_lengths_are_honoured() -> None:
    audio = padded(2, 8, LENGTHS, front=False)
    audio[1, 1:3] = 0
    audio[2, 2] = 0  # the last of three steps: only the length tells it from padding
    corpus = read(audio=audio)
    found = corpus.splits["train"].sequences["audio"]
    assert found.lengths.tolist() == list(LENGTHS)
    assert (found[1][1:3] == 0).all()


def test_without_lengths_ends_are_stripped() -> None:
    audio = padded(2, 8, LENGTHS, front=True)
    audio[1, 5] = 0
    found = read(audio=audio, audio_lengths=None).splits["train"].sequences["audio"]
    assert found.lengths.tolist() == list(LENGTHS)


def test_a_length_that_cuts_values_is_overruled_and_counted() -> None:
    corpus = read(audio_lengths=[2, 4, 3])
    assert corpus.splits["train"].sequences["audio"].lengths.tolist() == [2, 5, 3]
    assert dict(corpus.repairs) == {f"audio: {CONTRADICTED}": 1}


def test_aligned_files_are_cut_at_the_same_words() -> None:
    audio = padded(2, 6, (4, 5, 3), front=True)
    video = padded(3, 6, (4, 5, 3), front=True)
    audio[0, 2] = 0  # the first word has no audio
    video[1] = 0  # no face at all
    aligned = {
        "text": padded(4, 6, (4, 5, 3), front=True),
        "audio": audio,
        "vision": video,
        "regression_labels": np.zeros(3),
        "id": ["a$_$1", "a$_$2", "b$_$1"],
    }
    split = mmsa.read({"train": aligned}, PATH, SETTINGS).splits["train"]
    assert split.sequences["text"].lengths.tolist() == [4, 5, 3]
    assert split.sequences["audio"].lengths.tolist() == [4, 5, 3]
    assert split.sequences["video"].lengths.tolist() == [4, 5, 3]
    assert (split.sequences["audio"][0][0] == 0).all()


def test_hidden_states_at_pad_tokens_are_not_text() -> None:
    split = read(text=np.ones((3, 5, 4))).splits["train"]
    assert split.sequences["text"].lengths.tolist() == [3, 5, 2]


def test_missing_features_and_vectors() -> None:
    less = {k: v for k, v in table().items() if "vision" not in k and k not in ("text", "id")}
    less |= {"audio": np.ones((3, 7)), "audio_lengths": [1, 1, 1]}
    corpus = mmsa.read({"train": less, "val": less}, PATH, SETTINGS)
    assert corpus.widths == {"audio": 7}
    assert corpus.splits["valid"].ids == ("valid[0]", "valid[1]", "valid[2]")
    assert corpus.splits["valid"].sequences["audio"].lengths.tolist() == [1, 1, 1]


def test_infinite_values_are_left_for_the_repair() -> None:
    audio = padded(2, 8, LENGTHS, front=False)
    audio[0, 1, 0] = -np.inf
    audio[1, 0, 0] = np.finfo(np.float64).min  # what numpy.nan_to_num makes of -inf
    found = read(audio=audio).splits["train"].sequences["audio"]
    assert found[0][1, 0] == -np.inf
    assert found[1][0, 0] == -np.inf


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audio": np.ones((2, 8, 2))}, "one number of samples.*audio 2"),
        ({"audio": np.ones((3, 8, 2, 1))}, "'audio'.*2 or 3 axes"),
        ({"audio": ["a", "b", "c"]}, "'audio'.*numbers"),
        ({"audio": [[1.0], [1.0, 2.0], [3.0]]}, "'audio'.*numbers of one shape"),
        ({"audio_lengths": [2, 9, 3]}, "'audio_lengths'.*from 0 to 8.*2 to 9"),
        ({"audio_lengths": [2, -1, 3]}, "'audio_lengths'.*from 0 to 8"),
        ({"audio_lengths": [2, 5]}, "'audio_lengths'.*3 lengths"),
        ({"audio_lengths": [2, 5, 2.5]}, "'audio_lengths'.*whole numbers"),
        ({"text_bert": np.ones((3, 5))}, "'text_bert'.*3 axes"),
        ({"text_bert": np.ones((3, 2, 5))}, "'text_bert'.*ids, mask, segments"),
        ({"text_bert": np.full((3, 3, 5), 0.5)}, "'text_bert'.*whole numbers"),
        ({"raw_text": ["a", "b", 3]}, "'raw_text'.*strings.*int 3"),
        ({"id": ["a$_$1"]}, "one number of samples.*id 1"),
        ({"regression_labels": ["x", "y", "z"]}, "'regression_labels'.*numbers"),
        ({"regression_labels": None}, "same label columns"),
    ],
)
def test_one_message_names_the_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"(?s)mosi.pkl.*{message}") as caught:
        read(**changes)
    assert "train" in str(caught.value)


def test_nan_labels_are_counted_and_named() -> None:
    with pytest.raises(DataError, match=r"2 samples of 3 .*a_b\$_\$10, c\$_\$1"):
        read(regression_labels=np.array([0, np.nan, np.inf]))


def test_empty_split() -> None:
    nothing = {k: v[:0] for k, v in table().items()}
    with pytest.raises(DataError, match=r"split 'test'.*expected samples, got none"):
        mmsa.read({"train": table(), "test": nothing}, PATH, SETTINGS)


def test_two_names_for_one_split() -> None:
    with pytest.raises(DataError, match="two of its keys mean the split 'valid'"):
        mmsa.read({"valid": table(), "dev": table()}, PATH, SETTINGS)


def test_no_features() -> None:
    bare = {"regression_labels": np.zeros(2), "id": ["a$_$1", "a$_$2"]}
    with pytest.raises(DataError, match="got none of them"):
        mmsa.read({"train": bare}, PATH, SETTINGS)


@pytest.mark.parametrize(
    ("name", "sizes", "widths"),
    [
        ("mosi_utterance_mmsa", (1221, 226, 752), {"text": 100, "audio": 73, "video": 100}),
        ("mosi_official_text_audio_mmsa", (1284, 229, 686), {"audio": 73}),
    ],
)
def test_real_files(
    data_root: Path, name: str, sizes: tuple[int, ...], widths: dict[str, int]
) -> None:
    path = data_root / "mosi" / f"{name}.pkl"
    content: Any = read_pickle(path)
    assert mmsa.matches(content)
    assert not any(module.matches(content) for module in OTHERS)
    corpus = mmsa.read(content, path, SETTINGS)
    assert tuple(len(corpus.splits[s]) for s in SPLITS) == sizes
    assert corpus.widths == widths
    assert not corpus.repairs
    for split in SPLITS:
        found = corpus.splits[split]
        assert all((seq.lengths == 1).all() for seq in found.sequences.values())
        assert found.token_ids is not None
        assert found.groups is not None
        np.testing.assert_array_equal(
            found.token_ids.lengths, content[split]["text_bert"][:, 1].sum(1)
        )
        np.testing.assert_array_equal(
            found.sequences["audio"].values, content[split]["audio"][:, 0]
        )
    groups = [set(corpus.splits[s].groups or ()) for s in SPLITS]
    assert not (groups[0] & groups[2])
