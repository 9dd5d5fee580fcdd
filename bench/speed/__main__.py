"""Runs the measurements of speed, prints one table and writes docs/benchmarks.md.

Each script runs in a process of its own and leaves its numbers in runs/speed/NAME.json; the table
and the page are made of all numbers that lie there. With --only, the other scripts' numbers stay
as they were.

    python -m bench.speed [--only training critics] [--all] [--quick] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.speed import (
    critics,
    following,
    gpu,
    large_file,
    lsmi_seconds,
    processes,
    product_samples,
    same_results,
    scaling,
    text_encoder,
    training,
)
from bench.speed.machine import describe
from bench.speed.page import write_page
from bench.speed.rows import HEADER, markdown, restored

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "runs" / "speed"
PAGE = ROOT / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Script:
    """One measurement.

    Attributes:
        module: its script.
        long: whether it takes many minutes: it then runs with --all or when it is named only.
    """

    module: ModuleType
    long: bool = False

    @property
    def name(self) -> str:
        """The last part of the module's name."""
        return self.module.__name__.rpartition(".")[2]


SCRIPTS = (
    Script(training),
    Script(text_encoder),
    Script(critics),
    Script(following),
    Script(product_samples),
    Script(lsmi_seconds),
    Script(same_results),
    Script(processes),
    Script(scaling),
    Script(large_file, long=True),
    Script(gpu),
)


def main(argv: Sequence[str] | None = None) -> int:
    """0 when all scripts ran, whether or not goals are met; 1 when one failed."""
    arguments = _parser().parse_args(argv)
    results = arguments.results or (RESULTS / "quick" if arguments.quick else RESULTS)
    results.mkdir(parents=True, exist_ok=True)
    wanted = chosen(arguments.only, everything=arguments.all or arguments.quick)
    failed = [script.name for script in wanted if not run(script, results, arguments)]
    found = stored(results)
    rows = [row for content in found.values() for row in restored(content).rows]
    print(markdown(HEADER, [row.cells() for row in rows], aligned=True), flush=True)
    if arguments.page or not arguments.quick:
        write_page(arguments.page or PAGE, found)
    for name in failed:
        print(f"{name} failed; what it said stands above", file=sys.stderr)
    return 1 if failed else 0


def chosen(only: Sequence[str] | None, *, everything: bool) -> list[Script]:
    """The scripts to run."""
    if only is not None:
        return [script for script in SCRIPTS if script.name in only]
    return [script for script in SCRIPTS if everything or not script.long]


def run(script: Script, results: Path, arguments: argparse.Namespace) -> bool:
    """Runs one script; whether it left its numbers."""
    file = results / f"{script.name}.json"
    fresh = file.with_suffix(".new")
    command = [sys.executable, "-m", script.module.__name__, "--json", str(fresh)]
    command += ["--quick"] if arguments.quick else []
    command += ["--threads", str(arguments.threads)] if arguments.threads else []
    print(f"== {script.name}", file=sys.stderr, flush=True)
    started = time.perf_counter()
    ended = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
    seconds = time.perf_counter() - started
    if ended.returncode not in (0, 1) or not fresh.is_file():  # 1: a goal is missed
        fresh.unlink(missing_ok=True)
        return False
    content = json.loads(fresh.read_text(encoding="utf-8"))
    content |= {"machine": describe(), "seconds": seconds}
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    fresh.unlink()
    return True


def stored(results: Path) -> dict[str, dict[str, Any]]:
    """The numbers of every script that has left some, in the order of the table."""
    files = {script.name: results / f"{script.name}.json" for script in SCRIPTS}
    return {
        name: json.loads(file.read_text(encoding="utf-8"))
        for name, file in files.items()
        if file.is_file()
    }


def _parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [script.name for script in SCRIPTS]
    slow = ", ".join(script.name for script in SCRIPTS if script.long)
    found.add_argument("--only", nargs="+", choices=names, help=f"default: all but {slow}")
    found.add_argument("--all", action="store_true", help=f"{slow} too")
    found.add_argument("--quick", action="store_true", help="small sizes; the page stays as it is")
    found.add_argument("--threads", type=int, help="of PyTorch; default: each script's own")
    found.add_argument("--results", type=Path, help="folder of the numbers; default: runs/speed")
    found.add_argument("--page", type=Path, help="default: docs/benchmarks.md")
    return found


if __name__ == "__main__":
    sys.exit(main())
