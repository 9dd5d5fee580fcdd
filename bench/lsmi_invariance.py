"""How much totals change when one modality is rotated, permuted or measured in other units.

Three classes in two modalities of 12 dimensions each, mixed from 4 informative and 8 other
directions of unequal size; default preprocessing. Wanted: every total changes by less than .02
nats.

    python bench/lsmi_invariance.py [--seeds 3] [--json OUT]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import reporting

from lsmi import decompose
from lsmi.results import ADJUSTED, RAW

SAMPLES, WIDTH, CLASSES, LIMIT = 1500, 12, 3, 0.02
ALONE: dict[str, Any] = {"bootstrap": 0, "shuffles": 0, "measures": False}
FloatArray = npt.NDArray[np.float64]
Change = Callable[[FloatArray, np.random.Generator], FloatArray]


def rotated(x: FloatArray, generator: np.random.Generator) -> FloatArray:
    """A random rotation."""
    return x @ np.linalg.qr(generator.normal(size=(x.shape[1], x.shape[1])))[0]


CHANGES: dict[str, Change] = {
    "x1 rotated": rotated,
    "x1 permuted": lambda x, generator: x[:, generator.permutation(x.shape[1])],
    "x1 times 1000": lambda x, generator: 1000.0 * x,
    "x1 moved by 5": lambda x, generator: x + 5.0,
}


@dataclass(frozen=True)
class Row:
    """One data set and change: total -> its value before and after, in nats."""

    change: str
    seed: int
    before: dict[str, float]
    after: dict[str, float]

    @property
    def worst(self) -> tuple[str, float]:
        """The total that changed most, and by how much."""
        moved = {name: abs(self.after[name] - self.before[name]) for name in self.before}
        name = max(moved, key=lambda each: moved[each])
        return name, moved[name]


def data(seed: int, samples: int) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int64]]:
    """x1, x2 and labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, samples)
    shared = generator.normal(size=(samples, WIDTH))
    sizes = np.geomspace(1.5, 0.3, WIDTH)
    found = []
    for _ in range(2):
        means = np.zeros((CLASSES, WIDTH))
        means[:, :4] = generator.normal(size=(CLASSES, 4))
        noise = 0.5 * shared + np.sqrt(0.75) * generator.normal(size=(samples, WIDTH))
        mixing = generator.normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH)
        found.append(((means[labels] + noise) * sizes) @ mixing)
    return found[0], found[1], labels


def totals(
    x1: FloatArray, x2: FloatArray, labels: npt.NDArray[np.int64], settings: dict[str, Any]
) -> dict[str, float]:
    """Raw and adjusted totals with default preprocessing."""
    found = decompose(x1, x2, labels, **settings)
    return {name: found.totals[name].value for name in (*RAW, *ADJUSTED)}


def measure(seed: int, samples: int, **few: Any) -> list[Row]:
    """One data set, every change."""
    x1, x2, labels = data(seed, samples)
    settings = ALONE | {"seed": seed} | few
    before, generator = totals(x1, x2, labels, settings), np.random.default_rng(seed)
    return [
        Row(name, seed, before, totals(change(x1, generator), x2, labels, settings))
        for name, change in CHANGES.items()
    ]


def report(rows: Sequence[Row]) -> bool:
    """Prints a line a change; whether all stayed."""
    lines = []
    for change in CHANGES:
        here = [row for row in rows if row.change == change]
        worst = max(here, key=lambda row: row.worst[1])
        r = [abs(row.after["r"] - row.before["r"]) for row in here]
        lines.append([change, f"{max(r):.5f}", f"{worst.worst[1]:.5f}", worst.worst[0]])
    reporting.show(["change", "largest change of r", "largest of any total", "which"], lines)
    return max(row.worst[1] for row in rows) < LIMIT


def main(argv: Sequence[str] | None = None) -> int:
    parser = reporting.analysis_parser(__doc__)
    parser.add_argument("--seeds", default="3", help="a number of seeds, or seeds: 3,5")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    arguments = reporting.parsed(parser, argv)
    rows: list[Row] = []
    for seed in reporting.seeds(arguments.seeds):
        with reporting.without_doubts():
            rows += measure(seed, arguments.samples, **reporting.chosen(arguments))
        print(f"seed {seed}: {rows[-1].before}", file=sys.stderr, flush=True)
    good = report(rows)
    reporting.write(arguments.json, "lsmi_invariance", arguments, wanted_holds=good, rows=rows)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
