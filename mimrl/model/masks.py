"""Valid steps of padded sequences: the mask, zeroing what lies outside it, means inside it."""

from __future__ import annotations

import torch
from torch import Tensor


def step_mask(lengths: Tensor, steps: int) -> Tensor:
    """Which steps are valid.

    Args:
        lengths: ``(B,)`` integers.
        steps: ``T``, the padded length.

    Returns:
        ``(B, T)`` bool, true where ``t < lengths``.

    >>> step_mask(torch.tensor([1, 3]), 3).int().tolist()
    [[1, 0, 0], [1, 1, 1]]
    """
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


def zero_padding(sequence: Tensor, lengths: Tensor) -> Tensor:
    """``sequence`` ``(B, T, d)`` with exact zeros at padded steps, whatever stood there."""
    mask = step_mask(lengths, sequence.shape[1])
    return sequence.masked_fill(~mask[..., None], 0.0)


def masked_mean(sequence: Tensor, lengths: Tensor) -> Tensor:
    """Mean over valid steps.

    Args:
        sequence: ``(B, T, d)``.
        lengths: ``(B,)`` valid steps, at least 1.

    Returns:
        ``(B, d)``.
    """
    valid = lengths.clamp(min=1, max=sequence.shape[1])
    return zero_padding(sequence, lengths).sum(1) / valid[:, None].to(sequence.dtype)
