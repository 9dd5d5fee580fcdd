"""InfoNet: mutual information of pairs of columns by one pass through a trained network.

A network that reads the ranks of n samples and puts out their density ratio as a table and their
mutual information. The trained weights are in the package. Everything is in nats.
"""

from mimrl.mi.infonet.estimate import (
    compute_smi_mean,
    estimate_batch,
    estimate_mi,
    infer,
    pointwise,
)
from mimrl.mi.infonet.loading import load_model
from mimrl.mi.infonet.network import GridNetwork, NetworkConfig, Reading
from mimrl.mi.infonet.published import PublishedConfig, PublishedNetwork
from mimrl.mi.infonet.ranks import ranks, scaled_soft_ranks, soft_ranks

__all__ = [
    "GridNetwork",
    "NetworkConfig",
    "PublishedConfig",
    "PublishedNetwork",
    "Reading",
    "compute_smi_mean",
    "estimate_batch",
    "estimate_mi",
    "infer",
    "load_model",
    "pointwise",
    "ranks",
    "scaled_soft_ranks",
    "soft_ranks",
]
