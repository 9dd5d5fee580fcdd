"""Records on disk: one JSON line each, appended when done, so that a kill loses none."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path

from mimrl.errors import DataError
from mimrl.mi.benchmark.measurement import Record

RESULTS = "results.jsonl"


class Store:
    """The records of a file.

    Args:
        path: need not exist; its folder is made.

    Raises:
        DataError: a line other than the last is no record.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._records = {record.key: record for record in _read(path)}

    def get(self, key: str) -> Record | None:
        """The last record under a key."""
        return self._records.get(key)

    def append(self, record: Record) -> None:
        """Writes a record behind the others, at once."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(record.line() + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._records[record.key] = record


def _read(path: Path) -> list[Record]:
    """The records of a file; what a kill left of a last line is cut off."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    lines = content[:whole].decode("utf-8").splitlines()
    return [_record(path, number, line) for number, line in enumerate(lines, 1)]


def _record(path: Path, number: int, line: str) -> Record:
    place = f"{path}, line {number}"
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{place} is not JSON: {error}; remove the line, or take another folder"
        ) from error
    names = {field.name for field in fields(Record)}
    there = set(found) if isinstance(found, dict) else set()
    if there != names:
        raise DataError(
            f"{place} is no record of this benchmark: lacks {sorted(names - there)}, has besides "
            f"{sorted(there - names)}; another version may have written it, take another folder"
        )
    return Record(**found)
