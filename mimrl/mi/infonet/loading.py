"""Models to estimate with: the shipped weights, weights trained here, published state dicts."""

from __future__ import annotations

import os
import pickle
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from mimrl.errors import CheckpointError, MissingFileError
from mimrl.mi.infonet.network import GridNetwork
from mimrl.mi.infonet.published import PublishedNetwork, config_of
from mimrl.mi.infonet.storage import load_weights

SHIPPED = Path(str(files("mimrl.mi.infonet"))) / "weights" / "infonet.safetensors"
"""The weights in the package; the JSON beside them says how they were trained."""
PREFIXES = ("module.", "model.")
"""What wrappers put before the names of a published state dict."""


def load_model(
    path: str | os.PathLike[str] | None = None,
    device: torch.device | str = "cpu",
    **heads: int,
) -> GridNetwork | PublishedNetwork:
    """A model in evaluation mode.

    Args:
        path: None for the shipped weights; a ``.safetensors`` file of ``python -m mimrl.mi.infonet
            train``; any other file is read as a state dict in the published layout, of tensors
            only (``weights_only=True``), also one inside a checkpoint under ``state_dict``.
        device: to put it on.
        **heads: of a published network, where they differ from the published weights': fields of
            :class:`~mimrl.mi.infonet.published.PublishedConfig` (``encoder_heads``,
            ``self_heads``, ``query_heads``, ``decoder_heads``, ``repeats``), which a state dict
            does not tell.

    Returns:
        The model.

    Raises:
        MissingFileError: no such file.
        CheckpointError: the file holds no such network.
    """
    place = SHIPPED if path is None else Path(path)
    if not place.is_file():
        raise MissingFileError(f"no file {place}; expected weights of InfoNet")
    if place.suffix == ".safetensors":
        if heads:
            raise CheckpointError(f"{place} tells its own sizes; leave out {', '.join(heads)}")
        return load_weights(place, device)
    return _load_published(place, device, heads)


def _load_published(
    path: Path, device: torch.device | str, heads: dict[str, int]
) -> PublishedNetwork:
    state = _state_dict(path, device)
    try:
        with torch.random.fork_rng():  # first weights are drawn, and then replaced
            network = PublishedNetwork(config_of(state, **heads))
        network.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is no state dict in the published layout of InfoNet: {error}"
        ) from error
    return network.to(device).requires_grad_(False).eval()


def _state_dict(path: Path, device: torch.device | str) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location=device, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as tensors alone: {error}") from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise CheckpointError(f"{path} holds no state dict of tensors")
    for prefix in PREFIXES:
        if found and all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found
