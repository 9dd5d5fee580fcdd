"""Results of a sweep as JSON lines that survive a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mimrl.errors import DataError

Result = Mapping[str, Any]


def read_results(path: Path) -> list[Result]:
    """All complete lines of a results file; none where there is no file.

    A last line without an end is what a kill left of it, and counts as not written.

    Raises:
        DataError: a complete line that is not a JSON object.
    """
    if not path.exists():
        return []
    found: list[Result] = []
    for number, line in enumerate(_complete(path.read_bytes()).splitlines(), start=1):
        try:
            result = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error}); remove it") from error
        if not isinstance(result, dict):
            raise DataError(f"{path}, line {number}: expected a JSON object, got {result!r:.50}")
        found.append(result)
    return found


def append_result(path: Path, result: Result) -> None:
    """Adds a line, after cutting off what a kill may have left of the last one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = path.read_bytes() if path.exists() else b""
    with path.open("r+b" if path.exists() else "xb") as file:
        file.truncate(len(_complete(content)))
        file.seek(0, os.SEEK_END)
        file.write(json.dumps(result).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _complete(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]
