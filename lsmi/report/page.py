"""The report as one page that needs nothing else: text, tables and pictures in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lsmi.report import verdicts
from lsmi.report.chapter import chapter
from lsmi.report.explain import guide
from lsmi.report.gallery import Picture
from lsmi.report.look import STYLE
from lsmi.report.markup import (
    Content,
    Html,
    bullets,
    details,
    document,
    figure,
    heading,
    joined,
    link,
    paragraphs,
    table,
    tag,
)
from lsmi.report.readings import distinct_kinds, is_unclear, quantities, shift_of
from lsmi.report.record import settings_record, versions
from lsmi.report.words import (
    KINDS,
    LETTERS,
    class_label,
    class_names,
    interval,
    level_words,
    number,
    pair_title,
    signed,
)
from lsmi.results import ATOMS, INFORMATION, Analysis, Quantity, SplitReading

TITLE = "LSMI report"
IDENTITIES = "r + u1 = i1, r + u2 = i2, r + u1 + u2 + s = i12"


def page(
    analysis: Analysis,
    pictures: Mapping[str, Picture],
    origin: Mapping[str, Any] | None = None,
) -> str:
    """The whole report.

    Args:
        analysis: the result.
        pictures: what :func:`lsmi.report.gallery.gallery` drew.
        origin: checkpoint, data, label rule and whatever else the report is to say about them.

    Returns:
        HTML in which nothing refers to anything outside.
    """
    chapters = [
        ("guide", "How to read this", guide(analysis)),
        ("summary", "Summary", _summary(analysis, pictures)),
    ]
    for count, names in enumerate(analysis.pairs, 1):
        mine = [picture for picture in pictures.values() if picture.pair == names]
        content = chapter(analysis, names, mine, class_names(origin), f"pair{count}")
        chapters.append((f"pair{count}", pair_title(names), content))
    chapters += [
        ("checks", "Checks", _checks(analysis)),
        ("settings", "Settings and origin", _settings(analysis, origin)),
    ]
    toc = tag("nav", bullets([link(anchor, title) for anchor, title, _ in chapters]),
              id="contents")  # fmt: skip
    parts: list[Content] = [heading(1, TITLE), _subtitle(analysis, origin), toc]
    for anchor, title, content in chapters:
        looks = {"class_": "pair"} if anchor.startswith("pair") else {}
        parts.append(tag("section", [heading(2, title, anchor), content], **looks))
    return document(TITLE, STYLE, tag("main", joined(parts)))


def _subtitle(analysis: Analysis, origin: Mapping[str, Any] | None) -> Html:
    where = [
        str(origin[key]) for key in ("checkpoint", "data") if origin is not None and origin.get(key)
    ]
    words = f"Redundant, unique and synergistic information about {len(analysis.classes)} classes"
    return tag("p", f"{words}{': ' if where else ''}{', '.join(where)}", class_="note")


def _summary(analysis: Analysis, pictures: Mapping[str, Picture]) -> Html:
    head = ["split", "", *(LETTERS[name] for name in (*ATOMS, *INFORMATION)), "H(Y)"]
    level = level_words(analysis.settings)
    tables = []
    for names, pair in analysis.pairs.items():
        rows = [row for split, one in pair.splits.items() for row in _summary_rows(split, one)]
        tables.append(
            table(head, rows, caption=pair_title(names), names=2, class_="summary"),
        )
    note = (
        f"Nats. In brackets the {level} interval, below it what shuffled labels gave. Shaded and "
        "marked ~: not distinguishable from shuffled labels. Below adjusted: which adjustment, and "
        "its shift, which R and S gain and U1 and U2 lose; I1, I2, I12 and H(Y) stay the same."
    )
    return joined([tag("p", note, class_="note"), *tables, figure(pictures[""])])


def _summary_rows(split: str, reading: SplitReading) -> list[list[Content]]:
    rows: list[list[Content]] = []
    for kind in distinct_kinds(reading):
        first = kind == "raw"
        name = _two_lines(split, f"N = {len(reading.ids)}") if first else Html("")
        shift = "" if first else f"{KINDS[kind]} {signed(shift_of(reading, kind))}"
        word = kind if first else "adjusted"
        cells = [total_cell(found) for found in quantities(reading, kind).values()]
        known = [total_cell(reading.quantities[key]) for key in INFORMATION] if first else [""] * 3
        entropy = number(reading.label_entropy) if first else ""
        rows.append([name, _two_lines(word, shift), *cells, *known, entropy])
    if reading.decomposition.feasible is None:
        rows.append(["", _two_lines("adjusted", "feasible: none"), *[""] * 8])
    return rows


def _two_lines(first: str, second: str) -> Html:
    return joined([first, tag("span", second, class_="small")] if second else [first], "")


def total_cell(found: Quantity) -> Html:
    """A total, its interval, its control, and a mark where the two cannot be told apart."""
    unclear = is_unclear(found)
    parts: list[Content] = [f"{number(found.value)}{' ~' if unclear else ''}"]
    bounds = interval(found.low, found.high)
    if bounds:
        parts.append(tag("span", bounds, class_="small"))
    if found.control is not None:
        parts.append(tag("span", f"shuffled {number(found.control)}", class_="small"))
    return tag("div", parts, **({"class_": "unclear"} if unclear else {}))


def _checks(analysis: Analysis) -> Html:
    rows = []
    for names, pair in analysis.pairs.items():
        for split, reading in pair.splits.items():
            word, numbers = verdicts.bound(reading)
            verdict: Content = tag("span", word, class_="flag") if word == "no" else word
            residual = f"{reading.decomposition.residual():.1e}"
            rows.append([pair_title(names), split, residual, numbers, verdict])
    text = (
        f"The identities {IDENTITIES} hold for every sample, raw and adjusted, up to rounding; the "
        "largest residual is in the table. I12 may not exceed H(Y), the entropy of the split's "
        "labels; where it does, the class prior is not the class shares of the split, and what is "
        "above H(Y) is that difference, not information."
    )
    head = (
        "pair",
        "split",
        "largest residual",
        "I12 and H(Y)",
        "I12 \N{LESS-THAN OR EQUAL TO} H(Y)",
    )
    return joined([tag("p", text), table(head, rows, names=2)])


def _settings(analysis: Analysis, origin: Mapping[str, Any] | None) -> Html:
    names = class_names(origin)
    prior = [
        [class_label(label, names), number(float(value))]
        for label, value in zip(analysis.classes, analysis.prior, strict=True)
    ]
    parts: list[Content] = []
    if origin:
        known = {key: value for key, value in origin.items() if value not in (None, "", [], ())}
        parts.append(_named("Checkpoint and data", known))
    settings = settings_record(analysis)
    if settings["components"] is None:
        settings["components"] = "chosen for each pair"
    parts += [
        _named("Settings", settings),
        _named("Versions", versions()),
        details("Class prior", table(("class", "prior"), prior), shown=len(prior) <= 12),
        paragraphs(["Nothing on this page is loaded from elsewhere."], class_="note"),
    ]
    return joined(parts)


def _named(caption: str, values: Mapping[str, Any]) -> Html:
    rows: Sequence[Sequence[Content]] = [[key, _value(value)] for key, value in values.items()]
    return table(("", "value"), rows, caption=caption, names=2, class_="wrap")


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_value(one)}" for key, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value))
    return "none" if value is None else str(value)
