"""Seconds an epoch against the number of clips: linear, as far as the searches allow.

Trains a small model with all 11 terms on 1,000 to 23,000 generated clips of 4 to 10 steps (text as
the states of a frozen encoder, 64 wide), both stages, the bank growing with the clips, one thread.
The slope of log seconds against log clips is fitted by least squares; the goal is 1.1 at most.
Each step searches the neighbours of its batch among all rows of the bank, which is quadratic an
epoch; performance.bank_size caps it, so the same is measured with a bank of 4,096 rows.

    python -m bench.speed.scaling [--clips 1000 2800 8000 23000] [--cap 4096] [--json OUT]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.speed.large_corpus import Shape, corpus
from bench.speed.rows import Found, Row, Table, counted_threads, number, parser, report
from bench.speed.shapes import SMALL_MODEL
from mimrl.datasets.features import Corpus, Ragged, Split
from mimrl.datasets.prepare import prepare
from mimrl.settings import load
from mimrl.training.run import build_trainer

GOAL = 1.1
CLIPS = (1000, 2800, 8000, 23_000)
QUICK = (100, 200, 400)
CAP = 4096
EPOCHS = 3  # of which the first warms up and the quicker of the others counts
STAGES = {
    "bank": "making the bank",
    "stage1": "stage 1",
    "stage2": "stage 2",
    "valid": "validation",
}
WIDTHS = (("text", 64), ("audio", 16), ("video", 16))
SMALL = (
    "model.encoders.text.kind=linear",
    "model.encoders.audio.kind=linear",
    "model.encoders.video.kind=linear",
    *SMALL_MODEL,
    f"training.epochs={EPOCHS}",
    "device=cpu",
)


@dataclass(frozen=True)
class Cost:
    """One epoch.

    Attributes:
        clips: of training, validation and test together.
        cap: largest bank; None: all training clips.
        seconds: of each stage.
        cpu: processor seconds of the whole epoch, which other programs do not change.
    """

    clips: int
    cap: int | None
    seconds: Mapping[str, float]
    cpu: float

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())


def main(argv: list[str] | None = None) -> int:
    found = parser(__doc__)
    found.add_argument("--clips", type=int, nargs="+", help=f"default {' '.join(map(str, CLIPS))}")
    found.add_argument("--cap", type=int, default=CAP, help="rows of the smaller bank")
    arguments = found.parse_args(argv)
    clips = arguments.clips or (QUICK if arguments.quick else CLIPS)
    cap = 64 if arguments.quick else arguments.cap
    if len(clips) < 2:
        found.error("--clips needs two numbers at least")
    return report(measure(clips, cap, threads=arguments.threads or 1), "scaling", arguments.json)


def measure(clips: Sequence[int] = CLIPS, cap: int = CAP, *, threads: int = 1) -> Found:
    """The slopes with the whole bank and with a capped one, and the seconds behind them."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        costs = {
            limit: [epoch(count, limit) for count in sorted(clips)] for limit in (None, cap)
        }  # fmt: skip
    finally:
        torch.set_num_threads(before)
    rows = []
    for limit, found in costs.items():
        bank = "all clips" if limit is None else f"{limit} clips at most"
        note = (
            f"{found[0].clips} to {found[-1].clips} clips, {counted_threads(threads)}; "
            f"exponent of elapsed seconds {number(slope(found, lambda cost: cost.total))}"
        )
        exponent = slope(found, lambda cost: cost.cpu)
        what = f"exponent of an epoch's processor seconds, bank of {bank}"
        rows.append(Row(what, exponent, unit="", goal=GOAL, note=note))
    header = ("clips", "largest bank", *(f"{name}, s" for name in STAGES.values()), "all, s",
              "processor, s")  # fmt: skip
    lines = tuple(_cells(cost) for found in costs.values() for cost in found)
    return Found(tuple(rows), (Table("Seconds of an epoch against clips", header, lines),))


def _cells(cost: Cost) -> tuple[str, ...]:
    bank = "all" if cost.cap is None else str(cost.cap)
    seconds = [*(cost.seconds[name] for name in STAGES), cost.total, cost.cpu]
    return str(cost.clips), bank, *(number(value) for value in seconds)


def slope(costs: Sequence[Cost], of: Any) -> float:
    """Least-squares slope of log seconds against log clips.

    >>> slope([Cost(n, None, {}, 3.0 * n**2) for n in (10, 100, 1000)], lambda cost: cost.cpu)
    2.0
    """
    logs = np.log([[cost.clips, of(cost)] for cost in costs])
    return round(float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0]), 6)


def epoch(clips: int, cap: int | None) -> Cost:
    """The quickest epoch after the first."""
    settings = load(None, (*SMALL, "data.path=generated.h5", *_bank(cap)))
    data = prepare(in_memory(corpus(Shape(clips, "vectors", WIDTHS, (4, 10), (4, 10)))), settings)
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory(prefix="mimrl-scaling-") as folder:
        trainer = build_trainer(settings, data, Path(folder), torch.device("cpu"))
        started = time.process_time()

        def note(record: Mapping[str, Any]) -> None:
            nonlocal started
            seconds = {name: float(record["seconds"][name]) for name in STAGES}
            costs.append(Cost(clips, cap, seconds, time.process_time() - started))
            started = time.process_time()

        trainer.fit(progress=False, on_epoch=note)
    return min(costs[1:], key=lambda cost: cost.cpu)


def _bank(cap: int | None) -> tuple[str, ...]:
    return () if cap is None else (f"performance.bank_size={cap}",)


def in_memory(found: Corpus) -> Corpus:
    """The corpus with its features drawn once."""
    splits = {
        name: Split(
            ids=split.ids,
            sequences={
                modality: Ragged(sequences.values[0 : sequences.values.shape[0]], sequences.offsets)
                for modality, sequences in split.sequences.items()
            },
            labels=split.labels,
        )
        for name, split in found.splits.items()
    }
    return Corpus(found.layout, found.source, splits)


if __name__ == "__main__":
    sys.exit(main())
