"""Measuring, in this process or in several, with every record kept as soon as it is there."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from mimrl.errors import ConfigError, EstimationError
from mimrl.mi.benchmark.measurement import Measurement, Record, measure
from mimrl.mi.benchmark.result import BenchmarkResult
from mimrl.mi.benchmark.selection import (
    Estimators,
    Tasks,
    chosen_estimators,
    chosen_tasks,
    planned,
)
from mimrl.mi.benchmark.store import RESULTS, Store

Again = Literal["failed", "all"]


def run_benchmark(
    estimators: Estimators | None = None,
    tasks: Tasks | None = None,
    *,
    samples: int | None = None,
    seeds: Sequence[int] = (0,),
    jobs: int = 1,
    shuffled: bool = False,
    data: str | Path | None = None,
    out: str | Path | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    again: Again | None = None,
    progress: bool = False,
) -> BenchmarkResult:
    """Measures estimators on tasks whose information is known.

    Args:
        estimators: names of the tables of estimators, or name -> estimator; None is every row.
        tasks: names, groups (``bmi``, ``conditional``, ...) or tasks; None is ``bmi``, the 40 of
            Czyz et al., "Beyond Normal" (NeurIPS 2023).
        samples: rows of each task; None is 5,000, or all rows of a recording.
        seeds: a measurement is made for each; of the samples drawn, of the shuffling, and added
            to the estimator's own seed if it has one.
        jobs: processes of one thread each; 1 measures in this process with the threads it has.
        shuffled: y in a random order, so that the truth is 0.
        data: folder of recorded samples, ``<task>.npz`` each; None has them drawn.
        out: folder of ``results.jsonl``, to which every record is appended when it is there, and
            from which measurements with the same settings and version are taken, not made again.
        options: name of an estimator -> options to be changed.
        again: measurements to be made again: those that ``failed``, or ``all``.
        progress: shows a bar on standard error.

    Returns:
        Every record that was asked for, task by task.

    Raises:
        ConfigError: names, options or numbers that cannot be used.
        MissingFileError: a recording that does not exist.
        DataError: a recording, or a results file, that cannot be read.
        EstimationError: a process died.
    """
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1, got {jobs}")
    found = chosen_tasks(tasks)
    wanted = planned(
        chosen_estimators(estimators, found, options or {}),
        found,
        samples=samples,
        seeds=seeds,
        shuffled=shuffled,
        data=None if data is None else Path(data),
    )
    store = None if out is None else Store(Path(out) / RESULTS)
    known = _known(wanted, store, again)
    todo = {one.key: one for one in wanted if one.key not in known}
    bar = tqdm(total=len(todo) + len(known), initial=len(known), unit="", disable=not progress)
    with bar, closing(_measured(list(todo.values()), jobs)) as records:
        for record in records:
            if store is not None:
                store.append(record)
            known[record.key] = record
            bar.set_postfix_str(f"{record.task} {record.estimator}", refresh=False)
            bar.update()
    return BenchmarkResult(tuple(replace(known[one.key], estimator=one.name) for one in wanted))


def _known(
    wanted: Sequence[Measurement], store: Store | None, again: Again | None
) -> dict[str, Record]:
    """Records that need no measuring."""
    if store is None or again == "all":
        return {}
    there = {one.key: store.get(one.key) for one in wanted}
    return {
        key: record
        for key, record in there.items()
        if record is not None and not (again == "failed" and record.failure)
    }


def _measured(todo: Sequence[Measurement], jobs: int) -> Generator[Record, None, None]:
    """Records in the order in which they are done."""
    if min(jobs, len(todo)) < 2:
        yield from map(measure, todo)
        return
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        min(jobs, len(todo)), multiprocessing.get_context("spawn"), initializer=_one_thread
    )
    try:
        waiting = [pool.submit(measure, one) for one in todo]
        for future in as_completed(waiting):
            yield future.result()
    except BrokenProcessPool as error:
        raise EstimationError(
            f"a process of {jobs} died, perhaps for want of memory; what was done is kept. Start "
            "again with fewer jobs"
        ) from error
    except BaseException:  # Ctrl-C, or the reader of the records gave up: nobody waits for the rest
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    """As many processes as cores, each with one thread; Ctrl-C ends them without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threadpool_limits(1)
    torch.set_num_threads(1)
