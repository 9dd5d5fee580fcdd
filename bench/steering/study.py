"""Where does steering help the task? Planted data, few to many clips, clean and flipped labels.

Each cell has its number of training clips and its share of flipped labels; in each, several steered
settings are compared with no steering over the same seeds, also with modalities missing at test.
Fewer clips train for more epochs, in smaller batches, so that models are not merely unfinished.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.speed.rows import markdown
from bench.steering.cells import ENCODED, QUICK, Cell, Finished, Key
from bench.steering.lines import Line
from bench.steering.options import UNSTEERED, Options, steered
from bench.steering.paired import by_seed, numbers, row
from mimrl.datasets.planted import truth
from mimrl.settings.evaluation import DRAWS, TENTHS
from mimrl.training.missing import evaluate_missing

NAME = "study"
TITLE = "Where steering helps the task"
SEEDS = 10
WEIGHT = 0.3
FLIPS = (0.0, 0.2)
LENGTHS = {128: (32, 32), 512: (20, 64), 2048: (12, 64)}
"""Training clips -> epochs, batch size."""
TEST = 2048
SHOWN_RATES = (0.3, 0.6, 0.9)  # of missing modalities; the lines have all
ALONE = ("invariant", "complementary", "specific_audio", "specific_video", "fusion_text",
         "fusion_audio", "fusion_video")  # fmt: skip
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "unsteered": UNSTEERED,
    "default": (),
    **{name: steered(**{name: WEIGHT}) for name in ALONE},
}
METRICS = ("chosen.test.accuracy", "chosen.test.clean", "chosen.test.auc", "last.test.clean")


@dataclass(frozen=True)
class Place:
    """Clips to train on, and the share of labels that are flipped."""

    clips: int
    flips: float

    @classmethod
    def of(cls, text: str) -> Place:
        """``512/0.2``."""
        clips, _, flips = text.partition("/")
        return cls(int(clips), float(flips))

    def overrides(self) -> tuple[str, ...]:
        """As settings."""
        epochs, batch = LENGTHS.get(self.clips, LENGTHS[2048])
        return (
            f"data.planted.train_size={self.clips}",
            f"data.planted.label_flips={self.flips}",
            f"data.planted.test_size={TEST}",
            f"training.epochs={epochs}",
            f"training.batch_size={batch}",
            "training.stage1_batch_size=64",
        )


def cells(options: Options) -> list[Cell]:
    """Places x seeds x settings."""
    everywhere = [Place(clips, flips) for clips, flips in product(LENGTHS, FLIPS)]
    places = [Place.of(text) for text in options.cells] or everywhere
    settings = [name for name in SETTINGS if not options.only or name in options.only]
    if options.quick:
        places, settings = places[:1], settings[:3]
    found = []
    seeds = options.seeds or range(2 if options.quick else SEEDS)
    for place, seed, setting in product(places, seeds, settings):
        key: Key = {"clips": place.clips, "flips": place.flips, "setting": setting, "seed": seed}
        quick = QUICK if options.quick else ()
        found.append(Cell(key, "steering", (*place.overrides(), *SETTINGS[setting], *quick), seed))
    return found


def measure(cell: Cell, run: Finished) -> Line:
    """Metrics at both epochs, and whatever :data:`EXTRAS` read."""
    extra: dict[str, Any] = {}
    for reading in EXTRAS:
        extra |= reading(run)
    return {"metrics": run.metrics()} | ({"extra": extra} if extra else {})


def missing_modalities(run: Finished) -> dict[str, Any]:
    """The chosen model's test accuracy with modalities missing, against the labels before flips.

    ``missing`` has the mean over all rates, some rates, and each modality alone; ``rates`` all.
    """
    labels = truth(run.settings.data.planted, run.settings.task).draws["test"].clean_labels
    found = evaluate_missing(
        run.settings,
        run.best.model,
        replace(run.data.splits["test"], labels=labels.astype(np.int64)),
        rates=TENTHS,
        draws=DRAWS,
        seed=run.settings.seed,
        device=torch.device("cpu"),
        batch_size=ENCODED,
    )
    rates = {rate: found.over_draws(rate).mean["accuracy"] for rate in TENTHS}
    alone = {f"{name} alone": found.subsets[name]["accuracy"] for name in found.modalities}
    shown = {f"rate {rate:g}": rates[rate] for rate in SHOWN_RATES}
    mean = {"mean over rates": float(np.mean(list(rates.values())))}
    return {"missing": {**mean, **shown, **alone}, "rates": list(rates.values())}


Extra = Callable[[Finished], Mapping[str, Any]]
EXTRAS: tuple[Extra, ...] = (missing_modalities,)
"""Further readings of every finished model: functions of this or another module, not lambdas. What
they give goes into the line under ``extra``; numbers outside lists get a table of differences."""


def report(lines: Sequence[Line], folder: Path) -> str:
    """A table a metric: a line a place and setting."""
    extra = {name: None for line in lines for name in numbers({"extra": line.get("extra", {})})}
    note = (
        "Mean (standard deviation over seeds); differences are paired by seed, with Student's t; "
        "clean: accuracy against the labels before flips. Of many intervals some miss 0 by chance: "
        "one in twenty of those without effect."
    )
    parts = [f"### {metric}\n\n{_table(lines, metric)}" for metric in (*METRICS, *extra)]
    return "\n\n".join([note, *parts])


def _table(lines: Sequence[Line], metric: str) -> str:
    header = ["clips", "flips", "setting", "seeds", "unsteered", "steered", "difference [95 %]",
              "sign"]  # fmt: skip
    places = sorted({(line["cell"]["clips"], line["cell"]["flips"]) for line in lines})
    rows = []
    for (clips, flips), setting in product(places, list(SETTINGS)[1:]):
        unsteered, own = (
            by_seed(lines, metric, clips=clips, flips=flips, setting=name)
            for name in ("unsteered", setting)
        )
        if own.keys() & unsteered.keys():
            rows.append([str(clips), f"{flips:g}", setting, *row(own, unsteered)])
    return markdown(header, rows)
