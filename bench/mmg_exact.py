"""MMG without any training: the exact denoisers of a Gaussian, and quadrature over the log-SNR.

For jointly Gaussian x and y the optimal denoisers are linear, so what is left is the integral. On
the task ``multinormal`` of the published sweep (two pairs of columns of correlation
s^2 / (1 + s^2)) it is taken three ways: by quadrature of the expected gap, by importance sampling
with the exact denoisers as an estimate would do it (plain and orthogonal), and with what the
published interval [-10, 14] of log-SNRs leaves out. Wanted: the quadrature within 1e-3 of the
truth.

    python bench/mmg_exact.py [--dim 10] [--strengths 2 17.2 1100] [--json OUT]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import reporting

from mimrl.mi.mmg import LogisticLaw, corrections, exact_denoisers, nodes
from mimrl.mi.tasks import dmi_task

WANTED = 1e-3
WIDE = LogisticLaw(location=2.0, scale=8.0)
"""Log-SNRs from -30 to 34: beyond them s = 2000 has 1e-8 nats."""


@dataclass(frozen=True)
class Row:
    """One strength, nats."""

    strength: float
    truth: float
    quadrature: float
    published_range: float
    upper_tail: float
    sampled_plain: float
    sampled_plain_error: float
    sampled_orthogonal: float
    sampled_orthogonal_error: float


def covariance(dim: int, strength: float) -> np.ndarray:
    """Of x and y of the task, ``(2 dim, 2 dim)``."""
    matrix = np.eye(2 * dim)
    for pair in range(2):
        coupled = strength**2 / (1 + strength**2)
        matrix[pair, dim + pair] = matrix[dim + pair, pair] = coupled
    return matrix


def measure(dim: int, strength: float, samples: int, passes: int) -> Row:
    """One strength."""
    task = dmi_task("multinormal", dim, strength)
    exact = exact_denoisers(covariance(dim, strength), dim)
    places, weights = nodes(WIDE.low, WIDE.high)
    x, y = task.sample(samples, 0)
    found = corrections(exact, exact.rows(x, y), WIDE, passes=passes, seed=1)
    published = LogisticLaw()
    errors = [v.std(ddof=1) / np.sqrt(samples) for v in (found.plain, found.orthogonal)]
    return Row(
        strength,
        task.mutual_information,
        0.5 * float(weights @ exact.gap(places)),
        exact.information(published.low, published.high),
        exact.information(low=published.high),
        float(found.plain.mean()),
        float(errors[0]),
        float(found.orthogonal.mean()),
        float(errors[1]),
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = reporting.parser(__doc__)
    parser.add_argument("--dim", type=int, default=10)
    parser.add_argument("--strengths", type=float, nargs="+", default=[2.0, 17.2, 1100.0])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="few samples")
    arguments = reporting.parsed(parser, argv)
    samples = 200 if arguments.quick else arguments.samples
    rows = [measure(arguments.dim, s, samples, arguments.passes) for s in arguments.strengths]
    reporting.show(
        ["strength", "truth", "quadrature", "its error", "on [-10, 14] only", "above 14",
         "sampled, plain",
         "sampled, orthogonal"],
        [[row.strength, row.truth, row.quadrature,
          f"{row.quadrature - row.truth:.0e}", row.published_range, row.upper_tail,
          f"{row.sampled_plain:.3f} ± {row.sampled_plain_error:.3f}",
          f"{row.sampled_orthogonal:.3f} ± {row.sampled_orthogonal_error:.3f}"] for row in rows],
    )  # fmt: skip
    good = all(abs(row.quadrature - row.truth) < WANTED for row in rows)
    reporting.write(arguments.json, "mmg_exact", arguments, wanted_holds=good, rows=rows)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
