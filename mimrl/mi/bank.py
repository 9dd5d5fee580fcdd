"""A bank: the samples of a split that joint and product samples are taken from."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Bank:
    """Named variables of the samples of a split, without gradients.

    Args:
        variables: name -> ``(N, d)`` float, the same rows.
        dtype: how they are kept; what is taken from the bank is float32.
    """

    def __init__(
        self, variables: Mapping[str, Tensor], *, dtype: torch.dtype = torch.float32
    ) -> None:
        self.variables = {name: value.detach().to(dtype) for name, value in variables.items()}
        self.count = len(next(iter(variables.values())))

    def __len__(self) -> int:
        return self.count

    def rows(self, chosen: Tensor) -> dict[str, Tensor]:
        """Every variable of the samples ``chosen``, ``(B, d)`` float32.

        Args:
            chosen: ``(B,)`` int64 on the bank's device.
        """
        return {name: value[chosen].float() for name, value in self.variables.items()}
