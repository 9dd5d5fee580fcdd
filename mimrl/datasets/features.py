"""The one in-memory form of every data set: ragged sequences, ids and labels in three splits.

A layout module (``mmsa.py``, ``multibench.py``...) reads somebody's file and returns a
:class:`Corpus`; nothing downstream knows which file it came from. Sequences carry no padding: a
sample of a modality is its own ``(T_i, d)`` array, and ``T_i = 0`` says that the sample lacks it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mimrl.datasets.rows import Piece, PieceRows
from mimrl.errors import DataError, ShapeError

TRAIN, VALID, TEST = "train", "valid", "test"
SPLITS = (TRAIN, VALID, TEST)

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


class RowStore(Protocol):
    """What :class:`Ragged` needs of its values: a shape and slicing by rows (NumPy, h5py...)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        ...

    def __getitem__(self, rows: slice, /) -> npt.NDArray[np.generic]: ...


class Ragged(Sequence[npt.NDArray[np.generic]]):
    """``N`` sequences of unequal length, stored end to end.

    Args:
        values: ``(sum of lengths, d)`` features or ``(sum of lengths,)`` token ids; any object
            with a shape and row slicing, so an open HDF5 data set stays on disk.
        offsets: ``(N + 1,)`` int64, non-decreasing, from 0 to the number of rows of ``values``;
            sequence ``i`` is ``values[offsets[i]:offsets[i + 1]]``.

    Raises:
        ShapeError: ``offsets`` does not start at 0, decreases, or does not end at the last row.
    """

    def __init__(self, values: RowStore, offsets: IntArray) -> None:
        offsets = np.asarray(offsets, dtype=np.int64)
        rows = values.shape[0]
        if offsets.ndim != 1 or len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != rows:
            raise ShapeError(
                f"offsets of a ragged array must run from 0 to its {rows} rows, got shape "
                f"{offsets.shape}, first {offsets[:1]}, last {offsets[-1:]}"
            )
        if np.any(np.diff(offsets) < 0):
            raise ShapeError("offsets of a ragged array must not decrease")
        self.values = values
        self.offsets = offsets

    @classmethod
    def from_list(cls, sequences: Sequence[npt.ArrayLike], width: int | None = None) -> Ragged:
        """Joins a list of ``(T_i, d)`` arrays (float32) or ``(T_i,)`` integer arrays (int64).

        Args:
            sequences: the arrays; all of one ``d``. Empty ones may have any shape with no rows.
            width: ``d``, needed only when every sequence is empty.

        Raises:
            ShapeError: two sequences differ in ``d`` or number of axes.
        """
        arrays = [np.asarray(s) for s in sequences]
        filled = [a for a in arrays if a.shape[0] > 0] if arrays else []
        shapes = {a.shape[1:] for a in filled}
        if len(shapes) > 1:
            raise ShapeError(f"sequences of one modality differ in width: {sorted(shapes)}")
        tail = shapes.pop() if shapes else (() if width is None else (width,))
        integers = bool(filled) and all(np.issubdtype(a.dtype, np.integer) for a in filled)
        dtype = np.int64 if integers and tail == () else np.float32
        values = (
            np.concatenate([a.astype(dtype, copy=False) for a in filled])
            if filled
            else np.zeros((0, *tail), dtype)
        )
        lengths = [a.shape[0] for a in arrays]
        return cls(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    @property
    def lengths(self) -> IntArray:
        """``(N,)`` int64: the number of steps of each sequence."""
        return np.diff(self.offsets)

    @property
    def width(self) -> int:
        """``d``, the number of features of a step (0 for token ids)."""
        return int(self.values.shape[1]) if len(self.values.shape) > 1 else 0

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        """Sequence ``index`` as an array ``(T_i, d)`` or ``(T_i,)``."""
        if not isinstance(index, (int, np.integer)):
            raise TypeError(f"a ragged array is indexed by one integer, got {index!r}")
        i = int(index) + (len(self) if index < 0 else 0)
        if not 0 <= i < len(self):
            raise IndexError(f"sequence {index} of {len(self)}")
        return np.asarray(self.values[int(self.offsets[i]) : int(self.offsets[i + 1])])

    def __iter__(self) -> Iterator[npt.NDArray[np.generic]]:
        return (self[i] for i in range(len(self)))

    def select(self, rows: npt.ArrayLike) -> Ragged:
        """The sequences ``rows`` in that order; values on disk stay on disk."""
        index = np.arange(len(self))[np.asarray(rows, dtype=np.int64)]
        starts, stops = self.offsets[index], self.offsets[index + 1]
        pieces = [Piece(self.values, int(a), int(b)) for a, b in zip(starts, stops, strict=True)]
        return Ragged._of(pieces or [Piece(self.values, 0, 0)], stops - starts)

    @classmethod
    def join(cls, raggeds: Sequence[Ragged]) -> Ragged:
        """The sequences of one or more ragged arrays, one array after the other.

        In memory when all of them are, else left on disk. Arrays without a row fit any width.

        Raises:
            ShapeError: arrays with rows differ in width.
        """
        filled = [r for r in raggeds if r.values.shape[0] > 0]
        filled = filled or [max(raggeds, key=lambda r: r.width)]
        pieces = [Piece(r.values, 0, r.values.shape[0]) for r in filled]
        return cls._of(pieces, np.concatenate([r.lengths for r in raggeds]))

    @classmethod
    def _of(cls, pieces: Sequence[Piece], lengths: IntArray) -> Ragged:
        values = PieceRows(pieces)
        in_memory = all(isinstance(piece.store, np.ndarray) for piece in pieces)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return cls(values[:] if in_memory else values, offsets)


@dataclass(frozen=True)
class Split:
    """One split of a corpus; all fields are in the same row order.

    Attributes:
        ids: ``N`` sample names, ``"video$_$clip"`` where the file tells both.
        sequences: modality -> ragged ``(T_i, d)`` float32 features. Empty = modality missing.
        labels: ``(N, C)`` float32: the file's own label columns, unchanged in scale.
        raw_text: ``N`` transcripts, where the file has them.
        token_ids: ragged int64 ids of the file's own tokenizer (MMSA's ``text_bert``: the
            bert-base-uncased vocabulary with [CLS] and [SEP]), where the file has them.
        groups: ``N`` names of what must not be torn apart in cross-fitting (video or speaker).
    """

    ids: tuple[str, ...]
    sequences: Mapping[str, Ragged]
    labels: FloatArray
    raw_text: tuple[str, ...] | None = None
    token_ids: Ragged | None = None
    groups: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sequences", MappingProxyType(dict(self.sequences)))
        n = len(self.ids)
        sizes = {f"sequences[{name}]": len(seq) for name, seq in self.sequences.items()}
        sizes["labels"] = len(self.labels)
        for name in ("raw_text", "token_ids", "groups"):
            value = getattr(self, name)
            if value is not None:
                sizes[name] = len(value)
        wrong = {name: size for name, size in sizes.items() if size != n}
        if wrong:
            raise DataError(f"a split has {n} ids but {wrong}; every field needs one row a sample")
        if self.labels.ndim != 2:
            raise ShapeError(f"labels must be (N, C), got shape {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: npt.ArrayLike) -> Split:
        """The samples ``rows`` in that order."""
        index = np.asarray(rows, dtype=np.int64)

        def pick(values: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return None if values is None else tuple(values[i] for i in index)

        return Split(
            ids=tuple(self.ids[i] for i in index),
            sequences={name: seq.select(index) for name, seq in self.sequences.items()},
            labels=self.labels[index],
            raw_text=pick(self.raw_text),
            token_ids=None if self.token_ids is None else self.token_ids.select(index),
            groups=pick(self.groups),
        )


@dataclass(frozen=True)
class Corpus:
    """A data set as read from disk, before scaling and batching.

    Attributes:
        layout: name of the layout module that read it, a key of ``datasets.LAYOUTS``.
        source: the file or folder it came from.
        splits: split name -> samples; at least one of ``train``, ``valid``, ``test``.
        label_names: the ``C`` names of the label columns.
        repairs: what was mended while reading, e.g. ``{"audio: -inf set to 0": 12}``.
    """

    layout: str
    source: str
    splits: Mapping[str, Split]
    label_names: tuple[str, ...] = ("label",)
    repairs: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "splits", MappingProxyType(dict(self.splits)))
        object.__setattr__(self, "repairs", MappingProxyType(dict(self.repairs)))
        if not self.splits:
            raise DataError(f"{self.source}: no split found; expected some of {', '.join(SPLITS)}")
        unknown = sorted(set(self.splits) - set(SPLITS))
        if unknown:
            raise DataError(f"{self.source}: unknown splits {unknown}; expected {SPLITS}")
        for name, split in self.splits.items():
            if split.labels.shape[1] != len(self.label_names):
                raise DataError(
                    f"{self.source}: split {name} has {split.labels.shape[1]} label columns, "
                    f"but {len(self.label_names)} names: {self.label_names}"
                )

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the feature sequences, in the file's order (token ids not counted)."""
        return tuple(next(iter(self.splits.values())).sequences)

    @property
    def widths(self) -> dict[str, int]:
        """Modality -> number of features of a step."""
        first = next(iter(self.splits.values()))
        return {name: seq.width for name, seq in first.sequences.items()}
