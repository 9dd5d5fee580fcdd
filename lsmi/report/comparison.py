"""The same analysis of several checkpoints: table, files and page of how totals change."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lsmi.report.changes import KINDS, NAMES, Course, answers, cell, courses, direction
from lsmi.report.course_page import course_page
from lsmi.report.course_pictures import over_checkpoints, pair_over_checkpoints
from lsmi.report.files import json_text
from lsmi.report.gallery import Picture
from lsmi.report.readings import balance
from lsmi.report.record import plain, settings_record, split_record, versions
from lsmi.report.style import png
from lsmi.report.tables import aligned
from lsmi.report.words import level_words, number, pair_title, short, slugs
from lsmi.report.writing import write_all
from lsmi.results import Analysis
from mimrl.errors import ConfigError

COMPARED = (
    *("checkpoint", "first", "second", "split", "kind", "quantity"),
    *("value", "low", "high", "control", "control_low", "control_high"),
)


def comparison_table(analyses: Mapping[str, Analysis]) -> str:
    """R, U1, U2, S and |U1 - U2| of every checkpoint, pair and split, with intervals, in nats.

    Args:
        analyses: name of the checkpoint -> its analysis, in the order of training.

    Returns:
        A block for each pair and split: a line a checkpoint and one of the change from the first
        to the last, raw and adjusted, and what the change says about training.

    Raises:
        ConfigError: no analyses.
    """
    first = _first(analyses)
    blocks = [_block(course) for course in courses(analyses)]
    legend = (
        f"nats: mean [{level_words(first.settings)} interval]; change: last checkpoint minus the "
        "first,\nits interval as of independent readings (the same samples: rather too wide)"
    )
    return "\n\n".join([*blocks, legend])


def _first(analyses: Mapping[str, Analysis]) -> Analysis:
    if not analyses:
        raise ConfigError("a comparison needs at least one analysis, got none")
    return next(iter(analyses.values()))


def _block(course: Course) -> str:
    rows: list[tuple[str, ...]] = [("", "", *NAMES.values())]
    for kind in KINDS:
        for name, totals in course.totals(kind).items():
            rows.append((kind, short(name), *map(cell, totals.values())))
        found = course.change(kind).values()
        if found:
            rows.append((kind, "change", *(cell(one, change=True) for one in found)))
    rows = [
        ("" if k and row[0] == rows[k - 1][0] else row[0], *row[1:]) for k, row in enumerate(rows)
    ]
    lines = [f"  {question} {answer}" for question, answer in answers(course).items()]
    title = f"{pair_title(course.pair)}, {course.split}"
    return "\n".join([title, *aligned(rows, left=len(rows[0])), *lines])


def save_comparison(analyses: Mapping[str, Analysis], stem: str | Path) -> tuple[Path, ...]:
    """Writes the comparison; its files appear together or not at all.

    Args:
        analyses: name of the checkpoint -> its analysis, in the order of training.
        stem: path without ending; its folder is made.

    Returns:
        Paths of ``stem.html`` (one page that needs no other file), ``stem.csv`` (a line for each
        checkpoint, pair, split and quantity, :data:`COMPARED`), ``stem.json``, ``stem.png`` (all
        pairs) and ``stem_<pair>.png``.

    Raises:
        ConfigError: no analyses, or the folder cannot be written.
    """
    first = _first(analyses)
    found = list(courses(analyses))
    pictures = course_gallery(found, list(analyses), level_words(first.settings))
    content = {
        ".html": course_page(found, pictures, list(analyses), first).encode(),
        ".csv": comparison_csv(found).encode(),
        ".json": json_text(comparison_record(analyses, found)).encode(),
        **{f"{ending}.png": picture.data for ending, picture in pictures.items()},
    }
    return write_all(content, stem)


def course_gallery(
    found: Sequence[Course], checkpoints: Sequence[str], level: str
) -> dict[str, Picture]:
    """Ending of the file's name -> picture: all pairs, then each pair."""
    caption = (
        f"Totals over the checkpoints, with {level} intervals; dashed: |U1 - U2|, how one-sided "
        "the pair is."
    )
    everything = png(over_checkpoints(found, checkpoints))
    pictures = {"": Picture("overview", None, None, everything, _alt(found), caption)}
    for pair, name in slugs(list(dict.fromkeys(course.pair for course in found))).items():
        mine = [course for course in found if course.pair == pair]
        data = png(pair_over_checkpoints(mine, checkpoints))
        pictures[f"_{name}"] = Picture("course", pair, None, data, _alt(mine),
                                       f"{caption} Above: raw; below: adjusted.")  # fmt: skip
    return pictures


def _alt(found: Sequence[Course]) -> str:
    lines = [
        f"{pair_title(course.pair)}, {course.split}, {name}: "
        + ", ".join(f"{NAMES[key]} {number(one.value)}" for key, one in totals.items())
        for course in found
        for name, totals in course.totals("raw").items()
    ]
    return f"Lines over the checkpoints. Raw totals in nats: {'; '.join(lines)}."


def comparison_csv(found: Sequence[Course]) -> str:
    """A line for each checkpoint, pair, split and quantity: :data:`COMPARED`, in nats."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COMPARED)
    for course in found:
        writer.writerows(_lines(course))
    return out.getvalue()


def _lines(course: Course) -> Iterator[tuple[object, ...]]:
    for name, reading in course.readings.items():
        start = (name, *course.pair, course.split)
        for quantity, one in reading.quantities.items():
            base, _, kind = quantity.partition("_")
            control = (one.control, one.control_low, one.control_high)
            yield *start, kind or "raw", base, *_digits(one.value, one.low, one.high, *control)
        sides = balance(reading)
        yield *start, "any", "balance", *_digits(sides.value, sides.low, sides.high), "", "", ""


def _digits(*values: float | None) -> tuple[str, ...]:
    return tuple("" if value is None else f"{value:.9g}" for value in values)


def comparison_record(analyses: Mapping[str, Analysis], found: Sequence[Course]) -> dict[str, Any]:
    """Everything but the samples, as JSON holds it; nats throughout."""
    return plain(
        {
            "unit": "nats",
            "checkpoints": list(analyses),
            "pairs": [
                {
                    "first": course.pair[0],
                    "second": course.pair[1],
                    "split": course.split,
                    "readings": {n: split_record(one) for n, one in course.readings.items()},
                    "change": {
                        kind: {
                            name: {**asdict(one), "direction": direction(one)}
                            for name, one in course.change(kind).items()
                        }
                        for kind in KINDS
                    },
                    "answers": answers(course),
                }
                for course in found
            ],
            "settings": {name: settings_record(one) for name, one in analyses.items()},
            "versions": versions(),
        }
    )
