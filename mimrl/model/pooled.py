"""Fusions of the modalities' means over time: tensor (TFN), low-rank (LMF), concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from mimrl.errors import ConfigError
from mimrl.model.base import Fusion
from mimrl.model.masks import masked_mean
from mimrl.settings.model import ConcatFusionSettings, LowRankFusionSettings, TensorFusionSettings

# 2^25 weights are 128 MiB in float32, and three times that again with Adam's state and gradient.
MAX_WEIGHTS = 2**25


def _means(sequences: Sequence[Tensor], lengths: Sequence[Tensor]) -> list[Tensor]:
    return [masked_mean(s, n) for s, n in zip(sequences, lengths, strict=True)]


def _with_one(x: Tensor) -> Tensor:
    """``(B, d)`` to ``(B, d + 1)``: the constant keeps lower-order products in the outer one."""
    return torch.cat([x.new_ones(x.shape[0], 1), x], dim=1)


class ConcatFusion(Fusion):
    """Means of all modalities side by side, then ``Linear, ReLU, Dropout``."""

    def __init__(self, settings: ConcatFusionSettings, count: int, width: int) -> None:
        super().__init__()
        self.width = settings.width
        self.hidden = nn.Linear(count * width, settings.width)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, sequences: Sequence[Tensor], lengths: Sequence[Tensor]) -> Tensor:
        """See :meth:`Fusion.forward`."""
        joined = torch.cat(_means(sequences, lengths), dim=1)
        return self.dropout(self.hidden(joined).relu())


class TensorFusion(Fusion):
    """Outer product of ``[1, factor]`` over all modalities, then ``Linear, ReLU, Dropout``.

    Source: Zadeh, Chen, Poria, Cambria, Morency, "Tensor Fusion Network for Multimodal Sentiment
    Analysis", EMNLP 2017. Each mean goes through ``Linear, ReLU`` to ``factor_width`` first.

    Raises:
        ConfigError: ``(factor_width + 1) ** count * width`` weights are more than
            ``MAX_WEIGHTS``.
    """

    def __init__(self, settings: TensorFusionSettings, count: int, width: int) -> None:
        super().__init__()
        cells = (settings.factor_width + 1) ** count
        if cells * settings.width > MAX_WEIGHTS:
            raise ConfigError(
                f"model.fusion tfn: factor_width {settings.factor_width} with {count} modalities "
                f"needs {cells} x {settings.width} weights, more than {MAX_WEIGHTS}; lower "
                "factor_width or width, or use lmf"
            )
        self.width = settings.width
        self.factors = nn.ModuleList(nn.Linear(width, settings.factor_width) for _ in range(count))
        self.hidden = nn.Linear(cells, settings.width)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, sequences: Sequence[Tensor], lengths: Sequence[Tensor]) -> Tensor:
        """See :meth:`Fusion.forward`."""
        means = _means(sequences, lengths)
        factors = [_with_one(f(x).relu()) for f, x in zip(self.factors, means, strict=True)]
        product = reduce(lambda a, b: torch.einsum("bi,bj->bij", a, b).flatten(1), factors)
        return self.dropout(self.hidden(product).relu())


class LowRankFusion(Fusion):
    """The tensor fusion's linear map with a weight tensor of low rank.

    Source: Liu, Shen, Lakshminarasimhan, Liang, Zadeh, Morency, "Efficient Low-rank Multimodal
    Fusion with Modality-Specific Factors", ACL 2018: the sum over ranks of the product over
    modalities of ``[1, mean] @ W``.
    """

    def __init__(self, settings: LowRankFusionSettings, count: int, width: int) -> None:
        super().__init__()
        self.width = settings.width
        self.factors = nn.ParameterList(
            torch.empty(settings.rank, width + 1, settings.width) for _ in range(count)
        )
        for factor in self.factors:
            nn.init.normal_(factor, std=(2 / (width + 1 + settings.width)) ** 0.5)
        self.rank_weights = nn.Parameter(torch.full((settings.rank,), settings.rank**-0.5))
        self.bias = nn.Parameter(torch.zeros(settings.width))
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, sequences: Sequence[Tensor], lengths: Sequence[Tensor]) -> Tensor:
        """See :meth:`Fusion.forward`."""
        means = _means(sequences, lengths)
        projected = [
            torch.einsum("bi,rio->rbo", _with_one(x), factor)
            for x, factor in zip(means, self.factors, strict=True)
        ]
        product = reduce(torch.mul, projected)
        return self.dropout(torch.einsum("r,rbo->bo", self.rank_weights, product) + self.bias)
