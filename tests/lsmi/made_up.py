"""Analyses made up from random numbers: nothing is fitted, every number is known."""

from __future__ import annotations

import numpy as np

from lsmi.decomposition import PointwiseInformation, decompose_pointwise, published_shift, raw_atoms
from lsmi.results import (
    ATOMS,
    INFORMATION,
    Analysis,
    Measure,
    PairReading,
    Quantity,
    Reliability,
    SampleNotes,
    ScaleReading,
    SplitReading,
)
from lsmi.settings import AnalysisSettings

PAIRS = (("text", "audio"), ("text", "video"))
SIZES = {"train": 60, "valid": 25, "test": 40}
SCALES = {"whiten": 0.0, "standard": 1.5, "own": -60.0}
ORIGIN = {
    "checkpoint": "runs/a/best.safetensors",
    "data": "b&c.pkl",
    "label_rule": "sign: rating >= 0 against rating < 0",
    "class_names": ["<no>", "yes"],
}


def information(rng, size, means):
    """Random pointwise information whose means are about ``means``."""
    i1, i2, i12 = (rng.normal(mean, 0.3, size) for mean in means)
    h1, h2 = rng.normal(20, 2, (2, size))
    return PointwiseInformation(i1=i1, i2=i2, i12=i12, h1=h1, h2=h2)


def totals_with_intervals(parts, control):
    """All quantities; intervals of independent samples; a control of plus or minus ``control``."""
    values = {name: getattr(parts.information, name) for name in INFORMATION}
    for ending, atoms in (("", parts.raw), ("_adjusted", parts.adjusted),
                          ("_feasible", parts.feasible)):  # fmt: skip
        if atoms is not None:
            values |= {f"{name}{ending}": getattr(atoms, name) for name in ATOMS}
    known = {} if control is None else {"control": 0.0, "control_low": -control,
                                        "control_high": control}  # fmt: skip
    found = {}
    for name, one in values.items():
        mean, half = float(one.mean()), 1.96 * float(one.std()) / len(one) ** 0.5
        found[name] = Quantity(mean, mean - half, mean + half, **known)
    return found


def reading(known, labels, *, control=0.02, rng=None, remarks=()):
    """A split from pointwise information; with ``rng``, also calibration and other measures."""
    parts = decompose_pointwise(known)
    scales = {}
    for name, offset in SCALES.items():
        raw = raw_atoms(known.offset(offset))
        adjusted = raw.shifted(published_shift(raw.totals)).totals
        scales[name] = ScaleReading(offset, raw.totals, adjusted)
    reliability, measures = {}, ()
    if rng is not None:
        for name in INFORMATION:
            confidence = np.sort(rng.uniform(0.5, 1, 5))
            accuracy = np.clip(confidence + rng.normal(0, 0.05, 5), 0, 1)
            count = rng.integers(1, 20, 5)
            error = float(np.average(np.abs(confidence - accuracy), weights=count))
            reliability[name] = Reliability(confidence, accuracy, count, error)
        measures = (Measure("MMI", parts.adjusted.totals, (0.11, 0.22, 0.33), "four bins each"),)
    return SplitReading(
        ids=tuple(f"clip<{row}>" for row in range(len(known))),
        labels=labels,
        decomposition=parts,
        label_entropy=float(np.log(2)),
        quantities=totals_with_intervals(parts, control),
        scales=scales,
        reliability=reliability,
        measures=measures,
        remarks=remarks,
    )


def analysis(pairs=PAIRS, sizes=SIZES, seed=0, means=(0.2, 0.05, 0.3), control=0.02):
    """Every pair and split; the same labels and texts for all pairs."""
    rng = np.random.default_rng(seed)
    labels = {name: rng.integers(0, 2, size) for name, size in sizes.items()}
    notes = {}
    for name, size in sizes.items():
        texts = tuple(f"<script>alert({row})</script> & \"so\" 'on'" for row in range(size))
        notes[name] = SampleNotes(texts, rng.normal(0, 1.5, size), rng.normal(0, 1.5, size))
    found = {}
    for pair in pairs:
        splits = {}
        for name, size in sizes.items():
            known, remarks = information(rng, size, means), ("the features are <odd>",)
            splits[name] = reading(known, labels[name], control=control, rng=rng, remarks=remarks)
        choices = {"x1": dict.fromkeys(sizes, ("network", "network", "linear"))}
        found[pair] = PairReading(pair, splits, (3, 4), choices)
    return Analysis(found, (0, 1), np.array([0.4, 0.6]), notes, AnalysisSettings())
