"""Lines of the table of speeds: what was measured, ours, the baseline, the goal."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HEADER = ("what", "ours", "baseline", "ratio", "goal", "note")


@dataclass(frozen=True)
class Row:
    """One line.

    Attributes:
        what: the thing measured.
        ours: its value; None: not measured here.
        baseline: the value of what it is compared with, measured in the same run; None: nothing.
        unit: of both.
        goal_ratio: ``ours / baseline`` at most; None: no such goal.
        goal: ``ours`` at most; None: no such goal.
        note: how it was measured.
    """

    what: str
    ours: float | None
    baseline: float | None = None
    unit: str = "s"
    goal_ratio: float | None = None
    goal: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours over the baseline."""
        return self.ours / self.baseline if self.ours is not None and self.baseline else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None: there is no goal, or nothing was measured."""
        checks = []
        if self.goal_ratio is not None and self.ratio is not None:
            checks.append(self.ratio <= self.goal_ratio)
        if self.goal is not None and self.ours is not None:
            checks.append(self.ours <= self.goal)
        return all(checks) if checks else None

    def cells(self) -> tuple[str, ...]:
        """The columns of :data:`HEADER`."""
        goals = []
        if self.goal_ratio is not None:
            goals.append(f"ratio {number(self.goal_ratio)}")
        if self.goal is not None:
            goals.append(f"{number(self.goal)} {self.unit}".strip())
        verdict = {None: "", True: " (met)", False: " (missed)"}[self.met]
        ours = "not measured" if self.ours is None else f"{number(self.ours)} {self.unit}".strip()
        baseline = "" if self.baseline is None else f"{number(self.baseline)} {self.unit}".strip()
        ratio = "" if self.ratio is None else number(self.ratio)
        goal = ("at most " + ", ".join(goals) + verdict) if goals else ""
        return self.what, ours, baseline, ratio, goal, self.note


@dataclass(frozen=True)
class Table:
    """A table of its own below the one table: where the time goes, a curve."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Found:
    """What one script measured."""

    rows: tuple[Row, ...]
    tables: tuple[Table, ...] = ()


def number(value: float) -> str:
    """Three digits, without an exponent where that can be read.

    >>> number(0.01234), number(12.34), number(1234.5), number(0.0), number(2.5e-7)
    ('0.0123', '12.3', '1234', '0', '2.5e-07')
    """
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    if abs(value) < 1e-4:
        return f"{value:.2g}"
    return f"{value:.3g}"


def counted_threads(count: int) -> str:
    """``1 thread``, ``2 threads``."""
    return f"{count} thread" + "s" * (count != 1)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], *, aligned: bool = False) -> str:
    """A markdown table; ``aligned``: cells are filled up, so that a terminal shows columns."""
    lines = [[cell.replace("|", "/") for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) * aligned for column in zip(*lines, strict=True)]
    widths[-1] = 0  # nothing is to the right of it
    text = [
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in lines
    ]
    text.insert(1, "|" + "".join("-" * max(3, width + 2) + "|" for width in widths))
    return "\n".join(text)


def render(found: Found, *, aligned: bool = False) -> str:
    """All tables as markdown."""
    lines = [row.cells() for row in found.rows]
    parts = [markdown(HEADER, lines, aligned=aligned)] if lines else []
    for table in found.tables:
        parts.append(f"### {table.title}\n\n{markdown(table.header, table.rows, aligned=aligned)}")
        if table.note:
            parts.append(table.note)
    return "\n\n".join(parts)


def parser(text: str | None) -> argparse.ArgumentParser:
    """``--json``, ``--quick`` and ``--threads``, with the script's own text as help."""
    found = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--json", type=Path, metavar="OUT", help="write all numbers to this file")
    found.add_argument(
        "--quick", action="store_true", help="small sizes, to see that the script runs"
    )
    found.add_argument("--threads", type=int, help="of PyTorch; default: as PyTorch has it")
    return found


def report(found: Found, name: str, path: Path | None) -> int:
    """Prints the tables and writes the JSON; the exit code of a script: 1 if a goal is missed."""
    print(render(found, aligned=True), flush=True)
    if path is not None:
        write_json(path, name, found)
    return 1 if any(row.met is False for row in found.rows) else 0


def write_json(path: Path, name: str, found: Found) -> None:
    """All numbers of one script."""
    content: dict[str, Any] = {
        "bench": name,
        "rows": [asdict(row) | {"ratio": row.ratio, "met": row.met} for row in found.rows],
        "tables": [asdict(table) for table in found.tables],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def restored(content: Mapping[str, Any]) -> Found:
    """What :func:`write_json` wrote."""
    rows = [{k: v for k, v in row.items() if k not in ("ratio", "met")} for row in content["rows"]]
    tables = [
        Table(
            title=table["title"],
            header=tuple(table["header"]),
            rows=tuple(tuple(line) for line in table["rows"]),
            note=table["note"],
        )
        for table in content["tables"]
    ]
    return Found(tuple(Row(**fields) for fields in rows), tuple(tables))
