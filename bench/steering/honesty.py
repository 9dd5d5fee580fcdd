"""Does stage 2 believe what validation reads, and do fresh critics read the same?

One quantity is steered alone, up or down. For each of its terms and each epoch after the warm-up
the log has what stage 2 believed (the mean over the epoch) and what validation read (at its end);
critics fitted anew read the model of the last epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bench.speed.rows import markdown
from bench.steering.cells import QUICK, REGRESSION, Cell, Finished, Key
from bench.steering.lines import Line
from bench.steering.options import QUANTITIES, Options, named, steered
from mimrl.training import controls

NAME = "honesty"
TITLE = "What stage 2 believes against what validation and fresh critics read"
SEEDS = 3
WEIGHTS = (0.1, -0.1, 0.01, -0.01)
TASKS = {"classes": (), "ratings": REGRESSION}
VERSIONS = {
    "now": (),
    "before": ("critics.update=epoch", "steering.scale=published", "training.stage1_passes=2"),
}
NEAR, LOWEST, SHARE, APART = 0.3, -0.1, 0.9, 0.3
"""Wanted: |difference| < NEAR in SHARE of the epochs, no epoch's mean below LOWEST, and fresh
critics within APART of the last validation reading; nats."""


def cells(options: Options) -> list[Cell]:
    """Quantities x weights x tasks x seeds; with ``before`` the former critics and weights."""
    seeds = options.seeds or tuple(range(1 if options.quick else SEEDS))
    weights = options.values or (WEIGHTS[:1] if options.quick else WEIGHTS)
    found, version = [], "before" if options.before else "now"
    few = named(options.only)[:1] if options.quick else named(options.only)
    for seed, task, quantity, weight in product(seeds, TASKS, few, weights):
        changes = (*TASKS[task], *steered(**{quantity.name: weight}), *VERSIONS[version])
        key: Key = {
            "version": version,
            "task": task,
            "quantity": quantity.name,
            "weight": weight,
            "seed": seed,
        }
        found.append(Cell(key, "demo", (*changes, *(QUICK if options.quick else ())), seed))
    return found


def measure(cell: Cell, run: Finished) -> Line:
    """Each term of the quantity: what was believed and read at each epoch, and read anew."""
    parts = QUANTITIES[str(cell.key["quantity"])].parts
    epochs = [record for record in run.log if record["stage2"]["terms"]]
    fresh = _fresh(run)
    terms = {
        name: {
            "believed": [record["stage2"]["terms"][name] for record in epochs],
            "read": [record["valid"]["terms"][name] for record in epochs],
            "stopped": [record["stage2"]["stopped"].get(name, 0.0) for record in epochs],
            "fresh": fresh[name],
        }
        for name in parts
    }
    return {"terms": terms, "metrics": run.metrics()}


def _fresh(run: Finished) -> dict[str, dict[str, float]]:
    """Term -> held-out split -> the value that critics fitted anew read of the last model."""
    critics = run.last.critics
    if critics is None:
        raise ValueError("a steered training has critics")
    classes = run.data.num_classes
    banks = {name: found.variables(classes) for name, found in run.last_features.items()}
    found = controls.read_terms(run.settings, critics, banks, 0)
    return {name: dict(reading.value) for name, reading in found.items()}


def report(lines: Sequence[Line], folder: Path) -> str:
    """A table a version and task: the worst of each quantity and weight over terms and seeds."""
    parts = [
        f"Wanted: |difference| < {NEAR} in {SHARE:.0%} of the epochs, no epoch's mean below "
        f"{LOWEST}, fresh critics within {APART} of the last validation reading (nats). Epochs "
        "are those after the warm-up, of all seeds; of several terms the worst is shown."
    ]
    for version, task in product(reversed(VERSIONS), TASKS):
        chosen = [
            line
            for line in lines
            if (line["cell"]["version"], line["cell"]["task"]) == (version, task)
        ]
        if chosen:
            parts.append(f"### {version}, {task}\n\n{_table(chosen)}")
    return "\n\n".join(parts)


def _table(lines: Sequence[Line]) -> str:
    header = ["quantity", "weight", "seeds", "near", "lowest mean", "fresh - last", "met"]
    rows, met = [], 0
    for quantity, weight in product(QUANTITIES, WEIGHTS):
        own = [
            line
            for line in lines
            if (line["cell"]["quantity"], line["cell"]["weight"]) == (quantity, weight)
        ]
        if own:
            worst = _worst(own)
            good = worst["near"] >= SHARE and worst["lowest"] >= LOWEST
            good &= abs(worst["apart"]) < APART
            met += good
            rows.append(
                [
                    quantity, f"{weight:+g}", str(len(own)), f"{worst['near']:.0%}",
                    f"{worst['lowest']:.2f}", f"{worst['apart']:+.2f}", "yes" if good else "NO",
                ]
            )  # fmt: skip
    return f"{markdown(header, rows)}\n\nMet by {met} of {len(rows)}."


def _worst(lines: Sequence[Line]) -> dict[str, float]:
    """The smallest share of near epochs, smallest mean and largest difference of fresh critics."""
    near, lowest, apart = [], [], []
    for name in lines[0]["terms"]:
        found: list[dict[str, Any]] = [line["terms"][name] for line in lines]
        believed, read = (np.array([each[key] for each in found]) for key in ("believed", "read"))
        near.append(float(np.mean(np.abs(believed - read) < NEAR)))
        lowest.append(float(believed.min()))
        apart += [each["fresh"]["valid"] - each["read"][-1] for each in found]
    return {"near": min(near), "lowest": min(lowest), "apart": max(apart, key=abs)}
