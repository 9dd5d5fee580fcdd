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
BISECTIONS = 25


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
        return _apply(log_probabilities, log_prior, np.float64(self.slope), self.floor)


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
    logs = np.asarray(paths, dtype=np.float64)
    rows, floor = np.arange(len(labels)), 1 / (len(labels) + 2)

    def gains(candidates: npt.NDArray[np.floating], slopes: FloatArray) -> FloatArray:
        calibrated = _apply(candidates, log_prior, slopes[:, None, None], floor)
        return calibrated[:, rows, labels] - log_prior[labels]

    slopes = _best_slopes(logs - log_prior, labels, log_prior)
    means = gains(logs, slopes).mean(axis=1)
    best = int(np.argmax(means))
    enough = means[best] - 0.5 / len(labels)
    low, high = np.zeros(1), slopes[[best]]
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        good = gains(logs[[best]], middle).mean() >= enough
        low, high = (low, middle) if good else (middle, high)
    final = gains(logs[[best]], high)[0]
    gain, error = float(final.mean()), float(final.std() / np.sqrt(len(labels)))
    if gain <= error:
        return Calibration(best, 0.0, floor, 0.0)
    return Calibration(best, float(high[0]), floor, gain)


def _apply(
    log_probabilities: npt.NDArray[np.floating],
    log_prior: FloatArray,
    slope: FloatArray | np.float64,
    floor: float,
) -> FloatArray:
    scores = log_prior + slope * (np.asarray(log_probabilities, np.float64) - log_prior)
    scores = scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)
    return np.logaddexp(np.log1p(-floor) + scores, np.log(floor) + log_prior)


def _best_slopes(odds: FloatArray, labels: Rows, log_prior: FloatArray) -> FloatArray:
    """``(S,)`` maximum-likelihood slopes in [0, STEEPEST]: the likelihood is concave in them."""
    chosen = odds[:, np.arange(len(labels)), labels].mean(axis=1)
    low, high = np.zeros(len(odds)), np.full(len(odds), STEEPEST)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        scores = log_prior + middle[:, None, None] * odds
        scores = scores - scores.max(axis=-1, keepdims=True)
        weights = np.exp(scores)
        weights /= weights.sum(axis=-1, keepdims=True)
        rising = chosen > (weights * odds).sum(axis=-1).mean(axis=1)
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return low
