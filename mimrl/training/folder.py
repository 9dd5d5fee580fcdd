"""The folder of one run: whether it may be used, how it starts, what a resumed run finds in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mimrl.errors import CheckpointError, ConfigError
from mimrl.settings import Settings, dump, from_mapping
from mimrl.training import checkpoint
from mimrl.training.team import Team
from mimrl.training.tracking import write_text

SETTINGS = "settings.yaml"
MACHINE_KEYS = ("device", "output", "performance.loader_workers", "performance.cache")
"""Settings that a resumed run may have others of: they do not change results."""


def folder_of(settings: Settings) -> Path:
    """``<output>/<name>/seed<k>``."""
    return Path(settings.output) / settings.name / f"seed{settings.seed}"


def check_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Looks whether a run may begin in a folder, before anything is written.

    Raises:
        ConfigError: it would have to touch what it must not.
    """
    if resume and overwrite:
        raise ConfigError("resume and overwrite exclude each other")
    if not folder.exists() or not any(folder.iterdir()) or resume:
        return
    if not overwrite:
        raise ConfigError(
            f"{folder} already holds a run; --resume goes on with it, --overwrite replaces it, "
            "name=... starts another"
        )
    if not (folder / SETTINGS).is_file():
        raise ConfigError(f"{folder} is not a run of mimrl (no {SETTINGS}); it is left alone")


def start_folder(folder: Path, settings: Settings, *, overwrite: bool) -> None:
    """Makes the folder of a run that nothing can refuse any more, with its settings in it.

    Raises:
        ConfigError: it cannot be made.
    """
    if overwrite and folder.exists():
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the folder of the run, {folder}, cannot be made ({error}); set output to a folder "
            "that can be written to"
        ) from error
    write_text(folder / SETTINGS, dump(settings))


def stored_state(folder: Path, settings: Settings, team: Team) -> tuple[Any, Any] | None:
    """Tensors and header of the last complete epoch; None where there is none.

    Raises:
        CheckpointError: the file is damaged, of another version, other settings or another number
            of processes.
    """
    if not (folder / checkpoint.LAST).is_file():
        return None
    file = folder / checkpoint.LAST
    tensors, header = checkpoint.read(file, "state")
    try:
        stored = from_mapping(header["settings"], source=f"settings in {file}")
    except (KeyError, ConfigError) as error:
        raise CheckpointError(
            f"{file} does not fit this version of mimrl: {error}; start again with --overwrite"
        ) from error
    differ = sorted(_differences(stored.model_dump(), settings.model_dump()))
    if differ:
        raise CheckpointError(
            f"{folder} was started with other settings ({', '.join(differ)}); resume with the "
            f"same ones, as {folder / SETTINGS} has them, or give the run another name"
        )
    if header.get("processes", 1) != team.size:
        raise CheckpointError(
            f"{folder} was started with {header.get('processes', 1)} processes, which had batches "
            f"of {header.get('processes', 1) * settings.training.batch_size}; this command has "
            f"{team.size}: resume with as many, or give the run another name"
        )
    return tensors, header


def _differences(old: Any, new: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            name = f"{prefix}.{key}" if prefix else str(key)
            if name not in MACHINE_KEYS:
                yield from _differences(old.get(key), new.get(key), name)
    elif old != new:
        yield prefix
