"""What a benchmark measures, from the names that it is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mimrl.errors import ConfigError
from mimrl.mi.benchmark.measurement import (
    FEWEST_SAMPLES,
    AnyTask,
    Measurement,
    chosen_rows,
    recorded_source,
)
from mimrl.mi.estimators.interface import ConditionalEstimator
from mimrl.mi.estimators.options import AnyEstimator, with_options
from mimrl.mi.estimators.table import CONDITIONAL_ESTIMATORS, ESTIMATORS
from mimrl.mi.tasks import BMI_TASKS, CONDITIONAL_TASKS, TASKS, ConditionalTask

SAMPLES = 5000

INDEPENDENCE = (
    *("1v1-normal-0.75", "1v1-additive-0.75", "half_cube-1v1-normal-0.75"),
    *("student-identity-1-1-1", "asinh-student-identity-2-2-1", "multinormal-sparse-3-3-2-2.0"),
    *("student-identity-5-5-2", "spiral-multinormal-sparse-5-5-2-2.0"),
    *("multinormal-dense-25-25-0.5", "half_cube-multinormal-sparse-25-25-2-2.0"),
)
"""Ten tasks of 1 to 25 dimensions a side, with bounded, heavy and bent margins, to be shuffled."""

GROUPS: Mapping[str, Mapping[str, AnyTask]] = {
    "bmi": BMI_TASKS,
    "gaussian-staircase": {
        name: task for name, task in TASKS.items() if name.startswith("gaussian-staircase")
    },
    "cubic-staircase": {
        name: task for name, task in TASKS.items() if name.startswith("cubic-staircase")
    },
    "independence": {name: TASKS[name] for name in INDEPENDENCE},
    "conditional": CONDITIONAL_TASKS,
}
"""Names that stand for several tasks."""

Estimators = Sequence[str] | Mapping[str, AnyEstimator]
Tasks = Sequence[str | AnyTask]


def chosen_tasks(asked: Tasks | None) -> list[AnyTask]:
    """Tasks by name, each once.

    Args:
        asked: names of tasks, names of :data:`GROUPS`, or tasks; None is ``bmi``.

    Raises:
        ConfigError: an unknown name, or none at all.
    """
    found: dict[str, AnyTask] = {}
    for item in ("bmi",) if asked is None else asked:
        for task in _tasks(item):
            if found.setdefault(task.name, task) is not task:
                raise ConfigError(f"two different tasks are called {task.name!r}; rename one")
    if not found:
        raise ConfigError("no task was asked for; leave the tasks out to have those of bmi")
    return list(found.values())


def chosen_estimators(
    asked: Estimators | None, tasks: Sequence[AnyTask], options: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, AnyEstimator]]:
    """Estimators by name, those for conditional tasks only if there are such tasks.

    Args:
        asked: names of the tables, or name -> estimator; None is every row of the tables.
        tasks: of which at least one must suit every estimator.
        options: name -> options to be changed.

    Returns:
        Name and estimator; a name of both tables comes twice where both kinds of task are there.

    Raises:
        ConfigError: an unknown name, an estimator without a task, options of an estimator that
            is not measured, or options that it does not take.
    """
    if isinstance(asked, Mapping):
        found = [(name, estimator) for name, estimator in asked.items()]
    else:
        found = _by_names(asked, tasks)
    if not found:
        raise ConfigError("no estimator was asked for; leave the estimators out to have them all")
    for name, estimator in found:
        if not any(suits(estimator, task) for task in tasks):
            raise ConfigError(f"no task that was asked for suits the estimator {name!r}")
    idle = set(options) - {name for name, _ in found}
    if idle:
        raise ConfigError(f"options are given for {sorted(idle)}, which are not measured")
    return [(name, with_options(one, options.get(name, {}))) for name, one in found]


def suits(estimator: AnyEstimator, task: AnyTask) -> bool:
    """Whether both are conditional or neither is."""
    return isinstance(estimator, ConditionalEstimator) == isinstance(task, ConditionalTask)


def planned(
    estimators: Sequence[tuple[str, AnyEstimator]],
    tasks: Sequence[AnyTask],
    *,
    samples: int | None,
    seeds: Sequence[int],
    shuffled: bool,
    data: Path | None,
) -> list[Measurement]:
    """Every measurement that is asked for, task by task.

    Raises:
        ConfigError: a number of samples or seeds that cannot be, or conditional tasks with
            recorded samples.
        MissingFileError: a recording that does not exist.
        DataError: a recording that cannot be read.
    """
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ConfigError(f"seeds must be different integers from 0, got {list(seeds)}")
    if samples is not None and samples < FEWEST_SAMPLES:
        raise ConfigError(f"samples must be at least {FEWEST_SAMPLES}, got {samples}")
    found = []
    for task in tasks:
        if not any(suits(estimator, task) for _, estimator in estimators):
            raise ConfigError(f"no estimator that was asked for suits the task {task.name!r}")
        rows = SAMPLES if samples is None else samples
        first = Measurement("", estimators[0][1], task, rows, shuffled=shuffled)
        if data is not None:
            first = _with_recording(first, samples, data)
        found += [
            replace(first, name=name, estimator=estimator, seed=seed)
            for name, estimator in estimators
            if suits(estimator, task)
            for seed in seeds
        ]
    return found


def _with_recording(wanted: Measurement, samples: int | None, data: Path) -> Measurement:
    name = wanted.task.name
    if isinstance(wanted.task, ConditionalTask):
        raise ConfigError(f"{name} is conditional; recorded samples are of x and y only")
    there, source = recorded_source(data, name)
    return replace(wanted, samples=chosen_rows(samples, there, name), folder=data, source=source)


def _tasks(item: str | AnyTask) -> Iterator[AnyTask]:
    if not isinstance(item, str):
        yield item
    elif item in GROUPS:
        yield from GROUPS[item].values()
    else:
        known: Mapping[str, AnyTask] = {**TASKS, **CONDITIONAL_TASKS}
        if item not in known:
            raise ConfigError(_unknown("task", item, [*GROUPS, *known]))
        yield known[item]


def _by_names(
    asked: Sequence[str] | None, tasks: Sequence[AnyTask]
) -> list[tuple[str, AnyEstimator]]:
    """Rows of the tables for the kinds of task that there are."""
    tables: list[Mapping[str, AnyEstimator]] = []
    if not all(isinstance(task, ConditionalTask) for task in tasks):
        tables.append(ESTIMATORS)
    if any(isinstance(task, ConditionalTask) for task in tasks):
        tables.append(CONDITIONAL_ESTIMATORS)
    names = {name: None for table in tables for name in table}
    for name in asked or ():
        if name not in names:
            kinds = " and ".join(
                "conditional tasks" if table is CONDITIONAL_ESTIMATORS else "tasks of x and y"
                for table in tables
            )
            raise ConfigError(_unknown(f"estimator for {kinds}", name, list(names)))
    chosen = names if asked is None else dict.fromkeys(asked)
    return [(name, table[name]) for name in chosen for table in tables if name in table]


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    shown = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(known[:30])}"
    return f"there is no {kind} called {name!r}; {shown}"
