"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives a path beside ``path`` to write to; the file there then takes the place of ``path``.

    It is on the disk before it has the name: after a kill at any moment there is the old file or
    the new one. Where writing fails the old one stays, and nothing is left beside it. Who may read
    it is as of any new file (``umask``), also where a library makes its files private.

    Args:
        path: of the file; its folder exists.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.touch()
        mode = beside.stat().st_mode
        yield beside
        beside.chmod(mode)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
