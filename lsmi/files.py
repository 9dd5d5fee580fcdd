"""Feature files of other programs: LSMI's ``.pt`` layout, and the same keys in a plain ``.npz``.

A dictionary of arrays with, for each split (``train``, and where there are any ``val``, ``test``),

- ``<split>_modal_1_features`` ``(N, D1)`` and ``<split>_modal_2_features`` ``(N, D2)``,
- ``<split>_targets`` ``(N,)``: classes,
- where the file has them, ``<split>_ids`` and ``<split>_groups``: ``N`` names. The published layout
  (GeWu-Lab/LSMI_Estimator) lacks these two.

Other keys are not read. Nothing that a file asks for is run: ``.pt`` files are read with
``weights_only``, ``.npz`` files without pickles.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lsmi.samples import NamedFeatures, require_finite
from mimrl.errors import (
    ConfigError,
    DataError,
    MimrlError,
    MissingFileError,
    UnsafePickleError,
)
from mimrl.mi.writing import written_whole

SPLIT_OF: Mapping[str, str] = MappingProxyType({"train": "train", "val": "valid", "test": "test"})
MODALITIES = ("modal_1", "modal_2")
SHOWN = 8  # keys listed in a message
LAYOUT = (
    "expected a dictionary with train_modal_1_features (N, D1), train_modal_2_features (N, D2), "
    "train_targets (N,), and the same for val (and test)"
)
REMEDY = (
    "if you trust the file, load it yourself and write its arrays with lsmi.files.write_features"
)


def read_features(path: str | Path) -> dict[str, NamedFeatures]:
    """Features and classes by split, from a ``.pt`` or ``.npz`` file.

    Args:
        path: ``.npz``, or anything that ``torch.save`` wrote (``.pt``, ``.pth``).

    Returns:
        ``train`` and, where the file has them, ``valid`` and ``test``; features are called
        ``modal_1`` and ``modal_2``.

    Raises:
        MissingFileError: no such file.
        UnsafePickleError: the file holds something other than tensors and plain containers.
        DataError: damaged; keys missing; arrays of another shape, type or length.
        NonFiniteError: NaN or infinite features.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"feature file {path} does not exist")
    content = _npz(path) if path.suffix == ".npz" else _pt(path)
    splits = {
        ours: _split(content, theirs, path)
        for theirs, ours in SPLIT_OF.items()
        if any(key in content for key in _keys(theirs))
    }
    if "train" not in splits:
        raise DataError(f"{path}: {LAYOUT}; got {_listed(content)}")
    for modality in MODALITIES:
        widths = {name: s.features[modality].shape[1] for name, s in splits.items()}
        if len(set(widths.values())) > 1:
            raise DataError(f"{path}: {modality} has a different width by split: {widths}")
    return splits


def write_features(
    path: str | Path,
    splits: Mapping[str, NamedFeatures],
    modalities: tuple[str, str] | None = None,
) -> None:
    """Writes two features of each split in LSMI's ``.pt`` layout; the file appears whole.

    Args:
        path: where; its folder is made.
        splits: ``train``, ``valid``, ``test`` or some of them.
        modalities: the two features; None: the first two.

    Raises:
        ConfigError: a split or modality that the layout or the features lack; the file cannot
            be written.
    """
    theirs = {ours: name for name, ours in SPLIT_OF.items()}
    strangers = sorted(set(splits) - set(theirs))
    if strangers:
        raise ConfigError(f"splits {strangers} have no place in the layout, only {list(theirs)}")
    names = modalities or tuple(next(iter(splits.values())).features)[:2]
    content: dict[str, object] = {}
    for ours, split in splits.items():
        if len(names) != 2 or not set(names) <= set(split.features):
            raise ConfigError(
                f"modalities {list(names)} of {ours}: expected two of {list(split.features)}"
            )
        for modality, name in zip(MODALITIES, names, strict=True):
            array = np.array(split.features[name])
            content[f"{theirs[ours]}_{modality}_features"] = torch.from_numpy(array)
        content[f"{theirs[ours]}_targets"] = torch.from_numpy(np.array(split.labels, np.int64))
        for key, value in (("ids", split.ids), ("groups", split.groups)):
            if value is not None:
                content[f"{theirs[ours]}_{key}"] = [str(name) for name in value]
    write_tensors(path, content)


def write_tensors(path: str | Path, content: Mapping[str, object]) -> None:
    """``torch.save`` of tensors and plain containers, by a rename: whole or not at all.

    Raises:
        ConfigError: the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as beside, beside.open("wb") as file:
            torch.save(dict(content), file)
    except (OSError, RuntimeError) as error:  # RuntimeError: how torch reports a full disk
        raise ConfigError(f"cannot write {path}: {error}") from error


def _pt(path: Path) -> Mapping[str, object]:
    def load() -> object:
        return torch.load(path, map_location="cpu", weights_only=True)

    return _keyed(_guarded(load, path), path)


def _npz(path: Path) -> Mapping[str, object]:
    def load() -> object:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile("not an archive of arrays")
        with np.load(path, allow_pickle=False) as file:
            return dict(file)

    return _keyed(_guarded(load, path), path)


def _guarded(load: Callable[[], object], path: Path) -> object:
    """What ``load`` gives, its many errors as one of two."""
    try:
        return load()
    except MimrlError:
        raise
    except (pickle.UnpicklingError, ValueError) as error:
        said = str(error)
        found = re.search(r"GLOBAL ([\w.]+)", said)
        if found or "allow_pickle" in said or "pickled data" in said:
            what = f"asks for {found[1]}" if found else "holds pickled objects"
            raise UnsafePickleError(
                f"{path}: refused, because it {what}; only tensors, arrays, numbers, strings and "
                f"containers are read. Save tensors (torch.from_numpy); {REMEDY}"
            ) from error
        raise _damaged(path, error) from error
    except (RuntimeError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    _, _, torch_says = str(error).partition("WeightsUnpickler error:")  # after advice to trust it
    said = " ".join((torch_says or str(error)).split("Check the documentation")[0].split())[:200]
    return DataError(
        f"{path}: expected a .pt file of torch.save or an .npz file of numpy.savez, but it is "
        f"damaged or something else ({type(error).__name__}: {said}); write it again"
    )


def _keyed(content: object, path: Path) -> Mapping[str, object]:
    if not isinstance(content, Mapping):
        raise DataError(f"{path}: {LAYOUT}; got {type(content).__name__}")
    return {str(key): value for key, value in content.items()}


def _listed(content: Mapping[str, Any]) -> str:
    more = f" and {len(content) - SHOWN} more" if len(content) > SHOWN else ""
    return f"keys {', '.join(list(content)[:SHOWN]) or 'none'}{more}"


def _keys(name: str) -> tuple[str, str, str]:
    """Keys of a split: two features, targets."""
    first, second = (f"{name}_{modality}_features" for modality in MODALITIES)
    return first, second, f"{name}_targets"


def _split(content: Mapping[str, object], name: str, path: Path) -> NamedFeatures:
    keys = _keys(name)
    lacking = [key for key in keys if key not in content]
    if lacking:
        raise DataError(f"{path}: lacks {', '.join(lacking)}; {LAYOUT}; got {_listed(content)}")
    x1, x2 = (_features(content[key], key, path) for key in keys[:2])
    labels = _labels(content[keys[2]], keys[2], path)
    ids, groups = (_names(content, f"{name}_{key}", path) for key in ("ids", "groups"))
    sizes = {
        key: len(values)
        for key, values in zip(
            (*keys, f"{name}_ids", f"{name}_groups"), (x1, x2, labels, ids, groups), strict=True
        )
        if values is not None
    }
    if len(set(sizes.values())) > 1:
        raise DataError(f"{path}: expected one row a sample in each array of {name}, got {sizes}")
    features = dict(zip(MODALITIES, (x1, x2), strict=True))
    return NamedFeatures(features=features, labels=labels, ids=ids, groups=groups)


def _array(value: object, key: str, path: Path, kinds: str) -> npt.NDArray[Any]:
    if isinstance(value, Tensor):
        dense = value.detach().cpu()
        value = (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy()
    if not isinstance(value, np.ndarray) or value.dtype.kind not in kinds:
        found = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise DataError(f"{path}: {key} is {found}, expected a tensor or array of numbers")
    return value


def _features(value: object, key: str, path: Path) -> npt.NDArray[np.floating]:
    array = _array(value, key, path, "fiu")
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(f"{path}: {key} has shape {array.shape}, expected (N, D), a row a sample")
    require_finite(array, f"{path}: {key}")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _labels(value: object, key: str, path: Path) -> npt.NDArray[np.int64]:
    array = _array(value, key, path, "fiub")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"{path}: {key} has shape {array.shape}, expected (N,), a class a sample")
    odd = np.flatnonzero(~np.isfinite(array) | (np.round(array) != array))
    if len(odd):
        raise DataError(
            f"{path}: {key} is {array[odd[0]]} in row {odd[0]}, expected whole numbers; cut "
            "ratings into classes first"
        )
    return array.astype(np.int64)


def _names(content: Mapping[str, object], key: str, path: Path) -> tuple[str, ...] | None:
    if key not in content:
        return None
    value = content[key]
    items = value.reshape(-1).tolist() if isinstance(value, (np.ndarray, Tensor)) else value
    if not isinstance(items, (list, tuple)):
        raise DataError(f"{path}: {key} is {type(value).__name__}, expected a list of names")
    return tuple(str(item) for item in items)
