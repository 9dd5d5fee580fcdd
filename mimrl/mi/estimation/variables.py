"""x, y and z as a user's file has them: numbers, paired row by row, none missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mimrl.errors import DataError, ShapeError
from mimrl.mi.estimation.columns import as_numbers, find_columns, shared_columns
from mimrl.mi.estimation.sources import open_source

Floats = npt.NDArray[np.float64]
ROWS_SHOWN = 5


@dataclass(frozen=True)
class Variables:
    """Samples from a file.

    Attributes:
        arrays: variable -> ``(N, d)``.
        columns: variable -> labels of its columns.
        left_out: rows without a value somewhere, which were left out.
    """

    arrays: Mapping[str, Floats]
    columns: Mapping[str, Sequence[str]]
    left_out: int = 0

    @property
    def rows(self) -> int:
        """N."""
        return len(next(iter(self.arrays.values())))


def read_variables(
    path: str | Path, words: Mapping[str, Sequence[str]], *, drop_missing: bool = False
) -> Variables:
    """Reads variables from a file.

    Args:
        path: see :func:`~mimrl.mi.estimation.sources.open_source`.
        words: variable -> its columns, see
            :func:`~mimrl.mi.estimation.columns.find_columns`.
        drop_missing: leaves out rows in which a value is missing or infinite.

    Raises:
        MissingFileError: no such file.
        DataError: a file that cannot be read, columns that there are not or that are no numbers,
            missing values.
        ShapeError: variables of different lengths.
        ConfigError: columns named twice.
    """
    source = open_source(Path(path))
    columns = {name: find_columns(source, asked) for name, asked in words.items()}
    labels = {name: [label for label, _ in found] for name, found in columns.items()}
    shared_columns(labels)
    _paired({f"{n} ({label})": len(v) for n, found in columns.items() for label, v in found})
    arrays = {
        name: np.column_stack([as_numbers(column) for column in found])
        for name, found in columns.items()
    }
    whole = np.all([np.isfinite(values).all(axis=1) for values in arrays.values()], axis=0)
    if not whole.all() and not drop_missing:
        raise DataError(f"{path}: {_missing(arrays, labels)}")
    kept = {name: values[whole] for name, values in arrays.items()}
    return Variables(kept, labels, int((~whole).sum()))


def _paired(rows: Mapping[str, int]) -> None:
    if len(set(rows.values())) < 2:
        return
    first: dict[int, str] = {}
    for name, count in rows.items():
        first.setdefault(count, name)
    text = ", ".join(f"{name} has {count}" for count, name in first.items())
    raise ShapeError(f"samples must be paired row by row, but of rows {text}")


def _missing(arrays: Mapping[str, Floats], labels: Mapping[str, Sequence[str]]) -> str:
    """Which columns lack values, and in which rows."""
    texts = []
    for name, values in arrays.items():
        for label, column in zip(labels[name], values.T, strict=True):
            rows = np.flatnonzero(~np.isfinite(column))
            if len(rows):
                more = ", ..." if len(rows) > ROWS_SHOWN else ""
                shown = ", ".join(map(str, rows[:ROWS_SHOWN]))
                texts.append(f"{label} in {len(rows)} of {len(column)} rows ({shown}{more})")
    more = f" and {len(texts) - ROWS_SHOWN} columns more" if len(texts) > ROWS_SHOWN else ""
    return (
        f"values are missing or infinite: {'; '.join(texts[:ROWS_SHOWN])}{more}; rows counted from "
        "0. Fill them, or leave such rows out with --drop-missing"
    )
