"""The command ``python -m mimrl.mi estimate``."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mimrl.errors import ConfigError, EstimationWarning
from mimrl.exits import run_command
from mimrl.mi.estimation.columns import WANTED
from mimrl.mi.estimation.control import Control, shuffled_estimates
from mimrl.mi.estimation.report import Report, control_text, listing, listing_json
from mimrl.mi.estimation.variables import Variables, read_variables
from mimrl.mi.estimators.interface import ConditionalEstimator, EstimateResult
from mimrl.mi.estimators.options import AnyEstimator, assignments, with_options, with_seed
from mimrl.mi.estimators.table import (
    CONDITIONAL_ESTIMATORS,
    ESTIMATORS,
    conditional_estimator_named,
    estimator_named,
)

DEFAULT, CONDITIONAL_DEFAULT = "auto", "ksg"
ALONE = "an estimate is made by one process: start 'python -m mimrl.mi estimate' by itself"
LONG = 90.0
"""Seconds of shuffling that are told beforehand."""
TABLES: Mapping[str, Mapping[str, AnyEstimator]] = {
    "I(X; Y)": ESTIMATORS,
    "I(X; Y | Z), with --z": CONDITIONAL_ESTIMATORS,
}
EXAMPLES = f"""\
Columns: {WANTED},
several of them apart or with commas between. In npz and HDF5 files the name of an array, with
:3 or :0-4 behind it for some of its columns.

examples:
  python -m mimrl.mi estimate people.csv --x height weight --y age
  python -m mimrl.mi estimate people.csv --x height --y weight --z age --drop-missing
  python -m mimrl.mi estimate pairs.npz --x x:0-4 --y y --estimator ksg1 --set neighbours=3
  python -m mimrl.mi estimate --list
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Estimates the information between columns of a file; returns the exit code."""
    return run_command(_parser(), argv, _run, "interrupted", misuse=_misuse, alone=ALONE)


def _misuse(arguments: argparse.Namespace) -> str | None:
    missing = not arguments.list and None in (arguments.file, arguments.x, arguments.y)
    return "expected FILE, --x and --y (or --list)" if missing else None


def _run(arguments: argparse.Namespace) -> None:
    if arguments.list:
        found = _json(listing_json(TABLES)) if arguments.json else listing(TABLES)
        sys.stdout.write(found + "\n")
        return
    _check(arguments)
    name, estimator = _estimator(arguments)
    words = {name: getattr(arguments, name) for name in "xyz" if getattr(arguments, name)}
    variables = read_variables(arguments.file, words, drop_missing=arguments.drop_missing)
    report = Report(arguments.file, variables, name, estimator, _estimate(estimator, variables))
    if not arguments.json:
        sys.stdout.write(report.text() + "\n")
        sys.stdout.flush()  # the control takes as long again for every shuffle
    values: list[float] = []
    try:
        _shuffle(values, report, arguments)
    finally:  # Ctrl-C leaves the shuffles that were done
        _finish(report, values, as_json=arguments.json)


def _estimate(estimator: AnyEstimator, variables: Variables) -> EstimateResult:
    """The result; its doubts stand in the report and are not given twice."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimationWarning)
        return estimator.estimate_with_info(*variables.arrays.values())


def _shuffle(values: list[float], report: Report, arguments: argparse.Namespace) -> None:
    """Appends the estimates of shuffled samples to ``values``."""
    arrays = list(report.variables.arrays.values())
    found = shuffled_estimates(report.estimator, arrays, arguments.shuffles, arguments.seed)
    shown = sys.stderr.isatty()
    expected = arguments.shuffles * (report.result.time_in_seconds or 0.0)
    if expected > LONG:
        sys.stderr.write(
            f"{arguments.shuffles} shuffles will take about {expected / 60:.0f} minutes; Ctrl-C "
            "keeps those that are done, --shuffles 0 leaves them out\n"
        )
    for value in tqdm(
        found, "shuffled", arguments.shuffles, unit="", leave=False, disable=not shown
    ):
        values.append(value)


def _finish(report: Report, values: Sequence[float], *, as_json: bool) -> None:
    control = Control(report.result.mi_estimate, values) if values else None
    if as_json:
        sys.stdout.write(_json(report.as_json(control)) + "\n")
    elif control is not None:
        conditional = isinstance(report.estimator, ConditionalEstimator)
        sys.stdout.write(control_text(control, conditional=conditional) + "\n")


def _estimator(arguments: argparse.Namespace) -> tuple[str, AnyEstimator]:
    """The estimator that is asked for, with its options, and its name."""
    estimator: AnyEstimator
    if arguments.z:
        name = arguments.estimator or CONDITIONAL_DEFAULT
        estimator = conditional_estimator_named(name)
    else:
        name = arguments.estimator or DEFAULT
        estimator = estimator_named(name)
    estimator = with_options(estimator, assignments(arguments.set))
    return name, with_seed(estimator, arguments.seed)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.shuffles < 0 or arguments.seed < 0:
        raise ConfigError(
            f"shuffles and seed must be 0 or more, got {arguments.shuffles} and {arguments.seed}"
        )


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, default=str)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mimrl.mi estimate",
        description="Mutual information between columns of a file, with its standard error, what "
        "is to be doubted about it, and a control with shuffled samples.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        help=".csv, .tsv, .npz, .npy, .h5 or .parquet; a sample a row",
    )
    for name, text in (("x", "X"), ("y", "Y"), ("z", "Z, for I(X; Y | Z)")):
        help_text = f"columns of {text}"
        parser.add_argument(f"--{name}", nargs="+", metavar="COLUMN", help=help_text)
    _add_how(parser)
    return parser


def _add_how(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--estimator",
        metavar="NAME",
        help=f"see --list ({DEFAULT}; with --z {CONDITIONAL_DEFAULT})",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="option=value",
        help="options of the estimator, see --list",
    )
    parser.add_argument(
        "--shuffles",
        type=int,
        default=20,
        metavar="N",
        help="estimates with y shuffled, as a control (20); 0 leaves it out",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of the shuffles, and added to the estimator's own (0)",
    )
    parser.add_argument(
        "--drop-missing", action="store_true", help="leave out rows with missing values"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--list", action="store_true", help="the estimators with their options, and stop"
    )
