"""The Gaussian copula, and what two networks add to it: one setting for all kinds of data.

Why it works:

- Normal scores of every column (the nonparanormal of Liu, Lafferty, Wasserman 2009) take away what
  a monotone map did to it (uniform margins, half-cubes, asinh, modes), exactly and for nothing.
- The start is the log ratio of the Gaussian pair with the same canonical correlations, those that
  rows see which did not choose the directions. What its estimation still costs on other rows is
  known in expectation (Misra, Singh, Demchuk 2005) and given back (:func:`estimation_loss`).
- Two networks learn the rest on the symmetric InfoNCE loss, which contrasts all pairs of a batch
  and so has little variance (van den Oord, Li, Vinyals 2018): a smooth one with strong decoupled
  weight decay (Loshchilov, Hutter 2019) on the leading canonical coordinates and the length, and
  one with half-spaces (:class:`~mimrl.mi.estimators.staged_critics.ChannelCritic`) and little decay
  on all of them, for edges. Validation rows choose either, or the mean of the two, or neither: a
  network has to be better than the Gaussian by two standard errors.
- Rows that took no part in the fit are read with row and column means of the ratio balanced to
  one (:func:`~mimrl.mi.estimators.balanced.balanced`). DV's single normaliser is a mean of e^f
  over N^2 combinations of which a few far from the fitting rows can be most of the sum.

Where it does not:

- It is a held-out reading and low where the networks fall short: by 0.05 to 0.1 nats for
  heavy-tailed or curved dependence in five dimensions and more from 5,000 rows; the fewer rows, the
  lower. Dependence of less than about 0.02 nats that is not Gaussian is not seen.
- Beyond five columns the smooth network sees only directions in which linear dependence was found,
  two at least. Dependence elsewhere is left to the other network, which overfits early there.
- Nothing above log N is read, N the rows of a fold; near that it warns.

The settings were chosen while looking at ten or so of the 40 tasks of Czyz and others (2023), with
5,000 rows each; they are the same for all tasks.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mimrl.errors import CeilingWarning, EstimationError, EstimationWarning
from mimrl.mi.bounds import infonce_pointwise
from mimrl.mi.critics import Critic
from mimrl.mi.early_stopping import FitSettings, draw_batch, fit_with_early_stopping, split_rows
from mimrl.mi.estimators.balanced import BalancedRatio
from mimrl.mi.estimators.critic_reading import GROUP, groups, tensors
from mimrl.mi.estimators.crossfitting import Learned
from mimrl.mi.estimators.curves import Recorder, training_doubts
from mimrl.mi.estimators.features import Features
from mimrl.mi.estimators.gaussian import GaussianFit
from mimrl.mi.estimators.interface import CurvePoint, Floats
from mimrl.mi.estimators.samples import Pair
from mimrl.mi.estimators.staged_critics import ChannelCritic, LeadingCritic, MeanCritic
from mimrl.mi.estimators.started import StartedCritic
from mimrl.mi.estimators.stopped import (
    CheckEvery,
    Hidden,
    Layers,
    Patience,
    Rate,
    Steps,
    StoppedEstimator,
)

FEW_COLUMNS = 5
"""Up to so many columns the smooth network sees all of them."""

LIMIT = 12.0
"""Soft bound of a network's scores, in nats."""

MARGIN = 2.0
"""Standard errors by which validation rows have to prefer a network to the Gaussian alone.

Of all steps and networks the best on a few hundred rows is better than the start by chance, and
read on other rows it is worse.
"""

NEAR_CEILING = 0.9


class CopulaCritic(StoppedEstimator):
    """A Gaussian copula corrected by networks, read on held-out rows.

    See the module for why it works and where it does not. It is meant for continuous columns and
    some hundreds of rows or more.

    >>> CopulaCritic(folds=5).folds
    5
    """

    hidden: Hidden = 64
    layers: Layers = 1
    channels: int = Field(6, ge=1, description="half-spaces of the sharp network")
    smooth_decay: float = Field(0.3, ge=0, description="weight decay of the smooth network")
    sharp_decay: float = Field(0.01, ge=0, description="weight decay of the sharp network")
    batch_size: int = Field(256, ge=2, description="rows scored against each other in training")
    rate: Rate = 3e-3
    steps: Steps = 1200
    check_every: CheckEvery = 40
    patience: Patience = 5

    def fewest(self, *widths: int) -> int:
        """Ten rows a column, and 500: fewer do not train a network and hold rows out."""
        return max(500, 10 * sum(widths))

    def learn(self, pair: Pair, seed: int, fold: int) -> Learned:
        """The smooth network, the sharp one, or their mean, as validation has it, or none.

        Validation rows take no part in the coordinates either: directions that were chosen on all
        rows correlate on all of them, and validation would confirm what is chance.
        """
        generator = torch.Generator().manual_seed(seed)
        cpu = torch.device("cpu")
        fitting, held = split_rows(len(pair), self._settings(0.0), generator, cpu)
        start = _Start.of(pair.select(fitting.numpy()))
        critics = self._critics(start, seed)
        x, y = tensors(start.features(pair), critics[0])
        training = _Training(x, y, fitting.to(x.device), held.to(x.device), generator, fold)
        gaussian = copy.deepcopy(critics[0])
        trained = [
            self._trained(critic, decay, training)
            for critic, decay in zip(critics, (self.smooth_decay, self.sharp_decay), strict=True)
        ]
        kinds = {"smooth": trained[0], "sharp": trained[1], "mean": _mean_of(trained)}
        chosen = max(kinds, key=lambda kind: training.value(kinds[kind].critic))
        if not training.confirms(kinds[chosen].critic, gaussian):
            start = _Start.of(pair)
            chosen, kinds = "none", {"none": _Trained(self._critics(start, seed)[0], 0, ())}
        best = kinds[chosen]
        return Learned(
            BalancedRatio(best.critic.eval(), start.features, start.given_back),
            [point for part in trained for point in part.curve],
            training_doubts(best.curve, best.step, self.steps) if len(best.curve) else (),
            {"network": chosen, "step": best.step, "given_back": start.given_back},
        )

    def doubts(self, values: Floats, held: int) -> tuple[EstimationWarning, ...]:
        """Whether the reading is near its ceiling."""
        size = len(groups(held, GROUP)[0])
        estimate, ceiling = float(values.mean()), math.log(size)
        if estimate < NEAR_CEILING * ceiling:
            return ()
        return (
            CeilingWarning(
                f"the estimate, {estimate:.3g} nats, is near log {size} = {ceiling:.3g}, the most "
                f"that {size} held-out rows can show; the information may be larger. Take more "
                "samples"
            ),
        )

    def _critics(self, start: _Start, seed: int) -> tuple[Critic, Critic]:
        """The smooth one and the sharp one; both the Gaussian log ratio at the start."""
        widths, correlations = start.widths, start.correlations
        shape = {"hidden": self.hidden, "layers": self.layers}
        columns = tuple(leading(width - 1, len(correlations)) for width in widths)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            smooth = LeadingCritic(widths, (columns[0], columns[1]), **shape)
            sharp = ChannelCritic(
                *widths, **shape, embedding=max(1, self.hidden // 4), channels=self.channels
            )
        first, second = (StartedCritic(c, correlations, limit=LIMIT) for c in (smooth, sharp))
        return first.to(self.device), second.to(self.device)

    def _trained(self, critic: Critic, decay: float, training: _Training) -> _Trained:
        settings = self._settings(decay)
        values: list[float] = []
        recorder: Recorder[Critic] = Recorder(training.fold, lambda model: values[-1])
        x, y = training.x, training.y

        def loss(model: Critic) -> Tensor:
            rows = draw_batch(training.fitting, settings, training.generator)
            value = symmetric_infonce(model.scores(x[rows], y[rows])).mean()
            recorder.train(value)
            return -value

        def validation_loss(model: Critic) -> Tensor:
            values.append(training.value(model))
            return torch.tensor(-values[-1])

        step = fit_with_early_stopping(
            critic, loss, validation_loss, settings, start=True, look=recorder.look
        )
        return _Trained(critic, step, recorder.curve)

    def _settings(self, decay: float) -> FitSettings:
        return self.fit_settings(weight_decay=decay, batch_size=self.batch_size)


@dataclass(frozen=True)
class _Start:
    """The Gaussian part of some rows.

    Attributes:
        features: what networks see.
        correlations: ``(k,)`` of the leading coordinates.
        given_back: see :func:`estimation_loss`.
        widths: columns that networks see of x and of y.
    """

    features: Features
    correlations: Floats
    given_back: float
    widths: tuple[int, int]

    @classmethod
    def of(cls, pair: Pair) -> _Start:
        features = Features.fit(pair)
        correlations = significant(features.canonical.correlations, len(pair))
        given_back = estimation_loss(features.coordinates(pair), correlations)
        seen = features(pair)
        return cls(features, correlations, given_back, (seen.x.shape[1], seen.y.shape[1]))


@dataclass(frozen=True)
class _Training:
    """Rows as networks see them, and which of them fit and which validate."""

    x: Tensor
    y: Tensor
    fitting: Tensor
    held: Tensor
    generator: torch.Generator
    fold: int

    def value(self, critic: Critic) -> float:
        """Symmetric InfoNCE of the validation rows, in nats."""
        return float(self.terms(critic).mean())

    def confirms(self, critic: Critic, start: Critic) -> bool:
        """Whether the validation rows prefer a critic to the start by :data:`MARGIN`."""
        gain = self.terms(critic) - self.terms(start)
        return float(gain.mean()) > MARGIN * float(gain.std()) / math.sqrt(len(gain))

    @torch.no_grad()
    def terms(self, critic: Critic) -> Tensor:
        """``(V,)`` what each validation row adds to symmetric InfoNCE, in nats."""
        found = [
            symmetric_infonce(critic.scores(self.x[rows], self.y[rows]))
            for rows in (self.held[part] for part in groups(len(self.held), GROUP))
        ]
        return torch.cat(found)


@dataclass(frozen=True)
class _Trained:
    """A critic at the step that validation chose."""

    critic: Critic
    step: int
    curve: Sequence[CurvePoint]


def symmetric_infonce(scores: Tensor) -> Tensor:
    """``(B,)`` terms of InfoNCE, those over y given x and those over x given y averaged, in nats.

    Args:
        scores: ``(B, B)`` float, B >= 2, pairs on the diagonal.

    Raises:
        ShapeError: ``scores`` is not square.
        EstimationError: B < 2.
    """
    return 0.5 * (infonce_pointwise(scores) + infonce_pointwise(scores.T))


def significant(correlations: Floats, rows: int) -> Floats:
    """Leading held-out correlations of more than two standard errors of chance, 2 / sqrt N.

    Args:
        correlations: ``(k,)``, strongest first as the fitting rows have them.
        rows: N.
    """
    weak = np.flatnonzero(correlations <= 2 / math.sqrt(rows))
    return correlations[: weak[0]] if len(weak) else correlations


def leading(columns: int, count: int) -> list[int]:
    """Numbers of the columns that the smooth network sees; the radius follows the coordinates.

    Args:
        columns: canonical coordinates.
        count: how many of them have a correlation.
    """
    seen = columns if columns <= FEW_COLUMNS else min(columns, max(count, 2))
    return [*range(seen), columns]


def estimation_loss(pair: Pair, correlations: Floats) -> float:
    """What the Gaussian part reads too little on other rows for having been estimated, in nats.

    The information of a Gaussian fit without its bias (exact for Gaussian samples, see
    :func:`~mimrl.mi.estimators.gaussian.information_bias`) less that of the correlations that
    directions chosen on some rows have on others. In 25 + 25 dimensions and 3,333 rows it is 0.02
    nats; without correlations its expectation is 0.

    Args:
        pair: fitting rows in canonical coordinates.
        correlations: ``(k,)``, held-out ones.

    Returns:
        Nats; 0 where no Gaussian can be fitted.
    """
    try:
        fit = GaussianFit.of([pair.x, pair.y])
    except EstimationError:
        return 0.0
    whole = float(fit.pointwise(pair.x, pair.y).mean()) - fit.bias()
    return whole + 0.5 * float(np.log1p(-(correlations**2)).sum())


def _mean_of(trained: Sequence[_Trained]) -> _Trained:
    """The mean critic; a curve of its own it has not."""
    critic = MeanCritic([part.critic for part in trained])
    return _Trained(critic, max(part.step for part in trained), ())
