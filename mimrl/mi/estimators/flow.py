"""Mutual information by normalizing flows: the densities of y, and of y given x."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from mimrl.mi.densities import Density, SplineFlow
from mimrl.mi.estimators.entropies import EntropyDifference


class Flow(EntropyDifference):
    """h(Y) - h(Y | X) by autoregressive rational-quadratic spline flows.

    The splines are those of Durkan et al. (NeurIPS 2019). Where Butakov et al. (2024) take x and y
    to a pair of Gaussians, which reads the Gaussian part of a copula only, the second flow here is
    conditional: it starts at that reading and learns what is not Gaussian.
    """

    transforms: int = Field(2, ge=1, description="autoregressive layers of each flow")
    bins: int = Field(8, ge=2, le=64, description="bins of a spline")

    def density(self, v: Tensor, seed: int) -> Density:
        """A flow that starts at the standard normal."""
        return SplineFlow(
            v.shape[1], transforms=self.transforms, hidden=self.hidden, bins=self.bins
        )
