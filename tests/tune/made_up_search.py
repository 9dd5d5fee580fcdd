"""Studies whose trials cost nothing: a formula in place of a training."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import optuna

from mimrl.settings import load
from mimrl.tune import study as studies
from mimrl.tune.ledger import COMPLETE, PRUNED, REFUSED
from mimrl.tune.space import build_space
from mimrl.tune.storage import open_storage
from mimrl.tune.study import Plan, suggested
from mimrl.tune.trials import Result
from mimrl.tune.work import Worker

SPACE = {
    "training.clip_at": {"low": 0.0001, "high": 1.0},
    "training.text_rate": {"low": 0.0, "high": 1.0},
    "training.batch_size": {"low": 10, "high": 99},
    "training.clip": ["value", "norm"],
}


def plan(*overrides: str, seeds: tuple[int, ...] = (0,), space=SPACE) -> Plan:
    return Plan(build_space(space, load(None, overrides)), seeds)


@dataclass
class Formula:
    """Stands in for :class:`mimrl.tune.trials.Trials`: 10 epochs that end at ``distance``."""

    plan: Plan
    folder: Path
    nap: float = 0.0
    epochs: int = 10
    refused: bool = False

    def distance(self, settings) -> float:
        """Mostly of ``clip_at``, a little of ``text_rate``, not of the others."""
        training = settings.training
        return (training.clip_at - 0.3) ** 2 + 0.02 * training.text_rate

    def run(self, trial: optuna.Trial) -> Result:
        settings = self.plan.space.settings(suggested(trial))
        if self.refused:
            return Result(REFUSED, reason="nobody wants this")
        final = self.distance(settings)
        for epoch in range(1, self.epochs + 1):
            time.sleep(self.nap)
            trial.report(final + 1 / epoch, epoch)
            if epoch < self.epochs and trial.should_prune():
                return Result(PRUNED, None, epoch, f"others were better after epoch {epoch}")
        return Result(COMPLETE, final, self.epochs, "", {"0": final}, {"0": 7})


def worker(
    url: str | optuna.storages.BaseStorage,
    folder: Path,
    total: int,
    *,
    say=lambda line: None,
    **options,
) -> Worker:
    """A worker of the study "made-up" with the formula; ``url`` may be a storage in memory."""
    storage = open_storage(url) if isinstance(url, str) else url
    chosen = options.pop("plan", None) or plan()
    pruner, sampler = options.pop("pruner", "none"), options.pop("sampler", "tpe")
    timeout = options.pop("timeout", None)
    found = studies.create(storage, "made-up", chosen, sampler=sampler, pruner=pruner)
    trials = options.pop("trials", None) or Formula(chosen, folder / "trials", **options)
    return Worker(found, chosen, trials, total=total, timeout=timeout, say=say)
