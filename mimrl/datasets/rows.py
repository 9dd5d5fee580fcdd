"""Row stores beyond NumPy arrays: pieces of other stores, and walks that never load everything.

:class:`~mimrl.datasets.features.Ragged` asks its values for a shape and for slices of rows only,
so a selection of rows or a merge of files can stay where it is until a batch is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from mimrl.errors import ShapeError

if TYPE_CHECKING:
    from mimrl.datasets.features import Ragged, RowStore

BLOCK_VALUES = 1 << 21  # numbers read at once by a walk: 8 MiB of float32


class Piece(NamedTuple):
    """Rows ``start`` to ``stop`` of ``store``."""

    store: RowStore
    start: int
    stop: int


class PieceRows:
    """Pieces of other row stores, end to end; nothing is read before it is asked for.

    Args:
        pieces: one or more pieces in their order; all stores have one row shape.

    Raises:
        ShapeError: no piece, or two stores that differ in the shape of a row.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        tails = {tuple(piece.store.shape[1:]) for piece in pieces}
        if len(tails) != 1:
            raise ShapeError(f"pieces must share one row shape, got {sorted(tails)}")
        self._pieces = tuple(pieces)
        self._tail = tails.pop()
        lengths = [piece.stop - piece.start for piece in pieces]
        self._ends = np.cumsum([0, *lengths], dtype=np.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        return (int(self._ends[-1]), *self._tail)

    def __getitem__(self, rows: slice, /) -> npt.NDArray[np.generic]:
        """The rows of a slice with step 1, as one array."""
        start, stop, step = rows.indices(self.shape[0])
        if step != 1:
            raise ShapeError(f"rows are read with step 1, got {rows}")
        parts = []
        first = max(int(np.searchsorted(self._ends, start, side="right")) - 1, 0)
        for k in range(first, len(self._pieces)):
            begin = int(self._ends[k])
            if begin >= stop:
                break
            piece = self._pieces[k]
            low = piece.start + max(start - begin, 0)
            high = min(piece.start + stop - begin, piece.stop)
            if high > low:
                parts.append(np.asarray(piece.store[low:high]))
        if not parts:
            return np.asarray(self._pieces[0].store[0:0])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def row_blocks(values: RowStore) -> Iterator[tuple[slice, npt.NDArray[np.generic]]]:
    """The rows of a store in blocks of at most ``BLOCK_VALUES`` numbers (at least one row)."""
    total = values.shape[0]
    step = max(1, BLOCK_VALUES // max(1, int(np.prod(values.shape[1:], dtype=np.int64))))
    for start in range(0, total, step):
        rows = slice(start, min(start + step, total))
        yield rows, np.asarray(values[rows])


def sequence_blocks(ragged: Ragged) -> Iterator[tuple[slice, npt.NDArray[np.generic]]]:
    """Whole sequences in blocks of about ``BLOCK_VALUES`` numbers (at least one sequence).

    Yields:
        The numbers of the sequences, and their rows end to end.
    """
    offsets, total = ragged.offsets, len(ragged)
    step = max(1, BLOCK_VALUES // max(1, ragged.width))
    first = 0
    while first < total:
        within = int(np.searchsorted(offsets, offsets[first] + step, side="right")) - 1
        last = min(max(within, first + 1), total)
        yield (
            slice(first, last),
            np.asarray(ragged.values[int(offsets[first]) : int(offsets[last])]),
        )
        first = last
