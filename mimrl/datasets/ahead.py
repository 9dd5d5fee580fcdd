"""Batches made ahead of their use, by worker processes or by a thread, in the order asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader

from mimrl.datasets.batches import Batch
from mimrl.datasets.features import IntArray
from mimrl.errors import ConfigError, MimrlError

Maker = Callable[[IntArray], Batch]


def by_processes(
    make: Maker, batches: Sequence[IntArray], workers: int, *, pin: bool
) -> Iterator[Batch]:
    """Batches made by worker processes, at most two a worker ahead.

    The processes start anew with each pass: that costs some hundredths of a second each, little
    for data that are worth them, and none stays between passes to hold memory and open files.

    Args:
        make: rows of a batch -> the batch; it pickles, for systems where processes do not fork.
        batches: rows of each batch.
        workers: number of processes, at least 1.
        pin: batches are moved to pinned memory, which needs a GPU.

    Yields:
        The batches in order.

    Raises:
        MimrlError: whatever ``make`` raised in a worker, unchanged.
        ConfigError: a worker was killed.
    """
    if not batches:
        return
    loader: DataLoader[Batch | _Failure] = DataLoader(
        _Made(make),  # type: ignore[arg-type]  # no length of its own: the rows say how many
        sampler=batches,  # the "index" of an item is a batch's rows
        batch_size=None,
        collate_fn=_unchanged,
        num_workers=min(workers, len(batches)),
        pin_memory=pin,
        generator=torch.Generator(),  # a seed for the workers is drawn; not from the global one
    )
    made: Any = iter(loader)
    try:
        for _ in batches:
            batch = _next(made, workers)
            if isinstance(batch, _Failure):
                raise batch.error
            yield batch
    finally:
        # At once, also where the traceback of an error keeps the loader alive: its end would
        # come with a later collection of garbage, perhaps in a child that was forked since.
        made._shutdown_workers()


def by_thread(make: Maker, batches: Sequence[IntArray]) -> Iterator[Batch]:
    """Batches of which a thread makes one ahead, while the one before is in use."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as pool:
        coming = None
        for rows in batches:
            ready, coming = coming, pool.submit(make, rows)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()


@dataclass(frozen=True)
class _Failure:
    """An error on its way out of a worker; a loader would hide its message in a traceback."""

    error: MimrlError


@dataclass(frozen=True)
class _Made:
    """A data set whose items are batches."""

    make: Maker

    def __getitem__(self, rows: IntArray) -> Batch | _Failure:
        try:
            return self.make(rows)
        except MimrlError as error:
            return _Failure(error)


def _unchanged(batch: Any) -> Any:
    return batch


def _next(made: Iterator[Batch | _Failure], workers: int) -> Batch | _Failure:
    try:
        return next(made)
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise ConfigError(
            f"performance.loader_workers={workers}: a process that reads batches ended by itself "
            f"({error}); most often memory or /dev/shm is full: set fewer workers, or 0"
        ) from error
