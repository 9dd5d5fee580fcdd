"""Choosing among moments and families of models on rows that no result is read from.

A classifier's log odds against the class prior are multiplied by one slope (1 / temperature,
Guo et al., ICML 2017, but shrinking to the prior rather than to equal classes). The slope is not
the likeliest one but the smallest that is as good within half a nat over all calibration rows, a
likelihood interval of one standard error: being too sure costs more than being too timid, and
the likelihood given away is at most ``1 / 2n`` nats a sample. Where the result is not clearly
better than the prior itself, the prior is what remains, and the information read is exactly 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
STEEPEST = 4.0  # no calibration makes a classifier more than four times as sure
BISECTIONS = 20
SCREENING, CONTENDERS = (0.5, 1.0), 10
ROUGH_BISECTIONS = 8  # are enough to tell candidates apart: a slope to 1 / 64


@dataclass(frozen=True)
class Calibration:
    """How a path of classifiers is read.

    Attributes:
        candidate: which moment of which family.
        slope: factor of the log odds; 0 = the prior.
        floor: share of the prior mixed into the result. From ``n`` calibration rows an error rate
            below ``1 / (n + 2)`` cannot be known, and one confident mistake would cost more than
            all the rest.
        gain: mean log likelihood above the prior's on the calibration rows, in nats.
    """

    candidate: int
    slope: float
    floor: float
    gain: float

    def __call__(
        self, log_probabilities: npt.NDArray[np.floating], log_prior: FloatArray
    ) -> FloatArray:
        """Calibrated ``(N, C)`` log probabilities from those of the chosen candidate."""
        return _apply(log_probabilities, log_prior, self.slope, self.floor)


def calibrate(paths: npt.NDArray[np.floating], labels: Rows, log_prior: FloatArray) -> Calibration:
    """The best candidate and its slope.

    Args:
        paths: ``(S, n, C)`` log probabilities of ``S`` candidates on the calibration rows.
        labels: ``(n,)`` their classes.
        log_prior: ``(C,)`` class frequencies of train, in logs.

    Returns:
        The candidate of highest calibrated likelihood with the smallest slope that is as good, or
        slope 0 if its mean gain over the prior is below one standard error of that mean.
    """
    floor = 1 / (len(labels) + 2)
    odds = np.asarray(paths, dtype=np.float64) - log_prior
    chosen = odds[:, np.arange(len(labels)), labels]

    def gains(candidate: slice | Rows, slopes: FloatArray) -> FloatArray:
        """``(s, n)`` log likelihoods of the labels above the prior's."""
        weights = np.exp(log_prior + slopes[:, None, None] * odds[candidate])
        own = slopes[:, None] * chosen[candidate] - np.log(weights.sum(axis=-1))
        return np.logaddexp(np.log1p(-floor) + own, np.log(floor))

    # moments of one training are alike: the best few at two slopes hold the best at its own
    screen = [gains(slice(None), np.full(len(odds), slope)).mean(axis=1) for slope in SCREENING]
    contenders = np.sort(np.argsort(-np.max(screen, axis=0), kind="stable")[:CONTENDERS])
    slopes = _best_slopes(odds[contenders], chosen[contenders].mean(axis=1), log_prior)
    means = gains(contenders, slopes).mean(axis=1)
    leader = int(np.argmax(means))
    best = int(contenders[leader])
    only = np.asarray([best])
    enough = means[leader] - 0.5 / len(labels)
    low, high = np.zeros(1), slopes[[leader]]
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        good = gains(only, middle).mean() >= enough
        low, high = (low, middle) if good else (middle, high)
    final = gains(only, high)[0]
    gain, error = float(final.mean()), float(final.std() / np.sqrt(len(labels)))
    if gain <= error:
        return Calibration(best, 0.0, floor, 0.0)
    return Calibration(best, float(high[0]), floor, gain)


def _apply(
    log_probabilities: npt.NDArray[np.floating],
    log_prior: FloatArray,
    slope: float,
    floor: float,
) -> FloatArray:
    scores = log_prior + slope * (np.asarray(log_probabilities, np.float64) - log_prior)
    scores = scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)
    return np.logaddexp(np.log1p(-floor) + scores, np.log(floor) + log_prior)


def _best_slopes(odds: FloatArray, chosen: FloatArray, log_prior: FloatArray) -> FloatArray:
    """``(S,)`` maximum-likelihood slopes in [0, STEEPEST]: the likelihood is concave in them.

    Args:
        odds: ``(S, n, C)`` log odds against the prior.
        chosen: ``(S,)`` means of those of the labels.
        log_prior: ``(C,)``.
    """
    low, high = np.zeros(len(odds)), np.full(len(odds), STEEPEST)
    for _ in range(ROUGH_BISECTIONS):
        middle = (low + high) / 2
        weights = np.exp(log_prior + middle[:, None, None] * odds)
        expected = np.einsum("snc,snc->sn", weights, odds) / weights.sum(axis=-1)
        rising = chosen > expected.mean(axis=1)
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return low
