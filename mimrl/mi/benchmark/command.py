"""The command ``python -m mimrl.mi benchmark``."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from mimrl.errors import ConfigError
from mimrl.exits import run_command
from mimrl.mi.benchmark.heatmap import draw_heatmap
from mimrl.mi.benchmark.markdown import cells_markdown, totals_markdown
from mimrl.mi.benchmark.result import BenchmarkResult
from mimrl.mi.benchmark.running import Again, run_benchmark
from mimrl.mi.benchmark.selection import GROUPS, SAMPLES
from mimrl.mi.benchmark.store import RESULTS
from mimrl.mi.benchmark.table import text_table
from mimrl.mi.estimators.options import assignments
from mimrl.mi.writing import written_whole

FOLDER = Path("runs") / "mi-benchmark"
EXAMPLES = """\
examples:
  python -m mimrl.mi benchmark --estimators ksg1 gaussian
  python -m mimrl.mi benchmark --estimators infonce --tasks gaussian-staircase \\
      --set infonce.reading=64
  python -m mimrl.mi benchmark --estimators ksg1 --shuffled
  python -m mimrl.mi benchmark --tasks conditional --seeds 0,1,2
The same command goes on where it was stopped. The folder then holds results.jsonl (every
measurement), and results.csv, results.md and heatmap.png of what was asked for last (all of them
shuffled.* with --shuffled).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measures estimators on tasks with a known truth; returns the exit code."""
    return run_command(
        _parser(),
        argv,
        _run,
        "interrupted; the same command goes on with what is left",
        alone="a benchmark starts processes of its own (--jobs): start it by itself",
    )


def _run(arguments: argparse.Namespace) -> None:
    result = run_benchmark(
        arguments.estimators,
        arguments.tasks,
        samples=arguments.samples,
        seeds=arguments.seeds,
        jobs=arguments.jobs,
        shuffled=arguments.shuffled,
        data=arguments.data,
        out=arguments.out,
        options=_options(arguments.set),
        again=arguments.again,
        progress=sys.stderr.isatty(),
    )
    files = _save(result, arguments.out, "shuffled" if arguments.shuffled else None)
    if arguments.json:
        summary = {**result.summary(), "files": files}
        sys.stdout.write(json.dumps(summary, indent=1, allow_nan=False) + "\n")
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    sys.stdout.write(f"{text_table(result, width)}\n\n")
    sys.stdout.write("".join(f"{name}: {path}\n" for name, path in files.items()))


def _save(result: BenchmarkResult, folder: Path, name: str | None) -> dict[str, str]:
    """Writes table and picture; what is where."""
    table = folder / f"{name or 'results'}.csv"
    page = table.with_suffix(".md")
    picture = folder / f"{name or 'heatmap'}.png"
    frame = result.frame()
    with written_whole(table) as beside:
        frame.to_csv(beside, index=False)
    with written_whole(page) as beside:
        text = f"{totals_markdown(result)}\n{cells_markdown(result)}"
        beside.write_text(text, encoding="utf-8")
    draw_heatmap(result, picture)
    files = {"records": folder / RESULTS, "table": table, "page": page, "heat map": picture}
    return {what: str(path) for what, path in files.items()}


def _options(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``NAME.option=value`` as name -> option -> value."""
    found: dict[str, dict[str, Any]] = {}
    for path, value in assignments(words).items():
        name, dot, option = path.partition(".")
        if not dot or not option:
            raise ConfigError(
                f"--set {path}=...: expected NAME.option=value, as in ksg1.neighbours=3"
            )
        found.setdefault(name, {})[option] = value
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mimrl.mi benchmark",
        description="Measures estimators on tasks whose mutual information is known, and gives "
        "a table, a heat map and every number.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_what(parser)
    parser.add_argument(
        "--jobs",
        type=int,
        default=2,
        metavar="N",
        help="processes of one thread each (2); 1: this process with all its threads",
    )
    parser.add_argument(
        "--out", type=Path, default=FOLDER, metavar="FOLDER", help=f"of the results ({FOLDER})"
    )
    parser.add_argument(
        "--again",
        choices=get_args(Again),
        help="measure again what is there already: what failed, or all",
    )
    parser.add_argument(
        "--json", action="store_true", help="the summary as JSON on standard output"
    )
    return parser


def _add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--estimators",
        nargs="+",
        metavar="NAME",
        help="all without it; 'python -m mimrl.mi estimate --list' names them",
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        metavar="NAME",
        help=f"tasks, or groups of them: {', '.join(GROUPS)} (bmi)",
    )
    parser.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help=f"rows ({SAMPLES:,}, or all that were recorded)",
    )
    parser.add_argument(
        "--seeds", type=_seeds, default=(0,), metavar="0,1", help="one measurement for each (0)"
    )
    parser.add_argument(
        "--shuffled", action="store_true", help="y in a random order, so that the truth is 0"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="recorded samples TASK.npz with arrays x and y, in place of drawn ones",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME.option=value",
        help="options of an estimator",
    )


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}': expected integers between commas") from None
