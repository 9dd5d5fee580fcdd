"""The command line of missing modalities: ``python -m mimrl.missing RUN [RUN ...]``.

Exit codes: 0 done; 2 the command, a checkpoint or the data cannot be used (one message on standard
error); 130 interrupted.
"""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mimrl import __version__
from mimrl.command import count, seed_list
from mimrl.errors import ConfigError, MissingFileError, TrainingWarning
from mimrl.exits import run_command
from mimrl.settings.evaluation import DRAWS, TENTHS
from mimrl.settings.load import with_data_file

if TYPE_CHECKING:
    import torch

    from mimrl.datasets.features import Corpus
    from mimrl.settings import DataSettings
    from mimrl.training.checkpoint import Loaded
    from mimrl.training.missing import MissingResult
    from mimrl.training.missing_report import MissingReport

ALONE = "an evaluation runs in one process: start 'python -m mimrl.missing' by itself"
EXAMPLES = """\
examples:
  python -m mimrl.missing runs/demo/seed0
  python -m mimrl.missing runs/mosi --split valid
  python -m mimrl.missing runs/mosi runs/mosi_dropout --out out/dropout --rates 0,.3,.6 --draws 20

RUN is a run folder (runs/mosi/seed0), a folder of several seeds (runs/mosi: mean and standard
deviation over them), or a checkpoint file. Several RUNs are compared in one picture.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluates models with modalities missing, prints tables, writes JSON, CSV and a picture.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        The exit code.
    """
    return run_command(
        *(_parser(), argv, _run, "interrupted; nothing was written"),
        misuse=_misuse,
        intermixed=True,
        alone=ALONE,
    )


def _misuse(arguments: argparse.Namespace) -> str | None:
    runs = arguments.runs
    if len(set(runs)) < len(runs):
        return f"RUN: expected different ones, got {' '.join(runs)}"
    if len(runs) > 1 and arguments.out is None:
        return "--out FOLDER is needed where several RUNs are compared"
    return None


def _run(arguments: argparse.Namespace) -> None:
    files = {name: _checkpoints(Path(name)) for name in arguments.runs}
    out = _folder(arguments)
    from mimrl.training.run import choose_device, threads  # torch takes seconds
    from mimrl.training.tracking import write_json, write_text

    with threads(arguments.threads):
        report = _report(arguments, files, choose_device(arguments.device))
    from mimrl.training.missing_report import MISSING_PICTURE, draw_missing

    sys.stdout.write(f"{report.text()}\n")
    draw_missing(report, out / MISSING_PICTURE)
    write_text(out / "missing.csv", report.csv())
    write_json(out / "missing.json", {"split": arguments.split, **report.as_dict()})
    sys.stdout.write(f"\nwritten: {out}: missing.json, missing.csv, {MISSING_PICTURE}\n")


def _checkpoints(path: Path) -> list[Path]:
    """The model of a run, or those of its seeds in order; all are there before one is read."""
    from mimrl.training.checkpoint import BEST

    if path.is_file() or (path / BEST).is_file():
        return [path]
    seeds = [one for one in path.glob("seed*") if re.fullmatch(r"seed\d+", one.name)]
    seeds = sorted((s for s in seeds if (s / BEST).is_file()), key=lambda s: int(s.name[4:]))
    if not seeds:
        raise MissingFileError(
            f"{path} holds no model; expected a run folder such as runs/<name>/seed0 with {BEST}, "
            "a folder of such seeds such as runs/<name>, or a checkpoint file"
        )
    for seed in seeds:
        if not (seed / "metrics.json").is_file():
            warnings.warn(
                f"{seed}: its training is not complete; its best model so far is evaluated",
                TrainingWarning,
                stacklevel=2,
            )
    return seeds


def _folder(arguments: argparse.Namespace) -> Path:
    """Where the files go, looked at before anything is computed."""
    first = Path(arguments.runs[0])
    here = first if first.is_dir() else first.parent
    folder = here if arguments.out is None else Path(arguments.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--out {folder}: the folder cannot be made ({error}); name one that can be written to"
        ) from error
    return folder


def _report(
    arguments: argparse.Namespace, files: dict[str, list[Path]], device: torch.device
) -> MissingReport:
    """Results of all models; a corpus that the next model needs too is read once."""
    from mimrl.training.checkpoint import load_model
    from mimrl.training.missing_report import MissingReport
    from mimrl.training.scoring import selection_metric

    results: dict[str, tuple[MissingResult, ...]] = {}
    metric = ""
    known: tuple[DataSettings, Corpus] | None = None
    for name, paths in files.items():
        found = []
        for path in paths:
            loaded = load_model(path)
            if arguments.data is not None:
                settings = with_data_file(loaded.settings, arguments.data)
                loaded = replace(loaded, settings=settings)
            data = loaded.settings.data
            if known is None or known[0] != data:
                known = (data, _corpus(data, arguments.data))
            found.append(_result(arguments, loaded, known[1], device))
            metric = metric or selection_metric(loaded.settings)
        results[name] = tuple(found)
    return MissingReport(metric, results)


def _corpus(data: DataSettings, asked: str | None) -> Corpus:
    from mimrl.datasets.catalogue import open_corpus

    try:
        return open_corpus(data)
    except MissingFileError as error:
        if asked is not None:
            raise
        raise MissingFileError(f"{error}; or name the data file with --data") from error


def _result(
    arguments: argparse.Namespace, loaded: Loaded, corpus: Corpus, device: torch.device
) -> MissingResult:
    from mimrl.datasets.prepare import prepare
    from mimrl.training.frozen import with_hidden_states
    from mimrl.training.missing import evaluate_missing
    from mimrl.training.trainer import ENCODED

    settings, model = loaded.settings, loaded.model.to(device)
    data = prepare(corpus, settings, scalers=loaded.scalers or None)
    data = replace(data, splits={arguments.split: data.splits[arguments.split]})
    data = with_hidden_states(model, data, device, progress=sys.stderr.isatty())
    return evaluate_missing(
        settings,
        model,
        data.splits[arguments.split],
        rates=arguments.rates,
        draws=arguments.draws,
        seed=settings.seed if arguments.seed is None else arguments.seed,
        device=device,
        batch_size=max(settings.training.batch_size, ENCODED),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mimrl.missing",
        description="Evaluates trained models with each subset of modalities, and with modalities "
        "missing at random.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="+", help="run folder, folder of seeds, or checkpoint file")
    add("--split", choices=("test", "valid"), default="test", help="default: test")
    add(
        "--rates",
        type=rate_list,
        default=TENTHS,
        metavar="0,.1,...",
        help="probabilities that a clip loses a modality (default: 0,.1,... .9)",
    )
    add("--draws", type=count, default=DRAWS, metavar="N", help="at each rate (default: 5)")
    add("--seed", type=_seed, metavar="S", help="of the draws (default: the run's own seed)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    add("--threads", type=count, metavar="N", help="CPU threads (default: PyTorch's choice)")
    add("--data", metavar="FILE", help="data file (default: the one in the run's settings)")
    add("--out", metavar="FOLDER", help="where the files are written (default: the folder of RUN)")
    add("--version", action="version", version=f"mimrl {__version__}")
    return parser


def rate_list(text: str) -> tuple[float, ...]:
    """The rates of an argument like ``0,.1,.5``.

    Raises:
        argparse.ArgumentTypeError: anything but different numbers in [0, 1).
    """
    try:
        rates = tuple(float(part) for part in text.split(","))
    except ValueError:
        rates = ()
    if not rates or not all(0 <= rate < 1 for rate in rates) or len(set(rates)) < len(rates):
        raise argparse.ArgumentTypeError(
            f"'{text}': expected different numbers in [0, 1), separated by commas"
        )
    return rates


def _seed(text: str) -> int:
    found = seed_list(text)
    if len(found) != 1:
        raise argparse.ArgumentTypeError(f"'{text}': expected one seed, got {len(found)}")
    return found[0]


if __name__ == "__main__":
    sys.exit(main())
