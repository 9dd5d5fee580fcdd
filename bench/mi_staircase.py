"""Bias and variance of variational bounds on the Gaussian staircase of 2, 4, 6, 8 and 10 nats.

The set-up of Poole et al. (2019) and Song and Ermon (2020): x and y have 20 dimensions, coordinate
k of one correlates with coordinate k of the other; every step draws a fresh batch, and the
information is raised after every so many steps while the critic trains on. So nothing is learned
by heart, and what is read is the bound itself on batches of this size. The published stairs have
4,000 steps; the last third of each is read.

Bias is the mean of the batches' values less the truth, `sd` their standard deviation. With
`--critic exact` nothing is trained: the scores are the true log ratios, and what is left are the
bias and the variance of the bound itself.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import reporting
import torch
from torch import Tensor

from mimrl import mi
from mimrl.mi.estimators.ceilings import ceiling, ceiling_doubt

DIMENSIONS = 20
STAIRS = (2.0, 4.0, 6.0, 8.0, 10.0)
READ = 1 / 3
EXACT = "exact"
COLUMNS = 5

BOUNDS: Mapping[str, Callable[[], mi.Bound]] = {
    "dv": mi.Dv,
    "mine": mi.Mine,
    "nwj": mi.Nwj,
    "tuba": lambda: mi.Tuba(mi.LearnedBaseline(DIMENSIONS)),
    "js": mi.Js,
    "smile, tau 1": lambda: mi.Smile(1.0),
    "smile, tau 5": lambda: mi.Smile(5.0),
    "infonce": mi.InfoNce,
    "interpolated, alpha .01": lambda: mi.Interpolated(0.01, mi.ConstantBaseline()),
    "interpolated, alpha .5": lambda: mi.Interpolated(0.5, mi.ConstantBaseline()),
}
CRITICS: Mapping[str, Callable[[], mi.Critic]] = {
    "separable": lambda: mi.SeparableCritic(DIMENSIONS, DIMENSIONS, hidden=128, embedding=32),
    "concatenated": lambda: mi.ConcatenatedCritic(DIMENSIONS, DIMENSIONS, hidden=128),
}


class ExactCritic(mi.Critic):
    """The log ratio of the pair, plus what the bound's optimum adds to it.

    Args:
        offset: 1 for NWJ.
    """

    def __init__(self, offset: float) -> None:
        super().__init__(DIMENSIONS, DIMENSIONS)
        self.offset, self.rho = offset, 0.0

    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        """``(B, B)`` in nats."""
        squared = self.rho**2
        own = squared * (x.square().sum(1)[:, None] + y.square().sum(1))
        bend = (2 * self.rho * x @ y.T - own) / (2 * (1 - squared))
        return self.offset + bend - 0.5 * DIMENSIONS * math.log(1 - squared)


@dataclass(frozen=True)
class Stair:
    """One bound at one level.

    Attributes:
        truth: in nats.
        bias: mean over batches less the truth.
        sd: standard deviation over batches.
        warning: what a reader of this value is told, if anything.
    """

    truth: float
    bias: float
    sd: float
    warning: str | None


def correlation(information: float) -> float:
    """Of each of the coordinates that together share so much information."""
    return math.sqrt(1 - math.exp(-2 * information / DIMENSIONS))


def batch(rho: float, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x, noise = torch.randn(2, size, DIMENSIONS, generator=generator).unbind()
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def train(bound: str, critic: str, size: int, steps: int, seed: int) -> np.ndarray:
    """Values of all batches, ``(stairs, steps)``, in nats."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = mi.VariationalMI(CRITICS[critic](), BOUNDS[bound]())
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    values = np.empty((len(STAIRS), steps))
    for stair, information in enumerate(STAIRS):
        for step in range(steps):
            x, y = batch(correlation(information), size, generator)
            scores = model.critic(x, y)
            with torch.no_grad():
                values[stair, step] = model.bound.value(scores, y)
            optimiser.zero_grad()
            (-model.bound.objective(scores, y)).backward()
            optimiser.step()
    return values


def read_exact(bound: str, size: int, steps: int, seed: int) -> np.ndarray:
    """Values of batches under the true log ratio, ``(stairs, steps)``, in nats."""
    generator = torch.Generator().manual_seed(seed)
    critic = ExactCritic(1.0 if bound == "nwj" else 0.0)
    reader = mi.Tuba(mi.ConstantBaseline()) if bound == "tuba" else BOUNDS[bound]()
    values = np.empty((len(STAIRS), steps))
    for stair, information in enumerate(STAIRS):
        critic.rho = correlation(information)
        for step in range(steps):
            x, y = batch(critic.rho, size, generator)
            values[stair, step] = reader.value(critic(x, y), y)
    return values


def summary(values: np.ndarray, bound: mi.Bound, size: int) -> list[Stair]:
    """Each stair's last third."""
    found = []
    for truth, row in zip(STAIRS, values, strict=True):
        read = row[-max(1, int(len(row) * READ)) :]
        mean = float(read.mean())
        doubt = ceiling_doubt(bound, size, mean) if has_ceiling(bound) else ()
        found.append(
            Stair(truth, mean - truth, float(read.std()), str(doubt[0]) if doubt else None)
        )
    return found


def has_ceiling(bound: mi.Bound) -> bool:
    return isinstance(bound, mi.InfoNce | mi.Interpolated)


def draw(path: Path, curves: Mapping[tuple[str, int], np.ndarray], sizes: Sequence[int]) -> None:
    names = list(dict.fromkeys(name for name, _ in curves))
    columns = min(COLUMNS, len(names))
    lines = math.ceil(len(names) / columns)
    figure, axes = plt.subplots(
        *(len(sizes) * lines, columns),
        figsize=(2.3 * columns, 2.1 * len(sizes) * lines),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for (name, size), values in curves.items():
        number = names.index(name)
        axis = axes[sizes.index(size) * lines + number // columns, number % columns]
        flat = values.ravel()
        window = max(1, len(flat) // 100)
        smooth = np.convolve(flat, np.ones(window) / window, mode="valid")
        axis.plot(flat, color="tab:blue", alpha=0.2, linewidth=0.5)
        axis.plot(np.arange(len(smooth)) + window / 2, smooth, color="tab:blue", linewidth=1.2)
        axis.plot(np.repeat(STAIRS, values.shape[1]), color="black", linewidth=1)
        bound = BOUNDS[name]()
        if has_ceiling(bound):
            axis.axhline(ceiling(bound, size)[1], color="tab:red", linestyle="--", linewidth=1)
        axis.set_ylim(-1, STAIRS[-1] + 3)
        axis.set_title(f"{name}, B = {size}", fontsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("nats")
    for axis in axes[-1]:
        axis.set_xlabel("step")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def options() -> argparse.ArgumentParser:
    found = reporting.parser(__doc__)
    found.add_argument("--picture", type=Path, metavar="PNG", help="write the curves to this file")
    found.add_argument("--steps", type=int, default=4000, help="a stair; as published")
    found.add_argument("--batch", type=int, nargs="+", default=[64, 128], help="rows a step")
    found.add_argument("--bounds", nargs="+", choices=BOUNDS, default=list(BOUNDS))
    found.add_argument("--critic", choices=[*CRITICS, EXACT], default="separable")
    found.add_argument("--seed", type=int, default=0)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    arguments = reporting.parsed(options(), argv)
    curves: dict[tuple[str, int], np.ndarray] = {}
    rows: list[dict[str, object]] = []
    for size in arguments.batch:
        table, warned = [], []
        for name in arguments.bounds:
            if arguments.critic == EXACT:
                values = read_exact(name, size, arguments.steps, arguments.seed)
            else:
                values = train(name, arguments.critic, size, arguments.steps, arguments.seed)
            curves[name, size] = values
            stairs = summary(values, BOUNDS[name](), size)
            rows.append({"bound": name, "batch": size, "stairs": stairs})
            table.append([name, *(cell(stair) for stair in stairs)])
            warned += [stair.warning for stair in stairs if stair.warning]
        print(f"batch {size}: bias ± sd; * with a warning of the bound's ceiling")
        reporting.show(["bound", *(f"{truth:g} nats" for truth in STAIRS)], table)
        for text in warned:
            print(f"CeilingWarning: {text}", flush=True)
    if arguments.picture:
        draw(arguments.picture, curves, arguments.batch)
    reporting.write(arguments.json, "mi_staircase", arguments, rows=rows)
    return 0


def cell(stair: Stair) -> str:
    return f"{stair.bias:+.2f} ± {stair.sd:.2f}{' *' if stair.warning else ''}"


if __name__ == "__main__":
    raise SystemExit(main())
