"""What a training run reads: three splits of samples, their scalers, widths and classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from mimrl.datasets.features import FloatArray, IntArray, Ragged
from mimrl.datasets.scaling import Scaler
from mimrl.datasets.views import narrowed


@dataclass(frozen=True)
class Samples:
    """One split, ready for batching; all fields are in the same row order.

    Attributes:
        ids: ``N`` sample names.
        inputs: modality -> ragged ``(T_i, d)`` unscaled features, or ``(T_i,)`` token ids;
            an empty sequence says that the sample lacks the modality.
        scalers: modality -> scaler that is applied when a batch is made; none for token ids.
        labels: ``(N,)`` float32 regression target or int64 class.
        ratings: ``(N,)`` float32 label column as the file has it.
        groups: ``N`` names of what must stay together in cross-fitting, where the file has them.
        raw_text: ``N`` transcripts, where the file has them.
    """

    ids: tuple[str, ...]
    inputs: Mapping[str, Ragged]
    scalers: Mapping[str, Scaler]
    labels: FloatArray | IntArray
    ratings: FloatArray | None = None
    groups: tuple[str, ...] | None = None
    raw_text: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", MappingProxyType(dict(self.inputs)))
        object.__setattr__(self, "scalers", MappingProxyType(dict(self.scalers)))

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> tuple[Any, ...]:
        """Mapping proxies do not pickle; samples do, on their way to a worker process."""
        inputs, scalers = dict(self.inputs), dict(self.scalers)
        rest = (self.labels, self.ratings, self.groups, self.raw_text)
        return Samples, (self.ids, inputs, scalers, *rest)

    @property
    def lengths(self) -> IntArray:
        """``(N,)`` int64: steps of each sample, all modalities together."""
        return np.sum([seq.lengths for seq in self.inputs.values()], axis=0, dtype=np.int64)

    @property
    def missing(self) -> dict[str, int]:
        """Modality -> number of samples that lack it."""
        return {name: int(np.sum(seq.lengths == 0)) for name, seq in self.inputs.items()}

    def select(self, rows: npt.ArrayLike) -> Samples:
        """The samples ``rows``, in that order; sequences on disk stay there."""
        index = np.asarray(rows, dtype=np.int64)
        return Samples(
            ids=tuple(self.ids[i] for i in index),
            inputs={name: narrowed(seq, rows=index) for name, seq in self.inputs.items()},
            scalers=self.scalers,
            labels=self.labels[index],
            ratings=None if self.ratings is None else self.ratings[index],
            groups=picked(self.groups, index),
            raw_text=picked(self.raw_text, index),
        )


@dataclass(frozen=True)
class Prepared:
    """The three splits of a data set and what the model must know about them.

    Attributes:
        splits: train, valid, test -> samples.
        widths: modality -> features of a step; 0 for token ids.
        num_classes: number of classes; 1 = regression.
        class_names: ``num_classes`` names; empty for regression.
        scalers: modality -> scaler fitted on train; none for token ids.
        layout: the layout the corpus was read with.
        source: the file or folder it came from.
        notes: what was left out and how often, e.g. ``{"test: neutral samples dropped": 12}``.
    """

    splits: Mapping[str, Samples]
    widths: Mapping[str, int]
    num_classes: int
    class_names: tuple[str, ...]
    scalers: Mapping[str, Scaler]
    layout: str
    source: str
    notes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("splits", "widths", "scalers", "notes"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))


def picked(values: tuple[str, ...] | None, rows: IntArray) -> tuple[str, ...] | None:
    """The values of some rows; None where the file has none."""
    return None if values is None else tuple(values[i] for i in rows)
