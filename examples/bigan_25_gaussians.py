"""A bidirectional generative adversarial network on 25 Gaussians, without and with I(X; E(X)).

The discriminator sees pairs: data with their codes (x, E(x)), and samples with theirs (G(z), z). At
the optimum G and E undo each other, but the adversarial game alone hardly asks for it; how badly a
reconstruction G(E(x)) can fail is bounded by terms of which one falls as I(X; E(X)) rises, and so
that is maximised too (Belghazi et al. 2018, section 5.2). E(x) is a draw from a Gaussian.

    python examples/bigan_25_gaussians.py [--beta 1] [--latent 2] [--seeds 0 1 2] [--steps 2500]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field

import gaussians25
import torch
from common import (
    BLACK,
    BLUE,
    ORANGE,
    clipped_gradient,
    cloud,
    descend,
    finish,
    options,
    over_seeds,
    panels,
    parsed,
    positive,
    seeded,
)
from gan import Quality, add_options
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import softplus
from tqdm import tqdm

from mimrl.mi import Mine, SeparableCritic, VariationalMI
from mimrl.mi.critics import MLP

BATCH, RATE, READ = 128, 1e-3, 5000


@dataclass(frozen=True)
class Run:
    """One trained pair of generator and encoder, read on 5,000 fresh samples.

    Attributes:
        seed: of the weights and of all samples.
        beta: weight of I(X; E(X)).
        quality: of samples G(z).
        distance: mean Euclidean distance of G(E(x)) from x; the grid's spacing is 0.7.
        same: share of the data that are reconstructed nearest to their own mode.
        information: estimate of I(X; E(X)) in nats; None without the term.
        data: ``(5000, 2)`` fresh data.
        reconstructed: ``(5000, 2)`` G(E(x)) of them.
        samples: ``(5000, 2)`` G(z).
    """

    seed: int
    beta: float
    quality: Quality
    distance: float
    same: float
    information: float | None
    data: Tensor = field(repr=False)
    reconstructed: Tensor = field(repr=False)
    samples: Tensor = field(repr=False)


@dataclass(frozen=True)
class Result:
    """Runs without (beta 0) and with the information term."""

    runs: Sequence[Run]

    def of(self, *, informed: bool) -> list[Run]:
        """The runs with or without the term."""
        return [run for run in self.runs if bool(run.beta) == informed]

    def summary(self) -> dict[str, object]:
        """Mean and deviation over the seeds of each number, without and with the term."""
        found = {"without": self.of(informed=False), "with": self.of(informed=True)}
        return {
            name: {
                "reconstruction distance": over_seeds([run.distance for run in runs]),
                "same mode": over_seeds([run.same for run in runs]),
                "covered": over_seeds([run.quality.covered for run in runs], 1),
                "near": over_seeds([run.quality.near for run in runs]),
            }
            for name, runs in found.items()
        }


class Encoder(nn.Module):
    """A draw of E(x), Gaussian with mean and deviation from an MLP.

    Args:
        latent: width of z.
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.network = MLP(2, 2 * latent, hidden=128)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, latent)``."""
        mean, raw = self.network(x).chunk(2, dim=1)
        return mean + softplus(raw - 2) * torch.randn_like(mean)


class Players(nn.Module):
    """All four networks.

    Args:
        latent: width of z.
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent = latent
        self.generator = MLP(latent, 2, hidden=128)
        self.encoder = Encoder(latent)
        self.discriminator = MLP(2 + latent, 1, hidden=128)
        self.information = VariationalMI(
            SeparableCritic(2, latent, hidden=128, layers=1, embedding=32), Mine()
        )

    def pairs(self, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Data and their codes, samples and theirs."""
        x, z = gaussians25.sample(n), torch.randn(n, self.latent)
        return x, self.encoder(x), self.generator(z), z


def train(*, latent: int, beta: float, steps: int, seed: int) -> Run:
    """Trains all networks and reads them; without ``beta`` the term is left out."""
    with seeded(seed):
        players = Players(latent)
        optimizers = {
            name: torch.optim.Adam(part.parameters(), RATE, betas=(0.5, 0.999))
            for name, part in players.named_children()
        }
        for _ in range(steps):
            x, code, fake, z = players.pairs(BATCH)
            data, made = torch.cat([x, code], dim=1), torch.cat([fake, z], dim=1)
            apart = softplus(-players.discriminator(data.detach())).mean()
            apart = apart + softplus(players.discriminator(made.detach())).mean()
            descend(optimizers["discriminator"], apart)
            to_generator = softplus(-players.discriminator(made)).mean()
            to_encoder = softplus(players.discriminator(data)).mean()
            descend(optimizers["generator"], to_generator)
            if beta:
                descend(optimizers["information"], players.information.loss(x, code.detach()))
                gained = beta * players.information(x, code)
                clipped_gradient(players.encoder.parameters(), to_encoder, gained)
                optimizers["encoder"].step()
            else:
                descend(optimizers["encoder"], to_encoder)
        return read(players.eval(), beta=beta, seed=seed)


@torch.no_grad()
def read(players: Players, *, beta: float, seed: int) -> Run:
    """Judges the networks on fresh samples."""
    x, code, samples, _ = players.pairs(READ)
    again = players.generator(code)
    modes = [gaussians25.nearest_mode(points)[1] for points in (x, again)]
    return Run(
        seed=seed,
        beta=beta,
        quality=gaussians25.quality(samples),
        distance=float((again - x).norm(dim=1).mean()),
        same=float((modes[0] == modes[1]).double().mean()),
        information=float(players.information(x[:1000], code[:1000])) if beta else None,
        data=x,
        reconstructed=again,
        samples=samples,
    )


def measure(arguments: argparse.Namespace) -> Result:
    """All seeds, without and with the term."""
    places = [(seed, beta) for seed in arguments.seeds for beta in (0.0, arguments.beta)]
    return Result(
        [
            train(latent=arguments.latent, beta=beta, steps=arguments.steps, seed=seed)
            for seed, beta in tqdm(places, desc="networks")
        ]
    )


def draw(result: Result) -> Figure:
    """Samples and reconstructions of the first seed, a row without and a row with the term."""
    figure, found = panels(3, rows=2, size=3.3)
    both = [result.of(informed=on)[0] for on in (False, True)]
    names, colours = ("BiGAN", "BiGAN + MINE"), (ORANGE, BLUE)
    for row, (run, name, colour) in enumerate(zip(both, names, colours, strict=True)):
        modes, near = run.quality.covered, 100 * run.quality.near
        shown = (
            ("data x", run.data, BLACK),
            (f"{name}, G(z): {modes} of 25, {near:.0f} % near", run.samples, colour),
            (f"{name}, G(E(x)): {100 * run.same:.0f} % same mode", run.reconstructed, colour),
        )
        for panel, (title, points, ink) in zip(found[3 * row :], shown, strict=False):
            cloud(panel, points, title, ink, gaussians25.LIMIT)
    figure.suptitle(
        f"Bidirectional GAN on 25 Gaussians; seed {both[1].seed}, beta {both[1].beta:g}"
    )
    return figure


def main(given: Sequence[str] | None = None) -> Result:
    """The example from its command line."""
    parser = options(__doc__, "bigan_25_gaussians", seeds=range(3), steps=2500)
    parser.add_argument(
        "--latent", type=positive, default=2, help="width of z (default: %(default)s)"
    )
    add_options(parser)
    arguments = parsed(parser, given)
    result = measure(arguments)
    finish(result.summary(), draw(result), arguments)
    return result


if __name__ == "__main__":
    main()
