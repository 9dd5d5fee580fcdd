"""All critics of three modalities at any size, and random variables for them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from mimrl.settings.information import CriticSettings
from mimrl.terms import LABEL
from mimrl.training.critics import Critics, Variables

MODALITIES = ("text", "audio", "video")
VALUES = 31  # of MOSI's ratings, from -3 to 3


def made(
    size: int, width: int, device: torch.device | str, settings: CriticSettings | None = None
) -> tuple[Critics, Variables]:
    """The 11 critics, and ``size`` standardised samples of their variables.

    Args:
        size: samples.
        width: columns of every variable but the label, whose ratings make a search full of ties.
        device: of both.
        settings: of the critics; None: the defaults, with product samples from a bank.
    """
    generator = torch.Generator().manual_seed(size)
    widths = dict.fromkeys((*MODALITIES, "fused"), width) | {LABEL: 1}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        chosen = settings or CriticSettings(update="epoch")
        critics = Critics(chosen, MODALITIES, widths, discrete_label=False)
    found = {name: torch.randn(size, w, generator=generator) for name, w in widths.items()}
    found[LABEL] = torch.randint(VALUES, (size, 1), generator=generator) / 5 - 3
    critics = critics.to(device)
    variables = {name: value.to(device) for name, value in found.items()}
    critics.set_scale(variables)
    return critics, critics.standardise(variables)


def arguments_of(own: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of a script, ``--device`` among them; sets PyTorch's threads if asked to."""
    own.add_argument("--device", default="cpu")
    arguments = own.parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    return arguments
