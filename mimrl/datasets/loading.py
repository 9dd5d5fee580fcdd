"""All batches of a split: shuffled, bucketed by length, shared by processes, made ahead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mimrl.datasets.ahead import by_processes, by_thread
from mimrl.datasets.batches import Batch, collate
from mimrl.datasets.features import IntArray
from mimrl.datasets.samples import Samples
from mimrl.datasets.views import in_memory
from mimrl.errors import DataError, ShapeError

__all__ = ["Batch", "batch_rows", "collate", "iterate", "share_sizes"]

POOL_BATCHES = 8
"""Shuffled samples are sorted by length in pools of this many batches."""


def iterate(
    samples: Samples,
    batch_size: int,
    *,
    generator: torch.Generator | None = None,
    bucketing: bool = True,
    share: tuple[int, int] | None = None,
    workers: int = 0,
    pin: bool = False,
    present: npt.NDArray[np.bool_] | None = None,
) -> Iterator[Batch]:
    """All samples once, batch by batch.

    Args:
        samples: one split.
        batch_size: samples in a batch; only the last one made may be smaller, or larger by one.
        generator: source of the shuffling; None does not shuffle.
        bucketing: batches hold samples of similar length. Without a generator they then come in
            order of length: use ``Batch.rows`` to put results back in order.
        share: ``(rank, world)``: every ``world``-th sample, from the ``rank``-th on, of batches
            of ``batch_size * world`` samples. All processes that use the same generator state
            see shares of the same batches, and none is ever without a sample: what remains at
            the end joins another batch where it has fewer than ``world`` samples.
        workers: processes that read and pad batches ahead; the batches are the same. Without
            any, a thread reads one batch ahead where sequences are on disk.
        pin: batches in pinned memory, from which copies to a GPU wait for nothing; no effect
            where there is none.
        present: ``(N, K)``, see :func:`collate`. Shuffled batches hold the same samples with and
            without it; batches in order are those of samples that lack the modalities themselves.

    Raises:
        DataError: ``batch_size`` below 1, a ``rank`` outside ``world``, or fewer samples than
            processes.
        ShapeError: ``present`` has another shape.
    """
    rank, world = share or (0, 1)
    if not 0 <= rank < world:
        raise DataError(f"share must be (rank, world) with 0 <= rank < world, got {share}")
    if len(samples) < world:
        raise DataError(
            f"{len(samples)} samples cannot be shared by {world} processes; each needs one at "
            "least: start fewer processes"
        )
    if present is not None and present.shape != (len(samples), len(samples.inputs)):
        raise ShapeError(
            f"present: expected {(len(samples), len(samples.inputs))}, a row a sample and a column "
            f"a modality, got {present.shape}"
        )
    steps = _steps(samples, present if generator is None else None)
    batches = batch_rows(steps, batch_size, generator=generator, bucketing=bucketing, world=world)
    make = _Maker(samples, share, present)
    pin = pin and torch.cuda.is_available()
    if workers > 0:
        yield from by_processes(make, batches, workers, pin=pin)
        return
    stored = not all(in_memory(sequences) for sequences in samples.inputs.values())
    for batch in by_thread(make, batches) if stored else map(make, batches):
        yield batch.pin_memory() if pin else batch


@dataclass(frozen=True)
class _Maker:
    """A process's share of the batch of some rows."""

    samples: Samples
    share: tuple[int, int] | None
    present: npt.NDArray[np.bool_] | None

    def __call__(self, rows: IntArray) -> Batch:
        if self.share is None:
            return collate(self.samples, rows, self.present)
        rank, world = self.share
        batch = collate(self.samples, rows[rank::world], self.present)
        return replace(batch, global_rows=_by_rank(rows, world))


def _steps(samples: Samples, present: npt.NDArray[np.bool_] | None) -> IntArray:
    """``(N,)`` int64: steps of each sample, of the modalities that are present."""
    if present is None:
        return samples.lengths
    kept = [
        np.where(there, s.lengths, 0)
        for there, s in zip(present.T, samples.inputs.values(), strict=True)
    ]
    return np.sum(kept, axis=0, dtype=np.int64)


def share_sizes(rows: int, world: int) -> list[int]:
    """Samples in each process's share of a batch of ``rows``.

    >>> share_sizes(7, 3)
    [3, 2, 2]
    """
    return [len(range(rank, rows, world)) for rank in range(world)]


def batch_rows(
    lengths: npt.ArrayLike,
    batch_size: int,
    *,
    generator: torch.Generator | None,
    bucketing: bool,
    world: int = 1,
) -> list[IntArray]:
    """Row numbers of each batch; every row exactly once.

    With a generator and bucketing the rows are shuffled, cut into pools of eight batches, sorted
    by length within each pool, cut into batches, and the batches shuffled. A remainder of one row
    joins another batch, since statistics over a batch need two; so does one of fewer than
    ``world`` rows.

    Args:
        lengths: ``(N,)`` steps of each sample, all modalities together.
        batch_size: at least 1.
        generator: source of the shuffling; None keeps row order, or order of length.
        bucketing: see above.
        world: processes that share a batch, which then has ``batch_size * world`` rows.

    Raises:
        DataError: ``batch_size`` below 1.
    """
    steps = np.asarray(lengths)
    if batch_size < 1:
        raise DataError(f"batch_size must be at least 1, got {batch_size}")
    size = batch_size * world
    if generator is None:
        order = np.argsort(steps, kind="stable") if bucketing else np.arange(len(steps))
        return _in_batches(order, size, world)
    order = torch.randperm(len(steps), generator=generator).numpy()
    if not bucketing:
        return _in_batches(order, size, world)
    pool = POOL_BATCHES * size
    pools = [order[start : start + pool] for start in range(0, len(order), pool)]
    sorted_rows = [rows[np.argsort(steps[rows], kind="stable")] for rows in pools]
    batches = _in_batches(np.concatenate(sorted_rows), size, world) if pools else []
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def _in_batches(order: IntArray, size: int, world: int) -> list[IntArray]:
    starts = list(range(0, len(order), size))
    if len(starts) > 1 and len(order) - starts[-1] < max(world, min(2, size)):
        starts.pop()
    return np.split(order, starts[1:]) if starts else []


def _by_rank(rows: IntArray, world: int) -> Tensor:
    """A batch's rows, process after process."""
    return torch.from_numpy(np.concatenate([rows[rank::world] for rank in range(world)]))
