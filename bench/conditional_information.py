"""How well conditional information is estimated on Gaussian features with known truth.

Two measurements, each a mean over seeds with every seed printed:

1. Text, audio and video of two dimensions each and a scalar label, 2,000 training and 5,000
   held-out rows: all conditional terms against their exact values, and the three identities.
2. The bias against the width of the conditioning variable, plain and with neighbours sought
   in the linear prediction of x from z.

    python bench/conditional_information.py [--json FILE] [--seeds 5] [--part terms|width|all]
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mimrl.mi import (
    FitSettings,
    Triples,
    fit_conditional,
    fit_mutual,
    gaussian_information,
)
from mimrl.terms import Term, quantities, terms

TRAIN, HELD_OUT = 2000, 5000
MODALITIES = ("text", "audio", "video")
COLUMNS = {"text": [0, 1], "audio": [2, 3], "video": [4, 5], "label": [6]}
WIDTHS = (2, 8, 32, 64, 128)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One line of a table: a name, the truth, and each seed's estimates by read-out, in nats."""

    case: str
    name: str
    truth: float
    estimates: Mapping[str, list[float]]

    def mean(self, read_out: str) -> float:
        """Over the seeds, in nats."""
        return float(np.mean(self.estimates[read_out]))


def covariances() -> dict[str, Floats]:
    """Latent-factor models of the seven columns: every row a column, every column a factor."""
    mixed = np.array(
        [
            [1.0, 0.6, 0.0, 0.0, 0.0],
            [0.3, 0.0, 0.8, 0.7, 0.0],
            [0.8, 0.7, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.9],
            [0.5, 0.0, 0.6, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, -0.5],
            [0.9, 0.0, 0.0, 0.6, 0.8],
        ]
    )
    through_label = np.array([[1.0], [0.5], [0.8], [-0.6], [0.4], [0.4], [1.0]])
    strong = mixed * np.array([[1.6], [1.6], [1.6], [2.5], [1.0], [1.0], [1.6]])
    return {
        "mixed": mixed @ mixed.T + np.diag([0.5] * 6 + [0.4]),
        "strong": strong @ strong.T + np.diag([0.4] * 6 + [0.2]),
        # The label is the one common cause: modalities are independent given it.
        "through_label": through_label @ through_label.T + np.diag([0.6] * 6 + [0.0]),
        "independent": np.eye(7),
    }


def sample(covariance: Floats, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Training and held-out rows."""
    values, vectors = np.linalg.eigh(covariance)
    noise = np.random.default_rng(seed).normal(size=(TRAIN + HELD_OUT, len(covariance)))
    rows = torch.from_numpy(noise @ (vectors * np.sqrt(values.clip(min=0))).T).float()
    return rows[:TRAIN], rows[TRAIN:]


def triples(rows: torch.Tensor, term: Term) -> Triples:
    """The variables of a conditional term."""
    return Triples(*(rows[:, COLUMNS[name]] for name in (term.x, term.y, str(term.given))))


def truth(covariance: Floats, term: Term) -> float:
    """The exact value of a term."""
    given = COLUMNS[term.given] if term.given else ()
    return gaussian_information(covariance, COLUMNS[term.x], COLUMNS[term.y], given)


def estimate(
    term: Term, train: torch.Tensor, held_out: torch.Tensor, seed: int
) -> dict[str, float]:
    """One term by every read-out; a mutual information has one, repeated under each name."""
    if term.given is None:
        x, y = COLUMNS[term.x], COLUMNS[term.y]
        fitted = fit_mutual(train[:, x], train[:, y], seed)
        value = fitted.estimate(held_out[:, x], held_out[:, y], seed).value
        return {"ldr": value, "dv": value, "nwj": value}
    found = fit_conditional(triples(train, term), seed).estimate(triples(held_out, term), seed)
    return {"ldr": found.ldr, "dv": found.dv, "nwj": found.nwj}


def measure_terms(case: str, covariance: Floats, seeds: int) -> list[Row]:
    """Every term without the fused features, and the mutual informations of the identities."""
    wanted = [term for term in terms(MODALITIES) if term.x != "fused"]
    wanted += [Term(name, "label") for name in MODALITIES]
    rows = []
    for term in wanted:
        found = [estimate(term, *sample(covariance, seed), seed) for seed in range(seeds)]
        by_read_out = {key: [f[key] for f in found] for key in found[0]}
        rows.append(Row(case, term.name, truth(covariance, term), by_read_out))
    return rows


def identities(rows: list[Row]) -> list[Row]:
    """Left minus right side of the three identities, for each seed; the truth is 0."""
    by_name = {row.name: row for row in rows}
    parts = {q.name: dict(q.parts) for q in quantities(MODALITIES)}
    sides = {
        "specific_audio = I(A;C) - I(T;A)": (
            parts["specific_audio"],
            {"audio_label": 1, "text_audio": -1},
        ),
        "specific_video = I(V;C) - I(T;V)": (
            parts["specific_video"],
            {"video_label": 1, "text_video": -1},
        ),
        "invariant + specific_text = 2 I(T;C)": (
            parts["invariant"] | parts["specific_text"],
            {"text_label": 2},
        ),
    }

    def total(side: Mapping[str, float], read_out: str) -> Floats:
        values = [w * np.array(by_name[n].estimates[read_out]) for n, w in side.items()]
        return np.sum(values, axis=0)

    return [
        Row(
            rows[0].case,
            name,
            0.0,
            {key: (total(left, key) - total(right, key)).tolist() for key in ("ldr", "dv", "nwj")},
        )
        for name, (left, right) in sides.items()
    ]


def width_covariance(width: int, shared: float) -> Floats:
    """X (2), y (1), z (width): x and y follow a direction of z; ``shared`` links them beyond it.

    The truth is the same for every width, because all other directions of z are noise.
    """
    direction = np.full(width, 1 / np.sqrt(width))
    z = np.eye(width)
    loading = np.array([0.8, 0.5, 0.8])
    cross = np.outer(loading, direction)
    noise = np.diag([0.4, 0.4, 0.4])
    noise[0, 2] = noise[2, 0] = shared
    block = np.outer(loading, loading) + noise
    return np.block([[block, cross], [cross.T, z]])


@dataclass(frozen=True)
class WidthCase:
    """One law of x, y and z for the second measurement.

    Attributes:
        name: as printed.
        shared: covariance of x and y beyond z.
        rectified: x goes through max(x, 0), as features after a ReLU do. Independence given z
            stays; a positive truth would no longer be the Gaussian one.
    """

    name: str
    shared: float
    rectified: bool = False


WIDTH_CASES = (
    WidthCase("independent given z", 0.0),
    WidthCase("dependent given z", 0.23),
    WidthCase("independent, x >= 0", 0.0, rectified=True),
)


def measure_width(
    seeds: int, cases: Sequence[WidthCase] = WIDTH_CASES, widths: Sequence[int] = WIDTHS
) -> list[Row]:
    """The bias for every case and width of z, plain and by regression."""
    rows: list[Row] = []
    for case, width, regression in itertools.product(cases, widths, (False, True)):
        covariance = width_covariance(width, case.shared)
        exact = gaussian_information(covariance, [0, 1], [2], range(3, 3 + width))
        found = [
            fit_width(case, width, FitSettings(regression=regression), seed)
            for seed in range(seeds)
        ]
        name = f"width {width}, {'regression' if regression else 'plain'}"
        by_read_out = {key: [f[key] for f in found] for key in found[0]}
        rows.append(Row(case.name, name, exact, by_read_out))
        show([rows[-1]], header=len(rows) == 1)
    return rows


def fit_width(case: WidthCase, width: int, settings: FitSettings, seed: int) -> dict[str, float]:
    """One fit of the second measurement."""
    parts = []
    for rows in sample(width_covariance(width, case.shared), seed):
        x = rows[:, :2].clamp(min=0) if case.rectified else rows[:, :2]
        parts.append(Triples(x, rows[:, 2:3], rows[:, 3:]))
    found = fit_conditional(parts[0], seed, settings).estimate(parts[1], seed)
    return {"ldr": found.ldr, "dv": found.dv, "nwj": found.nwj}


def show(rows: list[Row], *, header: bool = True) -> None:
    """Prints a table: case, name, truth, each seed's ldr estimate, the mean of each read-out."""
    if header:
        print(f"{'case':20} {'name':38} {'truth':>6}  {'ldr':>6} {'dv':>6} {'nwj':>6}  ldr by seed")
    for row in rows:
        means = " ".join(f"{row.mean(key):6.3f}" for key in ("ldr", "dv", "nwj"))
        each = " ".join(f"{value:.3f}" for value in row.estimates["ldr"])
        print(f"{row.case:20} {row.name:38} {row.truth:6.3f}  {means}  {each}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--part", choices=("terms", "width", "all"), default="all")
    arguments = parser.parse_args()
    start, found = time.perf_counter(), []
    if arguments.part in ("terms", "all"):
        for case, covariance in covariances().items():
            rows = measure_terms(case, covariance, arguments.seeds)
            rows += identities(rows)
            show(rows)
            found += rows
    if arguments.part in ("width", "all"):
        found += measure_width(arguments.seeds)
    print(f"{time.perf_counter() - start:.0f} s")
    if arguments.json:
        text = json.dumps([asdict(row) for row in found], indent=1)
        arguments.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
