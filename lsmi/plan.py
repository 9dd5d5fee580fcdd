"""Who judges whom: which samples fit a model, which it is read on, which choose and calibrate it.

No sample is read by a model that was fitted with it, and none takes part in its own calibration:

- train is cross-fitted: each fold is held out from a model fitted on the other folds. The moment
  at which that model is read and how sure it may be (early stopping, calibration, choice between
  forms) are chosen on the held-out values of the *other* folds;
- test is held out from a model fitted on all of train, which is stopped and calibrated on valid:
  the encoder has seen train, so a classifier calibrated there would be too sure of itself on
  anything else;
- valid is held out from the same model, calibrated on the other folds of valid.

So every row has one held-out value a repeat. Where there is no valid split (or one too small),
test is calibrated on the held-out values of train. Repeats do the same with other folds.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from mimrl.errors import EstimationError, EstimationWarning

Rows = npt.NDArray[np.int64]
SMALLEST_CALIBRATION = 20  # fewer rows say too little about when to stop and how sure to be
HELD_OUT_PARTS = 5  # valid is read in so many parts; a trial holds out one such part of train


@dataclass(frozen=True)
class Fold:
    """A model is fitted on ``fit`` and evaluated on ``held``, which have no row in common."""

    fit: Rows
    held: Rows


@dataclass(frozen=True)
class Reading:
    """Rows that are read, and the rows whose held-out values choose and calibrate what is read.

    Attributes:
        split: the split that the read rows belong to.
        read: rows that are judged.
        calibrate: rows of which none is read here.
    """

    split: str
    read: Rows
    calibrate: Rows


@dataclass(frozen=True)
class Plan:
    """All folds and readings of one repeat; every row of every split is held and read once.

    Attributes:
        inside: the folds of train.
        outside: all of train, and all other splits held out; None where there is no other.
        readings: who reads what.
        trial: a fold of train on which settings (components, families) are compared.
    """

    inside: tuple[Fold, ...]
    outside: Fold | None
    readings: tuple[Reading, ...]
    trial: Fold

    @property
    def folds(self) -> tuple[Fold, ...]:
        """All models."""
        return self.inside if self.outside is None else (*self.inside, self.outside)

    def judges(self, fold: Fold) -> Rows:
        """Rows held out from a fold whose labels may say when the training of its model ends.

        Those that calibrate some reading: of train and valid, never of test.
        """
        calibrating = np.concatenate([reading.calibrate for reading in self.readings])
        return np.intersect1d(fold.held, calibrating)


def make_plan(
    splits: Mapping[str, Rows],
    labels: Rows,
    groups: Rows | None,
    folds: int,
    seed: int,
    barred: Rows | None = None,
) -> Plan:
    """A plan for the rows of ``train`` and of any other splits.

    Args:
        splits: split name -> row numbers; ``train`` is among them.
        labels: ``(N,)`` classes of all rows; folds keep their shares.
        groups: ``(N,)`` names (videos, speakers) that are never torn apart, or None.
        folds: folds of train, at least 2; fewer are made where there are fewer groups.
        seed: of the folds.
        barred: rows of train that occur in another split too: the model that reads the other
            splits is not fitted with them.

    Raises:
        EstimationError: no train split, fewer samples than folds need, or hardly any that are not
            barred.
    """
    if "train" not in splits:
        raise EstimationError(f"no train split among {list(splits)}; models are fitted on train")
    names = np.arange(len(labels)) if groups is None else groups

    def parts(rows: Rows, count: int) -> list[Rows]:
        return _parts(rows, labels[rows], names[rows], count, seed)

    train = splits["train"]
    if len(train) < 2 * max(folds, HELD_OUT_PARTS):
        raise EstimationError(
            f"train has {len(train)} samples, too few for {folds} folds and a trial that holds out "
            f"a fifth; expected at least {2 * max(folds, HELD_OUT_PARTS)}"
        )
    inside, outside, readings = [], None, []
    for part in parts(train, folds):
        rest = np.setdiff1d(train, part)
        inside.append(Fold(rest, part))
        readings.append(Reading("train", part, rest))
    held = parts(train, HELD_OUT_PARTS)[0]
    trial = Fold(np.setdiff1d(train, held), held)
    others = {name: rows for name, rows in splits.items() if name != "train" and len(rows) > 0}
    if others:
        fit = train if barred is None else np.setdiff1d(train, barred)
        _check_left(fit, train, labels)
        outside = Fold(fit, np.concatenate(list(others.values())))
    valid = splits.get("valid", np.zeros(0, np.int64))
    enough = len(valid) >= SMALLEST_CALIBRATION
    if 0 < len(valid) < SMALLEST_CALIBRATION:
        _warn_of_small_valid(len(valid))
    for name, rows in others.items():
        if name == "valid" and enough:
            for part in parts(valid, HELD_OUT_PARTS):
                readings.append(Reading(name, part, np.setdiff1d(valid, part)))
        else:
            readings.append(Reading(name, rows, valid if enough else train))
    return Plan(tuple(inside), outside, tuple(readings), trial)


def _check_left(fit: Rows, train: Rows, labels: Rows) -> None:
    if len(fit) < 2 * HELD_OUT_PARTS or len(np.unique(labels[fit])) < 2:
        raise EstimationError(
            f"{len(train) - len(fit)} of {len(train)} training samples have doubles in other "
            f"splits; the {len(fit)} that are left cannot fit the models that read these. Split "
            "the samples so that none is in two splits"
        )


def _warn_of_small_valid(count: int) -> None:
    warnings.warn(
        f"valid has {count} samples, too few to calibrate on; cross-fitted train takes its "
        "place, and if an encoder was trained on train, the readings of valid and test may "
        "be too sure of themselves",
        EstimationWarning,
        stacklevel=3,
    )


def _parts(rows: Rows, labels: Rows, names: Rows, count: int, seed: int) -> list[Rows]:
    """``rows`` in ``count`` parts of like class shares that tear no group apart."""
    distinct = len(np.unique(names))
    if distinct < 2:
        warnings.warn(
            f"{len(rows)} samples share one group; folds tear it apart",
            EstimationWarning,
            stacklevel=3,
        )
        names, distinct = rows, len(rows)
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
