"""Estimators that are fitted: on some rows, and read on others.

An estimator read on the rows it was fitted on reports too much information. So the rows are divided
into folds, each fold is read by a fit to the others, and the estimate is the mean over all rows.
Which step of a training is read is chosen on a part of the fitting rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mimrl.errors import ConfigError, EstimationError, EstimationWarning, ShapeError
from mimrl.mi.estimators.interface import (
    CurvePoint,
    Device,
    EstimateResult,
    Estimator,
    Floats,
    Samples,
)
from mimrl.mi.estimators.preprocessing import ColumnMap, Preprocessing, fit_map
from mimrl.mi.estimators.samples import Pair, checked_pair, paired

Rows = npt.NDArray[np.int64]


class LogRatio(ABC):
    """What a method learned from some rows: log p(x, y) / (p(x) p(y)) of other rows."""

    @abstractmethod
    def pointwise(self, pair: Pair) -> Floats:
        """``(N,)`` in nats, of rows on the scale of the fit.

        A critic known up to a constant, or read as a bound, is normalised on the rows given, so
        that the mean is the method's estimate.
        """


@dataclass(frozen=True)
class Fitted:
    """A fit, ready for other rows.

    Attributes:
        ratio: the method's log ratio.
        maps: of the columns of x and of y, from the fitting rows.
        widths: columns of x and of y before constant ones were left out.
        curve: the training.
        warnings: doubts about the fit.
        information: the method's own numbers, JSON types only.
    """

    ratio: LogRatio
    maps: tuple[ColumnMap, ColumnMap]
    widths: tuple[int, int]
    curve: Sequence[CurvePoint] = ()
    warnings: Sequence[EstimationWarning] = ()
    information: Mapping[str, Any] = field(default_factory=dict)

    def score(self, x: Samples, y: Samples) -> float:
        """I(X; Y) in nats, read on rows that should not be those of the fit.

        Args:
            x: ``(N, dx)`` or ``(N,)``.
            y: ``(N, dy)`` or ``(N,)``, paired with x.

        Raises:
            ShapeError: other widths than those of the fit, or unpaired rows.
            NonFiniteError: NaN or infinite values.
        """
        return float(self.pointwise(x, y).mean())

    def pointwise(self, x: Samples, y: Samples) -> Floats:
        """``(N,)`` log p(x, y) / (p(x) p(y)) in nats; their mean is :meth:`score`."""
        pair = _same_columns(x, y, self.widths)
        return self.ratio.pointwise(Pair(self.maps[0](pair.x), self.maps[1](pair.y)))


@dataclass(frozen=True)
class Learned:
    """What :meth:`TrainedEstimator.learn` gives."""

    ratio: LogRatio
    curve: Sequence[CurvePoint] = ()
    warnings: Sequence[EstimationWarning] = ()
    information: Mapping[str, Any] = field(default_factory=dict)


class TrainedEstimator(Estimator):
    """An estimator with ``fit``, read by cross-fitting.

    A subclass implements :meth:`learn`.
    """

    smallest: ClassVar[int] = 40

    preprocessing: Preprocessing = Field(
        "standardise", description="map of each column, fitted on the fitting rows"
    )
    folds: int = Field(3, ge=2, le=50, description="cross-fitting folds")
    seed: int = Field(0, ge=0, description="of folds, initial weights and batches")
    device: Device = Field("cpu", description="PyTorch device of the training")

    @abstractmethod
    def learn(self, pair: Pair, seed: int, fold: int) -> Learned:
        """Learns the log ratio.

        Args:
            pair: fitting rows, mapped.
            seed: of everything random in the fit.
            fold: for the points of the curve.
        """

    def fit(self, x: Samples, y: Samples) -> Fitted:
        """Fits to all rows given; read the result with ``score`` on others.

        Args:
            x: ``(N, dx)`` or ``(N,)``.
            y: ``(N, dy)`` or ``(N,)``, paired with x.

        Raises:
            ShapeError: unpaired rows.
            NonFiniteError: NaN or infinite values, or a training that became so.
            EstimationError: too few rows, or a column that does not vary.
        """
        pair, constant = checked_pair(x, y, smallest=self.smallest)
        if constant:
            raise EstimationError(f"{constant[0]}; remove them before fitting")
        return self._fitted(pair, self.seed, fold=0)

    def read(self, pair: Pair) -> EstimateResult:
        """The mean over folds, each read by a fit to the others."""
        parts = fold_rows(len(pair), self.folds, self.seed)
        values = np.empty(len(pair))
        fits = []
        for number, held in enumerate(parts):
            others = np.concatenate([part for part in parts if part is not held])
            fitted = self._fitted(pair.select(np.sort(others)), self.seed + number, number)
            read = pair.select(held)
            values[held] = fitted.ratio.pointwise(
                Pair(fitted.maps[0](read.x), fitted.maps[1](read.y))
            )
            fits.append(fitted)
        return EstimateResult.of_pointwise(
            values,
            curve=tuple(point for fitted in fits for point in fitted.curve),
            warnings=_once(fits) + self.doubts(values, len(parts[0])),
            additional_information=_listed(fits),
        )

    def doubts(self, values: Floats, held: int) -> tuple[EstimationWarning, ...]:
        """Doubts about what was read on held-out rows; none unless a method knows some.

        Args:
            values: ``(N,)`` pointwise values.
            held: rows of a fold.
        """
        del values, held
        return ()

    def _fitted(self, pair: Pair, seed: int, fold: int) -> Fitted:
        maps = fit_map(pair.x, self.preprocessing), fit_map(pair.y, self.preprocessing)
        learned = self.learn(Pair(maps[0](pair.x), maps[1](pair.y)), seed, fold)
        return Fitted(
            learned.ratio,
            maps,
            (pair.x.shape[1], pair.y.shape[1]),
            learned.curve,
            learned.warnings,
            learned.information,
        )


def fold_rows(size: int, folds: int, seed: int) -> list[Rows]:
    """Row numbers of each fold, at random, in order within a fold.

    Raises:
        ConfigError: fewer rows than folds.
    """
    if size < folds:
        raise ConfigError(f"{folds} folds of {size} rows; expected at least one row a fold")
    order = np.random.default_rng(seed).permutation(size)
    return [np.sort(part) for part in np.array_split(order, folds)]


def _same_columns(x: Samples, y: Samples, widths: tuple[int, int]) -> Pair:
    pair = paired(x, y)
    found = pair.x.shape[1], pair.y.shape[1]
    if found != widths:
        raise ShapeError(
            f"x and y have {found[0]} and {found[1]} columns; the fit had {widths[0]} and "
            f"{widths[1]}"
        )
    return pair


def _once(fits: Sequence[Fitted]) -> tuple[EstimationWarning, ...]:
    """Each kind of doubt once, as the first fold that has it says it."""
    kinds = {type(doubt): doubt for fitted in reversed(fits) for doubt in fitted.warnings}
    return tuple(kinds.values())


def _listed(fits: Sequence[Fitted]) -> dict[str, Any]:
    """Each number of the method's own, one a fold."""
    return {name: [fitted.information[name] for fitted in fits] for name in fits[0].information}
