"""Does a quantity follow its weight, by instruments that took no part in the training?

On planted data with room to steer (configs/steering.yaml) one quantity at a time gets one dose. The
model of the last epoch is read on the test split by critics fitted anew, beside a control with
shuffled pairs, and by a second instrument (:mod:`bench.steering.instrument`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from bench.speed.rows import markdown
from bench.steering import instrument
from bench.steering.cells import QUICK, Cell, Finished
from bench.steering.lines import Line
from bench.steering.options import QUANTITIES, Options, named, steered, with_deviation
from mimrl.mi.estimators import Ksg
from mimrl.terms import terms
from mimrl.training import controls

NAME = "dose"
TITLE = "Doses and what independent instruments read"
SEEDS = 5
DOSES = (-3.0, -1.0, -0.3, -0.1, -0.03, 0.03, 0.1, 0.3, 1.0, 3.0)
UNSTEERED = "none"
CONTROLS = 1
TERMS = terms(("text", "audio", "video"))
INSTRUMENTS = {"critics": "fresh critics", "second": "second instrument"}


def cells(options: Options) -> list[Cell]:
    """Seeds x (unsteered, then quantities x doses): an interrupted grid has whole seeds."""
    seeds = options.seeds or tuple(range(1 if options.quick else SEEDS))
    doses = options.values or (DOSES[:1] if options.quick else DOSES)
    few = named(options.only)[-1:] if options.quick else named(options.only)
    grid = [(UNSTEERED, 0.0), *((q.name, dose) for dose in doses if dose for q in few)]
    found = []
    for seed in seeds:
        for name, dose in grid:
            changes = steered(**({} if name == UNSTEERED else {name: dose}))
            key = {"quantity": name, "dose": dose, "seed": seed}
            quick = QUICK if options.quick else ()
            found.append(Cell(key, "steering", (*changes, *quick), seed))
    return found


def measure(cell: Cell, run: Finished) -> Line:
    """All terms of the last model: fresh critics on test, their controls, the second instrument."""
    critics = run.last.critics
    if critics is None:
        raise ValueError("the training has critics")
    features, classes = run.last_features, run.data.num_classes
    banks = {name: found.variables(classes) for name, found in features.items()}
    found = controls.read_terms(run.settings, critics, banks, CONTROLS)
    second = instrument.read_terms(features, critics.table)
    readings = {
        name: {
            "critics": reading.value["test"],
            "controls": list(reading.controls["test"]),
            "second": second[name],
        }
        for name, reading in found.items()
    }
    return {"terms": readings, "metrics": run.metrics()}


def report(lines: Sequence[Line]) -> str:
    """One table a quantity."""
    return "\n\n".join(str(len(lines)) for _ in range(1))
