"""KNIFE: differential entropies by learned mixtures of kernels (Pichler et al., ICML 2022)."""

from __future__ import annotations

import torch
from pydantic import Field
from sklearn.cluster import KMeans
from torch import Tensor

from mimrl.mi.densities import Density, KernelMixture
from mimrl.mi.estimators.entropies import EntropyDifference

SHRINKAGE = 0.3
"""Of the centres that the kernels start at: the mixture is then close to one Gaussian, and fits
Gaussian data as well as that; kernels at the full centres do not in many dimensions."""

LARGEST_START = 4096
"""Rows that centres are sought in."""


class Knife(EntropyDifference):
    """h(Y) - h(Y | X) by mixtures of Gaussian kernels.

    Kernels of the conditional mixture are moved, scaled and weighed by a network of x.

    Note:
        The paper starts both mixtures from noise in the data's own units and reads the training
        rows. Here the data are whitened, the linear prediction is taken out in closed form, the
        kernels start around shrunken k-means centres, and other rows are read.
    """

    kernels: int = Field(8, ge=1, description="kernels of each mixture")

    def density(self, v: Tensor, seed: int) -> Density:
        """Kernels around the centres of v."""
        return KernelMixture(self._centres(v, seed), hidden=self.hidden)

    def _centres(self, v: Tensor, seed: int) -> Tensor:
        rows = v[:LARGEST_START].double().cpu().numpy()
        count = min(self.kernels, len(rows))
        found = KMeans(count, n_init=1, random_state=seed).fit(rows).cluster_centers_
        return SHRINKAGE * torch.from_numpy(found).to(v)
