"""What the examples share: options, seeds, the clipped gradient, how pictures look.

Run alone it does nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

FOLDER = Path("runs", "examples")
# Okabe and Ito (2008): told apart by the colour-blind and in print
BLUE, ORANGE, GREEN, RED, PINK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
BLACK, GREY, PALE = "0.1", "0.55", "0.9"


def options(
    text: str | None, name: str, *, seeds: Sequence[int], steps: int
) -> argparse.ArgumentParser:
    """The options every example has; its own ones are added to the result.

    Args:
        text: the script's docstring.
        name: of the picture's file.
        seeds: default seeds.
        steps: default number of training steps.
    """
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=list(seeds),
        help=f"one run a seed (default: {' '.join(map(str, seeds))})",
    )
    parser.add_argument(
        "--steps", type=positive, default=steps, help="of each training (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=FOLDER / f"{name}.png",
        help="picture to write (default: %(default)s)",
    )
    parser.add_argument(
        "--smoke", action="store_true", help="one seed and a few steps, to see that it runs"
    )
    return parser


def parsed(
    parser: argparse.ArgumentParser, given: Sequence[str] | None, **smoke: Any
) -> argparse.Namespace:
    """The options given; with ``--smoke`` one seed, five steps and what ``smoke`` names."""
    arguments = parser.parse_args(given)
    if arguments.smoke:
        arguments.seeds = arguments.seeds[:1]
        vars(arguments).update({"steps": 5, **smoke})
    return arguments


def positive(text: str) -> int:
    """A whole number from 1."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {value}")
    return value


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, torch's global generator starts at ``seed``; outside it is as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def clipped_gradient(
    parameters: Iterable[Tensor], adversarial: Tensor, information: Tensor
) -> None:
    """Sets the gradient of ``adversarial - information``, its second part no longer than the first.

    An estimate of information has no upper limit, and unclipped it may win over the adversary:
    ``g = g_a - min(1, |g_a| / |g_m|) g_m`` with norms over all parameters together (Belghazi et al.
    2018, adaptive clipping).

    Args:
        parameters: of the generator or the encoder.
        adversarial: loss to be minimised.
        information: estimate to be maximised, times its weight.
    """
    parameters = list(parameters)
    first = torch.autograd.grad(adversarial, parameters, retain_graph=True)
    second = torch.autograd.grad(information, parameters)
    lengths = [torch.cat([g.flatten() for g in part]).norm() for part in (first, second)]
    factor = (lengths[0] / (lengths[1] + torch.finfo(lengths[1].dtype).tiny)).clamp(max=1.0)
    for parameter, one, other in zip(parameters, first, second, strict=True):
        parameter.grad = one - factor * other


def over_seeds(values: Sequence[float], digits: int = 3) -> str:
    """``0.123 ± 0.045``, mean and standard deviation; the mean alone for one seed."""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def panels(columns: int, *, rows: int = 1, size: float = 3.4) -> tuple[Figure, list[Axes]]:
    """A figure with ``rows * columns`` panels of ``size`` inches."""
    figure = Figure(figsize=(columns * size, rows * size), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def cloud(panel: Axes, points: Tensor, title: str, colour: str, limit: float) -> None:
    """The first 2,500 points ``(n, 2)`` in a square of half width ``limit``."""
    shown = points[:2500]
    panel.scatter(shown[:, 0], shown[:, 1], s=2, color=colour, alpha=0.35, linewidths=0)
    panel.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    panel.set(xlabel="x1", ylabel="x2")
    panel.set_title(title, fontsize=9)


def finish(summary: Mapping[str, object], figure: Figure, arguments: argparse.Namespace) -> None:
    """Writes the picture and prints the result as one line of JSON."""
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(arguments.out, dpi=130, metadata={"Software": "mimrl"})
    line = {**summary, "seeds": arguments.seeds, "steps": arguments.steps}
    print(json.dumps({**line, "picture": arguments.out.as_posix()}, ensure_ascii=False))  # noqa: T201
