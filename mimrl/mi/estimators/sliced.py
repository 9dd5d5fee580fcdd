"""Sliced mutual information (Goldfeld, Greenewald 2021): not mutual information, but near it."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from mimrl.errors import BiasWarning, EstimationWarning
from mimrl.mi.estimators.interface import EstimateResult, Estimator, Floats
from mimrl.mi.estimators.ksg import Ksg
from mimrl.mi.estimators.nested import InnerEstimator
from mimrl.mi.estimators.preprocessing import Preprocessing, fit_map
from mimrl.mi.estimators.samples import Pair


class Sliced(Estimator):
    """Sliced information SI(X; Y): the mean of I(a'X; b'Y) over random directions a and b.

    Directions are uniform on the unit spheres of x and of y (Goldfeld and Greenewald 2021,
    definition 1). The value is 0 exactly if X and Y are independent and at most I(X; Y), but it is
    another quantity: one strong dependence among many columns is found by few directions, and
    the value falls as the columns become more. A :class:`~mimrl.errors.BiasWarning` says so
    wherever it differs, which is for more than one column in x or in y; for one each it is the
    estimator inside.

    Note:
        Directions depend on the scale of columns, so the preprocessing is part of what is
        measured. There are no pointwise values: a mean over directions is no log ratio.
    """

    estimator: InnerEstimator = Field(
        Ksg(), description="estimator of the information of two projections"
    )
    projections: int = Field(100, ge=2, description="pairs of random directions")
    preprocessing: Preprocessing = Field(
        "standardise", description="map of each column before the projections"
    )
    seed: int = Field(0, ge=0, description="of the directions")

    @property
    def continuous(self) -> bool:  # type: ignore[override]
        """As the estimator inside."""
        return self.estimator.continuous

    @property
    def smallest(self) -> int:  # type: ignore[override]
        """As the estimator inside."""
        return self.estimator.smallest

    def fewest(self, *widths: int) -> int:
        """As the estimator inside for one column each: projections do not suffer from many."""
        return self.estimator.fewest(*(1 for _ in widths))

    def read(self, pair: Pair) -> EstimateResult:
        """The mean over directions; its standard error is over samples and over directions."""
        x, y = (fit_map(values, self.preprocessing)(values) for values in (pair.x, pair.y))
        if x.shape[1] == y.shape[1] == 1:
            return self.estimator.read(Pair(x, y))
        generator = np.random.default_rng(self.seed)
        results = [
            self.estimator.read(Pair(_projected(x, generator), _projected(y, generator)))
            for _ in range(self.projections)
        ]
        values = np.array([result.mi_estimate for result in results])
        over_directions = float(values.std(ddof=1)) / math.sqrt(self.projections)
        inside = {type(doubt): doubt for result in results for doubt in result.warnings}
        doubts: list[EstimationWarning] = [_sliced(pair, self.projections), *inside.values()]
        return EstimateResult(
            float(values.mean()),
            math.hypot(over_directions, _over_samples(results)),
            warnings=doubts,
            additional_information={
                "standard_error_of_directions": over_directions,
                "largest_projection": float(values.max()),
            },
        )


def _projected(values: Floats, generator: np.random.Generator) -> Floats:
    """``(N, 1)`` along a uniform direction."""
    direction = generator.normal(size=(values.shape[1], 1))
    projected: Floats = values @ (direction / np.linalg.norm(direction))
    return projected


def _over_samples(results: list[EstimateResult]) -> float:
    """All directions see the same samples, so their errors do not average out."""
    local = [result.pointwise for result in results if result.pointwise is not None]
    if len(local) == len(results):
        mean = np.mean(local, axis=0)
        return float(mean.std(ddof=1) / math.sqrt(len(mean)))
    return float(np.mean([result.standard_error for result in results]))


def _sliced(pair: Pair, projections: int) -> BiasWarning:
    return BiasWarning(
        f"this is sliced information, the mean over {projections} pairs of random directions in "
        f"{pair.x.shape[1]} and {pair.y.shape[1]} dimensions, not mutual information, which may "
        "be much larger"
    )
