"""Our own files: tensors in safetensors, everything else as JSON in the same file's header.

One file holds one thing and appears by a rename, so a kill at any moment leaves either the old file
or the new one. Nothing is pickled. Two kinds are written: ``model`` (what :func:`load_model` needs
to predict: weights, settings, scalers) and ``state`` (what a run needs to go on).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

import mimrl
from mimrl.datasets.scaling import Scaler
from mimrl.errors import CheckpointError, ConfigError, MissingFileError
from mimrl.mi.writing import written_whole
from mimrl.model.model import MIMRL
from mimrl.settings import Settings, from_mapping
from mimrl.terms import FUSED, LABEL
from mimrl.training.critics import Critics

FORMAT = 2
BEST = "best.safetensors"
LAST = "last.safetensors"
KEPT = "epoch{}.safetensors"
HEADER = "mimrl"


def write(path: Path, kind: str, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Writes one of our files atomically.

    Args:
        path: where; its folder exists.
        kind: ``model`` or ``state``.
        tensors: names -> tensors on any device.
        header: anything JSON holds.
    """
    meta = {"format": FORMAT, "kind": kind, "version": mimrl.__version__, **header}
    plain = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    with written_whole(path) as beside:
        save_file(plain, beside, metadata={HEADER: json.dumps(meta)})


def read(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads one of our files.

    Raises:
        MissingFileError: there is no such file.
        CheckpointError: not one of our files, damaged, of another format version or kind.
    """
    if not path.is_file():
        raise MissingFileError(f"checkpoint {path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copies: results differ in the last bit between aligned memory and views of the file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({error}); expected a checkpoint written "
            "by mimrl: copy it again, or train again"
        ) from error
    if HEADER not in metadata:
        raise CheckpointError(
            f"{path} is a safetensors file, but not one that mimrl wrote: its header has no "
            f"'{HEADER}' entry"
        )
    header = _header(path, metadata[HEADER])
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has checkpoint format {header.get('format')} (written by mimrl "
            f"{header.get('version')}); this is mimrl {mimrl.__version__}, which reads format "
            f"{FORMAT}: use the version that wrote it, or train again"
        )
    if header.get("kind") != kind:
        raise CheckpointError(
            f"{path} holds a {header.get('kind')}, expected a {kind}; a run folder has its model "
            f"in {BEST} and its resumable state in {LAST}"
        )
    return tensors, header


def _header(path: Path, text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: its header is damaged ({error}); copy it again, or train again"
        ) from error


def take(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with ``prefix.``, without it."""
    start = f"{prefix}."
    return {name[len(start) :]: v for name, v in tensors.items() if name.startswith(start)}


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with ``prefix.`` before their names."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


@dataclass(frozen=True)
class Loaded:
    """A trained model and what is needed to use it.

    Attributes:
        path: the file it came from.
        settings: the settings of its run.
        model: in evaluation mode, on the CPU.
        critics: the critics of its epoch; None when the run had none.
        scalers: modality -> scaler fitted on its training split.
        num_classes: 1 for a rating.
        class_names: their names; empty for a rating.
        epoch: the epoch after which the weights were written, counted from 1; 0: untrained.
    """

    path: Path
    settings: Settings
    model: MIMRL
    critics: Critics | None
    scalers: Mapping[str, Scaler]
    num_classes: int
    class_names: tuple[str, ...]
    epoch: int


def outputs(settings: Settings, num_classes: int) -> int:
    """Outputs of the head: one for a rating or a binary cross-entropy, else one a class."""
    return (
        1 if settings.task == "regression" or settings.training.loss.kind == "bce" else num_classes
    )


def build_critics(settings: Settings, model: MIMRL, num_classes: int) -> Critics:
    """Fresh critics that fit ``model``."""
    widths = dict.fromkeys(settings.data.modalities, settings.model.width)
    widths |= {FUSED: model.fused_width, LABEL: num_classes}
    return Critics(
        settings.critics,
        settings.data.modalities,
        widths,
        discrete_label=num_classes > 1,
    )


def save_model(
    path: Path,
    *,
    settings: Settings,
    model: MIMRL,
    critics: Critics | None,
    scalers: Mapping[str, Scaler],
    widths: Mapping[str, int],
    class_names: tuple[str, ...],
    num_classes: int,
    epoch: int,
) -> None:
    """Writes a model that :func:`load_model` reads without any other file."""
    tensors = prefixed("model", model.state_dict())
    if critics is not None:
        tensors |= prefixed("critics", critics.state_dict())
    for name, scaler in scalers.items():
        arrays = {key: torch.as_tensor(value) for key, value in scaler.state().items()}
        tensors |= prefixed(f"scaler.{name}", arrays)
    header = {
        "settings": settings.model_dump(mode="json"),
        "widths": dict(widths),
        "class_names": list(class_names),
        "num_classes": num_classes,
        "epoch": epoch,
        "scalers": {name: scaler.kind for name, scaler in scalers.items()},
        "text_config": model.text_config,
        "has_critics": critics is not None,
    }
    write(path, "model", tensors, header)


def load_model(path: str | Path) -> Loaded:
    """A trained model from its file or from the run folder that holds it.

    Raises:
        MissingFileError: no such file or folder, or a folder without ``best.safetensors``.
        CheckpointError: the file is damaged, of another version, or does not fit its settings.
    """
    file = Path(path)
    if file.is_dir():
        file = file / BEST
        if not file.is_file():
            raise MissingFileError(
                f"{path} holds no {BEST}; expected a run folder such as runs/<name>/seed0"
            )
    tensors, header = read(file, "model")
    try:
        settings = from_mapping(header["settings"], source=f"settings in {file}")
        with torch.random.fork_rng():  # weights are drawn, then overwritten
            model, critics = _networks(settings, header)
        model.load_state_dict(take(tensors, "model"))
        if critics is not None:
            critics.load_state_dict(take(tensors, "critics"))
            critics.eval()
        scalers = {
            name: Scaler.from_state(
                kind, {k: v.numpy() for k, v in take(tensors, f"scaler.{name}").items()}
            )
            for name, kind in header["scalers"].items()
        }
    except (KeyError, RuntimeError, ConfigError) as error:
        raise CheckpointError(
            f"{file} does not fit this version of mimrl ({mimrl.__version__}; it was written by "
            f"{header.get('version')}): {error}"
        ) from error
    return Loaded(
        path=file,
        settings=settings,
        model=model.eval(),
        critics=critics,
        scalers=scalers,
        num_classes=int(header["num_classes"]),
        class_names=tuple(header["class_names"]),
        epoch=int(header["epoch"]),
    )


def _networks(settings: Settings, header: Mapping[str, Any]) -> tuple[MIMRL, Critics | None]:
    """A model and critics of the right form, with weights still to be filled in."""
    model = MIMRL(
        settings.model,
        settings.data.modalities,
        header["widths"],
        outputs(settings, header["num_classes"]),
        text_config=header["text_config"],
    )
    if not header["has_critics"]:
        return model, None
    return model, build_critics(settings, model, header["num_classes"])
