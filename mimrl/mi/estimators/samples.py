"""Samples as estimators take them: checked, two-dimensional, float64, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mimrl.errors import (
    ConstantColumnWarning,
    EstimationError,
    EstimationWarning,
    NonFiniteError,
    SampleSizeWarning,
    ShapeError,
    TiesWarning,
)

Floats = npt.NDArray[np.float64]

MOST_TIES = 0.02
"""Share of rows that may repeat a value of their column before it is called tied."""


BEYOND_REACH = 10**8
"""Rows that are not named as something to aim for."""


@dataclass(frozen=True)
class Pair:
    """Paired samples.

    Attributes:
        x: ``(N, dx)`` finite, every column varies.
        y: ``(N, dy)``, likewise.
    """

    x: Floats
    y: Floats

    def __len__(self) -> int:
        return len(self.x)

    def select(self, rows: npt.NDArray[np.int64]) -> Pair:
        """The pair at some rows."""
        return Pair(self.x[rows], self.y[rows])

    def shuffled(self, seed: int) -> Pair:
        """The same margins without dependence: y in a random order."""
        return Pair(self.x, self.y[np.random.default_rng(seed).permutation(len(self.y))])


@dataclass(frozen=True)
class TripleSamples:
    """Samples of x, y and a condition z, ``(N, d)`` each; every column varies."""

    x: Floats
    y: Floats
    z: Floats


def paired(x: object, y: object) -> Pair:
    """Paired samples with all their columns, also those that do not vary.

    Raises:
        ShapeError: not one or two-dimensional, not numbers, or rows that differ in number.
        NonFiniteError: NaN or infinite values.
        EstimationError: no rows.
    """
    arrays = _arrays({"x": x, "y": y}, smallest=1)
    return Pair(arrays["x"], arrays["y"])


def checked_pair(
    x: object, y: object, *, smallest: int = 2
) -> tuple[Pair, list[EstimationWarning]]:
    """Paired samples without constant columns, and what is to be said about those left out.

    Args:
        x: ``(N, dx)`` or ``(N,)``, anything numpy reads, or a tensor on any device.
        y: ``(N, dy)`` or ``(N,)``.
        smallest: rows below which there is no estimate.

    Raises:
        ShapeError: not one or two-dimensional, not numbers, or rows that differ in number.
        NonFiniteError: NaN or infinite values.
        EstimationError: fewer rows than ``smallest``, or no column that varies.
    """
    (first, second), found = _checked({"x": x, "y": y}, smallest)
    return Pair(first, second), found


def checked_triple(
    x: object, y: object, z: object, *, smallest: int = 2
) -> tuple[TripleSamples, list[EstimationWarning]]:
    """As :func:`checked_pair`, with a condition z ``(N, dz)`` or ``(N,)``."""
    arrays, found = _checked({"x": x, "y": y, "z": z}, smallest)
    return TripleSamples(*arrays), found


def doubts_of(
    variables: Mapping[str, Floats], *, continuous: bool, fewest: int
) -> list[EstimationWarning]:
    """What a reader should know about checked samples before an estimate from them.

    Args:
        variables: name -> ``(N, d)``.
        continuous: whether the method takes columns for continuous.
        fewest: rows below which there are few for the number of dimensions.
    """
    found: list[EstimationWarning] = []
    rows = len(next(iter(variables.values())))
    if rows < fewest:
        widths = " + ".join(str(values.shape[1]) for values in variables.values())
        wanted = f"{fewest} or more" if fewest < BEYOND_REACH else "more than anybody has"
        found.append(
            SampleSizeWarning(
                f"{rows} samples are few for {widths} dimensions; this method wants {wanted}, "
                "or fewer dimensions (principal components, for example)"
            )
        )
    if continuous:
        for name, values in variables.items():
            found += _ties(name, values)
    return found


def _checked(
    variables: Mapping[str, object], smallest: int
) -> tuple[list[Floats], list[EstimationWarning]]:
    arrays = _arrays(variables, smallest)
    found: list[EstimationWarning] = []
    varying = [_without_constants(name, values, found) for name, values in arrays.items()]
    return varying, found


def _arrays(variables: Mapping[str, object], smallest: int) -> dict[str, Floats]:
    arrays = {name: _array(name, values) for name, values in variables.items()}
    rows = {name: len(values) for name, values in arrays.items()}
    if len(set(rows.values())) > 1:
        text = ", ".join(f"{name} {count}" for name, count in rows.items())
        raise ShapeError(f"samples must be paired row by row, got rows: {text}")
    count = next(iter(rows.values()))
    if count < smallest:
        raise EstimationError(f"{count} samples; expected at least {smallest} for an estimate")
    return arrays


def _array(name: str, values: object) -> Floats:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"{name} is not an array of numbers: {error}") from error
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] == 0:
        raise ShapeError(f"{name} must be (N,) or (N, d) with d >= 1, got shape {array.shape}")
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise NonFiniteError(
            f"{name} has {int((~np.isfinite(array)).sum())} NaN or infinite values, the first in "
            f"row {row}, column {column}; remove or fill these rows"
        )
    return array


def _without_constants(name: str, values: Floats, found: list[EstimationWarning]) -> Floats:
    constant = (values == values[:1]).all(axis=0)
    if constant.all():
        raise EstimationError(
            f"{name} has no column that varies: its information about anything is 0, and there is "
            "nothing to estimate"
        )
    if not constant.any():
        return values
    columns = ", ".join(str(column) for column in np.flatnonzero(constant)[:10])
    found.append(
        ConstantColumnWarning(
            f"{name}: {int(constant.sum())} of {len(constant)} columns do not vary and are left "
            f"out: {columns}{', ...' if constant.sum() > 10 else ''}"
        )
    )
    return values[:, ~constant]


def _ties(name: str, values: Floats) -> list[EstimationWarning]:
    distinct = np.array([len(np.unique(column)) for column in values.T])
    tied = np.flatnonzero(distinct < (1 - MOST_TIES) * len(values))
    if not len(tied):
        return []
    worst = int(distinct.argmin())
    return [
        TiesWarning(
            f"{name}: {len(tied)} of {values.shape[1]} columns repeat values (column {worst} has "
            f"{distinct[worst]} different values in {len(values)} rows), which this method takes "
            "for continuous; take a histogram or a bound with a critic, or add noise below the "
            "resolution of the data"
        )
    ]
