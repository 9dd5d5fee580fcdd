"""The training of denoisers, which can be written down at any step and gone on with."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mimrl.errors import ConfigError, NonFiniteError
from mimrl.mi.mmg.bases import Base
from mimrl.mi.mmg.channel import LogisticLaw, stratified
from mimrl.mi.mmg.denoisers import NetworkDenoisers
from mimrl.mi.mmg.network import Denoiser, Experts, RunningAverage
from mimrl.mi.mmg.reading import Corrections, corrections
from mimrl.mi.mmg.rows import Rows

WARM_UP = 100
LAST_RATE = 0.02


@dataclass(frozen=True)
class TrainingSettings:
    """How denoisers are built and trained.

    Attributes:
        law: of the log-SNR.
        model_dim: hidden width.
        snr_threshold: two experts, of which the second takes over at this log-SNR; None for one.
        ema_decay: of the running average that is read; None to read the weights themselves.
        learning_rate: Adam's, after 100 steps of warm-up; falls to 2 % along a cosine.
        weight_decay: decoupled.
        batch_size: rows a step, half of them without y.
        steps: in all.
        check_every: steps between two looks at the validation rows.
        patience: looks without improvement after which training ends; None for never.
        passes: log-SNRs for each validation row.
    """

    law: LogisticLaw
    model_dim: int = 64
    snr_threshold: float | None = None
    ema_decay: float | None = 0.999
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    batch_size: int = 256
    steps: int = 2000
    check_every: int = 100
    patience: int | None = None
    passes: int = 4

    def __post_init__(self) -> None:
        if self.batch_size < 2 or self.steps < 0 or self.check_every < 1 or self.passes < 1:
            raise ConfigError(
                f"batch_size {self.batch_size}, steps {self.steps}, check_every "
                f"{self.check_every}, passes {self.passes}; expected at least 2, 0, 1 and 1"
            )
        if not self.learning_rate > 0 or not self.weight_decay >= 0 or self.model_dim < 1:
            raise ConfigError(
                f"learning_rate {self.learning_rate}, weight_decay {self.weight_decay}, model_dim "
                f"{self.model_dim}; expected above 0, 0 or more, and 1 or more"
            )
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay = {self.ema_decay}; expected [0, 1), or none")
        if self.snr_threshold is not None and not (
            self.law.low < self.snr_threshold < self.law.high
        ):
            raise ConfigError(
                f"snr_threshold = {self.snr_threshold} leaves an expert without rows; expected "
                f"between {self.law.low:g} and {self.law.high:g}"
            )


@dataclass(frozen=True)
class Look:
    """The validation rows at one step.

    Attributes:
        step: optimiser steps done.
        loss: excess of both branches over the base, nats; lower is better.
        train: correction to the base's information on the batches since the last look, nats.
        validation: the same on validation rows.
    """

    step: int
    loss: float
    train: float
    validation: float


class Training:
    """Denoisers in training.

    Args:
        base: of the networks.
        rows: training samples, float32, on the device of the training.
        validation: other samples, which choose the step.
        settings: how.
        seed: of initial weights, batches and noise.
    """

    def __init__(
        self, base: Base, rows: Rows, validation: Rows, settings: TrainingSettings, seed: int
    ) -> None:
        self.rows, self.validation, self.settings, self.seed = rows, validation, settings, seed
        experts = initial(base.width, rows.x.shape[1], settings, seed).to(rows.x)
        self.network = NetworkDenoisers(base, experts)
        self.averages = [RunningAverage(m, settings.ema_decay or 0.0) for m in experts.members]
        self.optimizer = torch.optim.AdamW(
            experts.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.generator = torch.Generator().manual_seed(seed)
        self.step = 0
        self.looks: list[Look] = []
        self.best = copy.deepcopy(experts.state_dict())
        self.sums = torch.zeros(3, dtype=torch.float64)
        self.look()

    @property
    def read_weights(self) -> Experts:
        """The weights that are read: the running averages, or the weights themselves."""
        experts = self.network.experts
        if self.settings.ema_decay is None:
            return experts
        return Experts([average.module for average in self.averages], experts.threshold)

    @property
    def chosen(self) -> Look:
        """The look with the lowest loss, whose weights are the result."""
        return min(self.looks, key=lambda look: look.loss)

    @property
    def ended(self) -> bool:
        """Whether all steps are done, or validation has not improved for long."""
        patience = self.settings.patience
        if self.step >= self.settings.steps:
            return True
        return patience is not None and (
            self.step - self.chosen.step >= patience * self.settings.check_every
        )

    def run(self, progress: Callable[[Training], None] | None = None) -> NetworkDenoisers:
        """Trains to the end.

        Args:
            progress: called after every look.

        Returns:
            The denoisers of the step that validation chose.

        Raises:
            NonFiniteError: the loss became NaN or infinite.
        """
        while not self.ended:
            self.advance()
            if self.step % self.settings.check_every == 0 or self.step == self.settings.steps:
                self.look()
                if progress is not None:
                    progress(self)
        return self.result()

    def result(self) -> NetworkDenoisers:
        """The denoisers of the step that validation chose."""
        experts = copy.deepcopy(self.network.experts)
        experts.load_state_dict(self.best)
        return NetworkDenoisers(self.network.base, experts.eval().requires_grad_(False))

    def advance(self) -> None:
        """One step of the optimiser."""
        settings, rows = self.settings, self._batch()
        shown = torch.zeros(len(rows), 1, dtype=torch.bool, device=rows.x.device)
        shown[len(rows) // 2 :] = True
        logsnr = self._logsnrs(len(rows))
        weight = 0.5 * settings.law.weight(logsnr)
        noise = torch.randn(rows.x.shape, generator=self.generator).to(rows.x)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate(self.step, settings.steps)
        excess = self.network.branch_errors(rows, noise, logsnr[:, None], shown)
        loss = (weight * excess.own).mean()
        self.optimizer.zero_grad()
        loss.backward()
        if not bool(loss.isfinite()):
            raise NonFiniteError(
                f"the loss of the denoisers is {loss.item()} at step {self.step + 1}; lower the "
                "learning rate, or preprocess the data"
            )
        self.optimizer.step()
        self.step += 1
        for average in self.averages:
            average.update()
        gain = weight * (excess.own.detach() - excess.base)
        free, given = (gain[rows].mean() for rows in (~shown[:, 0], shown[:, 0]))
        self.sums += torch.stack([free, given, loss.new_ones(())]).cpu()

    def look(self) -> None:
        """Reads the validation rows, always with the same log-SNRs and noise."""
        found = self.read(self.read_weights)
        free, given, count = self.sums.tolist()
        train = (free - given) / count if count else float(found.plain.mean())
        look = Look(self.step, found.loss, train, float(found.plain.mean()))
        if not math.isfinite(look.loss):
            raise NonFiniteError(f"the validation loss is {look.loss} at step {self.step}")
        if not self.looks or look.loss < self.chosen.loss:
            self.best = copy.deepcopy(self.read_weights.state_dict())
        self.looks.append(look)
        self.sums.zero_()

    def read(self, experts: Experts) -> Corrections:
        """The corrections on validation rows."""
        return corrections(
            NetworkDenoisers(self.network.base, experts),
            self.validation,
            self.settings.law,
            passes=self.settings.passes,
            seed=self.seed,
        )

    def _batch(self) -> Rows:
        count = min(self.settings.batch_size, 2 * len(self.rows))
        chosen = torch.randint(len(self.rows), (count,), generator=self.generator)
        return self.rows.select(chosen.to(self.rows.x.device))

    def _logsnrs(self, count: int) -> Tensor:
        """Spread evenly in each branch."""
        half = count // 2
        shares = [stratified(part, 1, self.generator)[0] for part in (half, count - half)]
        return self.settings.law.quantile(torch.cat(shares)).to(self.rows.x)


def initial(width: int, dx: int, settings: TrainingSettings, seed: int) -> Experts:
    """Untrained experts.

    Args:
        width: features of the base.
        dx: columns of x.
        settings: width and number of experts.
        seed: of their weights.
    """
    count = 1 if settings.snr_threshold is None else 2
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        members = [Denoiser(width, dx, settings.model_dim, settings.law) for _ in range(count)]
    return Experts(members, settings.snr_threshold)


def rate(step: int, steps: int) -> float:
    """Share of the learning rate at a step, from 0: a warm-up, then a cosine down to 2 %."""
    warm = min(1.0, (step + 1) / WARM_UP)
    falling = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))
    return warm * (LAST_RATE + (1 - LAST_RATE) * falling)
