"""MulT's noalign layout: ids of both corpora, transcripts joined by key, never by row."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimrl.datasets import avec2019, mimrl_sdk, mmsa, multibench, noalign, words
from mimrl.datasets.features import Corpus
from mimrl.errors import DataError, MissingFileError
from mimrl.settings.data import DataSettings

PATH = Path("data_noalign.pkl")
MOSI = [["a_b_11", "", ""], ["a_b_2", "", ""], ["c_1", "", ""]]
MOSEI = [["v_1", "0.5", "2.25"], ["v_1", "2.25", "7"], ["w", "1234.567", "1240.0"]]
HEADER = ["video_id", "clip_id", "text", "label", "annotation", "mode"]
CLIPS = [["a_b", "11", "eleven"], ["a_b", "2", "two, with a comma"], ["c", "1", "one"]]


def front(steps: int, width: int, lengths: Sequence[int]) -> np.ndarray:
    values = np.zeros((len(lengths), steps, width))
    for i, n in enumerate(lengths):
        values[i, steps - n :] = 1 + np.arange(n)[:, None]
    return values


def content(ids: object) -> dict[str, Any]:
    table = {
        "vision": front(9, 2, (9, 3, 5)),
        "audio": front(7, 5, (1, 2, 3)),
        "text": front(5, 3, (2, 5, 4)),
        "labels": np.array([1.0, -2.5, 0.0]).reshape(3, 1, 1),
        "id": ids,
    }
    return {"train": table}


def read(ids: object, label_file: Path | None = None) -> Corpus:
    given = content(ids)
    assert noalign.matches(given)
    others = (mmsa, multibench, words, mimrl_sdk, avec2019)
    assert not any(module.matches(given) for module in others)
    named = None if label_file is None else str(label_file)
    return noalign.read(given, PATH, DataSettings(path="x", label_file=named))


def write(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([*row, *[""] * (len(header) - len(row))] for row in rows)
    return path


@pytest.mark.parametrize("form", ["bytes", "strings", "objects", "lists", "tuples"])
def test_ids_of_mosi(form: str) -> None:
    ids: dict[str, object] = {
        "bytes": np.array(MOSI).astype("S20"),
        "strings": np.array(MOSI),
        "objects": np.array(MOSI, dtype=object),
        "lists": MOSI,
        "tuples": [tuple(part.encode() for part in row) for row in MOSI],
    }
    split = read(ids[form]).splits["train"]
    assert split.ids == ("a_b$_$11", "a_b$_$2", "c$_$1")
    assert split.groups == ("a_b", "a_b", "c")
    assert split.raw_text is None


def test_ids_of_mosei() -> None:
    split = read(np.array(MOSEI)).splits["train"]
    assert split.ids == ("v_1[0.5,2.25]", "v_1[2.25,7]", "w[1234.567,1240.0]")
    assert split.groups == ("v_1", "v_1", "w")


def test_sequences() -> None:
    corpus = read(np.array(MOSI))
    split = corpus.splits["train"]
    assert corpus.layout == "noalign"
    assert split.sequences["video"].lengths.tolist() == [9, 3, 5]
    assert split.sequences["audio"].lengths.tolist() == [1, 2, 3]
    assert split.sequences["text"].lengths.tolist() == [2, 5, 4]
    assert split.labels.tolist() == [[1], [-2.5], [0]]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_text_is_joined_by_clip_in_any_row_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    rows = [CLIPS[i] for i in order] + [["other", "5", "not in the pickle"]]
    split = read(np.array(MOSI), write(tmp_path / "MOSI-label.csv", rows)).splits["train"]
    assert split.raw_text == ("eleven", "two, with a comma", "one")


def test_spelling_of_numbers_does_not_matter(tmp_path: Path) -> None:
    rows = [["a_b", "11.0", "eleven"], ["a_b", "02", "two"], [" c ", "1", "one"]]
    split = read(np.array(MOSI), write(tmp_path / "l.csv", rows)).splits["train"]
    assert split.raw_text == ("eleven", "two", "one")


def test_text_is_joined_by_times(tmp_path: Path) -> None:
    rows = [
        ["w", "1234.567", "1240", "third"],
        ["v_1", "2.2500", "7.0", "second"],
        ["v_1", "0.50001", "2.25", "first"],
        ["w", "1234.6", "1240", "another"],
    ]
    path = write(tmp_path / "MOSEI-label.csv", rows, ["Video_ID", "start", "end", "text"])
    assert read(np.array(MOSEI), path).splits["train"].raw_text == ("first", "second", "third")


def test_ids_without_a_row_are_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", CLIPS[1:2])
    with pytest.raises(DataError, match=r"2 of 3 samples .*l\.csv \(a_b\$_\$11, c\$_\$1\)"):
        read(np.array(MOSI), path)


def test_two_texts_for_one_clip(tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", [*CLIPS, ["c", "1", "something else"]])
    with pytest.raises(DataError, match="two rows with different texts"):
        read(np.array(MOSI), path)


def test_csv_without_the_keys_is_not_joined_by_row(tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", CLIPS)
    with pytest.raises(DataError, match=r"columns video_id, start, end, text.*never by row order"):
        read(np.array(MOSEI), path)


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe\x00", b"video_id,clip_id\n"])
def test_other_csv_files(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "l.csv"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"l\.csv: expected"):
        read(np.array(MOSI), path)


def test_no_csv(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="absent"):
        read(np.array(MOSI), tmp_path / "absent.csv")


def test_sizes_are_checked() -> None:
    given = content(np.array(MOSI[:2]))
    with pytest.raises(DataError, match=r"one number of samples.*id 2"):
        noalign.read(given, PATH, DataSettings(path="x"))
