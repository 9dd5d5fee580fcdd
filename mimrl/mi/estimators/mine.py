"""MINE with held-out rows: the estimator of Belghazi et al. (2018) behind the common interface."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from pydantic import Field, model_validator
from torch import Tensor

from mimrl.errors import EstimationWarning
from mimrl.mi.critics import MLP
from mimrl.mi.early_stopping import (
    draw_batch,
    fit_with_early_stopping,
    split_rows,
)
from mimrl.mi.estimators.ceilings import ceiling_doubt
from mimrl.mi.estimators.critic_reading import tensors
from mimrl.mi.estimators.crossfitting import Learned, LogRatio
from mimrl.mi.estimators.curves import Recorder, training_doubts
from mimrl.mi.estimators.features import Range
from mimrl.mi.estimators.interface import Floats
from mimrl.mi.estimators.samples import Pair
from mimrl.mi.estimators.stopped import (
    BatchSize,
    Hidden,
    Layers,
    Patience,
    Steps,
    StoppedEstimator,
    Validation,
    WeightDecay,
)
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


class Mine(StoppedEstimator):
    """MINE: a network of (x, y) against permuted y, without a start from a Gaussian.

    The bound is that of :class:`mimrl.mi.mine.MINE`, maximised with Adam; validation rows inside
    the fitting rows choose the step, and other rows are read.
    :class:`~mimrl.mi.estimators.variational.Variational` with ``bound="mine"`` has the same bound
    over all combinations of a batch, other critics and the Gaussian start.
    """

    loss: MineLoss = Field("mine", description="bound and gradient")
    alpha: float | None = Field(
        None, gt=0, le=1, description="share of a new batch in the moving average of 'mine', 0.01"
    )
    hidden: Hidden = 128
    layers: Layers = 2
    batch_size: BatchSize = 512
    weight_decay: WeightDecay = 1e-2
    steps: Steps = 2000
    patience: Patience = 10
    validation: Validation = 0.2

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
        settings = self.fit_settings(weight_decay=self.weight_decay, batch_size=self.batch_size)
        x, y = tensors(pair, mine)
        generator = torch.Generator().manual_seed(seed)
        fitting, held = split_rows(len(x), settings, generator, x.device)
        value = partial(_held_out, x=x[held], y=y[held], seed=seed)
        recorder = Recorder(fold, value)

        def loss(mine: MINE) -> Tensor:
            rows = draw_batch(fitting, settings, generator)
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


def _held_out(mine: MINE, x: Tensor, y: Tensor, seed: int) -> float:
    return mine.mi(x, y, seed)
