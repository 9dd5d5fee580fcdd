"""All pictures of an analysis, with what they show in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from lsmi.report import bars, curves, scatter
from lsmi.report.readings import distinct_kinds, leading_shares, quantities
from lsmi.report.style import png
from lsmi.report.words import (
    LETTERS,
    interval,
    level_words,
    number,
    pair_title,
    share,
    signed,
    slug,
    slugs,
    splits_of,
)
from lsmi.results import ATOMS, Analysis, Pair, PairReading, SplitReading


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        what: what it shows, a word of the page: ``overview``, ``bars``, ``samples``, ...
        pair: the pair it is about; None for all.
        split: the split it is about; None for all.
        data: PNG.
        alt: what it shows, numbers included, for those who cannot see it.
        caption: how to read it.
    """

    what: str
    pair: Pair | None
    split: str | None
    data: bytes
    alt: str
    caption: str


def gallery(analysis: Analysis, class_names: Sequence[str] = ()) -> dict[str, Picture]:
    """Draws everything.

    Args:
        analysis: the result.
        class_names: names of the classes 0, 1, ..., where there are any.

    Returns:
        Ending of the file's name (``""`` the overview, ``_text_audio_bars``, ...) -> picture.
    """
    found = {"": _overview(analysis)}
    for pair, name in slugs(list(analysis.pairs)).items():
        for picture in _pair_pictures(analysis, pair, class_names):
            split = f"_{slug(picture.split)}" if picture.split else ""
            found[f"_{name}_{picture.what}{split}"] = picture
    return found


def _overview(analysis: Analysis) -> Picture:
    rows = "; ".join(
        f"{pair_title(names)}, {split}: {_atoms(reading, 'raw')}"
        for names, pair in analysis.pairs.items()
        for split, reading in pair.splits.items()
    )
    return Picture(
        what="overview",
        pair=None,
        split=None,
        data=png(bars.overview(analysis)),
        alt=f"Stacked bars of R, U1, U2 and S for each pair in {_listed(splits_of(analysis))}. "
        f"Raw totals in nats: {rows}.",
        caption="For each pair and split, the raw bar (left) and the adjusted one (right). "
        "Negative parts hang below zero; the black line is the sum of all four, which is I12. "
        f"Whiskers: {level_words(analysis.settings)} intervals.",
    )


def _pair_pictures(
    analysis: Analysis, names: Pair, class_names: Sequence[str]
) -> Iterator[Picture]:
    pair = analysis.pairs[names]

    def drawn(what: str, draw: Callable[[], Figure], alt: str, caption: str) -> Picture:
        title = f"{pair_title(names)}. {alt}"
        return Picture(what, names, None, png(draw()), title, caption)

    level = level_words(analysis.settings)
    yield drawn("bars", lambda: bars.bars(pair), f"Stacked bars. {_every(pair)}", _bars(level))
    yield drawn("intervals", lambda: bars.intervals(pair),
                f"Totals with intervals. {_every(pair, wide=True)}", _intervals(level))  # fmt: skip
    for split, reading in pair.splits.items():
        yield Picture("samples", names, split, png(scatter.samples(pair, split)),
                      f"{pair_title(names)}, {split}. Scatter plots of u1 against u2, r against s "
                      f"and i1 against i2, and histograms of r, u1, u2 and s, of "
                      f"{len(reading.ids)} samples.", _samples(reading))  # fmt: skip
    yield drawn("leading", lambda: scatter.leading(pair, class_names),
                f"Share of samples led by each atom. {_shares(pair)}", LEADING)  # fmt: skip
    if any(reading.reliability for reading in pair.splits.values()):
        yield drawn("calibration", lambda: curves.calibration(pair),
                    f"Reliability diagrams. {_calibration(pair)}", CALIBRATION)  # fmt: skip
    alt = f"R, U1, U2 and S against the offset of h1 - h2. {_scales(pair)}"
    yield drawn("scales", lambda: curves.scales(pair), alt, SCALES)


LEADING = (
    "Share of samples whose largest atom (after the published adjustment) is R, U1, U2 or S, for "
    "each split and, below it, for the samples of each label."
)
CALIBRATION = (
    "How sure the classifiers are against how often they are right. On the dashed line they are "
    "as sure as they should be; below it, too sure. Larger marks: more samples. The calibration "
    "error is the mean distance from the line."
)
SCALES = (
    "Raw totals, had the features been brought to another scale. Linear maps of the features add "
    "one number, in nats, to h1 - h2 of all samples; the dotted lines are the scales named below "
    "the panels, an arrow marks a scale that lies beyond the edge, where the curves are flat. At "
    "the far left r = i1 for nearly all samples, at the far right r = i2."
)


def _bars(level: str) -> str:
    return (
        "Raw totals and totals after the adjustments (one adjusted bar where both adjustments "
        "agree or there is no feasible one). Negative parts hang below zero; the black line is the "
        f"sum of all four, I12, which no adjustment changes. Whiskers: {level} intervals, each at "
        "the end of its segment."
    )


def _intervals(level: str) -> str:
    return (
        f"The same totals, with {level} intervals. Grey: the range of the totals that the same "
        "analysis gave with shuffled labels, where there is nothing to find."
    )


def _samples(reading: SplitReading) -> str:
    shift = reading.decomposition.shift
    moved = (
        f" Raw values are r and s lower by {number(shift)} and u1 and u2 higher by as much."
        if shift > 0
        else f" Raw values are r and s higher by {number(-shift)} and u1 and u2 lower by as much."
    )
    return (
        "A point a sample, coloured by its largest atom; the atoms are those after the published "
        f"adjustment.{moved if shift else ' The shift is 0: they are also the raw ones.'}"
    )


def _atoms(reading: SplitReading, kind: str, wide: bool = False) -> str:
    return ", ".join(
        f"{LETTERS[atom]} {number(found.value)}"
        + (f" {interval(found.low, found.high)}" if wide else "")
        for atom, found in quantities(reading, kind).items()
    )


def _every(pair: PairReading, wide: bool = False) -> str:
    return " ".join(
        f"{split}, {kind}: {_atoms(reading, kind, wide)}."
        for split, reading in pair.splits.items()
        for kind in distinct_kinds(reading)
    )


def _shares(pair: PairReading) -> str:
    return " ".join(
        f"{split}: {_listed([f'{LETTERS[k]} {share(v)}' for k, v in shares.items()])}."
        for split, shares in ((name, leading_shares(one)) for name, one in pair.splits.items())
    )


def _calibration(pair: PairReading) -> str:
    return " ".join(
        f"{split}: calibration error of "
        + ", ".join(f"{LETTERS[key]} {number(one.error)}" for key, one in found.items())
        + "."
        for split, found in ((name, one.reliability) for name, one in pair.splits.items())
        if found
    )


def _scales(pair: PairReading) -> str:
    return " ".join(
        f"{split}, {name} (offset {signed(found.offset, 1)}): "
        + ", ".join(f"{LETTERS[a]} {number(getattr(found.raw, a))}" for a in ATOMS)
        + "."
        for split, reading in pair.splits.items()
        for name, found in reading.scales.items()
    )


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)
