"""Non-linear dependence: MINE sees what correlation does not.

Y = f(X) + sigma * noise with f(X) scaled to unit variance, X uniform on [-w, w] and Gaussian noise
(Belghazi et al. 2018, section 4.2, where f is not scaled and w = 1). The default w = 4.4934 is the
solution of tan(w) = w, for which X and sin(X) have correlation 0 although one determines the
other. The truth is an integral in one dimension; at sigma = 0 it is infinite, and what is read is
what the samples allow.

    python examples/nonlinear_dependence.py [--half-width 1] [--samples 1500]
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from common import finish, options, panels, parsed, positive
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

from mimrl.errors import EstimationWarning
from mimrl.mi.estimators.mine import Mine

FUNCTIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "x": lambda x: x,
    "x³": lambda x: x**3,
    "sin(x)": np.sin,
}
SIGMA = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
UNCORRELATED = 4.493409457909064  # tan(w) = w


@dataclass(frozen=True)
class Cell:
    """One function, one noise, one seed.

    Attributes:
        function: of :data:`FUNCTIONS`.
        sigma: standard deviation of the noise; that of f(X) is 1.
        seed: of the samples and of the training.
        truth: I(X; Y) in nats; infinite without noise.
        estimate: of MINE, in nats.
        correlation: absolute, of X and Y.
    """

    function: str
    sigma: float
    seed: int
    truth: float
    estimate: float
    correlation: float


@dataclass(frozen=True)
class Result:
    """All cells."""

    cells: Sequence[Cell]

    def summary(self) -> dict[str, object]:
        """Error where the truth is finite, and the spread over functions at equal noise, nats."""
        finite = [cell for cell in self.cells if math.isfinite(cell.truth)]
        errors = [abs(cell.estimate - cell.truth) for cell in finite]
        return {
            "mean absolute error": round(float(np.mean(errors)), 3) if errors else None,
            "spread over f, estimated": self.unequal("estimate"),
            "spread over f, true": self.unequal("truth"),
        }

    def unequal(self, quantity: str) -> float | None:
        """Largest less smallest value over the functions, mean over sigma > 0."""
        table = self.table(quantity)[:, [s > 0 for s in self.sigmas]]
        return round(float(np.ptp(table, axis=0).mean()), 3) if table.size else None

    @property
    def sigmas(self) -> list[float]:
        """All amounts of noise, rising."""
        return sorted({cell.sigma for cell in self.cells})

    def table(self, quantity: str) -> np.ndarray:
        """``(functions, sigmas)``, means over the seeds."""
        return np.array(
            [
                [
                    np.mean([getattr(c, quantity) for c in self.cells if self._at(c, name, sigma)])
                    for sigma in self.sigmas
                ]
                for name in FUNCTIONS
            ]
        )

    @staticmethod
    def _at(cell: Cell, name: str, sigma: float) -> bool:
        return cell.function == name and cell.sigma == sigma


def scaled(name: str, half_width: float) -> Callable[[np.ndarray], np.ndarray]:
    """The function divided by its standard deviation for X uniform on [-w, w]."""
    grid = _midpoints(half_width)
    deviation = FUNCTIONS[name](grid).std()
    return lambda x: FUNCTIONS[name](x) / deviation


def truth(name: str, sigma: float, half_width: float) -> float:
    """I(X; Y) = h(Y) - h(sigma * noise) in nats, midpoint rule in x and y."""
    if sigma == 0:
        return math.inf
    centres = scaled(name, half_width)(_midpoints(half_width))
    reach = 8 * sigma
    y, step = np.linspace(centres.min() - reach, centres.max() + reach, 3001, retstep=True)
    standard = (y[:, None] - centres) / sigma
    density = np.exp(-0.5 * standard**2).mean(axis=1) / (sigma * math.sqrt(2 * math.pi))
    entropy = -np.sum(density * np.log(np.maximum(density, 1e-300))) * step
    return float(entropy - 0.5 * math.log(2 * math.pi * math.e * sigma**2))


def cell(name: str, sigma: float, seed: int, arguments: argparse.Namespace) -> Cell:
    """Draws samples and reads them."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(-arguments.half_width, arguments.half_width, arguments.samples)
    y = scaled(name, arguments.half_width)(x)
    y = y + sigma * generator.standard_normal(arguments.samples)
    mine = Mine(folds=2, hidden=64, batch_size=256, steps=arguments.steps, seed=seed)
    with warnings.catch_warnings():  # the picture shows what is warned of
        warnings.simplefilter("ignore", EstimationWarning)
        estimate = mine.estimate(x, y)
    correlation = abs(float(np.corrcoef(x, y)[0, 1]))
    return Cell(name, sigma, seed, truth(name, sigma, arguments.half_width), estimate, correlation)


def measure(arguments: argparse.Namespace) -> Result:
    """All functions, amounts of noise and seeds."""
    places = [(f, s, seed) for f in FUNCTIONS for s in arguments.sigma for seed in arguments.seeds]
    return Result([cell(*place, arguments) for place in tqdm(places, desc="data sets")])


def draw(result: Result) -> Figure:
    """Heat maps of truth, estimate and correlation; brightness of the first two is the same."""
    figure, found = panels(1, rows=3, size=2.2)
    figure.set_size_inches(8.5, 6.6)
    highest = float(result.table("estimate").max())
    titles = {
        "truth": "I(X; Y), nats: truth",
        "estimate": "I(X; Y), nats: MINE",
        "correlation": "|correlation|",
    }
    for panel, (quantity, title) in zip(found, titles.items(), strict=True):
        top = 1.0 if quantity == "correlation" else highest
        _heat_map(panel, result.table(quantity), result.sigmas, top)
        panel.set_title(title, loc="left")
    found[-1].set_xlabel("sigma, standard deviation of the noise (that of f(X) is 1)")
    seeds = sorted({cell.seed for cell in result.cells})
    figure.suptitle(f"Y = f(X) + sigma * noise; seed {', '.join(map(str, seeds))}")
    return figure


def _heat_map(panel: Axes, table: np.ndarray, sigmas: Sequence[float], top: float) -> None:
    shown = np.minimum(table, top)
    panel.imshow(shown, cmap="viridis", vmin=0, vmax=top, aspect="auto")
    panel.set_xticks(range(len(sigmas)), [f"{sigma:g}" for sigma in sigmas])
    panel.set_yticks(range(len(FUNCTIONS)), list(FUNCTIONS))
    for (row, column), value in np.ndenumerate(table):
        text = f"{value:.2f}" if math.isfinite(value) else "∞"
        colour = "black" if shown[row, column] > 0.6 * top else "white"
        panel.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)


def _midpoints(half_width: float, count: int = 1000) -> np.ndarray:
    return half_width * ((np.arange(count) + 0.5) / count * 2 - 1)


def main(given: Sequence[str] | None = None) -> Result:
    """The example from its command line."""
    parser = options(__doc__, "nonlinear_dependence", seeds=[0], steps=400)
    parser.add_argument(
        "--half-width", type=float, default=UNCORRELATED, help="w, default: %(default).4f"
    )
    parser.add_argument(
        "--sigma", type=float, nargs="+", default=list(SIGMA), help="noise, default: %(default)s"
    )
    parser.add_argument("--samples", type=positive, default=1500, help="default: %(default)s")
    arguments = parsed(parser, given, sigma=[0.5], samples=100)
    if arguments.half_width <= 0 or min(arguments.sigma) < 0:
        parser.error("--half-width must be above 0 and --sigma 0 or more")
    result = measure(arguments)
    finish(result.summary(), draw(result), arguments)
    return result


if __name__ == "__main__":
    main()
