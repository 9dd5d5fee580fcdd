"""Labels by chance: what is read where there is nothing to read.

2,000 samples of 32 + 32 standard normal dimensions and labels that have nothing to do with them,
with the default settings. Wanted: the intervals of all four raw totals hold 0, and i(x1,x2;y) is
below .02 nats. Beside it the published procedure, which reads the samples it was fitted to.

    python bench/lsmi_chance.py [--seeds 5] [--classes 2] [--json OUT]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import reporting

from lsmi import decompose
from lsmi.published import AUTHORS, published_reading
from lsmi.results import ATOMS, Quantity
from lsmi.samples import NamedFeatures

SAMPLES, WIDTH, LIMIT = 2000, 32, 0.02


@dataclass(frozen=True)
class Row:
    """One data set; nats."""

    seed: int
    ours: dict[str, Quantity]
    published: dict[str, float]

    @property
    def good(self) -> bool:
        """Whether nothing was found."""
        inside = all(self.ours[atom].low <= 0 <= self.ours[atom].high for atom in ATOMS)
        return inside and self.ours["i12"].value < LIMIT


def measure(seed: int, classes: int, samples: int, width: int, **few: Any) -> Row:
    """One data set."""
    generator = np.random.default_rng(seed)
    x1, x2 = generator.normal(size=(2, samples, width))
    labels = generator.integers(0, classes, samples)
    found = decompose(x1, x2, labels, **{"seed": seed, "measures": False} | few)
    data = NamedFeatures({"x1": x1, "x2": x2}, labels)
    other = published_reading({"train": data}, settings=replace(AUTHORS, seed=seed))["train"]
    raw = dict(zip(ATOMS, astuple(other.totals), strict=True))
    return Row(
        seed=seed,
        ours={name: found.totals[name] for name in (*ATOMS, "i12")},
        published=raw | {"i12": float(other.information.i12.mean())},
    )


def report(rows: Sequence[Row]) -> bool:
    """Prints a line a data set; whether nothing was found in any."""

    def interval(quantity: Quantity) -> str:
        value, low, high = (
            f"{round(part, 4) + 0.0:.4f}" for part in (quantity.value, quantity.low, quantity.high)
        )
        return f"{value} ({low}, {high})"

    names = (*ATOMS, "i12")
    reporting.show(
        ["seed", *(f"{name} (interval)" for name in names), "nothing found"],
        [[row.seed, *(interval(row.ours[name]) for name in names), "yes" if row.good else "NO"]
         for row in rows],
    )  # fmt: skip
    print("the published procedure on the samples it was fitted to:")
    reporting.show(["seed", *names], [[row.seed, *row.published.values()] for row in rows])
    return all(row.good for row in rows)


def main(argv: Sequence[str] | None = None) -> int:
    parser = reporting.analysis_parser(__doc__)
    parser.add_argument("--seeds", default="5", help="a number of seeds, or seeds: 3,5")
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--width", type=int, default=WIDTH, help="dimensions of each modality")
    arguments = reporting.parsed(parser, argv)
    rows = []
    for seed in reporting.seeds(arguments.seeds):
        with reporting.without_doubts():  # they say that nothing was found
            sizes = (arguments.classes, arguments.samples, arguments.width)
            rows.append(measure(seed, *sizes, **reporting.chosen(arguments)))
        print(f"seed {seed}: i12 {rows[-1].ours['i12'].value:.4f}, published "
              f"{rows[-1].published['i12']:.3f}", file=sys.stderr, flush=True)  # fmt: skip
    good = report(rows)
    reporting.write(arguments.json, "lsmi_chance", arguments, wanted_holds=good, rows=rows)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
