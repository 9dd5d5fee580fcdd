"""The commands ``python -m mimrl.mi.infonet train`` and ``evaluate``.

Exit codes as in :mod:`mimrl.exits`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from mimrl.errors import ConfigError
from mimrl.exits import run_command
from mimrl.mi.devices import chosen_device
from mimrl.mi.infonet.estimate import FEWEST
from mimrl.mi.infonet.loading import load_model
from mimrl.mi.infonet.network import NetworkConfig
from mimrl.mi.infonet.running import WEIGHTS, Run, RunSettings
from mimrl.mi.infonet.training import TrainingSettings
from mimrl.mi.infonet.validation import Errors, family_errors, mixture_errors

EXAMPLES = """\
examples:
  python -m mimrl.mi.infonet train --out runs/infonet --steps 20000
  python -m mimrl.mi.infonet train --out runs/infonet --steps 40000  # goes on from there
  python -m mimrl.mi.infonet evaluate
  python -m mimrl.mi.infonet evaluate mixtures.npz --model runs/infonet/infonet.safetensors
"""
TRAINING_HELP = {
    "steps": "steps in all; the last ones lower the learning rate to 0",
    "batch": "distributions a step, a multiple of 4",
    "fresh": "samples of each distribution that judge what was made of the others, at least 100",
    "least": "fewest samples to read, at least 20; their number is uniform in its logarithm",
    "most": "most samples to read",
    "learning_rate": "of Adam",
    "warm_up": "steps over which the learning rate rises",
    "decay": "share of the steps over which it falls",
    "clip": "largest norm of the gradient",
    "averaging": "share of the running average of the weights that a step keeps",
    "estimate_weight": "weight of the estimate's error beside the table's",
    "low_precision": "convolutions in bfloat16: half the time on a GPU or with AVX512-BF16, more"
    " than twice the time on processors without it, which take --no-low-precision",
    "seed": "of the first weights and of all pairs",
}
NETWORK_HELP = {
    "grid": "cells along a side of the table, a multiple of 16",
    "fields": "features at 1/2, 1/4, 1/8 and 1/16 of the grid",
    "down": "residual blocks at each of these scales on the way down",
    "up": "and on the way up again",
    "width": "of the layers that read the number of samples and correct the estimate",
    "largest": "samples; more are read as this number",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    return run_command(
        _parser(),
        argv,
        lambda arguments: arguments.run(arguments),
        "interrupted; the same command goes on from the last state",
        alone="InfoNet is trained by one process: start 'python -m mimrl.mi.infonet' by itself",
    )


def _train(arguments: argparse.Namespace) -> None:
    given = {k: v for k, v in vars(arguments).items() if v is not None}
    config = {k: tuple(v) if isinstance(v, list) else v for k, v in _named(given, NETWORK_HELP)}
    settings, device = dict(_named(given, TRAINING_HELP)), chosen_device(arguments.device)
    run = Run(arguments.out, config, settings, device, arguments.start)
    writing = RunSettings(arguments.save_every, arguments.check_every, sys.stderr.isatty())
    if min(writing.save_every, writing.check_every) < 1:
        raise ConfigError("save-every and check-every must be at least 1")
    run.train(writing)
    sys.stdout.write(f"weights: {arguments.out / WEIGHTS}\n")


def _evaluate(arguments: argparse.Namespace) -> None:
    if arguments.samples < FEWEST or arguments.pairs < 1 or not 0 <= arguments.seed < 2**31:
        raise ConfigError(f"expected at least {FEWEST} samples, at least 1 pair and a seed from 0")
    model = load_model(arguments.model, chosen_device(arguments.device))
    if arguments.file is None:
        rows = family_errors(model, arguments.samples, arguments.pairs, arguments.seed)
    else:
        rows = mixture_errors(model, arguments.file, arguments.samples, arguments.seed)
    if arguments.json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    else:
        sys.stdout.write(_table(rows))


def _table(rows: Sequence[Errors]) -> str:
    width = max(len(row.name) for row in rows)
    lines = [f"{'':{width}}  pairs  samples   truth    bias  absolute error (nats)"]
    lines += [
        f"{r.name:{width}}  {r.pairs:5}  {r.samples:7}  {r.truth:6.3f}  {r.bias:+.3f}  "
        f"{r.absolute:.4f}"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


def _named(given: dict[str, Any], names: dict[str, str]) -> list[tuple[str, Any]]:
    return [(name, given[name]) for name in names if name in given]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mimrl.mi.infonet",
        description="Mutual information of pairs of columns by one pass through a trained network.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands.add_parser("train", help="train a network, or go on training it"))
    _add_evaluate(commands.add_parser("evaluate", help="errors on pairs with a known truth"))
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Trains on synthetic pairs. The folder holds the state, a log and the weights; the same "
        "command goes on after a kill. Options that are not given keep the values that the "
        "training was begun with; sizes and seed cannot be changed later."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the run")
    parser.add_argument(
        "--start",
        type=Path,
        metavar="FILE",
        help="weights to begin a training from; give another --seed than they had",
    )
    for defaults, texts in ((TrainingSettings(), TRAINING_HELP), (NetworkConfig(), NETWORK_HELP)):
        for field in fields(defaults):
            _add_option(parser, field.name, getattr(defaults, field.name), texts[field.name])
    parser.add_argument("--save-every", type=int, default=100, metavar="N", help="steps; 100")
    parser.add_argument(
        "--check-every", type=int, default=1000, metavar="N", help="steps between checks; 1000"
    )
    _add_device(parser)
    parser.set_defaults(run=_train)


def _add_option(parser: argparse.ArgumentParser, name: str, default: Any, text: str) -> None:
    option = f"--{name.replace('_', '-')}"
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
    text = f"{text}; default {shown}"
    if isinstance(default, bool):
        parser.add_argument(option, action=argparse.BooleanOptionalAction, default=None, help=text)
    elif isinstance(default, tuple):
        parser.add_argument(option, type=int, nargs=len(default), metavar="N", help=text)
    else:
        parser.add_argument(option, type=type(default), metavar="N", help=text)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Errors of a model on generated pairs of each family, or on the mixtures of a file."
    )
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE.npz",
        help="groups of two-dimensional mixtures: GROUP/weight (B, K), GROUP/mean (B, K, 2), "
        "GROUP/covariance (B, K, 2, 2), GROUP/mi_xy (B,) in nats; without it: generated pairs",
    )
    parser.add_argument("--model", type=Path, help="weights; without it: those of the package")
    parser.add_argument("--samples", type=int, default=2000, help="of each pair; default 2000")
    parser.add_argument("--pairs", type=int, default=40, help="generated a family; default 40")
    parser.add_argument("--seed", type=int, default=1, help="of the samples; default 1")
    parser.add_argument("--json", action="store_true", help="as JSON")
    _add_device(parser)
    parser.set_defaults(run=_evaluate)


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if any"
    )
