"""LSMI: redundancy, uniqueness and synergy of two modalities, sample by sample.

``decompose`` takes plain arrays, ``analyse`` named features in splits, ``run_lsmi_estimation`` any
torch model with its data loaders; ``evaluate_lsmi.py`` starts from a checkpoint.
"""

from lsmi.adapters import BatchFeatures
from lsmi.arrays import Decomposition, Diagnostics, decompose
from lsmi.decomposition import (
    Atoms,
    PointwiseDecomposition,
    PointwiseInformation,
    Totals,
    decompose_pointwise,
    feasible_shift,
    pointwise_information,
    published_shift,
)
from lsmi.estimation import run_lsmi_estimation
from lsmi.pipeline import analyse
from lsmi.results import Analysis, PairReading, Quantity, SplitReading
from lsmi.samples import NamedFeatures
from lsmi.settings import AnalysisSettings

__all__ = [
    "Analysis",
    "AnalysisSettings",
    "Atoms",
    "BatchFeatures",
    "Decomposition",
    "Diagnostics",
    "NamedFeatures",
    "PairReading",
    "PointwiseDecomposition",
    "PointwiseInformation",
    "Quantity",
    "SplitReading",
    "Totals",
    "analyse",
    "decompose",
    "decompose_pointwise",
    "feasible_shift",
    "pointwise_information",
    "published_shift",
    "run_lsmi_estimation",
]
