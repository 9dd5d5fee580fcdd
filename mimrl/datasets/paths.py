"""Where a data file named in the settings lies, and whether one to be written has space."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from mimrl.errors import MissingFileError

ROOT_VARIABLE = "MIMRL_DATA_ROOT"
DEFAULT_ROOT = "data"
SPARE = 1.05


def resolve_path(
    path: str | Path, *, within: Path | None = None, called: str = "data file"
) -> Path:
    """The file or folder meant by ``path``.

    Looked for as given (from the working folder), then in the folder that the environment
    variable ``MIMRL_DATA_ROOT`` names, then in ``./data``.

    Args:
        path: absolute, relative, or starting with ``~``.
        within: a folder that is searched before all others.
        called: what the message calls it: the setting that names it.

    Returns:
        An existing path.

    Raises:
        MissingFileError: it is in none of these places; the message lists them.
    """
    given = Path(path).expanduser()
    root = os.environ.get(ROOT_VARIABLE)
    folders = [*([within] if within else []), Path(), *([Path(root)] if root else []),
               Path(DEFAULT_ROOT)]  # fmt: skip
    places = list(dict.fromkeys(folder / given for folder in folders))
    for place in places:
        if place.exists():
            return place
    tried = ", ".join(str(place) for place in places)
    hint = "" if root or given.is_absolute() else f"; {ROOT_VARIABLE} is not set"
    raise MissingFileError(f"{called} {given} does not exist; looked for {tried}{hint}")


def require_space(folder: Path, nbytes: int) -> None:
    """Asks for the space of a file before it is written.

    Args:
        folder: where it will be.
        nbytes: of its content; a twentieth more must be free.

    Raises:
        OSError: there is less.
    """
    free = shutil.disk_usage(folder).free
    if free < SPARE * nbytes:
        raise OSError(
            errno.ENOSPC, f"{nbytes / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free"
        )
