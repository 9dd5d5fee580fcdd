"""MulT's noalign pickles, as MISA and MMIM use them, joined with a CSV of transcripts by key.

The arrays are MultiBench's (``mosi_data_noalign.pkl``, ``mosei_data_noalign.pkl``); what tells the
two layouts apart is the form of the ids: here each is a row of strings or bytes, (N, 3).

- CMU-MOSI: the first entry is ``video_clip``, e.g. ``b'03bSnISJMiM_11'``, another for each sample;
- CMU-MOSEI: ``[video, start, end]``, with times in seconds.

Transcripts are in ``MOSI-label.csv`` / ``MOSEI-label.csv`` (``data.label_file``): columns
``video_id``, ``text`` and, matching the ids, ``clip_id`` or ``start`` and ``end``. Without the CSV
the corpus has no ``raw_text``.

Note:
    MMIM and the published MIMRL join CMU-MOSEI by row order and check nothing; one row more or less
    gives every later clip another clip's words. Here a sample without its own row is an error.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mimrl.datasets import fields
from mimrl.datasets.features import Corpus
from mimrl.datasets.fields import Where
from mimrl.datasets.multibench import has_key_rows, padded_tables, read_padded
from mimrl.datasets.paths import resolve_path
from mimrl.errors import DataError
from mimrl.settings.data import DataSettings

LAYOUT = "noalign"
DECIMALS = 3  # times agree when they do to the millisecond: the CSV and the ids are rounded apart
_CLIP = re.compile(r"(.+)_(\d+)")
_NAME_OF_CLIP = re.compile(r"(.+)\$_\$(\d+)")
_NAME_OF_TIMES = re.compile(r"(.+)\[([^,]+),([^,]+)\]")

Key = tuple[str, ...]


def matches(content: object) -> bool:
    """Whether this has MultiBench's arrays, and ids that are rows of strings."""
    return padded_tables(content) and has_key_rows(content)


def read(content: object, path: Path, settings: DataSettings) -> Corpus:
    """The corpus in the content of a noalign pickle.

    Args:
        content: what :func:`~mimrl.datasets.pickles.read_pickle` gave.
        path: named in messages.
        settings: ``label_file``, the CSV with transcripts.

    Returns:
        Sequences without padding; ids ``video$_$clip`` or ``video[start,end]``; the video as
        group; ``raw_text`` when there is a CSV.

    Raises:
        DataError: a field is missing, of another size or type, or has NaN labels; ids without a
            row in the CSV, or with two that differ.
        MissingFileError: the CSV does not exist.
    """
    names = _key_names(content, path)
    corpus = read_padded(
        content, path, LAYOUT, lambda value, where, rows: names.get(where.split, ())
    )
    if settings.label_file is None:
        return corpus
    file = resolve_path(settings.label_file, called="data.label_file")
    transcripts = _read_csv(file, _kind(names))
    return _with_text(corpus, transcripts, settings.label_file)


def _key_names(content: object, path: Path) -> dict[str, tuple[str, ...]]:
    """Split -> sample names, after looking at the ids of all splits."""
    if not isinstance(content, Mapping):
        return {}
    rows = {}
    for split, table in fields.named_splits(content, path).items():
        value = table.get("id") if isinstance(table, Mapping) else None
        rows[split] = key_rows(value, Where(path, split, "id"))
    names = key_names([row for found in rows.values() for row in found])
    ends = np.cumsum([len(found) for found in rows.values()])
    starts = [0, *ends[:-1]]
    return {
        split: tuple(names[a:b]) for split, a, b in zip(rows, starts, ends.tolist(), strict=True)
    }


def key_rows(value: object, where: Where) -> list[tuple[str, ...]]:
    """Ids ``(N, k)`` of bytes or strings as rows of strings.

    Raises:
        DataError: the ids are of another form.
    """
    if not isinstance(value, (np.ndarray, list, tuple)):
        raise where.error("ids (N, 3)", fields.describe(value))
    return [fields.texts(row, where) for row in value]


def key_names(rows: Sequence[Sequence[str]]) -> list[str]:
    """Sample names from key rows: ``video$_$clip`` when the first entries say so, else the times.

    >>> key_names([["a_b_11", "", ""], ["a_b_12", "", ""]])
    ['a_b$_$11', 'a_b$_$12']
    >>> key_names([["a", "0.5", "2"], ["a", "2", "3.25"]])
    ['a[0.5,2]', 'a[2,3.25]']
    """
    first = [row[0] for row in rows]
    clips = [_CLIP.fullmatch(name) for name in first]
    if all(clips) and len(set(first)) == len(first):
        return [f"{clip[1]}$_${int(clip[2])}" for clip in clips if clip]
    return [f"{row[0]}[{','.join(row[1:3])}]" for row in rows]


def _kind(names: Mapping[str, Sequence[str]]) -> str:
    return "clip" if all("$_$" in name for found in names.values() for name in found) else "times"


def _key(name: str) -> Key:
    if match := _NAME_OF_CLIP.fullmatch(name):
        return (match[1], _number(match[2]))
    if match := _NAME_OF_TIMES.fullmatch(name):
        return (match[1], _number(match[2]), _number(match[3]))
    return (name,)


def _number(value: str) -> str:
    """A number in one spelling: ``"007"``, ``"7"`` and ``"7.0"`` are the same key."""
    try:
        return str(round(float(value), DECIMALS) + 0.0)  # + 0.0: no minus zero
    except ValueError:
        return value.strip()


def _read_csv(path: Path, kind: str) -> dict[Key, str]:
    """Key -> transcript."""
    columns = ("video_id", "clip_id") if kind == "clip" else ("video_id", "start", "end")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"{path}: expected a CSV file in UTF-8, got {error}") from error
    have = {(name or "").strip().lower(): name for name in (rows[0] if rows else {})}
    lacking = [name for name in (*columns, "text") if name not in have]
    if lacking:
        raise DataError(
            f"{path}: expected the columns {', '.join((*columns, 'text'))} and one row or more, "
            f"got {', '.join(have) or 'nothing'}: text is joined by these keys, never by row order"
        )
    found: dict[Key, str] = {}
    for row in rows:
        video, *rest = ((row[have[name]] or "") for name in columns)
        key = (video.strip(), *(_number(part) for part in rest))
        words = row[have["text"]] or ""
        if found.setdefault(key, words) != words:
            raise DataError(f"{path}: {' '.join(key)} has two rows with different texts")
    return found


def _with_text(corpus: Corpus, transcripts: Mapping[Key, str], label_file: str) -> Corpus:
    splits, lost = {}, []
    for name, split in corpus.splits.items():
        keys = [_key(sample) for sample in split.ids]
        lost += [s for s, key in zip(split.ids, keys, strict=True) if key not in transcripts]
        words = tuple(transcripts.get(key, "") for key in keys)
        splits[name] = replace(split, raw_text=words)
    if lost:
        total = sum(len(split) for split in corpus.splits.values())
        raise DataError(
            f"{corpus.source}: {len(lost)} of {total} samples have no row in {label_file} "
            f"({fields.listed(lost)}); use the CSV that belongs to this file, or leave "
            "data.label_file out to go without transcripts"
        )
    return replace(corpus, splits=splits)
