"""The command line of the reading: ``evaluate_lsmi.py`` and ``mimrl-lsmi``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from lsmi.features import LABEL_RULES, CheckpointFeatures, checkpoint_features
from lsmi.pipeline import analyse
from lsmi.report import save, summary_table
from lsmi.settings import AnalysisSettings
from mimrl.command import plain_warnings
from mimrl.errors import ConfigError, MimrlError

USAGE_ERROR = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Reads a checkpoint's features, prints the summary, writes the report.

    Args:
        argv: arguments without the program's name; None: those of the process.

    Returns:
        0, 2 after one message on standard error, or 130 when interrupted.
    """
    arguments = _parser().parse_args(argv)
    try:
        with plain_warnings():
            _run(arguments)
    except (MimrlError, OSError) as error:  # OSError: a full disk, a folder without permission
        sys.stderr.write(f"error: {error}\n")
        return USAGE_ERROR
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    return 0


def _run(arguments: argparse.Namespace) -> None:
    settings = AnalysisSettings(
        prior=arguments.prior,
        scaling=arguments.scaling,
        components=arguments.components,
        folds=arguments.folds,
        discriminator_epochs=arguments.discriminator_epochs,
        entropy_epochs=arguments.entropy_epochs,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        device=_device(arguments.device),
    )
    found = checkpoint_features(
        arguments.ckpt_path,
        modalities=arguments.modalities,
        dataset=arguments.dataset,
        data=arguments.data,
        config_path=arguments.config_path,
        batch_size=arguments.batch_size,
        device=settings.device,
        labels=arguments.labels,
    )
    with _Bars() as bars:
        analysis = analyse(found.splits, settings, bars.stage)
    origin = {
        "checkpoint": str(found.checkpoint),
        "dataset": arguments.dataset,
        "data": found.source,
        "label_rule": found.label_rule,
        "class_names": list(found.class_names),
    }
    paths = save(analysis, _stem(arguments.save_path, found), found.modalities, origin)
    sys.stdout.write(summary_table(analysis, found.modalities) + "\n")
    sys.stdout.write(f"labels: {found.label_rule}\n")
    sys.stdout.write("written: " + ", ".join(map(str, paths)) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evaluate_lsmi.py",
        description="Redundant, unique and synergistic information of two modalities' features "
        "about the label, sample by sample (LSMI), for a trained model.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add, default = parser.add_argument, AnalysisSettings()
    add("--ckpt_path", required=True, help="checkpoint, or the run folder that holds it")
    add("--dataset", help="name in --config_path of the data, where the checkpoint's are not found")
    add("--data", help="data file that takes the place of the checkpoint's")
    add("--config_path", default="./configs", help="folder of the experiments' settings")
    add("--modalities", nargs=2, metavar=("FIRST", "SECOND"),
        help="the pair, 'fused' allowed; the checkpoint's first two if not given")  # fmt: skip
    add("--labels", choices=list(LABEL_RULES), default="auto",
        help="; ".join(f"{name}: {text}" for name, text in LABEL_RULES.items()))  # fmt: skip
    add(
        "--save_path", help="stem of OUT.csv, OUT.json, OUT.png; beside the checkpoint if not given"
    )
    add("--batch_size", type=int, default=default.batch_size, help="samples a step")
    add("--device", choices=["auto", "cpu", "cuda"], default="cpu", help="where to compute")
    add("--discriminator_epochs", type=int, default=default.discriminator_epochs,
        help="epochs of the classifiers p(y|x), at most")  # fmt: skip
    add("--entropy_epochs", type=int, default=default.entropy_epochs,
        help="epochs of the density models p(x), at most")  # fmt: skip
    add("--prior", choices=["data", "uniform"], default=default.prior,
        help="class prior p(y): training frequencies, or 1 / C as published")  # fmt: skip
    add("--scaling", choices=["whiten", "none"], default=default.scaling,
        help="PCA whitening of both to one number of components, or none")  # fmt: skip
    add("--components", type=int,
        help="that number; chosen by held-out likelihood if not given")  # fmt: skip
    add("--folds", type=int, default=default.folds, help="cross-fitting folds of train")
    add("--seed", type=int, default=default.seed, help="seed of folds, weights and batches")
    return parser


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda, but PyTorch finds no GPU here; use --device cpu")
    return name


def _stem(given: str | None, found: CheckpointFeatures) -> Path:
    if given is None:
        return found.checkpoint.with_name("lsmi_" + "_".join(found.modalities))
    path = Path(given)
    return path.with_suffix("") if path.suffix in (".csv", ".json", ".png") else path


class _Bars:
    """One progress bar a stage; none where there is no terminal."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def stage(self, name: str, total: int) -> Callable[[int], object]:
        self._close()
        self._bar = tqdm(total=total, desc=name, disable=None, leave=False)
        return self._bar.update

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
