"""The data of a reading: two modalities' features with labels, by split, checked and joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lsmi.preprocessing import check_features
from mimrl.errors import EstimationError, ShapeError

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PairFeatures:
    """One split of a pair of modalities.

    Attributes:
        x1: ``(N, D1)`` features of the first modality.
        x2: ``(N, D2)`` of the second.
        labels: ``(N,)`` class of each sample: any integers.
        ids: ``N`` names; row numbers when None.
        groups: ``N`` names of what must not be torn apart in cross-fitting (video, speaker), or
            None; all splits have them or none has.
    """

    x1: npt.NDArray[np.floating]
    x2: npt.NDArray[np.floating]
    labels: npt.NDArray[np.integer]
    ids: Sequence[str] | None = None
    groups: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Joined:
    """All splits end to end.

    Attributes:
        x1: ``(N, D1)`` float64.
        x2: ``(N, D2)`` float64.
        labels: ``(N,)`` numbers into ``classes``.
        classes: the labels' values on train, in order.
        splits: split name -> row numbers.
        ids: ``N`` names.
        groups: ``N`` names or None.
    """

    x1: FloatArray
    x2: FloatArray
    labels: Rows
    classes: tuple[int, ...]
    splits: Mapping[str, Rows]
    ids: tuple[str, ...]
    groups: tuple[str, ...] | None

    @property
    def log_frequencies(self) -> FloatArray:
        """``(C,)`` logs of the class frequencies of train."""
        counts = np.bincount(self.labels[self.splits["train"]], minlength=len(self.classes))
        return np.log(counts / counts.sum())


def join(splits: Mapping[str, PairFeatures]) -> Joined:
    """Splits as one table.

    Raises:
        EstimationError: no train split, one class only, or a class that train lacks.
        ShapeError: features, labels, ids or groups of unequal numbers.
        NonFiniteError: NaN or infinite features.
    """
    given = {name: pair for name, pair in splits.items() if len(pair) > 0}
    if "train" not in given:
        raise EstimationError(f"no train samples among splits {list(splits)}; models need them")
    for name, pair in given.items():
        _check_labels(name, pair)
    classes = _classes(given)
    ends = np.cumsum([0, *(len(pair) for pair in given.values())])
    rows = {name: np.arange(ends[k], ends[k + 1]) for k, name in enumerate(given)}
    labels = np.concatenate([np.asarray(pair.labels, np.int64) for pair in given.values()])
    with_groups = all(pair.groups is not None for pair in given.values())
    return Joined(
        x1=_stack(given, "x1"),
        x2=_stack(given, "x2"),
        labels=np.searchsorted(classes, labels),
        classes=classes,
        splits=rows,
        ids=tuple(n for pair in given.values() for n in (pair.ids or map(str, range(len(pair))))),
        groups=tuple(str(n) for pair in given.values() for n in pair.groups or ())
        if with_groups
        else None,
    )


def _stack(given: Mapping[str, PairFeatures], which: str) -> FloatArray:
    arrays = {
        name: check_features(getattr(pair, which), f"{which} of {name}", len(pair))
        for name, pair in given.items()
    }
    widths = {name: array.shape[1] for name, array in arrays.items()}
    if len(set(widths.values())) > 1:
        raise ShapeError(f"{which} has a different number of columns by split: {widths}")
    return np.concatenate(list(arrays.values()))


def _check_labels(name: str, pair: PairFeatures) -> None:
    labels = np.asarray(pair.labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ShapeError(
            f"labels of {name} are {labels.dtype} of shape {labels.shape}; expected one integer "
            "class a sample (cut ratings into classes first)"
        )
    for field in ("ids", "groups"):
        value = getattr(pair, field)
        if value is not None and len(value) != len(labels):
            raise ShapeError(f"{field} of {name}: {len(value)} for {len(labels)} samples")


def _classes(given: Mapping[str, PairFeatures]) -> tuple[int, ...]:
    """Classes of train; others may have fewer, not more."""
    classes = tuple(int(value) for value in np.unique(given["train"].labels))
    if len(classes) < 2:
        raise EstimationError(
            f"all training samples have label {classes[0]}; information about a label needs at "
            "least two classes"
        )
    for name, pair in given.items():
        unseen = sorted({int(value) for value in np.unique(pair.labels)} - set(classes))
        if unseen:
            raise EstimationError(
                f"{name} has classes {unseen} that train lacks ({list(classes)}); merge classes, "
                "or leave these samples out"
            )
    return classes
