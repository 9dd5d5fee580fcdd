"""What the network gives for a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """What the encoders gave for a batch.

    Attributes:
        sequences: modality -> ``(B, T_m, D)``.
        lengths: modality -> ``(B,)`` valid steps, at least 1.
    """

    sequences: Mapping[str, Tensor]
    lengths: Mapping[str, Tensor]


@dataclass(frozen=True)
class Output:
    """Prediction and features of one batch.

    Attributes:
        prediction: ``(B, C)``; ``C = 1`` for regression, else one logit a class.
        fused: ``(B, D_f)`` features after fusion, the head's input.
        unimodal: modality -> ``(B, D)``, the mean of its encoder's valid steps.
    """

    prediction: Tensor
    fused: Tensor
    unimodal: Mapping[str, Tensor]
