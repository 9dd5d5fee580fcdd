"""One pair's chapter of the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lsmi.preprocessing import SCALINGS
from lsmi.report import verdicts
from lsmi.report.gallery import Picture
from lsmi.report.markup import (
    Content,
    Html,
    bullets,
    details,
    figure,
    heading,
    joined,
    link,
    table,
    tag,
)
from lsmi.report.readings import leading_shares, most_one_sided, most_synergistic
from lsmi.report.style import COLOURS
from lsmi.report.tables import measure_notes, measure_rows, scale_rows
from lsmi.report.words import (
    LETTERS,
    class_label,
    number,
    pair_title,
    plain_numbers,
    share,
)
from lsmi.results import ATOMS, Analysis, Pair, PairReading, SampleNotes, SplitReading

SHOWN = 20  # extreme samples of each sort
LONGEST_TEXT = 400  # characters of a transcript
SCALES = {**SCALINGS, "matched": "h1 and h2 made equal on average over train"}
VARIABLES = {"x1": "classifier of {0}", "x2": "classifier of {1}", "x12": "classifier of both",
             "h1": "density of {0}", "h2": "density of {1}"}  # fmt: skip


def chapter(
    analysis: Analysis,
    names: Pair,
    pictures: Sequence[Picture],
    class_names: Sequence[str],
    anchor: str,
) -> Html:
    """Everything about one pair.

    Args:
        analysis: the result.
        names: the pair.
        pictures: those of the pair.
        class_names: names of the classes 0, 1, ..., where there are any.
        anchor: name of the chapter, a prefix for those of its parts.
    """
    pair = analysis.pairs[names]
    drawn: dict[str, list[Picture]] = {}
    for picture in pictures:
        drawn.setdefault(picture.what, []).append(picture)
    sections = [
        ("totals", "Totals", _totals(pair, drawn)),
        ("samples", "Samples", _samples(pair, drawn, class_names)),
        ("extremes", "Most synergistic and most one-sided samples",
         _extremes(analysis, names, class_names)),
        ("calibration", "Calibration of the classifiers", _pictures(drawn, "calibration")),
        ("scales", "Sensitivity to scale", _scales(pair, drawn)),
        ("measures", "Other measures", _measures(pair)),
        ("choices", "What judged each split", _choices(pair, analysis.settings.method)),
    ]  # fmt: skip
    kept = [(f"{anchor}-{part}", title, content) for part, title, content in sections if content]
    links = joined([link(where, title) for where, title, _ in kept], " \N{MIDDLE DOT} ")
    first, second = pair.components
    seen = (
        f"{first} coordinates of {names[0]} and {second} of {names[1]}"
        if first != second
        else f"{first} coordinates of each"
    )
    scale = analysis.settings.scale
    opening = f"The models saw {seen}. Scale: {scale}, which is {SCALINGS[scale]}."
    parts: list[Content] = [tag("p", links, class_="note"), tag("p", opening)]
    for where, title, content in kept:
        parts += [heading(3, title, where), content]
    return joined(parts)


def _pictures(drawn: Mapping[str, Sequence[Picture]], what: str) -> Html:
    return joined(figure(picture) for picture in drawn.get(what, ()))


def _totals(pair: PairReading, drawn: Mapping[str, Sequence[Picture]]) -> Html:
    parts: list[Content] = [_pictures(drawn, "bars"), _pictures(drawn, "intervals")]
    for split, reading in pair.splits.items():
        sentences: list[Content] = [*map(_sentence, reading.remarks), *verdicts.chance(reading)]
        sentences += verdicts.adjustments(reading)
        verdict, numbers = verdicts.bound(reading)
        if verdict == "no":
            sentences.append(tag("span", f"I12 exceeds H(Y): {numbers}.", class_="flag"))
        parts += [tag("p", tag("strong", f"{split}:")), bullets(sentences)]
    return joined(parts)


def _sentence(remark: str) -> str:
    """A remark as a warning words it, written as a sentence."""
    return f"{remark[:1].upper()}{remark[1:].rstrip('.')}."


def _samples(
    pair: PairReading, drawn: Mapping[str, Sequence[Picture]], class_names: Sequence[str]
) -> Html:
    letters = [_chip(atom) for atom in ATOMS]
    rows: list[list[Content]] = []
    for split, reading in pair.splits.items():
        rows.append([split, "all", str(len(reading.ids)), *_shares(leading_shares(reading))])
        for label in map(int, np.unique(reading.labels)):
            found = leading_shares(reading, label)
            count = str(int((reading.labels == label).sum()))
            rows.append([split, class_label(label, class_names), count, *_shares(found)])
    shares = table(("split", "label", "N", *letters), rows, names=2)
    parts = [_pictures(drawn, "samples"), _pictures(drawn, "leading")]
    return joined([*parts, details("The shares as numbers", shares)])


def _shares(found: Mapping[str, float]) -> list[str]:
    return [share(value) for value in found.values()]


def _chip(atom: str, text: str = "") -> Html:
    colour = Html(f'<span class="chip" style="background:{COLOURS[atom]}"></span>')
    return joined([colour, text or LETTERS[atom]], "")


def _extremes(analysis: Analysis, names: Pair, class_names: Sequence[str]) -> Html:
    pair = analysis.pairs[names]
    note = (
        "Atoms are those after the published adjustment, in nats. The order depends on no shift. "
        "Most one-sided: the largest distance of u1 and u2, which is that of i1 and i2."
    )
    parts: list[Content] = [tag("p", note, class_="note")]
    last = list(pair.splits)[-1]
    for split, reading in pair.splits.items():
        notes = analysis.notes.get(split, SampleNotes())
        tables = [
            _sample_table(reading, notes, rows, class_names, caption)
            for rows, caption in (
                (most_synergistic(reading, SHOWN), f"{split}: the most synergistic"),
                (most_one_sided(reading, SHOWN), f"{split}: the most one-sided"),
            )
        ]
        parts.append(details(f"{pair_title(names)}, {split}", joined(tables), shown=split == last))
    return joined(parts)


def _sample_table(
    reading: SplitReading,
    notes: SampleNotes,
    rows: npt.NDArray[np.int64],
    class_names: Sequence[str],
    caption: str,
) -> Html:
    columns: dict[str, Sequence[Content]] = {"id": [reading.ids[row] for row in rows]}
    if notes.texts is not None:
        columns["text"] = [shortened(notes.texts[row]) for row in rows]
    columns["label"] = [class_label(int(label), class_names) for label in reading.labels[rows]]
    rated = None if _are_classes(reading, notes) else notes.ratings
    for name, values in (("rating", rated), ("prediction", notes.predictions)):
        if values is not None:
            columns[name] = plain_numbers(values[rows])
    atoms = reading.decomposition.adjusted
    for atom in ATOMS:
        columns[atom] = [number(float(value), 2) for value in getattr(atoms, atom)[rows]]
    columns["led by"] = [_chip(str(atom)) for atom in reading.leading[rows]]
    body = list(zip(*columns.values(), strict=True))
    words = 1 if notes.texts is None else 2
    return table(list(columns), body, caption=caption, names=words, class_="samples")


def _are_classes(reading: SplitReading, notes: SampleNotes) -> bool:
    """Whether what came before the classes is the classes: a column that says nothing more."""
    return notes.ratings is not None and np.array_equal(notes.ratings, reading.labels)


def shortened(text: str) -> str:
    """A transcript, its end left out where it is very long."""
    if len(text) <= LONGEST_TEXT:
        return text
    return text[:LONGEST_TEXT].rsplit(" ", 1)[0] + " \N{HORIZONTAL ELLIPSIS}"


def _scales(pair: PairReading, drawn: Mapping[str, Sequence[Picture]]) -> Html:
    parts: list[Content] = [_pictures(drawn, "scales")]
    names: dict[str, None] = {}
    for split, reading in pair.splits.items():
        if reading.scales:
            names |= dict.fromkeys(reading.scales)
            head, *rows = scale_rows(reading)
            parts.append(table(head, rows, caption=f"{split}, nats"))
    parts.append(bullets([f"{name}: {SCALES[name]}" for name in names if name in SCALES]))
    return joined(parts)


def _measures(pair: PairReading) -> Html:
    parts: list[Content] = []
    for split, reading in pair.splits.items():
        if reading.measures:
            head, *rows = measure_rows(reading)
            parts.append(table(head, rows, caption=f"{split}, nats"))
    if not parts:
        return Html("")
    opening = (
        "Other definitions of the same four quantities, computed from the same features. Those "
        "that cut features into bins lose information: compare their I1, I2 and I12 with ours "
        "before their atoms."
    )
    return joined([tag("p", opening), *parts, bullets(measure_notes(pair.splits))])


JUDGES = (
    "What read the folds of each repeat; equal ones are counted. Moment, epoch: how far the "
    "training had gone. Slope: factor of the classifier's log odds against the class prior; 0 "
    "reads the prior itself. Nats held out: mean log density of the rows that chose."
)


def _choices(pair: PairReading, method: str) -> Html:
    rows: list[list[Content]] = []
    for variable, found in pair.choices.items():
        words = VARIABLES.get(variable, variable).format(*pair.names)
        for split, texts in found.items():
            counted = Counter(texts)
            what = "; ".join(f"{n} \N{MULTIPLICATION SIGN} {t}" if n > 1 else t
                             for t, n in counted.items())  # fmt: skip
            rows.append([words, split, what])
            words = ""
    if not rows:
        return Html("")
    note = tag("p", JUDGES, class_="note") if method == "crossfit" else Html("")
    return joined([note, table(("model", "split", "chosen"), rows, names=3, class_="wrap")])
