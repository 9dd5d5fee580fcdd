"""One trial: settings from the study, one training a seed, validation alone.

The test split is not read: the corpus loses it before anything is made of it, and the trainer is
never given one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
import torch

from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.features import TEST, VALID
from mimrl.datasets.prepare import Prepared, prepare
from mimrl.errors import ConfigError, DataError, NonFiniteError
from mimrl.settings import Settings, dump
from mimrl.training.folder import SETTINGS
from mimrl.training.precision import require_usable
from mimrl.training.requirements import require_workers
from mimrl.training.run import build_trainer, choose_device, threads
from mimrl.training.tracking import EVENTS, write_text
from mimrl.tune.ledger import COMPLETE, DIVERGED, FOLDER, PRUNED, REFUSED, RUNNING, Row
from mimrl.tune.study import Plan, suggested

CHECKPOINTS = "*.safetensors"


@dataclass(frozen=True)
class Result:
    """How one trial ended.

    Attributes:
        outcome: ``complete``, ``pruned``, ``refused`` or ``diverged``.
        value: mean over seeds of the best validation value; None unless complete.
        epochs: epochs trained, over all seeds.
        reason: why it did not complete.
        scores: seed -> best validation value so far.
        chosen: seed -> the epoch of it.
    """

    outcome: str
    value: float | None = None
    epochs: int = 0
    reason: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    chosen: Mapping[str, int] = field(default_factory=dict)


class Trials:
    """Runs trials of a plan, one after another, on data that are prepared once.

    Args:
        plan: what is searched.
        folder: trials are kept in folders of their number in here.
        progress: show a bar, when standard error is a terminal.
    """

    def __init__(self, plan: Plan, folder: Path, *, progress: bool = False) -> None:
        self.plan, self.folder, self.progress = plan, folder, progress
        self.device = choose_device(plan.settings.device)
        self._key: str | None = None
        self._data: Prepared | None = None

    def check(self) -> None:
        """Prepares the data, so that what is wrong with them is said before the first trial.

        Raises:
            ConfigError: this machine lacks what ``settings.performance`` asks for.
            DataError: the data cannot be used.
        """
        require_usable(self.plan.settings.performance, self.device)
        require_workers(self.plan.settings.performance)
        self._prepared(self.plan.settings)

    def run(self, trial: optuna.Trial) -> Result:
        """Trains once a seed.

        Combinations that the settings' rules, the data or the device's memory refuse, and losses
        that become NaN, are results; anything else is an error of the search: so are data that
        cannot be read any more, for the settings are not to blame.
        """
        epochs = _Epochs(trial, self.plan)
        try:
            settings = self.plan.space.settings(suggested(trial))
            data = self._prepared(settings)
        except (ConfigError, DataError) as error:
            return epochs.result(REFUSED, _one_line(error))
        try:
            for seed in self.plan.seeds:
                self._train(settings.model_copy(update={"seed": seed}), data, trial, epochs)
        except optuna.TrialPruned as stopped:
            return epochs.result(PRUNED, str(stopped))
        except ConfigError as error:
            return epochs.result(REFUSED, _one_line(error))
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            return epochs.result(
                REFUSED, f"the device's memory does not suffice: {_one_line(error)}"
            )
        except NonFiniteError as error:
            return epochs.result(DIVERGED, _one_line(error))
        return epochs.ended()

    def _train(
        self, settings: Settings, data: Prepared, trial: optuna.Trial, epochs: _Epochs
    ) -> None:
        folder = self.folder / trial_name(trial.number) / f"seed{settings.seed}"
        folder.mkdir(parents=True, exist_ok=True)
        trial.set_user_attr(FOLDER, str(folder.parent))
        settings = with_cache(settings, self.folder.parent / "hidden")
        write_text(folder / SETTINGS, dump(settings))
        with threads(settings.threads):
            trainer = build_trainer(settings, data, folder, self.device)

            def watch(record: Mapping[str, Any]) -> None:
                epochs.add(settings.seed, trainer.selection.score, trainer.selection.epoch)

            epochs.start()
            trainer.fit(progress=self.progress, on_epoch=watch)

    def _prepared(self, settings: Settings) -> Prepared:
        """Train and valid; made anew only where what they depend on has changed."""
        text = settings.model.encoders.get("text")
        key = json.dumps(
            [
                settings.data.model_dump(mode="json"),
                text.model_dump(mode="json", include={"kind", "source", "max_tokens"})
                if text is not None
                else None,
                settings.training.loss.kind == "bce",  # refused where there are not two classes
            ]
        )
        if self._data is None or key != self._key:
            self._key, self._data = None, None  # never two of them in memory
            self._data = prepare_without_test(settings)
            self._key = key
        return self._data


def prepare_without_test(settings: Settings) -> Prepared:
    """Train and valid of the settings' data.

    Preparation wants three splits and looks into each; valid stands in for test there, so that
    nothing of test is looked at, and is then left out.
    """
    corpus = open_corpus(settings.data)
    splits = {name: split for name, split in corpus.splits.items() if name != TEST}
    if TEST in corpus.splits and VALID in splits:
        splits[TEST] = splits[VALID]
    data = prepare(replace(corpus, splits=splits), settings)
    return replace(data, splits={n: s for n, s in data.splits.items() if n != TEST})


def with_cache(settings: Settings, folder: Path) -> Settings:
    """Settings that keep a frozen text encoder's outputs, so that one trial encodes for all.

    The outputs are the same with and without a cache. Unchanged where a cache is set, or where no
    text encoder is frozen.
    """
    encoders = settings.model.encoders.values()
    frozen = any(one.kind == "transformer" and one.train == "none" for one in encoders)
    if settings.performance.cache is not None or not frozen:
        return settings
    performance = settings.performance.model_copy(update={"cache": str(folder)})
    return settings.model_copy(update={"performance": performance})


def trial_name(number: int) -> str:
    """The folder of a trial."""
    return f"trial{number:04d}"


def remove_losers(folder: Path, rows: list[Row], best: Row | None) -> None:
    """Removes the checkpoints of trials that are over and not the best; their logs stay."""
    for row in rows:
        if row.outcome == RUNNING or (best is not None and row.number == best.number):
            continue
        for seed in (folder / trial_name(row.number)).glob("seed*"):
            shutil.rmtree(seed / EVENTS, ignore_errors=True)
            for file in seed.glob(CHECKPOINTS):
                file.unlink(missing_ok=True)


class _Epochs:
    """Reports epochs to the study, which may stop the trial; keeps what seeds ended with."""

    def __init__(self, trial: optuna.Trial, plan: Plan) -> None:
        self._trial, self._plan = trial, plan
        self._count = 0
        self._started = -1
        self._within = 0
        self._scores: dict[str, float] = {}
        self._chosen: dict[str, int] = {}

    def start(self) -> None:
        """Another seed begins."""
        self._started += 1
        self._within = 0

    def add(self, seed: int, score: float | None, chosen: int) -> None:
        """One epoch is over.

        The study sees the mean of the best values so far, of this seed and those before it.

        Raises:
            TrialPruned: others were better at this point.
        """
        self._count += 1
        self._within += 1
        value = float("nan") if score is None else score
        self._scores[str(seed)], self._chosen[str(seed)] = value, chosen
        step = self._started * self._plan.epochs + self._within
        self._trial.report(self._mean(), step)
        last = step == len(self._plan.seeds) * self._plan.epochs
        if not last and self._trial.should_prune():
            which = f" of seed {seed}" if len(self._plan.seeds) > 1 else ""
            raise optuna.TrialPruned(f"others were better after epoch {self._within}{which}")

    def result(self, outcome: str, reason: str = "", value: float | None = None) -> Result:
        """How the trial ended."""
        return Result(outcome, value, self._count, reason, self._scores, self._chosen)

    def ended(self) -> Result:
        """All seeds were trained to their end."""
        value = self._mean()
        if value != value:  # nan
            return self.result(DIVERGED, f"valid {self._plan.metric} is not a number")
        return self.result(COMPLETE, value=value)

    def _mean(self) -> float:
        return sum(self._scores.values()) / max(len(self._scores), 1)


def _one_line(error: Exception) -> str:
    lines = [line.strip(" -") for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith("'python train.py")]
    return "; ".join(told[1:] if len(told) > 1 and told[0].endswith(":") else told)
