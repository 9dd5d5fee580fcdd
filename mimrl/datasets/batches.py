"""One batch: padded to its own longest sample, scaled on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mimrl.datasets.features import IntArray, Ragged
from mimrl.datasets.samples import Samples
from mimrl.datasets.scaling import Scaler
from mimrl.datasets.views import in_memory, step_index

AnyArray = npt.NDArray[np.generic]


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

    def __reduce__(self) -> tuple[Any, ...]:
        """Mapping proxies do not pickle; a batch does, on its way out of a worker process."""
        inputs, lengths = dict(self.inputs), dict(self.lengths)
        return Batch, (self.rows, inputs, lengths, self.labels, self.global_rows)

    def pin_memory(self) -> Batch:
        """The same batch in memory that a GPU copies from without waiting; lengths stay."""
        rows = self.global_rows
        return Batch(
            rows=self.rows.pin_memory(),
            inputs={name: values.pin_memory() for name, values in self.inputs.items()},
            lengths=self.lengths,
            labels=self.labels.pin_memory(),
            global_rows=None if rows is None else rows.pin_memory(),
        )

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


def collate(
    samples: Samples, rows: npt.ArrayLike, present: npt.NDArray[np.bool_] | None = None
) -> Batch:
    """One batch of the samples ``rows``, in that order.

    Scalers see valid steps only, so padding is exactly zero and a sample's values do not depend on
    the batch it is in.

    Args:
        samples: ``N`` samples of ``K`` modalities.
        rows: ``(B,)`` row numbers.
        present: ``(N, K)``, columns in the order of ``samples.inputs``: where false, the sample
            counts as one that lacks the modality. None: all count as they are.
    """
    index = np.asarray(rows, dtype=np.int64)
    inputs, lengths = {}, {}
    for column, (name, sequences) in enumerate(samples.inputs.items()):
        steps = sequences.offsets[index + 1] - sequences.offsets[index]
        if present is not None:
            steps = np.where(present[index, column], steps, 0)
        inputs[name] = _padded(sequences, index, steps, samples.scalers.get(name))
        lengths[name] = torch.from_numpy(steps)
    return Batch(
        rows=torch.from_numpy(index.copy()),
        inputs=inputs,
        lengths=lengths,
        labels=torch.from_numpy(samples.labels[index]),
    )


def _padded(sequences: Ragged, rows: IntArray, lengths: IntArray, scaler: Scaler | None) -> Tensor:
    """``(B, T, d)`` or ``(B, T)`` tensor of sequences ``rows``, zero after their ends.

    ``lengths`` are those of the sequences, or 0 for one that is left out.
    """
    longest = max(1, int(lengths.max(initial=0)))
    shape = (len(rows), longest, *sequences.values.shape[1:])
    if in_memory(sequences):
        steps = np.asarray(sequences.values)[step_index(sequences.offsets[rows], lengths)]
        padded = _zeros(shape, steps, scaler)
        padded.numpy()[np.arange(longest) < lengths[:, None]] = _scaled(steps, scaler)
        return padded
    # One read a sequence: neighbours in the file seldom meet in a batch, and what is read stays in
    # the processor's cache until it is scaled and in its place.
    first = sequences[int(rows[0])]
    padded = _zeros(shape, first, scaler)
    target = padded.numpy()
    for place, row in enumerate(rows.tolist()):
        if not lengths[place]:
            continue
        steps = sequences[row] if place else first
        target[place, : len(steps)] = _scaled(steps, scaler)
    return padded


def _zeros(shape: tuple[int, ...], like: AnyArray, scaler: Scaler | None) -> Tensor:
    """Zeros in PyTorch's aligned memory, of the type that ``like`` has when it is scaled.

    Matrix products may differ in the last bit with the alignment of their inputs, and that of
    NumPy's memory is not the same from run to run.
    """
    whole = scaler is None and np.issubdtype(like.dtype, np.integer)
    return torch.zeros(shape, dtype=torch.int64 if whole else torch.float32)


def _scaled(steps: AnyArray, scaler: Scaler | None) -> AnyArray:
    return steps if scaler is None else scaler.apply(steps)
