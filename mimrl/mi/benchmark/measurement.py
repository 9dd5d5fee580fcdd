"""One measurement: an estimator on samples of one task, and the record of it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mimrl.errors import ConfigError
from mimrl.mi.estimators.interface import EstimateResult
from mimrl.mi.estimators.options import AnyEstimator, settings_of, with_seed
from mimrl.mi.tasks import ConditionalTask, Task, recorded_samples

Floats = npt.NDArray[np.float64]
AnyTask = Task | ConditionalTask

DRAWN = "drawn"
"""Where samples come from that the task itself draws."""
FEWEST_SAMPLES = 2
_SHUFFLING, _CHOOSING = 1, 2  # streams of random numbers beside that of the samples


@dataclass(frozen=True)
class Measurement:
    """What is to be measured.

    Attributes:
        name: of the estimator, as its column is headed.
        estimator: with all its options.
        task: draws samples and knows their information.
        samples: rows.
        seed: of the samples, of the shuffling, and added to the estimator's own seed if it has
            one.
        shuffled: whether y is put into a random order, so that the truth is 0.
        folder: of recorded samples; None has the task draw them.
        source: :data:`DRAWN`, or a digest of the recorded samples.
    """

    name: str
    estimator: AnyEstimator
    task: AnyTask
    samples: int
    seed: int = 0
    shuffled: bool = False
    folder: Path | None = None
    source: str = DRAWN

    @property
    def truth(self) -> float:
        """In nats."""
        if self.shuffled:
            return 0.0
        if isinstance(self.task, ConditionalTask):
            return self.task.conditional_mutual_information
        return self.task.mutual_information

    @property
    def key(self) -> str:
        """Equal for measurements that give the same number."""
        settings = settings_of(self.estimator)
        return _key(
            [self.task.name, settings, self.seed, self.samples, self.source, self.shuffled],
            version(),
        )

    def draw(self) -> tuple[Floats, ...]:
        """x, y and, of a conditional task, z; ``(N, d)`` each."""
        if self.folder is None:
            blocks: tuple[Floats, ...] = self.task.sample(self.samples, self.seed)
        else:
            blocks = self._recorded(self.folder)
        if not self.shuffled:
            return blocks
        order = np.random.default_rng([self.seed, _SHUFFLING]).permutation(len(blocks[1]))
        return (blocks[0], blocks[1][order], *blocks[2:])

    def _recorded(self, folder: Path) -> tuple[Floats, ...]:
        """All rows of the file in their order, or a random choice of them."""
        x, y = recorded_samples(folder, self.task.name)
        if self.samples == len(x):
            return x, y
        generator = np.random.default_rng([self.seed, _CHOOSING])
        rows = np.sort(generator.choice(len(x), self.samples, replace=False))
        return x[rows], y[rows]


@dataclass(frozen=True)
class Record:
    """What one measurement gave; nats and seconds.

    Attributes:
        task: its name.
        estimator: its name.
        truth: information of the task, 0 where y was shuffled.
        estimate: None where the estimator failed.
        standard_error: None where the method has none.
        failure: what the estimator raised, None if nothing.
        wall_seconds: of the estimator alone, without the drawing of samples.
        cpu_seconds: of its process over that time, all threads.
        warnings: ``{"category": ..., "text": ...}`` each.
        seed: see :class:`Measurement`.
        samples: rows.
        source: see :class:`Measurement`.
        shuffled: see :class:`Measurement`.
        settings: class and options of the estimator.
        information: the method's own numbers.
        version: of the package.
    """

    task: str
    estimator: str
    truth: float
    estimate: float | None
    standard_error: float | None
    failure: str | None
    wall_seconds: float
    cpu_seconds: float
    warnings: Sequence[Mapping[str, str]]
    seed: int
    samples: int
    source: str
    shuffled: bool
    settings: Mapping[str, Any]
    information: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""

    @property
    def error(self) -> float | None:
        """Estimate less truth in nats; None where the estimator failed."""
        return None if self.estimate is None else self.estimate - self.truth

    @property
    def key(self) -> str:
        """That of the :class:`Measurement` it came from."""
        asked = [self.task, self.settings, self.seed, self.samples, self.source, self.shuffled]
        return _key(asked, self.version)

    def line(self) -> str:
        """As one line of JSON."""
        return json.dumps(_jsonable(asdict(self)), allow_nan=False)


def measure(wanted: Measurement) -> Record:
    """Runs the estimator; whatever it raises is recorded and not raised."""
    blocks = wanted.draw()
    estimator = with_seed(wanted.estimator, wanted.seed)
    result, failure = None, None
    wall, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = estimator.estimate_with_info(*blocks)
        except Exception as error:  # one estimator's fault must not end the others' run
            failure = f"{type(error).__name__}: {error}"
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    found = {(doubt.category.__name__, str(doubt.message)): None for doubt in caught}
    return Record(
        task=wanted.task.name,
        estimator=wanted.name,
        truth=wanted.truth,
        estimate=None if result is None else float(result.mi_estimate),
        standard_error=_standard_error(result),
        failure=failure,
        wall_seconds=wall,
        cpu_seconds=cpu,
        warnings=[{"category": category, "text": text} for category, text in found],
        seed=wanted.seed,
        samples=wanted.samples,
        source=wanted.source,
        shuffled=wanted.shuffled,
        settings=settings_of(wanted.estimator),
        information={} if result is None else dict(result.additional_information),
        version=version(),
    )


def recorded_source(folder: Path, name: str) -> tuple[int, str]:
    """Rows of some recorded samples, and a digest that tells them from others.

    Raises:
        MissingFileError: there is no such file.
        DataError: it is not what :func:`~mimrl.mi.tasks.recorded_samples` reads.
    """
    x, y = recorded_samples(folder, name)
    digest = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
    return len(x), f"recorded sha256:{digest[:16]}"


def chosen_rows(asked: int | None, there: int, name: str) -> int:
    """How many rows of a recording are taken.

    Raises:
        ConfigError: more than there are.
    """
    if asked is not None and asked > there:
        raise ConfigError(
            f"{asked} samples of {name} were asked for and {there} are recorded; ask for fewer, "
            "or leave the folder of recordings out to have them drawn"
        )
    return there if asked is None else asked


@cache
def version() -> str:
    """Of the installed package."""
    return importlib.metadata.version("mimrl")


def _standard_error(result: EstimateResult | None) -> float | None:
    if result is None or not math.isfinite(result.standard_error):
        return None
    return float(result.standard_error)


def _key(asked: Sequence[Any], of_version: str) -> str:
    return json.dumps([*asked, of_version], sort_keys=True)


def _jsonable(value: Any) -> Any:
    """``value`` with what JSON lacks replaced: NaN and infinities by null, others by their text."""
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return _jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool | None) else str(value)
