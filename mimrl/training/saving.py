"""What a training writes so that it can go on, and how it goes on from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mimrl.datasets.prepare import Prepared
from mimrl.model.model import MIMRL
from mimrl.settings import Settings
from mimrl.training import checkpoint
from mimrl.training.critics import Critics
from mimrl.training.optimisation import Learner


def save_model(
    path: Path,
    settings: Settings,
    data: Prepared,
    model: MIMRL,
    critics: Critics | None,
    epoch: int,
) -> None:
    """Writes a model of the run, in a form that needs no other file."""
    checkpoint.save_model(
        path,
        settings=settings,
        model=model,
        critics=critics,
        scalers=data.scalers,
        widths=data.widths,
        class_names=data.class_names,
        num_classes=data.num_classes,
        epoch=epoch,
    )


def save_state(
    path: Path,
    model: MIMRL,
    critics: Critics | None,
    learners: Mapping[str, Learner],
    header: Mapping[str, Any],
) -> None:
    """Writes all that :func:`load_state` needs, and what else ``header`` holds."""
    tensors = checkpoint.prefixed("model", model.state_dict())
    if critics is not None:
        tensors |= checkpoint.prefixed("critics", critics.state_dict())
    for name, learner in learners.items():
        tensors |= checkpoint.prefixed(name, learner.tensors())
    more = {
        "schedules": {name: learner.schedule.state() for name, learner in learners.items()},
        "scaling": {name: learner.scaling() for name, learner in learners.items()},
    }
    checkpoint.write(path, "state", tensors, {**header, **more})


def load_state(
    tensors: Mapping[str, Tensor],
    header: Mapping[str, Any],
    model: MIMRL,
    critics: Critics | None,
    learners: Mapping[str, Learner],
) -> None:
    """Gives a training the weights, moments and schedules of a state."""
    model.load_state_dict(checkpoint.take(tensors, "model"))
    if critics is not None:
        critics.load_state_dict(checkpoint.take(tensors, "critics"))
    for name, learner in learners.items():
        scaling = header.get("scaling", {}).get(name, {})
        learner.load(checkpoint.take(tensors, name), header["schedules"][name], scaling)
