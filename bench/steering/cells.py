"""One training of a study: what tells it apart, its settings, what is left when it has ended."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.planted import truth
from mimrl.datasets.prepare import Prepared, prepare
from mimrl.settings import Settings, load
from mimrl.training import checkpoint
from mimrl.training.checkpoint import Loaded
from mimrl.training.inference import Features, encode
from mimrl.training.objectives import probabilities
from mimrl.training.run import train
from mimrl.training.scoring import score
from mimrl.training.tracking import read_log

ROOT = Path(__file__).parents[2]
HELD_OUT = ("valid", "test")
ENCODED = 256  # samples that are encoded at a time
DIGITS = 4
REGRESSION = ("data.target=regression", "training.loss=mae", "training.metric_rules=plain")
QUICK = (
    "data.planted.train_size=64",
    "data.planted.valid_size=48",
    "data.planted.test_size=48",
    "training.epochs=3",
    "training.batch_size=32",
    "model.width=8",
    "model.fusion.sizes=[[2,3,8]]",
    "critics.hidden=8",
    "critics.embedding=8",
    "critics.conditional.hidden=8",
)
"""Settings so small that a test can train with them; what comes out means nothing."""


Key = Mapping[str, str | int | float]
"""What tells a training from the others of its study."""


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        key: what tells it apart from the others of its study; stands in its line.
        config: name of a file in configs/.
        overrides: ``key=value`` on top of it; later ones win.
        seed: of the data and of the training.
    """

    key: Key
    config: str
    overrides: tuple[str, ...]
    seed: int

    @property
    def identity(self) -> str:
        """The same for equal keys, also after a detour through JSON."""
        return identity(self.key)

    @property
    def folder(self) -> str:
        """A name for the folder of its training."""
        parts = (f"{name}_{value}" for name, value in sorted(self.key.items()))
        return re.sub(r"[^A-Za-z0-9.+_-]", "_", "-".join(parts))

    def settings(self, output: Path) -> Settings:
        """The settings; the model of the last epoch is kept beside the chosen one."""
        own = (
            f"output={output}",
            f"seed={self.seed}",
            f"data.planted.seed={self.seed}",
            "name=run",
            "device=cpu",
            "threads=1",
            "training.controls=0",
        )
        path = ROOT / "configs" / f"{self.config}.yaml"
        epochs = load(path, (*self.overrides, *own)).training.epochs
        return load(path, (*self.overrides, *own, f"training.keep_epochs=[{epochs}]"))


def identity(key: Mapping[str, Any]) -> str:
    """A text that is the same for equal keys."""
    return json.dumps(dict(key), sort_keys=True)


@dataclass(frozen=True)
class Finished:
    """A training that has ended.

    Attributes:
        settings: of the training.
        folder: holds its files.
    """

    settings: Settings
    folder: Path

    @cached_property
    def data(self) -> Prepared:
        """Its three splits."""
        return prepare(open_corpus(self.settings.data), self.settings)

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        """One record an epoch."""
        return read_log(self.folder)

    @cached_property
    def best(self) -> Loaded:
        """The model of the epoch that validation chose."""
        return checkpoint.load_model(self.folder)

    @cached_property
    def last(self) -> Loaded:
        """The model of the last epoch."""
        name = checkpoint.KEPT.format(self.settings.training.epochs)
        return checkpoint.load_model(self.folder / name)

    @cached_property
    def best_features(self) -> dict[str, Features]:
        """Split -> what the chosen model says."""
        return self._features(self.best)

    @cached_property
    def last_features(self) -> dict[str, Features]:
        """Split -> what the model of the last epoch says."""
        return self._features(self.last)

    def _features(self, loaded: Loaded) -> dict[str, Features]:
        return {
            name: encode(loaded.model, samples, batch_size=ENCODED)
            for name, samples in self.data.splits.items()
        }

    def metrics(self) -> dict[str, Any]:
        """Metrics of both models on the held-out splits; of classes also on labels before flips."""
        found: dict[str, Any] = {"epoch": self.best.epoch}
        for name, features in (("chosen", self.best_features), ("last", self.last_features)):
            found[name] = {split: self._scores(split, features[split]) for split in HELD_OUT}
        return found

    def _scores(self, split: str, features: Features) -> dict[str, float]:
        found = dict(score(self.settings, features))
        if self.settings.task == "classification":
            known = truth(self.settings.data.planted, self.settings.task).draws[split]
            clean = torch.from_numpy(known.clean_labels).long()
            chosen = probabilities(features.prediction).argmax(dim=1)
            found["clean"] = float((chosen == clean).double().mean())
        return found


def finished(cell: Cell, folder: Path) -> Finished:
    """Trains a cell in ``folder``."""
    settings = cell.settings(folder)
    result = train(settings, progress=False)
    return Finished(settings, result.folder)


def rounded(value: Any) -> Any:
    """Nested numbers with :data:`DIGITS` digits, for short lines; None for nan and infinity."""
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return value
