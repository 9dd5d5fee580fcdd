"""One experiment of the DMI / MMG sweep: a task, settings, a training and what it reads."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mimrl.errors import CheckpointError, ConfigError
from mimrl.mi.mmg.bases import Preconditioning
from mimrl.mi.mmg.channel import LogisticLaw
from mimrl.mi.mmg.checkpoint import Saved, load, restore, save
from mimrl.mi.mmg.coordinates import Preprocess
from mimrl.mi.mmg.model import Fit, Plan, Reading, start
from mimrl.mi.mmg.training import Training, TrainingSettings
from mimrl.mi.tasks import Task, dmi_task

Floats = npt.NDArray[np.float64]

WRITE_EVERY = 30.0
"""Seconds between two checkpoints of a training."""

READING = ("test_num", "test_batch_size", "passes")
"""Settings that a finished training does not depend on."""


@dataclass(frozen=True)
class Experiment:
    """A task and all settings that a result depends on.

    Attributes:
        task_type: ``multinormal``, ``half_cube`` or ``spiral``.
        dim: columns of x and of y.
        strength: of the two coupled pairs.
        use_moe: two denoisers, of which the second takes over at ``snr_threshold``.
        snr_threshold: in log-SNR.
        use_ema: read the running average of the weights.
        ema_decay: of it.
        model_dim: hidden width.
        logsnr_loc: middle of the log-SNR law.
        logsnr_scale: its scale.
        logsnr_clip: its half width in scales.
        learning_rate: None for 1e-3 up to 5 dimensions, else 2e-3.
        weight_decay: decoupled.
        max_epochs: passes over the training samples; None for 500 up to 5 dimensions, else 750.
        batch_size: None for 128 up to 5 dimensions, else 256.
        mi_estimation_interval: steps between two looks at the validation samples.
        test_batch_size: test samples denoised at a time.
        train_sample_num: training samples, 5 % of which (at most 5,000) validate.
        test_num: test samples.
        passes: log-SNRs and noises for each test sample.
        preprocess: of the columns.
        preconditioning: what the networks add to.
        seed: of everything.

    Note:
        The published command writes the defaults it filled in for the first experiment back into
        its arguments, so that a sweep runs them all with those of the first dimension; here every
        experiment has its own.
    """

    task_type: str = "multinormal"
    dim: int = 3
    strength: float = 2000.0
    use_moe: bool = False
    snr_threshold: float = 5.0
    use_ema: bool = True
    ema_decay: float = 0.999
    model_dim: int = 64
    logsnr_loc: float = 2.0
    logsnr_scale: float = 3.0
    logsnr_clip: float = 4.0
    learning_rate: float | None = None
    weight_decay: float = 1e-5
    max_epochs: float | None = None
    batch_size: int | None = None
    mi_estimation_interval: int = 500
    test_batch_size: int = 1000
    train_sample_num: int = 100_000
    test_num: int = 10_000
    passes: int = 10
    preprocess: Preprocess = "rescale"
    preconditioning: Preconditioning = "linear"
    seed: int = 42

    def filled(self) -> Experiment:
        """The experiment with the defaults of its dimension, checked.

        Raises:
            ConfigError: a setting that cannot be used.
        """
        small = self.dim <= 5
        found = replace(
            self,
            learning_rate=(1e-3 if small else 2e-3)
            if self.learning_rate is None
            else self.learning_rate,
            max_epochs=(500 if small else 750) if self.max_epochs is None else self.max_epochs,
            batch_size=(128 if small else 256) if self.batch_size is None else self.batch_size,
        )
        found._check()
        return found

    def _check(self) -> None:
        least = {
            "train_sample_num": 50,
            "test_num": 2,
            "test_batch_size": 1,
            "passes": 1,
            "mi_estimation_interval": 1,
            "model_dim": 4,
            "seed": 0,
            "max_epochs": 0,
            "batch_size": 2,
        }
        low = [name for name, value in least.items() if not getattr(self, name) >= value]
        if low:
            text = ", ".join(f"{n} = {getattr(self, n)} (at least {least[n]})" for n in low)
            raise ConfigError(f"settings below what can be used: {text}")
        self.task()
        self.plan()

    @property
    def estimator(self) -> str:
        """Name in the results."""
        return "mmg_moe" if self.use_moe else "mmg"

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        fitting = self.train_sample_num - self.validation_num
        return math.ceil((self.max_epochs or 0) * fitting / (self.batch_size or 1))

    @property
    def validation_num(self) -> int:
        """Training samples that choose the step."""
        return max(2, min(5000, round(0.05 * self.train_sample_num)))

    def task(self) -> Task:
        """The task, with its truth."""
        return dmi_task(self.task_type, self.dim, self.strength)

    def plan(self) -> Plan:
        """How its model is made."""
        training = TrainingSettings(
            law=LogisticLaw(self.logsnr_loc, self.logsnr_scale, self.logsnr_clip),
            model_dim=self.model_dim,
            snr_threshold=self.snr_threshold if self.use_moe else None,
            ema_decay=self.ema_decay if self.use_ema else None,
            learning_rate=self.learning_rate or 0.0,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size or 0,
            steps=self.steps,
            check_every=self.mi_estimation_interval,
        )
        return Plan(training, self.preprocess, self.preconditioning, 0.05)

    def settings(self) -> dict[str, Any]:
        """All settings, JSON types."""
        return asdict(self)

    def trained_by(self) -> dict[str, Any]:
        """The settings that say which training this is, however long."""
        left_out = {*READING, "max_epochs"}
        return {name: value for name, value in self.settings().items() if name not in left_out}

    def checkpoint(self, folder: Path) -> Path:
        """Its file: the same for more epochs, another for any other change of the training."""
        text = json.dumps(self.trained_by(), sort_keys=True)
        mark = hashlib.sha256(text.encode()).hexdigest()[:10]
        name = f"{self.task_type}-{self.dim}-{self.strength:g}-{self.estimator}-{mark}"
        return folder / f"{name}.safetensors"


def run_experiment(
    experiment: Experiment,
    *,
    device: str = "cpu",
    checkpoints: Path | None = None,
    load_checkpoint: bool = False,
    progress: Callable[[Training], None] | None = None,
) -> dict[str, Any]:
    """Trains and reads.

    Args:
        experiment: filled.
        device: PyTorch device.
        checkpoints: folder of checkpoints, or None to write none. A training of the same length
            that was interrupted is gone on with.
        load_checkpoint: start from the checkpoint, which must exist: a finished one is read, or
            trained on when more epochs are asked for.
        progress: called after every look at the validation samples.

    Returns:
        The result, JSON types: ``task``, ``gt_mi``, ``mi_estimate``, ``mi_estimate_orthogonal``,
        ``estimator``, the settings, and what else is known.

    Raises:
        MissingFileError: no checkpoint where one must be.
        CheckpointError: a damaged checkpoint, or one that was trained for longer.
        NonFiniteError: the training failed.
    """
    begin = time.perf_counter()
    path = experiment.checkpoint(checkpoints) if checkpoints is not None else None
    fit = _start(experiment, device, path, load_checkpoint)
    _train(fit, path, experiment, progress)
    x, y = _sample(experiment, 1, experiment.test_num)
    readings = fit.model().readings(
        x,
        y,
        passes=experiment.passes,
        seed=experiment.seed,
        chunk=experiment.test_batch_size,
    )
    law = fit.training.settings.law
    return {
        "task": experiment.task().name,
        "gt_mi": experiment.task().mutual_information,
        **_described(readings),
        "estimator": experiment.estimator,
        "logsnr_range": [law.low, law.high],
        "steps": fit.training.step,
        "chosen_step": fit.training.chosen.step,
        "seconds": round(time.perf_counter() - begin, 1),
        "device": device,
        "torch": torch.__version__,
        "settings": experiment.settings(),
    }


def _sample(experiment: Experiment, part: int, count: int) -> tuple[Floats, Floats]:
    """Training (0) or test (1) samples, each from a generator of their own."""
    return experiment.task().sample(count, np.random.default_rng([experiment.seed, part]))


def _start(experiment: Experiment, device: str, path: Path | None, must_exist: bool) -> Fit:
    """The training at its first step, or where a checkpoint left it."""
    saved = _saved(path, experiment, must_exist)
    x, y = _sample(experiment, 0, experiment.train_sample_num)
    fit = start(
        x,
        y,
        experiment.plan(),
        seed=experiment.seed,
        device=device,
        coordinates=saved.coordinates if saved else None,
    )
    if saved is not None and path is not None:
        restore(fit.training, saved, path)
    return fit


def _saved(path: Path | None, experiment: Experiment, must_exist: bool) -> Saved | None:
    if path is None:
        if must_exist:
            raise ConfigError("a checkpoint can be loaded only from a folder of checkpoints")
        return None
    if not must_exist and not path.exists():
        return None
    saved = load(path)
    if dict(saved.settings) != experiment.trained_by():
        raise CheckpointError(
            f"{path} was written with other settings than its name says; remove it and train again"
        )
    if must_exist and saved.step > experiment.steps:
        raise CheckpointError(
            f"{path} was trained for {saved.step} steps, and {experiment.max_epochs:g} epochs are "
            f"{experiment.steps}; ask for as many epochs or more"
        )
    interrupted = saved.step < saved.steps == experiment.steps
    return saved if must_exist or interrupted else None


def _train(
    fit: Fit,
    path: Path | None,
    experiment: Experiment,
    progress: Callable[[Training], None] | None,
) -> None:
    written = time.monotonic()

    def look(training: Training) -> None:
        nonlocal written
        if path is not None and (training.ended or time.monotonic() - written > WRITE_EVERY):
            save(path, training, fit.coordinates, experiment.trained_by())
            written = time.monotonic()
        if progress is not None:
            progress(training)

    fit.training.run(look)


def _described(readings: Mapping[Any, Reading]) -> dict[str, Any]:
    plain, orthogonal = readings["plain"], readings["orthogonal"]
    adaptive = readings["adaptive"]
    return {
        "mi_estimate": plain.value,
        "mi_estimate_orthogonal": orthogonal.value,
        "mi_estimate_adaptive": adaptive.value,
        "mi_estimate_range": plain.cut,
        "mi_estimate_orthogonal_range": orthogonal.cut,
        "standard_error": plain.standard_error,
        "standard_error_orthogonal": orthogonal.standard_error,
        "standard_error_adaptive": adaptive.standard_error,
    }
