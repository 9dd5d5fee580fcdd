"""What a run leaves behind while it goes on: log.jsonl, TensorBoard events, a progress bar."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from mimrl.errors import CheckpointError, MissingFileError
from mimrl.mi.writing import written_whole

LOG = "log.jsonl"
EVENTS = "tensorboard"
SHOWN_EVERY = 1.0  # seconds; reading a loss waits for all that the device has still to do


def jsonable(value: Any) -> Any:
    """``value`` with numbers that JSON lacks (``nan``, infinities) as None, mappings as dicts."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_text(path: Path, text: str) -> None:
    """Writes a text file by a rename, so that no reader ever sees half of it."""
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON by a rename; ``nan`` becomes ``null``."""
    write_text(path, json.dumps(jsonable(value), indent=1, allow_nan=False) + "\n")


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The epochs of a run, oldest first, from its ``log.jsonl`` or its folder.

    A last line that a kill cut short is left out.

    Raises:
        MissingFileError: there is no log.
        CheckpointError: a line other than the last is not JSON.
    """
    file = Path(path)
    file = file / LOG if file.is_dir() else file
    if not file.is_file():
        raise MissingFileError(f"{file} does not exist; expected the log of a training run")
    lines = file.read_text(encoding="utf-8").splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise CheckpointError(f"{file}, line {number} is not JSON: {error}") from error
    return found


class Tracker:
    """Writes the log and the events of one run.

    Args:
        folder: the run's folder.
        epochs_done: epochs that the run goes on from; later lines of an older log are dropped.
    """

    def __init__(self, folder: Path, epochs_done: int = 0) -> None:
        self._log = folder / LOG
        kept = read_log(self._log)[:epochs_done] if self._log.is_file() else []
        write_text(self._log, "".join(_line(record) for record in kept))
        self._events = SummaryWriter(str(folder / EVENTS), purge_step=epochs_done + 1)

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Appends one epoch; its nested numbers become TensorBoard scalars."""
        with self._log.open("a", encoding="utf-8") as file:
            file.write(_line(record))
            file.flush()
            os.fsync(file.fileno())
        for name, value in _flat(record):
            self._events.add_scalar(name, value, int(record["epoch"]))
        self._events.flush()

    def close(self) -> None:
        """Ends the events file."""
        self._events.close()


class Progress:
    """A bar over all optimiser steps of a run, with the current losses.

    Silent when standard error is no terminal, or when ``shown`` is false.
    """

    def __init__(self, total: int, done: int, title: str, *, shown: bool = True) -> None:
        self._read_at = 0.0
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=title,
            unit="step",
            dynamic_ncols=True,
            disable=None if shown else True,
        )

    def stage(self, epoch: int, name: str) -> None:
        """Names what is going on."""
        self._bar.set_description(f"epoch {epoch} {name}")

    def step(self, **losses: Tensor) -> None:
        """One step is done; its losses are fetched from the device once a second at most."""
        now = time.monotonic()
        if not self._bar.disable and now - self._read_at > SHOWN_EVERY:
            self._read_at = now
            shown = {name: f"{value.item():.3f}" for name, value in losses.items()}
            self._bar.set_postfix(shown, refresh=False)
        self._bar.update()

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(jsonable(record), allow_nan=False) + "\n"


def _flat(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found = []
    for key, value in record.items():
        name = f"{prefix}/{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            found += _flat(value, name)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append((name, float(value)))
    return found
