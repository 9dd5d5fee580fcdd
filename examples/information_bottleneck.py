"""The information bottleneck on digits: cross entropy + beta I(X; Z), Z a noisy code of X.

I(X; Z) is estimated by MINE (Belghazi et al. 2018, section 5.3): its statistics network climbs, the
encoder descends, a step each. Compared with a network without noise, with dropout, with noise that
costs nothing, and with the variational bottleneck (Alemi et al. 2017), whose upper bound on I(X; Z)
is a Kullback-Leibler divergence in closed form. The weight beta is chosen on validation images, the
test images are read once.

    python examples/information_bottleneck.py [--mnist FOLDER] [--betas .003 .03 .3]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from common import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    descend,
    finish,
    options,
    over_seeds,
    panels,
    parsed,
    seeded,
)
from digits import Digits, Part, digits
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, layer_norm, softplus
from tqdm import tqdm

from mimrl.errors import DataError
from mimrl.mi import Mine, SeparableCritic, VariationalMI

WIDTH, CODE, BATCH, RATE, DRAWS = 256, 32, 128, 1e-3, 16
SMALLEST = 1e-4  # standard deviation of the code's noise


@dataclass(frozen=True)
class Method:
    """How Z is made and what it costs.

    Attributes:
        colour: in the picture.
        noise: Z is drawn from a Gaussian that the encoder gives, or is its mean.
        dropout: share of hidden units zeroed in training.
        cost: what beta weighs.
    """

    colour: str
    noise: bool = False
    dropout: float = 0.0
    cost: Literal["none", "divergence", "mine"] = "none"


METHODS: Mapping[str, Method] = {
    "plain": Method(GREY),
    "dropout": Method(BLACK, dropout=0.5),
    "noise": Method(GREEN, noise=True),
    "variational": Method(ORANGE, noise=True, cost="divergence"),
    "MINE": Method(BLUE, noise=True, cost="mine"),
}


@dataclass(frozen=True)
class Run:
    """One trained network.

    Attributes:
        method: of :data:`METHODS`.
        seed: of the division, the weights and the batches.
        beta: weight of the cost; 0 for methods without one.
        valid_error: share of the validation images that are read wrongly.
        valid_loss: cross entropy of the validation images, in nats.
        test_error: share of the test images that are read wrongly.
        information: I(X; Z) in nats for X uniform over the test images (500 of them); None
            without noise, where each image has its own code.
    """

    method: str
    seed: int
    beta: float
    valid_error: float
    valid_loss: float
    test_error: float
    information: float | None


@dataclass(frozen=True)
class Result:
    """All runs, and of each method and seed the one that validation chose."""

    runs: Sequence[Run]
    chosen: Sequence[Run]

    def summary(self) -> dict[str, str]:
        """Test error of the chosen runs over the seeds."""
        return {name: over_seeds(errors(self.chosen, name), 4) for name in METHODS}


class Bottleneck(nn.Module):
    """Image -> Gaussian -> code Z -> digit.

    The Gaussian's mean has a fixed length (layer norm without weights): an encoder that may scale
    its code escapes the noise, and there the gradient of I(X; Z) vanishes.

    Args:
        pixels: width of an image.
        method: noise and dropout.
    """

    def __init__(self, pixels: int, method: Method) -> None:
        super().__init__()
        self.noise = method.noise
        self.encoder = nn.Sequential(
            *(nn.Linear(pixels, WIDTH), nn.ReLU(), nn.Dropout(method.dropout)),
            *(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Dropout(method.dropout)),
            nn.Linear(WIDTH, 2 * CODE),
        )
        self.decoder = nn.Linear(CODE, 10)

    def gaussian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of Z, ``(B, CODE)`` each."""
        mean, raw = self.encoder(x).chunk(2, dim=1)
        return layer_norm(mean, (CODE,)), softplus(raw) + SMALLEST

    def draw(self, x: Tensor) -> Tensor:
        """Z, ``(B, CODE)``."""
        mean, deviation = self.gaussian(x)
        return mean + deviation * torch.randn_like(mean) if self.noise else mean

    def log_probabilities(self, x: Tensor) -> Tensor:
        """``(B, 10)``, the probabilities averaged over draws of Z."""
        draws = [self.decoder(self.draw(x)).softmax(dim=1) for _ in range(DRAWS)]
        return torch.stack(draws).mean(dim=0).clamp(min=1e-12).log()


def train(data: Digits, name: str, *, beta: float, steps: int, seed: int) -> Run:
    """Trains one network for ``steps`` steps and reads it."""
    method, pixels = METHODS[name], data.train.x.shape[1]
    with seeded(seed):
        model = Bottleneck(pixels, method)
        information = VariationalMI(
            SeparableCritic(pixels, CODE, hidden=128, layers=1, embedding=32), Mine()
        )
        optimizer = torch.optim.Adam(model.parameters(), RATE)
        climber = torch.optim.Adam(information.parameters(), RATE)
        for _ in range(steps):
            batch = data.train.rows(torch.randint(len(data.train), (BATCH,)))
            z = model.draw(batch.x)
            loss = cross_entropy(model.decoder(z), batch.y)
            if method.cost == "mine":
                descend(climber, information.loss(batch.x, z.detach()))
                loss = loss + beta * information(batch.x, z)
            elif method.cost == "divergence":
                loss = loss + beta * divergence(model, batch.x)
            descend(optimizer, loss)
        model.eval()
        valid_error, valid_loss = read(model, data.valid)
        test_error, _ = read(model, data.test)
        known = exact_information(model, data.test.x[:500]) if method.noise else None
    return Run(name, seed, beta, valid_error, valid_loss, test_error, known)


def divergence(model: Bottleneck, x: Tensor) -> Tensor:
    """Mean KL(p(z | x) || N(0, 1)), 0-d, in nats: an upper bound on I(X; Z)."""
    mean, deviation = model.gaussian(x)
    return (0.5 * (mean.square() + deviation.square() - 1) - deviation.log()).sum(dim=1).mean()


@torch.no_grad()
def read(model: Bottleneck, part: Part) -> tuple[float, float]:
    """Share of wrong digits and cross entropy."""
    scores = model.log_probabilities(part.x)
    wrong = (scores.argmax(dim=1) != part.y).double().mean()
    return float(wrong), float(cross_entropy(scores, part.y))


@torch.no_grad()
def exact_information(model: Bottleneck, x: Tensor) -> float:
    """I(X; Z) in nats for X uniform over the N rows of ``x``, at most log N.

    ``p(z | x)`` is known and ``p(z)`` is the mean of N of them; one draw of Z a row.
    """
    mean, deviation = model.gaussian(x)
    z = mean + deviation * torch.randn_like(mean)
    standard = (z[:, None] - mean) / deviation
    log_density = (-0.5 * standard.square() - deviation.log()).sum(dim=2)
    mixture = log_density.logsumexp(dim=1) - math.log(len(x))
    return float((log_density.diagonal() - mixture).mean())


def errors(runs: Sequence[Run], name: str) -> list[float]:
    """Test errors of one method."""
    return [run.test_error for run in runs if run.method == name]


def measure(arguments: argparse.Namespace) -> Result:
    """All methods, weights and seeds."""
    runs, chosen = [], []
    for seed in tqdm(arguments.seeds, desc="seeds"):
        data = digits(seed, arguments.mnist)
        for name, method in METHODS.items():
            betas = arguments.betas if method.cost != "none" else [0.0]
            found = [
                train(data, name, beta=beta, steps=arguments.steps, seed=seed) for beta in betas
            ]
            runs += found
            chosen.append(min(found, key=lambda run: (run.valid_error, run.valid_loss)))
    return Result(runs, chosen)


def draw(result: Result) -> Figure:
    """Information and error against beta, and the error where validation chose beta."""
    figure, (left, middle, right) = panels(3)
    for name, method in METHODS.items():
        own = [run for run in result.runs if run.method == name]
        known = {run: run.information for run in own if run.information is not None}
        if known:  # without noise each image has its own code
            _curve(left, known, name, method)
        _curve(middle, {run: 100 * run.test_error for run in own}, name, method)
    left.axhline(math.log(10), color=GREY, linestyle=":", label="log 10: the digit")
    left.set(title="What the code keeps", xlabel="beta", ylabel="I(X; Z), nats", xscale="log")
    middle.set(title="What it costs", xlabel="beta", ylabel="test error, %", xscale="log")
    middle.set_yscale("log")
    middle.set_yticks([2, 3, 5, 10, 20, 50], ["2", "3", "5", "10", "20", "50"])
    middle.minorticks_off()
    right.set(title="beta chosen on validation", ylabel="test error, %")
    for panel in (left, middle):
        panel.legend(frameon=False, fontsize=8)
    _dots(right, result.chosen)
    seeds = len({run.seed for run in result.runs})
    figure.suptitle(f"Information bottleneck on digits: mean and deviation over {seeds} seeds")
    return figure


def _curve(panel: Axes, found: Mapping[Run, float], name: str, method: Method) -> None:
    betas = sorted({run.beta for run in found})
    values = [[found[run] for run in found if run.beta == beta] for beta in betas]
    mean, deviation = np.mean(values, axis=1), np.std(values, axis=1)
    if method.cost == "none":
        panel.axhline(mean[0], color=method.colour, linestyle="--", label=name)
        return
    panel.errorbar(betas, mean, deviation, color=method.colour, marker="o", capsize=3, label=name)


def _dots(panel: Axes, chosen: Sequence[Run]) -> None:
    for place, (name, method) in enumerate(METHODS.items()):
        values = 100 * np.array(errors(chosen, name))
        panel.scatter(np.full(len(values), place), values, color=method.colour, alpha=0.5)
        panel.hlines(values.mean(), place - 0.3, place + 0.3, color=method.colour)
    panel.set_xticks(range(len(METHODS)), list(METHODS), fontsize=8)


def main(given: Sequence[str] | None = None) -> Result:
    """The example from its command line."""
    parser = options(__doc__, "information_bottleneck", seeds=range(5), steps=1000)
    parser.add_argument("--mnist", type=Path, metavar="FOLDER", help="with MNIST's four idx files")
    parser.add_argument(
        "--betas", type=float, nargs="+", default=[3e-3, 3e-2, 3e-1], help="default: %(default)s"
    )
    arguments = parsed(parser, given, betas=[0.1])
    try:
        result = measure(arguments)
    except DataError as error:
        parser.error(str(error))
    finish(result.summary(), draw(result), arguments)
    return result


if __name__ == "__main__":
    main()
