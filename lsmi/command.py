"""The command line of the analysis: ``evaluate_lsmi.py`` and ``mimrl-lsmi``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lsmi.features import LABEL_RULES, CheckpointFeatures
from lsmi.pipeline import analyse
from lsmi.preprocessing import SCALINGS
from lsmi.report import comparison_table, save, save_comparison, summary_table
from lsmi.results import Analysis, Pair
from lsmi.settings import CHOICES, AnalysisSettings
from lsmi.sources import Request, read_source
from mimrl.errors import ConfigError
from mimrl.exits import run_command
from mimrl.mi.devices import chosen_device

ALONE = "an analysis runs in one process: start evaluate_lsmi.py by itself"
REPORT_SUFFIXES = (".csv", ".json", ".png", ".html")
EXAMPLES = """\
examples:
  python evaluate_lsmi.py --ckpt_path runs/demo/seed0/best.safetensors
  python evaluate_lsmi.py --ckpt_path runs/mosi/seed0 --labels seven --save_path out/mosi_seven
  python evaluate_lsmi.py --ckpt_path runs/mosi/seed0 --modalities text fused
  python evaluate_lsmi.py --ckpt_path epoch0.safetensors epoch1.safetensors best.safetensors
  python evaluate_lsmi.py --ckpt_path best_valid_model.pth.tar --dataset mosi
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Reads features from checkpoints, prints the summary, writes the report.

    Args:
        argv: arguments without the program's name; None: those of the process.

    Returns:
        0, 2 after one message on standard error, or 130 when interrupted.
    """
    return run_command(parser(), argv, _run, "interrupted; nothing was written", alone=ALONE)


def _run(arguments: argparse.Namespace) -> None:
    settings = _settings(arguments)
    request = _request(arguments, settings)
    pairs: list[Pair] | None = None
    if arguments.modalities is not None:
        pairs = [tuple(arguments.modalities)]
    many = len(arguments.ckpt_path) > 1
    names = _names(arguments.ckpt_path)
    # everything is read before anything is computed: a wrong name costs no waiting
    sources = {
        name: read_source(path, request)
        for name, path in zip(names, arguments.ckpt_path, strict=True)
    }
    stem = _stem(arguments.save_path, next(iter(sources.values())), many)
    _check_place(stem)
    analyses: dict[str, Analysis] = {}
    for name, found in sources.items():
        with _Bars(f"{name}: " if many else "") as bars:
            analyses[name] = analyse(found.splits, pairs, settings, bars.stage)
    written: list[Path] = []
    for name, found in sources.items():
        own = stem.with_name(f"{stem.name}_{name}") if many else stem
        written += save(analyses[name], own, _origin(found))
        sys.stdout.write((f"{name}\n" if many else "") + summary_table(analyses[name]) + "\n\n")
        sys.stdout.writelines(f"assumed: {text}\n" for text in found.assumed)
    if many:
        written += save_comparison(analyses, stem)
        sys.stdout.write(comparison_table(analyses) + "\n\n")
    sys.stdout.write(f"labels: {next(iter(sources.values())).label_rule}\n")
    sys.stdout.write(f"written: {_listed(written, stem)}\n")


def _listed(written: Sequence[Path], stem: Path) -> str:
    """Every page and table by name, and the pictures, of which there may be fifty, by number."""
    pictures = [path for path in written if path.suffix == ".png"]
    files = [str(path) for path in written if path not in pictures]
    if len(pictures) > 1:
        return ", ".join(files) + f" and {len(pictures)} pictures {stem}*.png"
    return ", ".join([*files, *map(str, pictures)])


def _settings(arguments: argparse.Namespace) -> AnalysisSettings:
    given = {name: getattr(arguments, name) for name in NUMBERS | TEXTS}
    return AnalysisSettings(
        **given, measures=not arguments.no_measures, device=chosen_device(arguments.device)
    )


def _request(arguments: argparse.Namespace, settings: AnalysisSettings) -> Request:
    features = arguments.features
    if arguments.modalities is not None:
        if features is not None:
            raise ConfigError("--modalities names one pair, --features any list; use one of them")
        if len(set(arguments.modalities)) < 2:
            raise ConfigError(
                f"--modalities names {arguments.modalities[0]} twice; expected two features"
            )
        features = arguments.modalities
    return Request(
        features=features,
        dataset=arguments.dataset,
        data=arguments.data,
        config_path=arguments.config_path,
        original=arguments.original,
        batch_size=arguments.batch_size,
        device=settings.device,
        labels=arguments.labels,
    )


def _origin(found: CheckpointFeatures) -> dict[str, Any]:
    return {
        "checkpoint": str(found.checkpoint),
        "data": found.source,
        "label_rule": found.label_rule,
        "class_names": list(found.class_names),
        "assumed": list(found.assumed),
    }


# option -> (type, help); the names are fields of AnalysisSettings
NUMBERS: dict[str, tuple[type, str]] = {
    "components": (int, "number of components of scalings by PCA; chosen if not given"),
    "max_components": (int, "the most components that may be chosen"),
    "folds": (int, "cross-fitting folds of train"),
    "repeats": (int, "cross-fittings with other folds and starts, which are averaged"),
    "shuffles": (int, "analyses with shuffled labels, for the control; 0: none"),
    "bootstrap": (int, "draws of samples (whole groups) for the intervals; 0: none"),
    "level": (float, "coverage of the intervals"),
    "discriminator_epochs": (int, "epochs of the classifiers p(y|x), at most"),
    "entropy_epochs": (int, "epochs of the density networks p(x), at most"),
    "hidden": (int, "width of a classifier's two hidden layers"),
    "batch_size": (int, "samples a step"),
    "seed": (int, "seed of folds, weights, batches, shuffles and draws"),
    "threads": (int, "CPU threads; small matrices gain little from more than one"),
}
TEXTS: dict[str, str] = {
    "method": "crossfit: every sample is read by models that did not see it; published: the "
    "published procedure, for comparison",
    "prior": "class prior p(y): training frequencies, or 1 / C as published; default: data with "
    "crossfit, uniform with published",
    "scaling": "; ".join(f"{name}: {text}" for name, text in SCALINGS.items())
    + "; default: whiten with crossfit, standard with published",
    "density": "family of the density models; auto: the likeliest of all on held-out rows, em: of "
    "classes and mixture only, which is faster",
    "given": "h(x|y) as difference h(x) - i(x;y), or direct from class-conditional densities",
}


def parser() -> argparse.ArgumentParser:
    """All options, with their defaults in the help."""
    made = argparse.ArgumentParser(
        prog="evaluate_lsmi.py",
        description="Redundant, unique and synergistic information of pairs of features about the "
        "label, sample by sample (LSMI), for trained models.",
        epilog=EXAMPLES,
        formatter_class=_Help,
    )
    add, default = made.add_argument, AnalysisSettings()
    add("--ckpt_path", required=True, nargs="+", metavar="PATH",
        help="checkpoint, or the run folder that holds it; several give a comparison besides. "
        "Also best_valid_model.pth.tar or features_val.pkl of the original MIMRL code, and .pt or "
        ".npz files of features")  # fmt: skip
    add("--dataset", metavar="NAME",
        help="NAME.yaml in --config_path, which must be there; it says where the data are, if the "
        "checkpoint's own are not found")  # fmt: skip
    add("--data", metavar="FILE", help="data file that takes the place of the checkpoint's")
    add("--config_path", metavar="DIR", default="./configs", help="folder of the settings")
    add("--original", metavar="FILE",
        help="YAML file: what an original checkpoint's weights do not tell")  # fmt: skip
    add("--features", nargs="+", metavar="NAME",
        help="features whose pairs are analysed: modalities, 'fused', names of the model's "
        "modules; all modalities and fused if not given")  # fmt: skip
    add("--modalities", nargs=2, metavar=("FIRST", "SECOND"),
        help="one pair only, of what --features may name")  # fmt: skip
    add("--labels", choices=list(LABEL_RULES), default="auto",
        help="; ".join(f"{name}: {text}" for name, text in LABEL_RULES.items()))  # fmt: skip
    add("--save_path", metavar="STEM",
        help="the report is STEM.html, STEM.csv, STEM.json and STEM*.png; beside the checkpoint if "
        "not given")  # fmt: skip
    add("--device", choices=["auto", "cpu", "cuda"], default="cpu", help="where to compute")
    for name, (kind, text) in NUMBERS.items():
        add(f"--{name}", type=kind, default=getattr(default, name), metavar="N", help=text)
    for name, text in TEXTS.items():
        known = [choice for choice in CHOICES[name] if choice is not None]
        add(f"--{name}", choices=known, default=getattr(default, name), help=text)
    add("--no_measures", action="store_true", help="no other decompositions for comparison")
    return made


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults in the help of options that have one, line breaks as they are in the examples."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def _names(paths: Sequence[str]) -> list[str]:
    """Short names of checkpoints: the file's, with as many folders as tell them apart."""
    parts = [Path(path).with_suffix("").parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["_".join(part[-depth:]).replace("/", "") for part in parts]
        if len(set(names)) == len(names):
            return names
    raise ConfigError(f"--ckpt_path names a file twice: {' '.join(paths)}")


def _stem(given: str | None, first: CheckpointFeatures, many: bool) -> Path:
    if given is None:
        if first.checkpoint.is_dir():
            return first.checkpoint / "lsmi"
        return first.checkpoint.with_name("lsmi_comparison" if many else "lsmi")
    path = Path(given)
    return path.with_suffix("") if path.suffix in REPORT_SUFFIXES else path


def _check_place(stem: Path) -> None:
    """Raises ConfigError before minutes of work, not after them."""
    place = next(folder for folder in (stem.parent, *stem.parent.parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(
            f"cannot write the report to {stem}.*: {place} is no folder that can be written to; "
            "name another with --save_path"
        )


class _Bars:
    """One progress bar a stage; none where there is no terminal."""

    def __init__(self, before: str) -> None:
        self._before = before
        self._bar: tqdm | None = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def stage(self, name: str, total: int) -> Callable[[int], object]:
        self._close()
        self._bar = tqdm(total=total, desc=self._before + name, disable=None, leave=False)
        return self._bar.update

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
