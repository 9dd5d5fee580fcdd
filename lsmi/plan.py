"""Who judges whom: which samples fit a model, which calibrate it, which it may read.

No sample is read by a model that was fitted or calibrated with it:

- train is read by cross-fitting: each fold by a model fitted on the other folds and stopped and
  calibrated on a held-out part of them;
- test is read by a model fitted on train, stopped and calibrated on valid: the encoder has seen
  train, so a classifier calibrated there would be too sure of itself on anything else;
- valid is read by the same model, calibrated on the other folds of valid.

Where there is no valid split (or one too small), a held-out part of train takes its place.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from mimrl.errors import EstimationError, EstimationWarning

Rows = npt.NDArray[np.int64]
SMALLEST_CALIBRATION = 20  # fewer rows say too little about when to stop and how sure to be
HELD_OUT_PARTS = 5  # a fifth of the rows is held out where there is no valid split


@dataclass(frozen=True)
class Reading:
    """One set of samples and who judges it.

    Attributes:
        split: the split that the read rows belong to.
        fit: number of the fit in :attr:`Plan.fits`.
        calibrate: rows on which early stopping, calibration and the choice of model happen.
        read: rows that are judged.
    """

    split: str
    fit: int
    calibrate: Rows
    read: Rows


@dataclass(frozen=True)
class Plan:
    """All fits and readings; every row of every split is read exactly once.

    Attributes:
        fits: the training rows of each model.
        readings: who reads what.
        trial_fit: rows of train on which settings (the number of components) are tried.
        trial_read: rows of train, none of them in ``trial_fit``, on which they are compared.
    """

    fits: tuple[Rows, ...]
    readings: tuple[Reading, ...]
    trial_fit: Rows
    trial_read: Rows


def make_plan(
    splits: Mapping[str, Rows],
    labels: Rows,
    groups: Sequence[str] | None,
    folds: int,
    seed: int,
) -> Plan:
    """A plan for the rows of ``train`` and of any other splits.

    Args:
        splits: split name -> row numbers; ``train`` is among them.
        labels: ``(N,)`` classes of all rows; folds keep their shares.
        groups: ``N`` names (videos, speakers) that are never torn apart, or None.
        folds: folds of train, at least 2; fewer are made where there are fewer groups.
        seed: of the folds.

    Raises:
        EstimationError: no train split, or fewer samples than folds need.
    """
    if "train" not in splits:
        raise EstimationError(f"no train split among {list(splits)}; models are fitted on train")
    names = np.arange(len(labels)).astype(str) if groups is None else np.asarray(groups)

    def parts(rows: Rows, count: int) -> list[Rows]:
        return _parts(rows, labels[rows], names[rows], count, seed)

    train = splits["train"]
    held_out = parts(train, HELD_OUT_PARTS)[0]
    without = np.setdiff1d(train, held_out)
    fits, readings = [], []
    for number, fold in enumerate(parts(train, folds)):
        rest = np.setdiff1d(train, fold)
        stop_on = parts(rest, HELD_OUT_PARTS)[0]
        fits.append(np.setdiff1d(rest, stop_on))
        readings.append(Reading("train", number, stop_on, fold))
    valid = splits.get("valid", np.zeros(0, np.int64))
    enough = len(valid) >= SMALLEST_CALIBRATION
    if 0 < len(valid) < SMALLEST_CALIBRATION:
        warnings.warn(
            f"valid has {len(valid)} samples, too few to calibrate on; a part of train takes its "
            "place, and if an encoder was trained on train, the readings of valid and test may "
            "be too sure of themselves",
            EstimationWarning,
            stacklevel=2,
        )
    for name, rows in splits.items():
        if name == "valid" and enough:
            for fold in parts(valid, HELD_OUT_PARTS):
                readings.append(Reading(name, len(fits), np.setdiff1d(valid, fold), fold))
        elif name != "train" and len(rows) > 0:
            readings.append(Reading(name, len(fits), valid if enough else held_out, rows))
    if max(reading.fit for reading in readings) == len(fits):
        fits.append(train if enough else without)
    return Plan(tuple(fits), tuple(readings), without, held_out)


def _parts(
    rows: Rows, labels: Rows, names: npt.NDArray[np.str_], count: int, seed: int
) -> list[Rows]:
    """``rows`` in ``count`` parts of like class shares that tear no group apart."""
    if len(rows) < 2 * count:
        raise EstimationError(
            f"{len(rows)} samples are too few for {count} folds; expected at least {2 * count}"
        )
    distinct = len(np.unique(names))
    if distinct < 2:
        warnings.warn(
            f"{len(rows)} samples share one group ({names[0]}); folds tear it apart",
            EstimationWarning,
            stacklevel=2,
        )
        names, distinct = rows.astype(str), len(rows)
    count = min(count, distinct)
    alone = distinct == len(rows)
    splitter = (StratifiedKFold if alone else StratifiedGroupKFold)(
        n_splits=count, shuffle=True, random_state=seed
    )
    # they refuse when no class has `count` members: classes so rare are not stratified
    rare = np.unique(labels, return_counts=True)[1].max() < count
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        shares = np.zeros_like(labels) if rare else labels
        found = [rows[part] for _, part in splitter.split(rows, shares, None if alone else names)]
    return [part for part in found if len(part) > 0]
