r"""InfoNet beside KSG on Gaussian mixtures with a known mutual information.

Samples are drawn of each mixture of the file (2,000 of each), and both estimators read the same
ones. KSG 1 is scikit-learn's, which sets values below 0 to 0, with 3, 5 and 10 neighbours. Wanted:
a mean absolute error at or below that of the best KSG plus 0.01, at 100 pairs a second or more on
two cores, the same numbers when it is read again, and nearly nothing from shuffled pairs.

    python bench/infonet_pairs.py mixtures.npz [--threads 2] [--json OUT]

The file holds groups of mixtures as ``python -m mimrl.mi.infonet evaluate`` reads them; the
truths in it are good to about 0.004 nats. The exact mean log ratio of the same samples is shown
beside the estimators: no estimate from the samples alone can be expected below its error.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import reporting
from sklearn.feature_selection import mutual_info_regression

from mimrl.errors import SampleSizeWarning
from mimrl.mi.infonet import estimate_batch, load_model
from mimrl.mi.infonet.drawing import Source
from mimrl.mi.infonet.estimate import Model
from mimrl.mi.infonet.validation import load_mixtures

RANGES = (-1.0, 0.05, 0.2, 0.5, 1.0, 10.0)
NEIGHBOURS = (3, 5, 10)
Row = dict[str, object]


@dataclass(frozen=True)
class Drawn:
    """Samples of all mixtures, and what is known of them.

    Attributes:
        group: ``(B,)`` name of the group.
        truth: ``(B,)`` from the file, nats.
        x: ``(B, N)``.
        y: ``(B, N)``.
        exact: ``(B,)`` mean exact log ratio at these samples, nats.
    """

    group: np.ndarray
    truth: np.ndarray
    x: np.ndarray
    y: np.ndarray
    exact: np.ndarray


def main(argv: Sequence[str] | None = None) -> None:
    arguments = reporting.parsed(_parser(), argv)
    warnings.simplefilter("ignore", SampleSizeWarning)
    model = load_model(arguments.model)
    drawn = draw(arguments.file, arguments.samples, arguments.seed, arguments.pairs)
    found, second, speed = infonet(model, drawn)
    ksg = {f"KSG {k}": nearest(drawn, k) for k in NEIGHBOURS}
    columns = {"InfoNet": found, **ksg, "exact log ratio": drawn.exact}
    print(
        f"{len(found)} pairs of {arguments.samples} samples on {arguments.threads} threads: "
        + ", ".join(f"{value:.0f} {name}" for name, value in speed.items()).replace("_", " ")
    )
    print(f"the same numbers again: {np.array_equal(found, second)}")
    groups = {name: drawn.group == name for name in dict.fromkeys(drawn.group)}
    ranges = {
        f"{max(low, 0):g} to {high:g} nats": (drawn.truth >= low) & (drawn.truth < high)
        for low, high in pairwise(RANGES)
    }
    everything = {"all": np.ones(len(found), dtype=bool)}
    print("mean absolute error (bias), nats")
    by_group = shown(table("mixtures", everything | groups, columns, drawn.truth))
    by_range = shown(table("truth", ranges, columns, drawn.truth))
    by_size = shown(sizes(model, arguments))
    shuffled = independence(model, drawn, arguments.seed)
    reporting.write(
        arguments.json,
        "infonet_pairs",
        arguments,
        **speed,
        repeats=bool(np.array_equal(found, second)),
        by_group=by_group,
        by_range=by_range,
        by_size=by_size,
        shuffled=shuffled,
    )


def draw(file: Path, samples: int, seed: int, most: int | None) -> Drawn:
    """Samples of the first ``most`` mixtures of each group."""
    source, parts = Source(seed), []
    for name, (mixtures, truth) in load_mixtures(file).items():
        x, y = (t.double() for t in mixtures.sample(samples, source))
        exact = mixtures.log_ratio(x, y).mean(dim=1).numpy()
        names = np.repeat(name, len(truth))
        parts.append([c[:most] for c in (names, truth, x.numpy(), y.numpy(), exact)])
    return Drawn(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def infonet(model: Model, drawn: Drawn) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Estimates, the same a second time, and pairs a second of the second time.

    Processor seconds tell the cost where other programs keep the cores busy.
    """
    first = estimate_batch(model, drawn.x, drawn.y)
    wall, processor = time.perf_counter(), time.process_time()
    second = estimate_batch(model, drawn.x, drawn.y)
    speed = {
        "pairs_a_second": len(second) / (time.perf_counter() - wall),
        "pairs_a_processor_second": len(second) / (time.process_time() - processor),
    }
    return first, second, speed


def nearest(drawn: Drawn, neighbours: int) -> np.ndarray:
    """KSG 1 of each pair."""
    return np.array(
        [
            mutual_info_regression(x[:, None], y, n_neighbors=neighbours, random_state=0)[0]
            for x, y in zip(drawn.x, drawn.y, strict=True)
        ]
    )


def table(
    what: str, parts: dict[str, np.ndarray], columns: dict[str, np.ndarray], truth: np.ndarray
) -> list[Row]:
    """Mean absolute error (and bias) of each column in each part."""
    rows: list[Row] = []
    for name, part in parts.items():
        if not part.any():
            continue
        row: Row = {what: name, "pairs": int(part.sum())}
        for column, values in columns.items():
            away = (values - truth)[part]
            row[column] = {"absolute": float(np.abs(away).mean()), "bias": float(away.mean())}
        rows.append(row)
    return rows


def sizes(model: Model, arguments: argparse.Namespace) -> list[Row]:
    """Other numbers of samples, on the first mixtures of each group."""
    rows: list[Row] = []
    for samples in arguments.sizes:
        drawn = draw(arguments.file, samples, arguments.seed + 1, arguments.few)
        columns = {"InfoNet": estimate_batch(model, drawn.x, drawn.y)}
        columns |= {f"KSG {k}": nearest(drawn, k) for k in NEIGHBOURS}
        columns["exact log ratio"] = drawn.exact
        everything = {str(samples): np.ones(len(drawn.truth), dtype=bool)}
        rows += table("samples", everything, columns, drawn.truth)
    return rows


def shown(rows: list[Row]) -> list[Row]:
    """The same rows, after they were printed."""

    def text(value: object) -> object:
        if isinstance(value, dict):
            return f"{value['absolute']:.4f} ({value['bias']:+.4f})"
        return value

    if rows:
        reporting.show(list(rows[0]), [[text(value) for value in row.values()] for row in rows])
    return rows


def independence(model: Model, drawn: Drawn, seed: int) -> dict[str, float]:
    """Of the same columns with y shuffled."""
    y = np.random.default_rng(seed).permuted(drawn.y, axis=1)
    found = estimate_batch(model, drawn.x, y)
    summary = {
        "mean": float(found.mean()),
        "mean_absolute": float(np.abs(found).mean()),
        "largest": float(found.max()),
    }
    print("shuffled pairs:", ", ".join(f"{k} {v:.4f}" for k, v in summary.items()))
    return summary


def _parser() -> argparse.ArgumentParser:
    parser = reporting.parser(__doc__, threads=2)
    parser.add_argument("file", type=Path, metavar="FILE.npz", help="groups of mixtures")
    parser.add_argument("--model", type=Path, help="weights; without it: those of the package")
    parser.add_argument("--samples", type=int, default=2000, help="of a pair; default 2000")
    parser.add_argument("--pairs", type=int, help="of a group at most; default all")
    parser.add_argument("--seed", type=int, default=0, help="of the samples; default 0")
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[200, 500, 1000, 5000], help="other sample sizes"
    )
    parser.add_argument("--few", type=int, default=40, help="mixtures of a group for those")
    return parser


if __name__ == "__main__":
    main()
