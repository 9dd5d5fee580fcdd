"""MultiBench's layout: padding, labels and ids of all kinds, and the real sarcasm clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimrl.datasets import avec2019, mimrl_sdk, mmsa, multibench, noalign, words
from mimrl.datasets.features import SPLITS, Split
from mimrl.datasets.padding import word_aligned
from mimrl.datasets.pickles import read_pickle
from mimrl.datasets.prepare import prepare
from mimrl.errors import DataError
from mimrl.settings import load
from mimrl.settings.data import DataSettings

PATH = Path("humor.pkl")
SETTINGS = DataSettings(path="humor.pkl")
OTHERS = (mmsa, noalign, words, mimrl_sdk, avec2019)


def front(width: int, lengths: tuple[int, ...], steps: int = 6) -> np.ndarray:
    """Positive values behind zeros."""
    values = np.zeros((len(lengths), steps, width), dtype=np.float32)
    for i, n in enumerate(lengths):
        values[i, steps - n :] = 1 + i + np.arange(n)[:, None]
    return values


def table(lengths: tuple[int, ...] = (4, 6, 2), **changes: Any) -> dict[str, Any]:
    """Three word-aligned clips."""
    made = {
        "text": front(3, lengths),
        "audio": front(2, lengths),
        "vision": front(4, lengths),
        "labels": np.array([[[1.5]], [[-2.0]], [[0.0]]]),
        "id": ["a[0]", "a[1]", "b_c[0]"],
    }
    return {k: v for k, v in {**made, **changes}.items() if v is not None}


def train(**changes: Any) -> Split:
    content = {"train": table(**changes)}
    assert multibench.matches(content)
    return multibench.read(content, PATH, SETTINGS).splits["train"]


def test_padding_in_front_is_removed() -> None:
    split = train()
    for sequences in split.sequences.values():
        assert sequences.lengths.tolist() == [4, 6, 2]
        assert sequences[2][:, 0].tolist() == [3, 4]
    assert tuple(split.sequences) == ("text", "audio", "video")
    assert split.labels.tolist() == [[1.5], [-2.0], [0.0]]
    assert split.groups == ("a", "a", "b_c")
    assert split.raw_text is None


def test_aligned_modalities_stay_aligned() -> None:
    """Zero rows of one modality at the ends of a clip are steps like others."""
    text, audio, video = (front(w, (4, 6, 2)) for w in (3, 2, 4))
    text[0, -1] = 0  # the last word has no vector
    audio[0, 2] = 0  # silence in the first word
    video[1, 2:4] = 0  # no face in the middle
    split = train(text=text, audio=audio, vision=video)
    assert all(s.lengths.tolist() == [4, 6, 2] for s in split.sequences.values())
    assert (split.sequences["audio"][0][0] == 0).all()
    assert (split.sequences["text"][0][-1] == 0).all()
    assert (split.sequences["video"][1][2:4] == 0).all()


def test_clip_without_known_words_is_kept() -> None:
    """Where words are aligned it has steps, all zero; else nothing tells how many."""
    text = front(3, (4, 6, 2))
    text[2] = 0
    split = train(text=text)
    assert split.sequences["text"].lengths.tolist() == [4, 6, 2]
    assert not split.sequences["text"][2].any()
    assert split.sequences["audio"].lengths.tolist() == [4, 6, 2]
    apart = train(text=text, audio=front(2, (5, 3, 6)), vision=front(4, (1, 2, 3)))
    assert apart.sequences["text"].lengths.tolist() == [4, 6, 0]


def test_a_clip_with_nothing_in_it_is_kept_without_steps() -> None:
    arrays = {key: front(w, (4, 6, 2)) for key, w in (("text", 3), ("audio", 2), ("vision", 4))}
    for values in arrays.values():
        values[1] = 0
    split = train(**arrays)
    assert [s.lengths.tolist() for s in split.sequences.values()] == [[4, 0, 2]] * 3


@pytest.mark.parametrize(("dropped", "steps"), [(True, 0), (False, 2)])
def test_drop_all_zero_decides_about_a_clip_without_known_words(dropped: bool, steps: int) -> None:
    text = front(3, (4, 6, 2))
    text[2] = 0
    content = {name: table(text=text) for name in SPLITS}
    drop = f"data.drop_all_zero={str(dropped).lower()}"
    chosen = load(None, ["data.path=humor.pkl", "model.encoders.text=gru", drop])
    prepared = prepare(multibench.read(content, PATH, chosen.data), chosen)
    assert prepared.splits["train"].inputs["text"].lengths.tolist() == [4, 6, steps]


def test_independent_padding_is_removed_from_each() -> None:
    split = train(audio=front(2, (5, 3, 6)), vision=front(4, (1, 2, 3)))
    assert split.sequences["text"].lengths.tolist() == [4, 6, 2]
    assert split.sequences["audio"].lengths.tolist() == [5, 3, 6]
    assert split.sequences["video"].lengths.tolist() == [1, 2, 3]
    other_steps = train(audio=front(2, (5, 3, 6), steps=9))
    assert other_steps.sequences["audio"].lengths.tolist() == [5, 3, 6]


def test_rows_that_cancel_are_not_padding() -> None:
    text = front(2, (4, 6, 2))
    text[0, 2] = (1, -1)
    assert train(text=text).sequences["text"].lengths.tolist() == [4, 6, 2]


def test_alignment_is_seen_with_padding_on_either_side() -> None:
    ahead = {"text": front(3, (4, 6, 2)), "audio": front(2, (4, 6, 2))}
    behind = {name: values[:, ::-1] for name, values in ahead.items()}
    apart = {"text": front(3, (4, 6, 2)), "audio": front(2, (3, 5, 1))}
    assert word_aligned([ahead])
    assert word_aligned([behind])
    assert not word_aligned([apart])
    assert not word_aligned([{"text": front(3, (4, 6, 2))}])


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 1, 1)])
@pytest.mark.parametrize("values", [[1, -1, 1], [1, 0, 1], [0.5, -3, 2]])
def test_label_shapes_and_kinds(shape: tuple[int, ...], values: list[float]) -> None:
    assert train(labels=np.array(values).reshape(shape)).labels[:, 0].tolist() == values


def test_several_label_columns() -> None:
    seven = {"train": table(labels=np.arange(21).reshape(3, 1, 7))}
    corpus = multibench.read(seven, PATH, SETTINGS)
    assert corpus.label_names[0] == "sentiment"
    assert corpus.splits["train"].labels[1].tolist() == list(range(7, 14))
    pairs = np.eye(2)[np.array([[0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]])]
    corpus = multibench.read({"train": table(labels=pairs)}, PATH, SETTINGS)
    assert corpus.label_names == ("neutral", "happy", "sad", "angry")
    assert corpus.splits["train"].labels[1].tolist() == [1, 0, 0, 1]
    corpus = multibench.read({"train": table(labels=np.ones((3, 2)))}, PATH, SETTINGS)
    assert corpus.label_names == ("label[0]", "label[1]")


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (np.array([7, 8, 9]), ("7", "8", "9")),
        (np.array([[7], [8], [9]]), ("7", "8", "9")),
        ([np.array([7]), np.array([8]), np.array([9])], ("7", "8", "9")),
        ([b"x", "y", np.str_("z")], ("x", "y", "z")),
        (None, ("train[0]", "train[1]", "train[2]")),
    ],
)
def test_ids(ids: object, names: tuple[str, ...]) -> None:
    assert train(id=ids).ids == names


def test_only_this_layout_recognises_it() -> None:
    content = {name: table() for name in SPLITS}
    assert not any(module.matches(content) for module in OTHERS)
    strange: list[object] = [None, 3, [], {}, {"train": {"labels": 1}}, {"train": {"text": 1}}]
    assert not any(multibench.matches(other) for other in strange)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audio": front(2, (1, 2))}, "one number of samples.*audio 2"),
        ({"id": ["a"]}, "one number of samples.*id 1"),
        ({"id": [1.5, 2.5, 3.5]}, "'id'.*strings"),
        ({"labels": np.ones((3, 2, 3))}, r"'labels'.*\(N, 1, C\)"),
        ({"labels": np.ones((0, 1))}, "'labels'.*got none"),
        ({"labels": ["a", "b", "c"]}, "'labels'.*numbers"),
        ({"labels": np.array([1, np.nan, np.nan])}, r"2 samples of 3 .*a\[1\], b_c\[0\]"),
        ({"vision": np.ones((3, 2, 2, 2))}, "'vision'.*axes"),
    ],
)
def test_one_message_names_the_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"(?s)humor.pkl, split 'train'.*{message}"):
        train(**changes)


def test_splits_with_other_labels() -> None:
    content = {"train": table(), "test": table(labels=np.ones((3, 1, 7)))}
    with pytest.raises(DataError, match="same label columns"):
        multibench.read(content, PATH, SETTINGS)


def test_real_sarcasm_clips(data_root: Path) -> None:
    path = data_root / "sarcasm" / "sarcasm_clips_multibench.pkl"
    content: Any = read_pickle(path)
    assert multibench.matches(content)
    assert not any(module.matches(content) for module in OTHERS)
    corpus = multibench.read(content, path, SETTINGS)
    assert {name: len(split) for name, split in corpus.splits.items()} == {
        "train": 90,
        "valid": 22,
        "test": 22,
    }
    assert corpus.widths == {"text": 300, "audio": 25, "video": 202}
    train = corpus.splits["train"]
    assert set(np.unique(train.labels)) == {-1, 1}
    assert (train.sequences["text"].lengths == 0).sum() == 1
    # The modalities were padded independently: cutting at the first word would lose two thirds of
    # the audio.
    audio = np.any(content["train"]["audio"] != 0, axis=2)
    np.testing.assert_array_equal(train.sequences["audio"].lengths, audio.sum(axis=1))
