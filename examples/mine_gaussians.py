"""MINE against non-parametric estimation and the truth: Gaussian pairs over their correlation.

X and Y have ``--dims`` columns; each column of X has correlation rho with the same column of Y, so
that I(X; Y) = -d/2 log(1 - rho^2). MINE (Belghazi et al. 2018, section 4.1) is read on the rows of
its training, as published, on held-out rows, and on held-out rows after a start at the log ratio of
a Gaussian pair, which suits these data. The non-parametric estimator is that of Kraskov and others
(2004), k = 10.

    python examples/mine_gaussians.py [--dims 1 20] [--rho -.9 0 .9] [--samples 3000]
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from common import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    finish,
    options,
    panels,
    parsed,
    positive,
    seeded,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

from mimrl.errors import EstimationWarning
from mimrl.mi.critics import MLP
from mimrl.mi.estimators.ksg import Ksg
from mimrl.mi.estimators.mine import Mine
from mimrl.mi.estimators.variational import Variational
from mimrl.mi.mine import MINE

RHO = (-0.99, -0.9, -0.7, -0.4, 0.0, 0.4, 0.7, 0.9, 0.99)
LOOKS = {
    "KSG": (ORANGE, "s"),
    "MINE, its training rows": (PINK, "v"),
    "MINE, held out": (GREEN, "o"),
    "MINE, held out, Gaussian start": (BLUE, "^"),
}
SIZE: dict[str, Any] = {"hidden": 64, "batch_size": 256}


@dataclass(frozen=True)
class Point:
    """The estimates of one data set, in nats.

    Attributes:
        dim: columns of X and of Y.
        rho: correlation of each pair of columns.
        seed: of the samples and of the trainings.
        truth: I(X; Y).
        estimates: by the names of :data:`LOOKS`.
    """

    dim: int
    rho: float
    seed: int
    truth: float
    estimates: Mapping[str, float]


@dataclass(frozen=True)
class Result:
    """All data sets, and how many samples each has."""

    points: Sequence[Point]
    samples: int

    def summary(self) -> dict[str, object]:
        """Mean absolute error in nats where the truth is below log n, and beyond."""
        found: dict[str, object] = {}
        for dim in sorted({point.dim for point in self.points}):
            for place in ("below log n", "beyond"):
                near = {
                    name: self.errors(name, dim, below=place == "below log n") for name in LOOKS
                }
                if near["KSG"]:
                    means = {name: round(float(np.mean(e)), 3) for name, e in near.items()}
                    found[f"dim {dim}, {place}"] = means
        return found

    def errors(self, name: str, dim: int, *, below: bool) -> list[float]:
        """Distances of estimates from truths that lie below log n, or do not, in nats."""
        limit = math.log(self.samples)
        return [
            abs(p.estimates[name] - p.truth)
            for p in self.points
            if p.dim == dim and (p.truth < limit) == below
        ]


def gaussians(
    samples: int, dim: int, rho: float, seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """X and Y ``(samples, dim)`` and their mutual information in nats."""
    x, noise = np.random.default_rng(seed).standard_normal((2, samples, dim))
    return x, rho * x + np.sqrt(1 - rho**2) * noise, -0.5 * dim * float(np.log1p(-(rho**2)))


def estimates(x: np.ndarray, y: np.ndarray, *, steps: int, seed: int) -> dict[str, float]:
    """All estimates in nats, by name."""
    trained = {"folds": 2, "steps": steps, "seed": seed, **SIZE}
    with seeded(seed):
        network = MLP(x.shape[1] + y.shape[1], 1, hidden=SIZE["hidden"])
    mine = MINE(network, loss="mine", method="concat")
    found = mine.optimize(
        *(x, y),
        iters=math.ceil(steps * SIZE["batch_size"] / len(x)),
        batch_size=SIZE["batch_size"],
        opt=torch.optim.Adam(mine.parameters(), lr=1e-3),
        seed=seed,
    )
    readings = (
        Ksg(neighbours=10).estimate(x, y),
        found,
        Mine(**trained).estimate(x, y),
        Variational(bound="mine", **trained).estimate(x, y),
    )
    return dict(zip(LOOKS, readings, strict=True))


def measure(arguments: argparse.Namespace) -> Result:
    """All dimensions, correlations and seeds."""
    places = [(d, r, s) for d in arguments.dims for r in arguments.rho for s in arguments.seeds]
    points = []
    for dim, rho, seed in tqdm(places, desc="data sets"):
        x, y, truth = gaussians(arguments.samples, dim, rho, seed)
        with warnings.catch_warnings():  # the picture shows what they warn of
            warnings.simplefilter("ignore", EstimationWarning)
            found = estimates(x, y, steps=arguments.steps, seed=seed)
        points.append(Point(dim, rho, seed, truth, found))
    return Result(points, arguments.samples)


def draw(result: Result) -> Figure:
    """Estimates and truth over rho, a panel a dimension."""
    dims = sorted({point.dim for point in result.points})
    figure, found = panels(len(dims), size=4.2)
    for panel, dim in zip(found, dims, strict=True):
        panel.axhline(math.log(result.samples), color=GREY, linestyle=":", label="log n")
        _panel(panel, [point for point in result.points if point.dim == dim])
        columns = "1 column" if dim == 1 else f"{dim} columns"
        panel.set(title=f"X and Y of {columns}", xlabel="correlation", ylabel="I(X; Y), nats")
    handles, labels = found[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    seeds = sorted({point.seed for point in result.points})
    figure.suptitle(f"n = {result.samples}, seed {', '.join(map(str, seeds))}")
    return figure


def _panel(panel: Axes, points: Sequence[Point]) -> None:
    limit = max(abs(point.rho) for point in points)
    rho = np.linspace(-limit, limit, 400)
    panel.plot(
        rho, -0.5 * points[0].dim * np.log1p(-(rho**2)), color=BLACK, linewidth=1, label="truth"
    )
    top = 1.25 * max(point.truth for point in points) + 0.1
    panel.set_ylim(-0.05 * top, top)
    places = sorted({point.rho for point in points})
    for name, (colour, marker) in LOOKS.items():
        mean = [np.mean([p.estimates[name] for p in points if p.rho == rho]) for rho in places]
        panel.plot(
            places, mean, color=colour, marker=marker, linestyle="none", label=name, alpha=0.7
        )
        for place, value in zip(places, mean, strict=True):
            if value > top:  # beyond the picture: the number at its upper edge
                side = "left" if place < 0 else "right"
                panel.text(place, 0.96 * top, f"↑ {value:.0f}", color=colour, ha=side, va="top")


def main(given: Sequence[str] | None = None) -> Result:
    """The example from its command line."""
    parser = options(__doc__, "mine_gaussians", seeds=[0], steps=600)
    parser.add_argument(
        "--dims",
        type=positive,
        nargs="+",
        default=[1, 20],
        help="columns of X and of Y, default: %(default)s",
    )
    parser.add_argument(
        "--rho", type=float, nargs="+", default=list(RHO), help="correlations, default: %(default)s"
    )
    parser.add_argument("--samples", type=positive, default=3000, help="default: %(default)s")
    arguments = parsed(parser, given, rho=[0.5], samples=100)
    if not all(-1 < rho < 1 for rho in arguments.rho):
        parser.error("--rho: a correlation must lie between -1 and 1, where information is finite")
    result = measure(arguments)
    finish(result.summary(), draw(result), arguments)
    return result


if __name__ == "__main__":
    main()
