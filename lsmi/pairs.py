"""Held-out values of every pair of features; what pairs have in common is estimated once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lsmi.decomposition import PointwiseInformation, pointwise_information
from lsmi.discriminators import Progress
from lsmi.estimates import (
    Choices,
    Density,
    Posterior,
    Round,
    density,
    posterior,
    trial_information,
)
from lsmi.plan import Plan, make_plan
from lsmi.preprocessing import BY_PCA, Coordinates, coordinates, fit_whitening
from lsmi.results import Pair
from lsmi.samples import Joined
from lsmi.settings import AnalysisSettings
from lsmi.uncertainty import Repeated

FloatArray = npt.NDArray[np.float64]
CANDIDATE_COMPONENTS = (2, 4, 8, 16, 32, 64)
ROWS_A_COMPONENT = 20  # a number of components is a candidate if train has so many rows for each
SHUFFLE_SEEDS = 1000  # shuffle k has seed + 1000 + k: never one of a repeat

Stages = Callable[[str, int], Progress]


@dataclass(frozen=True)
class PairValues:
    """What the models say about every row of a pair.

    Attributes:
        coordinates: what the models saw of each, with the volumes of other scales.
        repeated: values of all rows in all repeats, on the scale asked for.
        controls: the same with shuffled labels, one for each shuffle.
        logs: ``i1``, ``i2``, ``i12`` -> ``(N, C)`` log probabilities averaged over repeats.
        log_prior: ``(C,)`` of the pointwise information.
        choices: variable -> split -> what judged it.
    """

    coordinates: tuple[Coordinates, Coordinates]
    repeated: Repeated
    controls: tuple[PointwiseInformation, ...]
    logs: Mapping[str, FloatArray]
    log_prior: FloatArray
    choices: Mapping[str, Choices]


class CrossFitting:
    """Cross-fitted classifiers and densities of named features.

    Args:
        data: all splits.
        settings: how to estimate.
        stages: called with the name and the number of steps of each stage; what it returns is
            called with steps done.
    """

    def __init__(self, data: Joined, settings: AnalysisSettings, stages: Stages) -> None:
        self.data, self.settings, self.stages = data, settings, stages
        plans = [self._plan(settings.seed + k, data.labels) for k in range(settings.repeats)]
        self.rounds = [Round(plan, data.labels) for plan in plans]
        self.shuffled = [self._shuffled(k) for k in range(settings.shuffles)]
        uniform = np.full(len(data.classes), -np.log(len(data.classes)))
        self.log_prior = uniform if settings.class_prior == "uniform" else data.log_frequencies
        self._coordinates: dict[tuple[str, int | None], Coordinates] = {}
        self._densities: dict[tuple[str, int | None], Density] = {}
        self._posteriors: dict[tuple[tuple[str, ...], int | None], Posterior] = {}
        self._trials: dict[tuple[tuple[str, ...], int], FloatArray] = {}

    def pair(self, names: Pair) -> PairValues:
        """Values of all rows for the features ``names``."""
        count = self._components(names)
        first, second = (self._on_scale(name, count) for name in names)
        judged = {"1": names[:1], "2": names[1:], "12": names}
        posteriors = {key: self._posterior(which, count) for key, which in judged.items()}
        densities = {key: self._density(judged[key][0], count) for key in ("1", "2")}
        columns: dict[str, FloatArray | None] = {
            f"i{key}": self._information(found.logs, self.rounds)
            for key, found in posteriors.items()
        }
        volumes = {"1": _volume(first), "2": _volume(second)}
        for key, found in densities.items():
            columns[f"h{key}"] = found.entropies + volumes[key]
            columns[f"h{key}_given"] = self._given(found, volumes[key])
        repeated = Repeated(**columns)  # type: ignore[arg-type]
        return PairValues(
            coordinates=(first, second),
            repeated=repeated,
            controls=self._controls(judged, count, repeated),
            logs={f"i{key}": _averaged(found.logs) for key, found in posteriors.items()},
            log_prior=self.log_prior,
            choices={f"x{key}": found.choices for key, found in posteriors.items()}
            | {f"h{key}": found.choices for key, found in densities.items()},
        )

    def _plan(self, seed: int, labels: npt.NDArray[np.int64]) -> Plan:
        data = self.data
        return make_plan(data.splits, labels, data.groups, self.settings.folds, seed, data.barred)

    def _shuffled(self, number: int) -> Round:
        """Labels permuted within each split, so that class frequencies stay."""
        seed = self.settings.seed + SHUFFLE_SEEDS + number
        generator, labels = np.random.default_rng(seed), self.data.labels.copy()
        for rows in self.data.splits.values():
            labels[rows] = generator.permutation(labels[rows])
        return Round(self._plan(seed, labels), labels)

    def _information(self, logs: FloatArray, rounds: list[Round]) -> FloatArray:
        """``(R, N)`` pointwise information about each round's labels."""
        return np.stack([
            pointwise_information(each, told.labels, self.log_prior)
            for each, told in zip(logs, rounds, strict=True)
        ])  # fmt: skip

    def _given(self, found: Density, volume: float) -> FloatArray | None:
        if found.given is None:
            return None
        rows = np.arange(len(self.data.labels))
        return found.given[:, rows, self.data.labels] + volume

    def _controls(
        self, judged: Mapping[str, tuple[str, ...]], count: int | None, repeated: Repeated
    ) -> tuple[PointwiseInformation, ...]:
        """Shuffled labels change what classifiers say, not the densities."""
        if not self.shuffled:
            return ()
        known = repeated.averaged(tuple(range(repeated.repeats)))
        columns = {
            f"i{key}": self._information(self._posterior(which, count, True).logs, self.shuffled)
            for key, which in judged.items()
        }
        return tuple(
            PointwiseInformation(
                **{name: values[number] for name, values in columns.items()},
                h1=known.h1,
                h2=known.h2,
            )
            for number in range(len(self.shuffled))
        )

    def _on_scale(self, name: str, count: int | None) -> Coordinates:
        key = (name, count)
        if key not in self._coordinates:
            x, train = self.data.features[name], self.data.splits["train"]
            self._coordinates[key] = coordinates(x, train, self.settings.scale, count, name)
        return self._coordinates[key]

    def _joint(self, names: tuple[str, ...], count: int | None) -> FloatArray:
        return np.hstack([self._on_scale(name, count).values for name in names])

    def _posterior(
        self, names: tuple[str, ...], count: int | None, shuffled: bool = False
    ) -> Posterior:
        key = (("shuffled labels", *names) if shuffled else names, count)
        if key not in self._posteriors:
            parts = names if len(names) > 1 else ()
            nested = {name: self._posterior((name,), count, shuffled) for name in parts}
            what = f"p(y|{', '.join(names)})" + (", shuffled labels" if shuffled else "")
            self._posteriors[key] = posterior(
                self._joint(names, count),
                len(self.data.classes),
                self.shuffled if shuffled else self.rounds,
                self.data.log_frequencies,
                self.settings,
                self.stages(what, 2 * self.settings.discriminator_epochs),
                nested,
            )
        return self._posteriors[key]

    def _density(self, name: str, count: int | None) -> Density:
        key = (name, count)
        if key not in self._densities:
            self._densities[key] = density(
                self._on_scale(name, count).values,
                len(self.data.classes),
                self.rounds,
                self.data.splits,
                self.settings,
                self.stages(f"p({name})", 1 + len(self.rounds)),
            )
        return self._densities[key]

    def _components(self, names: Pair) -> int | None:
        """The number of components of highest held-out likelihood of the pair's classifiers.

        The smallest number is taken whose likelihood is within one standard error of the highest:
        fewer components make better densities. Densities themselves cannot be compared between
        numbers of components.
        """
        if self.settings.scale not in BY_PCA:
            return None
        train = self.data.splits["train"]
        most = min(fit_whitening(self.data.features[n][train], n).components for n in names)
        if self.settings.components is not None:
            return min(self.settings.components, most)
        limit = min(most, self.settings.max_components, max(1, len(train) // ROWS_A_COMPONENT))
        candidates = sorted({count for count in CANDIDATE_COMPONENTS if count < limit} | {limit})
        if len(candidates) == 1:
            return candidates[0]
        judged = (names[:1], names[1:], names)
        self._try([(which, count) for which in judged for count in candidates])
        scores = [np.sum([self._trials[which, k] for which in judged], axis=0) for k in candidates]
        best = int(np.argmax([score.mean() for score in scores]))
        for count, score in zip(candidates, scores, strict=True):
            behind = scores[best] - score
            if behind.mean() <= behind.std() / np.sqrt(len(behind)):
                return count
        return candidates[best]

    def _try(self, wanted: list[tuple[tuple[str, ...], int]]) -> None:
        """Information that quick classifiers read on the held-out part of train."""
        new = [key for key in wanted if key not in self._trials]
        # a comparison between candidates needs no last touch: half the epochs
        epochs = (self.settings.discriminator_epochs + 1) // 2
        found = trial_information(
            [self._joint(which, count) for which, count in new],
            len(self.data.classes),
            self.rounds[0],
            self.data.log_frequencies,
            replace(self.settings, discriminator_epochs=epochs),
            self.stages(f"components of {', '.join(wanted[-1][0])}", 2 * epochs),
        )
        self._trials.update(zip(new, found, strict=True))


def _volume(scale: Coordinates) -> float:
    """Nats that ``h`` has more on the scale asked for than in the models' coordinates."""
    return next(iter(scale.volumes.values()))


def _averaged(logs: FloatArray) -> FloatArray:
    """``(R, N, C)`` log probabilities as ``(N, C)``: probabilities averaged over repeats."""
    return np.asarray(np.logaddexp.reduce(logs, axis=0) - np.log(len(logs)))
