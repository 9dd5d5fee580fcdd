"""Pickles that are lists of rows, one row a sample, and folders with one such file a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mimrl.datasets.features import TRAIN
from mimrl.datasets.fields import named_splits, split_files, split_of_file
from mimrl.datasets.pickles import read_pickle
from mimrl.errors import DataError, MissingFileError

Rows = Sequence[object]


def is_row(value: object) -> bool:
    """Whether a value is a tuple or list, as rows and their parts are."""
    return isinstance(value, (list, tuple))


def first_row(content: object) -> Rows | None:
    """The first sample of a list of rows or of ``{split: rows}``; None in other content."""
    lists = list(content.values()) if isinstance(content, Mapping) else [content]
    for rows in lists:
        if not isinstance(rows, (list, tuple)):
            return None
        if rows:
            row = rows[0]
            return row if isinstance(row, (list, tuple)) else None
    return None


def row_splits(content: object, path: Path) -> dict[str, Rows]:
    """The rows of each split.

    A bare list is one split, named by the file (``mosi_dev.pkl`` is ``valid``), or ``train`` when
    its name tells none; ``data.split_by_group`` and ``data.split_file`` divide it.

    Raises:
        DataError: the content is of another form, or a split has no rows.
    """
    if isinstance(content, Mapping):
        found = named_splits(content, path)
    else:
        found = {split_of_file(path) or TRAIN: content}
    splits: dict[str, Rows] = {}
    for split, rows in found.items():
        if not isinstance(rows, (list, tuple)):
            raise DataError(
                f"{path}, split {split!r}: expected a list with one row a sample, got "
                f"{type(rows).__name__}"
            )
        if not rows:
            raise DataError(f"{path}, split {split!r}: expected samples, got an empty list")
        splits[split] = rows
    return splits


def folder_sample(folder: Path) -> object:
    """What a layout is recognised from in a folder with one file a split: its smallest file.

    Returns:
        The content of that file; None for a folder without such files, or no folder.

    Raises:
        DataError: two files for one split, or the smallest is damaged.
    """
    files = split_files(folder) if folder.is_dir() else {}
    if not files:
        return None
    return read_pickle(min(files.values(), key=lambda path: path.stat().st_size))


def folder_content(folder: Path) -> dict[str, object]:
    """The content of the file of each split, as if one file held them all.

    Raises:
        MissingFileError: the folder has no file whose name ends in that of a split.
        DataError: a file is damaged, or two are for one split.
    """
    files = split_files(folder) if folder.is_dir() else {}
    if not files:
        raise MissingFileError(
            f"{folder}: expected a folder with train.pkl, valid.pkl (or dev.pkl), test.pkl, or "
            "names that end in _train.pkl and so on; found none"
        )
    return {split: read_pickle(path) for split, path in files.items()}
