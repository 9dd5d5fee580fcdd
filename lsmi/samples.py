"""The data of an analysis: named features with labels, by split, checked and joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NamedFeatures:
    """One split.

    Attributes:
        features: name -> ``(N, D)``; the names are those of the pairs (``text``, ``fused``, ...).
        labels: ``(N,)`` class of each sample: any integers.
        ids: ``N`` names; row numbers when None.
        groups: ``N`` names of what must not be torn apart in cross-fitting (video, speaker), or
            None; all splits have them or none has.
        texts: ``N`` transcripts for the report, or None.
        ratings: ``(N,)`` the label before it was cut into classes, or None; decompositions for
            continuous labels read it.
        predictions: ``(N,)`` what the model said, for the report, or None.
    """

    features: Mapping[str, npt.NDArray[np.floating]]
    labels: npt.NDArray[np.integer]
    ids: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    texts: Sequence[str] | None = field(default=None, repr=False)
    ratings: npt.NDArray[np.floating] | None = None
    predictions: npt.NDArray[np.floating] | None = None

    def __len__(self) -> int:
        return len(self.labels)
