"""AVEC 2019's seven-field rows."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimrl.datasets import avec2019, mimrl_sdk, mmsa, multibench, noalign, words
from mimrl.datasets.catalogue import read_corpus
from mimrl.errors import ConfigError, DataError
from mimrl.settings.data import DataSettings

PATH = Path("avec_train.pkl")
OTHERS = (mmsa, multibench, noalign, words, mimrl_sdk)
WIDTHS = dict(zip(avec2019.SETS, (7, 3, 4, 5, 6, 2), strict=True))


def row(i: int) -> list[Any]:
    """Six sequences of ``i + 1`` steps, all values ``i``; the label is ``i / 25``."""
    return [*(np.full((i + 1, w), float(i)) for w in WIDTHS.values()), i / 25]


ROWS = [row(i) for i in range(3)]


def read(rows: object, **sets: str) -> Any:
    return avec2019.read(rows, PATH, DataSettings(path="x", feature_sets=sets))


def test_fields() -> None:
    corpus = read(ROWS)
    split = corpus.splits["train"]
    assert corpus.widths == WIDTHS
    assert corpus.label_names == ("label",)
    np.testing.assert_allclose(split.labels[:, 0], [0, 0.04, 0.08])
    assert split.ids == ("train[0]", "train[1]", "train[2]")
    assert split.groups is None
    assert split.raw_text is None
    assert all(s.lengths.tolist() == [1, 2, 3] for s in split.sequences.values())
    assert (split.sequences["resnet"][2] == 2).all()


def test_modalities_by_feature_set() -> None:
    corpus = read(ROWS, audio="ege", video="au")
    assert corpus.widths == {**WIDTHS, "audio": 4, "video": 6}
    assert read(ROWS, text="mfcc").widths["text"] == 3
    with pytest.raises(ConfigError, match=r"names \['egemaps'\].*mfcc, ege"):
        read(ROWS, audio="egemaps")


@pytest.mark.parametrize("said", [["so", "sad"], "so sad", (b"so", b"sad")])
def test_words_become_the_transcript(said: object) -> None:
    split = read([[said, *row(0)[1:]]]).splits["train"]
    assert split.raw_text == ("so sad",)
    assert "text" not in split.sequences


@pytest.mark.parametrize("label", [0.5, np.float32(0.5), np.array(0.5), np.array([[0.5]])])
def test_forms_of_the_label(label: object) -> None:
    rows = [[*row(0)[:-1], label]]
    assert avec2019.matches(rows)
    assert read(rows).splits["train"].labels.tolist() == [[0.5]]


def test_one_file_a_split(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        (tmp_path / f"avec2019_{name}.pkl").write_bytes(pickle.dumps(ROWS))
    corpus = read_corpus(DataSettings(path=str(tmp_path)))
    assert corpus.layout == "avec2019"
    assert list(corpus.splits) == ["train", "valid", "test"]


def test_only_this_layout_recognises_it() -> None:
    for content in (ROWS, {"train": ROWS, "test": ROWS}):
        assert avec2019.matches(content)
        assert not any(module.matches(content) for module in OTHERS)
    strange: list[object] = [None, [], [[1] * 7], [row(0)[:-1]], [[*row(0)[:-1], "x"]]]
    assert not any(avec2019.matches(other) for other in strange)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROWS[0], row(1)[:5]], "'row 1'.*resnet, label.*list of 5"),
        ([ROWS[0], [*row(1)[:-1], "x"]], "'row 1, label'.*numbers"),
        ([ROWS[0], [*row(1)[:-1], [1, 2]]], "'row 1, label'.*one number"),
        ([ROWS[0], [*row(1)[:-1], np.nan]], r"1 samples of 2 .*train\[1\]"),
        ([ROWS[0], [*row(1)[:1], np.ones(3), *row(1)[2:]]], "'row 1, mfcc'.*2 axes"),
        ([ROWS[0], [*row(1)[:1], np.ones((3, 9)), *row(1)[2:]]], "'mfcc'.*in row"),
        ([["words", *row(0)[1:]], row(1)], "'text'.*list of strings|'text'.*strings"),
        ([], "expected samples"),
    ],
)
def test_one_message_names_the_place(rows: object, message: str) -> None:
    with pytest.raises(DataError, match=rf"(?s)avec_train\.pkl.*{message}"):
        read(rows)
