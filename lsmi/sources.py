"""Whatever ``--ckpt_path`` names: our checkpoints, the original code's, and files of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lsmi.features import (
    CheckpointFeatures,
    LabelRule,
    checkpoint_features,
    cut_ratings,
    label_classes,
    named_features,
)
from lsmi.files import read_features
from lsmi.samples import NamedFeatures
from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.features import SPLITS
from mimrl.errors import ConfigError, DataError
from mimrl.original import (
    SavedFeatures,
    is_feature_pickle,
    is_original,
    load_options,
    original_feature_pickles,
    original_features,
)
from mimrl.settings import DataSettings, load

FEATURE_FILES = (".pt", ".pth", ".npz")


@dataclass(frozen=True)
class Request:
    """How features are to be read.

    Attributes:
        features: names of features; None: all.
        dataset: ``<dataset>.yaml`` in ``config_path`` names the data, where a checkpoint's own are
            not found or it does not name any.
        data: a data file that takes the place of the checkpoint's.
        config_path: folder of the experiments' settings.
        original: YAML file of :class:`mimrl.original.OriginalOptions`.
        batch_size: samples a forward pass.
        device: where models run.
        labels: how ratings become classes.
    """

    features: Sequence[str] | None = None
    dataset: str | None = None
    data: str | Path | None = None
    config_path: str | Path = "configs"
    original: str | Path | None = None
    batch_size: int = 64
    device: str = "cpu"
    labels: LabelRule = "auto"


def read_source(path: str | Path, request: Request) -> CheckpointFeatures:
    """Features of train, valid and test from whatever ``path`` is.

    Args:
        path: a checkpoint of ours or a run's folder; ``best_valid_model.pth.tar`` of the original
            code; the features that it saves (``features_val.pkl`` or their folder); a ``.pt`` or
            ``.npz`` file of features (:mod:`lsmi.files`).
        request: how to read it.

    Raises:
        MissingFileError: no such file, or no data.
        CheckpointError: a file that is no checkpoint, or another version's.
        ConfigError: options that do not fit this kind of file.
        DataError: damaged feature files.
    """
    path = Path(path)
    if is_feature_pickle(path):
        _refuse(path, request, "dataset", "data", "original")
        return _saved(path, request)
    if path.suffix in FEATURE_FILES and path.is_file():
        _refuse(path, request, "dataset", "data", "original")
        return _file(path, request)
    if is_original(path):
        return _original(path, request)
    _refuse(path, request, "original")
    return checkpoint_features(
        path,
        features=request.features,
        dataset=request.dataset,
        data=request.data,
        config_path=request.config_path,
        batch_size=request.batch_size,
        device=request.device,
        labels=request.labels,
    )


def _refuse(path: Path, request: Request, *without_effect: str) -> None:
    given = [name for name in without_effect if getattr(request, name) is not None]
    if given:
        raise ConfigError(f"--{' and --'.join(given)} has no effect with {path}; leave it out")


def _chosen(
    splits: Mapping[str, NamedFeatures], request: Request, path: Path
) -> dict[str, NamedFeatures]:
    """Only the features asked for."""
    known = next(iter(splits.values())).features
    names = tuple(request.features or known)
    unknown = [name for name in names if name not in known]
    if unknown or len(set(names)) < 2:
        raise ConfigError(
            f"--features or --modalities names {' '.join(names)}; expected at least two different "
            f"ones of {', '.join(known)}, which {path} has"
        )
    return {
        split: replace(found, features={name: found.features[name] for name in names})
        for split, found in splits.items()
    }


def _file(path: Path, request: Request) -> CheckpointFeatures:
    if request.labels != "auto":
        raise ConfigError(f"--labels {request.labels} cuts ratings, but {path} holds classes")
    return CheckpointFeatures(
        checkpoint=path,
        source=str(path),
        label_rule="classes as the file has them",
        class_names=(),
        splits=_chosen(read_features(path), request, path),
    )


def _original(path: Path, request: Request) -> CheckpointFeatures:
    if request.data is None and request.dataset is None:
        raise ConfigError(
            f"{path} does not name its data; name a configuration with --dataset, or a file with "
            "--data"
        )
    data = DataSettings()
    if request.dataset is not None:
        data = load(Path(request.config_path) / f"{request.dataset}.yaml").data
    if request.data is not None:
        data = data.model_copy(update={"path": str(request.data), "layout": _layout(data)})
    found = original_features(
        path, load_options(request.original), open_corpus(data), data, device=request.device
    )
    rule, classes = label_classes(found.prepared.splits, found.settings, request.labels)
    splits = {
        split: named_features(
            found.named[split], found.prepared.splits[split], classes[split],
            found.predictions[split],
        )
        for split in SPLITS
    }  # fmt: skip
    return CheckpointFeatures(
        checkpoint=path,
        source=found.prepared.source,
        label_rule=rule,
        class_names=(),
        splits=_chosen(splits, request, path),
        assumed=found.checkpoint.assumed,
    )


def _layout(data: DataSettings) -> str:
    """The layout of a file given by name: as configured, unless nothing was configured."""
    return "auto" if data.layout == "planted" else data.layout


def _saved(path: Path, request: Request) -> CheckpointFeatures:
    """The original code saves no training features: models are fitted on those of valid."""
    saved = original_feature_pickles(path)
    order = [name for name in ("valid", "test", "test_by_test") if name in saved]
    parts = {("train" if k == 0 else name): saved[name] for k, name in enumerate(order)}
    labels = {name: _one_label(part) for name, part in parts.items()}
    ratings = {name: found.astype(np.float64) for name, found in labels.items()}
    if labels["train"].dtype.kind == "i":
        if request.labels != "auto":
            raise ConfigError(f"--labels {request.labels} cuts ratings, but {path} holds classes")
        rule = "classes as the file has them"
        classes = {name: found.astype(np.int64) for name, found in labels.items()}
    else:
        rule, classes = cut_ratings(ratings, request.labels)
    splits = {}
    for name, part in parts.items():
        kept = np.flatnonzero(classes[name] >= 0)
        splits[name] = NamedFeatures(
            features={key: array[kept] for key, array in part.named.items()},
            labels=classes[name][kept],
            ratings=ratings[name][kept],
            predictions=None if part.predictions is None else _said(part.predictions)[kept],
        )
    return CheckpointFeatures(
        checkpoint=path,
        source=str(path),
        label_rule=rule,
        class_names=(),
        splits=_chosen(splits, request, path),
        assumed=(f"no training features were saved: models are fitted on {order[0]}, which is "
                 "called train here",),
    )  # fmt: skip


def _one_label(part: SavedFeatures) -> npt.NDArray[np.float64] | npt.NDArray[np.int64]:
    if part.labels is None or part.labels.ndim != 1:
        raise DataError(
            f"{part.source}: no file of targets with one label a sample is beside it; expected "
            "targets_val.npy and so on"
        )
    return part.labels


def _said(predictions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    said = predictions[:, 0] if predictions.shape[1] == 1 else predictions.argmax(axis=1)
    return said.astype(np.float64)
