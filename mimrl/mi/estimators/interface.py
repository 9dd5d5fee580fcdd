"""What every estimator of mutual information offers; nats throughout.

An estimator is its settings: a frozen pydantic model, so that options are checked where they are
given and an option without effect does not exist. Data come to :meth:`Estimator.estimate`; nothing
is kept between calls. The methods are those of ``IMutualInformationPointEstimator`` of the
benchmark of Czyz et al. (2023, package ``benchmark-mi``), whose harness runs these classes as they
are.
"""

from __future__ import annotations

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pydantic
from torch import Tensor

from mimrl.errors import ConfigError, EstimationWarning, NonFiniteError, VarianceWarning
from mimrl.mi.devices import checked_device
from mimrl.mi.estimators.samples import Pair, checked_pair, checked_triple, doubts_of

Floats = npt.NDArray[np.float64]
Samples = npt.ArrayLike | Tensor

LARGE_STANDARD_ERROR = 0.1
"""Nats; above this and above a fifth of the estimate a :class:`VarianceWarning` is given."""


Device = Annotated[str, pydantic.AfterValidator(checked_device)]
"""A PyTorch device that is there: cpu, cuda, cuda:1, mps."""


@dataclass(frozen=True)
class CurvePoint:
    """The state of a training at one step.

    Attributes:
        fold: number of the cross-fitting fold, from 0.
        step: optimiser steps done.
        train: estimate on the training batch, or its running mean, in nats.
        validation: estimate on validation rows, in nats.
    """

    fold: int
    step: int
    train: float
    validation: float


@dataclass(frozen=True)
class EstimateResult:
    """An estimate and what is known about it.

    Attributes:
        mi_estimate: in nats.
        standard_error: in nats, over samples and, where the method is cross-fitted, folds; NaN if
            the method has none. The method's own bias is not in it.
        pointwise: ``(N,)`` log p(x, y) / (p(x) p(y)) as the method reads it, whose mean is
            ``mi_estimate``; None if the method has none.
        curve: trainings, for methods that train.
        warnings: doubts that were warned of.
        time_in_seconds: wall time.
        additional_information: numbers of the method's own (neighbours, chosen step, ...), JSON
            types only.
    """

    mi_estimate: float
    standard_error: float = float("nan")
    pointwise: Floats | None = None
    curve: Sequence[CurvePoint] = ()
    warnings: Sequence[EstimationWarning] = ()
    time_in_seconds: float | None = None
    additional_information: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_pointwise(cls, values: Floats, **more: Any) -> EstimateResult:
        """A result whose estimate is a mean of independent ``values`` ``(N,)``."""
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan
        return cls(float(values.mean()), error, values, **more)


class _Settings(pydantic.BaseModel, ABC):
    """A frozen settings object whose problems are one :class:`ConfigError`."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except pydantic.ValidationError as error:
            raise ConfigError(_explained(type(self), error)) from None

    def parameters(self) -> pydantic.BaseModel:
        """The settings, as the harness of ``benchmark-mi`` asks for them."""
        return self

    def fewest(self, *widths: int) -> int:
        """Rows below which a :class:`~mimrl.errors.SampleSizeWarning` is given.

        Args:
            widths: columns of x, of y and, for conditional information, of z.
        """
        return 10 * sum(widths)


class Estimator(_Settings):
    """An estimator of I(X; Y).

    Attributes:
        continuous: whether equal values in a column contradict the method, which then warns.
        smallest: rows below which there is no estimate.
    """

    continuous: ClassVar[bool] = True
    smallest: ClassVar[int] = 10

    def estimate(self, x: Samples, y: Samples) -> float:
        """I(X; Y) in nats.

        Args:
            x: ``(N, dx)`` or ``(N,)`` samples, numpy, torch or lists; finite numbers.
            y: ``(N, dy)`` or ``(N,)``, paired with x.

        Raises:
            ShapeError: x and y differ in rows, or are not one or two-dimensional.
            NonFiniteError: NaN or infinite values, or an estimate that became so.
            EstimationError: too few rows, or no column that varies.

        Warns:
            EstimationWarning: the estimate is doubtful, and why.
        """
        return self._informed(x, y).mi_estimate

    def estimate_with_info(self, x: Samples, y: Samples) -> EstimateResult:
        """I(X; Y) with its standard error, training curves and doubts; see :meth:`estimate`."""
        return self._informed(x, y)

    def _informed(self, x: Samples, y: Samples) -> EstimateResult:
        pair, found = checked_pair(x, y, smallest=self.smallest)
        found += doubts_of(
            {"x": pair.x, "y": pair.y},
            continuous=self.continuous,
            fewest=self.fewest(pair.x.shape[1], pair.y.shape[1]),
        )
        return _finished(type(self).__name__, found, lambda: self.read(pair))

    @abstractmethod
    def read(self, pair: Pair) -> EstimateResult:
        """The estimate from samples that were checked; doubts go into ``warnings`` unwarned."""


class ConditionalEstimator(_Settings):
    """An estimator of I(X; Y | Z); as :class:`Estimator` with a third variable."""

    continuous: ClassVar[bool] = True
    smallest: ClassVar[int] = 20

    def estimate(self, x: Samples, y: Samples, z: Samples) -> float:
        """I(X; Y | Z) in nats.

        Args:
            x: ``(N, dx)`` or ``(N,)`` samples, numpy, torch or lists; finite numbers.
            y: ``(N, dy)`` or ``(N,)``, paired with x.
            z: ``(N, dz)`` or ``(N,)``, paired with x.

        Raises:
            ShapeError: rows differ, or arrays are not one or two-dimensional.
            NonFiniteError: NaN or infinite values, or an estimate that became so.
            EstimationError: too few rows, or no column that varies.

        Warns:
            EstimationWarning: the estimate is doubtful, and why.
        """
        return self._informed(x, y, z).mi_estimate

    def estimate_with_info(self, x: Samples, y: Samples, z: Samples) -> EstimateResult:
        """I(X; Y | Z) with its standard error and doubts; see :meth:`estimate`."""
        return self._informed(x, y, z)

    def _informed(self, x: Samples, y: Samples, z: Samples) -> EstimateResult:
        triple, found = checked_triple(x, y, z, smallest=self.smallest)
        found += doubts_of(
            {"x": triple.x, "y": triple.y, "z": triple.z},
            continuous=self.continuous,
            fewest=self.fewest(triple.x.shape[1], triple.y.shape[1], triple.z.shape[1]),
        )
        return _finished(
            type(self).__name__, found, lambda: self.read(triple.x, triple.y, triple.z)
        )

    @abstractmethod
    def read(self, x: Floats, y: Floats, z: Floats) -> EstimateResult:
        """The estimate from checked samples ``(N, d)``; doubts go into ``warnings`` unwarned."""


def _finished(name: str, found: list[EstimationWarning], read: Any) -> EstimateResult:
    """Says what is known before a reading, times it, refuses one that is not finite."""
    start = time.perf_counter()
    _warn(found)
    result: EstimateResult = read()
    if not np.isfinite(result.mi_estimate):
        raise NonFiniteError(
            f"{name} gave {result.mi_estimate}; expected a finite number. The data may determine "
            "each other exactly (infinite information), or have values of very different size: "
            "try preprocessing='normal_scores'"
        )
    more = [*result.warnings, *_doubtful_error(name, result)]
    _warn(more)
    seconds = time.perf_counter() - start
    return replace(result, warnings=(*found, *more), time_in_seconds=seconds)


def _warn(doubts: Sequence[EstimationWarning]) -> None:
    for doubt in doubts:
        warnings.warn(doubt, stacklevel=5)  # the caller of a public method


def _doubtful_error(name: str, result: EstimateResult) -> list[EstimationWarning]:
    error = result.standard_error
    if not error > max(LARGE_STANDARD_ERROR, 0.2 * abs(result.mi_estimate)):
        return []
    return [
        VarianceWarning(
            f"{name}: the standard error of {result.mi_estimate:.3g} nats is {error:.2g}; take "
            "more samples or another estimator"
        )
    ]


def _explained(kind: type[pydantic.BaseModel], error: pydantic.ValidationError) -> str:
    """All problems of some settings in one message."""
    lines = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            known = ", ".join(kind.model_fields) or "none"
            lines.append(f"{place} is not an option; the options are: {known}")
        elif place:
            lines.append(f"{place} = {problem['input']!r}: {text[0].lower()}{text[1:]}")
        else:  # several options that do not go together
            lines.append(text)
    return f"{kind.__name__}: " + "; ".join(lines)
