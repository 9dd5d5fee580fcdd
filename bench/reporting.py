"""What the measurements of estimates share: options, tables, files; run alone it does nothing."""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mimrl.errors import EstimationWarning

QUICK = {
    "folds": 2, "repeats": 1, "discriminator_epochs": 2, "entropy_epochs": 2, "density": "classes",
}  # fmt: skip


def parser(text: str | None, *, threads: int = 1) -> argparse.ArgumentParser:
    """``--json`` and ``--threads``, with the script's own text as help."""
    found = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--json", type=Path, metavar="OUT", help="write all numbers to this file")
    found.add_argument(
        "--threads",
        type=int,
        default=threads,
        help=f"of PyTorch, for all that is timed; default {threads}",
    )
    return found


def analysis_parser(text: str | None) -> argparse.ArgumentParser:
    """As :func:`parser`, with ``--set`` and ``--quick`` for :func:`chosen`."""
    found = parser(text)
    found.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="settings of the analysis other than the script's own: density=em repeats=1",
    )
    found.add_argument(
        "--quick", action="store_true", help="few epochs, to see that the script runs"
    )
    return found


def parsed(own: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; PyTorch then has the threads that they ask for."""
    arguments = own.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    return arguments


@contextmanager
def without_doubts() -> Iterator[None]:
    """Estimates without their warnings: the tables show how good they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimationWarning)
        yield


def chosen(arguments: argparse.Namespace) -> dict[str, Any]:
    """Settings of the analysis that ``--quick`` and ``--set`` ask for."""
    found: dict[str, Any] = dict(QUICK) if arguments.quick else {}
    for text in arguments.set:
        name, _, value = text.partition("=")
        found[name] = int(value) if value.isdigit() else value
    return found


def seeds(text: str) -> list[int]:
    """``3`` is 0, 1, 2; ``4,7`` is 4 and 7; ``4,`` is 4."""
    if "," not in text:
        return list(range(int(text)))
    return [int(part) for part in text.split(",") if part]


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean and standard deviation over seeds."""
    mean = f"{round(float(np.mean(values)), digits) + 0.0:.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def show(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a markdown table; floats with three digits."""

    def text(value: object) -> str:
        return f"{round(value, 3) + 0.0:.3f}" if isinstance(value, float) else str(value)

    print(f"\n| {' | '.join(header)} |")
    print("|" + "---|" * len(header))
    for row in rows:
        print(f"| {' | '.join(map(text, row))} |")
    print(flush=True)


def write(path: Path | None, bench: str, arguments: argparse.Namespace, **content: Any) -> None:
    """All numbers as JSON, with what they were measured with."""
    if path is None:
        return
    report = {
        "bench": bench,
        "unit": "nats",
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "arguments": {k: v for k, v in vars(arguments).items() if k != "json"},
        **content,
    }
    text = json.dumps(report, indent=1, default=_plain)
    path.write_text(text + "\n", encoding="utf-8")


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} has no place in a report")
