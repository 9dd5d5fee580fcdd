"""What a reading leaves behind: a table to look at, every sample, all totals, one picture."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from lsmi.picture import draw
from lsmi.pipeline import Analysis, SplitReading
from mimrl.errors import ConfigError

ATOMS = ("r", "u1", "u2", "s")
MEASURED = ("i1", "i2", "i12", "h1", "h2")
COLUMNS = ("split", "id", "label", *MEASURED, *ATOMS, *(f"{name}_adjusted" for name in ATOMS))
LIBRARIES = ("mimrl", "torch", "numpy", "scikit-learn")


def summary_table(analysis: Analysis, names: tuple[str, str]) -> str:
    """R, U1, U2, S of each split, raw and adjusted, with what they are made of, in nats.

    Args:
        analysis: the result.
        names: the two modalities.
    """
    head = ("split", "N", "", "R", "U1", "U2", "S", "I1", "I2", "I12", "H(Y)", "shift")
    rows: list[tuple[str, ...]] = [head]
    for split, reading in analysis.splits.items():
        parts = reading.decomposition
        means = [float(np.mean(getattr(parts.information, key))) for key in MEASURED[:3]]
        first = [*parts.raw.totals, *means, reading.label_entropy]
        rows.append((split, str(len(parts)), "raw", *_signed(first), ""))
        rows.append(("", "", "adjusted", *_signed([*parts.adjusted.totals]), *[""] * 4,
                     *_signed([parts.shift])))  # fmt: skip
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if k in (0, 2) else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    title = (
        f"LSMI of {names[0]} (1) and {names[1]} (2) about the label, in nats; "
        f"{len(analysis.classes)} classes, prior from "
        f"{'the training labels' if analysis.settings.prior == 'data' else 'equal classes'}"
    )
    return "\n".join([title, *lines])


def _signed(values: list[float]) -> list[str]:
    return [f"{round(value, 4) + 0.0:.4f}" for value in values]


def csv_text(analysis: Analysis) -> str:
    """A line for every sample: :data:`COLUMNS`, values in nats."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for split, reading in analysis.splits.items():
        writer.writerows(_lines(split, reading))
    return out.getvalue()


def _lines(split: str, reading: SplitReading) -> Iterator[tuple[object, ...]]:
    parts = reading.decomposition
    arrays = [getattr(parts.information, name) for name in MEASURED]
    arrays += [getattr(parts.raw, name) for name in ATOMS]
    arrays += [getattr(parts.adjusted, name) for name in ATOMS]
    for row, name in enumerate(reading.ids):
        yield split, name, int(reading.labels[row]), *(f"{array[row]:.9g}" for array in arrays)


def totals(analysis: Analysis) -> dict[str, Any]:
    """All means, the settings and the versions, as JSON holds them; nats throughout."""
    return {
        "unit": "nats",
        "splits": {name: _split_totals(reading) for name, reading in analysis.splits.items()},
        "classes": list(analysis.classes),
        "prior": [float(value) for value in analysis.prior],
        "components": list(analysis.components),
        "choices": {name: dict(found) for name, found in analysis.choices.items()},
        "settings": asdict(analysis.settings),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def _split_totals(reading: SplitReading) -> dict[str, Any]:
    parts = reading.decomposition
    return {
        "samples": len(parts),
        "raw": asdict(parts.raw.totals),
        "adjusted": asdict(parts.adjusted.totals),
        "shift": parts.shift,
        **{key: float(np.mean(getattr(parts.information, key))) for key in MEASURED},
        "label_entropy": reading.label_entropy,
        "largest_identity_residual": parts.residual(),
    }


def save(
    analysis: Analysis,
    stem: str | Path,
    names: tuple[str, str],
    origin: Mapping[str, Any] | None = None,
) -> tuple[Path, ...]:
    """Writes ``stem.csv``, ``stem.json`` and ``stem.png``; each appears whole or not at all.

    Args:
        analysis: the result.
        stem: path without suffix; its folder is made.
        names: the two modalities.
        origin: what else the JSON file says, such as checkpoint and data.

    Returns:
        The three paths.

    Raises:
        ConfigError: the folder cannot be written.
    """
    content = {
        ".csv": csv_text(analysis).encode(),
        ".json": json.dumps(
            {**(origin or {}), "modalities": list(names), **totals(analysis)}, indent=1
        ).encode(),
        ".png": draw(analysis, names),
    }
    stem = Path(stem)
    paths = {suffix: stem.with_name(stem.name + suffix) for suffix in content}
    beside = {
        suffix: path.with_name(f".{path.name}.{os.getpid()}.tmp") for suffix, path in paths.items()
    }
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for suffix, data in content.items():
            beside[suffix].write_bytes(data)
        for suffix, path in paths.items():
            beside[suffix].replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write the report to {stem}.*: {error}") from error
    finally:
        for path in beside.values():
            if path.exists():
                path.unlink()
    return tuple(paths.values())
