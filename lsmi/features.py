"""From a checkpoint and its data to the features that are analysed.

The one module of :mod:`lsmi` that knows data sets, models and checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lsmi.samples import NamedFeatures
from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.features import SPLITS, Corpus
from mimrl.datasets.labels import rating_classes
from mimrl.datasets.loading import iterate
from mimrl.datasets.prepare import Samples, prepare
from mimrl.errors import ConfigError, EstimationError, MissingFileError
from mimrl.model.model import MIMRL
from mimrl.settings import Settings, load
from mimrl.settings.data import Target
from mimrl.settings.load import with_data, with_data_file
from mimrl.terms import FUSED
from mimrl.training.checkpoint import Loaded, load_model
from mimrl.training.inference import encode

LabelRule = Literal["auto", "sign", "non0", "three", "five", "seven", "median", "thirds"]
LABEL_RULES: Mapping[str, str] = {
    "auto": "classes as they are; a rating by sign, or by median where train has one sign only",
    "sign": "rating >= 0 against rating < 0",
    "non0": "rating > 0 against rating < 0; samples with rating 0 are left out",
    "three": "rating clipped to [-1, 1] and rounded",
    "five": "rating clipped to [-2, 2] and rounded",
    "seven": "rating clipped to [-3, 3] and rounded",
    "median": "rating above against not above the median of train",
    "thirds": "three classes between the terciles of train",
}
_ROUNDED: Mapping[str, Target] = {"three": "three", "five": "five", "seven": "seven"}
_SOURCE_KEYS = ("layout", "path", "label_file", "feature_files", "split_file", "split_by_group")


@dataclass(frozen=True)
class CheckpointFeatures:
    """Features by split, and where they come from.

    Attributes:
        checkpoint: the file that was read.
        source: the data file, folder or generator.
        label_rule: how labels became classes, in words.
        class_names: class number -> name, where there are names.
        splits: split name -> features.
        assumed: what the checkpoint does not say and was taken for granted, sentences.
    """

    checkpoint: Path
    source: str
    label_rule: str
    class_names: tuple[str, ...]
    splits: Mapping[str, NamedFeatures]
    assumed: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(self.splits["train"].features)


def checkpoint_features(
    checkpoint: str | Path,
    *,
    features: Sequence[str] | None = None,
    dataset: str | None = None,
    data: str | Path | None = None,
    config_path: str | Path = "configs",
    batch_size: int = 64,
    device: str = "cpu",
    labels: LabelRule = "auto",
) -> CheckpointFeatures:
    """Runs a trained model over train, valid and test and keeps what its layers say.

    Args:
        checkpoint: a checkpoint of ours or the run folder that holds it.
        features: modalities (their encoders' outputs), ``fused``, or names of the model's modules
            (``fusion.blocks.0``), whose outputs are averaged over all axes between sample and
            width. None: all modalities and ``fused``.
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
        ConfigError: features or a label rule that do not fit the checkpoint.
    """
    loaded = load_model(checkpoint)
    names = tuple(features or (*loaded.settings.data.modalities, FUSED))
    modules = _modules(loaded, names)
    settings, corpus = _corpus(loaded.settings, dataset, data, Path(config_path))
    prepared = prepare(corpus, settings, scalers=loaded.scalers or None)
    rule, classes = label_classes(prepared.splits, settings, labels)
    splits = {}
    for name in SPLITS:
        samples = prepared.splits[name]
        model = loaded.model.to(device)
        outputs = encode(model, samples, batch_size=batch_size, device=device)
        known = outputs.named() | _outputs_of(model, modules, samples, batch_size, device)
        splits[name] = named_features(
            {key: known[key].double().cpu().numpy() for key in names},
            samples,
            classes[name],
            outputs.prediction.cpu().numpy(),
        )
    return CheckpointFeatures(
        checkpoint=loaded.path,
        source=prepared.source,
        label_rule=rule,
        class_names=loaded.class_names,
        splits=splits,
    )


def _modules(loaded: Loaded, names: Sequence[str]) -> tuple[str, ...]:
    """Those names that are neither modalities nor ``fused`` but modules of the model."""
    known = (*loaded.settings.data.modalities, FUSED)
    rest = tuple(name for name in names if name not in known)
    modules = dict(loaded.model.named_modules())
    unknown = [name for name in rest if name not in modules or not name]
    if unknown or len(set(names)) < len(names) or len(names) < 2:
        tops = [name for name in modules if name and name.count(".") < 2]
        raise ConfigError(
            f"--features or --modalities names {' '.join(names)}; expected at least two different "
            f"ones of {', '.join(known)} or of the model's modules, such as {', '.join(tops)}"
        )
    return rest


@torch.no_grad()
def _outputs_of(
    model: MIMRL, names: Sequence[str], samples: Samples, batch_size: int, device: str
) -> dict[str, Tensor]:
    """Outputs of modules, averaged over the axes between sample and width (padding included)."""
    if not names:
        return {}
    caught: dict[str, list[Tensor]] = {name: [] for name in names}

    def keep(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, given: object, made: object) -> None:
            if not isinstance(made, Tensor) or made.ndim < 2:
                raise ConfigError(
                    f"--features {name}: this module's output is {type(made).__name__}; expected "
                    "a tensor with a row a sample"
                )
            caught[name].append(made.flatten(1, -2).mean(1) if made.ndim > 2 else made)

        return hook

    modules = dict(model.named_modules())
    hooks = [modules[name].register_forward_hook(keep(name)) for name in names]
    model.eval()
    try:
        rows = []
        for batch in iterate(samples, batch_size):
            model(batch.to(torch.device(device)))
            rows.append(batch.rows)
    finally:
        for each in hooks:
            each.remove()
    order = torch.cat(rows).argsort().to(device)
    found = {name: torch.cat(parts) for name, parts in caught.items()}
    wrong = [name for name, value in found.items() if len(value) != len(order)]
    if wrong:
        raise ConfigError(f"--features {' '.join(wrong)}: not one output a sample and batch")
    return {name: value[order] for name, value in found.items()}


def named_features(
    arrays: Mapping[str, npt.NDArray[np.float64]],
    samples: Samples,
    classes: npt.NDArray[np.int64],
    prediction: npt.NDArray[np.floating],
) -> NamedFeatures:
    """One split without the samples that the label rule leaves out (class -1).

    Args:
        arrays: name -> ``(N, D)``.
        samples: the ``N`` samples.
        classes: ``(N,)``.
        prediction: ``(N, C)`` ratings (``C`` = 1) or logits.
    """
    kept = np.flatnonzero(classes >= 0)
    if len(kept) == 0:
        raise EstimationError("a split has no samples left under this label rule")
    said = prediction[:, 0] if prediction.shape[1] == 1 else prediction.argmax(axis=1)
    return NamedFeatures(
        features={name: array[kept] for name, array in arrays.items()},
        labels=classes[kept],
        ids=tuple(samples.ids[row] for row in kept),
        groups=_groups(samples, kept),
        texts=None if samples.raw_text is None else [samples.raw_text[row] for row in kept],
        ratings=None if samples.ratings is None else samples.ratings[kept].astype(np.float64),
        predictions=said[kept].astype(np.float64),
    )


def _corpus(
    settings: Settings, dataset: str | None, data: str | Path | None, configs: Path
) -> tuple[Settings, Corpus]:
    """The checkpoint's settings with the data that were found, and the data."""
    named = None if dataset is None else load(configs / f"{dataset}.yaml").data
    if data is not None:
        settings = with_data_file(settings, data)
        return settings, open_corpus(settings.data)
    try:
        return settings, open_corpus(settings.data)
    except MissingFileError as missing:
        if named is None:
            raise MissingFileError(
                f"the checkpoint's data were not found ({missing}); name the file with --data, or "
                "a file in configs with --dataset"
            ) from missing
        other = named.model_dump(mode="json")
        changes = {key: other[key] for key in _SOURCE_KEYS}
        settings = with_data(settings, changes, f"--dataset {dataset}")
        return settings, open_corpus(settings.data)


def label_classes(
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
    return cut_ratings(values, labels)


def cut_ratings(
    values: Mapping[str, npt.NDArray[np.floating]], labels: LabelRule
) -> tuple[str, dict[str, npt.NDArray[np.int64]]]:
    """The rule in words, and each split's ratings as classes; -1 leaves a sample out."""
    train = values["train"].astype(np.float64)
    if labels == "auto":
        labels = "sign" if (train < 0).any() and (train >= 0).any() else "median"
    edges = np.quantile(train, (1 / 3, 2 / 3) if labels == "thirds" else (0.5,))
    cut = {
        name: _cut(ratings.astype(np.float64), labels, edges) for name, ratings in values.items()
    }
    return f"{labels}: {LABEL_RULES[labels]}", cut


def _cut(
    ratings: npt.NDArray[np.float64], rule: str, edges: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    if rule in _ROUNDED:
        return rating_classes(ratings, _ROUNDED[rule])
    if rule in ("median", "thirds"):
        return np.searchsorted(edges, ratings, side="left").astype(np.int64)
    classes = (ratings >= 0).astype(np.int64)
    return np.where(ratings == 0, -1, classes) if rule == "non0" else classes


def _groups(samples: Samples, rows: npt.NDArray[np.intp]) -> tuple[str, ...] | None:
    """Groups of the data, else the video in MMSA's ``video$_$clip``, else none."""
    if samples.groups is not None:
        return tuple(samples.groups[row] for row in rows)
    if all("$_$" in name for name in samples.ids):
        return tuple(samples.ids[row].split("$_$")[0] for row in rows)
    return None
