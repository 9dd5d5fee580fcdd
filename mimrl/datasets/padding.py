"""Padded arrays -> ragged sequences: only rows of zeros at the ends are padding.

The published loaders count rows that *sum* to zero, or all non-zero rows, as the length; the first
miscounts rows whose values cancel, the second cuts the tail of a sequence with zero rows inside (a
face that was not found, a word without a vector). Here rows inside a sequence are never removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mimrl.datasets.features import FloatArray, IntArray, Ragged

AGREEMENT = 0.5  # share of samples whose modalities must begin (or end) together in aligned files
CONTRADICTED = "sequences longer than the length given in the file, kept whole"  # a repair, counted


class Spans(NamedTuple):
    """``(N,)`` int64 each: samples occupy the rows ``start`` to ``stop``; equal = no such rows."""

    start: IntArray
    stop: IntArray


def spans(values: FloatArray) -> Spans:
    """The rows of each sample from its first to its last one that is not all zero.

    >>> spans(np.array([[[0.0], [2.0], [0.0], [1.0], [0.0]]]))
    Spans(start=array([1]), stop=array([4]))

    Args:
        values: ``(N, T, d)``; NaN and infinities count as not zero.
    """
    filled = np.any(values != 0, axis=2)
    steps = filled.shape[1]
    if steps == 0:
        nothing = np.zeros(len(values), dtype=np.int64)
        return Spans(nothing, nothing)
    some = filled.any(axis=1)
    start = np.where(some, filled.argmax(axis=1), 0)
    stop = np.where(some, steps - filled[:, ::-1].argmax(axis=1), 0)
    return Spans(start.astype(np.int64), stop.astype(np.int64))


def take(values: FloatArray, rows: Spans) -> Ragged:
    """The rows ``rows`` of each sample of ``values`` ``(N, T, d)``."""
    cut = [values[i, a:b] for i, (a, b) in enumerate(zip(rows.start, rows.stop, strict=True))]
    return Ragged.from_list(cut, width=values.shape[2])


def word_aligned(splits: Sequence[Mapping[str, FloatArray]]) -> bool:
    """Whether the modalities share their time axis, so that they must be cut at the same rows.

    They do when all arrays have the same number of steps, and in at least half of the samples that
    are padded, the modalities begin at the same row (padding in front) or end at the same one
    (padding at the end). Equal numbers of steps alone prove nothing: arrays that were padded
    independently often share one.

    Args:
        splits: for each split, modality -> ``(N, T, d)``.
    """
    found: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
    steps = {values.shape[1] for arrays in splits for values in arrays.values()}
    rows = [{len(values) for values in arrays.values()} for arrays in splits]
    if len(steps) != 1 or any(len(a) < 2 for a in splits) or any(len(n) != 1 for n in rows):
        return False
    total = steps.pop()
    for arrays in splits:
        each = [spans(values) for values in arrays.values()]
        leading = np.stack([s.start for s in each], axis=1)
        trailing = total - np.stack([s.stop for s in each], axis=1)
        whole = np.all([s.stop > s.start for s in each], axis=0)
        found.append((leading[whole], trailing[whole]))
    leading = np.concatenate([pair[0] for pair in found])
    trailing = np.concatenate([pair[1] for pair in found])
    padding = leading if leading.sum() > trailing.sum() else trailing
    padded = padding[np.any(padding > 0, axis=1)]
    return len(padded) > 0 and bool(np.mean(np.ptp(padded, axis=1) == 0) >= AGREEMENT)


def strip(arrays: Mapping[str, FloatArray], *, together: bool) -> dict[str, Ragged]:
    """Sequences without the zero rows at their ends.

    Args:
        arrays: modality -> ``(N, T_m, d_m)``.
        together: cut all modalities of a sample from the first to the last row in which any of
            them is not zero, so that step ``t`` stays the same word in each. A modality that is
            zero throughout has as many steps as the others; ``data.drop_all_zero`` decides later
            whether it counts as missing. Otherwise each is cut by itself, and one that is zero
            throughout becomes empty: nothing tells how long it was.
    """
    own = {name: spans(values) for name, values in arrays.items()}
    if not together:
        return {name: take(values, own[name]) for name, values in arrays.items()}
    stop = np.max([rows.stop for rows in own.values()], axis=0)
    starts = [np.where(rows.stop > rows.start, rows.start, stop) for rows in own.values()]
    common = Spans(np.min(starts, axis=0), stop)
    return {name: take(values, common) for name, values in arrays.items()}


def cut(values: FloatArray, lengths: IntArray) -> tuple[Ragged, int]:
    """Sequences of known length from arrays padded in front or at the end.

    A sample is cut at the end that holds only zeros beyond its length; where both do, at the end
    at which most other samples are padded.

    Args:
        values: ``(N, T, d)``.
        lengths: ``(N,)`` in ``0 .. T``.

    Returns:
        The sequences, and the number of samples whose length is contradicted by non-zero rows on
        both sides; of those all rows from the first to the last non-zero one are kept.
    """
    steps, own = values.shape[1], spans(values)
    back = own.stop <= lengths
    front = (own.start >= steps - lengths) | (own.stop == own.start)
    in_front = int(np.sum(front & ~back)) > int(np.sum(back & ~front))
    use_front = front & (~back | in_front)
    fits = front | back
    start = np.where(use_front, steps - lengths, 0)
    stop = np.where(use_front, steps, lengths)
    rows = Spans(np.where(fits, start, own.start), np.where(fits, stop, own.stop))
    return take(values, rows), int(np.sum(~fits))
