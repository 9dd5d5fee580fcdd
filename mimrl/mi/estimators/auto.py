"""The simplest estimator that nothing contradicts.

Three estimators are asked: the Gaussian formula on normal scores (unbiased and of little variance
where the copula is Gaussian, in any dimension; blind to everything else), nearest neighbours on
normal scores where there are rows enough for the dimension, and the copula critic. Neighbours and
critic err on the low side: the first by smoothing, the second because it is read on rows that were
held out. So the one that reads more is the better one, and a simpler one is kept unless another
reads more by :data:`MARGIN` standard errors of the difference, pair by pair on the same rows. A
Gaussian reading is no bound; it is also given up where held-out rows confirm much less of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from mimrl.errors import EstimationError, TiesWarning
from mimrl.mi.estimators.copula_critic import CopulaCritic
from mimrl.mi.estimators.gaussian import Gaussian
from mimrl.mi.estimators.interface import EstimateResult, Estimator
from mimrl.mi.estimators.ksg import Ksg
from mimrl.mi.estimators.samples import Pair, doubts_of

Name = Literal["gaussian", "neighbours", "critic"]

ORDER: tuple[Name, ...] = ("gaussian", "neighbours", "critic")
"""From simple to general."""

MARGIN = 3.0
"""Standard errors of a paired difference that count as a contradiction.

Local values of neighbours share samples, so that the standard error is somewhat too small.
"""

UNCONFIRMED = 0.05
"""Share by which held-out rows may fall short of a Gaussian reading, besides the margin."""

NEAREST = 4
"""Neighbours: few, for little bias; the scatter is that of the sample anyway."""


@dataclass(frozen=True)
class Choice:
    """Which reading was taken.

    Attributes:
        name: of the estimator.
        why: in words.
    """

    name: Name
    why: str


class Auto(Estimator):
    """The Gaussian formula, nearest neighbours or the copula critic, as the samples have it.

    See the module for the rule. ``additional_information`` names the choice (``chosen``), its
    reason in words (``why``) and all readings with their standard errors.

    Note:
        The choice is made on the samples that are read. It can only move the result among three
        estimates which differ by chance and bias; on independent samples all three are near 0.
    """

    smallest: ClassVar[int] = 60

    folds: int = Field(3, ge=2, le=50, description="cross-fitting folds of the critic")
    steps: int = Field(1200, ge=1, description="most steps of a network of the critic")
    seed: int = Field(0, ge=0, description="of the critic")
    device: str = Field("cpu", description="PyTorch device of the critic")

    def read(self, pair: Pair) -> EstimateResult:
        """From the estimators that suit the samples, the one that nothing contradicts."""
        readings = self._readings(pair)
        choice = chosen(readings)
        taken = readings[choice.name]
        return EstimateResult(
            taken.mi_estimate,
            taken.standard_error,
            taken.pointwise,
            readings["critic"].curve,
            taken.warnings,
            additional_information={
                "chosen": choice.name,
                "why": choice.why,
                "values": {name: found.mi_estimate for name, found in readings.items()},
                "standard_errors": {n: found.standard_error for n, found in readings.items()},
            },
        )

    def _readings(self, pair: Pair) -> dict[Name, EstimateResult]:
        critic = CopulaCritic(
            folds=self.folds, steps=self.steps, seed=self.seed, device=self.device
        )
        found: dict[Name, EstimateResult] = {}
        if not _tied(pair):
            gaussian = _gaussian(pair)
            if gaussian is not None:
                found["gaussian"] = gaussian
            neighbours = Ksg(neighbours=NEAREST, preprocessing="normal_scores")
            if len(pair) >= neighbours.fewest(pair.x.shape[1], pair.y.shape[1]):
                found["neighbours"] = neighbours.read(pair)
        return found | {"critic": critic.read(pair)}


def chosen(readings: Mapping[Name, EstimateResult]) -> Choice:
    """The simplest reading that nothing contradicts.

    Args:
        readings: of the same rows, with pointwise values; the critic's at least.
    """
    gaussian, neighbours, critic = (readings.get(name) for name in ORDER)
    if critic is None:
        raise EstimationError("a choice needs the critic's reading; got none")
    if gaussian and _holds(gaussian, neighbours, critic) and not _unconfirmed(gaussian, critic):
        return Choice(
            "gaussian",
            "no other estimator reads more than the Gaussian formula on normal scores, which is "
            "unbiased for a Gaussian copula",
        )
    if neighbours is None:
        why = "there is dependence that no Gaussian copula has, or held-out rows confirm less of it"
        if gaussian is None:
            why = "the columns repeat values, or have no covariance of full rank"
        return Choice("critic", f"{why}, and neighbours do not suit these columns or so few rows")
    if _holds(neighbours, critic):
        return Choice(
            "neighbours",
            "there is dependence that no Gaussian copula has, rows are enough for neighbours in "
            "this dimension, and the critic, which errs on the low side, does not read more",
        )
    return Choice("critic", "read on held-out rows it finds more than the simpler estimators")


def _holds(taken: EstimateResult, *others: EstimateResult | None) -> bool:
    """Whether no other reading is larger by more than the margin."""
    differences = [_difference(other, taken) for other in others if other is not None]
    return all(mean <= MARGIN * error for mean, error in differences)


def _unconfirmed(gaussian: EstimateResult, critic: EstimateResult) -> bool:
    mean, error = _difference(gaussian, critic)
    return mean > MARGIN * error + UNCONFIRMED * abs(gaussian.mi_estimate)


def _difference(one: EstimateResult, other: EstimateResult) -> tuple[float, float]:
    """Mean and standard error of the difference, row by row."""
    if one.pointwise is None or other.pointwise is None:
        raise EstimationError("readings are compared row by row; expected pointwise values of both")
    rows = one.pointwise - other.pointwise
    return float(rows.mean()), float(rows.std(ddof=1) / np.sqrt(len(rows)))


def _tied(pair: Pair) -> bool:
    doubts = doubts_of({"x": pair.x, "y": pair.y}, continuous=True, fewest=0)
    return any(isinstance(doubt, TiesWarning) for doubt in doubts)


def _gaussian(pair: Pair) -> EstimateResult | None:
    try:
        return Gaussian(preprocessing="normal_scores").read(pair)
    except EstimationError:  # a covariance without full rank: too few rows, or determined columns
        return None
