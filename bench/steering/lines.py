"""Trainings one after another or beside each other, one line of JSON for each that has ended.

A cell whose line is there is not trained again, so an interruption costs no more than the trainings
that were under way. Only the first process writes.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from bench.steering.cells import Cell, Finished, finished, identity, rounded
from mimrl.errors import MimrlError, MimrlWarning

Line = dict[str, Any]
Measure = Callable[[Cell, Finished], Line]


def read(path: Path) -> list[Line]:
    """The lines of a file; one that an interruption cut short is left out."""
    if not path.is_file():
        return []
    found = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(text))
        except ValueError:
            continue
    return found


def append(path: Path, line: Line) -> None:
    """One more line, on a line of its own whatever stands before it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.is_file() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    text = json.dumps(line, separators=(",", ":"))
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if torn else "") + text + "\n")


def missing(path: Path, cells: Sequence[Cell]) -> list[Cell]:
    """The cells without a line."""
    done = {identity(line["cell"]) for line in read(path)}
    return [cell for cell in cells if cell.identity not in done]


@dataclass(frozen=True)
class Work:
    """What a process does with a cell.

    Attributes:
        measure: what is read of a finished training; a function of a module, so that it pickles.
        folder: trainings lie in it while they run.
    """

    measure: Measure
    folder: Path

    def __call__(self, cell: Cell) -> Line:
        """Trains and measures one cell; its files are removed."""
        torch.set_num_threads(1)
        folder = self.folder / cell.folder
        shutil.rmtree(folder, ignore_errors=True)  # of a call that was interrupted
        started = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MimrlWarning)  # doubts are what is measured here
            line = self.measure(cell, finished(cell, folder))
        shutil.rmtree(folder)
        seconds = round(time.process_time() - started, 1)
        return {"cell": dict(cell.key), **rounded(line), "cpu_seconds": seconds}


def run(path: Path, cells: Sequence[Cell], work: Work, *, jobs: int) -> int:
    """Runs the cells that lack a line; returns how many of them failed.

    Args:
        path: the file of lines.
        cells: all that are wanted.
        work: what is done with each.
        jobs: processes, each with one thread.
    """
    todo = missing(path, cells)
    print(f"{path.stem}: {len(cells) - len(todo)} of {len(cells)} are there", file=sys.stderr)
    failed = 0
    for number, (cell, line) in enumerate(_results(todo, work, jobs), 1):
        if isinstance(line, MimrlError):
            failed += 1
            said = f"failed: {line}"
        else:
            append(path, line)
            said = f"{line['cpu_seconds']} CPU s"
        print(f"{number}/{len(todo)} {cell.folder}: {said}", file=sys.stderr, flush=True)
    return failed


def _results(
    cells: Sequence[Cell], work: Work, jobs: int
) -> Iterator[tuple[Cell, Line | MimrlError]]:
    """Each cell with its line, or with what ended its training, in the order in which they end."""
    if jobs == 1:
        for cell in cells:
            try:
                yield cell, work(cell)
            except MimrlError as error:
                yield cell, error
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that start now
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        waiting = {pool.submit(work, cell): cell for cell in cells}
        for future in as_completed(waiting):
            failed = future.exception()
            if failed is not None and not isinstance(failed, MimrlError):
                raise failed
            yield waiting[future], failed or future.result()
    finally:
        pool.shutdown(cancel_futures=True)
