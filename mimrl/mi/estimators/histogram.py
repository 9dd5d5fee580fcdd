"""Information between cells: of integer data, and as a baseline for all others."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.stats import chi2, rankdata
from sklearn.metrics.cluster import expected_mutual_information

from mimrl.errors import BiasWarning, EstimationWarning, SampleSizeWarning
from mimrl.mi.estimators.interface import EstimateResult, Estimator, Floats
from mimrl.mi.estimators.samples import Pair

Cells = npt.NDArray[np.int64]
Correction = Literal["miller_madow", "permutations", "none"]

SAMPLES_A_CELL = 5
"""Fewest samples that a cell of the table expects under independence, the rule of the chi-square
test; fewer, and no correction of the first order is enough."""


class Histogram(Estimator):
    """I of the cells that X and Y fall into, from a table of counts.

    A variable with few different values has a cell for each. Otherwise one column is cut into
    ``bins`` cells of equal counts, equal values staying together; more columns are cut into 2, 4,
    8 ... cells, at most ``bins``, each in turn halved at the median along its direction of largest
    variance. Cells know less than values: the information between them is at most that of the
    samples, and for more than one column usually far less (a
    :class:`~mimrl.errors.BiasWarning`).

    Note:
        The plain information of a table is too high by about (cells - rows - columns + 1) / 2N.
        ``miller_madow`` subtracts that with the occupied cells; ``permutations`` the exact mean
        over all ways to pair the samples, which is too much where there is dependence. The p-value
        of independence is that of the G test, chi-square with (rows - 1)(columns - 1) degrees of
        freedom.
    """

    continuous: ClassVar[bool] = False

    bins: int | None = Field(
        None, ge=2, description="most cells of a variable; by default the root of N / 5"
    )
    correction: Correction = Field("miller_madow", description="what is subtracted as bias")

    def read(self, pair: Pair) -> EstimateResult:
        """The corrected information of the table of cells."""
        bins = self.bins or max(2, math.isqrt(len(pair) // SAMPLES_A_CELL))
        cells = [_cells(values, bins) for values in (pair.x, pair.y)]
        table = _table(*cells)
        shares = table / len(pair)
        margins = np.outer(shares.sum(axis=1), shares.sum(axis=0))
        ratios = np.log(np.where(table > 0, shares, 1) / np.where(table > 0, margins, 1))
        plain = float((shares * ratios).sum())
        bias = _bias(table, self.correction)
        degrees = (table.shape[0] - 1) * (table.shape[1] - 1)
        return EstimateResult.of_pointwise(
            ratios[cells[0], cells[1]] - bias,
            warnings=_coarse(pair, cells) + _sparse(table),
            additional_information={
                "cells": list(table.shape),
                "plain": plain,
                "bias": bias,
                "p_value": float(chi2.sf(2 * len(pair) * plain, degrees)),
            },
        )


def _bias(table: Cells, correction: Correction) -> float:
    """Expected excess of the plain information of a table, in nats."""
    if correction == "none":
        return 0.0
    if correction == "permutations":
        return float(expected_mutual_information(table, int(table.sum())))
    occupied = int((table > 0).sum())
    return (occupied - table.shape[0] - table.shape[1] + 1) / (2 * int(table.sum()))


def _cells(values: Floats, bins: int) -> Cells:
    """``(N,)`` the cell of each row, numbered from 0 without gaps."""
    different, cells = np.unique(values, axis=0, return_inverse=True)
    if len(different) > bins and values.shape[1] == 1:
        share = (rankdata(values[:, 0]) - 0.5) / len(values)
        cells = np.unique(np.floor(share * bins), return_inverse=True)[1]
    elif len(different) > bins:
        cells = np.empty(len(values), dtype=np.int64)
        spread = values.std(axis=0)
        for number, rows in enumerate(_halved(values / spread, bins.bit_length() - 1)):
            cells[rows] = number
    return cells.reshape(-1).astype(np.int64)


def _halved(values: Floats, times: int) -> list[Cells]:
    """Rows of up to 2^times cells, each cut at the median of its first principal component."""
    parts = [np.arange(len(values))]
    for _ in range(times):
        parts = [half for rows in parts for half in _halves(values, rows)]
    return parts


def _halves(values: Floats, rows: Cells) -> list[Cells]:
    """Two parts, or one where all rows are equal."""
    centred = values[rows] - values[rows].mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    along = centred @ vectors[:, -1]
    upper = (rankdata(along) - 0.5) / len(rows) > 0.5
    return [part for part in (rows[~upper], rows[upper]) if len(part)]


def _table(x: Cells, y: Cells) -> Cells:
    counts = np.zeros((x.max() + 1, y.max() + 1), dtype=np.int64)
    np.add.at(counts, (x, y), 1)
    return counts


def _sparse(table: Cells) -> tuple[EstimationWarning, ...]:
    """Said of tables larger than the default would make them."""
    each = table.sum() / table.size
    if each >= SAMPLES_A_CELL:
        return ()
    return (
        SampleSizeWarning(
            f"a table of {table.shape[0]} x {table.shape[1]} cells has {each:.2g} samples a cell; "
            f"its bias is known with {SAMPLES_A_CELL} or more: take fewer bins"
        ),
    )


def _coarse(pair: Pair, cells: list[Cells]) -> tuple[EstimationWarning, ...]:
    """Said of variables with several columns whose values do not have a cell each."""
    cut = [
        f"{name} ({values.shape[1]} columns) into {found.max() + 1} cells"
        for name, values, found in zip("xy", (pair.x, pair.y), cells, strict=True)
        if values.shape[1] > 1 and len(np.unique(values, axis=0)) > found.max() + 1
    ]
    if not cut:
        return ()
    return (
        BiasWarning(
            f"a histogram cuts {' and '.join(cut)}; what is read is the information between "
            "cells, which may be far less than that of the samples"
        ),
    )
