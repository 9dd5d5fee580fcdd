"""From the label column of a file to what is predicted: ratings, or classes cut from them.

The classes of a rating in [-3, 3] are those in which results on MOSI and MOSEI are reported; the
rule for each target stands in :data:`LABEL_RULES`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimrl.datasets.features import FloatArray, IntArray
from mimrl.errors import DataError
from mimrl.settings.data import Target

RATING_LIMIT = 3.0
RATING_SLACK = 1e-4


@dataclass(frozen=True)
class LabelRule:
    """How a rating in [-3, 3] becomes a class.

    Attributes:
        class_names: names of the classes, class 0 first.
        text: the rule in words, for reports.
        source: where the rule comes from.
        limit: for rounded classes: the rating is clipped to ``[-limit, limit]`` and rounded.
    """

    class_names: tuple[str, ...]
    text: str
    source: str
    limit: int | None = None


_MMSA = "MMSA, utils/metricsTop.py, regression rules of MOSI and MOSEI (thuiar/MMSA@a94e65d)"

LABEL_RULES: dict[Target, LabelRule] = {
    "binary_has0": LabelRule(
        ("negative", "non-negative"),
        "non-negative where rating >= 0",
        f"{_MMSA}: Has0; MMSA's classification rules count 0 as negative instead",
    ),
    "binary_non0": LabelRule(
        ("negative", "positive"),
        "positive where rating > 0; samples with rating 0 are dropped from every split",
        f"{_MMSA}: Non0",
    ),
    "three": LabelRule(
        ("negative", "neutral", "positive"),
        "rating clipped to [-1, 1], rounded half to even",
        f"{_MMSA}: Acc3",
        limit=1,
    ),
    "five": LabelRule(
        ("-2", "-1", "0", "1", "2"),
        "rating clipped to [-2, 2], rounded half to even",
        f"{_MMSA}: Acc5",
        limit=2,
    ),
    "seven": LabelRule(
        ("-3", "-2", "-1", "0", "1", "2", "3"),
        "rating clipped to [-3, 3], rounded half to even",
        f"{_MMSA}: Acc7",
        limit=3,
    ),
}


def rounded_class(ratings: npt.ArrayLike, limit: int) -> IntArray:
    """Class ``round(clip(rating, -limit, limit)) + limit``, halves rounded to the even number.

    Source: MMSA's Acc3, Acc5 and Acc7 (limit 1, 2, 3), which use ``numpy.round``.

    >>> rounded_class([-2.5, -0.5, 0.5, 1.5, 9.0], limit=3).tolist()
    [1, 3, 3, 5, 6]

    Args:
        ratings: any shape, any real values.
        limit: 1, 2 or 3.

    Returns:
        int64 of the same shape, from 0 to ``2 * limit``.
    """
    clipped = np.clip(np.asarray(ratings), -limit, limit)
    return np.round(clipped).astype(np.int64) + limit


def kept_rows(ratings: npt.ArrayLike, target: Target) -> npt.NDArray[np.bool_]:
    """Which samples a target keeps: all, but for ``binary_non0`` those with a rating other than 0.

    >>> kept_rows([-1.0, 0.0, 2.0], "binary_non0").tolist()
    [True, False, True]
    """
    values = np.asarray(ratings)
    return values != 0 if target == "binary_non0" else np.ones(values.shape, dtype=bool)


def rating_classes(ratings: npt.ArrayLike, target: Target) -> IntArray:
    """Classes of ratings by the rule ``LABEL_RULES[target]``.

    >>> rating_classes([-0.2, 0.0, 1.0], "binary_has0").tolist()
    [0, 1, 1]

    Args:
        ratings: ``(N,)`` in [-3, 3]; for ``binary_non0`` without zeros (:func:`kept_rows`).
        target: a key of :data:`LABEL_RULES`.

    Returns:
        ``(N,)`` int64 classes, 0 first.

    Raises:
        DataError: ratings outside [-3, 3], or zeros where the target has no class for them.
    """
    values = np.asarray(ratings)
    if np.any(np.abs(values) > RATING_LIMIT + RATING_SLACK):
        raise DataError(
            f"target {target} cuts classes from a rating in [-3, 3], but the label column runs "
            f"from {values.min():g} to {values.max():g}; choose another data.label, or "
            "data.target regression or class"
        )
    rule = LABEL_RULES[target]
    if rule.limit is not None:
        return rounded_class(values, rule.limit)
    if target == "binary_non0" and np.any(values == 0):
        raise DataError("target binary_non0 has no class for rating 0; drop those samples first")
    return (values >= 0).astype(np.int64)


@dataclass(frozen=True)
class ClassCoding:
    """The classes a file has: ``names[c]`` is written in the file as ``values[c]``."""

    values: tuple[int, ...]
    names: tuple[str, ...]

    def encode(self, labels: npt.ArrayLike) -> IntArray:
        """``(N,)`` labels as the file has them -> ``(N,)`` int64 classes from 0.

        Raises:
            DataError: a value that is not one of the classes.
        """
        given = np.asarray(labels)
        known = np.asarray(self.values)
        found = np.clip(np.searchsorted(known, given), 0, len(known) - 1)
        strange = np.unique(given[known[found] != given])
        if len(strange):
            raise DataError(f"labels {strange[:10].tolist()} are not among classes {self.values}")
        return found.astype(np.int64)


def class_coding(labels: npt.ArrayLike) -> ClassCoding:
    """How the classes of a file are written: {-1, 1}, or whole numbers 0 .. C-1.

    >>> class_coding([1, -1, 1]).values
    (-1, 1)
    >>> class_coding([0, 2, 1]).names
    ('0', '1', '2')

    Args:
        labels: the label column of all splits together.

    Raises:
        DataError: other values (fractions, {-1, 0, 1}, one class only, a class never used).
    """
    found = np.unique(np.asarray(labels))
    if set(found.tolist()) == {-1.0, 1.0}:
        return ClassCoding((-1, 1), ("-1", "1"))
    if len(found) >= 2 and np.array_equal(found, np.arange(len(found))):
        numbers = tuple(range(len(found)))
        return ClassCoding(numbers, tuple(str(n) for n in numbers))
    shown = ", ".join(f"{value:g}" for value in found[:10]) + (", ..." if len(found) > 10 else "")
    raise DataError(
        f"target class needs labels in {{-1, 1}} or whole numbers 0 .. C-1 with at least two "
        f"classes, found {len(found)} distinct values: {shown}; choose another data.label, or cut "
        "classes from a rating with data.target binary_has0, binary_non0, three, five or seven"
    )


def as_ratings(labels: npt.ArrayLike) -> FloatArray:
    """``(N,)`` float32 copy of a label column."""
    return np.array(labels, dtype=np.float32)
