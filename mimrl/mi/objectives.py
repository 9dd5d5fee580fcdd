"""Bounds as objects: an objective to maximise, a value to report, and whatever state they need.

A bound is a module so that a learned baseline trains with the critic and MINE's moving average is
saved with it. The formulas themselves are in :mod:`mimrl.mi.bounds`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mimrl.errors import EstimationError
from mimrl.mi import bounds
from mimrl.mi.critics import MLP


class Baseline(nn.Module):
    """``log a(y)`` of TUBA and of the interpolated bound."""

    def forward(self, y: Tensor) -> Tensor:
        """``(B,)`` log a(y_j) from y ``(B, d)``."""
        raise NotImplementedError


class ConstantBaseline(Baseline):
    """One number for every y.

    Args:
        value: log a, in nats; 1 makes TUBA the NWJ bound.
    """

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = value

    def forward(self, y: Tensor) -> Tensor:
        """``(B,)``, all ``value``."""
        return y.new_full((len(y),), self.value)


class GaussianBaseline(Baseline):
    """The log density of a standard normal, summed over the columns of y."""

    def forward(self, y: Tensor) -> Tensor:
        """``(B,)`` log N(y_j; 0, 1)."""
        return -0.5 * (y.square() + math.log(2 * math.pi)).sum(dim=1)


class LearnedBaseline(Baseline):
    """An MLP of y, trained with the critic.

    Args:
        y_dim: width of y.
        hidden: hidden width.
        layers: hidden layers after the input layer.
    """

    def __init__(self, y_dim: int, *, hidden: int = 256, layers: int = 2) -> None:
        super().__init__()
        self.network = MLP(y_dim, 1, hidden=hidden, layers=layers)

    def forward(self, y: Tensor) -> Tensor:
        """``(B,)`` from the network."""
        return self.network(y).squeeze(1)


class Bound(nn.Module):
    """What every bound offers; ``scores[i, j] = f(x_i, y_j)`` ``(B, B)``, y ``(B, d)``."""

    def objective(self, scores: Tensor, y: Tensor) -> Tensor:
        """0-d, to be maximised over the critic; its gradient is the bound's training gradient."""
        return self.value(scores, y)

    def value(self, scores: Tensor, y: Tensor) -> Tensor:
        """0-d, the estimate of I(X; Y) in nats, differentiable in the scores."""
        raise NotImplementedError

    def ratios(self, scores: Tensor, y: Tensor) -> Tensor:
        """The scores as estimates of the log ratio, up to a constant for those read as DV.

        Args:
            scores: ``(..., B)``; the last axis belongs to y.
            y: ``(B, d)``.
        """
        return scores


class Dv(Bound):
    """Donsker-Varadhan (:func:`mimrl.mi.bounds.dv`); trained on its own value it is biased MINE."""

    def value(self, scores: Tensor, y: Tensor) -> Tensor:
        """:func:`mimrl.mi.bounds.dv`."""
        return bounds.dv(scores)


class Nwj(Bound):
    """Nguyen, Wainwright and Jordan (:func:`mimrl.mi.bounds.nwj`)."""

    def value(self, scores: Tensor, y: Tensor) -> Tensor:
        """:func:`mimrl.mi.bounds.nwj`."""
        return bounds.nwj(scores)

    def ratios(self, scores: Tensor, y: Tensor) -> Tensor:
        """The optimum of NWJ is 1 + log ratio."""
        return scores - 1


class Tuba(Bound):
    """Barber-Agakov with a tractable baseline (:func:`mimrl.mi.bounds.tuba`).

    Args:
        baseline: log a(y).
    """

    def __init__(self, baseline: Baseline) -> None:
        super().__init__()
        self.baseline = baseline

    def value(self, scores: Tensor, y: Tensor) -> Tensor:
        """:func:`mimrl.mi.bounds.tuba`."""
        return bounds.tuba(scores, self.baseline(y))

    def ratios(self, scores: Tensor, y: Tensor) -> Tensor:
        """The optimum of TUBA is log a(y) + log ratio."""
        return scores - self.baseline(y)


class InfoNce(Bound):
    """InfoNCE (:func:`mimrl.mi.bounds.infonce`)."""

    def value(self, scores: Tensor, y: Tensor) -> Tensor:
        """:func:`mimrl.mi.bounds.infonce`."""
        return bounds.infonce(scores)


class Js(Bound):
    """Trained on the f-GAN form of Jensen-Shannon, read as NWJ (:func:`mimrl.mi.bounds.js`)."""

    def objective(self, scores: Tensor, y: Tensor) -> Tensor:
        """:func:`mimrl.mi.bounds.js_fgan`."""
        return bounds.js_fgan(scores)

    def value(self, scores: Tensor, y: Tensor) -> Tensor:
        """The number of :func:`mimrl.mi.bounds.js` with the gradient of ``js_fgan``."""
        return _gradient_of(bounds.js_fgan(scores), at=bounds.js(scores))


class Smile(Bound):
    """SMILE: the gradient of Jensen-Shannon, the value of DV with clipped scores.

    Args:
        clip: tau > 0, scores of product samples are clipped to [-tau, tau].
    """

    def __init__(self, clip: float = 5.0) -> None:
        super().__init__()
        if not clip > 0:
            raise EstimationError(f"clip of SMILE must be positive, got {clip}")
        self.clip = clip

    def objective(self, scores: Tensor, y: Tensor) -> Tensor:
        """:func:`mimrl.mi.bounds.js_fgan`."""
        return bounds.js_fgan(scores)

    def value(self, scores: Tensor, y: Tensor) -> Tensor:
        """The number of :func:`mimrl.mi.bounds.smile` with the gradient of ``js_fgan``."""
        return _gradient_of(bounds.js_fgan(scores), at=bounds.smile(scores, self.clip))


class Interpolated(Bound):
    """Between InfoNCE and TUBA (:func:`mimrl.mi.bounds.interpolated`).

    Args:
        alpha: share of InfoNCE's baseline, in (0, 1).
        baseline: log a(y).
    """

    def __init__(self, alpha: float, baseline: Baseline) -> None:
        super().__init__()
        self.alpha = alpha
        self.baseline = baseline

    def value(self, scores: Tensor, y: Tensor) -> Tensor:
        """:func:`mimrl.mi.bounds.interpolated`."""
        return bounds.interpolated(scores, self.baseline(y), self.alpha)


class Mine(Bound):
    """DV whose gradient has a moving average in its denominator (Belghazi et al. 2018).

    The gradient of ``log E_o[e^s]`` is ``E_o[e^s grad s] / E_o[e^s]``; over a batch that ratio is
    biased. MINE divides by an exponential moving average of ``E_o[e^s]`` instead. The average is
    kept in log space, starts at the first batch, moves only in training mode, and is part of the
    state dict.

    Args:
        decay: share of the new batch in the average, in (0, 1]; 1 gives the biased gradient.
    """

    log_average: Tensor

    def __init__(self, decay: float = 0.01) -> None:
        super().__init__()
        if not 0 < decay <= 1:
            raise EstimationError(f"decay of MINE must lie in (0, 1], got {decay}")
        self.decay = decay
        self.register_buffer("log_average", torch.tensor(-math.inf))  # -inf: no batch seen yet

    def objective(self, scores: Tensor, y: Tensor) -> Tensor:
        """The number of :func:`mimrl.mi.bounds.dv` with MINE's gradient; moves the average."""
        pairs = bounds.diagonal(scores).mean()
        log_mean = bounds.log_mean_exp_off_diagonal(scores)
        denominator = self._denominator(log_mean.detach())
        return mine_objective(pairs, log_mean, denominator)

    def value(self, scores: Tensor, y: Tensor) -> Tensor:
        """:func:`mimrl.mi.bounds.dv`."""
        return bounds.dv(scores)

    @torch.no_grad()
    def _denominator(self, log_mean: Tensor) -> Tensor:
        if not self.training:
            return torch.where(self.log_average.isinf(), log_mean, self.log_average)
        self.log_average.copy_(moved_average(self.log_average, log_mean, self.decay))
        return self.log_average.clone()


def mine_objective(pairs: Tensor, log_mean: Tensor, denominator: Tensor) -> Tensor:
    """DV with MINE's gradient, from its two parts; all of one shape.

    Args:
        pairs: ``E_d[s]``.
        log_mean: ``log E_o[e^s]`` of the batch.
        denominator: logarithm of what the gradient of ``E_o[e^s]`` is divided by, detached.
    """
    return _gradient_of(pairs - (log_mean - denominator).exp(), at=pairs - log_mean)


def moved_average(log_average: Tensor, log_mean: Tensor, decay: float) -> Tensor:
    """MINE's moving average of E[e^score] after one more batch, in log space.

    Args:
        log_average: any shape; -inf before the first batch, which then is the average.
        log_mean: the same shape, of the new batch.
        decay: share of the new batch, in (0, 1].
    """
    kept = log_average + (math.log1p(-decay) if decay < 1 else -math.inf)
    moved = torch.logaddexp(kept, log_mean + math.log(decay))
    return torch.where(log_average.isinf(), log_mean, moved)


def _gradient_of(surrogate: Tensor, *, at: Tensor) -> Tensor:
    """The number ``at`` with the gradient of ``surrogate``."""
    return surrogate + (at - surrogate).detach()
