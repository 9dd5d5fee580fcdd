"""Linear layers that leave padded steps out.

A batch of texts is padded to its longest one; in batches of 16 of CMU-MOSI a sixth of all steps is
padding. Nearly all of a transformer's time on a CPU goes into its linear layers, which treat every
step alone: on valid steps only, their results are the same and the padding costs nothing. Attention
sees whole sequences, as ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

WORTH = 0.97  # more valid steps than that: leaving the others out costs what it saves


class ValidRows:
    """Which steps of a batch are valid, as all :class:`ValidLinear` of a network see it.

    Attributes:
        shape: ``(B, T)`` of the batch; None: the layers compute all steps.
        rows: int64 numbers of the valid steps in a batch of ``B * T`` steps.
    """

    def __init__(self) -> None:
        self.shape: tuple[int, int] | None = None
        self.rows = torch.empty(0, dtype=torch.int64)

    @contextmanager
    def only(self, valid: Tensor) -> Iterator[None]:
        """Inside, linear layers compute valid steps only, where that is worth it.

        Args:
            valid: ``(B, T)`` bool.
        """
        rows = valid.flatten().nonzero().squeeze(1)
        if len(rows) <= WORTH * valid.numel():
            self.shape, self.rows = (valid.shape[0], valid.shape[1]), rows
        try:
            yield
        finally:
            self.shape = None


class ValidLinear(nn.Linear):
    """A linear layer whose output is zero at padded steps, where it computes nothing.

    Args:
        linear: its parameters are shared, and keep their names.
        valid: which steps are valid.
    """

    def __init__(self, linear: nn.Linear, valid: ValidRows) -> None:
        nn.Module.__init__(self)  # that of a linear layer draws weights
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self._valid = valid

    def forward(self, input: Tensor) -> Tensor:
        """``(B, T, d_in)`` to ``(B, T, d_out)``; any other shape as every linear layer does."""
        if input.ndim != 3 or input.shape[:2] != self._valid.shape:
            return super().forward(input)
        steps, rows = input.shape[0] * input.shape[1], self._valid.rows
        found = super().forward(input.flatten(0, 1).index_select(0, rows))
        padded = found.new_zeros(steps, self.out_features).index_copy(0, rows, found)
        return padded.view(*input.shape[:2], self.out_features)


def leave_padding_out(network: nn.Module) -> ValidRows:
    """Makes all linear layers of ``network``, in place, :class:`ValidLinear`.

    Returns:
        With which a caller says what is valid; until then all steps are computed.
    """
    valid = ValidRows()
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, ValidLinear(child, valid))
    return valid
