"""Several files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mimrl.errors import ConfigError


def write_all(content: Mapping[str, bytes], stem: str | Path) -> tuple[Path, ...]:
    """Writes ``stem + ending`` for each ending: all beside their places first, then renamed.

    Args:
        content: ending of the name (``.csv``, ``_bars.png``, ...) -> the file.
        stem: path without ending; its folder is made.

    Returns:
        The paths, in the order given.

    Raises:
        ConfigError: the folder cannot be written; nothing new is left in it.
    """
    stem = Path(stem)
    paths = {ending: stem.with_name(stem.name + ending) for ending in content}
    beside = {
        ending: path.with_name(f".{path.name}.{os.getpid()}.tmp") for ending, path in paths.items()
    }
    missing = [folder for folder in (stem.parent, *stem.parent.parents) if not folder.exists()]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for path in paths.values():
            if path.is_dir():
                raise IsADirectoryError(f"{path} is a folder")
        for ending, data in content.items():
            beside[ending].write_bytes(data)
        for ending, path in paths.items():
            beside[ending].replace(path)
    except OSError as error:
        _remove(beside, missing)
        raise ConfigError(
            f"cannot write the report to {stem}.*: {error}; name another place or make room"
        ) from error
    except BaseException:
        _remove(beside, missing)
        raise
    return tuple(paths.values())


def _remove(beside: Mapping[str, Path], folders: list[Path]) -> None:
    """What was not renamed, and the folders made for it, as far as they are empty."""
    for path in beside.values():
        with suppress(OSError):
            path.unlink(missing_ok=True)
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
