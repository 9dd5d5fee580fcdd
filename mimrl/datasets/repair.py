"""Non-finite features become 0 and are counted; one warning a corpus says so.

COVAREP writes -inf for unvoiced frames and NaN for failed ones; CMU-MOSI and CMU-MOSEI carry both.
The published loaders use ``numpy.nan_to_num``, which turns -inf into the most negative float32
(-3.4e38) unless told otherwise, or mend only one of the three kinds; here NaN, +inf and -inf all
become 0, for every modality.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mimrl.datasets.features import Corpus, Ragged, RowStore
from mimrl.datasets.rows import row_blocks
from mimrl.errors import DataWarning

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True)
class NonFinite:
    """How many values are not numbers, by kind."""

    nan: int = 0
    positive: int = 0
    negative: int = 0

    def __add__(self, other: NonFinite) -> NonFinite:
        return NonFinite(
            self.nan + other.nan, self.positive + other.positive, self.negative + other.negative
        )

    def __bool__(self) -> bool:
        return bool(self.nan or self.positive or self.negative)

    def by_kind(self) -> dict[str, int]:
        """``NaN``, ``+inf``, ``-inf`` -> count."""
        return {"NaN": self.nan, "+inf": self.positive, "-inf": self.negative}


class CleanRows:
    """A row store whose non-finite values read as 0; the store itself is left as it is."""

    def __init__(self, values: RowStore) -> None:
        self.values = values

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        return tuple(self.values.shape)

    def __getitem__(self, rows: slice, /) -> npt.NDArray[np.generic]:
        """The rows of a slice, finite."""
        return zeroed(np.asarray(self.values[rows]))


def count(values: npt.NDArray[np.generic]) -> NonFinite:
    """Counts NaN, +inf and -inf of an array; none in arrays that are not of floats.

    >>> count(np.array([0.0, np.nan, -np.inf, -np.inf]))
    NonFinite(nan=1, positive=0, negative=2)
    """
    if not np.issubdtype(values.dtype, np.floating):
        return NonFinite()
    finite = np.isfinite(values)
    if finite.all():
        return NonFinite()
    odd = values[~finite]
    nan = int(np.isnan(odd).sum())
    positive = int(np.isposinf(odd).sum())
    return NonFinite(nan, positive, len(odd) - nan - positive)


def count_rows(values: RowStore) -> NonFinite:
    """:func:`count` over a store of any size, block by block; free when the store is known clean.

    A store tells that it is clean by an attribute ``clean`` that is true, as our own HDF5 files
    do: they were repaired when they were written.
    """
    total = NonFinite()
    if getattr(values, "clean", False):
        return total
    for _, block in row_blocks(values):
        total += count(block)
    return total


def zeroed(values: npt.NDArray[Value]) -> npt.NDArray[Value]:
    """The array with 0 for every NaN, +inf and -inf; the same object when there is none."""
    if not np.issubdtype(values.dtype, np.floating):
        return values
    finite = np.isfinite(values)
    return values if finite.all() else np.where(finite, values, np.zeros((), values.dtype))


def clean(
    values: npt.NDArray[Value], modality: str, repairs: MutableMapping[str, int]
) -> npt.NDArray[Value]:
    """:func:`zeroed`, with the counts added to ``repairs``.

    Args:
        values: any shape.
        modality: named in the keys, e.g. ``"audio: -inf set to 0"``.
        repairs: key -> count; added to in place.

    Returns:
        An array of the same shape and dtype without NaN and infinities.
    """
    record(repairs, modality, count(values))
    return zeroed(values)


def record(repairs: MutableMapping[str, int], modality: str, found: NonFinite) -> None:
    """Adds the counts of ``found`` to ``repairs``; kinds with none are left out."""
    for kind, number in found.by_kind().items():
        if number:
            key = f"{modality}: {kind} set to 0"
            repairs[key] = repairs.get(key, 0) + number


def repair(corpus: Corpus) -> Corpus:
    """The corpus with finite features, its ``repairs`` extended by what was set to 0.

    Values in memory are replaced where needed, values on disk are mended as they are read (and
    counted here once, in blocks, unless the file is known to be clean). No warning is given:
    :func:`warn` does that once, when everything about a corpus is known.
    """
    repairs = dict(corpus.repairs)
    splits = {}
    for name, split in corpus.splits.items():
        sequences = {
            modality: _repair_ragged(ragged, modality, repairs)
            for modality, ragged in split.sequences.items()
        }
        splits[name] = replace(split, sequences=sequences)
    return replace(corpus, splits=splits, repairs=repairs)


def _repair_ragged(ragged: Ragged, modality: str, repairs: MutableMapping[str, int]) -> Ragged:
    found = count_rows(ragged.values)
    if not found:
        return ragged
    record(repairs, modality, found)
    if isinstance(ragged.values, np.ndarray):
        return Ragged(zeroed(ragged.values), ragged.offsets)
    return Ragged(CleanRows(ragged.values), ragged.offsets)


def warn(source: str, repairs: Mapping[str, int]) -> None:
    """One :class:`~mimrl.errors.DataWarning` listing all ``repairs``; none when there are none."""
    if repairs:
        listed = "; ".join(f"{what} ({number})" for what, number in repairs.items())
        warnings.warn(f"{source}: {listed}", DataWarning, stacklevel=3)
