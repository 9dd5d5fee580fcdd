"""Choosing and cutting sequences without reading them: lazy for files, a copy for arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mimrl.datasets.features import IntArray, Ragged, RowStore
from mimrl.errors import ShapeError


class PiecedRows:
    """Pieces of a row store, shown as one store; rows are read only when sliced.

    Args:
        store: what holds the rows, e.g. an open HDF5 data set.
        starts: ``(P,)`` first row of each piece.
        lengths: ``(P,)`` rows of each piece.
    """

    def __init__(self, store: RowStore, starts: IntArray, lengths: IntArray) -> None:
        self._store = store
        self._starts = starts
        self._ends = np.cumsum(lengths)
        self._lengths = lengths

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows of all pieces together, then the store's own axes."""
        rows = int(self._ends[-1]) if len(self._ends) else 0
        return (rows, *self._store.shape[1:])

    def __getitem__(self, rows: slice, /) -> npt.NDArray[np.generic]:
        start, stop, step = rows.indices(self.shape[0])
        if step != 1:
            raise IndexError(f"pieced rows are sliced with step 1, got {step}")
        found = []
        piece = int(np.searchsorted(self._ends, start, side="right"))
        while start < stop:
            skipped = start - int(self._ends[piece] - self._lengths[piece])
            taken = min(stop - start, int(self._lengths[piece]) - skipped)
            first = int(self._starts[piece]) + skipped
            found.append(np.asarray(self._store[first : first + taken]))
            start, piece = start + taken, piece + 1
        return np.concatenate(found) if found else np.asarray(self._store[0:0])


def narrowed(
    sequences: Ragged, *, rows: npt.ArrayLike | None = None, lengths: npt.ArrayLike | None = None
) -> Ragged:
    """Some of the sequences, or the first steps of each.

    Args:
        sequences: ``N`` sequences; those in memory are copied, others stay where they are.
        rows: ``(M,)`` sequences to take, in this order; None takes all.
        lengths: ``(M,)`` steps to keep of each sequence taken; None keeps all.

    Returns:
        ``M`` sequences.

    Raises:
        ShapeError: ``lengths`` has another size or goes past the end of a sequence.
    """
    index = np.arange(len(sequences)) if rows is None else np.asarray(rows, dtype=np.int64)
    had = sequences.lengths[index]
    kept = had if lengths is None else np.asarray(lengths, dtype=np.int64)
    if kept.shape != had.shape or np.any(kept < 0) or np.any(kept > had):
        raise ShapeError("lengths must name one number of steps a sequence, none beyond its end")
    if rows is None and np.array_equal(kept, had):
        return sequences
    starts = sequences.offsets[:-1][index]
    offsets = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
    if in_memory(sequences):
        return Ragged(np.asarray(sequences.values)[step_index(starts, kept)], offsets)
    return Ragged(PiecedRows(sequences.values, starts, kept), offsets)


def in_memory(sequences: Ragged) -> bool:
    """Whether the values are a plain array (a memory map is not)."""
    return type(sequences.values) is np.ndarray


def step_index(starts: IntArray, lengths: IntArray) -> IntArray:
    """Numbers of all steps of pieces that start at ``starts`` and have ``lengths`` steps.

    >>> step_index(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    before = np.cumsum(lengths) - lengths
    total = int(np.sum(lengths))
    return np.arange(total) + np.repeat(starts - before, lengths)
