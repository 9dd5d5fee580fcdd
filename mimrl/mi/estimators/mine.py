"""MINE with held-out rows: the estimator of Belghazi et al. (2018) behind the common interface."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from mimrl.errors import EstimationWarning
from mimrl.mi.critics import MLP
from mimrl.mi.early_stopping import (
    FitSettings,
    draw_batch,
    fit_with_early_stopping,
    split_rows,
)
from mimrl.mi.estimators.ceilings import ceiling_doubt
from mimrl.mi.estimators.critic_reading import tensors
from mimrl.mi.estimators.crossfitting import Learned, LogRatio, TrainedEstimator
from mimrl.mi.estimators.curves import Recorder, training_doubts
from mimrl.mi.estimators.features import Range
from mimrl.mi.estimators.interface import Floats
from mimrl.mi.estimators.preprocessing import Preprocessing
from mimrl.mi.estimators.samples import Pair
from mimrl.mi.mine import MINE, MineLoss
from mimrl.mi.objectives import Dv


@dataclass(frozen=True)
class StatisticsRatio(LogRatio):
    """What a trained MINE reads.

    Attributes:
        mine: in evaluation mode.
        ranges: of x and y, beyond which values are drawn in.
        seed: of the order whose shifts represent the product.
    """

    mine: MINE
    ranges: tuple[Range, Range]
    seed: int

    def pointwise(self, pair: Pair) -> Floats:
        """``(N,)`` T of each pair less the bound's normaliser; the mean is the bound."""
        seen = Pair(self.ranges[0](pair.x), self.ranges[1](pair.y))
        x, y = tensors(seen, self.mine)
        with torch.no_grad():
            values = self.mine.statistics(x, y).double()
        normaliser = float(values.mean()) - self.mine.mi(x, y, self.seed)
        read: Floats = (values - normaliser).cpu().numpy()
        return read


class Mine(TrainedEstimator):
    """MINE: a network of (x, y) against permuted y, without a start from a Gaussian.

    The bound is that of :class:`mimrl.mi.mine.MINE`, maximised with Adam; validation rows inside
    the fitting rows choose the step, and other rows are read.
    :class:`~mimrl.mi.estimators.variational.Variational` with ``bound="mine"`` has the same bound
    over all combinations of a batch, other critics and the Gaussian start.
    """

    smallest: ClassVar[int] = 60

    preprocessing: Preprocessing = Field(
        "normal_scores", description="map of each column, fitted on the fitting rows"
    )
    loss: MineLoss = Field("mine", description="bound and gradient")
    alpha: float | None = Field(
        None, gt=0, le=1, description="share of a new batch in the moving average of 'mine', 0.01"
    )
    hidden: int = Field(128, ge=1, description="hidden width of the statistics network")
    layers: int = Field(2, ge=0, description="hidden layers after the input layer")
    batch_size: int = Field(512, ge=2, description="rows a step")
    rate: float = Field(2e-3, gt=0, description="Adam's learning rate")
    weight_decay: float = Field(1e-2, ge=0, description="decoupled weight decay")
    steps: int = Field(2000, ge=1, description="most steps")
    check_every: int = Field(25, ge=1, description="steps between looks at the validation rows")
    patience: int = Field(10, ge=1, description="looks without improvement that end a training")
    validation: float = Field(0.2, gt=0, lt=1, description="share of fitting rows that validate")

    @model_validator(mode="after")
    def _only_options_with_an_effect(self) -> Mine:
        if self.alpha is not None and self.loss != "mine":
            raise ValueError(f"alpha has no effect with loss {self.loss!r}; leave it out")
        return self

    def learn(self, pair: Pair, seed: int, fold: int) -> Learned:
        """The network that validation chose."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            mine = self._mine(pair.x.shape[1] + pair.y.shape[1]).to(self.device)
        settings = self._fit_settings()
        x, y = tensors(pair, mine)
        generator = torch.Generator().manual_seed(seed)
        fitting, held = split_rows(len(x), settings, generator, x.device)
        value = partial(_held_out, x=x[held], y=y[held], seed=seed)
        recorder = Recorder(fold, value)

        def loss(mine: MINE) -> Tensor:
            rows = fitting[draw_batch(len(fitting), settings, generator, x.device)]
            found: Tensor = mine(x[rows], y[rows])
            recorder.train(-found)
            return found

        chosen = fit_with_early_stopping(
            mine,
            loss,
            lambda mine: torch.tensor(-value(mine)),
            settings,
            start=True,
            look=recorder.look,
        )
        ranges = Range.fit(pair.x), Range.fit(pair.y)
        doubts = training_doubts(recorder.curve, chosen, self.steps)
        return Learned(
            StatisticsRatio(mine.eval(), ranges, seed), recorder.curve, doubts, {"step": chosen}
        )

    def doubts(self, values: Floats, held: int) -> tuple[EstimationWarning, ...]:
        """Whether the reading is near log N, which product samples of N rows cannot exceed."""
        return ceiling_doubt(Dv(), held, float(values.mean()))

    def _mine(self, inputs: int) -> MINE:
        network = MLP(inputs, 1, hidden=self.hidden, layers=self.layers, activation="silu")
        torch.nn.init.zeros_(network[-1].weight)  # type: ignore[arg-type]
        if self.loss == "fdiv":  # whose optimum is 1 + log ratio
            torch.nn.init.ones_(network[-1].bias)  # type: ignore[arg-type]
        return MINE(network, self.loss, alpha=0.01 if self.alpha is None else self.alpha)

    def _fit_settings(self) -> FitSettings:
        return FitSettings(
            rate=self.rate,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            steps=self.steps,
            check_every=self.check_every,
            patience=self.patience,
            validation=self.validation,
        )


def _held_out(mine: MINE, x: Tensor, y: Tensor, seed: int) -> float:
    return mine.mi(x, y, seed)
