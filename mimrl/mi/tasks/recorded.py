"""Samples of a task kept in a file ``<name>.npz`` with the arrays ``x`` and ``y``."""

from __future__ import annotations

import difflib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mimrl.errors import DataError, MissingFileError
from mimrl.mi.tasks.law import Floats
from mimrl.mi.tasks.sweeps import TASKS

KEYS = ("x", "y")


def recorded_samples(folder: str | Path, name: str) -> tuple[Floats, Floats]:
    """Reads the samples of a task.

    Args:
        folder: holds one file a task.
        name: of the task; if it is one of :data:`~mimrl.mi.tasks.TASKS`, widths are checked too.

    Returns:
        x ``(N, dim_x)`` and y ``(N, dim_y)`` as float64.

    Raises:
        MissingFileError: there is no such file; the message names those spelled like it.
        DataError: it is no npz file, lacks an array, or holds something other than finite numbers
            ``(N, d)`` of equal length and of the task's widths.
    """
    path = Path(folder) / f"{name}.npz"
    if not path.is_file():
        raise MissingFileError(_missing(path))
    arrays = _read(path)
    x, y = (_checked(path, key, arrays[key]) for key in KEYS)
    if len(x) != len(y):
        raise DataError(f"{path}: x and y must have as many rows, got {len(x)} and {len(y)}")
    expected = TASKS.get(name)
    if expected is not None and (x.shape[1], y.shape[1]) != (expected.dim_x, expected.dim_y):
        raise DataError(
            f"{path}: {name} has widths {expected.dim_x} and {expected.dim_y}, "
            f"got x {x.shape} and y {y.shape}; the file belongs to another task"
        )
    return x, y


def _missing(path: Path) -> str:
    if not path.parent.is_dir():
        return f"{path.parent} is not a folder; expected one with a file {path.name}"
    there = sorted(other.stem for other in path.parent.glob("*.npz"))
    close = difflib.get_close_matches(path.stem, there, n=5, cutoff=0.5)
    if close:
        return f"{path} does not exist; did you mean {', '.join(close)}?"
    return f"{path} does not exist, nor a file like it among the {len(there)} npz files there"


def _read(path: Path) -> Mapping[str, np.ndarray]:
    try:
        stored = np.load(path, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        with stored:
            there = stored.files
            arrays = {key: stored[key] for key in KEYS if key in there}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as an npz file of plain arrays: {error}") from error
    if len(arrays) < len(KEYS):
        raise DataError(f"{path}: expected the arrays x and y, got {', '.join(there) or 'none'}")
    return arrays


def _checked(path: Path, key: str, values: np.ndarray) -> Floats:
    if values.ndim != 2 or not len(values) or not values.shape[1]:
        raise DataError(f"{path}: {key} must be (N, d) with N and d >= 1, got {values.shape}")
    if values.dtype.kind not in "fiu":
        raise DataError(f"{path}: {key} must hold real numbers, got {values.dtype}")
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        first = int(np.flatnonzero(~finite)[0])
        raise DataError(
            f"{path}: {key} holds NaN or infinity in {int((~finite).sum())} of {len(values)} "
            f"rows, first in row {first}; leave such rows out of both arrays"
        )
    return values.astype(np.float64)
