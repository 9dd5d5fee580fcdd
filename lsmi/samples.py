"""The data of an analysis: named features with labels, by split, checked and joined."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mimrl.errors import EstimationError, EstimationWarning, NonFiniteError, ShapeError

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
SMALLEST, LARGEST = 1e-100, 1e100  # of the largest feature: squares and their sums stay in float64


@dataclass(frozen=True)
class NamedFeatures:
    """One split.

    Attributes:
        features: name -> ``(N, D)``; the names are those of the pairs (``text``, ``fused``, ...).
        labels: ``(N,)`` class of each sample: any whole numbers.
        ids: ``N`` names; row numbers when None.
        groups: ``N`` names of what must not be torn apart in cross-fitting (video, speaker), or
            None; all splits have them or none has.
        texts: ``N`` transcripts for the report, or None.
        ratings: ``(N,)`` the label before it was cut into classes, or None; decompositions for
            continuous labels read it.
        predictions: ``(N,)`` what the model said, for the report, or None.
    """

    features: Mapping[str, npt.NDArray[np.floating]]
    labels: npt.NDArray[np.integer]
    ids: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    texts: Sequence[str] | None = field(default=None, repr=False)
    ratings: npt.NDArray[np.floating] | None = None
    predictions: npt.NDArray[np.floating] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Joined:
    """All splits end to end.

    Attributes:
        features: name -> ``(N, D)`` float64.
        labels: ``(N,)`` numbers into ``classes``.
        classes: the labels' values on train, in order.
        splits: split name -> row numbers.
        ids: ``N`` names.
        groups: ``(N,)`` numbers of what is never torn apart: groups as given, and samples whose
            features are all the same; None where every sample stands alone.
        barred: rows of train that have a double in another split.
        ratings: ``(N,)`` or None.
    """

    features: Mapping[str, FloatArray]
    labels: Rows
    classes: tuple[int, ...]
    splits: Mapping[str, Rows]
    ids: tuple[str, ...]
    groups: Rows | None
    barred: Rows
    ratings: FloatArray | None

    @property
    def log_frequencies(self) -> FloatArray:
        """``(C,)`` logs of the class frequencies of train."""
        counts = np.bincount(self.labels[self.splits["train"]], minlength=len(self.classes))
        return np.log(counts / counts.sum())


def join(splits: Mapping[str, NamedFeatures]) -> Joined:
    """Splits as one table.

    Raises:
        EstimationError: no train split, one class only, or a class that train lacks.
        ShapeError: features, labels, ids or groups of unequal numbers or names.
        NonFiniteError: NaN or infinite features.
    """
    given = {name: split for name, split in splits.items() if len(split) > 0}
    if "train" not in given:
        raise EstimationError(f"no train samples among splits {list(splits)}; models need them")
    for name, split in given.items():
        _check_labels(name, split)
    classes = _classes(given)
    ends = np.cumsum([0, *(len(split) for split in given.values())])
    rows = {name: np.arange(ends[k], ends[k + 1]) for k, name in enumerate(given)}
    labels = np.concatenate([np.asarray(split.labels, np.int64) for split in given.values()])
    features = {name: _stack(given, name) for name in _names(given)}
    doubles = _doubles(features)
    rated = [split.ratings for split in given.values() if split.ratings is not None]
    return Joined(
        features=features,
        labels=np.searchsorted(classes, labels),
        classes=classes,
        splits=rows,
        ids=tuple(name for split in given.values() for name in _ids(split)),
        groups=_groups(given, doubles),
        barred=_barred(doubles, rows),
        ratings=np.concatenate(rated).astype(np.float64) if len(rated) == len(given) else None,
    )


def _ids(split: NamedFeatures) -> list[str]:
    names = range(len(split)) if split.ids is None else split.ids
    return [str(name) for name in names]


def _names(given: Mapping[str, NamedFeatures]) -> tuple[str, ...]:
    names = {name: tuple(split.features) for name, split in given.items()}
    if len({frozenset(found) for found in names.values()}) > 1 or not names["train"]:
        raise ShapeError(f"splits have different features: {names}; expected the same in each")
    return names["train"]


def _stack(given: Mapping[str, NamedFeatures], which: str) -> FloatArray:
    arrays = {
        name: check_features(split.features[which], f"{which} of {name}", len(split))
        for name, split in given.items()
    }
    widths = {name: array.shape[1] for name, array in arrays.items()}
    if len(set(widths.values())) > 1:
        raise ShapeError(f"{which} has a different number of columns by split: {widths}")
    return np.concatenate(list(arrays.values()))


def require_finite(features: npt.NDArray[np.generic], name: str) -> None:
    """Refuses samples with NaN or infinite features.

    Args:
        features: ``(N, D)`` numbers.
        name: for the message.

    Raises:
        NonFiniteError: there are some; the message counts them.
    """
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise NonFiniteError(
            f"{name} has NaN or infinite values in {len(bad)} of {len(features)} rows, first in "
            f"row {bad[0]}; leave these samples out or repair the features"
        )


def check_features(x: npt.ArrayLike, name: str, rows: int) -> FloatArray:
    """``x`` as float64 ``(rows, D)``.

    Raises:
        ShapeError: another number of axes or rows, or no columns.
        NonFiniteError: NaN or infinite values.
        EstimationError: values whose squares leave float64.
    """
    array = np.asarray(x, dtype=np.float64)
    if array.ndim != 2 or len(array) != rows or array.shape[1] == 0:
        raise ShapeError(f"{name} has shape {array.shape}; expected ({rows}, D), a row a sample")
    require_finite(array, name)
    largest = float(np.abs(array).max(initial=0.0))
    if largest > LARGEST or 0 < largest < SMALLEST:
        raise EstimationError(
            f"{name} has a largest value of {largest:.3g}; expected one between {SMALLEST:g} and "
            f"{LARGEST:g}: rescale these features"
        )
    return array


def _check_labels(name: str, split: NamedFeatures) -> None:
    labels = np.asarray(split.labels)
    whole = labels.dtype.kind in "biu" or (
        labels.dtype.kind == "f" and bool((np.round(labels) == labels).all())
    )
    if labels.ndim != 1 or not whole:
        raise ShapeError(
            f"labels of {name} are {labels.dtype} of shape {labels.shape}; expected one integer "
            "class a sample (cut ratings into classes first)"
        )
    for which in ("ids", "groups", "texts", "ratings", "predictions"):
        value = getattr(split, which)
        if value is not None and len(value) != len(labels):
            raise ShapeError(f"{which} of {name}: {len(value)} for {len(labels)} samples")


def _classes(given: Mapping[str, NamedFeatures]) -> tuple[int, ...]:
    """Classes of train; others may have fewer, not more."""
    classes = tuple(int(value) for value in np.unique(given["train"].labels))
    if len(classes) < 2:
        raise EstimationError(
            f"all training samples have label {classes[0]}; information about a label needs at "
            "least two classes"
        )
    for name, split in given.items():
        unseen = sorted({int(value) for value in np.unique(split.labels)} - set(classes))
        if unseen:
            raise EstimationError(
                f"{name} has classes {unseen} that train lacks ({list(classes)}); merge classes, "
                "or leave these samples out"
            )
    return classes


def _doubles(features: Mapping[str, FloatArray]) -> Rows:
    """``(N,)`` numbers; samples with the same number have the same features throughout.

    Where most samples share their features with another, the features are discrete, and equal
    ones are no doubles but the nature of the data.
    """
    number = np.zeros(len(next(iter(features.values()))), np.int64)
    for array in features.values():
        own = np.unique(array, axis=0, return_inverse=True)[1].reshape(-1)
        number = np.unique(number * (own.max() + 1) + own, return_inverse=True)[1].reshape(-1)
    discrete = number.max() + 1 < len(number) / 2
    return np.arange(len(number)) if discrete else number


def _groups(given: Mapping[str, NamedFeatures], doubles: Rows) -> Rows | None:
    """Given groups, joined where they hold doubles of each other."""
    if not all(split.groups is not None for split in given.values()):
        return None if doubles.max() + 1 == len(doubles) else doubles
    known = [() if split.groups is None else split.groups for split in given.values()]
    names = np.asarray([str(name) for groups in known for name in groups])
    group = np.unique(names, return_inverse=True)[1].reshape(-1)
    # groups and doubles are the two sides of a graph whose edges are the samples
    size = group.max() + doubles.max() + 2
    edges = (np.ones(len(group)), (group, group.max() + 1 + doubles))
    return connected_components(coo_array(edges, shape=(size, size)))[1][group].astype(np.int64)


def _barred(doubles: Rows, rows: Mapping[str, Rows]) -> Rows:
    """Rows of train with a double elsewhere, after a warning that names the splits."""
    train = rows["train"]
    found = [np.zeros(0, np.int64)]
    for name, other in rows.items():
        if name == "train":
            continue
        both = train[np.isin(doubles[train], doubles[other])]
        if len(both):
            warnings.warn(
                f"{len(both)} samples of train have the same features as samples of {name}; the "
                f"model that reads {name} is not fitted with them",
                EstimationWarning,
                stacklevel=4,
            )
        found.append(both)
    return np.unique(np.concatenate(found))
