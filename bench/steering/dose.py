"""Does a quantity follow its weight, by instruments that took no part in the training?

On planted data with room to steer (configs/steering.yaml) one quantity at a time gets one dose. The
model of the last epoch is read on the test split by critics fitted anew, beside a control with
shuffled pairs, and by a second instrument (:mod:`bench.steering.instrument`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from bench.speed.rows import markdown
from bench.steering import instrument, pictures
from bench.steering.cells import QUICK, ROOT, Cell, Finished, Key
from bench.steering.lines import Line
from bench.steering.options import QUANTITIES, Options, named, steered, with_deviation
from bench.steering.pictures import Limits, Reading
from mimrl.datasets.ceilings import ceilings
from mimrl.datasets.planted import latent_model
from mimrl.settings import load
from mimrl.terms import Quantity
from mimrl.training import controls

NAME = "dose"
TITLE = "Doses and what independent instruments read"
SEEDS = 5
DOSES = (-3.0, -1.0, -0.3, -0.1, -0.03, 0.03, 0.1, 0.3, 1.0, 3.0)
NONE = "none"
CONTROLS = 1
INSTRUMENTS = ("critics", "second")


def cells(options: Options) -> list[Cell]:
    """Seeds x (unsteered, then quantities x doses): an interrupted grid has whole seeds."""
    seeds = options.seeds or tuple(range(1 if options.quick else SEEDS))
    doses = options.values or (DOSES[:1] if options.quick else DOSES)
    few = named(options.only)[-1:] if options.quick else named(options.only)
    grid = [(NONE, 0.0), *((q.name, dose) for dose in doses if dose for q in few)]
    found = []
    for seed in seeds:
        for name, dose in grid:
            changes = steered(**({} if name == NONE else {name: dose}))
            key: Key = {"quantity": name, "dose": dose, "seed": seed}
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


def report(lines: Sequence[Line], folder: Path) -> str:
    """A table a quantity, the rank correlations, and ``dose.png`` in ``folder``."""
    readings = {name: by_dose(lines, name) for name in QUANTITIES}
    known = {name: found for name, found in readings.items() if len(found) > 1}
    if not known:
        return "No steered training is there yet."
    bounds = limits()
    pictures.draw(known, bounds, folder / "dose.png")
    parts = [_summary(known, bounds)]
    parts += [f"### {name}\n\n{_table(found)}" for name, found in known.items()]
    return "\n\n".join(parts)


def by_dose(lines: Sequence[Line], quantity: str) -> dict[float, list[Reading]]:
    """Dose -> the readings of one quantity over seeds; 0 is the unsteered model."""
    found: dict[float, list[Reading]] = defaultdict(list)
    for line in lines:
        cell = line["cell"]
        if cell["quantity"] in (NONE, quantity):
            found[cell["dose"]].append(_reading(line, QUANTITIES[quantity]))
    return dict(sorted(found.items()))


def _reading(line: Line, quantity: Quantity) -> Reading:
    """One model's quantity by both instruments, and what it scores."""

    def total(values: Mapping[str, float]) -> float:
        return sum(sign * values[name] for name, sign in quantity.parts.items())

    parts = {name: line["terms"][name] for name in quantity.parts}
    return Reading(
        critics=total({name: part["critics"] for name, part in parts.items()}),
        second=total({name: part["second"] for name, part in parts.items()}),
        control=total({name: float(np.mean(part["controls"])) for name, part in parts.items()}),
        chosen=line["metrics"]["chosen"]["test"]["accuracy"],
        last=line["metrics"]["last"]["test"]["accuracy"],
        clean=line["metrics"]["last"]["test"]["clean"],
    )


def limits() -> dict[str, Limits]:
    """What features can reach exactly; of fusion, what the critics' bound can show: log B."""
    settings = load(ROOT / "configs" / "steering.yaml")
    batch = settings.training.stage1_batch_size or settings.training.batch_size
    law = latent_model(settings.data.planted, settings.task)
    found = {}
    for name, exact in ceilings(law, settings.data.modalities).quantities.items():
        if exact is None:
            found[name] = Limits(0.0, float(np.log(batch)), "log B")
        else:
            found[name] = Limits(exact.floor, exact.ceiling, "ceiling")
    return found


def rank_correlation(found: Mapping[float, Sequence[Reading]], instrument: str) -> float:
    """Spearman's of dose and reading over all models; nan where either does not vary."""
    doses = [dose for dose, each in found.items() for _ in each]
    values = [getattr(reading, instrument) for each in found.values() for reading in each]
    if len(set(doses)) < 2 or len(set(values)) < 2:
        return float("nan")
    return float(spearmanr(doses, values).statistic)


def _summary(
    readings: Mapping[str, Mapping[float, Sequence[Reading]]], bounds: Mapping[str, Limits]
) -> str:
    """A line a quantity: both ends, unsteered, what can be reached, the rank correlations."""
    header = ["quantity", "lowest dose", "unsteered", "highest dose", "floor", "ceiling",
              "Spearman, critics", "Spearman, second"]  # fmt: skip
    rows = []
    for name, found in readings.items():
        ends = [(dose, found[dose]) for dose in (min(found), max(found))]
        low, high = (f"{dose:+g}: {_mean(each, 'critics')}" for dose, each in ends)
        rank = [f"{rank_correlation(found, which):+.2f}" for which in INSTRUMENTS]
        limit = bounds[name]
        top = f"{limit.high:.2f}" + (" (log B)" if limit.name == "log B" else "")
        rows.append(
            [name, low, _mean(found.get(0.0, ()), "critics"), high, f"{limit.low:.2f}", top, *rank]
        )
    return markdown(header, rows)


def _mean(found: Sequence[Reading], what: str, digits: int = 2) -> str:
    return with_deviation([getattr(reading, what) for reading in found], digits)


def _table(found: Mapping[float, Sequence[Reading]]) -> str:
    """A line a dose: mean (standard deviation over seeds)."""
    header = ["dose", "seeds", "fresh critics", "their control", "second instrument",
              "accuracy, last", "clean labels, last", "accuracy, chosen"]  # fmt: skip
    columns = (("critics", 2), ("control", 2), ("second", 2), ("last", 3), ("clean", 3),
               ("chosen", 3))  # fmt: skip
    rows = [
        [
            f"{dose:+g}" if dose else "0",
            str(len(each)),
            *(_mean(each, what, digits) for what, digits in columns),
        ]
        for dose, each in found.items()
    ]
    return markdown(header, rows)
