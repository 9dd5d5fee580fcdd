"""AVEC 2019 (depression) as the original MIMRL stores it: rows of six feature arrays and a label.

A row is ``[text, mfcc, ege, ds, au, resnet, label]``: ``text`` is an array (L, d) or a list of
words, the others are arrays (L, d): MFCC, eGeMAPS and Deep Spectrum of the audio, action units and
ResNet of the video. The label is PHQ-8 / 25 in the published files and is left as it is; there are
no ids, so samples are named ``split[i]``, and metrics of choice are CCC and RMSE (the challenge's).

The file is a list of rows (one split, named by the file), ``{train, valid, test: rows}``, or a
folder with one file a split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mimrl.datasets import fields
from mimrl.datasets.features import Corpus, FloatArray, Ragged, Split
from mimrl.datasets.fields import Where
from mimrl.datasets.rowlists import (
    Rows,
    first_row,
    is_row,
    row_splits,
)
from mimrl.errors import ConfigError
from mimrl.settings.data import DataSettings

LAYOUT = "avec2019"
SETS = ("text", "mfcc", "ege", "ds", "au", "resnet")
FIELDS = (*SETS, "label")


def matches(content: object) -> bool:
    """Whether the first sample is a row of six sequences and one number."""
    row = first_row(content)
    if row is None or len(row) != len(FIELDS) or not _is_number(row[-1]):
        return False
    return all(isinstance(part, np.ndarray) and part.ndim == 2 for part in row[1:-1])


def read(content: object, path: Path, settings: DataSettings) -> Corpus:
    """The corpus in the content of such a pickle.

    Args:
        content: what :func:`~mimrl.datasets.pickles.read_pickle` gave.
        path: names the split of a bare list; named in messages.
        settings: ``feature_sets``: modality -> one of :data:`SETS`, e.g. ``audio: ege``.

    Returns:
        Each feature set under its own name, and again under the name of the modality that
        ``feature_sets`` gives it; ``raw_text`` where ``text`` holds words.

    Raises:
        DataError: a row is of another form, or a label is NaN.
        ConfigError: ``feature_sets`` names a set that the file does not have.
    """
    splits = {
        split: _split(rows, Where(path, split), settings)
        for split, rows in row_splits(content, path).items()
    }
    return Corpus(LAYOUT, str(path), splits, ("label",))


def _split(rows: Rows, where: Where, settings: DataSettings) -> Split:
    ids = tuple(f"{where.split}[{i}]" for i in range(len(rows)))
    for i, row in enumerate(rows):
        if not isinstance(row, (list, tuple)) or len(row) != len(FIELDS):
            raise where.at(f"row {i}").error(f"[{', '.join(FIELDS)}]", fields.describe(row))
    columns = dict(zip(FIELDS, zip(*rows, strict=True), strict=True))
    labels = [
        fields.floats(value, where.at(f"row {i}, label"), axes=(0, 1, 2)).reshape(-1)
        for i, value in enumerate(columns["label"])
    ]
    odd = next((i for i, label in enumerate(labels) if len(label) != 1), None)
    if odd is not None:
        raise where.at(f"row {odd}, label").error("one number", f"{len(labels[odd])}")
    raw_text = _raw_text(columns["text"], where)
    sequences = {
        name: _sequence(columns[name], where.at(name))
        for name in (SETS if raw_text is None else SETS[1:])
    }
    return Split(
        ids=ids,
        sequences={**sequences, **_named(sequences, where, settings)},
        labels=fields.finite_labels(np.stack(labels), ids, where.at("label")),
        raw_text=raw_text,
    )


def _sequence(values: Sequence[object], where: Where) -> Ragged:
    arrays: list[FloatArray] = []
    for i, value in enumerate(values):
        place = Where(where.path, where.split, f"row {i}, {where.key}")
        arrays.append(fields.floats(value, place, axes=(2,)))
    return fields.ragged(arrays, where)


def _raw_text(values: Sequence[object], where: Where) -> tuple[str, ...] | None:
    """Transcripts, when the text entries are strings or lists of words."""
    first = values[0]
    words = is_row(first) and all(isinstance(w, (str, bytes)) for w in first)  # type: ignore[attr-defined]
    if not (words or isinstance(first, (str, bytes))):
        return None
    place = where.at("text")
    return tuple(
        fields.text(v, place) if isinstance(v, (str, bytes)) else " ".join(fields.texts(v, place))
        for v in values
    )


def _named(
    sequences: Mapping[str, Ragged], where: Where, settings: DataSettings
) -> dict[str, Ragged]:
    unknown = sorted(set(settings.feature_sets.values()) - set(sequences))
    if unknown:
        raise ConfigError(
            f"data.feature_sets names {unknown}; {where.path} has {', '.join(sequences)}"
        )
    return {modality: sequences[name] for modality, name in settings.feature_sets.items()}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) or (
        isinstance(value, np.ndarray) and value.size == 1
    )
