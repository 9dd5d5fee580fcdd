"""Tables of an analysis as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lsmi.decomposition import Totals
from lsmi.report.readings import distinct_kinds, has_control, is_unclear, quantities, shift_of
from lsmi.report.words import (
    LETTERS,
    interval,
    level_words,
    number,
    pair_title,
    prior_words,
    signed,
)
from lsmi.results import ATOMS, INFORMATION, Analysis, Pair, PairReading, Quantity, SplitReading

Row = tuple[str, ...]
UNCLEAR = "~"  # behind a total that shuffled labels would give as well
NO_SHIFT = "feasible: none"
SHIFTS = "behind adjusted, feasible: the shift, which R and S gain and U1 and U2 lose"
DIGITS = 6  # width of -0.123


def summary_table(analysis: Analysis) -> str:
    """R, U1, U2, S of every pair and split with their intervals, in nats.

    Args:
        analysis: the result.

    Returns:
        A block a pair; in it, a split has a line of I1, I2, I12 and H(Y), one of raw atoms, one
        of adjusted ones, and one of the feasible adjustment where that is another.
    """
    blocks = [_pair_block(names, pair) for names, pair in analysis.pairs.items()]
    return "\n\n".join([_title(analysis), *blocks, _legend(analysis)])


def _title(analysis: Analysis) -> str:
    return (
        f"LSMI: information about the label, {len(analysis.classes)} classes, "
        f"prior: {prior_words(analysis.settings)}"
    )


def _legend(analysis: Analysis) -> str:
    controlled = any(
        has_control(reading) for pair in analysis.pairs.values() for reading in pair.splits.values()
    )
    mark = f"{UNCLEAR} not distinguishable from shuffled labels"
    control = mark if controlled else "no control with shuffled labels"
    return f"nats: mean [{level_words(analysis.settings)} interval]; {control}\n{SHIFTS}"


def _pair_block(names: Pair, pair: PairReading) -> str:
    rows: list[Row] = [
        ("", "", *(LETTERS[name].rjust(DIGITS) for name in INFORMATION), "H(Y)".rjust(DIGITS)),
        ("", "", *(LETTERS[name].rjust(DIGITS) for name in ATOMS)),
    ]
    for split, reading in pair.splits.items():
        rows += _split_rows(split, reading)
    return "\n".join([pair_title(names), *aligned(rows, left=len(rows[0]))])


def _split_rows(split: str, reading: SplitReading) -> Iterator[Row]:
    cells = [_cell(reading.quantities[name]) for name in INFORMATION]
    yield split, f"N {len(reading.ids)}", *cells, number(reading.label_entropy).rjust(DIGITS)
    for kind in distinct_kinds(reading):
        name = kind if kind == "raw" else f"{kind} {signed(shift_of(reading, kind))}"
        yield "", name, *(_cell(found) for found in quantities(reading, kind).values())
    if reading.decomposition.feasible is None:
        yield "", NO_SHIFT, "", "", "", ""


def _cell(found: Quantity) -> str:
    mark = UNCLEAR if is_unclear(found) else ""
    bounds = interval(found.low, found.high)
    return f"{number(found.value).rjust(DIGITS)}{' ' if bounds else ''}{bounds}{mark}"


def measures_table(analysis: Analysis) -> str:
    """Other measures' decompositions beside the raw and adjusted ones, in nats.

    Returns:
        A block for each pair and split that has other measures, each with the notes on how they
        were computed; empty text where no split has any.
    """
    blocks = []
    for names, pair in analysis.pairs.items():
        for split, reading in pair.splits.items():
            if reading.measures:
                lines = aligned(measure_rows(reading), left=1)
                notes = [f"  {note}" for note in measure_notes({split: reading})]
                blocks.append("\n".join([f"{pair_title(names)}, {split}", *lines, *notes]))
    return "\n\n".join(blocks)


def measure_notes(splits: Mapping[str, SplitReading]) -> list[str]:
    """How measures were computed, those computed alike in one line; splits where they differ."""
    names: dict[str, dict[str, None]] = {}
    places: dict[str, dict[str, None]] = {}
    for split, reading in splits.items():
        for one in reading.measures:
            names.setdefault(one.note, {})[one.name] = None
            places.setdefault(one.note, {})[split] = None
    everywhere = {split for split, reading in splits.items() if reading.measures}
    return [
        f"{', '.join(known)}"
        + ("" if set(places[note]) == everywhere else f" ({', '.join(places[note])})")
        + f": {note}"
        for note, known in names.items()
        if note
    ]


def measure_rows(reading: SplitReading) -> list[Row]:
    """Head and rows of measures: name, R, U1, U2, S, I1, I2, I12; ours first."""
    letters = [LETTERS[name] for name in (*ATOMS, *INFORMATION)]
    known = reading.decomposition
    atoms = {"raw": known.raw, "adjusted": known.adjusted, "feasible": known.feasible}
    ours = [
        (f"LSMI {kind}", found.totals)
        for kind in distinct_kinds(reading)
        if (found := atoms[kind]) is not None
    ]
    means = tuple(float(getattr(known.information, name).mean()) for name in INFORMATION)
    rows = [(name, totals, means) for name, totals in ours]
    rows += [(one.name, one.totals, one.information) for one in reading.measures]
    return [
        ("measure", *letters),
        *((name, *map(number, totals), *map(number, found)) for name, totals, found in rows),
    ]


def scales_table(analysis: Analysis) -> str:
    """R, U1, U2, S had the features been brought to other scales, in nats.

    Returns:
        A block for each pair and split; empty text where no other scale was read.
    """
    blocks = [
        "\n".join([f"{pair_title(names)}, {split}", *aligned(scale_rows(reading), left=1)])
        for names, pair in analysis.pairs.items()
        for split, reading in pair.splits.items()
        if reading.scales
    ]
    return "\n\n".join(blocks)


def scale_rows(reading: SplitReading) -> list[Row]:
    """Head and rows of scales: name, offset, raw R, U1, U2, S, then the adjusted ones."""
    letters = [LETTERS[name] for name in ATOMS]
    head = ("scale", "offset", *letters, *(f"{letter} adj." for letter in letters))
    return [
        head,
        *(
            (name, signed(found.offset), *_numbers(found.raw), *_numbers(found.adjusted))
            for name, found in reading.scales.items()
        ),
    ]


def _numbers(totals: Totals) -> tuple[str, ...]:
    return tuple(number(value) for value in totals)


def aligned(rows: Sequence[Row], left: int) -> list[str]:
    """Rows as lines: the first ``left`` columns flush left, the others flush right."""
    widths = [max(len(row[k]) for row in rows if k < len(row)) for k in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if k < left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
