"""Writes the measured numbers into docs/benchmarks.md, between its markers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.speed.rows import HEADER, Found, markdown, number, render, restored

START = "<!-- measured: written by python -m bench.speed -->"
END = "<!-- end of what is measured -->"


def write_page(page: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Replaces what stands between the markers of ``page``.

    Args:
        page: an existing markdown file with both markers.
        found: script -> what it wrote, with ``machine`` and ``seconds``.

    Raises:
        ValueError: a marker is missing.
    """
    text = page.read_text(encoding="utf-8")
    if START not in text or END not in text:
        raise ValueError(f"{page} needs the lines {START!r} and {END!r}; put them back")
    before, after = text.split(START)[0], text.split(END)[1]
    page.write_text(f"{before}{START}\n\n{measured(found)}\n\n{END}{after}", encoding="utf-8")


def measured(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The one table, then the machine, then the tables of every script."""
    scripts = {name: restored(content) for name, content in found.items()}
    rows = [row for script in scripts.values() for row in script.rows]
    parts = ["## All lines", markdown(HEADER, [row.cells() for row in rows])]
    parts += ["## Machine", _machines(found)]
    for name, script in scripts.items():
        if script.tables:
            parts += [f"## `python -m bench.speed.{name}`", render(Found((), script.tables))]
    return "\n\n".join(parts)


def _machines(found: Mapping[str, Mapping[str, Any]]) -> str:
    """What the scripts ran on; several columns where that was not the same."""
    keys = list(next(iter(found.values()))["machine"]) if found else []
    lines = []
    for key in keys:
        values = [str(content["machine"][key]) for content in found.values()]
        lines.append((key, ", ".join(dict.fromkeys(values))))
    spent = ", ".join(f"{name} {number(content['seconds'])} s" for name, content in found.items())
    return markdown(("", ""), [*lines, ("time the scripts took", spent)])
