"""From a checkpoint and its data to the features that are analysed.

The one module of :mod:`lsmi` that knows data sets, models and checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lsmi.pairs import PairFeatures
from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.features import SPLITS, Corpus
from mimrl.datasets.labels import rating_classes
from mimrl.datasets.prepare import Samples, prepare
from mimrl.errors import ConfigError, EstimationError, MissingFileError
from mimrl.settings import Settings, from_mapping, load
from mimrl.settings.data import Target
from mimrl.terms import FUSED
from mimrl.training.checkpoint import Loaded, load_model
from mimrl.training.inference import encode

LabelRule = Literal["auto", "sign", "non0", "three", "five", "seven", "median"]
LABEL_RULES: Mapping[str, str] = {
    "auto": "classes as they are; a rating by sign, or by median where train has one sign only",
    "sign": "rating >= 0 against rating < 0",
    "non0": "rating > 0 against rating < 0; samples with rating 0 are left out",
    "three": "rating clipped to [-1, 1] and rounded",
    "five": "rating clipped to [-2, 2] and rounded",
    "seven": "rating clipped to [-3, 3] and rounded",
    "median": "rating above against not above the median of train",
}
_ROUNDED: Mapping[str, Target] = {"three": "three", "five": "five", "seven": "seven"}
_SOURCE_KEYS = ("layout", "path", "label_file", "feature_files", "split_file", "split_by_group")


@dataclass(frozen=True)
class CheckpointFeatures:
    """Features of a pair by split, and where they come from.

    Attributes:
        checkpoint: the file that was read.
        source: the data file, folder or generator.
        modalities: names of the pair.
        label_rule: how labels became classes, in words.
        class_names: class number -> name, where there are names.
        splits: split name -> features.
    """

    checkpoint: Path
    source: str
    modalities: tuple[str, str]
    label_rule: str
    class_names: tuple[str, ...]
    splits: Mapping[str, PairFeatures]


def checkpoint_features(
    checkpoint: str | Path,
    *,
    modalities: Sequence[str] | None = None,
    dataset: str | None = None,
    data: str | Path | None = None,
    config_path: str | Path = "configs",
    batch_size: int = 64,
    device: str = "cpu",
    labels: LabelRule = "auto",
) -> CheckpointFeatures:
    """Runs a trained model's encoders over train, valid and test.

    Args:
        checkpoint: a checkpoint of ours or the run folder that holds it.
        modalities: the pair; ``fused`` is allowed. None: the first two of the checkpoint.
        dataset: where the checkpoint's own data file is not found, ``<dataset>.yaml`` in
            ``config_path`` names it.
        data: a data file that takes the place of both.
        config_path: folder of the experiments' settings.
        batch_size: samples a forward pass.
        device: where the model runs.
        labels: how ratings become classes, a key of :data:`LABEL_RULES`.

    Returns:
        float64 features on the CPU, in the order of the data.

    Raises:
        MissingFileError: no checkpoint or no data.
        CheckpointError: a file that is no checkpoint, or another version's.
        ConfigError: modalities or a label rule that do not fit the checkpoint.
    """
    loaded = load_model(checkpoint)
    pair = _pair(loaded.settings, modalities)
    settings, corpus = _corpus(loaded.settings, dataset, data, Path(config_path))
    prepared = prepare(corpus, settings, scalers=loaded.scalers or None)
    rule, classes = _classes(prepared.splits, settings, labels)
    splits = {
        name: _encoded(loaded, prepared.splits[name], classes[name], pair, batch_size, device)
        for name in SPLITS
    }
    return CheckpointFeatures(
        checkpoint=loaded.path,
        source=prepared.source,
        modalities=pair,
        label_rule=rule,
        class_names=loaded.class_names,
        splits=splits,
    )


def _pair(settings: Settings, modalities: Sequence[str] | None) -> tuple[str, str]:
    known = (*settings.data.modalities, FUSED)
    pair = tuple(modalities or settings.data.modalities[:2])
    if len(pair) != 2 or len(set(pair)) != 2 or not set(pair) <= set(known):
        raise ConfigError(
            f"--modalities names {' '.join(pair)}; expected two different ones of "
            f"{', '.join(known)}"
        )
    return pair[0], pair[1]


def _corpus(
    settings: Settings, dataset: str | None, data: str | Path | None, configs: Path
) -> tuple[Settings, Corpus]:
    """The checkpoint's settings with the data that were found, and the data."""
    if data is not None:
        layout = settings.data.layout
        changes = {"path": str(data), "layout": "auto" if layout == "planted" else layout}
        settings = _with_data(settings, changes, "--data")
        return settings, open_corpus(settings.data)
    try:
        return settings, open_corpus(settings.data)
    except MissingFileError as missing:
        if dataset is None:
            raise MissingFileError(
                f"the checkpoint's data were not found ({missing}); name the file with --data, or "
                "a file in configs with --dataset"
            ) from missing
        other = load(configs / f"{dataset}.yaml").data.model_dump(mode="json")
        settings = _with_data(settings, {key: other[key] for key in _SOURCE_KEYS}, dataset)
        return settings, open_corpus(settings.data)


def _with_data(settings: Settings, changes: Mapping[str, Any], source: str) -> Settings:
    tree = settings.model_dump(mode="json")
    tree["data"] |= changes
    if tree["data"]["layout"] != "planted":
        tree["data"].pop("planted")
    return from_mapping(tree, source=f"the checkpoint's settings with the data of {source}")


def _classes(
    splits: Mapping[str, Samples], settings: Settings, labels: LabelRule
) -> tuple[str, dict[str, npt.NDArray[np.int64]]]:
    """The label rule in words, and each split's classes; -1 leaves a sample out."""
    if labels not in LABEL_RULES:
        raise ConfigError(f"--labels is {labels!r}, expected one of {', '.join(LABEL_RULES)}")
    if settings.task == "classification":
        if labels != "auto":
            raise ConfigError(
                f"--labels {labels} cuts ratings into classes, but the checkpoint predicts classes "
                f"(data.target {settings.data.target}); leave it out"
            )
        classes = {name: samples.labels.astype(np.int64) for name, samples in splits.items()}
        return f"classes of data.target {settings.data.target}", classes
    values = {name: samples.labels.astype(np.float64) for name, samples in splits.items()}
    if labels == "auto":
        train = values["train"]
        labels = "sign" if (train < 0).any() and (train >= 0).any() else "median"
    middle = float(np.median(values["train"]))
    cut = {name: _cut(ratings, labels, middle) for name, ratings in values.items()}
    return f"{labels}: {LABEL_RULES[labels]}", cut


def _cut(ratings: npt.NDArray[np.float64], rule: str, middle: float) -> npt.NDArray[np.int64]:
    if rule in _ROUNDED:
        return rating_classes(ratings, _ROUNDED[rule])
    if rule == "median":
        return (ratings > middle).astype(np.int64)
    classes = (ratings >= 0).astype(np.int64)
    return np.where(ratings == 0, -1, classes) if rule == "non0" else classes


def _encoded(
    loaded: Loaded,
    samples: Samples,
    classes: npt.NDArray[np.int64],
    pair: tuple[str, str],
    batch_size: int,
    device: str,
) -> PairFeatures:
    kept = np.flatnonzero(classes >= 0)
    if len(kept) == 0:
        raise EstimationError("a split has no samples left under this label rule")
    outputs = encode(loaded.model.to(device), samples, batch_size=batch_size, device=device)
    named = {name: value.double().cpu().numpy()[kept] for name, value in outputs.named().items()}
    return PairFeatures(
        x1=named[pair[0]],
        x2=named[pair[1]],
        labels=classes[kept],
        ids=tuple(samples.ids[row] for row in kept),
        groups=_groups(samples, kept),
    )


def _groups(samples: Samples, rows: npt.NDArray[np.intp]) -> tuple[str, ...] | None:
    """Groups of the data, else the video in MMSA's ``video$_$clip``, else none."""
    if samples.groups is not None:
        return tuple(samples.groups[row] for row in rows)
    if all("$_$" in name for name in samples.ids):
        return tuple(samples.ids[row].split("$_$")[0] for row in rows)
    return None
