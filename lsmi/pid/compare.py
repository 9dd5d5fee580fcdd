"""Other measures' decompositions of the same features, in one table beside LSMI's."""

from __future__ import annotations

import warnings
from dataclasses import astuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from lsmi.pid import tables
from lsmi.pid.broja import broja
from lsmi.pid.correction import corrected, shares
from lsmi.pid.discretise import cell_number, class_contrasts, fit_cells
from lsmi.pid.gaussian import gaussian_informations
from lsmi.pid.i_min import i_min
from lsmi.pid.mmi import mmi
from lsmi.pid.tables import FloatArray, Information, Symbols, from_redundancy
from lsmi.results import Measure
from mimrl.errors import EstimationError, EstimationWarning, MimrlError, NonFiniteError, ShapeError

Rows = npt.NDArray[np.int64]
CORRECTION = "bias removed by extrapolation from fewer samples"


def other_measures(
    x1: FloatArray,
    x2: FloatArray,
    labels: npt.NDArray[np.integer],
    train_rows: Rows,
    read_rows: Rows,
    ratings: FloatArray | None = None,
    seed: int = 0,
    information: tuple[float, float, float] | None = None,
) -> tuple[Measure, ...]:
    """I_min, MMI and BROJA of cells, MMI of the classifiers, Gaussian MMI of ratings.

    Cells are fitted on train and read elsewhere. Rows of both are read in two halves, each in cells
    of the training rows outside of it, and the atoms of the halves are averaged: symbols of
    different fits cannot share a table.

    Args:
        x1: ``(N, D1)`` features of all rows, finite.
        x2: ``(N, D2)`` of the second modality.
        labels: ``(N,)`` any integers.
        train_rows: rows that cells may be fitted on.
        read_rows: rows that the decompositions are of.
        ratings: ``(N,)`` continuous labels; None leaves the Gaussian row out.
        seed: of k-means, of shuffled labels and of the correction's thirds.
        information: ``(i1, i2, i12)`` of LSMI's own classifiers on the rows read, in nats; None
            leaves their row out.

    Returns:
        Those that could be computed, in nats. Corrected atoms scatter around 0 where the truth is
        0. An :class:`EstimationWarning` says what is missing and why.

    Raises:
        ShapeError: features, labels and ratings of unequal numbers, or no rows.
        NonFiniteError: NaN or infinite features.
    """
    _check(x1, x2, labels, train_rows, read_rows, ratings)
    numbers = np.unique(labels, return_inverse=True)[1].reshape(-1)
    found: list[Measure] = []
    try:
        with threadpool_limits(1):  # small matrices: on a busy machine more took 20 times as long
            found += _discrete(x1, x2, numbers, train_rows, read_rows, seed)
    except MimrlError as error:
        _left_out("I_min, MMI and BROJA", error)
    if information is not None:
        note = "from the pointwise information of the analysis' classifiers"
        found.append(Measure("MMI of the classifiers", mmi(*information), information, note))
    if ratings is not None:
        try:
            found.append(_gaussian(x1[read_rows], x2[read_rows], ratings[read_rows]))
        except MimrlError as error:
            _left_out("Gaussian MMI", error)
    return tuple(found)


def _check(
    x1: FloatArray,
    x2: FloatArray,
    labels: npt.NDArray[np.integer],
    train_rows: Rows,
    read_rows: Rows,
    ratings: FloatArray | None,
) -> None:
    sizes = {"x1": len(x1), "x2": len(x2), "labels": len(labels)}
    if ratings is not None:
        sizes["ratings"] = len(ratings)
    if len(set(sizes.values())) > 1:
        raise ShapeError(f"other measures: expected as many samples in all, got {sizes}")
    for name, rows in (("train_rows", train_rows), ("read_rows", read_rows)):
        if len(rows) == 0:
            raise ShapeError(f"other measures: {name} has no rows")
    for name, x in (("x1", x1), ("x2", x2)):
        if not np.isfinite(x).all():
            raise NonFiniteError(f"other measures: {name} has NaN or infinite values")


def _left_out(names: str, error: MimrlError) -> None:
    warnings.warn(f"{names} left out: {error}", EstimationWarning, stacklevel=3)


def _gaussian(x1: FloatArray, x2: FloatArray, ratings: FloatArray) -> Measure:
    known = gaussian_informations(x1, x2, ratings)
    note = (
        "linear model of the rating, not of its class; degrees of freedom corrected; for one "
        "rating Gaussian I_min, BROJA and delta are the same"
    )
    return Measure("Gaussian MMI", mmi(*astuple(known)), astuple(known), note)


def _discrete(
    x1: FloatArray, x2: FloatArray, labels: Symbols, train: Rows, read: Rows, seed: int
) -> list[Measure]:
    """The three measures of one discretisation; BROJA missing where its program failed."""
    symbols = [
        _symbols(x1, x2, labels, fit, part, seed) for fit, part in _parts(labels, train, read, seed)
    ]
    plain = np.mean([corrected(_information_and_i_min, *one, seed) for one in symbols], axis=0)
    known = Information(*(float(value) for value in plain[:3]))
    atoms = {"I_min": from_redundancy(float(plain[3]), known), "MMI": mmi(*astuple(known))}
    try:
        redundancy = np.mean([corrected(_broja, *one, seed) for one in symbols])
        atoms["BROJA"] = from_redundancy(float(redundancy), known)
    except EstimationError as error:
        _left_out("BROJA", error)
    k1, k2 = symbols[0][-1][1:]
    note = f"{k1} x {k2} k-means cells along directions of the label; {CORRECTION}"
    return [Measure(name, totals, astuple(known), note) for name, totals in atoms.items()]


def _parts(labels: Symbols, train: Rows, read: Rows, seed: int) -> list[tuple[Rows, Rows]]:
    """Rows to fit cells on and rows to read with them, none in both."""
    if len(np.intersect1d(train, read)) == 0:
        return [(train, read)]
    half = shares(labels[read], 2, np.random.default_rng(seed))
    parts = [read[half == number] for number in (0, 1)]
    return [(np.setdiff1d(train, part), part) for part in parts]


def _symbols(
    x1: FloatArray, x2: FloatArray, labels: Symbols, fit: Rows, read: Rows, seed: int
) -> tuple[Symbols, Symbols, Symbols, tuple[int, int, int]]:
    """Labels and cells of the rows read, and the shape of their table."""
    class_contrasts(labels[read])  # refuses a single class, whose table says 0 of everything
    classes = len(np.unique(labels[np.concatenate([fit, read])]))
    count = cell_number(len(read), classes)
    one, two = fit_cells(x1[fit], x2[fit], labels[fit], count, seed)
    shape = (int(labels.max()) + 1, len(one), len(two))
    return labels[read], one(x1[read]), two(x2[read]), shape


def _information_and_i_min(table: FloatArray) -> FloatArray:
    return np.array([*astuple(tables.information(table)), i_min(table).r])


def _broja(table: FloatArray) -> FloatArray:
    return np.array([broja(table).r])
