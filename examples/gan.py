"""A generative adversarial network in the plane, with the mutual information of its code.

The generator reads noise z and a code c. One that collapses onto a part of the data ignores its
input; the term I(G([z, c]); c), estimated by MINE and maximised, holds against that (Belghazi et
al. 2018, section 5.1). Used by ``gan_spiral.py`` and ``gan_25_gaussians.py``; run alone it does
nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from common import BLACK, BLUE, ORANGE, clipped_gradient, cloud, descend, over_seeds, panels, seeded
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus
from tqdm import tqdm

from mimrl.mi import Mine, SeparableCritic, VariationalMI
from mimrl.mi.critics import MLP

NOISE, BATCH, RATE, READ = 2, 256, 1e-3, 5000

Sampler = Callable[[int], Tensor]
"""``n -> (n, d)`` samples from torch's global generator."""


@dataclass(frozen=True)
class Quality:
    """How near samples are to the data.

    Attributes:
        covered: parts of the data (modes, pieces of the curve) with a tenth of their due or more.
        near: share of the samples near a part.
    """

    covered: int
    near: float

    @classmethod
    def of(cls, nearest: Tensor, distance: Tensor, parts: int, radius: float) -> Quality:
        """From each sample's nearest part and its distance to it."""
        near = distance < radius
        counts = torch.bincount(nearest[near], minlength=parts).double()
        due = len(nearest) / parts
        return cls(int((counts >= 0.1 * due).sum()), float(near.double().mean()))


Judge = Callable[[Tensor], Quality]
"""What judges samples ``(n, 2)``."""


@dataclass(frozen=True)
class Run:
    """One trained generator.

    Attributes:
        seed: of the weights and of all samples.
        beta: weight of the information.
        quality: of 5,000 samples.
        information: held-out estimate of I(G([z, c]); c), in nats; None without the term.
        samples: ``(5000, 2)``.
    """

    seed: int
    beta: float
    quality: Quality
    information: float | None
    samples: Tensor = field(repr=False)


def uniform_code(width: int) -> Sampler:
    """``width`` independent numbers in [-1, 1]."""
    return lambda n: 2 * torch.rand(n, width) - 1


def category_code(categories: int) -> Sampler:
    """One of ``categories``, one-hot."""
    return lambda n: one_hot(torch.randint(categories, (n,)), categories).float()


class CodedGenerator(nn.Module):
    """G([z, c]) with an MLP.

    Args:
        code: sampler of c.
        outputs: width of a sample.
    """

    def __init__(self, code: Sampler, outputs: int = 2) -> None:
        super().__init__()
        self.code = code
        self.network = MLP(NOISE + code(1).shape[1], outputs, hidden=128)

    def forward(self, n: int) -> tuple[Tensor, Tensor]:
        """``n`` samples and the codes they were made of."""
        code = self.code(n)
        return self.network(torch.cat([torch.randn(n, NOISE), code], dim=1)), code


def train(
    data: Sampler,
    code: Sampler,
    quality: Judge,
    *,
    beta: float,
    steps: int,
    seed: int,
) -> Run:
    """Trains a generator on ``data`` and reads it.

    Args:
        data: sampler of the data, about unit variance.
        code: sampler of c.
        quality: judges samples.
        beta: weight of I(G([z, c]); c); 0 leaves the term out, the generator still gets the code.
        steps: each one of the discriminator, of the statistics network and of the generator.
        seed: of all randomness.
    """
    with seeded(seed):
        generator = CodedGenerator(code)
        discriminator = MLP(2, 1, hidden=128)
        information = VariationalMI(
            SeparableCritic(2, code(1).shape[1], hidden=128, layers=1, embedding=32), Mine()
        )
        generator_optimizer, discriminator_optimizer, information_optimizer = (
            torch.optim.Adam(part.parameters(), RATE, betas=(0.5, 0.999))
            for part in (generator, discriminator, information)
        )
        for _ in range(steps):
            fake, codes = generator(BATCH)
            apart = softplus(-discriminator(data(BATCH))).mean()
            apart = apart + softplus(discriminator(fake.detach())).mean()
            descend(discriminator_optimizer, apart)
            adversarial = softplus(-discriminator(fake)).mean()
            if beta:
                descend(information_optimizer, information.loss(fake.detach(), codes))
                clipped_gradient(
                    generator.parameters(), adversarial, beta * information(fake, codes)
                )
                generator_optimizer.step()
            else:
                descend(generator_optimizer, adversarial)
        with torch.no_grad():
            samples, codes = generator(READ)
            read = float(information(samples[:1000], codes[:1000])) if beta else None
            return Run(seed, beta, quality(samples), read, samples)


@dataclass(frozen=True)
class Result:
    """Runs without (beta 0) and with the information term."""

    runs: Sequence[Run]
    parts: int

    def of(self, *, informed: bool) -> list[Run]:
        """The runs with or without the term."""
        return [run for run in self.runs if bool(run.beta) == informed]

    def summary(self) -> dict[str, object]:
        """Mean and deviation over the seeds of each number, without and with the term."""
        return {
            name: _numbers(self.of(informed=on))
            for name, on in (("without", False), ("with", True))
        }


def measure(
    arguments: argparse.Namespace, data: Sampler, code: Sampler, quality: Judge, parts: int
) -> Result:
    """All seeds, without and with the term."""
    places = [(seed, beta) for seed in arguments.seeds for beta in (0.0, arguments.beta)]
    runs = [
        train(data, code, quality, beta=beta, steps=arguments.steps, seed=seed)
        for seed, beta in tqdm(places, desc="generators")
    ]
    return Result(runs, parts)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of every GAN example."""
    parser.add_argument(
        "--beta", type=float, default=1.0, help="weight of the information (default: %(default)s)"
    )


def draw(result: Result, data: Tensor, title: str, limit: float) -> Figure:
    """Data, then the first seed's samples without and with the term."""
    figure, found = panels(3, size=3.6)
    figure.set_size_inches(10.8, 4.1)
    without, informed = (result.of(informed=on)[0] for on in (False, True))
    shown = (
        ("data", data, BLACK),
        (f"GAN: {_described(without, result.parts)}", without.samples, ORANGE),
        (f"GAN + MINE: {_described(informed, result.parts)}", informed.samples, BLUE),
    )
    for panel, (name, samples, colour) in zip(found, shown, strict=True):
        cloud(panel, samples, name, colour, limit)
    figure.suptitle(f"{title}; seed {informed.seed}, beta {informed.beta:g}")
    return figure


def _described(run: Run, parts: int) -> str:
    return f"{run.quality.covered} of {parts}, {100 * run.quality.near:.0f} % near"


def _numbers(runs: Sequence[Run]) -> dict[str, str]:
    found = {
        "covered": over_seeds([run.quality.covered for run in runs], 1),
        "near": over_seeds([run.quality.near for run in runs]),
    }
    known = [run.information for run in runs if run.information is not None]
    return {**found, "information": over_seeds(known)} if known else found
