"""Settings of runs that take seconds, shared by the tests of the training."""

from __future__ import annotations

from pathlib import Path

from mimrl.settings import Settings, load

SMALL = (
    "data.target=class",
    "training.loss=ce",
    "data.planted.interaction=redundant",
    "data.planted.train_size=96",
    "data.planted.valid_size=32",
    "data.planted.test_size=32",
    "model.width=16",
    "model.fusion.time_len=6",
    "model.fusion.sizes=[[4,3,16]]",
    "model.encoders.text.kind=conv",
    "model.encoders.audio.kind=conv",
    "model.encoders.video.kind=conv",
    "critics.hidden=16",
    "critics.layers=1",
    "critics.embedding=8",
    "critics.conditional.hidden=16",
    "training.epochs=3",
    "training.batch_size=32",
    "training.controls=1",
    "training.optimizer.rate=0.003",
)


def small_settings(folder: Path, *overrides: str) -> Settings:
    """A small planted run under ``folder``; later overrides win."""
    return load(None, (*SMALL, f"output={folder}", "device=cpu", *overrides))
