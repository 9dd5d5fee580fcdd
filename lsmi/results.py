"""What an analysis returns: for each pair and split, every sample, all totals, their uncertainty.

Everything is in nats. A *quantity* is one number about a split (a mean over its samples): ``i1``,
``i2``, ``i12``, the raw atoms ``r, u1, u2, s``, and the atoms under the two adjustments,
``r_adjusted`` ... and ``r_feasible`` ....
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lsmi.decomposition import PointwiseDecomposition, Totals
from lsmi.settings import AnalysisSettings

FloatArray = npt.NDArray[np.float64]
Pair = tuple[str, str]

APART = 0.005  # nats between interval and controls: three shuffles do not show their whole range
INFORMATION = ("i1", "i2", "i12")
ATOMS = ("r", "u1", "u2", "s")
RAW = (*INFORMATION, *ATOMS)
ADJUSTED = tuple(f"{name}_adjusted" for name in ATOMS)
FEASIBLE = tuple(f"{name}_feasible" for name in ATOMS)


@dataclass(frozen=True)
class Quantity:
    """A total with its uncertainty, in nats.

    Attributes:
        value: mean over the split's samples.
        low: lower end of the bootstrap interval; the value itself where no draw was made.
        high: upper end.
        control: the same total with shuffled labels, mean over shuffles; None where no shuffle
            was made.
        control_low: smallest value over shuffles; None with ``control``.
        control_high: largest value over shuffles; None with ``control``.
    """

    value: float
    low: float
    high: float
    control: float | None = None
    control_low: float | None = None
    control_high: float | None = None

    @property
    def distinguishable(self) -> bool | None:
        """From nothing: interval :data:`APART` nats from zero and the control; None without one.

        It may lie above or, as a negative uniqueness does, below.
        """
        if self.control_low is None or self.control_high is None:
            return None
        above = self.low > max(self.control_high, 0.0) + APART
        return bool(above or self.high < min(self.control_low, 0.0) - APART)


@dataclass(frozen=True)
class ScaleReading:
    """The totals had the features been brought to another scale by linear maps.

    Attributes:
        offset: what ``h1 - h2`` gains against the scale of the analysis, in nats.
        raw: totals under that scale.
        adjusted: the same after the published adjustment.
    """

    offset: float
    raw: Totals
    adjusted: Totals


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: samples in bins of the probability given to the likeliest class.

    Attributes:
        confidence: ``(B,)`` mean probability in each bin that holds samples.
        accuracy: ``(B,)`` share of them whose label is that class.
        count: ``(B,)`` samples.
        error: expected calibration error: mean distance of the two, weighted by ``count``.
    """

    confidence: FloatArray
    accuracy: FloatArray
    count: npt.NDArray[np.int64]
    error: float


@dataclass(frozen=True)
class Measure:
    """Another measure's decomposition of the same features.

    Attributes:
        name: the measure and its source, short (``I_min``, ``MMI``, ``BROJA``, ``Gaussian MMI``).
        totals: its four atoms, in nats; NaN never: a measure that cannot be had is not listed.
        information: its own ``(i1, i2, i12)``: discretising loses some.
        note: how it was computed, in words (bins, solver, correction).
    """

    name: str
    totals: Totals
    information: tuple[float, float, float]
    note: str


@dataclass(frozen=True)
class SplitReading:
    """One split of one pair; arrays are in the order of the samples given.

    Attributes:
        ids: ``N`` names.
        labels: ``(N,)`` classes as given.
        decomposition: of every sample, raw, adjusted and feasible.
        label_entropy: H(Y) of the split's own labels in nats, which the mean of ``i12`` exceeds
            only where the class prior is not the class shares of the split.
        quantities: name -> total with interval and control: :data:`RAW`, :data:`ADJUSTED`, and,
            where a feasible shift exists, :data:`FEASIBLE`.
        scales: scale -> the totals under it; the first is the one of the analysis.
        reliability: ``i1``, ``i2``, ``i12`` -> calibration of that classifier.
        measures: other decompositions of the same features, for comparison.
        remarks: what is weak about the numbers, sentences that were also warned of.
    """

    ids: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    decomposition: PointwiseDecomposition
    label_entropy: float
    quantities: Mapping[str, Quantity]
    scales: Mapping[str, ScaleReading]
    reliability: Mapping[str, Reliability]
    measures: tuple[Measure, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def leading(self) -> npt.NDArray[np.str_]:
        """``(N,)`` name of each sample's largest adjusted atom."""
        atoms = self.decomposition.adjusted
        stacked = np.stack([getattr(atoms, name) for name in ATOMS])
        return np.asarray(ATOMS)[stacked.argmax(axis=0)]


@dataclass(frozen=True)
class PairReading:
    """One pair of features in all splits.

    Attributes:
        names: the two features.
        splits: split name -> reading.
        components: numbers of coordinates of each that the models saw.
        choices: variable (``x1``, ``x2``, ``x12``, ``h1``, ``h2``) -> split -> what judged it,
            one text a reading.
    """

    names: Pair
    splits: Mapping[str, SplitReading]
    components: tuple[int, int]
    choices: Mapping[str, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True)
class SampleNotes:
    """What is known about the samples of a split besides features and label.

    Attributes:
        texts: ``N`` transcripts, or None.
        ratings: ``(N,)`` the label before it was cut into classes, or None.
        predictions: ``(N,)`` the model's rating, or its class, or None.
    """

    texts: tuple[str, ...] | None = None
    ratings: FloatArray | None = None
    predictions: FloatArray | None = None


@dataclass(frozen=True)
class Analysis:
    """The result of :func:`lsmi.pipeline.analyse`.

    Attributes:
        pairs: pair of names -> reading.
        classes: the labels' values; ``prior`` is in this order.
        prior: ``(C,)`` class prior used for the pointwise information.
        notes: split name -> texts, ratings and predictions, in the order of the readings.
        settings: what it was computed with.
    """

    pairs: Mapping[Pair, PairReading]
    classes: tuple[int, ...]
    prior: FloatArray
    notes: Mapping[str, SampleNotes]
    settings: AnalysisSettings
