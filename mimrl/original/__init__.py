"""Reads what the original MIMRL code (Sun et al., IEEE TAFFC 2025) writes.

Its checkpoints (``best_valid_model.pth.tar``), the critics in them, and the features it saves.
What a checkpoint does not tell comes from :class:`OriginalOptions`; what is assumed and what
differs stands in ``docs/original-checkpoints.md``.
"""

from mimrl.original.checkpoint import OriginalCheckpoint, load_original
from mimrl.original.critics import OriginalCritics, original_critics
from mimrl.original.features import OriginalFeatures, original_features, settings_for
from mimrl.original.network import OriginalMimrl
from mimrl.original.options import OriginalOptions, load_options
from mimrl.original.reading import is_original
from mimrl.original.saved import SavedFeatures, is_feature_pickle, original_feature_pickles

__all__ = [
    "OriginalCheckpoint",
    "OriginalCritics",
    "OriginalFeatures",
    "OriginalMimrl",
    "OriginalOptions",
    "SavedFeatures",
    "is_feature_pickle",
    "is_original",
    "load_options",
    "load_original",
    "original_critics",
    "original_feature_pickles",
    "original_features",
    "settings_for",
]
