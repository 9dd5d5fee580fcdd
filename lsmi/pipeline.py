"""From named features and labels to the decomposition of every sample of every pair.

The steps, each in a module of its own: a plan of who judges whom (:mod:`lsmi.plan`), one scale for
both features of a pair (:mod:`lsmi.preprocessing`), classifiers and density models with their
calibration and choice (:mod:`lsmi.estimates`), all of it for every pair (:mod:`lsmi.pairs`), the
formulas (:mod:`lsmi.decomposition`) and the uncertainty of the totals (:mod:`lsmi.uncertainty`).
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import entr
from threadpoolctl import threadpool_limits

from lsmi.decomposition import (
    PointwiseDecomposition,
    PointwiseInformation,
    decompose_pointwise,
    raw_atoms,
)
from lsmi.discriminators import Progress
from lsmi.extraction import place_of
from lsmi.pairs import CrossFitting, PairValues, Stages
from lsmi.pid import other_measures
from lsmi.published_pairs import PublishedFitting
from lsmi.remarks import remarks
from lsmi.results import (
    INFORMATION,
    Analysis,
    Measure,
    Pair,
    PairReading,
    Quantity,
    SampleNotes,
    ScaleReading,
    SplitReading,
)
from lsmi.samples import Joined, NamedFeatures, join
from lsmi.settings import AnalysisSettings
from lsmi.uncertainty import Drawn, all_totals, intervals, reliability
from mimrl.errors import ConfigError, EstimationWarning

Rows = npt.NDArray[np.int64]


def silent(stage: str, total: int) -> Progress:
    """Stages that nobody watches."""
    return lambda count: None


def analyse(
    splits: Mapping[str, NamedFeatures],
    pairs: Sequence[Pair] | None = None,
    settings: AnalysisSettings | None = None,
    stages: Stages = silent,
) -> Analysis:
    """Redundant, unique and synergistic information of pairs of features about a discrete label.

    Args:
        splits: ``train`` and, if there are any, ``valid`` and ``test``. No sample of any split is
            read by a model that was fitted with it (see :mod:`lsmi.plan`).
        pairs: pairs of names; None: all pairs in the order of the features.
        settings: how to estimate.
        stages: called with the name and the number of steps of each stage; what it returns is
            called with steps done.

    Returns:
        A reading of each split of each pair, in nats.

    Raises:
        EstimationError: one class only, a class without training samples, too few samples, or
            features that do not vary.
        ShapeError: arrays that do not fit together.
        NonFiniteError: NaN or infinite features.
        ConfigError: a pair that is none, or a device that is not there.
    """
    settings = settings or AnalysisSettings()
    place_of(None, settings.device)  # raises before anything is computed
    data = join(splits)
    wanted = _pairs(data, pairs)
    crossfit = settings.method == "crossfit"
    fitting = (CrossFitting if crossfit else PublishedFitting)(data, settings, stages)
    with _cpu_threads(settings.threads):
        found = {names: _pair(names, fitting.pair(names), data, settings) for names in wanted}
    return Analysis(
        pairs=found,
        classes=data.classes,
        prior=np.exp(fitting.log_prior),
        notes={name: _notes(splits[name]) for name in data.splits},
        settings=settings,
    )


@contextmanager
def _cpu_threads(count: int) -> Iterator[None]:
    """At most ``count`` threads for PyTorch and for the libraries behind NumPy."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


def _pairs(data: Joined, pairs: Sequence[Pair] | None) -> tuple[Pair, ...]:
    known = tuple(data.features)
    wanted = tuple(itertools.combinations(known, 2) if pairs is None else map(tuple, pairs))
    wrong = [pair for pair in wanted if len(set(pair)) != 2 or not set(pair) <= set(known)]
    if wrong or not wanted:
        raise ConfigError(
            f"pairs {wrong or 'of one feature'}: expected two different ones of "
            f"{', '.join(known)} in each"
        )
    return wanted  # type: ignore[return-value]


def _notes(split: NamedFeatures) -> SampleNotes:
    def numbers(values: npt.ArrayLike | None) -> npt.NDArray[np.float64] | None:
        return None if values is None else np.asarray(values, np.float64)

    return SampleNotes(
        texts=None if split.texts is None else tuple(split.texts),
        ratings=numbers(split.ratings),
        predictions=numbers(split.predictions),
    )


def _pair(names: Pair, values: PairValues, data: Joined, settings: AnalysisSettings) -> PairReading:
    readings = {
        name: _split(name, rows, values, data, settings) for name, rows in data.splits.items()
    }
    for name, reading in readings.items():
        _warn(names, name, reading)
    return PairReading(
        names=names,
        splits=readings,
        components=(values.coordinates[0].values.shape[1], values.coordinates[1].values.shape[1]),
        choices=values.choices,
    )


def _split(
    name: str, rows: Rows, values: PairValues, data: Joined, settings: AnalysisSettings
) -> SplitReading:
    repeated = values.repeated.rows(rows)
    information = repeated.averaged(tuple(range(repeated.repeats)))
    decomposition = decompose_pointwise(information)
    quantities = _quantities(decomposition, rows, values, data, settings)
    scales = _scales(values, information, data)
    label_entropy = float(entr(np.bincount(data.labels[rows]) / len(rows)).sum())
    return SplitReading(
        ids=tuple(data.ids[row] for row in rows),
        labels=np.asarray(data.classes, dtype=np.int64)[data.labels[rows]],
        decomposition=decomposition,
        label_entropy=label_entropy,
        quantities=quantities,
        scales=scales,
        reliability={
            key: reliability(logs[rows], data.labels[rows]) for key, logs in values.logs.items()
        },
        measures=_measures(rows, values, information, data, settings),
        remarks=remarks(information, quantities, label_entropy, len(data.classes)),
    )


def _quantities(
    decomposition: PointwiseDecomposition,
    rows: Rows,
    values: PairValues,
    data: Joined,
    settings: AnalysisSettings,
) -> dict[str, Quantity]:
    """Every total with its interval and its values under shuffled labels."""
    known = all_totals(decomposition.information, decomposition.raw)
    train = data.splits["train"]
    fitted = None if rows is train else _drawn(np.setdiff1d(train, data.barred), values, data)
    ends = intervals(
        _drawn(rows, values, data), settings.bootstrap, settings.level, settings.seed, fitted
    )
    shuffled = []
    for control in values.controls:
        part = control.rows(rows)
        shuffled.append(all_totals(part, raw_atoms(part)))
    found = {}
    for name, value in known.items():
        low, high = ends.get(name, (value, value))
        chance = [totals[name] for totals in shuffled if name in totals]
        found[name] = Quantity(
            value=value,
            low=low,
            high=high,
            control=float(np.mean(chance)) if chance else None,
            control_low=min(chance, default=None),
            control_high=max(chance, default=None),
        )
    return found


def _drawn(rows: Rows, values: PairValues, data: Joined) -> Drawn:
    groups = None if data.groups is None else data.groups[rows]
    return Drawn(values.repeated.rows(rows), data.labels[rows], groups)


def _scales(
    values: PairValues, information: PointwiseInformation, data: Joined
) -> dict[str, ScaleReading]:
    """Totals under every linear scale: an offset of ``h1 - h2`` is all that they change."""
    first, second = (each.volumes for each in values.coordinates)
    start = next(iter(first))
    offsets = {
        name: (first[name] - first[start]) - (second[name] - second[start])
        for name in first
        if name in second
    }
    train = data.splits["train"]
    repeated = values.repeated
    # the scale on which both features have the same mean entropy on train
    offsets["matched"] = float((repeated.h2 - repeated.h1)[:, train].mean())
    return {name: _scale(information, offset) for name, offset in offsets.items()}


def _scale(information: PointwiseInformation, offset: float) -> ScaleReading:
    decomposition = decompose_pointwise(information.offset(offset))
    return ScaleReading(offset, decomposition.raw.totals, decomposition.adjusted.totals)


def _measures(
    rows: Rows,
    values: PairValues,
    information: PointwiseInformation,
    data: Joined,
    settings: AnalysisSettings,
) -> tuple[Measure, ...]:
    if not settings.measures:
        return ()
    return other_measures(
        values.coordinates[0].values,
        values.coordinates[1].values,
        data.labels,
        data.splits["train"],
        rows,
        ratings=data.ratings,
        information=tuple(getattr(information, name).mean() for name in INFORMATION),
        seed=settings.seed,
    )


def _warn(names: Pair, split: str, reading: SplitReading) -> None:
    for remark in reading.remarks:
        text = f"{names[0]} and {names[1]}, {split}: {remark}"
        warnings.warn(text, EstimationWarning, stacklevel=4)
