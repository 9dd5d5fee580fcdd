"""MultiBench's pickles (pliang279/MultiBench): mosi_raw, mosei_raw, humor, sarcasm; MulT's aligned.

``{train, valid, test: {key: values}}`` with ``text``, ``audio``, ``vision`` (N, T, d), zero-padded
in front, ``labels`` (N,), (N, 1), (N, 1, C) or, in MulT's IEMOCAP, (N, C, 2) one-hot pairs, and
``id`` (strings or integers). ``vision`` becomes ``video``.

Note:
    MultiBench cuts all three modalities at the first non-zero row of the text, also in files whose
    modalities were padded independently, where that drops most of the audio, and drops clips
    without a known word. Here word-aligned files (:func:`~mimrl.datasets.padding.word_aligned`) are
    cut at the first row in which any modality is non-zero, which is the text's unless the first
    word has no vector; in other files each modality is cut by itself. A clip without text is kept:
    with zeros in word-aligned files, with an empty sequence in others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mimrl.datasets import fields
from mimrl.datasets.features import Corpus, FloatArray, Split
from mimrl.datasets.fields import SEQUENCES, Where
from mimrl.datasets.padding import strip, word_aligned
from mimrl.errors import DataError
from mimrl.settings.data import DataSettings

LAYOUT = "multibench"
IEMOCAP_LABELS = ("neutral", "happy", "sad", "angry")  # MulT's order of the pairs

ReadIds = Callable[[object, Where, int], tuple[str, ...]]


def padded_tables(content: object) -> bool:
    """Whether every split has ``labels`` and a feature array, as MultiBench's and MulT's do."""
    found = fields.tables(content)
    return bool(found) and all(
        "labels" in table and any(key in table for key in SEQUENCES) for table in found
    )


def has_key_rows(content: object) -> bool:
    """Whether the ids are rows of several strings, as MulT's noalign files have, not one value."""
    for table in fields.tables(content):
        ids = table.get("id")
        if isinstance(ids, np.ndarray):
            return ids.ndim == 2 and ids.shape[1] > 1 and ids.dtype.kind in "OSU"
        if isinstance(ids, (list, tuple)) and ids:
            return isinstance(ids[0], (list, tuple, np.ndarray)) and len(ids[0]) > 1
    return False


def matches(content: object) -> bool:
    """Whether this is MultiBench's; ids that are rows of strings belong to ``noalign``."""
    return padded_tables(content) and not has_key_rows(content)


def read(content: object, path: Path, settings: DataSettings) -> Corpus:
    """The corpus in the content of a MultiBench pickle.

    Args:
        content: what :func:`~mimrl.datasets.pickles.read_pickle` gave.
        path: named in messages.
        settings: none of them changes how this layout is read.

    Returns:
        Sequences without padding; the video as group where all ids are ``video[k]``.

    Raises:
        DataError: a field is missing, of another size or type, or has NaN labels.
    """
    return read_padded(content, path, LAYOUT, plain_ids)


def read_padded(content: object, path: Path, layout: str, read_ids: ReadIds) -> Corpus:
    """The corpus of a file with padded arrays under MultiBench's keys.

    Args:
        content: ``{split: {key: values}}``.
        path: named in messages.
        layout: name given to the corpus.
        read_ids: the value under ``id`` (None when there is none), its place, and the number of
            samples -> their names.

    Raises:
        DataError: a field is missing, of another size or type, or has NaN labels.
    """
    if not padded_tables(content):
        raise DataError(f"{path}: expected splits with labels and text, audio or vision")
    tables = fields.named_tables(content, path)
    arrays, labels, names = {}, {}, {}
    for split, table in tables.items():
        arrays[split] = fields.feature_arrays(table, Where(path, split))
        labels[split] = _columns(table["labels"], Where(path, split, "labels"))
        names[split] = label_names(table["labels"], labels[split])
    if len(set(names.values())) != 1:
        raise DataError(f"{path}: expected the same label columns in all splits, got {names}")
    together = word_aligned(list(arrays.values()))
    splits = {}
    for split, table in tables.items():
        where = Where(path, split)
        ids = read_ids(table.get("id"), where.at("id"), len(labels[split]))
        splits[split] = _split(ids, arrays[split], labels[split], where, together)
    return Corpus(layout, str(path), splits, next(iter(names.values())))


def _split(
    ids: tuple[str, ...],
    arrays: Mapping[str, FloatArray],
    labels: FloatArray,
    where: Where,
    together: bool,
) -> Split:
    sizes = {key: len(arrays[m]) for key, m in SEQUENCES.items() if m in arrays}
    fields.same_rows({**sizes, "labels": len(labels), "id": len(ids)}, where)
    return Split(
        ids=ids,
        sequences=strip(arrays, together=together),
        labels=fields.finite_labels(labels, ids, where.at("labels")),
        groups=fields.videos(ids),
    )


def plain_ids(value: object, where: Where, rows: int) -> tuple[str, ...]:
    """Strings or integers as names; ``split[i]`` where the file has no ids."""
    if value is None:
        return tuple(f"{where.split}[{i}]" for i in range(rows))
    items = list(value.reshape(-1)) if isinstance(value, np.ndarray) else value
    if not isinstance(items, (list, tuple)):
        raise where.error("a list of ids", fields.describe(value))
    flat = [item.reshape(-1)[0] if _is_single(item) else item for item in items]
    return tuple(
        str(item) if isinstance(item, (int, np.integer)) else fields.text(item, where)
        for item in flat
    )


def _is_single(item: object) -> bool:
    return isinstance(item, np.ndarray) and item.size == 1


def _columns(value: object, where: Where) -> FloatArray:
    """``(N, C)`` label columns of all the shapes that occur."""
    labels = fields.floats(value, where, axes=(1, 2, 3))
    if len(labels) == 0:
        raise where.error("labels", "none", "remove the split or write the file again")
    if is_pairs(labels):
        return labels[:, :, 1]
    if labels.ndim == 3 and 1 not in labels.shape[1:]:
        raise where.error("labels (N, 1, C) or one-hot pairs (N, C, 2)", f"shape {labels.shape}")
    return labels.reshape(len(labels), -1)


def is_pairs(labels: FloatArray) -> bool:
    """Whether labels are one-hot pairs (absent, present) for several classes, (N, C, 2)."""
    return (
        labels.ndim == 3
        and labels.shape[1] > 1
        and labels.shape[2] == 2
        and bool(np.isin(labels, (0, 1)).all() and (labels.sum(axis=2) == 1).all())
    )


def label_names(value: object, columns: FloatArray) -> tuple[str, ...]:
    """Names of the label columns; those of MulT's IEMOCAP pairs are known."""
    count = columns.shape[1]
    if count == len(IEMOCAP_LABELS) and is_pairs(np.asarray(value, dtype=np.float32)):
        return IEMOCAP_LABELS
    return fields.column_names(count)
