"""Batches: padded to their own longest sample, bucketed by length, scaled on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mimrl.datasets.features import IntArray, Ragged
from mimrl.datasets.samples import Samples
from mimrl.datasets.scaling import Scaler
from mimrl.datasets.views import in_memory, step_index
from mimrl.errors import DataError

POOL_BATCHES = 8
"""Shuffled samples are sorted by length in pools of this many batches."""


@dataclass(frozen=True)
class Batch:
    """``B`` samples as tensors.

    Attributes:
        rows: ``(B,)`` int64 row numbers within the split.
        inputs: modality -> ``(B, T, d)`` float32 scaled features or ``(B, T)`` int64 token ids,
            zero after the last valid step; ``T`` is the longest of this batch, at least 1.
        lengths: modality -> ``(B,)`` int64 valid steps; 0 = the sample lacks the modality.
        labels: ``(B,)`` float32 targets or int64 classes.
        global_rows: ``(G,)`` int64 row numbers of all processes' shares of this batch, process
            after process; None where the batch is not shared. See :func:`share_sizes`.
    """

    rows: Tensor
    inputs: Mapping[str, Tensor]
    lengths: Mapping[str, Tensor]
    labels: Tensor
    global_rows: Tensor | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", MappingProxyType(dict(self.inputs)))
        object.__setattr__(self, "lengths", MappingProxyType(dict(self.lengths)))

    def __len__(self) -> int:
        return len(self.rows)

    def mask(self, name: str) -> Tensor:
        """``(B, T)`` bool: True at the valid steps of a modality."""
        steps = torch.arange(self.inputs[name].shape[1], device=self.lengths[name].device)
        return steps < self.lengths[name][:, None]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device; ``lengths`` stay where they are.

        Packed sequences need lengths on the host, and fetching them from a GPU would wait for all
        that it still has to do. Nothing waits for the copies of pinned memory.
        """

        def move(values: Tensor) -> Tensor:
            return values.to(device, non_blocking=values.is_pinned())

        return Batch(
            rows=move(self.rows),
            inputs={name: move(values) for name, values in self.inputs.items()},
            lengths=self.lengths,
            labels=move(self.labels),
            global_rows=None if self.global_rows is None else move(self.global_rows),
        )


def iterate(
    samples: Samples,
    batch_size: int,
    *,
    generator: torch.Generator | None = None,
    bucketing: bool = True,
    share: tuple[int, int] | None = None,
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

    Raises:
        DataError: ``batch_size`` below 1, a ``rank`` outside ``world``, or fewer samples than
            processes.
    """
    rank, world = share or (0, 1)
    if not 0 <= rank < world:
        raise DataError(f"share must be (rank, world) with 0 <= rank < world, got {share}")
    if len(samples) < world:
        raise DataError(
            f"{len(samples)} samples cannot be shared by {world} processes; each needs one at "
            "least: start fewer processes"
        )
    batches = batch_rows(
        samples.lengths, batch_size, generator=generator, bucketing=bucketing, world=world
    )
    for rows in batches:
        batch = collate(samples, rows[rank::world])
        yield batch if share is None else replace(batch, global_rows=_by_rank(rows, world))


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


def collate(samples: Samples, rows: npt.ArrayLike) -> Batch:
    """One batch of the samples ``rows``, in that order.

    Scalers see valid steps only, so padding is exactly zero and a sample's values do not depend on
    the batch it is in.
    """
    index = np.asarray(rows, dtype=np.int64)
    inputs, lengths = {}, {}
    for name, sequences in samples.inputs.items():
        # A copy into PyTorch's aligned memory: matrix products may differ in the last bit with
        # the alignment of their inputs, and NumPy's is not the same from run to run.
        padded = _padded(sequences, index, samples.scalers.get(name))
        inputs[name] = torch.from_numpy(padded).clone()
        lengths[name] = torch.from_numpy(sequences.lengths[index])
    return Batch(
        rows=torch.from_numpy(index.copy()),
        inputs=inputs,
        lengths=lengths,
        labels=torch.from_numpy(samples.labels[index]),
    )


def _in_batches(order: IntArray, size: int, world: int) -> list[IntArray]:
    starts = list(range(0, len(order), size))
    if len(starts) > 1 and len(order) - starts[-1] < max(world, min(2, size)):
        starts.pop()
    return np.split(order, starts[1:]) if starts else []


def _by_rank(rows: IntArray, world: int) -> Tensor:
    """A batch's rows, process after process."""
    return torch.from_numpy(np.concatenate([rows[rank::world] for rank in range(world)]))


def _padded(sequences: Ragged, rows: IntArray, scaler: Scaler | None) -> npt.NDArray[np.generic]:
    """``(B, T, d)`` or ``(B, T)`` array of sequences ``rows``, zero after their ends."""
    lengths = sequences.lengths[rows]
    steps = _steps(sequences, rows, lengths)
    if scaler is not None:
        steps = scaler.apply(steps)
    dtype = np.int64 if np.issubdtype(steps.dtype, np.integer) else np.float32
    longest = max(1, int(lengths.max(initial=0)))
    padded = np.zeros((len(rows), longest, *sequences.values.shape[1:]), dtype)
    padded[np.arange(longest) < lengths[:, None]] = steps
    return padded


def _steps(sequences: Ragged, rows: IntArray, lengths: IntArray) -> npt.NDArray[np.generic]:
    """Steps of sequences ``rows`` end to end; one read a sequence where they are on disk."""
    if in_memory(sequences):
        return np.asarray(sequences.values)[step_index(sequences.offsets[rows], lengths)]
    return np.concatenate([sequences[int(i)] for i in rows])
