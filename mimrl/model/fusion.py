"""Which fusion goes by which name. A new one is its own module and one row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mimrl.errors import ConfigError
from mimrl.model.base import Fusion
from mimrl.model.crossmodal import CrossModalTransformer
from mimrl.model.cubemlp import CubeMlp
from mimrl.model.pooled import ConcatFusion, LowRankFusion, TensorFusion
from mimrl.settings.model import FusionSettings

FUSIONS: Mapping[str, Callable[[Any, int, int], Fusion]] = {
    "cubemlp": CubeMlp,
    "tfn": TensorFusion,
    "lmf": LowRankFusion,
    "concat": ConcatFusion,
    "crossmodal": CrossModalTransformer,
}


def build_fusion(settings: FusionSettings, count: int, width: int) -> Fusion:
    """The fusion that ``settings.kind`` names.

    Args:
        settings: one of the fusion groups of ``mimrl.settings.model``.
        count: number of modalities; 1 is a unimodal baseline, which the cross-modal transformer
            refuses.
        width: common width ``D`` of the encoded sequences.

    Raises:
        ConfigError: no modality, or a number or sizes that this fusion cannot have.
    """
    if count < 1:
        raise ConfigError(f"a fusion needs at least one modality, got {count}")
    return FUSIONS[settings.kind](settings, count, width)
