"""A training in one file: tensors in safetensors, everything else as JSON in its header.

The file appears by a rename, so that a kill at any moment leaves the old file or the new one.
Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mimrl.errors import CheckpointError, MissingFileError
from mimrl.mi.canonical import Affine
from mimrl.mi.mmg.coordinates import Coordinates
from mimrl.mi.mmg.linear import LinearDenoisers
from mimrl.mi.mmg.training import Look, Training
from mimrl.mi.writing import written_whole

FORMAT = 1
HEADER = "mimrl.mi.mmg"


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds.

    Attributes:
        coordinates: fitted before the training.
        step: optimiser steps done.
        steps: of the whole training when it was written.
        settings: what the writer said of itself.
        tensors: weights, averages, optimiser, generator.
        header: everything else.
    """

    coordinates: Coordinates
    step: int
    steps: int
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    header: Mapping[str, Any]


def save(
    path: Path, training: Training, coordinates: Coordinates, settings: Mapping[str, Any]
) -> None:
    """Writes a training down.

    Args:
        path: where; its folder is made.
        training: at any step.
        coordinates: fitted before it.
        settings: kept with it, JSON types only.
    """
    header = {
        "format": FORMAT,
        "step": training.step,
        "steps": training.settings.steps,
        "looks": [asdict(look) for look in training.looks],
        "updates": [average.updates for average in training.averages],
        "settings": dict(settings),
    }
    tensors = _coordinate_tensors(coordinates) | _training_tensors(training)
    plain = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        save_file(plain, beside, metadata={HEADER: json.dumps(header)})


def load(path: Path) -> Saved:
    """Reads a checkpoint.

    Raises:
        MissingFileError: there is none.
        CheckpointError: damaged, or written by something else.
    """
    if not path.is_file():
        raise MissingFileError(
            f"checkpoint {path} does not exist; train without --load_ckpt first, or name the "
            "folder with --checkpoint_dir"
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "null"))
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({error}); remove it and train again"
        ) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is no MMG checkpoint of format {FORMAT}; remove it and train again"
        )
    return Saved(
        _coordinates(tensors, path),
        *(header["step"], header["steps"], header["settings"]),
        *(tensors, header),
    )


def restore(training: Training, saved: Saved, path: Path) -> None:
    """Puts a training where a checkpoint left it.

    Args:
        training: of the same data and networks, at step 0.
        saved: of :func:`load`.
        path: for messages.

    Raises:
        CheckpointError: other networks.
    """
    try:
        for name, module in _modules(training).items():
            module.load_state_dict(_below(name, saved.tensors))
        training.best = dict(_below("best", saved.tensors))
        training.optimizer.load_state_dict(_optimizer_state(training, saved.tensors))
        training.generator.set_state(saved.tensors["generator"])
        training.sums = saved.tensors["sums"].clone()
        training.step = saved.step
        training.looks = [Look(**look) for look in saved.header["looks"]]
        for average, updates in zip(training.averages, saved.header["updates"], strict=True):
            average.updates = updates
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} holds another training than the one asked for ({error}); remove it and train "
            "again"
        ) from error


def _modules(training: Training) -> dict[str, torch.nn.Module]:
    averages = {f"average{n}": part.module for n, part in enumerate(training.averages)}
    return {"weights": training.network.experts, **averages}


def _training_tensors(training: Training) -> dict[str, Tensor]:
    found = {"generator": training.generator.get_state(), "sums": training.sums}
    for name, module in _modules(training).items():
        found |= _above(name, module.state_dict())
    found |= _above("best", training.best)
    for number, state in training.optimizer.state_dict()["state"].items():
        found |= _above(f"optimizer.{number}", state)
    return found


def _optimizer_state(training: Training, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    state = training.optimizer.state_dict()
    for number in range(len(state["param_groups"][0]["params"])):
        part = _below(f"optimizer.{number}", tensors)
        if part:
            state["state"][number] = part
    return state


def _coordinate_tensors(coordinates: Coordinates) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name in ("x", "y", "linear"):
        part = getattr(coordinates, name)
        arrays = {field.name: getattr(part, field.name) for field in fields(part)}
        found |= _above(name, {key: torch.from_numpy(array) for key, array in arrays.items()})
    return found


def _coordinates(tensors: Mapping[str, Tensor], path: Path) -> Coordinates:
    try:
        x, y, linear = (
            kind(**{name: value.numpy() for name, value in _below(part, tensors).items()})
            for part, kind in (("x", Affine), ("y", Affine), ("linear", LinearDenoisers))
        )
    except TypeError as error:
        raise CheckpointError(f"{path} lacks the coordinates of its data ({error})") from error
    return Coordinates(x, y, linear)  # type: ignore[arg-type]


def _above(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name[len(start) :]: v for name, v in tensors.items() if name.startswith(start)}
