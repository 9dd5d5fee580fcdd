"""LSMI end to end: seconds against samples and dimensions, and of the full report.

Random features with a label in them: three features, so three pairs; 1,600 training and 400
validation samples of 128 dimensions, cross-fitted in 5 folds. The point estimates are timed with
one density (class-conditional Gaussians) and one scaling (whitening to 16 components): no choice by
held-out likelihood, one repeat, no shuffled labels, no intervals, no other measures. Wanted: under
20 s. Beside it the default settings, as ``evaluate_lsmi.py`` runs them: everything above is chosen
and drawn, and the other measures are computed.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.speed.machine import timed
from bench.speed.rows import Found, Row, Table, counted_threads, number, parser, report
from lsmi.pipeline import analyse
from lsmi.samples import NamedFeatures
from lsmi.settings import AnalysisSettings
from mimrl.errors import EstimationWarning

GOAL = 20.0
SHARE = 4  # of train to validation
POINT = AnalysisSettings(
    density="classes",
    scaling="whiten",
    components=16,
    folds=5,
    repeats=1,
    shuffles=0,
    bootstrap=0,
    measures=False,
)
FULL = AnalysisSettings()
FEW = {"folds": 2, "discriminator_epochs": 2, "entropy_epochs": 2}


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the tables; 1 if the goal is missed."""
    own = parser(__doc__)
    own.add_argument("--train", type=int, default=1600)
    own.add_argument("--dimensions", type=int, default=128)
    own.add_argument("--no-report", action="store_true", help="leave out the full report")
    arguments = own.parse_args(argv)
    found = measure(
        arguments.train,
        arguments.dimensions,
        threads=arguments.threads or 1,
        full=not arguments.no_report,
        quick=arguments.quick,
    )
    return report(found, "lsmi_seconds", arguments.json)


def measure(
    train: int = 1600,
    dimensions: int = 128,
    *,
    threads: int = 1,
    full: bool = True,
    quick: bool = False,
) -> Found:
    """The case of the goal, the full report of the same data, and other sizes."""
    if quick:
        train, dimensions = 120, 8
    point = _of(POINT, threads, quick=quick, components=min(16, dimensions))
    seconds_of(60, 4, replace(_of(POINT, threads, quick=True), components=4))  # loads the libraries
    seconds = seconds_of(train, dimensions, point)
    what = f"LSMI, {train} + {train // SHARE} samples of {dimensions} dimensions, 3 pairs"
    note = f"point estimates, 5 folds, {counted_threads(threads)}"
    rows = [Row(what, seconds, goal=None if quick else GOAL, note=note)]
    if full:
        report_seconds = seconds_of(train, dimensions, _of(FULL, threads, quick=quick))
        rows.append(Row("LSMI, the full default report", report_seconds, note="the same data"))
    sizes = [(train // 2, dimensions), (train, dimensions // 4), (train * 2, dimensions)]
    lines = [(str(train), str(dimensions), number(seconds))]
    if not quick:
        for size, width in sizes:
            small = replace(point, components=min(16, width))
            lines.append((str(size), str(width), number(seconds_of(size, width, small))))
    header = ("train samples", "dimensions", "seconds")
    lines.sort(key=lambda line: (int(line[0]), int(line[1])))
    return Found(tuple(rows), (Table("LSMI against size, point estimates", header, tuple(lines)),))


def seconds_of(train: int, dimensions: int, settings: AnalysisSettings) -> float:
    """Seconds of one analysis of all three pairs."""
    splits = made(train, dimensions)

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EstimationWarning)
            analyse(splits, settings=settings)

    return timed(run)


def made(train: int, dimensions: int, seed: int = 0) -> dict[str, NamedFeatures]:
    """Three features that share a part of what they say about a binary label."""
    draw = np.random.default_rng(seed)
    splits = {}
    for name, size in {"train": train, "valid": train // SHARE}.items():
        labels = draw.integers(0, 2, size)
        shared = draw.normal(size=(size, dimensions))
        features = {}
        for k, modality in enumerate(("text", "audio", "video")):
            own = draw.normal(size=(size, dimensions))
            values = 0.6 * shared + 0.8 * own
            values[:, : 2 + k] += labels[:, None]
            features[modality] = values
        splits[name] = NamedFeatures(features, labels)
    return splits


def _of(
    settings: AnalysisSettings, threads: int, *, quick: bool, components: int | None = None
) -> AnalysisSettings:
    changed = replace(settings, threads=threads, components=components)
    return replace(changed, **FEW) if quick else changed  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
