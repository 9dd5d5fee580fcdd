"""The page that compares checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lsmi.report.changes import KINDS, NAMES, Course, answers, cell
from lsmi.report.gallery import Picture
from lsmi.report.look import STYLE
from lsmi.report.markup import (
    Content,
    Html,
    bullets,
    document,
    figure,
    heading,
    joined,
    link,
    table,
    tag,
)
from lsmi.report.words import level_words, pair_title, prior_words
from lsmi.results import Analysis

TITLE = "LSMI over checkpoints"


def course_page(
    courses: Sequence[Course],
    pictures: Mapping[str, Picture],
    checkpoints: Sequence[str],
    first: Analysis,
) -> str:
    """HTML in which nothing refers to anything outside.

    Args:
        courses: every pair and split.
        pictures: of all pairs, then of each.
        checkpoints: their names, in order.
        first: the first checkpoint's analysis, for its settings.
    """
    chapters = [
        ("answers", "What training did", _answers(courses, checkpoints)),
        ("overview", "All pairs", figure(pictures[""])),
    ]
    for count, picture in enumerate(list(pictures.values())[1:], 1):
        mine = [course for course in courses if course.pair == picture.pair]
        content = joined([figure(picture), *(_table(course) for course in mine)])
        chapters.append((f"pair{count}", pair_title(mine[0].pair), content))
    toc = tag("nav", bullets([link(anchor, title) for anchor, title, _ in chapters]))
    parts: list[Content] = [heading(1, TITLE), _opening(first), toc]
    for anchor, title, content in chapters:
        parts.append(tag("section", [heading(2, title, anchor), content]))
    return document(TITLE, STYLE, tag("main", joined(parts)))


def _opening(first: Analysis) -> Html:
    return tag(
        "p",
        "Redundant (R), unique (U1, U2) and synergistic (S) information of two sets of features "
        "about the label, in nats, read in the same way from each checkpoint. In brackets: "
        f"{level_words(first.settings)} intervals. |U1 - U2| says how one-sided the pair is, and "
        f"is the same raw and adjusted. Class prior: {prior_words(first.settings)}. The terms are "
        "explained in the report of each checkpoint.",
    )


def _answers(courses: Sequence[Course], checkpoints: Sequence[str]) -> Html:
    rows: list[list[Content]] = []
    questions: list[str] = []
    for course in courses:
        found = answers(course)
        if found:
            questions = list(found)
            rows.append([pair_title(course.pair), course.split, *found.values()])
    if not rows:
        return tag("p", "There is one checkpoint only, so nothing to compare.")
    note = (
        f"From {checkpoints[0]} to {checkpoints[-1]}, by the raw totals. In brackets: the change "
        "and its interval, taken as if the readings were independent; they read the same samples, "
        "so it is rather too wide than too narrow."
    )
    head = ("pair", "split", *questions)
    return joined([tag("p", note), table(head, rows, names=len(head), class_="wrap")])


def _table(course: Course) -> Html:
    parts: list[Content] = []
    for kind in KINDS:
        rows: list[list[Content]] = [
            [name, *map(cell, totals.values())] for name, totals in course.totals(kind).items()
        ]
        found = course.change(kind).values()
        if found:
            rows.append(["change", *(cell(one, change=True) for one in found)])
        caption = f"{course.split}, {kind}"
        parts.append(table(("checkpoint", *NAMES.values()), rows, caption=caption))
    return joined(parts)
