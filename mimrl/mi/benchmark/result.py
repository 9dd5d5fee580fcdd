"""What a benchmark found: a cell for each task and estimator, and totals of each estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mimrl.mi.benchmark.measurement import Record

if TYPE_CHECKING:
    import pandas as pd

CLOSE = 0.1
"""Nats; tasks whose absolute error is not larger are counted."""


@dataclass(frozen=True)
class Cell:
    """An estimator on a task; means over seeds, without those that failed; nats and seconds.

    Attributes:
        truth: information of the task.
        estimate: None if all seeds failed.
        error: estimate less truth.
        absolute_error: mean of the absolute errors of the seeds.
        standard_error: mean over seeds; None if the method has none.
        cpu_seconds: of the process, all threads; those that failed too.
        wall_seconds: likewise.
        seeds: how many there are.
        failures: what the estimator raised.
        warnings: texts of the doubts, each once.
    """

    truth: float
    estimate: float | None
    error: float | None
    absolute_error: float | None
    standard_error: float | None
    cpu_seconds: float
    wall_seconds: float
    seeds: int
    failures: Sequence[str]
    warnings: Sequence[str]

    @classmethod
    def of(cls, records: Sequence[Record]) -> Cell:
        """Of the seeds of one task and estimator."""
        done = [record for record in records if record.estimate is not None]
        errors = [record.estimate - record.truth for record in done if record.estimate is not None]
        texts = [str(doubt["text"]) for record in records for doubt in record.warnings]
        return cls(
            truth=records[0].truth,
            estimate=_mean([record.estimate for record in done]),
            error=_mean(errors),
            absolute_error=_mean([abs(error) for error in errors]),
            standard_error=_mean([record.standard_error for record in done]),
            cpu_seconds=float(np.mean([record.cpu_seconds for record in records])),
            wall_seconds=float(np.mean([record.wall_seconds for record in records])),
            seeds=len(records),
            failures=tuple(dict.fromkeys(r.failure for r in records if r.failure)),
            warnings=tuple(dict.fromkeys(texts)),
        )


@dataclass(frozen=True)
class Totals:
    """An estimator over all its tasks; nats and seconds.

    Attributes:
        tasks: that it was run on.
        failed: tasks that it failed on with at least one seed; errors are of the other seeds.
        warned: tasks on which it doubted its estimate.
        mean_absolute_error: over tasks; None if all failed.
        mean_error: over tasks; its bias, or for shuffled samples what it reads out of nothing.
        largest_error: the largest absolute one.
        within: tasks with an absolute error of at most 0.1.
        cpu_seconds: mean of a task.
        wall_seconds: mean of a task.
        most_wall_seconds: of the slowest task.
    """

    tasks: int
    failed: int
    warned: int
    mean_absolute_error: float | None
    mean_error: float | None
    largest_error: float | None
    within: int
    cpu_seconds: float
    wall_seconds: float
    most_wall_seconds: float

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> Totals:
        """Of the cells of one estimator."""
        errors = [cell.absolute_error for cell in cells if cell.absolute_error is not None]
        return cls(
            tasks=len(cells),
            failed=sum(bool(cell.failures) for cell in cells),
            warned=sum(bool(cell.warnings) for cell in cells),
            mean_absolute_error=_mean(errors),
            mean_error=_mean([cell.error for cell in cells if cell.error is not None]),
            largest_error=max(errors, default=None),
            within=sum(error <= CLOSE for error in errors),
            cpu_seconds=float(np.mean([cell.cpu_seconds for cell in cells])),
            wall_seconds=float(np.mean([cell.wall_seconds for cell in cells])),
            most_wall_seconds=max(cell.wall_seconds for cell in cells),
        )


@dataclass(frozen=True)
class BenchmarkResult:
    """The records of a benchmark.

    Attributes:
        records: one for each task, estimator and seed.
    """

    records: Sequence[Record]

    @cached_property
    def tasks(self) -> Mapping[str, float]:
        """Task -> its information in nats, in the order asked for."""
        return {record.task: record.truth for record in self.records}

    @cached_property
    def estimators(self) -> tuple[str, ...]:
        """Names, in the order asked for."""
        return tuple(dict.fromkeys(record.estimator for record in self.records))

    @cached_property
    def cells(self) -> Mapping[tuple[str, str], Cell]:
        """(task, estimator) -> what was found; absent where the estimator does not suit."""
        groups: dict[tuple[str, str], list[Record]] = {}
        for record in self.records:
            groups.setdefault((record.task, record.estimator), []).append(record)
        return {place: Cell.of(records) for place, records in groups.items()}

    @cached_property
    def totals(self) -> Mapping[str, Totals]:
        """Estimator -> its means and counts over tasks."""
        return {
            name: Totals.of([cell for (_, other), cell in self.cells.items() if other == name])
            for name in self.estimators
        }

    def frame(self) -> pd.DataFrame:
        """One row a record; settings and warnings as one column each."""
        import pandas as pd  # a second that those who want no frame need not wait

        rows = []
        for record in self.records:
            row = {**asdict(record), "error": record.error}
            row["warnings"] = "; ".join(str(doubt["text"]) for doubt in record.warnings)
            row["settings"] = ", ".join(f"{key}={value}" for key, value in record.settings.items())
            del row["information"]
            rows.append(row)
        return pd.DataFrame(rows)

    def summary(self) -> dict[str, Any]:
        """Totals and cells, JSON types only."""
        return {
            "estimators": {name: asdict(totals) for name, totals in self.totals.items()},
            "tasks": {
                task: {
                    "truth": truth,
                    "estimators": {
                        name: asdict(self.cells[task, name])
                        for name in self.estimators
                        if (task, name) in self.cells
                    },
                }
                for task, truth in self.tasks.items()
            },
        }


def _mean(values: Sequence[float | None]) -> float | None:
    """Of the values that are there."""
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None
