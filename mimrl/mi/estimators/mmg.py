"""MMG: mutual information as the gap between denoising with and without y."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from mimrl.errors import EstimationWarning, UndertrainedWarning
from mimrl.mi.estimators.crossfitting import Learned, LogRatio, TrainedEstimator
from mimrl.mi.estimators.interface import CurvePoint, Floats
from mimrl.mi.estimators.preprocessing import Preprocessing
from mimrl.mi.estimators.samples import Pair
from mimrl.mi.mmg.bases import Preconditioning
from mimrl.mi.mmg.channel import LogisticLaw
from mimrl.mi.mmg.model import Fit, Form, MmgModel, Plan, start
from mimrl.mi.mmg.training import Training, TrainingSettings

LATE = 0.02
"""Nats the validation loss may still have gained in the last tenth of a training."""


@dataclass(frozen=True)
class MmgRatio(LogRatio):
    """A fitted model in one form."""

    model: MmgModel
    form: Form
    passes: int
    seed: int

    def pointwise(self, pair: Pair) -> Floats:
        """``(N,)`` in nats; the average over noise and log-SNRs is sampled."""
        reading = self.model.read(
            pair.x, pair.y, self.form, passes=self.passes, seed=self.seed, chunk=2000
        )
        return reading.pointwise


class Mmg(TrainedEstimator):
    """Gap between the denoising errors without and with y, integrated over the log-SNR.

    I(X; Y) is half the integral over the log-SNR of the gap between the squared errors of the
    optimal denoisers of x without and with y. What the best linear denoisers contribute is known
    in closed form, on held-out rows too; networks learn the rest. Pointwise values are those of
    the plain form or, for ``orthogonal``, squared differences of the denoisers.

    Source: Kong, Brekelmans, Ver Steeg, ICLR 2023 (pointwise identity); the published MMG / DMI
    code (one network for both branches, mixture of experts, orthogonal form).
    """

    preprocessing: Preprocessing = Field(
        "normal_scores", description="map of each column, fitted on the fitting rows"
    )
    experts: Literal["unified", "moe"] = Field(
        "unified", description="one denoiser, or one on each side of snr_threshold"
    )
    form: Form = Field("plain", description="of the integral: plain, orthogonal or adaptive")
    preconditioning: Preconditioning = Field(
        "linear", description="networks add to the best linear denoiser, or to nothing"
    )
    snr_threshold: float = Field(5.0, description="log-SNR at which the second expert takes over")
    model_dim: int = Field(64, ge=4, description="hidden width of a denoiser")
    ema_decay: float = Field(0.99, ge=0, lt=1, description="of the running average of weights")
    logsnr_loc: float = Field(2.0, description="middle of the log-SNR law")
    logsnr_scale: float = Field(3.0, gt=0, description="scale of the logistic log-SNR law")
    logsnr_clip: float = Field(4.0, gt=0, description="half width of the law in scales")
    learning_rate: float = Field(2e-3, gt=0, description="of Adam, falling along a cosine")
    weight_decay: float = Field(1e-5, ge=0, description="decoupled weight decay")
    batch_size: int = Field(512, ge=2, description="rows a step, half of them without y")
    steps: int = Field(1200, ge=0, description="optimiser steps a fold at most")
    patience: int = Field(6, ge=1, description="looks without improvement that end a training")
    validation: float = Field(0.15, gt=0, lt=1, description="share of rows that chooses the step")
    passes: int = Field(10, ge=1, description="log-SNRs and noises a row when read")

    def learn(self, pair: Pair, seed: int, fold: int) -> Learned:
        """See :class:`~mimrl.mi.estimators.crossfitting.TrainedEstimator`."""
        fit = start(pair.x, pair.y, self._plan(), seed=seed, device=self.device)
        fit.training.run()
        return Learned(
            MmgRatio(fit.model(), self.form, self.passes, seed),
            curve=_curve(fit, fold),
            warnings=_late(fit.training),
            information={
                "step": fit.training.chosen.step,
                "linear_information": fit.information,
                "validation_gain": -fit.training.chosen.loss,
            },
        )

    def _plan(self) -> Plan:
        law = LogisticLaw(self.logsnr_loc, self.logsnr_scale, self.logsnr_clip)
        training = TrainingSettings(
            law=law,
            model_dim=self.model_dim,
            snr_threshold=self.snr_threshold if self.experts == "moe" else None,
            ema_decay=self.ema_decay,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            steps=self.steps,
            check_every=max(1, min(100, self.steps // 10)),
            patience=self.patience,
        )
        return Plan(training, "rescale", self.preconditioning, self.validation)


def _curve(fit: Fit, fold: int) -> tuple[CurvePoint, ...]:
    known = fit.information
    return tuple(
        CurvePoint(fold, look.step, known + look.train, known + look.validation)
        for look in fit.training.looks
    )


def _late(training: Training) -> tuple[EstimationWarning, ...]:
    """A doubt where validation was still improving when the steps were over."""
    looks, steps = training.looks, training.settings.steps
    before = [look.loss for look in looks if look.step <= 0.9 * steps]
    if training.step < steps or not before or training.chosen.loss > min(before) - LATE:
        return ()
    return (
        UndertrainedWarning(
            f"MMG's denoisers still gained {min(before) - training.chosen.loss:.2g} nats in the "
            f"last tenth of {steps} steps; allow more steps"
        ),
    )
