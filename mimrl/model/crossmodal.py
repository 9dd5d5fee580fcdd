"""Cross-modal transformer: every modality attends to every other one over time.

Source: Tsai, Bai, Liang, Kolter, Morency, Salakhutdinov, "Multimodal Transformer for Unaligned
Multimodal Language Sequences", ACL 2019.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor, nn

from mimrl.errors import ConfigError
from mimrl.model.base import Fusion
from mimrl.model.masks import masked_mean, step_mask, zero_padding
from mimrl.settings.model import CrossModalSettings

FEEDFORWARD_FACTOR = 4


def sinusoids(steps: int, width: int, like: Tensor) -> Tensor:
    """Position codes ``(steps, width)`` (Vaswani et al., NeurIPS 2017, section 3.5)."""
    position = torch.arange(steps, device=like.device, dtype=like.dtype)[:, None]
    channel = torch.arange(width, device=like.device)
    rate = torch.exp(-math.log(10000.0) * (channel // 2 * 2).to(like.dtype) / width)
    angle = position * rate
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos())


class AttentionLayer(nn.Module):
    """Pre-norm attention of one sequence to another (or itself), then a pre-norm MLP."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.feedforward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, FEEDFORWARD_FACTOR * width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(FEEDFORWARD_FACTOR * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, target: Tensor, source: Tensor, source_mask: Tensor) -> Tensor:
        """``target`` ``(B, T, W)`` after looking at ``source`` ``(B, S, W)`` where mask is true."""
        keys = self.norm(source)
        seen, _ = self.attention(
            self.norm(target), keys, keys, key_padding_mask=~source_mask, need_weights=False
        )
        target = target + self.dropout(seen)
        return target + self.feedforward(target)


class CrossModalTransformer(Fusion):
    """Attention for each ordered pair of modalities, then within each target, then means.

    For ``M`` modalities: ``layers`` layers for each ordered pair, in which the target looks at
    the source's input sequence; what a target learnt from all its sources, side by side, passes
    ``layers`` layers of self-attention; the means over its valid steps of all targets, side by
    side, pass ``Linear, ReLU, Dropout``.

    Raises:
        ConfigError: ``heads`` does not divide ``width``.

    Note:
        The paper takes the last step of each target; we take the mean over valid steps, which
        does not depend on where a sequence was cut.
    """

    def __init__(self, settings: CrossModalSettings, count: int, width: int) -> None:
        if count < 2:
            raise ConfigError(
                "model.fusion crossmodal needs two or more modalities to attend to each other, "
                f"got {count}; use concat or cubemlp for one"
            )
        super().__init__()
        heads, dropout = settings.heads, settings.dropout
        if width % heads:
            raise ConfigError(f"model.fusion.heads {heads} does not divide model.width {width}")
        self.width = settings.width
        self.pairs = tuple(permutations(range(count), 2))
        memory = (count - 1) * width
        self.cross = nn.ModuleList(
            nn.ModuleList(AttentionLayer(width, heads, dropout) for _ in range(settings.layers))
            for _ in self.pairs
        )
        self.within = nn.ModuleList(
            nn.ModuleList(AttentionLayer(memory, heads, dropout) for _ in range(settings.layers))
            for _ in range(count)
        )
        self.hidden = nn.Linear(count * memory, settings.width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, sequences: Sequence[Tensor], lengths: Sequence[Tensor]) -> Tensor:
        """See :meth:`Fusion.forward`."""
        masks = [
            step_mask(n, s.shape[1], s.device) for s, n in zip(sequences, lengths, strict=True)
        ]
        placed = [self._placed(s, n) for s, n in zip(sequences, lengths, strict=True)]
        learnt: list[list[Tensor]] = [[] for _ in sequences]
        for (target, source), layers in zip(self.pairs, self.cross, strict=True):
            x = placed[target]
            for layer in layers:  # type: ignore[attr-defined]
                x = layer(x, placed[source], masks[source])
            learnt[target].append(x)
        means = []
        for parts, layers, mask, n in zip(learnt, self.within, masks, lengths, strict=True):
            x = torch.cat(parts, dim=-1)
            for layer in layers:  # type: ignore[attr-defined]
                x = layer(x, x, mask)
            means.append(masked_mean(x, n))
        return self.dropout(self.hidden(torch.cat(means, dim=1)).relu())

    def _placed(self, sequence: Tensor, lengths: Tensor) -> Tensor:
        """The sequence scaled as in the paper's code of embeddings, with position codes added."""
        _, steps, width = sequence.shape
        codes = sinusoids(steps, width, sequence)
        return self.dropout(zero_padding(sequence * math.sqrt(width) + codes, lengths))
