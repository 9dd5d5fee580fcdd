"""The command line of a search: ``python -m mimrl.tune`` and ``mimrl-tune``.

Exit codes: 0 done; 2 the command, the settings, the data or the storage cannot be used (one message
on standard error); 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mimrl import __version__
from mimrl.command import count, seed_list
from mimrl.errors import MissingFileError
from mimrl.exits import run_command
from mimrl.launch import works_alone
from mimrl.settings import Settings, load

if TYPE_CHECKING:
    from optuna.study import Study

    from mimrl.tune.study import Plan

EXAMPLES = """\
examples:
  python -m mimrl.tune --config configs/mosi.yaml --trials 200
  python -m mimrl.tune --config configs/mosi.yaml --trials 200 --search search.yaml --name wide
  python -m mimrl.tune --config configs/mosi.yaml --storage journal:///shared/mosi.log --seeds 0,1,2
  python -m mimrl.tune --config configs/mosi.yaml --report

The same command, given again or elsewhere, goes on with the study or works beside it; --trials
counts over all of them. Results: <output>/<name>/tune/. The test split is not read.

a search file (YAML; without one a default space is used, docs/tuning.md):
  training.optimizer.rate: {low: 1e-4, high: 1e-2, log: true}
  training.warmup_epochs: {low: 1, high: 5}
  model.encoders.*.dropout: {low: 0, high: 0.5, step: 0.1}
  model.fusion.kind: [cubemlp, lmf]
  model.fusion.rank: {low: 2, high: 16}    # of lmf: drawn where it is chosen

key=value are settings, as in 'python train.py --help'.
"""
PRUNERS = ("median", "hyperband", "none")
SAMPLERS = ("tpe", "random")
WORKING = ("trials", "timeout", "pruner", "sampler", "device")
PLACES = ("output=", "name=", "device=", "threads=")
TRIALS = 50
ALONE = "workers of a search are independent: start 'python -m mimrl.tune' itself, several times"


def main(argv: Sequence[str] | None = None) -> int:
    """Searches as the arguments say and prints the best settings; returns the exit code."""
    return run_command(
        *(_parser(), argv, _run, "interrupted; the same command goes on"),
        misuse=_misuse,
        intermixed=True,
    )


def _misuse(arguments: argparse.Namespace) -> str | None:
    idle = [name for name in WORKING if arguments.report and getattr(arguments, name) is not None]
    return f"--report runs no trials; leave out --{', --'.join(idle)}" if idle else None


def _run(arguments: argparse.Namespace) -> None:
    _require_optuna()
    import optuna

    from mimrl.tune.signals import terminated_as_interrupted
    from mimrl.tune.storage import guarded_storage

    if not works_alone(ALONE):
        return
    settings = load(arguments.config, _overrides(arguments))
    name = settings.name
    url = arguments.storage
    if url is None:  # an empty one is an unset variable, and no wish for the default
        url = f"sqlite:///{settings.output}/{name}/tune/study.db"
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with _quiet(), guarded_storage(url), terminated_as_interrupted():
            if arguments.report:
                _report(arguments, settings, name, url)
            else:
                _search(arguments, settings, name, url)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _search(arguments: argparse.Namespace, settings: Settings, name: str, url: str) -> None:
    from mimrl.tune import ledger, study, work
    from mimrl.tune.storage import open_storage, shown
    from mimrl.tune.trials import Trials

    plan = _plan(arguments, settings)
    folder = work.folder_of(settings.output, name)
    trials = Trials(plan, folder / "trials", progress=sys.stderr.isatty())
    trials.check()
    found = study.create(
        open_storage(url),
        name,
        plan,
        sampler=arguments.sampler or "tpe",
        pruner=arguments.pruner or "median",
    )
    total = arguments.trials or TRIALS
    _say(work.first_line(plan, ledger.read(found), total, shown(url)))
    worker = work.Worker(found, plan, trials, total=total, timeout=arguments.timeout, say=_say)
    try:
        worker.run()
    finally:
        _write(found, plan, name, folder)


def _report(arguments: argparse.Namespace, settings: Settings, name: str, url: str) -> None:
    from mimrl.tune import study, work
    from mimrl.tune.storage import open_storage

    found = study.find(open_storage(url, create=False), name)
    elsewhere = [one for one in arguments.overrides if not one.startswith(PLACES)]
    if arguments.config or arguments.search or arguments.seeds or elsewhere:
        study.compare(found, _plan(arguments, settings))
    _write(found, study.stored_plan(found), name, work.folder_of(settings.output, name))


def _write(found: Study, plan: Plan, name: str, folder: Path) -> None:
    from mimrl.tune.report import write_reports

    _say(write_reports(found, plan, name, folder))


def _plan(arguments: argparse.Namespace, settings: Settings) -> Plan:
    from mimrl.tune.space import read_space
    from mimrl.tune.study import Plan

    space = read_space(None if arguments.search is None else Path(arguments.search), settings)
    return Plan(space, arguments.seeds or (settings.seed,))


def _overrides(arguments: argparse.Namespace) -> list[str]:
    device = [] if arguments.device is None else [f"device={arguments.device}"]
    name = [] if arguments.name is None else [f"name={json.dumps(arguments.name)}"]
    return [*arguments.overrides, *device, *name]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()  # a log file of a cluster is read while it grows


def _require_optuna() -> None:
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise MissingFileError(
            'the search needs Optuna, which is not installed: pip install "optuna>=5.0"'
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's notes on parts of it that may still change."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def _parser() -> argparse.ArgumentParser:
    width = min(shutil.get_terminal_size().columns, 100)
    parser = argparse.ArgumentParser(
        prog="python -m mimrl.tune",
        description="Searches for settings on the validation split, with Optuna.",
        epilog=EXAMPLES,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=width),
    )
    add = parser.add_argument
    add("--config", metavar="FILE", help="YAML file of settings; without it: the defaults")
    add("overrides", metavar="key=value", nargs="*", help="settings that win over the file")
    add(
        "--trials",
        type=count,
        metavar="N",
        help="trials of the whole study, over all workers and calls (default: 50)",
    )
    add(
        "--storage",
        metavar="URL",
        help="sqlite:///FILE, journal:///FILE (several hosts with a common folder) or a server's "
        "URL (default: sqlite in the results' folder)",
    )
    add("--name", metavar="NAME", help="name of the study (default: the setting 'name')")
    add("--search", metavar="FILE", help="YAML file of ranges and choices")
    add("--pruner", choices=PRUNERS, help="how hopeless trials are stopped (default: median)")
    add("--sampler", choices=SAMPLERS, help="how settings are chosen (default: tpe)")
    add(
        "--seeds",
        type=seed_list,
        metavar="0,1,2",
        help="a trial's value is the mean over these (default: the setting 'seed')",
    )
    add(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="begin no trial later than this; the present one is finished",
    )
    add("--device", choices=("auto", "cpu", "cuda"), help="wins over the setting 'device'")
    add(
        "--report",
        action="store_true",
        help="only write the reports; settings then come from the storage",
    )
    add("--version", action="version", version=f"mimrl {__version__}")
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}': expected a number of seconds above 0")
    return value
