"""The label column of a corpus as the target of a run: which rows, which values, which classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mimrl.datasets import labels as rules
from mimrl.datasets.features import SPLITS, TRAIN, Corpus, FloatArray, IntArray, Split
from mimrl.errors import DataError
from mimrl.settings import DataSettings


@dataclass(frozen=True)
class Targets:
    """What is predicted in each split, and for which samples.

    Attributes:
        rows: split -> ``(M,)`` rows of the corpus that are kept.
        ratings: split -> ``(M,)`` float32 label column of these rows, as in the file.
        labels: split -> ``(M,)`` the ratings again, or int64 classes.
        class_names: names of the classes, class 0 first; empty for regression.
    """

    rows: Mapping[str, IntArray]
    ratings: Mapping[str, FloatArray]
    labels: Mapping[str, FloatArray | IntArray]
    class_names: tuple[str, ...] = ()


def choose(corpus: Corpus, data: DataSettings) -> Targets:
    """Labels of the chosen column as ratings or classes.

    Args:
        corpus: with train, valid and test.
        data: ``label`` and ``target`` matter here.

    Raises:
        DataError: no such column; NaN labels; labels that do not fit the target; a split that
            holds neutral samples only; a class that no training sample has.
    """
    column = label_column(corpus, data.label)
    where = f"{corpus.source}, label column {corpus.label_names[column]!r}"
    known = {name: rules.as_ratings(corpus.splits[name].labels[:, column]) for name in SPLITS}
    for name, values in known.items():
        _check_finite(values, corpus.splits[name], f"{where}, split {name}")
    rows = {n: np.flatnonzero(rules.kept_rows(v, data.target)) for n, v in known.items()}
    empty = [name for name in SPLITS if not len(rows[name])]
    if empty:
        raise DataError(f"{where}: all samples of {', '.join(empty)} are neutral and were dropped")
    ratings = {name: known[name][rows[name]] for name in SPLITS}
    if data.target == "regression":
        return Targets(rows, ratings, ratings)
    try:
        labels, names = _classes(ratings, data)
    except DataError as error:
        raise DataError(f"{where} (columns: {', '.join(corpus.label_names)}): {error}") from error
    absent = [names[c] for c in range(len(names)) if c not in set(labels[TRAIN].tolist())]
    if absent:
        raise DataError(
            f"{where}: no training sample is of class {', '.join(absent)} (target {data.target}); "
            "choose a target with fewer classes"
        )
    return Targets(rows, ratings, labels, names)


def label_column(corpus: Corpus, label: str | int | None) -> int:
    """Number of the label column that a setting means; without a setting the first one.

    Raises:
        DataError: no column of that name or number.
    """
    names = corpus.label_names
    if label is None:
        return 0
    if isinstance(label, str) and label in names:
        return names.index(label)
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    raise DataError(
        f"{corpus.source}: data.label is {label!r}, but the label columns are "
        f"{', '.join(f'{i}: {name}' for i, name in enumerate(names))}"
    )


def _classes(
    ratings: Mapping[str, FloatArray], data: DataSettings
) -> tuple[dict[str, IntArray], tuple[str, ...]]:
    if data.target == "class":
        coding = rules.class_coding(np.concatenate(list(ratings.values())))
        return {name: coding.encode(values) for name, values in ratings.items()}, coding.names
    classes = {n: rules.rating_classes(values, data.target) for n, values in ratings.items()}
    return classes, rules.LABEL_RULES[data.target].class_names


def _check_finite(values: FloatArray, split: Split, where: str) -> None:
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DataError(
            f"{where}: {len(bad)} labels are NaN or infinite, e.g. of "
            f"{', '.join(split.ids[i] for i in bad[:5])}; remove these samples from the file"
        )
