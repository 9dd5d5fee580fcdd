"""Estimators of conditional information on Gaussian triples whose truth is a closed form.

Wanted, at 5,000 samples: the noisy channel Y = 0.5 X + 0.2 e with an independent Z (0.9905 nats)
within 2 %, and less than 0.02 nats where X and Y are independent given one Z, by every estimator.
The other rows show how a wide Z biases the estimators by neighbours.

Means over seeds. The mean exact log ratio of the same samples stands beside the truth: all
estimators share its scatter (0.013 nats a seed for the channel, 1.3 % of the truth), so the errors
that are judged are differences from it; those from the truth are shown too.

    python bench/conditional_estimators.py [--json OUT] [--seeds 3] [--tasks ...] [--estimators ...]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import reporting

from mimrl.mi.estimators.conditional import ConditionalKsg, MutualDifference
from mimrl.mi.estimators.conditional_classifier import ConditionalClassifier
from mimrl.mi.estimators.gaussian import ConditionalGaussian
from mimrl.mi.estimators.interface import ConditionalEstimator
from mimrl.mi.estimators.ksg import Ksg
from mimrl.mi.tasks import CONDITIONAL_TASKS, ConditionalTask

ESTIMATORS: Mapping[str, ConditionalEstimator] = {
    "ksg": ConditionalKsg(),
    "ksg_3": ConditionalKsg(neighbours=3),
    "gaussian": ConditionalGaussian(),
    "difference": MutualDifference(),
    "difference_3": MutualDifference(estimator=Ksg(neighbours=3)),
    "classifier": ConditionalClassifier(),
    "classifier_regression": ConditionalClassifier(regression=True),
}
LARGEST_ERROR = 0.02
"""Of the noisy channel as a share of the truth, and where there is nothing in nats."""


@dataclass(frozen=True)
class Row:
    """One estimator on one task, in nats.

    Attributes:
        task: its name.
        estimator: its name here.
        truth: exact.
        exact: of each seed's samples, the mean of their exact log ratio.
        estimates: of each seed.
        standard_errors: as the estimator gives them.
        doubts: categories of its warnings.
        seconds: processor time of each seed.
    """

    task: str
    estimator: str
    truth: float
    exact: list[float]
    estimates: list[float]
    standard_errors: list[float]
    doubts: list[str]
    seconds: list[float]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(self.estimates))

    @property
    def error(self) -> float:
        """Mean difference from what the same samples give with the exact log ratio."""
        return self.mean - float(np.mean(self.exact))


def measure(name: str, task: ConditionalTask, samples: int, seeds: Sequence[int]) -> Row:
    """Draws each seed's samples anew, so that all estimators see the same."""
    exact, results, seconds = [], [], []
    for seed in seeds:
        x, y, z = task.sample(samples, seed)
        exact.append(float(task.log_ratio(x, y, z).mean()))
        start = time.process_time()
        results.append(ESTIMATORS[name].estimate_with_info(x, y, z))
        seconds.append(time.process_time() - start)
    return Row(
        task.name,
        name,
        task.conditional_mutual_information,
        exact,
        [result.mi_estimate for result in results],
        [result.standard_error for result in results],
        sorted({type(doubt).__name__ for result in results for doubt in result.warnings}),
        seconds,
    )


JUDGED = "noisy-channel", "independent-given-1"


def holds(row: Row) -> bool:
    """Whether the error of a judged row is small enough."""
    return abs(row.error) < LARGEST_ERROR * (row.truth if row.task == "noisy-channel" else 1)


def show_judged(rows: Sequence[Row]) -> None:
    lines = [
        [
            *(row.task, row.estimator, row.mean - row.truth, row.error),
            "yes" if holds(row) else "no",
        ]
        for row in rows
    ]
    header = "task", "estimator", "less the truth", "less that of the samples", "holds"
    reporting.show(header, lines)


def table(rows: Sequence[Row]) -> None:
    names = list(dict.fromkeys(row.estimator for row in rows))
    by_place = {(row.task, row.estimator): row for row in rows}
    lines: list[list[object]] = []
    for task in dict.fromkeys(row.task for row in rows):
        own = [by_place[task, name] for name in names]
        cells = [
            reporting.spread(row.estimates) + (" *" if "BiasWarning" in row.doubts else "")
            for row in own
        ]
        lines.append([task, own[0].truth, float(np.mean(own[0].exact)), *cells])
    reporting.show(["nats", "truth", "of the samples", *names], lines)
    print("* warns of its own bias")
    slowest = [max(max(row.seconds) for row in rows if row.estimator == name) for name in names]
    reporting.show(
        ["", *names], [["slowest, s of processor time", *(round(s, 2) for s in slowest)]]
    )


def options() -> argparse.ArgumentParser:
    found = reporting.parser(__doc__)
    found.add_argument("--samples", type=int, default=5000)
    found.add_argument("--seeds", default="3", help="3 is 0, 1, 2; 4,7 is 4 and 7")
    found.add_argument(
        "--tasks", nargs="+", choices=CONDITIONAL_TASKS, default=[*CONDITIONAL_TASKS]
    )
    found.add_argument("--estimators", nargs="+", choices=ESTIMATORS, default=[*ESTIMATORS])
    return found


def main(words: Sequence[str] | None = None) -> int:
    arguments = reporting.parsed(options(), words)
    seeds, rows = reporting.seeds(arguments.seeds), []
    with reporting.without_doubts():  # counted in the table
        for task in arguments.tasks:
            for name in arguments.estimators:
                rows.append(measure(name, CONDITIONAL_TASKS[task], arguments.samples, seeds))
                row = rows[-1]
                text = f"{task} {name}: {row.mean:.4f}, truth {row.truth:.4f}"
                print(text, file=sys.stderr, flush=True)
    table(rows)
    judged = [row for row in rows if row.task in JUDGED]
    if judged:
        show_judged(judged)
    wanted = all(holds(row) for row in judged)
    reporting.write(
        arguments.json, "conditional_estimators", arguments, wanted_holds=wanted, rows=rows
    )
    return 0 if wanted else 1


if __name__ == "__main__":
    sys.exit(main())
