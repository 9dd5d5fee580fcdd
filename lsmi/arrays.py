"""LSMI of two plain arrays and a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsmi.decomposition import Atoms
from lsmi.pairs import Stages
from lsmi.pipeline import analyse, silent
from lsmi.preprocessing import Scaling
from lsmi.results import Measure, Quantity, Reliability, ScaleReading
from lsmi.samples import NamedFeatures
from lsmi.settings import AnalysisSettings, from_keywords

FloatArray = npt.NDArray[np.float64]
NAMES = ("x1", "x2")


@dataclass(frozen=True)
class Diagnostics:
    """How a decomposition came about and how far it can be trusted.

    Attributes:
        components: numbers of coordinates of each modality that the models saw.
        choices: variable (``x1``, ``x2``, ``x12``, ``h1``, ``h2``) -> what judged it, one text a
            fold and repeat.
        label_entropy: H(Y) in nats, which ``i12`` cannot exceed on average.
        residual: largest violation of the identities over samples, in nats (rounding).
        scales: scale -> totals under it.
        reliability: ``i1``, ``i2``, ``i12`` -> calibration of that classifier.
        measures: other decompositions of the same features.
        shift: of the published adjustment.
        feasible_shift: of the feasible one; None where there is none.
        remarks: what is weak about the numbers.
        settings: what it was computed with.
    """

    components: tuple[int, int]
    choices: Mapping[str, tuple[str, ...]]
    label_entropy: float
    residual: float
    scales: Mapping[str, ScaleReading]
    reliability: Mapping[str, Reliability]
    measures: tuple[Measure, ...]
    shift: float
    feasible_shift: float | None
    remarks: tuple[str, ...]
    settings: AnalysisSettings


@dataclass(frozen=True)
class Decomposition:
    """Redundant, unique and synergistic information of each sample, in nats.

    Attributes:
        r: ``(N,)`` raw redundancy.
        u1: ``(N,)`` raw uniqueness of the first modality.
        u2: ``(N,)`` of the second.
        s: ``(N,)`` raw synergy.
        i1: ``(N,)`` pointwise information of the first modality.
        i2: ``(N,)`` of the second.
        i12: ``(N,)`` of both.
        h1: ``(N,)`` ``-log p(x1)`` on the scale asked for.
        h2: ``(N,)`` the same of the second.
        adjusted: the four after the published adjustment.
        feasible: the four after the least shift that leaves no mean negative, or None.
        totals: quantity (``r``, ``r_adjusted``, ``i12``, ...) -> mean with interval and control.
        diagnostics: how it came about.
    """

    r: FloatArray
    u1: FloatArray
    u2: FloatArray
    s: FloatArray
    i1: FloatArray
    i2: FloatArray
    i12: FloatArray
    h1: FloatArray
    h2: FloatArray
    adjusted: Atoms
    feasible: Atoms | None
    totals: Mapping[str, Quantity]
    diagnostics: Diagnostics


def decompose(
    x1: npt.ArrayLike,
    x2: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    groups: Sequence[str] | None = None,
    ratings: npt.ArrayLike | None = None,
    scaling: Scaling = "whiten",
    folds: int = 5,
    seed: int = 0,
    stages: Stages = silent,
    **settings: Any,
) -> Decomposition:
    """LSMI of two modalities about a discrete label, cross-fitted.

    Args:
        x1: ``(N, D1)`` features of the first modality.
        x2: ``(N, D2)`` of the second.
        y: ``(N,)`` class of each sample: any whole numbers.
        groups: ``N`` names of what must not be torn apart (video, speaker).
        ratings: ``(N,)`` continuous label for the Gaussian measures of ``diagnostics.measures``.
        scaling: a key of :data:`lsmi.preprocessing.SCALINGS`; ``none`` takes the coordinates as
            they are.
        folds: every sample is read by models fitted on the other folds.
        seed: of everything random.
        stages: progress, as in :func:`lsmi.analyse`.
        **settings: other fields of :class:`lsmi.AnalysisSettings`.

    Raises:
        ConfigError: settings that do not exist or do not fit together.
        EstimationError: one class only, too few samples, or features that do not vary.
        ShapeError: arrays that do not fit together.
        NonFiniteError: NaN or infinite features.
    """
    chosen = from_keywords(scaling=scaling, folds=folds, seed=seed, **settings)
    data = NamedFeatures(
        features={"x1": np.asarray(x1), "x2": np.asarray(x2)},
        labels=np.asarray(y),
        groups=groups,
        ratings=None if ratings is None else np.asarray(ratings, np.float64),
    )
    analysis = analyse({"train": data}, [NAMES], chosen, stages)
    pair = analysis.pairs[NAMES]
    reading = pair.splits["train"]
    known = reading.decomposition
    return Decomposition(
        **{name: getattr(known.raw, name) for name in ("r", "u1", "u2", "s")},
        **{name: getattr(known.information, name) for name in ("i1", "i2", "i12", "h1", "h2")},
        adjusted=known.adjusted,
        feasible=known.feasible,
        totals=reading.quantities,
        diagnostics=Diagnostics(
            components=pair.components,
            choices={name: found["train"] for name, found in pair.choices.items()},
            label_entropy=reading.label_entropy,
            residual=known.residual(),
            scales=reading.scales,
            reliability=reading.reliability,
            measures=reading.measures,
            shift=known.shift,
            feasible_shift=known.feasible_shift,
            remarks=reading.remarks,
            settings=chosen,
        ),
    )
