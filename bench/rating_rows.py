"""Runs of several seeds side by side: the rows of a table of ratings, from their predictions.

    python -m bench.rating_rows runs/base runs/base_unsteered runs/base_text [--split test]

Each RUN is a folder runs/<name> with seeds in it. Printed are mean and standard deviation over
seeds, the ensemble of the seeds (the mean of their predictions), and the difference of each run
from the first one with its 95 % interval. The interval draws clips anew (bootstrap) and,
independently, seeds: it covers both what other clips and what other seeds would have given. Seeds
are paired where both runs have them. With few seeds it is rough: three have ten different draws.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.speed.rows import markdown
from mimrl.errors import ConfigError, MimrlError, MissingFileError
from mimrl.training.metrics import sentiment_metrics
from mimrl.training.results import PREDICTIONS

Array = npt.NDArray[np.float64]
METRICS = ("mae", "corr", "acc2_non0", "acc7")
DRAWS = 2000


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; 2 where a run cannot be read."""
    arguments = _parser().parse_args(argv)
    try:
        runs = {Path(run).name: read(Path(run), arguments.split) for run in arguments.runs}
        labels = same_labels(runs)
    except MimrlError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    predictions = {name: found[1] for name, found in runs.items()}
    table = [one_run(name, of_seeds, labels) for name, of_seeds in predictions.items()]
    first = next(iter(predictions))
    differences = [
        compared(first, name, predictions, labels) for name in predictions if name != first
    ]
    print(markdown(["run", "seeds", *METRICS, *(f"ensemble {m}" for m in METRICS)], table))
    if differences:
        print()
        print(markdown([f"minus {first}", "seeds", *METRICS], differences))
    if arguments.json is not None:
        found = {"split": arguments.split, "rows": table, "differences": differences}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def read(folder: Path, split: str) -> tuple[pd.Series, dict[int, Array]]:
    """Labels by clip, and each seed's predictions in the order of their ids.

    Raises:
        MissingFileError: no seed of the run has ended.
        ConfigError: seeds of a run were trained on different clips.
    """
    found: dict[int, Array] = {}
    labels: pd.Series | None = None
    for file in sorted(folder.glob(f"seed*/{PREDICTIONS}")):
        table = pd.read_csv(file, dtype={"id": str})
        table = table[table["split"] == split].sort_values("id")
        mine = table.set_index("id")["label"]
        if labels is not None and not mine.equals(labels):
            raise ConfigError(f"{file} has other clips or labels than the seeds before it")
        labels = mine
        found[int(file.parent.name.removeprefix("seed"))] = table["prediction"].to_numpy(float)
    if labels is None or not len(labels):
        raise MissingFileError(
            f"{folder} holds no seed<k>/{PREDICTIONS} with clips of {split}; expected a folder "
            "runs/<name> whose trainings have ended"
        )
    return labels, found


def same_labels(runs: Mapping[str, tuple[pd.Series, dict[int, Array]]]) -> Array:
    """The labels that all runs have.

    Raises:
        ConfigError: two runs have other clips.
    """
    (first, (labels, _)), *others = runs.items()
    for name, (other, _) in others:
        if not other.equals(labels):
            raise ConfigError(f"{name} was read on other clips or labels than {first}")
    return labels.to_numpy(float)


def one_run(name: str, of_seeds: Mapping[int, Array], labels: Array) -> list[str]:
    """Mean and standard deviation of each metric over seeds; the ensemble."""
    each = [sentiment_metrics(prediction, labels) for prediction in of_seeds.values()]
    cells = []
    for metric in METRICS:
        values = [one[metric] for one in each]
        deviation = f" ({np.std(values, ddof=1):.3f})" if len(values) > 1 else ""
        cells.append(f"{np.mean(values):.3f}{deviation}")
    together = sentiment_metrics(np.mean(list(of_seeds.values()), axis=0), labels)
    seeds = " ".join(map(str, of_seeds))
    return [name, seeds, *cells, *(f"{together[metric]:.3f}" for metric in METRICS)]


def compared(
    first: str, other: str, predictions: Mapping[str, Mapping[int, Array]], labels: Array
) -> list[str]:
    """The mean difference of each metric over shared seeds, with its 95 % interval."""
    seeds = sorted(set(predictions[first]) & set(predictions[other]))
    if not seeds:
        return [other, "none shared", *("" for _ in METRICS)]
    ours, theirs = (np.stack([predictions[n][s] for s in seeds]) for n in (other, first))
    draw = np.random.default_rng(0)
    found = np.array([_differences(ours, theirs, labels, draw) for _ in range(DRAWS)])
    low, high = np.nanpercentile(found, [2.5, 97.5], axis=0)
    point = _difference(ours, theirs, labels)
    cells = [f"{p:+.3f} [{a:+.3f}, {b:+.3f}]" for p, a, b in zip(point, low, high, strict=True)]
    return [other, " ".join(map(str, seeds)), *cells]


def _differences(ours: Array, theirs: Array, labels: Array, draw: np.random.Generator) -> Array:
    clips = draw.integers(len(labels), size=len(labels))
    seeds = draw.integers(len(ours), size=len(ours))
    return _difference(ours[seeds][:, clips], theirs[seeds][:, clips], labels[clips])


def _difference(ours: Array, theirs: Array, labels: Array) -> Array:
    """``(M,)`` mean differences of the metrics over seeds."""
    rows = []
    for mine, other in zip(ours, theirs, strict=True):
        a, b = sentiment_metrics(mine, labels), sentiment_metrics(other, labels)
        rows.append([a[metric] - b[metric] for metric in METRICS])
    return np.mean(rows, axis=0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders runs/<name>")
    parser.add_argument("--split", choices=("valid", "test"), default="test")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the rows to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
