"""Totals of noisy gates against their exact values.

Five gates with Gaussian noise of .1 on each input, 5,000 samples, coordinates as they are. The
truth is that of the noisy gate (100,000 draws of its closed-form mixture), not of the discrete
one. Wanted: raw and adjusted totals within .03 nats.

    python bench/lsmi_gates.py [--seeds 3] [--gates xor,and] [--json OUT]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import reporting

from lsmi import decompose
from lsmi.decomposition import Totals
from lsmi.results import ATOMS
from lsmi.truth import DRAWS, gate

SAMPLES, NOISE, NEAR = 5000, 0.1, 0.03
GATES = "xor,and,unique,redundant copy,xor + unique"
ALONE: dict[str, Any] = {"scaling": "none", "bootstrap": 0, "shuffles": 0, "measures": False}


@dataclass(frozen=True)
class Row:
    """One data set; totals in nats."""

    gate: str
    seed: int
    raw: Totals
    adjusted: Totals
    exact_raw: Totals
    exact_adjusted: Totals
    exact_raw_of_samples: Totals

    @property
    def worst(self) -> tuple[float, float]:
        """Largest distances from the truth, raw and adjusted."""
        pairs = ((self.raw, self.exact_raw), (self.adjusted, self.exact_adjusted))
        raw, adjusted = (
            max(abs(a - b) for a, b in zip(one, other, strict=True)) for one, other in pairs
        )
        return raw, adjusted


def measure(name: str, seed: int, samples: int, draws: int, **few: Any) -> Row:
    """One data set."""
    mixture = gate(name, NOISE)
    data = mixture.sample(samples, np.random.default_rng(seed))
    settings = ALONE | {"seed": seed} | few
    found = decompose(data.features["x1"], data.features["x2"], data.labels, **settings)
    known = mixture.totals(draws)
    return Row(
        gate=name,
        seed=seed,
        raw=Totals(*(found.totals[atom].value for atom in ATOMS)),
        adjusted=Totals(*(found.totals[f"{atom}_adjusted"].value for atom in ATOMS)),
        exact_raw=known.raw,
        exact_adjusted=known.adjusted,
        exact_raw_of_samples=mixture.decompose(data).totals,
    )


def report(rows: Sequence[Row]) -> bool:
    """Prints a line a gate; whether all are near."""

    def four(all_totals: Sequence[Totals]) -> str:
        values = np.mean([astuple(totals) for totals in all_totals], axis=0)
        return ", ".join(f"{value:.3f}" for value in values.round(3) + 0.0)

    lines = []
    for name in dict.fromkeys(row.gate for row in rows):
        here = [row for row in rows if row.gate == name]
        raw, adjusted = (max(row.worst[k] for row in here) for k in (0, 1))
        lines.append([
            name, four([row.raw for row in here]), four([here[0].exact_raw]), raw,
            four([row.adjusted for row in here]), four([here[0].exact_adjusted]), adjusted,
        ])  # fmt: skip
    reporting.show(
        ["gate", "raw r, u1, u2, s", "exact", "furthest", "adjusted", "exact", "furthest"], lines
    )
    worst = max(max(row.worst) for row in rows)
    print(f"furthest of all: {worst:.3f} nats (wanted {NEAR} at most)")
    return worst <= NEAR


def main(argv: Sequence[str] | None = None) -> int:
    parser = reporting.analysis_parser(__doc__)
    parser.add_argument("--seeds", default="3", help="a number of seeds, or seeds: 3,5")
    parser.add_argument("--gates", default=GATES)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--draws", type=int, default=DRAWS, help="of the truth")
    arguments = reporting.parsed(parser, argv)
    rows = []
    for name in arguments.gates.split(","):
        for seed in reporting.seeds(arguments.seeds):
            with reporting.without_doubts():
                sizes = (arguments.samples, arguments.draws)
                rows.append(measure(name.strip(), seed, *sizes, **reporting.chosen(arguments)))
            raw, adjusted = rows[-1].worst
            print(f"{name} seed {seed}: furthest raw {raw:.3f}, adjusted {adjusted:.3f}",
                  file=sys.stderr, flush=True)  # fmt: skip
    good = report(rows)
    reporting.write(arguments.json, "lsmi_gates", arguments, wanted_holds=good, rows=rows)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
