"""The original MIMRL's files: feature sets by name, words, labels, one file a split."""

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

PATH = Path("mosi_valid.pkl")
OTHERS = (mmsa, multibench, noalign, words, avec2019)
WIDTHS = {
    "text": {"glove": 3, "last_hidden_state": 8, "pooler_output": 8},
    "audio": {"covarep": 4, "opensmile_eb10": 5, "opensmile_is09": 6},
    "video": {"facet41": 7, "facet42": 2, "openface": 9},
}


def row(clip: int, steps: int, *, mosei: bool = False, pom: bool = False) -> list[Any]:
    """A sample; the value of a feature set is its number in the list."""
    text: list[Any] = [np.array([[b"so"], [b"sp"], [b"good"]])]
    text += [np.full((steps, w), float(i)) for i, w in enumerate((3, 8, 8), start=1)]
    text += [np.full(8, 4.0), np.full((steps, 8), 5.0)]
    audio = [np.full((steps, w), float(i)) for i, w in enumerate((4, 5, 6))]
    video = [np.full((steps, w), float(i)) for i, w in enumerate((7, 2, 9))]
    if mosei or pom:
        audio, video = audio[:1], video[1:2]
    name = f"v_x[{clip}]"
    if pom:
        return [[text, audio, video], np.arange(18) / 3, 4, name]
    return [[text, audio, video], np.array([[clip - 0.5]]), float(clip > 0), clip + 3, name]


def read(rows: object, **sets: str) -> Any:
    return mimrl_sdk.read(rows, PATH, DataSettings(path="x", feature_sets=sets))


ROWS = [row(0, 2), row(1, 4)]


def test_fields() -> None:
    corpus = read(ROWS)
    split = corpus.splits["valid"]
    assert corpus.layout == "mimrl_sdk"
    assert corpus.label_names == ("label", "label_2", "label_7")
    assert split.labels.tolist() == [[-0.5, 0, 3], [0.5, 1, 4]]
    assert split.ids == ("v_x[0]", "v_x[1]")
    assert split.groups == ("v_x", "v_x")
    assert split.raw_text == ("so good", "so good")
    assert corpus.widths == {"text": 3, "audio": 4, "video": 2}  # GloVe, COVAREP, FACET 4.2
    assert split.sequences["video"].lengths.tolist() == [2, 4]
    assert (split.sequences["video"].values == 1).all()


@pytest.mark.parametrize(
    ("modality", "name"), [(m, name) for m, sets in WIDTHS.items() for name in sets]
)
def test_a_feature_set_by_name(modality: str, name: str) -> None:
    corpus = read(ROWS, **{modality: name})
    assert corpus.widths[modality] == WIDTHS[modality][name]
    sets = mimrl_sdk.SETS[modality][0]
    found = corpus.splits["valid"].sequences[modality]
    assert (found.values == sets.index(name)).all()
    assert found.lengths.tolist() == ([1, 1] if name == "pooler_output" else [2, 4])


def test_rows_of_mosei_and_pom() -> None:
    corpus = read([row(0, 2, mosei=True)])
    assert corpus.widths == {"text": 3, "audio": 4, "video": 2}
    assert read([row(0, 2, mosei=True)], audio="covarep").widths["audio"] == 4
    corpus = read([row(0, 2, pom=True)])
    assert corpus.label_names == (*(f"label[{i}]" for i in range(18)), "label_7")
    labels = corpus.splits["valid"].labels
    np.testing.assert_allclose(labels[0, [3, 18]], [1, 4])


def test_unknown_number_of_sets_goes_by_number() -> None:
    rows = [row(0, 2)]
    rows[0][0][1] = rows[0][0][1][:2]
    assert read(rows).widths["audio"] == 4
    assert read(rows, audio="1").widths["audio"] == 5


def test_missing_modality() -> None:
    rows = [row(0, 2), row(1, 4)]
    rows[0][0][2] = []
    assert read(rows).splits["valid"].sequences["video"].lengths.tolist() == [0, 4]
    rows[1][0][2] = []
    assert "video" not in read(rows).widths


def test_words_as_strings() -> None:
    rows = [row(0, 2), row(1, 2), row(1, 2)]
    rows[0][0][0][0], rows[1][0][0][0] = ["very", "sp", "good"], "as one string"
    rows[2][0][0][0] = np.array(["so", "so"], dtype=object)
    assert read(rows).splits["valid"].raw_text == ("very good", "as one string", "so so")
    rows[0][0][0][0] = np.ones((2, 5))
    assert read(rows).splits["valid"].raw_text is None


def test_one_file_a_split(tmp_path: Path) -> None:
    for name, rows in {"train": ROWS, "dev": ROWS[:1], "test": ROWS[1:]}.items():
        (tmp_path / f"mosi_{name}.pkl").write_bytes(pickle.dumps(rows))
    corpus = read_corpus(DataSettings(path=str(tmp_path)))
    assert corpus.layout == "mimrl_sdk"
    assert {k: len(v) for k, v in corpus.splits.items()} == {"train": 2, "valid": 1, "test": 1}


def test_only_this_layout_recognises_it() -> None:
    for rows in (ROWS, [row(0, 1, pom=True)], [tuple(row(0, 1, mosei=True))]):
        for content in (rows, {"train": rows}):
            assert mimrl_sdk.matches(content)
            assert not any(module.matches(content) for module in OTHERS)
    strange: list[object] = [None, [], [[1, 2, 3, 4, "a"]], [[[1, 2, 3], 1, 2, "a"]]]
    assert not any(mimrl_sdk.matches(other) for other in strange)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({"audio": "mfcc"}, "audio has no features 'mfcc'.*covarep, opensmile_eb10"),
        ({"text": "text"}, "no features 'text'.*the words are raw_text"),
        ({"face": "openface"}, "names \\['face'\\]"),
    ],
)
def test_feature_sets_that_are_not_there(sets: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(ROWS, **sets)


def changed(position: int, value: object) -> list[Any]:
    rows = [row(0, 2), row(1, 4)]
    rows[1][position] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (changed(0, [[], []]), "'row 1'.*lists of text, audio and video"),
        (changed(0, [1, [], []]), "'row 1, text'.*list of feature arrays"),
        (changed(1, "high"), "'row 1, label'.*numbers"),
        (changed(1, [1, 2]), "same label columns in all rows"),
        (changed(1, np.nan), r"1 samples of 2 .*v_x\[1\]"),
        (changed(4, 7), "'row 1'.*strings.*int 7"),
        ([ROWS[0], 3], "'row 1'.*label_7, id.*int 3"),
        ([ROWS[0], row(1, 4)[:3]], "'row 1'.*a list of 3"),
    ],
)
def test_one_message_names_the_place(rows: object, message: str) -> None:
    with pytest.raises(DataError, match=rf"(?s)mosi_valid\.pkl.*{message}"):
        read(rows)


def test_widths_that_differ_name_the_row() -> None:
    rows = [row(0, 2), row(1, 4), row(2, 2)]
    rows[1][0][1][0] = np.ones((4, 99))
    with pytest.raises(DataError, match=r"'audio'.*4 features.*99 in row 1"):
        read(rows)
