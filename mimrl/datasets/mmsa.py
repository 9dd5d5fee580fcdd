"""MMSA's pickles (thuiar/MMSA, MMSA-FET): CMU-MOSI, CMU-MOSEI, CH-SIMS; aligned and unaligned.

``{train, valid, test: {key: values}}`` with

- ``raw_text`` (N,): transcripts; ``id`` (N,): ``video$_$clip``
- ``text``, ``audio``, ``vision`` (N, T, d): features; ``vision`` becomes ``video``
- ``text_bert`` (N, 3, T): token ids, attention mask, segment ids, often stored as floats
- ``audio_lengths``, ``vision_lengths`` (N,): number of steps, in unaligned files
- ``regression_labels`` (N,): ratings; in CH-SIMS also ``regression_labels_T``, ``_A``, ``_V``
- ``classification_labels`` (N,): classes

Any feature may be missing, and ``(N, d)`` is read as one step a clip. Most files are padded at the
end, files derived from MulT's in front, so the side is taken from the values. Text features of
files made with BERT can be non-zero at [PAD] steps: the attention mask decides there.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path

import numpy as np

from mimrl.datasets import fields
from mimrl.datasets.features import Corpus, FloatArray, IntArray, Ragged, Split
from mimrl.datasets.fields import SEQUENCES, Table, Where
from mimrl.datasets.padding import CONTRADICTED, cut, spans, strip, word_aligned
from mimrl.errors import DataError
from mimrl.settings.data import DataSettings

LAYOUT = "mmsa"
LABELS = (
    "regression_labels",
    "classification_labels",
    "regression_labels_T",
    "regression_labels_A",
    "regression_labels_V",
)


def matches(content: object) -> bool:
    """Whether every split has labels under MMSA's names."""
    found = fields.tables(content)
    return bool(found) and all(any(key in table for key in LABELS[:2]) for table in found)


def read(content: object, path: Path, settings: DataSettings) -> Corpus:
    """The corpus in the content of an MMSA pickle.

    Args:
        content: what :func:`~mimrl.datasets.pickles.read_pickle` gave.
        path: named in messages.
        settings: none of them changes how this layout is read.

    Returns:
        ``sequences`` as the file has them (text, audio, video), ``token_ids`` without padding,
        ``raw_text``, all label columns, and the video as group.

    Raises:
        DataError: a field is missing, of another size or type, or has NaN labels.
    """
    if not matches(content):
        raise DataError(f"{path}: expected splits with regression_labels, as MMSA writes them")
    tables = fields.named_tables(content, path)
    names = _label_names(tables, path)
    arrays = {split: _arrays(table, Where(path, split)) for split, table in tables.items()}
    together = word_aligned(list(arrays.values())) and not any(
        f"{key}_lengths" in table for table in tables.values() for key in SEQUENCES
    )
    repairs: dict[str, int] = {}
    splits = {
        split: _split(table, arrays[split], names, Where(path, split), repairs, together)
        for split, table in tables.items()
    }
    return Corpus(LAYOUT, str(path), splits, names, repairs)


def _label_names(tables: Mapping[str, Table], path: Path) -> tuple[str, ...]:
    """The label columns that the splits have; all must have the same ones."""
    found = {split: tuple(k for k in LABELS if k in table) for split, table in tables.items()}
    if len(set(found.values())) != 1:
        raise DataError(f"{path}: expected the same label columns in all splits, got {found}")
    return next(iter(found.values()))


def _arrays(table: Table, where: Where) -> dict[str, FloatArray]:
    """Modality -> ``(N, T, d)``, text already zero where its attention mask says padding."""
    found = fields.feature_arrays(table, where)
    if "text" in found and table.get("text_bert") is not None:
        found["text"] = _without_pad_states(found["text"], _tokens(table, where)[1])
    return found


def _without_pad_states(values: FloatArray, mask: IntArray) -> FloatArray:
    """Zeros at padded tokens, in samples whose features are non-zero at both ends all the same."""
    if mask.shape != values.shape[:2]:
        return values
    rows = spans(values)
    full = (rows.start == 0) & (rows.stop == values.shape[1]) & ~mask.astype(bool).all(axis=1)
    if not full.any():
        return values
    return np.where(full[:, None, None] & (mask == 0)[:, :, None], np.float32(0), values)


def _tokens(table: Table, where: Where) -> tuple[IntArray, IntArray]:
    """Token ids and attention mask, ``(N, T)`` each."""
    where = where.at("text_bert")
    values = fields.floats(table["text_bert"], where, axes=(3,))
    if values.shape[1] != 3:
        raise where.error("shape (N, 3, T): ids, mask, segments", f"shape {values.shape}")
    whole = np.isfinite(values).all() and (values >= 0).all() and (values == np.round(values)).all()
    if not whole:
        raise where.error("whole numbers from 0 on", "others")
    return values[:, 0].astype(np.int64), (values[:, 1] > 0).astype(np.int64)


def _split(
    table: Table,
    arrays: Mapping[str, FloatArray],
    names: tuple[str, ...],
    where: Where,
    repairs: MutableMapping[str, int],
    together: bool,
) -> Split:
    columns = [fields.floats(table[k], where.at(k), axes=(1, 2)) for k in names]
    raw = table.get("raw_text")
    raw_text = None if raw is None else fields.texts(raw, where.at("raw_text"))
    tokens = None if table.get("text_bert") is None else _tokens(table, where)
    sizes = {key: len(column) for key, column in zip(names, columns, strict=True)}
    sizes |= {key: len(arrays[m]) for key, m in SEQUENCES.items() if m in arrays}
    sizes |= {} if raw_text is None else {"raw_text": len(raw_text)}
    sizes |= {} if tokens is None else {"text_bert": len(tokens[0])}
    ids = _ids(table, where, next(iter(sizes.values())))
    rows = fields.same_rows({**sizes, "id": len(ids)}, where)
    if len(sizes) == len(names):
        raise where.error("text, audio, vision, text_bert or raw_text", "none of them")
    labels = np.concatenate([column.reshape(rows, -1)[:, :1] for column in columns], axis=1)
    return Split(
        ids=ids,
        sequences=_sequences(table, arrays, where, repairs, together),
        labels=fields.finite_labels(labels, ids, where.at(", ".join(names))),
        raw_text=raw_text,
        token_ids=None if tokens is None else _ragged_ids(*tokens),
        groups=fields.videos(ids),
    )


def _ids(table: Table, where: Where, rows: int) -> tuple[str, ...]:
    if table.get("id") is None:
        return tuple(f"{where.split}[{i}]" for i in range(rows))
    return fields.texts(table["id"], where.at("id"))


def _ragged_ids(ids: IntArray, mask: IntArray) -> Ragged:
    kept = mask.astype(bool)
    offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int64)
    return Ragged(ids[kept], offsets)


def _sequences(
    table: Table,
    arrays: Mapping[str, FloatArray],
    where: Where,
    repairs: MutableMapping[str, int],
    together: bool,
) -> dict[str, Ragged]:
    if not arrays:
        return {}
    found = strip(arrays, together=together)
    for key, modality in SEQUENCES.items():
        name = f"{key}_lengths"
        if modality in arrays and table.get(name) is not None:
            lengths = _lengths(table[name], arrays[modality], where.at(name))
            found[modality], odd = cut(arrays[modality], lengths)
            if odd:
                what = f"{modality}: {CONTRADICTED}"
                repairs[what] = repairs.get(what, 0) + odd
    return found


def _lengths(value: object, values: FloatArray, where: Where) -> IntArray:
    lengths = fields.integers(value, where)
    rows, steps = values.shape[:2]
    if len(lengths) != rows:
        raise where.error(f"{rows} lengths, one a sample", str(len(lengths)))
    if lengths.min() < 0 or lengths.max() > steps:
        raise where.error(
            f"lengths from 0 to {steps}, the steps of the array",
            f"{lengths.min()} to {lengths.max()}",
            "the file was cut or joined wrongly",
        )
    return lengths
