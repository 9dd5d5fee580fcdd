"""What is in a data file: sizes, lengths, labels, and everything that may be wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mimrl.datasets.features import SPLITS, Corpus, Ragged, Split
from mimrl.datasets.repair import NonFinite, count
from mimrl.datasets.rows import sequence_blocks
from mimrl.datasets.splitting import groups_of

DISTINCT = 12  # a label with at most so many values is counted by value, else in BINS bins
BINS = 10


@dataclass(frozen=True)
class SequenceReport:
    """One modality of one split.

    Attributes:
        width: features of a step (0: token ids, one number a step).
        shortest: steps of the shortest sequence that has any (0 when none has).
        median: median of the steps of those that have any.
        longest: steps of the longest one.
        non_finite: number of values by kind: NaN, +inf, -inf.
        all_zero: sequences that have steps, and nothing but zeros in them.
        empty: sequences without steps: the sample lacks the modality.
        range: smallest and largest finite value; None where there is none.
        mean_absolute: mean size of the finite values; None where there is none.
    """

    width: int
    shortest: int
    median: float
    longest: int
    non_finite: Mapping[str, int]
    all_zero: int
    empty: int
    range: tuple[float, float] | None
    mean_absolute: float | None


@dataclass(frozen=True)
class SplitReport:
    """One split.

    Attributes:
        samples: number of samples.
        groups: number of videos or speakers; None where the file tells none.
        duplicate_ids: samples whose id an earlier sample of the split has.
        raw_text: whether there are transcripts.
        empty_text: transcripts without a character other than blanks.
        sequences: modality (and ``token_ids``) -> what its sequences are like.
    """

    samples: int
    groups: int | None
    duplicate_ids: int
    raw_text: bool
    empty_text: int
    sequences: Mapping[str, SequenceReport]


@dataclass(frozen=True)
class LabelReport:
    """One label column.

    Attributes:
        ranges: split -> smallest and largest finite value; None where there is none.
        non_finite: split -> labels that are NaN or infinite.
        bins: what the histogram counts: values, or half-open ranges (the last one closed).
        histogram: split -> samples in each bin.
    """

    ranges: Mapping[str, tuple[float, float] | None]
    non_finite: Mapping[str, int]
    bins: tuple[str, ...]
    histogram: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Inspection:
    """Everything found in a data file, as the file has it: nothing is repaired.

    Attributes:
        source: the file or folder.
        layout: its layout.
        converted_from: layout and file of the origin, for files in our own format.
        splits: split -> report.
        labels: column -> report.
        shared_ids: ``"train, test"`` -> ids that both splits have; pairs with none left out.
        shared_groups: the same for videos or speakers.
        reading: what the layout already had to mend to read the file at all.
    """

    source: str
    layout: str
    converted_from: str | None
    splits: Mapping[str, SplitReport]
    labels: Mapping[str, LabelReport]
    shared_ids: Mapping[str, int]
    shared_groups: Mapping[str, int]
    reading: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """The same as plain dictionaries, for ``json.dump``."""
        return asdict(self)


def inspect(corpus: Corpus, converted_from: str | None = None) -> Inspection:
    """Looks at every value of a corpus once; values on disk are read in blocks.

    Args:
        corpus: as its layout module read it, not repaired.
        converted_from: the origin of a file in our own format.
    """
    return Inspection(
        source=corpus.source,
        layout=corpus.layout,
        converted_from=converted_from,
        splits={name: _split(split) for name, split in corpus.splits.items()},
        labels={
            name: _labels({s: split.labels[:, k] for s, split in corpus.splits.items()})
            for k, name in enumerate(corpus.label_names)
        },
        shared_ids=shared({name: split.ids for name, split in corpus.splits.items()}),
        shared_groups=shared({name: groups_of(split) for name, split in corpus.splits.items()}),
        reading=dict(corpus.repairs),
    )


def shared(names: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """``"train, test"`` -> how many names both splits have; pairs without a common one left out.

    >>> shared({"train": ["a", "b"], "valid": ["c"], "test": ["b", "c"]})
    {'train, test': 1, 'valid, test': 1}
    """
    pairs = combinations({split: set(values) for split, values in names.items()}.items(), 2)
    sizes = {f"{one}, {other}": len(first & second) for (one, first), (other, second) in pairs}
    return {pair: size for pair, size in sizes.items() if size}


def _split(split: Split) -> SplitReport:
    ragged = dict(split.sequences)
    if split.token_ids is not None:
        ragged["token_ids"] = split.token_ids
    return SplitReport(
        samples=len(split),
        groups=None if groups_of(split) == split.ids else len(set(groups_of(split))),
        duplicate_ids=len(split) - len(set(split.ids)),
        raw_text=split.raw_text is not None,
        empty_text=sum(not text.strip() for text in split.raw_text or ()),
        sequences={name: _sequences(sequences) for name, sequences in ragged.items()},
    )


def _sequences(ragged: Ragged) -> SequenceReport:
    non_finite, all_zero, sizes = NonFinite(), 0, _Sizes()
    for rows, values in sequence_blocks(ragged):
        non_finite += count(values)
        sizes.add(values)
        filled = np.any(values != 0, axis=tuple(range(1, values.ndim)))
        offsets = ragged.offsets[rows.start : rows.stop + 1] - ragged.offsets[rows.start]
        sums = np.concatenate([[0], np.cumsum(filled)])
        any_filled = sums[offsets[1:]] > sums[offsets[:-1]]
        all_zero += int(np.sum(~any_filled & (np.diff(offsets) > 0)))
    lengths = ragged.lengths[ragged.lengths > 0]
    return SequenceReport(
        width=ragged.width,
        shortest=int(lengths.min(initial=np.iinfo(np.int64).max)) if len(lengths) else 0,
        median=float(np.median(lengths)) if len(lengths) else 0.0,
        longest=int(lengths.max(initial=0)),
        non_finite=non_finite.by_kind(),
        all_zero=all_zero,
        empty=int(np.sum(ragged.lengths == 0)),
        range=(sizes.smallest, sizes.largest) if sizes.count else None,
        mean_absolute=sizes.total / sizes.count if sizes.count else None,
    )


class _Sizes:
    """Range and mean size of finite values, added in blocks."""

    def __init__(self) -> None:
        self.smallest, self.largest = np.inf, -np.inf
        self.total, self.count = 0.0, 0

    def add(self, values: npt.NDArray[np.generic]) -> None:
        finite = values[np.isfinite(values)].astype(np.float64)
        if len(finite):
            self.smallest = min(self.smallest, float(finite.min()))
            self.largest = max(self.largest, float(finite.max()))
        self.total += float(np.abs(finite).sum())
        self.count += len(finite)


def _labels(columns: Mapping[str, npt.NDArray[np.float32]]) -> LabelReport:
    finite = {split: values[np.isfinite(values)] for split, values in columns.items()}
    everything = np.concatenate(list(finite.values()))
    distinct = np.unique(everything)
    if len(distinct) <= DISTINCT:
        bins = tuple(f"{value:g}" for value in distinct)
        histogram = {
            split: tuple(int(np.sum(values == value)) for value in distinct)
            for split, values in finite.items()
        }
    else:
        edges = np.linspace(distinct[0], distinct[-1], BINS + 1)
        bins = tuple(f"{low:.3g}..{high:.3g}" for low, high in pairwise(edges))
        histogram = {
            split: tuple(np.histogram(values, edges)[0].tolist())
            for split, values in finite.items()
        }
    return LabelReport(
        ranges={
            split: (float(values.min()), float(values.max())) if len(values) else None
            for split, values in finite.items()
        },
        non_finite={split: len(values) - len(finite[split]) for split, values in columns.items()},
        bins=bins,
        histogram=histogram,
    )


def as_text(inspection: Inspection) -> str:
    """The inspection as tables for a terminal, without a newline at the end."""
    origin = inspection.converted_from
    head = [f"file    {inspection.source}", f"layout  {inspection.layout}"]
    head += [f"origin  {origin}"] if origin else []
    parts = ["\n".join(head), _split_table(inspection), _sequence_table(inspection)]
    parts += [_label_table(name, report) for name, report in inspection.labels.items()]
    parts += [_findings(inspection)]
    return "\n\n".join(part for part in parts if part)


def _split_table(inspection: Inspection) -> str:
    rows = [("split", "samples", "groups", "duplicate ids", "transcripts", "empty transcripts")]
    for name, split in inspection.splits.items():
        texts = ("yes", str(split.empty_text)) if split.raw_text else ("no", "-")
        groups = "-" if split.groups is None else str(split.groups)
        rows.append((name, str(split.samples), groups, str(split.duplicate_ids), *texts))
    return _table(rows)


def _sequence_table(inspection: Inspection) -> str:
    kinds = ("NaN", "+inf", "-inf", "all-zero", "missing", "min", "max", "mean|x|")
    rows: list[Sequence[str]] = [
        ("modality", "split", "width", "shortest", "median", "longest", *kinds)
    ]
    names = Counter(m for split in inspection.splits.values() for m in split.sequences)
    for modality in names:
        for name, split in inspection.splits.items():
            report = split.sequences.get(modality)
            if report is not None:
                lengths = [f"{n:g}" for n in (report.shortest, report.median, report.longest)]
                lengths = lengths if report.longest else ["-"] * 3
                counts = map(str, (*report.non_finite.values(), report.all_zero, report.empty))
                sizes = (*(report.range or (None, None)), report.mean_absolute)
                shown = ("-" if value is None else f"{value:.4g}" for value in sizes)
                rows.append((modality, name, str(report.width), *lengths, *counts, *shown))
    return _table(rows) if len(rows) > 1 else "no feature sequences"


def _label_table(name: str, report: LabelReport) -> str:
    rows = [(f"label '{name}'", "min", "max", "not finite", *report.bins)]
    for split, span in report.ranges.items():
        ends = ("-", "-") if span is None else (f"{span[0]:g}", f"{span[1]:g}")
        counts = (str(number) for number in report.histogram[split])
        rows.append((split, *ends, str(report.non_finite[split]), *counts))
    return _table(rows)


def _findings(inspection: Inspection) -> str:
    found = [f"ids in both {p}: {n}" for p, n in inspection.shared_ids.items()]
    found += [f"groups in both {p}: {n}" for p, n in inspection.shared_groups.items()]
    found += [f"while reading: {what}: {n}" for what, n in inspection.reading.items()]
    absent = [name for name in SPLITS if name not in inspection.splits]
    if absent:
        found.append(
            f"no {' and no '.join(absent)} split: training needs data.split_file or "
            "data.split_by_group"
        )
    return "\n".join(found) if found else "no id or group is in two splits"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = (
        [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)
