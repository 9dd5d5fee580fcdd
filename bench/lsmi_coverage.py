"""How often the 95 % intervals of the raw totals hold the truth.

Data sets of 2,000 samples of the toy mixture (two classes, correlation .5, noise .5), coordinates
as they are; the truth from 1,000,000 draws. Wanted: 90 to 99 % for each of the four.

    python bench/lsmi_coverage.py [--sets 100] [--json OUT]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import reporting

from lsmi import decompose
from lsmi.results import ATOMS, RAW, Quantity
from lsmi.truth import LabelledMixture, toy

SAMPLES, CLASSES, RHO, NOISE, DRAWS = 2000, 2, 0.5, 0.5, 1_000_000
ALONE: dict[str, Any] = {"scaling": "none", "shuffles": 0, "measures": False}
LEAST, MOST = 0.90, 0.99


@dataclass(frozen=True)
class Row:
    """One data set: each quantity with its interval, and its exact mean over the same samples."""

    seed: int
    found: dict[str, Quantity]
    exact_of_samples: dict[str, float]


def measure(mixture: LabelledMixture, seed: int, samples: int, **few: Any) -> Row:
    """One data set."""
    data = mixture.sample(samples, np.random.default_rng(seed))
    settings = ALONE | {"seed": seed} | few
    found = decompose(data.features["x1"], data.features["x2"], data.labels, **settings)
    exact = mixture.decompose(data)
    means = {name: getattr(exact.information, name).mean() for name in ("i1", "i2", "i12")}
    means |= {name: getattr(exact.raw, name).mean() for name in ATOMS}
    return Row(seed, {name: found.totals[name] for name in RAW},
               {name: float(value) for name, value in means.items()})  # fmt: skip


def holds(quantity: Quantity, value: float) -> bool:
    """Whether the interval does."""
    return quantity.low <= value <= quantity.high


def truth(mixture: LabelledMixture, draws: int) -> dict[str, float]:
    """Exact totals, by name."""
    r, u1, u2, s = mixture.totals(draws, seed=2**31).raw
    return {"r": r, "u1": u1, "u2": u2, "s": s, "i1": r + u1, "i2": r + u2, "i12": r + u1 + u2 + s}


def report(rows: Sequence[Row], known: Mapping[str, float]) -> bool:
    """Prints a line a quantity; whether the four raw atoms are covered as wanted."""
    lines, good = [], True
    for name in RAW:
        found = [row.found[name] for row in rows]
        values = np.array([quantity.value for quantity in found])
        covered = float(np.mean([holds(quantity, known[name]) for quantity in found]))
        good &= name not in ATOMS or LEAST <= covered <= MOST
        half = float(np.mean([(q.high - q.low) / 2 for q in found]))
        own = values - np.array([row.exact_of_samples[name] for row in rows])
        lines.append([name, f"{covered:.0%}", known[name], float(values.mean()) - known[name],
                      float(values.std(ddof=1)) if len(rows) > 1 else "", half,
                      float(own.mean()), float(own.std())])  # fmt: skip
    reporting.show(
        ["total", "covered", "truth", "bias", "deviation over sets", "half width of interval",
         "error on own samples", "its deviation"],
        lines,
    )  # fmt: skip
    return good


def main(argv: Sequence[str] | None = None) -> int:
    parser = reporting.analysis_parser(__doc__)
    parser.add_argument("--sets", default="100", help="a number of data sets, or seeds: 3,5")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--draws", type=int, default=DRAWS, help="of the truth")
    arguments = reporting.parsed(parser, argv)
    mixture = toy(CLASSES, RHO, NOISE)
    known, rows = truth(mixture, arguments.draws), []
    for seed in reporting.seeds(arguments.sets):
        start = time.process_time()
        with reporting.without_doubts():
            few = reporting.chosen(arguments)
            rows.append(measure(mixture, seed, arguments.samples, **few))
        held = [name for name in ATOMS if holds(rows[-1].found[name], known[name])]
        print(f"set {seed}: holds {' '.join(held)}; {time.process_time() - start:.1f} CPU s",
              file=sys.stderr, flush=True)  # fmt: skip
    good = report(rows, known)
    reporting.write(arguments.json, "lsmi_coverage", arguments,
                 wanted_holds=good, truth=known, rows=rows)  # fmt: skip
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
