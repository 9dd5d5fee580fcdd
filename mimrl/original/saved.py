"""The features that the original code saves with ``--save_best_features``.

``features_val.pkl``, ``features_test.pkl`` and ``features_test_for_valid.pkl`` in the folder of a
run are lists with an item a batch: ``[fused, text, audio, video]``, tensors ``(B, D)``. Labels and
predictions of the same rows are in ``targets_*.npy`` and ``predictions_*.npy`` beside them. There
are no ids, and rows are not in the order of the data file: the original sorts within batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mimrl.errors import CheckpointError, DataError, MissingFileError
from mimrl.original.tensors import read_tensors
from mimrl.terms import FUSED

FloatArray = npt.NDArray[np.float64]
NAMES = (FUSED, "text", "audio", "video")
TEST_BY_TEST = "test_by_test"


@dataclass(frozen=True)
class _Files:
    """Names of the three files of one split."""

    features: str
    targets: str
    predictions: str


FILES: Mapping[str, _Files] = {
    "valid": _Files("features_val.pkl", "targets_val.npy", "predictions_val.npy"),
    "test": _Files(
        "features_test_for_valid.pkl", "targets_test.npy", "predictions_test_for_valid.npy"
    ),
    TEST_BY_TEST: _Files("features_test.pkl", "targets_test.npy", "predictions_test.npy"),
}
"""Split -> its files; ``test_by_test``: the test split at the epoch that the test itself chose."""


@dataclass(frozen=True)
class SavedFeatures:
    """Features of one split, as the original code saved them.

    Attributes:
        source: the feature file.
        named: ``fused``, ``text``, ``audio``, ``video`` -> ``(N, D)`` float64.
        labels: ``(N,)`` ratings (float64) or classes (int64), or ``(N, C)`` where there are several
            columns; None without a file of targets.
        predictions: ``(N, C)`` float64; None without a file of predictions.
    """

    source: Path
    named: Mapping[str, FloatArray]
    labels: npt.NDArray[np.float64] | npt.NDArray[np.int64] | None
    predictions: FloatArray | None


def is_feature_pickle(path: str | Path) -> bool:
    """Whether ``path`` is a file with one of the names above, or a folder that holds one."""
    place = Path(path)
    names = {files.features for files in FILES.values()}
    if place.is_dir():
        return any((place / name).is_file() for name in names)
    return place.name in names and place.is_file()


def original_feature_pickles(path: str | Path) -> dict[str, SavedFeatures]:
    """The features in the folder of a run, or in one file.

    Args:
        path: the folder with ``features_val.pkl`` and so on, or one of these files. Targets and
            predictions are looked for beside it.

    Returns:
        ``valid``, ``test`` (at the epoch that validation chose), ``test_by_test``, those found.

    Raises:
        MissingFileError: no such file or folder, or a folder without any of them.
        UnsafePickleError: a file that asks for other things than tensors, arrays and containers.
        DataError: a damaged file.
        CheckpointError: another layout, or numbers of rows that differ.
    """
    place = Path(path)
    folder = place if place.is_dir() else place.parent
    wanted = {
        split: files
        for split, files in FILES.items()
        if (folder / files.features).is_file() and (place.is_dir() or place.name == files.features)
    }
    if not wanted:
        raise MissingFileError(
            f"{place}: no saved features; expected {', '.join(f.features for f in FILES.values())} "
            "or a folder that holds one of them (the original writes them with "
            "--save_best_features)"
        )
    return {split: _read(folder, files) for split, files in wanted.items()}


def _read(folder: Path, files: _Files) -> SavedFeatures:
    source = folder / files.features
    named = _joined(source, read_tensors(source))
    rows = len(named[FUSED])
    labels = _beside(folder / files.targets, rows, source)
    predictions = _beside(folder / files.predictions, rows, source)
    return SavedFeatures(
        source=source,
        named=MappingProxyType(named),
        labels=None if labels is None else _labels(labels),
        predictions=None if predictions is None else predictions.reshape(rows, -1).astype(float),
    )


def _joined(source: Path, content: object) -> dict[str, FloatArray]:
    """Batches one after another."""
    batches = content if isinstance(content, (list, tuple)) else ()
    parts: list[list[FloatArray]] = [[] for _ in NAMES]
    for number, batch in enumerate(batches):
        arrays = [_array(item) for item in batch] if isinstance(batch, (list, tuple)) else []
        shapes = [None if a is None else a.shape for a in arrays]
        sizes = {None if a is None or a.ndim != 2 else len(a) for a in arrays}
        if len(arrays) != len(NAMES) or sizes & {None, 0} or len(sizes) != 1:
            raise CheckpointError(
                f"{source}, batch {number}: expected [{', '.join(NAMES)}], each (B, D), got "
                f"{shapes or type(batch).__name__}; name a file that the original MIMRL saved"
            )
        for kept, array in zip(parts, arrays, strict=True):
            kept.append(np.asarray(array))
    if not batches:
        raise CheckpointError(
            f"{source}: expected a list of batches, got {type(content).__name__} without any; name "
            "a file that the original MIMRL saved with --save_best_features"
        )
    widths = {n: {p.shape[1] for p in kept} for n, kept in zip(NAMES, parts, strict=True)}
    for name, found in widths.items():
        if len(found) != 1:
            raise CheckpointError(
                f"{source}: {name} has widths {sorted(found)} in different batches; expected one"
            )
    return {name: np.concatenate(kept) for name, kept in zip(NAMES, parts, strict=True)}


def _array(value: object) -> FloatArray | None:
    if isinstance(value, torch.Tensor):
        return value.detach().to(torch.float64).numpy()
    if isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
        return value.astype(np.float64)
    return None


def _beside(file: Path, rows: int, source: Path) -> npt.NDArray[Any] | None:
    """A ``.npy`` file of as many rows; None where there is no such file."""
    if not file.is_file():
        return None
    try:
        values = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{file} is not a whole .npy file of numbers ({error})") from error
    if values.ndim < 1 or len(values) != rows or values.dtype.kind not in "iufb":
        raise CheckpointError(
            f"{file}: expected a number for each of the {rows} rows of {source.name}, got shape "
            f"{values.shape} of {values.dtype}; use the files of one run"
        )
    return values


def _labels(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    flat = values.reshape(-1) if values.size == len(values) else values.reshape(len(values), -1)
    return flat.astype(np.float64 if flat.dtype.kind == "f" else np.int64)
