"""What an analysis leaves behind: every sample, all totals, pictures, and a page of it all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lsmi.report.gallery import gallery
from lsmi.report.page import page
from lsmi.report.record import record
from lsmi.report.words import class_names
from lsmi.report.writing import write_all
from lsmi.results import ATOMS, Analysis, Pair, SplitReading

MEASURED = ("i1", "i2", "i12", "h1", "h2")
COLUMNS = (
    *("first", "second", "split", "id", "label"),
    *MEASURED,
    *ATOMS,
    *(f"{name}_adjusted" for name in ATOMS),
    *(f"{name}_feasible" for name in ATOMS),
    "leading",
)


def save(
    analysis: Analysis, stem: str | Path, origin: Mapping[str, Any] | None = None
) -> tuple[Path, ...]:
    """Writes the whole report; its files appear together or not at all.

    Args:
        analysis: the result.
        stem: path without ending; its folder is made.
        origin: what else the report says, such as ``checkpoint``, ``data`` and ``label_rule``;
            ``class_names`` name the classes 0, 1, ....

    Returns:
        Paths of ``stem.html`` (a page that needs no other file), ``stem.csv`` (a line for every
        sample, :data:`COLUMNS`), ``stem.json`` (everything else), ``stem.png`` (the overview) and
        the other pictures.

    Raises:
        ConfigError: the folder cannot be written.
    """
    pictures = gallery(analysis, class_names(origin))
    content = {
        ".html": page(analysis, pictures, origin).encode(),
        ".csv": csv_text(analysis).encode(),
        ".json": json_text(record(analysis, origin)).encode(),
        **{f"{ending}.png": picture.data for ending, picture in pictures.items()},
    }
    return write_all(content, stem)


def json_text(content: Mapping[str, Any]) -> str:
    """As a person can read it."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def csv_text(analysis: Analysis) -> str:
    """A line for every pair, split and sample: :data:`COLUMNS`, values in nats."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for names, pair in analysis.pairs.items():
        for split, reading in pair.splits.items():
            writer.writerows(_lines(names, split, reading))
    return out.getvalue()


def _lines(names: Pair, split: str, reading: SplitReading) -> Iterator[tuple[object, ...]]:
    known = reading.decomposition
    arrays = [getattr(known.information, name) for name in MEASURED]
    for atoms in (known.raw, known.adjusted, known.feasible):
        arrays += [None if atoms is None else getattr(atoms, name) for name in ATOMS]
    leading = reading.leading
    for row, name in enumerate(reading.ids):
        values = ("" if array is None else f"{array[row]:.9g}" for array in arrays)
        yield *names, split, name, int(reading.labels[row]), *values, str(leading[row])
