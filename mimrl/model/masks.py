"""Valid steps of padded sequences: the mask, zeroing what lies outside it, means inside it.

Lengths may stay on the host while sequences are on a GPU: packed sequences need them there, and
fetching them from the GPU would wait for all that it still has to do. Sent the other way they wait
for nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor


def step_mask(lengths: Tensor, steps: int, device: torch.device | None = None) -> Tensor:
    """Which steps are valid.

    Args:
        lengths: ``(B,)`` integers.
        steps: ``T``, the padded length.
        device: where the mask is wanted; None: where the lengths are.

    Returns:
        ``(B, T)`` bool, true where ``t < lengths``.

    >>> step_mask(torch.tensor([1, 3]), 3).int().tolist()
    [[1, 0, 0], [1, 1, 1]]
    """
    here = lengths.to(device or lengths.device, non_blocking=True)
    return torch.arange(steps, device=here.device) < here[:, None]


def zero_padding(sequence: Tensor, lengths: Tensor) -> Tensor:
    """``sequence`` ``(B, T, d)`` with exact zeros at padded steps, whatever stood there."""
    mask = step_mask(lengths, sequence.shape[1], sequence.device)
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
    steps = valid.to(sequence.device, sequence.dtype, non_blocking=True)
    return zero_padding(sequence, lengths).sum(1) / steps[:, None]
