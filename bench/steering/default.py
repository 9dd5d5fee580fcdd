"""What the default weights do to the task: against no steering, over the same seeds.

On the demonstration and on its regression variant; a seed is of the data and of the training.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from bench.speed.rows import markdown
from bench.steering.cells import HELD_OUT, QUICK, REGRESSION, Cell, Finished
from bench.steering.lines import Line
from bench.steering.options import UNSTEERED, Options
from bench.steering.paired import by_seed, row

NAME = "default"
TITLE = "Default weights against no steering"
SEEDS = 10
TASKS = {"classes": (), "ratings": REGRESSION}
SETTINGS = {"unsteered": UNSTEERED, "default": ()}
METRICS = {"classes": ("accuracy", "clean", "auc"), "ratings": ("mae", "corr", "ccc")}


def cells(options: Options) -> list[Cell]:
    """Seeds x tasks x (unsteered, default weights)."""
    quick = QUICK if options.quick else ()
    return [
        Cell(
            {"task": task, "setting": setting, "seed": seed},
            "demo",
            (*TASKS[task], *SETTINGS[setting], *quick),
            seed,
        )
        for seed, task, setting in product(
            options.seeds or range(2 if options.quick else SEEDS), TASKS, SETTINGS
        )
    ]


def measure(cell: Cell, run: Finished) -> Line:
    """Metrics at the chosen and at the last epoch."""
    return {"metrics": run.metrics()}


def report(lines: Sequence[Line], folder: Path) -> str:
    """A line a task, split and metric, at the chosen epoch."""
    header = ["task", "split", "metric", "seeds", "unsteered", "default weights",
              "difference [95 %]", "sign"]  # fmt: skip
    rows = []
    for task, split in product(TASKS, HELD_OUT):
        for metric in METRICS[task]:
            path = f"chosen.{split}.{metric}"
            without, with_default = (
                by_seed(lines, path, task=task, setting=setting) for setting in SETTINGS
            )
            if with_default and without:
                rows.append([task, split, metric, *row(with_default, without)])
    note = (
        "At the chosen epoch; mean (standard deviation over seeds); differences are paired by "
        "seed, with Student's t; clean: accuracy against the labels before flips. Of mae less is "
        "better."
    )
    return f"{note}\n\n{markdown(header, rows)}"
