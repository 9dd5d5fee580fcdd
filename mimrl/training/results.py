"""What a run ends with: the test split is read, once, and the results are written.

``metrics.json`` comes last and says that the run is complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from mimrl.datasets.prepare import Prepared
from mimrl.errors import CheckpointError
from mimrl.model.model import MIMRL
from mimrl.settings import Settings
from mimrl.training import checkpoint
from mimrl.training.controls import read_terms
from mimrl.training.costs import logged_seconds
from mimrl.training.curves import draw_curves
from mimrl.training.inference import Features, encode
from mimrl.training.missing import DEFINITION, MissingResult, evaluate_missing
from mimrl.training.missing_report import MISSING_PICTURE, MissingReport, draw_missing
from mimrl.training.objectives import probabilities
from mimrl.training.scoring import score, selection_metric
from mimrl.training.team import Team
from mimrl.training.tracking import read_log, write_json, write_text
from mimrl.training.trainer import ENCODED

METRICS = "metrics.json"
PREDICTIONS = "predictions.csv"
CURVES = "curves.png"
ALIVE = 0.01
HELD_OUT = ("valid", "test")


@dataclass(frozen=True)
class RunResult:
    """What one run ended with.

    Attributes:
        folder: ``runs/<name>/seed<k>``.
        seed: its seed.
        epoch: the epoch that validation chose; every metric is of this epoch.
        metrics: split (``valid``, ``test``) -> metric -> value.
    """

    folder: Path
    seed: int
    epoch: int
    metrics: Mapping[str, Mapping[str, float]]


def completed(folder: Path, settings: Settings) -> RunResult | None:
    """The result of a run that was complete before; None where it was not.

    Raises:
        CheckpointError: the file that says so is damaged.
    """
    if not (folder / METRICS).is_file():
        return None
    try:
        found = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        metrics = {
            split: {k: float("nan") if v is None else float(v) for k, v in found[split].items()}
            for split in HELD_OUT
        }
        return RunResult(folder, settings.seed, int(found["epoch"]), metrics)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder / METRICS} is damaged ({error!r}); remove it, and --resume writes it again"
        ) from error


def finish(
    settings: Settings,
    data: Prepared,
    folder: Path,
    device: torch.device,
    seconds: float,
    team: Team,
) -> RunResult:
    """Reads the test split, once, with the model that validation chose; writes the results.

    All processes have the features and the metrics; the first one writes.

    Args:
        settings: of the run.
        data: its splits, as the trainer had them.
        folder: holds the best model.
        device: where to compute.
        seconds: that this training took; what it went on from has its own in the log.
        team: the processes that trained together.
    """
    loaded = checkpoint.load_model(folder)
    model = loaded.model.to(device)
    size = settings.training.batch_size
    workers = settings.performance.loader_workers
    features = {
        name: encode(
            model,
            samples,
            batch_size=max(size, ENCODED),
            device=device,
            team=team,
            workers=workers,
        )
        for name, samples in data.splits.items()
    }
    metrics = {split: score(settings, features[split], f"split {split}") for split in HELD_OUT}
    result = RunResult(folder, settings.seed, loaded.epoch, metrics)
    missing = _missing(settings, model, data, device, team)
    if team.first:
        _Ended(settings, data, loaded, features, result, missing, seconds, team).write()
    team.wait()
    return result


def _missing(
    settings: Settings, model: MIMRL, data: Prepared, device: torch.device, team: Team
) -> dict[str, MissingResult]:
    """Held-out splits with modalities missing, where that is wanted; in all processes."""
    asked = settings.evaluation
    if not asked.missing:
        return {}
    return {
        split: evaluate_missing(
            settings,
            model,
            data.splits[split],
            rates=asked.missing_rates,
            draws=asked.missing_draws,
            seed=settings.seed,
            device=device,
            batch_size=max(settings.training.batch_size, ENCODED),
            team=team,
            workers=settings.performance.loader_workers,
        )
        for split in HELD_OUT
    }


def alive(features: Features) -> dict[str, float]:
    """Share of the dimensions of each modality's features that vary (deviation above 0.01)."""
    return {
        name: float((values.std(dim=0, correction=0) > ALIVE).float().mean())
        for name, values in features.named().items()
    }


@dataclass(frozen=True)
class _Ended:
    """A training that is over: what the first process reports of it."""

    settings: Settings
    data: Prepared
    loaded: checkpoint.Loaded
    features: Mapping[str, Features]
    result: RunResult
    missing: Mapping[str, MissingResult]
    seconds: float
    team: Team

    def write(self) -> None:
        """Writes predictions, curves and, last of all, the metrics."""
        folder = self.result.folder
        report = self._metrics()
        write_text(folder / PREDICTIONS, _predictions(self.settings, self.data, self.features))
        draw_curves(read_log(folder), folder / CURVES, chosen=self.loaded.epoch)
        if self.missing:
            splits = {split: (found,) for split, found in self.missing.items()}
            drawn = MissingReport(selection_metric(self.settings), splits)
            draw_missing(drawn, folder / MISSING_PICTURE)
        write_json(folder / METRICS, report)

    def _metrics(self) -> dict[str, Any]:
        settings, team = self.settings, self.team
        log = read_log(self.result.folder)
        return {
            "name": settings.name,
            "seed": settings.seed,
            "selected_by": f"valid {selection_metric(settings)}",
            "epoch": self.loaded.epoch,
            "epochs_run": len(log),
            **self.result.metrics,
            "samples": {name: len(samples) for name, samples in self.data.splits.items()},
            "alive": alive(self.features["test"]),
            "parameters": sum(p.numel() for p in self.loaded.model.parameters()),
            "seconds": round(max(self.seconds, logged_seconds(log)), 1),
            "processes": team.size,
            "global_batch_size": settings.training.batch_size * team.size,
            **self._terms(),
            **self._with_missing(),
        }

    def _with_missing(self) -> dict[str, Any]:
        """The metrics with modalities missing, where they are wanted."""
        if not self.missing:
            return {}
        found = {split: result.as_dict() for split, result in self.missing.items()}
        return {"missing": {"definition": DEFINITION, **found}}

    def _terms(self) -> dict[str, Any]:
        """Every term beside its shuffled controls, where both are wanted."""
        critics, controls = self.loaded.critics, self.settings.training.controls
        if critics is None or not controls:
            return {}
        classes = self.data.num_classes
        banks = {name: found.variables(classes) for name, found in self.features.items()}
        critics = critics.to(self.features["train"].fused.device)
        terms = read_terms(_as_one(self.settings, self.team), critics, banks, controls)
        return {"terms": {name: reading.as_dict() for name, reading in terms.items()}}


def _as_one(settings: Settings, team: Team) -> Settings:
    """Settings with which one process has the batches that the team had together."""
    training, size = settings.training, team.size
    stage1 = training.stage1_batch_size
    sizes = {
        "batch_size": training.batch_size * size,
        "stage1_batch_size": None if stage1 is None else stage1 * size,
    }
    return settings.model_copy(update={"training": training.model_copy(update=sizes)})


def _predictions(settings: Settings, data: Prepared, features: Mapping[str, Features]) -> str:
    """CSV of every held-out sample: split, id, label, prediction (and class probabilities)."""
    frames = []
    for split in HELD_OUT:
        found = features[split]
        columns: dict[str, Any] = {"split": split, "id": data.splits[split].ids}
        if settings.task == "regression":
            columns["label"] = found.labels.cpu().numpy()
            columns["prediction"] = found.prediction[:, 0].cpu().numpy()
        else:
            chance = probabilities(found.prediction).cpu().numpy()
            columns["label"] = [data.class_names[i] for i in found.labels.tolist()]
            columns["prediction"] = [data.class_names[i] for i in chance.argmax(axis=1)]
            for index, name in enumerate(data.class_names):
                columns[f"probability_{name}"] = chance[:, index]
        frames.append(pd.DataFrame(columns))
    return str(pd.concat(frames).to_csv(index=False))
