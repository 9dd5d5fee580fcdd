"""Averages of timed features over words or segments, as CMU-MultimodalSDK aligns them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SHORTEST = 1e-5  # seconds; a shorter overlap is rounding of the time stamps (mmsdk's epsilon)

Floats = npt.NDArray[np.floating]


def averages(
    features: Floats, intervals: Floats, targets: Floats
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Mean of the feature rows that overlap each target interval, each row counting once.

    The mean is not weighted by the overlap, as in the ``align`` of CMU-MultimodalSDK with an
    averaging collapse function (Zadeh et al., ACL 2018).

    Args:
        features: ``(n, d)`` finite features.
        intervals: ``(n, 2)`` their start and end in seconds. Rows not longer than ``SHORTEST``
            are left out.
        targets: ``(m, 2)`` start and end of the words or segments, in any order.

    Returns:
        ``(m, d)`` means, zero where nothing overlaps, and ``(m,)`` whether something did.
    """
    long_enough = intervals[:, 1] - intervals[:, 0] > SHORTEST
    order = np.argsort(intervals[long_enough, 0], kind="stable")
    rows, times = features[long_enough][order], intervals[long_enough][order]
    means = np.zeros((len(targets), features.shape[1]), np.float32)
    found = np.zeros(len(targets), dtype=bool)
    for k, chosen in enumerate(_overlapping(times, targets)):
        part = rows[chosen]
        if len(part):
            means[k] = part.mean(axis=0, dtype=np.float64)
            found[k] = True
    return means, found


def overlapping(times: Floats, target: Floats) -> npt.NDArray[np.bool_]:
    """``(n,)``: which of the intervals ``times`` ``(n, 2)`` overlap ``target`` ``(2,)``."""
    overlap = np.minimum(times[:, 1], target[1]) - np.maximum(times[:, 0], target[0])
    return np.asarray(overlap > SHORTEST)


def _overlapping(times: Floats, targets: Floats) -> list[slice | npt.NDArray[np.bool_]]:
    """For each target the rows of ``times`` (sorted by start) that overlap it."""
    if np.any(np.diff(times[:, 1]) < 0):  # rows within rows: no contiguous range
        return [overlapping(times, target) for target in targets]
    first = np.searchsorted(times[:, 1], targets[:, 0] + SHORTEST, side="right")
    last = np.searchsorted(times[:, 0], targets[:, 1] - SHORTEST, side="left")
    long_enough = targets[:, 1] - targets[:, 0] > SHORTEST
    last = np.where(long_enough, np.maximum(last, first), first)
    return [slice(int(a), int(b)) for a, b in zip(first, last, strict=True)]
