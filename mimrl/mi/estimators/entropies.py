"""I(X; Y) = h(Y) - h(Y | X) from two densities that are trained by likelihood."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mimrl.mi.densities import Density
from mimrl.mi.early_stopping import (
    FitSettings,
    draw_batch,
    fit_with_early_stopping,
    split_rows,
)
from mimrl.mi.estimators.canonical import Canonical
from mimrl.mi.estimators.critic_reading import tensors
from mimrl.mi.estimators.crossfitting import Learned, LogRatio
from mimrl.mi.estimators.curves import Recorder, training_doubts
from mimrl.mi.estimators.features import Features
from mimrl.mi.estimators.interface import Floats
from mimrl.mi.estimators.samples import Pair
from mimrl.mi.estimators.stopped import (
    BatchSize,
    CheckEvery,
    Hidden,
    Rate,
    Steps,
    StoppedEstimator,
    WeightDecay,
)


@dataclass(frozen=True)
class Residual:
    """What is left of v when the linear prediction from u is taken away, white again.

    Attributes:
        correlations: ``(ry,)`` of coordinate k of v with coordinate k of u; 0 where u has none.
    """

    correlations: Tensor

    @classmethod
    def of(cls, coordinates: Canonical) -> Residual:
        """The residual of a fit's canonical coordinates."""
        filled = np.zeros(coordinates.maps[1].matrix.shape[1])
        filled[: len(coordinates.correlations)] = coordinates.correlations
        return cls(torch.from_numpy(filled).float())

    def __call__(self, u: Tensor, v: Tensor) -> Tensor:
        """``(N, ry)``."""
        predicted = torch.zeros_like(v)
        shared = min(u.shape[1], v.shape[1])  # columns of u beyond v's have correlation 0
        predicted[:, :shared] = u[:, :shared] * self.correlations.to(v)[:shared]
        return (v - predicted) / (1 - self.correlations.to(v).square()).sqrt()

    @property
    def log_volume(self) -> float:
        """What a log density of the residual lacks of the one of v, in nats."""
        return -0.5 * float(torch.log1p(-self.correlations.square().double()).sum())


@dataclass(frozen=True)
class EntropyRatio(LogRatio):
    """log p(y | x) - log p(y).

    Attributes:
        marginal: of v.
        conditional: of the residual, given u and its radius.
        features: u and v from x and y.
        residual: of v.
        turned: whether x and y change places.
    """

    marginal: Density
    conditional: Density
    features: Features
    residual: Residual
    turned: bool

    def pointwise(self, pair: Pair) -> Floats:
        """``(N,)`` in nats."""
        pair = Pair(pair.y, pair.x) if self.turned else pair
        u, v = tensors(_context_and_target(self.features, pair), self.marginal)
        with torch.no_grad():
            values = self.conditional(self.residual(u, v), u) - self.marginal(v)
        read: Floats = values.double().cpu().numpy() + self.residual.log_volume
        return read


class EntropyDifference(StoppedEstimator):
    """h(Y) - h(Y | X), both densities started at the Gaussian of the fitting rows.

    Y is the variable of fewer dimensions. Both variables are brought to canonical coordinates. Two
    densities are trained from about the standard normal: that of y, and that of the residual of the
    linear prediction, whose correlations are held-out ones. Then the second one gets x as its
    context. Validation rows inside the fitting rows choose the step of each training, the start
    among them. So where y does not depend on x both densities are the same, with the same errors;
    a conditional one trained from nothing would be the worse of the two and read less than 0.

    A difference of two entropies is no bound: the errors of the densities have opposite signs.
    """

    hidden: Hidden = 64
    batch_size: BatchSize = 256
    rate: Rate = 3e-3
    weight_decay: WeightDecay = 1e-2
    steps: Steps = 1000
    check_every: CheckEvery = 20

    @abstractmethod
    def density(self, v: Tensor, seed: int) -> Density:
        """An untrained density of v.

        Args:
            v: ``(N, ry)`` white fitting rows, for a start.
            seed: of what is random in the start.
        """

    def learn(self, pair: Pair, seed: int, fold: int) -> Learned:
        """Both densities at the steps that validation chose."""
        turned = pair.x.shape[1] < pair.y.shape[1]
        pair = Pair(pair.y, pair.x) if turned else pair
        device = torch.device(self.device)
        settings = self.fit_settings(weight_decay=self.weight_decay, batch_size=self.batch_size)
        training = _Training(settings, len(pair), seed, device)
        # validation rows that had helped to find the directions would confirm chance
        features = Features.fit(pair.select(training.fitting.cpu().numpy()))
        residual = Residual.of(features.canonical)
        seen = _context_and_target(features, pair)
        u, v = (torch.from_numpy(part).float().to(device) for part in (seen.x, seen.y))
        left = residual(u, v)
        with torch.random.fork_rng():
            marginal, conditional = self._started(v, seed), self._started(left, seed)
        training(marginal, v, None)
        training(conditional, left, None)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            conditional = conditional.conditioned(u.shape[1])
        with torch.no_grad():
            entropy = -float(marginal(v).mean())
        recorder = Recorder(fold, training.held_out(left, u, residual.log_volume + entropy))
        chosen = training(conditional, left, u, recorder, residual.log_volume + entropy)
        ratio = EntropyRatio(marginal, conditional, features, residual, turned)
        doubts = training_doubts(recorder.curve, chosen, self.steps)
        return Learned(ratio, recorder.curve, doubts, {"step": chosen})

    def _started(self, v: Tensor, seed: int) -> Density:
        torch.manual_seed(seed)
        return self.density(v, seed).to(self.device)


def _context_and_target(features: Features, pair: Pair) -> Pair:
    """The context, u with its radius, and the target, v without its own."""
    seen = features.coordinates(pair)
    return Pair(features.radii[0](seen.x), seen.y)


class _Training:
    """Likelihood training with one division of the rows for both densities."""

    def __init__(self, settings: FitSettings, size: int, seed: int, device: torch.device) -> None:
        self.settings, self.seed = settings, seed
        generator = torch.Generator().manual_seed(seed)
        self.fitting, self.held = split_rows(size, settings, generator, device)

    def __call__(
        self,
        density: Density,
        v: Tensor,
        u: Tensor | None,
        recorder: Recorder[Density] | None = None,
        level: float = 0.0,
    ) -> int:
        """Trains p(v) or p(v | u), and gives the step that validation chose.

        Args:
            density: trained in place.
            v: ``(N, D)``, all rows.
            u: ``(N, C)``, or None.
            recorder: of the curve.
            level: what is added to a log density for the curve.
        """
        generator = torch.Generator().manual_seed(self.seed)  # the same batches in each training

        def loss(density: Density) -> Tensor:
            rows = draw_batch(self.fitting, self.settings, generator)
            found: Tensor = -density(v[rows], None if u is None else u[rows]).mean()
            if recorder is not None:
                recorder.train(level - found)
            return found

        held_out = self.held_out(v, u)
        chosen = fit_with_early_stopping(
            density,
            loss,
            lambda density: torch.tensor(-held_out(density)),
            self.settings,
            start=True,
            look=None if recorder is None else recorder.look,
        )
        density.eval()
        return chosen

    def held_out(
        self, v: Tensor, u: Tensor | None, level: float = 0.0
    ) -> Callable[[Density], float]:
        """The mean log density of the validation rows, plus ``level``."""
        seen, context = v[self.held], None if u is None else u[self.held]

        @torch.no_grad()
        def read(density: Density) -> float:
            return level + float(density(seen, context).mean())

        return read
