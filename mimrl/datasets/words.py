"""Lists of word-aligned samples: the caches of MISA and MMIM, and MAG-BERT's pickles.

A row is ``(features, label, id)`` with an id ``video[k]`` (MISA, MAG-BERT), and ``features`` is

- MISA: ``(word_ids (L,), visual (L, d_v), acoustic (L, d_a), words)``;
- MMIM: ``(word_ids, visual (T_v, d_v), acoustic (T_a, d_a), words, steps of visual, of acoustic)``;
- MAG-BERT: ``(words, visual (L, d_v), acoustic (L, d_a))``.

The file is a list of rows (one split, named by the file), ``{train, dev, test: rows}``, or a folder
with ``train.pkl``, ``dev.pkl``, ``test.pkl``. Word ids count in a vocabulary that is in none of
these files; with ``data.embeddings`` the words become text features, otherwise there is
``raw_text`` only.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimrl.datasets import fields
from mimrl.datasets.embeddings import Embeddings, load_embeddings
from mimrl.datasets.features import Corpus, FloatArray, IntArray, Ragged, Split
from mimrl.datasets.fields import Where
from mimrl.datasets.noalign import key_names
from mimrl.datasets.padding import CONTRADICTED, cut
from mimrl.datasets.paths import resolve_path
from mimrl.datasets.rowlists import (
    Rows,
    first_row,
    is_row,
    row_splits,
)
from mimrl.errors import ConfigError, DataError
from mimrl.settings.data import DataSettings

LAYOUT = "words"
MAG, MISA, MMIM = 3, 4, 6  # number of entries of ``features``
UNKNOWN = "text: words without a vector set to zero"


@dataclass(frozen=True)
class _Row:
    """One sample."""

    name: tuple[str, ...]
    label: FloatArray  # (C,)
    words: tuple[str, ...]
    text: FloatArray | None  # (L, d) when the file has text features
    video: FloatArray
    audio: FloatArray
    steps: tuple[int, int] | None  # of video and audio, in MMIM's rows


def matches(content: object) -> bool:
    """Whether the first sample is a row of one of the three kinds."""
    row = first_row(content)
    if row is None or len(row) != 3 or not is_row(row[0]):
        return False
    features = row[0]
    return (
        isinstance(features, (list, tuple))
        and len(features) in (MAG, MISA, MMIM)
        and all(np.ndim(part) == 2 for part in features[1:3] if isinstance(part, np.ndarray))
        and is_row(features[0 if len(features) == MAG else 3])
    )


def read(content: object, path: Path, settings: DataSettings) -> Corpus:
    """The corpus in the content of a pickle of rows.

    Args:
        content: what :func:`~mimrl.datasets.pickles.read_pickle` gave.
        path: names the split of a bare list; named in messages.
        settings: ``embeddings``, a file of word vectors.

    Returns:
        ``text`` (with embeddings or features in the file), ``audio``, ``video``; ``raw_text``, the
        words joined by blanks; the video as group.

    Raises:
        DataError: a row is of another form, its parts differ in length, or a label is NaN.
        ConfigError: ``embeddings`` is set although the file has text features.
        MissingFileError: the file of word vectors does not exist.
    """
    splits = {
        split: [_row(row, Where(path, split, f"row {i}")) for i, row in enumerate(rows)]
        for split, rows in row_splits(content, path).items()
    }
    table = _table(splits, path, settings)
    counts = {len(row.label) for rows in splits.values() for row in rows}
    if len(counts) != 1:
        raise DataError(f"{path}: expected one number of labels a sample, got {sorted(counts)}")
    repairs: dict[str, int] = {}
    found = {
        split: _split(rows, Where(path, split), table, repairs) for split, rows in splits.items()
    }
    return Corpus(LAYOUT, str(path), found, fields.column_names(counts.pop()), repairs)


def _row(row: object, where: Where) -> _Row:
    if not isinstance(row, (list, tuple)) or len(row) != 3 or not is_row(row[0]):
        raise where.error("(features, label, id)", fields.describe(row))
    features: Rows = row[0]
    if len(features) not in (MAG, MISA, MMIM):
        raise where.error(f"{MAG}, {MISA} or {MMIM} parts of features", str(len(features)))
    words = fields.texts(features[0 if len(features) == MAG else 3], where)
    video = _steps(features[1], where.at(f"{where.key}, visual"))
    audio = _steps(features[2], where.at(f"{where.key}, acoustic"))
    text = None
    if len(features) != MAG and isinstance(features[0], np.ndarray) and features[0].ndim == 2:
        text = fields.floats(features[0], where, axes=(2,))
    lengths = {"words": len(words), "visual": len(video), "acoustic": len(audio)}
    if len(features) != MMIM and len(set(lengths.values())) > 1:
        raise where.error("one step a word in visual and acoustic", str(lengths))
    steps = _given_steps(features, video, audio, where) if len(features) == MMIM else None
    label = fields.floats(row[1], where.at(f"{where.key}, label"), axes=(0, 1, 2)).reshape(-1)
    return _Row(_name(row[2], where), label, words, text, video, audio, steps)


def _steps(value: object, where: Where) -> FloatArray:
    array = fields.floats(value, where, axes=(1, 2))
    if array.ndim == 1 and array.size:
        raise where.error("shape (steps, features)", f"shape {array.shape}")
    return array.reshape(0, 0) if array.ndim == 1 else array


def _given_steps(
    features: Rows, video: FloatArray, audio: FloatArray, where: Where
) -> tuple[int, int]:
    given = fields.integers(features[4:6], where.at(f"{where.key}, lengths"))
    most = (len(video), len(audio))
    if len(given) != 2 or given.min() < 0 or given[0] > most[0] or given[1] > most[1]:
        raise where.error(f"lengths of at most {most}, the steps of the arrays", str(given))
    return int(given[0]), int(given[1])


def _name(value: object, where: Where) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)):
        return (fields.text(value, where),)
    name = fields.texts(value, where.at(f"{where.key}, id"))
    if not name:
        raise where.error("an id", "an empty list")
    return name


def _names(rows: Sequence[_Row]) -> tuple[str, ...]:
    """Names as written; MMIM's keys of one or three entries as those of ``noalign``."""
    if any(len(row.name) > 1 for row in rows):
        return tuple(key_names([row.name for row in rows]))
    return tuple(row.name[0] for row in rows)


def _table(
    splits: Mapping[str, Sequence[_Row]], path: Path, settings: DataSettings
) -> Embeddings | None:
    if settings.embeddings is None:
        return None
    rows = [row for found in splits.values() for row in found]
    if any(row.text is not None for row in rows):
        raise ConfigError(
            f"data.embeddings has no effect: {path} has text features already; remove it"
        )
    wanted = {word for row in rows for word in row.words}
    return load_embeddings(resolve_path(settings.embeddings, called="data.embeddings"), wanted)


def _split(
    rows: Sequence[_Row],
    where: Where,
    table: Embeddings | None,
    repairs: MutableMapping[str, int],
) -> Split:
    ids = _names(rows)
    sequences = {}
    text = _text(rows, where, table, repairs)
    if text is not None:
        sequences["text"] = text
    sequences["audio"] = _sequences(
        "audio", [r.audio for r in rows], [r.steps and r.steps[1] for r in rows], where, repairs
    )
    sequences["video"] = _sequences(
        "video", [r.video for r in rows], [r.steps and r.steps[0] for r in rows], where, repairs
    )
    labels = np.stack([row.label for row in rows])
    return Split(
        ids=ids,
        sequences=sequences,
        labels=fields.finite_labels(labels, ids, where.at("label")),
        raw_text=tuple(" ".join(row.words) for row in rows),
        groups=fields.videos(ids),
    )


def _text(
    rows: Sequence[_Row],
    where: Where,
    table: Embeddings | None,
    repairs: MutableMapping[str, int],
) -> Ragged | None:
    if table is not None:
        found = [table.embed(row.words) for row in rows]
        unknown = sum(count for _, count in found)
        if unknown:
            repairs[UNKNOWN] = repairs.get(UNKNOWN, 0) + unknown
        return fields.ragged([v for v, _ in found], where.at("text"), table.vectors.shape[1])
    given = [row.text for row in rows if row.text is not None]
    if not given:
        return None
    if len(given) != len(rows):
        raise where.at("text").error("text features in all rows or none", f"{len(given)} rows")
    return fields.ragged(given, where.at("text"))


def _sequences(
    modality: str,
    values: Sequence[FloatArray],
    steps: Sequence[int | None],
    where: Where,
    repairs: MutableMapping[str, int],
) -> Ragged:
    lengths = [len(v) if n is None else n for v, n in zip(values, steps, strict=True)]
    whole = [len(v) == n for v, n in zip(values, lengths, strict=True)]
    if all(whole):
        return fields.ragged(values, where.at(modality))
    if len({v.shape for v in values}) == 1:
        found, odd = cut(np.stack(values), np.array(lengths, dtype=np.int64))
    else:
        found, odd = _cut_each(values, lengths, where.at(modality))
    if odd:
        what = f"{modality}: {CONTRADICTED}"
        repairs[what] = repairs.get(what, 0) + odd
    return found


def _cut_each(
    values: Sequence[FloatArray], lengths: Sequence[int], where: Where
) -> tuple[Ragged, int]:
    parts, total = [], 0
    for value, length in zip(values, lengths, strict=True):
        one: IntArray = np.array([length], dtype=np.int64)
        ragged, odd = cut(value[None], one)
        parts.append(ragged[0])
        total += odd
    return fields.ragged(parts, where), total
