"""The command ``python -m mimrl.mi mmg``: one experiment, or the whole sweep.

Results go to standard output and, with ``--results_file``, into a file, one JSON object a line;
progress and messages go to standard error. Exit codes as in :mod:`mimrl.exits`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mimrl.exits import run_command
from mimrl.mi.devices import chosen_device
from mimrl.mi.mmg.experiment import Experiment, run_experiment
from mimrl.mi.mmg.results import append_result, read_results
from mimrl.mi.mmg.training import Training
from mimrl.mi.tasks import DMI_DIMS, DMI_KINDS, DMI_STRENGTHS

EXAMPLES = """\
examples:
  python -m mimrl.mi mmg --task_type multinormal --dim 10 --strength 1100 --max_epochs 20
  python -m mimrl.mi mmg --dim 10 --strength 1100 --max_epochs 40 --load_ckpt
  python -m mimrl.mi mmg --run_all --use_moe --results_file sweep.jsonl
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what the arguments after ``mmg`` ask for; returns the exit code."""
    return run_command(
        parser(),
        argv,
        _run,
        "interrupted; the same command goes on from the last checkpoint",
        alone="an experiment runs in one process: start 'python -m mimrl.mi mmg' by itself",
    )


def parser() -> argparse.ArgumentParser:
    """The options, with the names of the published command."""
    default = Experiment()
    found = argparse.ArgumentParser(
        prog="python -m mimrl.mi mmg",
        description="Trains MMG / DMI denoisers on tasks of known mutual information and reads "
        "the information in nats.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _task_options(found, default)
    _network_options(found, default)
    _training_options(found, default)
    _run_options(found)
    return found


def _task_options(found: argparse.ArgumentParser, default: Experiment) -> None:
    group = found.add_argument_group("task")
    _add(group, default, "task_type", str, "which family", choices=DMI_KINDS)
    _add(group, default, "dim", int, "columns of x and of y")
    _add(group, default, "strength", float, "of two pairs with correlation s^2 / (1 + s^2)")
    _add(group, default, "train_sample_num", int, "training samples; 5 %% of them validate")
    _add(group, default, "test_num", int, "test samples, read once at the end")
    _add(
        group, default, "preprocess", str,
        "rescale columns, whiten them, or centre them only; fitted on training samples",
        choices=("rescale", "whiten", "none"),
    )  # fmt: skip


def _network_options(found: argparse.ArgumentParser, default: Experiment) -> None:
    group = found.add_argument_group("denoisers")
    group.add_argument("--use_moe", action="store_true", help="one denoiser on each side of "
                       "--snr_threshold")  # fmt: skip
    _add(group, default, "snr_threshold", float, "log-SNR at which the second expert takes over")
    _add(
        group, default, "preconditioning", str,
        "networks add to the best linear denoiser, or, as published, to nothing",
        choices=("linear", "none"),
    )  # fmt: skip
    _add(group, default, "model_dim", int, "hidden width")
    group.add_argument(
        "--use_ema", action=argparse.BooleanOptionalAction, default=default.use_ema,
        help="read a running average of the weights; default yes",
    )  # fmt: skip
    _add(group, default, "ema_decay", float, "of the running average, after a warm-up")
    _add(group, default, "logsnr_loc", float, "middle of the logistic log-SNR law")
    _add(group, default, "logsnr_scale", float, "its scale")
    _add(group, default, "logsnr_clip", float, "its half width, in scales")


def _training_options(found: argparse.ArgumentParser, default: Experiment) -> None:
    group = found.add_argument_group("training and reading")
    by_dim = "default by dim: {} up to 5, else {}".format
    group.add_argument("--learning_rate", type=float, help=by_dim("1e-3", "2e-3"))
    group.add_argument("--batch_size", type=int, help=by_dim(128, 256))
    group.add_argument("--max_epochs", type=float, help=by_dim(500, 750))
    _add(group, default, "weight_decay", float, "decoupled")
    _add(group, default, "mi_estimation_interval", int, "steps between two validations")
    _add(group, default, "test_batch_size", int, "test samples denoised at a time")
    _add(group, default, "passes", int, "log-SNRs and noises for each test sample")
    _add(group, default, "seed", int, "of everything random")


def _run_options(found: argparse.ArgumentParser) -> None:
    group = found.add_argument_group("run")
    group.add_argument("--device", default="auto", help="cpu, cuda, ...; default: a GPU if any")
    group.add_argument("--results_file", type=Path, help="JSON lines; what is in it is not redone")
    group.add_argument(
        "--checkpoint_dir", type=Path, default=Path("runs/mmg"), help="default runs/mmg"
    )
    group.add_argument(
        "--load_ckpt", action="store_true",
        help="start from the checkpoint of these settings: read it, or train on to more epochs",
    )  # fmt: skip
    group.add_argument(
        "--run_all", action="store_true",
        help=f"all task types, dims {', '.join(map(str, DMI_DIMS))} and strengths "
        f"{', '.join(f'{s:g}' for s in DMI_STRENGTHS)}",
    )  # fmt: skip
    group.add_argument("--quiet", action="store_true", help="no progress bars")


def _add(group: Any, default: Experiment, name: str, kind: type, text: str, **more: Any) -> None:
    value = getattr(default, name)
    shown = f"{value:g}" if isinstance(value, float) else value
    group.add_argument(
        f"--{name}", type=kind, default=value, help=f"{text}; default {shown}", **more
    )


def _run(arguments: argparse.Namespace) -> None:
    device = chosen_device(arguments.device)
    experiments = [experiment.filled() for experiment in _experiments(arguments)]
    file = arguments.results_file
    done = [result.get("settings") for result in read_results(file)] if file else []
    quiet = arguments.quiet or not sys.stderr.isatty()
    for experiment in tqdm(experiments, "experiments", disable=quiet or len(experiments) == 1):
        if experiment.settings() in done:
            sys.stderr.write(f"{experiment.task().name}: in {file} already\n")
            continue
        with _bar(experiment, quiet) as progress:
            result = run_experiment(
                experiment,
                device=device,
                checkpoints=arguments.checkpoint_dir,
                load_checkpoint=arguments.load_ckpt,
                progress=progress,
            )
        if file is not None:
            append_result(file, result)
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


def _experiments(arguments: argparse.Namespace) -> list[Experiment]:
    """The experiment asked for, or those of the sweep, each with its own settings."""
    names = [field.name for field in fields(Experiment)]
    asked = Experiment(**{name: getattr(arguments, name) for name in names})
    if not arguments.run_all:
        return [asked]
    return [
        replace(asked, task_type=kind, dim=dim, strength=strength)
        for kind in DMI_KINDS
        for dim in DMI_DIMS
        for strength in DMI_STRENGTHS
    ]


@contextmanager
def _bar(experiment: Experiment, quiet: bool) -> Iterator[Any]:
    name = f"{experiment.task_type} {experiment.dim} {experiment.strength:g}"
    with tqdm(total=experiment.steps, desc=name, unit="step", leave=False, disable=quiet) as bar:

        def progress(training: Training) -> None:
            bar.update(training.step - bar.n)
            bar.set_postfix(loss=f"{training.looks[-1].loss:.3f}", best=training.chosen.step)

        yield progress
