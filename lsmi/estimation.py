"""LSMI of any torch model from its data loaders, with the results that MINT's adaptation returns.

The published function (Dominhthai/MINT, after GeWu-Lab/LSMI_Estimator) reads features once a pass
of a shuffled loader, judges every sample by models that were fitted on it and assumes equal
classes. This one has its name and its keys, and the cross-fitted analysis of
:func:`lsmi.pipeline.analyse` behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lsmi.adapters import Adapter, default_adapter
from lsmi.decomposition import Atoms
from lsmi.extraction import extract, place_of
from lsmi.files import write_tensors
from lsmi.pipeline import analyse
from lsmi.results import ATOMS, Analysis, Pair, SplitReading
from lsmi.samples import NamedFeatures
from lsmi.settings import from_keywords
from mimrl.errors import ConfigError, EstimationError

SPLIT_OF = {"train": "train", "val": "valid"}  # key of the results -> split of the analysis
POINTWISE = ("i1", "i2", "i12", "h1", "h2")
SHOWN = 10  # label values listed in a message


def run_lsmi_estimation(
    model: Any,
    train_dataloader: Iterable[Any],
    val_dataloader: Iterable[Any],
    n_classes: int = 2,
    device: str | torch.device | None = None,
    discriminator_epochs: int = 50,
    entropy_epochs: int = 50,
    batch_size: int = 64,
    save_path: str | Path | None = None,
    *,
    adapter: Adapter = default_adapter,
    modalities: Sequence[str] | None = None,
    **settings: Any,
) -> dict[str, dict[str, Any]]:
    """Redundancy, uniqueness and synergy of two features of a model, sample by sample.

    Each loader is passed over once, with the model in evaluation mode and without gradients;
    afterwards the model is as it was. Training samples are cross-fitted, validation samples are
    judged by models fitted on train: no sample by one that saw it.

    Args:
        model: usually an ``nn.Module``; whatever ``adapter`` can use.
        train_dataloader: batches of the training samples. One that shuffles gives other folds,
            and so slightly other numbers, each time.
        val_dataloader: batches of samples that the model was not trained on.
        n_classes: distinct labels in both together.
        device: where model, classifiers and densities run; None: where the model is.
        discriminator_epochs: epochs of the classifiers, at most.
        entropy_epochs: epochs of the densities, at most.
        batch_size: samples a step of both.
        save_path: file for the results, readable by ``torch.load(path, weights_only=True)``.
        adapter: ``(model, batch)`` -> :class:`~lsmi.adapters.BatchFeatures`.
        modalities: the two features; None: the first two that the adapter gives.
        **settings: other fields of :class:`~lsmi.settings.AnalysisSettings`.

    Returns:
        ``train``, ``val`` and ``metadata``. The first two have, in nats and in the order in which
        the loader gave the samples,

        - ``R_mean, U1_mean, U2_mean, S_mean`` and, ``(N,)`` float64, ``r_sample, u1_sample,
          u2_sample, s_sample``: after the published adjustment, as published; the same with
          ``_raw`` behind: before it; ``shift``: what it added to r and s;
        - ``i1_sample, i2_sample, i12_sample, h1_sample, h2_sample``: pointwise information about
          the label and pointwise entropies;
        - ``intervals``: quantity (``r``, ``r_adjusted``, ``i12``, ...) -> (low, high);
          ``controls``: the same with shuffled labels -> (mean, smallest, largest), where made;
        - ``labels`` ``(N,)`` int64, ``ids``, ``label_entropy``, ``remarks``.

        ``metadata``: modalities, classes, prior, settings, version.

    Raises:
        EstimationError: features or labels that cannot be told or used; another number of classes.
        ShapeError: features that are not one vector a sample.
        NonFiniteError: NaN or infinite features.
        ConfigError: settings out of range; a device that is not there; a path that cannot be
            written.
    """
    chosen = from_keywords(
        discriminator_epochs=discriminator_epochs,
        entropy_epochs=entropy_epochs,
        batch_size=batch_size,
        device=str(place_of(model, device)),
        **settings,
    )
    if save_path is not None:
        _check_target(Path(save_path))
    splits = _features(model, train_dataloader, val_dataloader, adapter, modalities, device)
    _check_classes(splits, n_classes)
    pair = _pair(tuple(splits["train"].features))
    results = as_results(analyse(splits, pairs=[pair], settings=chosen), pair)
    if save_path is not None:
        write_tensors(save_path, results)
    return results


def as_results(analysis: Analysis, pair: Pair) -> dict[str, dict[str, Any]]:
    """One pair of an analysis of ``train`` and ``valid`` as tensors and plain containers.

    Returns:
        As :func:`run_lsmi_estimation`.
    """
    reading = analysis.pairs[pair]
    results = {key: _split_results(reading.splits[split]) for key, split in SPLIT_OF.items()}
    results["metadata"] = {
        "modalities": list(pair),
        "classes": [int(value) for value in analysis.classes],
        "prior": [float(value) for value in analysis.prior],
        "components": [int(value) for value in reading.components],
        "settings": _plain(analysis.settings.in_force()),
        "version": version("mimrl"),
    }
    return results


def _features(
    model: Any,
    train: Iterable[Any],
    val: Iterable[Any],
    adapter: Adapter,
    modalities: Sequence[str] | None,
    device: str | torch.device | None,
) -> dict[str, NamedFeatures]:
    """Split of the analysis -> the two features."""
    names = None if modalities is None else _pair(modalities)
    splits = {}
    for key, loader in (("train", train), ("val", val)):
        found = extract(
            model,
            loader,
            adapter=adapter,
            modalities=names,
            device=device,
            name=f"{key}_dataloader",
        )
        names = _pair(tuple(found.features))
        splits[SPLIT_OF[key]] = found
    return splits


def _pair(modalities: Sequence[str]) -> Pair:
    if isinstance(modalities, str) or len(modalities) != 2 or len(set(modalities)) != 2:
        raise ConfigError(
            f"modalities are {modalities!r}, expected the names of two different features"
        )
    return modalities[0], modalities[1]


def _check_target(path: Path) -> None:
    """Raises ConfigError before hours of work, not after them."""
    if path.is_dir():
        raise ConfigError(f"save_path {path} is a folder; expected a file such as {path}/lsmi.pt")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"save_path {path}: its folder cannot be made ({error})") from error


def _check_classes(splits: Mapping[str, NamedFeatures], n_classes: int) -> None:
    values = np.unique(np.concatenate([split.labels for split in splits.values()]))
    if len(values) != n_classes:
        more = " ..." if len(values) > SHOWN else ""
        raise EstimationError(
            f"n_classes is {n_classes}, but the labels have {len(values)} different values: "
            f"{', '.join(map(str, values[:SHOWN]))}{more}; set n_classes={len(values)}, or let an "
            "adapter give the labels that were meant"
        )


def _split_results(reading: SplitReading) -> dict[str, Any]:
    parts = reading.decomposition
    quantities = reading.quantities
    return {
        **_atoms(parts.adjusted, ""),
        **_atoms(parts.raw, "_raw"),
        "shift": float(parts.shift),
        **{f"{name}_sample": _tensor(getattr(parts.information, name)) for name in POINTWISE},
        "intervals": {name: (float(q.low), float(q.high)) for name, q in quantities.items()},
        "controls": {
            name: (float(q.control), float(q.control_low), float(q.control_high))
            for name, q in quantities.items()
            if q.control is not None and q.control_low is not None and q.control_high is not None
        },
        "labels": torch.from_numpy(np.array(reading.labels, dtype=np.int64)),
        "ids": [str(name) for name in reading.ids],
        "label_entropy": float(reading.label_entropy),
        "remarks": [str(remark) for remark in reading.remarks],
    }


def _atoms(atoms: Atoms, ending: str) -> dict[str, Any]:
    means = {f"{name.upper()}_mean{ending}": float(getattr(atoms.totals, name)) for name in ATOMS}
    samples = {f"{name}_sample{ending}": _tensor(getattr(atoms, name)) for name in ATOMS}
    return {**means, **samples}


def _tensor(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))


def _plain(value: Any) -> Any:
    """Containers and numbers that ``weights_only`` admits."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
