"""MFN folders: one HDF5 file a modality and split, sequences of 20 words (Zadeh et al., AAAI 2018).

The layout of the Memory Fusion Network's data (CMU-MOSI, ICT-MMMO, POM, YouTube, MOUD)::

    audio_train.h5, video_train.h5, text_train_emb.h5 (or text_train.h5)   d1: (N, 20, d) float64
    y_train.h5                                                             d1: (N,) or (N, C)
    and the same with _valid and _test

Padding is rows of zeros, in front (short videos) or behind. The modalities are aligned by word, so
that what is taken away at each end is the rows in which *all* of them are zero: step ``t`` stays
the same word everywhere. A sequence that is zero altogether keeps its length here;
``data.drop_all_zero`` decides later whether it counts as missing.

The files hold no names: samples are called ``train_0``, ``train_1``... and have no groups (each is
a whole video, except in CMU-MOSI). Label columns are called ``label[0]``, ``label[1]``... when
there are several, in the file's order, which the files do not describe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mimrl.datasets.features import SPLITS, Corpus, FloatArray, Ragged, Split
from mimrl.datasets.fields import column_names
from mimrl.datasets.padding import Spans, take
from mimrl.datasets.stored import opened
from mimrl.errors import DataError
from mimrl.settings import DataSettings

LAYOUT = "mfn"
KEY = "d1"
FILES: Mapping[str, tuple[str, ...]] = {
    "text": ("text_{split}_emb.h5", "text_{split}.h5"),
    "audio": ("audio_{split}.h5",),
    "video": ("video_{split}.h5",),
}
LABELS = "y_{split}.h5"


def matches(path: Path) -> bool:
    """Whether ``path`` is a folder with labels and features of at least one split."""
    return path.is_dir() and any(
        (path / LABELS.format(split=split)).is_file() and _feature_files(path, split)
        for split in SPLITS
    )


def read(path: Path, settings: DataSettings) -> Corpus:
    """Reads the folder; a modality that only some splits have is missing in the others.

    Args:
        path: the folder.
        settings: not needed by this layout.

    Returns:
        The corpus. For each split that lacks the file of a modality, ``repairs`` counts its
        samples, all of whose sequences are then empty.

    Raises:
        DataError: a damaged file, an array of the wrong shape, files of unequal N, or no labels.
    """
    files = {
        split: _feature_files(path, split)
        for split in SPLITS
        if (path / LABELS.format(split=split)).is_file()
    }
    if not files:
        raise DataError(f"{path}: expected y_train.h5, y_valid.h5 and y_test.h5, found none")
    splits = {split: _read_split(path, split, found) for split, found in files.items()}
    widths = {
        name: ragged.width for part in splits.values() for name, ragged in part.sequences.items()
    }
    repairs: dict[str, int] = {}
    for split, part in splits.items():
        for name in sorted(set(widths) - set(part.sequences)):
            repairs[f"{name}: no file for {split}, all its samples lack it"] = len(part)
        splits[split] = _complete(part, {name: widths[name] for name in FILES if name in widths})
    names = column_names(next(iter(splits.values())).labels.shape[1])
    return Corpus(LAYOUT, str(path), splits, names, repairs)


def _complete(split: Split, widths: Mapping[str, int]) -> Split:
    """The split with every modality of ``widths``, in that order; empty where it has none."""
    none = np.zeros(len(split) + 1, np.int64)
    sequences = {
        name: split.sequences.get(name) or Ragged(np.zeros((0, width), np.float32), none)
        for name, width in widths.items()
    }
    return replace(split, sequences=sequences)


def _feature_files(path: Path, split: str) -> dict[str, Path]:
    """Modality -> the file of its features, for those that ``split`` has."""
    found = {}
    for name, patterns in FILES.items():
        candidates = [path / pattern.format(split=split) for pattern in patterns]
        present = [candidate for candidate in candidates if candidate.is_file()]
        if present:
            found[name] = present[0]
    return found


def _read_split(path: Path, split: str, files: Mapping[str, Path]) -> Split:
    label_file = path / LABELS.format(split=split)
    labels = _array(label_file)
    if labels.ndim not in (1, 2, 3) or (labels.ndim == 3 and labels.shape[1] != 1):
        raise DataError(f"{label_file}: expected labels (N,) or (N, C), got shape {labels.shape}")
    labels = labels.reshape(len(labels), -1)
    arrays = {name: _features(file, len(labels), label_file) for name, file in files.items()}
    ids = tuple(f"{split}_{row}" for row in range(len(labels)))
    return Split(ids=ids, sequences=trim_jointly(arrays), labels=labels)


def _features(file: Path, samples: int, label_file: Path) -> FloatArray:
    array = _array(file)
    if array.ndim != 3:
        raise DataError(f"{file}: expected features (N, steps, d), got shape {array.shape}")
    if len(array) != samples:
        raise DataError(
            f"{file} has {len(array)} samples but {label_file.name} has {samples}; both must come "
            "from the same download"
        )
    return array


def _array(file: Path) -> FloatArray:
    with opened(file) as content:
        if KEY not in content:
            raise DataError(f"{file}: expected the key '{KEY}', found {sorted(content)[:8]}")
        values = content[KEY][()]
    if not np.issubdtype(values.dtype, np.number):
        raise DataError(f"{file}: expected numbers under '{KEY}', got {values.dtype}")
    return np.asarray(values, dtype=np.float32)


def trim_jointly(arrays: Mapping[str, FloatArray]) -> dict[str, Ragged]:
    """Cuts the rows that are zero in all modalities at both ends of each sample.

    Modalities of different numbers of steps are not aligned with each other; each is then cut by
    itself. Where a sequence is zero altogether in every array that it is cut with, it is kept
    whole.

    Args:
        arrays: modality -> ``(N, T, d)`` features, padded with rows of zeros.

    Returns:
        Modality -> the sequences without their padding.
    """
    filled = {name: (array != 0).any(axis=2) for name, array in arrays.items()}
    if len({mask.shape for mask in filled.values()}) == 1:
        anywhere = np.logical_or.reduce(list(filled.values()))
        filled = dict.fromkeys(filled, anywhere)
    return {name: _cut(array, filled[name]) for name, array in arrays.items()}


def _cut(array: FloatArray, filled: npt.NDArray[np.bool_]) -> Ragged:
    """Rows from the first to the last ``filled`` one ``(N, T)``; all rows where none is."""
    steps = array.shape[1]
    some = filled.any(axis=1)
    start = np.where(some, filled.argmax(axis=1), 0)
    stop = np.where(some, steps - filled[:, ::-1].argmax(axis=1), steps)
    return take(array, Spans(start, stop))
