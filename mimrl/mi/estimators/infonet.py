"""InfoNet as an estimator: one pass of a trained network, nothing is fitted.

The network reads one column of x and one of y. More columns are read along random directions, which
is sliced mutual information and says so.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from mimrl.errors import BiasWarning, EstimationWarning
from mimrl.mi.estimators.interface import Device, EstimateResult, Estimator
from mimrl.mi.estimators.samples import Pair
from mimrl.mi.infonet import GridNetwork, PublishedNetwork, estimate_batch, load_model, pointwise


class InfoNet(Estimator):
    """I(X; Y) of two columns by a trained network; of more, the mean over random directions.

    Hu et al. (2024), with the network of :mod:`mimrl.mi.infonet.network`. It sees ranks only, so
    increasing maps of a column change nothing.

    Note:
        With more than one column on a side this is *sliced* mutual information (Goldfeld,
        Greenewald 2021), which is at most I(X; Y) and falls towards 0 as columns are added; a
        :class:`~mimrl.errors.BiasWarning` says so. Its standard error is that of the mean over
        directions.
    """

    smallest: ClassVar[int] = 100

    weights: str | None = Field(
        None, description="file of weights, also in the published layout; the shipped ones if none"
    )
    projections: int = Field(
        256, ge=2, description="pairs of random directions, for more than one column"
    )
    seed: int = Field(0, ge=0, description="of the directions")
    device: Device = Field("cpu", description="PyTorch device of the network")

    def fewest(self, *widths: int) -> int:
        """The network was not trained on fewer samples, whatever the number of columns."""
        return max(150, super().fewest(*widths))

    def read(self, pair: Pair) -> EstimateResult:
        """One pass for the pair, or one for each pair of directions."""
        with warnings.catch_warnings():
            # ties and few samples are told by the base class
            warnings.simplefilter("ignore", EstimationWarning)
            return self._read(pair)

    def _read(self, pair: Pair) -> EstimateResult:
        network = _network(self.weights, self.device)
        if pair.x.shape[1] == pair.y.shape[1] == 1:
            return _columns(network, pair)
        x, y = directions(pair, self.projections, self.seed)
        values = estimate_batch(network, x, y)
        return EstimateResult(
            mi_estimate=float(values.mean()),
            standard_error=float(values.std(ddof=1) / np.sqrt(len(values))),
            warnings=[
                BiasWarning(
                    f"InfoNet reads columns; for {pair.x.shape[1]} + {pair.y.shape[1]} dimensions "
                    "this is sliced mutual information, the mean over random directions, which "
                    "lies below I(X; Y) and falls as dimensions are added"
                )
            ],
            additional_information={"quantity": "sliced mutual information"},
        )


def _columns(network: GridNetwork | PublishedNetwork, pair: Pair) -> EstimateResult:
    x, y = pair.x[:, 0], pair.y[:, 0]
    if isinstance(network, GridNetwork):
        return EstimateResult.of_pointwise(pointwise(network, x, y))
    return EstimateResult(float(estimate_batch(network, x[None], y[None])[0]))


def directions(pair: Pair, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``(count, N)`` values of x and of y along unit vectors, drawn uniformly and independently."""
    rng = np.random.default_rng(seed)
    along = []
    for values in (pair.x, pair.y):
        vectors = rng.normal(size=(values.shape[1], count))
        along.append(torch.from_numpy((values @ (vectors / np.linalg.norm(vectors, axis=0))).T))
    return along[0], along[1]


@lru_cache(maxsize=4)
def _network(weights: str | None, device: str) -> GridNetwork | PublishedNetwork:
    """Read once a process."""
    return load_model(weights, device)
