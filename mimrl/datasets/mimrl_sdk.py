"""The original MIMRL's own files: several feature lists a modality, aligned to words.

A row is ``[[text lists, audio lists, video lists], label, label_2, label_7, id]`` (CMU-MOSI,
CMU-MOSEI) or ``[[...], labels (18,), label_7, id]`` (POM). Each list holds the same clip in several
feature sets, ``(L, d)`` each, in the order of :data:`SETS`; ``data.feature_sets`` chooses one a
modality. The set ``text`` holds the words and becomes ``raw_text``.

The file is a list of rows (one split, named by the file), ``{train, valid, test: rows}``, or a
folder with ``mosi_train.pkl``, ``mosi_valid.pkl`` (or ``_dev``), ``mosi_test.pkl``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimrl.datasets import fields
from mimrl.datasets.features import Corpus, FloatArray, Split
from mimrl.datasets.fields import Where
from mimrl.datasets.rowlists import (
    Rows,
    first_row,
    is_row,
    row_splits,
)
from mimrl.errors import ConfigError, DataError
from mimrl.settings.data import DataSettings

LAYOUT = "mimrl_sdk"
MODALITIES = ("text", "audio", "video")
SETS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "text": (
        (
            "text",
            "glove",
            "last_hidden_state",
            "masked_last_hidden_state",
            "pooler_output",
            "summed_last_four_states",
        ),
    ),
    "audio": (("covarep", "opensmile_eb10", "opensmile_is09"), ("covarep",)),
    "video": (("facet41", "facet42", "openface"), ("facet42",)),
}
DEFAULTS = {"text": "glove", "audio": "covarep", "video": "facet42"}  # in all published files
WORDS = "text"
PAUSE = "sp"  # the SDK's mark of a pause between words


@dataclass(frozen=True)
class _Row:
    """One sample."""

    name: str
    labels: dict[str, FloatArray]  # group of label columns -> (C,)
    features: dict[str, FloatArray]  # modality -> (L, d)
    words: str | None


def matches(content: object) -> bool:
    """Whether the first sample is a row with three lists of feature lists."""
    row = first_row(content)
    if row is None or len(row) not in (4, 5) or not isinstance(row[-1], (str, bytes)):
        return False
    lists = row[0]
    return isinstance(lists, (list, tuple)) and len(lists) == 3 and all(is_row(x) for x in lists)


def read(content: object, path: Path, settings: DataSettings) -> Corpus:
    """The corpus in the content of one of the original MIMRL's pickles.

    Args:
        content: what :func:`~mimrl.datasets.pickles.read_pickle` gave.
        path: names the split of a bare list; named in messages.
        settings: ``feature_sets``: modality -> a name of :data:`SETS`, or a number as a string for
            lists of other lengths. By default GloVe, COVAREP and FACET 4.2.

    Returns:
        ``text``, ``audio``, ``video``; ``raw_text`` without pauses; label columns ``label``,
        ``label_2``, ``label_7``, or ``label[0]``... and ``label_7``; the video as group.

    Raises:
        DataError: a row is of another form, or a label is NaN.
        ConfigError: ``feature_sets`` names a modality or set that the file does not have.
    """
    strangers = sorted(set(settings.feature_sets) - set(MODALITIES))
    if strangers:
        raise ConfigError(f"data.feature_sets names {strangers}; {path} has {MODALITIES}")
    splits = {
        split: [_row(r, Where(path, split, f"row {i}"), settings) for i, r in enumerate(rows)]
        for split, rows in row_splits(content, path).items()
    }
    names = {_label_names(row) for rows in splits.values() for row in rows}
    if len(names) != 1:
        raise DataError(f"{path}: expected the same label columns in all rows, got {sorted(names)}")
    found = {split: _split(rows, Where(path, split)) for split, rows in splits.items()}
    return Corpus(LAYOUT, str(path), found, names.pop())


def _row(row: object, where: Where, settings: DataSettings) -> _Row:
    if not isinstance(row, (list, tuple)) or len(row) not in (4, 5):
        raise where.error("[features, label, label_2, label_7, id]", fields.describe(row))
    lists = row[0]
    if not isinstance(lists, (list, tuple)) or len(lists) != len(MODALITIES):
        raise where.error("lists of text, audio and video features", fields.describe(lists))
    features = {}
    for modality, sets in zip(MODALITIES, lists, strict=True):
        place = where.at(f"{where.key}, {modality}")
        if not is_row(sets):
            raise place.error("a list of feature arrays", fields.describe(sets))
        if sets:
            features[modality] = _chosen(modality, sets, place, settings)
    keys = ("label", "label_2", "label_7") if len(row) == 5 else ("label", "label_7")
    labels = {
        key: fields.floats(value, where.at(f"{where.key}, {key}"), axes=(0, 1, 2)).reshape(-1)
        for key, value in zip(keys, row[1:-1], strict=True)
    }
    return _Row(fields.text(row[-1], where), labels, features, _words(lists[0], where))


def _chosen(modality: str, sets: Rows, where: Where, settings: DataSettings) -> FloatArray:
    """The feature set that the settings choose, ``(L, d)``; a vector is one step."""
    names = next((known for known in SETS[modality] if len(known) == len(sets)), None)
    if names is None:
        names = tuple(str(i) for i in range(len(sets)))
    asked = settings.feature_sets.get(modality)
    wanted = asked or (DEFAULTS[modality] if DEFAULTS[modality] in names else names[0])
    if wanted not in names or (modality == "text" and wanted == WORDS):
        raise ConfigError(
            f"data.feature_sets: {modality} has no features {wanted!r} in {where.path}; expected "
            f"one of {', '.join(name for name in names if name != WORDS)} (the words are raw_text)"
        )
    values = fields.floats(sets[names.index(wanted)], where.at(f"{where.key}, {wanted}"), (1, 2))
    return values if values.ndim == 2 else values.reshape(min(1, values.size), -1)


def _words(sets: Rows, where: Where) -> str | None:
    """The transcript, when the first text list holds words."""
    first = sets[0] if sets else None
    if isinstance(first, (str, bytes)):
        return fields.text(first, where)
    items = first.reshape(-1).tolist() if isinstance(first, np.ndarray) else first
    if not isinstance(items, (list, tuple)):
        return None
    if not all(isinstance(item, (str, bytes)) for item in items):
        return None
    return " ".join(word for word in fields.texts(items, where) if word != PAUSE)


def _label_names(row: _Row) -> tuple[str, ...]:
    """``label`` for one column, ``label[0]``... for several."""
    return tuple(
        name if len(values) == 1 else f"{name}[{i}]"
        for name, values in row.labels.items()
        for i in range(len(values))
    )


def _split(rows: Sequence[_Row], where: Where) -> Split:
    ids = tuple(row.name for row in rows)
    words = tuple(row.words for row in rows if row.words is not None)
    present = [m for m in MODALITIES if any(m in row.features for row in rows)]
    labels = np.stack([np.concatenate(list(row.labels.values())) for row in rows])
    nothing = np.zeros((0, 0), dtype=np.float32)
    return Split(
        ids=ids,
        sequences={
            m: fields.ragged([row.features.get(m, nothing) for row in rows], where.at(m))
            for m in present
        },
        labels=fields.finite_labels(labels, ids, where.at("label")),
        raw_text=words if len(words) == len(rows) else None,
        groups=fields.videos(ids),
    )
