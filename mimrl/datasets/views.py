"""Choosing and cutting sequences without reading them: lazy for files, a copy for arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mimrl.datasets.features import IntArray, Ragged
from mimrl.datasets.rows import Piece, PieceRows
from mimrl.errors import ShapeError


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
    ends = zip(starts.tolist(), (starts + kept).tolist(), strict=True)
    pieces = [Piece(sequences.values, start, stop) for start, stop in ends if stop > start]
    return Ragged(PieceRows(pieces or [Piece(sequences.values, 0, 0)]), offsets)


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
