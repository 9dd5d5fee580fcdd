"""LSMI: redundancy, uniqueness and synergy of two modalities, sample by sample."""

from lsmi.decomposition import (
    Atoms,
    PointwiseDecomposition,
    PointwiseInformation,
    Totals,
    decompose_pointwise,
    pointwise_information,
    published_shift,
)
from lsmi.pairs import PairFeatures
from lsmi.pipeline import Analysis, SplitReading, analyse
from lsmi.settings import AnalysisSettings

__all__ = [
    "Analysis",
    "AnalysisSettings",
    "Atoms",
    "PointwiseDecomposition",
    "PairFeatures",
    "PointwiseInformation",
    "SplitReading",
    "Totals",
    "analyse",
    "decompose_pointwise",
    "pointwise_information",
    "published_shift",
]
