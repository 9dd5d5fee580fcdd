"""What a training needs of its data and its machine, looked at before anything is computed."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from itertools import count

import numpy as np

from mimrl.datasets.loading import batch_rows
from mimrl.datasets.prepare import Prepared, Samples
from mimrl.errors import ConfigError, TrainingWarning
from mimrl.mi.bank import KEPT_OF_A_CLASS
from mimrl.mi.neighbours import anchor_count
from mimrl.settings import Settings
from mimrl.settings.performance import PerformanceSettings
from mimrl.terms import LABEL, Term, quantities, terms
from mimrl.training.team import ALONE, Team

WORKERS_A_CORE = 2
"""Twice the cores: some workers wait for the disk while others compute."""
WORKERS_ANYWHERE = 4


def require_workers(settings: PerformanceSettings) -> None:
    """Raises where batches would be read by more processes than this machine can serve.

    Raises:
        ConfigError: ``loader_workers`` is above twice the cores that this process may use (and
            above four).
    """
    cores = _cores()
    most = max(WORKERS_A_CORE * cores, WORKERS_ANYWHERE)
    if settings.loader_workers > most:
        raise ConfigError(
            f"performance.loader_workers: expected at most {most} here, got "
            f"{settings.loader_workers}; each is a process with its own memory, and there are "
            f"{cores} cores for them: set a few, or 0"
        )


def require_shares(data: Prepared, team: Team) -> None:
    """Raises where a split cannot be shared out; the test split's turn comes when all is trained.

    Raises:
        ConfigError: a split has fewer samples than there are processes.
    """
    few = {name: len(split) for name, split in data.splits.items() if len(split) < team.size}
    if few:
        listed = ", ".join(f"{name} {size}" for name, size in few.items())
        raise ConfigError(
            f"{team.size} processes: expected {team.size} samples or more in each split, got "
            f"{listed}; start fewer processes"
        )


@dataclass(frozen=True)
class Draws:
    """Product samples that are drawn at a time from a bank, or from a batch beside it.

    Attributes:
        rows: joint samples, for which as many product samples are wanted.
        neighbours: of each anchor.
        classes: of the label, in the split; 0: no condition is a class.
        near: whether neighbours are sought by distance in any condition.
        given: the anchors are the rows themselves, not rows of the bank.
    """

    rows: int
    neighbours: int
    classes: int
    near: bool
    given: bool = False

    def fit(self, size: int, split: int) -> bool:
        """Whether a bank of ``size`` of ``split`` rows is large enough, whichever they are.

        The rules of :class:`mimrl.mi.bank.Bank`, for the number of samples that
        :meth:`mimrl.training.critics.Critics.samples` asks it for.
        """
        wanted = self.rows
        if not self.given:
            wanted = min(wanted, max(size * self.neighbours // (self.neighbours + 1), 1))
        anchors = anchor_count(wanted, self.neighbours)
        if self.near and size - anchors < self.neighbours:
            return False
        if self.given:
            return size == split or size >= KEPT_OF_A_CLASS * self.classes
        return not self.classes or size - min(self.classes, size) >= anchors

    def least(self, size: int, split: int) -> int | None:
        """Rows from ``size`` on that are enough; None: all of the split are too few."""
        enough = (rows for rows in count(size) if rows > split or self.fit(rows, split))
        found = next(enough)
        return None if found > split else found


def require_banks(settings: Settings, data: Prepared, team: Team = ALONE) -> None:
    """Raises where product samples could not be drawn, in training or for the controls after it.

    Raises:
        ConfigError: ``performance.bank_size``, or a split itself, is too small for them.

    Warns:
        TrainingWarning: a setting of the bank in a run that has none, or draws nothing from it.
    """
    training = settings.training
    table = [term for term in terms(settings.data.modalities) if term.given is not None]
    if training.stage1_passes:
        _warn_of_idle_settings(settings, table)
    if not training.stage1_passes or not table:
        return
    made = _Drawing(settings, data, (training.stage1_batch_size or training.batch_size) * team.size)
    train, cap = data.splits["train"], settings.performance.bank_size
    if training.warmup_epochs < training.epochs and settings.critics.update == "epoch":
        _require(made.draws(train, table), train, "train", cap)
        _require(made.draws(data.splits["valid"], table), data.splits["valid"], "valid")
        _require_batches(made, team)
    if training.controls:  # with one neighbour
        for name, split in data.splits.items():
            rows = len(split) if name == "valid" else None
            _require(made.draws(split, table, rows=rows, neighbours=1), split, name)


def _warn_of_idle_settings(settings: Settings, table: list[Term]) -> None:
    """Not refused: a search varies the warm-up, and a trial run may be a short one."""
    epochs, warmup = settings.training.epochs, settings.training.warmup_epochs
    names = ["bank_size", "bank_dtype"]
    if warmup >= epochs:
        why = f"training.warmup_epochs={warmup} of training.epochs={epochs} leaves no critics"
    elif not table:
        names, why = ["bank_size"], "one modality has no term that draws product samples"
    else:
        return
    fields = PerformanceSettings.model_fields
    idle = [n for n in names if getattr(settings.performance, n) != fields[n].default]
    for name in idle:
        warnings.warn(f"performance.{name} has no effect: {why}", TrainingWarning, stacklevel=3)


@dataclass(frozen=True)
class _Drawing:
    """What a run draws.

    Attributes:
        settings: of the run.
        data: its splits.
        stage1: samples a step of stage 1, all processes together.
    """

    settings: Settings
    data: Prepared
    stage1: int

    def draws(
        self,
        split: Samples,
        table: list[Term],
        *,
        rows: int | None = None,
        neighbours: int | None = None,
        given: bool = False,
    ) -> Draws:
        """Those of a split for the terms of ``table``; ``rows`` None: batches of stage 1."""
        discrete = self.data.num_classes > 1
        by_class = discrete and any(term.given == LABEL for term in table)
        return Draws(
            rows=rows or _largest_chunk(len(split), self.stage1),
            neighbours=neighbours or self.settings.critics.conditional.neighbours,
            classes=len(np.unique(split.labels)) if by_class else 0,
            near=not discrete or any(term.given != LABEL for term in table),
            given=given,
        )


def _require_batches(made: _Drawing, team: Team) -> None:
    """Stage 2 with anchors from its batches."""
    settings, data = made.settings, made.data
    steering, train = _steering(settings), data.splits["train"]
    if not steering or settings.critics.conditional.anchors != "batch":
        return
    sizes = batch_rows(
        np.zeros(len(train)),
        settings.training.batch_size,
        generator=None,
        bucketing=False,
        world=team.size,
    )
    draws = made.draws(train, steering, rows=max(map(len, sizes)), given=True)
    _require_company(draws, data, train)
    _require(draws, train, "train", settings.performance.bank_size)


def _require(draws: Draws, split: Samples, name: str, cap: int | None = None) -> None:
    size = len(split) if cap is None else min(cap, len(split))
    if draws.fit(size, len(split)):
        return
    least = draws.least(size, len(split))
    needs = (
        f"product samples for batches of {draws.rows}, {draws.neighbours} neighbours an anchor"
        f"{f' and {draws.classes} classes' if draws.classes else ''}"
    )
    fewer = "a smaller batch size or fewer critics.conditional.neighbours"
    if size < len(split) and least is not None:
        raise ConfigError(
            f"performance.bank_size: expected {least} or more, or null ({needs}), got {size}; set "
            f"it so, or take {fewer}"
        )
    raise ConfigError(
        f"the split {name} is too small: {len(split)} samples do not give {needs}; give it more "
        f"samples, or take {fewer}"
    )


def _require_company(draws: Draws, data: Prepared, train: Samples) -> None:
    """Each sample of a batch needs another one of its class."""
    if not draws.classes:
        return
    values, sizes = np.unique(train.labels, return_counts=True)
    single = [data.class_names[int(value)] for value in values[sizes < KEPT_OF_A_CLASS]]
    if single:
        raise ConfigError(
            f"critics.conditional.anchors=batch: expected {KEPT_OF_A_CLASS} training samples or "
            f"more of each class, got one of {', '.join(single)}; leave the class out, or set "
            "anchors=bank"
        )


def _steering(settings: Settings) -> list[Term]:
    """Conditional terms that enter the stage-2 loss."""
    weights = settings.quantity_weights
    wanted = {
        part for q in quantities(settings.data.modalities) if weights[q.name] for part in q.parts
    }
    return [t for t in terms(settings.data.modalities) if t.given is not None and t.name in wanted]


def _largest_chunk(rows: int, size: int) -> int:
    """As :func:`mimrl.training.critics.even_chunks` cuts a split."""
    return math.ceil(rows / max(1, round(rows / size)))


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # no Linux
        return os.cpu_count() or 1
