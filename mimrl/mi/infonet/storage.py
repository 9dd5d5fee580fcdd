"""Files of the grid network: weights alone, and the whole state of a training. Safetensors only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mimrl.errors import CheckpointError, MissingFileError
from mimrl.mi.infonet.network import GridNetwork, NetworkConfig
from mimrl.mi.infonet.training import Trainer, TrainingSettings
from mimrl.mi.writing import written_whole

LAYOUT = "mimrl-infonet-1"
"""Written into every file; another value means another version wrote it."""
WEIGHTS, STATE = "weights", "state"


def save_weights(path: Path, network: GridNetwork, about: Mapping[str, Any]) -> None:
    """Writes the weights of a network, atomically, and a JSON of the same name beside them.

    Args:
        path: ending in ``.safetensors``.
        network: whose weights.
        about: what else to tell of them: how they were trained.
    """
    content = {"layout": LAYOUT, "kind": WEIGHTS, "config": asdict(network.config), **about}
    _write(path, dict(network.state_dict()), content)
    with written_whole(path.with_suffix(".json")) as beside:
        beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load_weights(path: Path, device: torch.device | str = "cpu") -> GridNetwork:
    """Reads a network in evaluation mode from its weights or from a training's state.

    Args:
        path: file of :func:`save_weights` or :func:`save_state`, from which it takes the average.
        device: to put it on.

    Raises:
        MissingFileError: no such file.
        CheckpointError: not such a file, or one of another layout or other sizes.
    """
    tensors, content = _read(path, device)
    if content["kind"] == STATE:
        tensors = _part(tensors, "average.")
    with torch.random.fork_rng():  # first weights are drawn, and then replaced
        network = GridNetwork(_config(path, content))
    _fill(path, network, tensors)
    return network.to(device).requires_grad_(False).eval()


def save_state(path: Path, trainer: Trainer, about: Mapping[str, Any]) -> None:
    """Writes all that a training needs to go on exactly as if it had not stopped.

    Args:
        path: of the file.
        trainer: after a step.
        about: what else to keep.
    """
    tensors = {f"network.{k}": v for k, v in trainer.network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in trainer.average.state_dict().items()}
    for name, parameter in trainer.network.named_parameters():
        moments = trainer.optimiser.state.get(parameter, {})
        tensors |= {f"optimiser.{name}.{kind}": v for kind, v in moments.items()}
    tensors["generator"] = trainer.source.generator.get_state()
    content = {
        "layout": LAYOUT,
        "kind": STATE,
        "config": asdict(trainer.network.config),
        "settings": asdict(trainer.settings),
        "step": trainer.step,
        **about,
    }
    _write(path, tensors, content)


def load_state(
    path: Path, changes: Mapping[str, Any], device: torch.device | str = "cpu"
) -> tuple[Trainer, dict[str, Any]]:
    """A training as it was saved.

    Args:
        path: file of :func:`save_state`.
        changes: settings to go on with, by name, such as more steps; the others stay.
        device: where to go on; on another kind of device the pairs to come are other ones.

    Returns:
        The trainer and the file's other content.

    Raises:
        MissingFileError: no such file.
        CheckpointError: not such a file.
    """
    tensors, content = _read(path, device)
    if content["kind"] != STATE:
        raise CheckpointError(f"{path} holds weights alone; expected the state of a training")
    try:
        settings = TrainingSettings(**{**content["settings"], **changes})
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} has no usable training settings: {error}") from error
    trainer = Trainer(_config(path, content), settings, device)
    _fill(path, trainer.network, _part(tensors, "network."))
    _fill(path, trainer.average, _part(tensors, "average."))
    moments = _part(tensors, "optimiser.")
    for name, parameter in trainer.network.named_parameters():
        kept = _part(moments, f"{name}.")
        if kept:
            # Adam counts its steps on the CPU wherever its moments are
            trainer.optimiser.state[parameter] = {
                kind: v.cpu() if kind == "step" else v.to(parameter) for kind, v in kept.items()
            }
    state = tensors["generator"].cpu()
    if len(state) == len(trainer.source.generator.get_state()):
        trainer.source.generator.set_state(state)
    else:  # begun on another kind of device, whose generator cannot go on here
        trainer.source.generator.manual_seed(trainer.settings.seed + content["step"])
    trainer.step = content["step"]
    return trainer, content


def _write(path: Path, tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with written_whole(path) as beside:
        save_file(plain, beside, metadata={"content": json.dumps(content)})


def _read(path: Path, device: torch.device | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise MissingFileError(f"no file {path}")
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            content = json.loads((file.metadata() or {}).get("content", "{}"))
    except (SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error
    if content.get("layout") != LAYOUT:
        raise CheckpointError(
            f"{path} has the layout {content.get('layout')!r}; expected {LAYOUT!r}, "
            "which python -m mimrl.mi.infonet train writes"
        )
    return tensors, content


def _config(path: Path, content: Mapping[str, Any]) -> NetworkConfig:
    try:
        sizes: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content["config"].items()
        }
        return NetworkConfig(**sizes)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} has no usable sizes of the network: {error}") from error


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _fill(path: Path, network: GridNetwork, tensors: Mapping[str, Tensor]) -> None:
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the network that it names: {error}") from error
