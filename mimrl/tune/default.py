"""The search space that is used where none is given: literal, and only what has an effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mimrl.settings import Settings

ALWAYS: Mapping[str, Any] = {
    "training.optimizer.rate": {"low": 3e-4, "high": 1e-2, "log": True},
    "training.optimizer.weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
    "training.batch_size": [32, 64, 128],
    "training.schedule.kind": ["constant", "multi_step", "cosine"],
    "model.encoders.*.dropout": {"low": 0.0, "high": 0.5, "step": 0.05},
}
"""For every model; with a batch of 32 InfoNCE says at most log 32 = 3.5 nats."""

TEXT: Mapping[str, Any] = {"training.text_rate": {"low": 1e-3, "high": 0.1, "log": True}}
"""Where a text transformer learns: published are 4e-3 * 0.01 here, 2e-5 to 5e-5 for BERT."""

STEERED: Mapping[str, Any] = {
    "training.warmup_epochs": [0, 1, 2, 4],
    "critics.rate": {"low": 0.1, "high": 3.0, "log": True},
    "steering.default": {"low": 1e-3, "high": 0.1, "log": True},
}
"""Where any quantity steers the model."""

FUSION: Mapping[str, Mapping[str, Any]] = {
    "cubemlp": {
        "model.fusion.ln_first": [False, True],
        "model.fusion.residual_start": ["random", "pooling"],
        "model.fusion.dropout": [[0.0, 0.0, 0.0], [0.1, 0.1, 0.1], [0.3, 0.3, 0.3]],
    },
    "tfn": {
        "model.fusion.factor_width": [8, 16, 32],
        "model.fusion.dropout": {"low": 0.0, "high": 0.5, "step": 0.05},
    },
    "lmf": {
        "model.fusion.rank": {"low": 2, "high": 16, "log": True},
        "model.fusion.dropout": {"low": 0.0, "high": 0.5, "step": 0.05},
    },
    "concat": {"model.fusion.dropout": {"low": 0.0, "high": 0.5, "step": 0.05}},
    "crossmodal": {
        "model.fusion.layers": {"low": 1, "high": 4},
        "model.fusion.dropout": {"low": 0.0, "high": 0.5, "step": 0.05},
    },
}
"""By the fusion of the settings; another fusion is another experiment, not another setting."""


def default_space(settings: Settings) -> dict[str, Any]:
    """Keys and their ranges for these settings, in the form of a search file.

    >>> from mimrl.settings import load
    >>> "training.text_rate" in default_space(load())  # planted data have no text transformer
    False
    """
    encoders = settings.model.encoders.values()
    learns = any(one.kind == "transformer" and one.train != "none" for one in encoders)
    steered = settings.steered and settings.training.stage1_passes > 0
    return {
        **ALWAYS,
        **(TEXT if learns else {}),
        **(STEERED if steered else {}),
        **FUSION[settings.model.fusion.kind],
    }
