"""What every fusion is: sequences of all modalities in, one vector a sample out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class Fusion(nn.Module, ABC):
    """Joins the encoded sequences of all modalities into one vector a sample.

    A subclass takes ``(settings, count, width)``: its own group of settings, the number of
    modalities and the common width ``D``. See ``docs/adding-a-fusion.md``.

    Attributes:
        width: ``D_f``, the width of what :meth:`forward` gives.
    """

    width: int

    @abstractmethod
    def forward(self, sequences: Sequence[Tensor], lengths: Sequence[Tensor]) -> Tensor:
        """Fuses a batch.

        Args:
            sequences: for each modality ``(B, T_m, D)``, zero at padded steps. ``T_m`` differs
                between modalities and between batches; the result must not depend on padding.
            lengths: for each modality ``(B,)`` int64, valid steps, from 1 to ``T_m``.

        Returns:
            ``(B, D_f)``.
        """
