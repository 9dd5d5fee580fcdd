"""A model with modalities missing: which ones are, at random, and what the model then achieves.

An absent modality is what a sample that lacks it has always been: a sequence without steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mimrl.datasets.samples import Samples
from mimrl.errors import ConfigError, ShapeError
from mimrl.model.model import MIMRL
from mimrl.settings import Settings
from mimrl.training.inference import Features, encode
from mimrl.training.metrics import Metrics
from mimrl.training.randomness import Place, seeded
from mimrl.training.scoring import score
from mimrl.training.summary import Spread, spread
from mimrl.training.team import ALONE, Team

Presence = npt.NDArray[np.bool_]
DEFINITION = (
    "Rate r: each clip loses each of its modalities independently with probability r; a clip that "
    "would lose all gets one of them back, drawn uniformly. Of K modalities the share r - r^K / K "
    "is then absent."
)
TOGETHER = "+"


@dataclass(frozen=True)
class MissingResult:
    """What a model achieves on one split with modalities missing.

    Attributes:
        modalities: ``K`` names.
        samples: ``N``.
        seed: of the random draws.
        subsets: modalities that are present in all clips, joined by ``+``, to the metrics; all
            modalities first, single ones last.
        rates: rate of :data:`DEFINITION` to the metrics of each draw.
        absent: rate to the expected share of absent modalities among those that the clips have.
    """

    modalities: tuple[str, ...]
    samples: int
    seed: int
    subsets: Mapping[str, Metrics]
    rates: Mapping[float, tuple[Metrics, ...]]
    absent: Mapping[float, float]

    def over_draws(self, rate: float) -> Spread:
        """Mean and sample standard deviation over the draws at a rate."""
        return spread(self.rates[rate])

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON."""
        rates = {}
        for rate, draws in self.rates.items():
            found = self.over_draws(rate)
            rates[str(rate)] = {
                "absent": self.absent[rate],
                "mean": dict(found.mean),
                "standard_deviation": dict(found.deviation),
                "draws": [dict(metrics) for metrics in draws],
            }
        return {
            "modalities": list(self.modalities),
            "samples": self.samples,
            "seed": self.seed,
            "subsets": {name: dict(metrics) for name, metrics in self.subsets.items()},
            "rates": rates,
        }


def held(samples: Samples) -> Presence:
    """``(N, K)``: which modalities the samples have, columns in the order of their inputs."""
    return np.stack([sequences.lengths > 0 for sequences in samples.inputs.values()], axis=1)


def draw_presence(has: Presence, rate: float, generator: torch.Generator) -> Presence:
    """Which modalities are present when each is lost independently with one probability.

    A clip that loses all that it has gets one of them back, drawn uniformly. Where each clip has
    all ``K`` modalities, each of them is then absent with probability ``r - r^K / K``.

    Args:
        has: ``(N, K)`` modalities that the clips have.
        rate: ``r``, in [0, 1).
        generator: on the CPU; two numbers a clip and modality are drawn, whatever the rate.

    Returns:
        ``(N, K)``; a modality that a clip lacks may be called present, which changes nothing.

    Raises:
        ConfigError: ``rate`` is outside [0, 1).
        ShapeError: ``has`` is no matrix with a column at least.
    """
    if not 0 <= rate < 1:
        raise ConfigError(f"rate of missing modalities: expected a number in [0, 1), got {rate}")
    if has.ndim != 2 or not has.shape[1]:
        raise ShapeError(f"has: expected (N, K), a column a modality, got {has.shape}")
    chance, priority = torch.rand(2, *has.shape, generator=generator, dtype=torch.float64).numpy()
    present: Presence = chance >= rate
    lost = ~(present & has).any(axis=1)
    back = np.where(has, priority, -1.0).argmax(axis=1)
    present[lost, back[lost]] = True
    return present


def expected_absence(has: Presence, rate: float) -> float:
    """Expected share of the modalities in ``has`` that :func:`draw_presence` takes away.

    A clip with ``k`` modalities loses ``k r - r^k`` of them in the mean.

    >>> round(expected_absence(np.ones((5, 3), bool), 0.9), 3)
    0.657
    """
    counts = has.sum(axis=1)
    counts = counts[counts > 0]
    return float((counts * rate - rate**counts).sum() / counts.sum()) if len(counts) else 0.0


def subsets(modalities: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every choice of one modality or more, all of them first, single ones last.

    >>> [TOGETHER.join(chosen) for chosen in subsets(("text", "audio"))]
    ['text+audio', 'text', 'audio']
    """
    for size in range(len(modalities), 0, -1):
        yield from combinations(modalities, size)


def evaluate_missing(
    settings: Settings,
    model: MIMRL,
    samples: Samples,
    *,
    rates: Sequence[float],
    draws: int,
    seed: int,
    device: torch.device,
    batch_size: int,
    team: Team = ALONE,
    workers: int = 0,
) -> MissingResult:
    """Metrics of each subset of modalities, and of random ones at each rate.

    The model runs once a subset. A prediction depends on its own clip alone, so those of a random
    draw are picked from the subsets', and draws cost next to nothing.

    Args:
        settings: of the model's run; its task and its rules of metrics are used.
        model: on ``device``.
        samples: a split.
        rates: see :data:`DEFINITION`; what one rate gives does not depend on the others.
        draws: at each rate.
        seed: of the draws.
        device: where to compute.
        batch_size: samples that one process encodes at a time; nothing but speed depends on it.
        team: processes that share the samples out; all get the result.
        workers: processes that read and pad batches ahead.

    Raises:
        ConfigError: one modality, no draw, or a rate outside [0, 1).
        NonFiniteError: predictions are NaN or infinite.
    """
    names, has = tuple(samples.inputs), held(samples)
    if len(names) < 2 or draws < 1:
        raise ConfigError(
            "missing modalities: expected two modalities and one draw, or more of both, got "
            f"{len(names)} ({', '.join(names)}) and {draws}"
        )
    found = {
        chosen: encode(
            model,
            samples,
            batch_size=batch_size,
            device=device,
            team=team,
            workers=workers,
            present=np.tile(_row(names, chosen), (len(samples), 1)),
        )
        for chosen in subsets(names)
    }
    titles = {chosen: TOGETHER.join(chosen) for chosen in found}
    drawn = _Drawn(settings, names, found, has, seed)
    return MissingResult(
        modalities=names,
        samples=len(samples),
        seed=seed,
        subsets={
            titles[c]: score(settings, f, f"with {titles[c]} alone") for c, f in found.items()
        },
        rates={rate: tuple(drawn.metrics(rate, draw) for draw in range(draws)) for rate in rates},
        absent={rate: expected_absence(has, rate) for rate in rates},
    )


@dataclass(frozen=True)
class _Drawn:
    """Metrics of random draws, from what the model says with each subset present.

    Attributes:
        settings: of the run.
        names: ``K`` modalities.
        found: subset -> the model's outputs.
        has: ``(N, K)``.
        seed: of the draws.
    """

    settings: Settings
    names: tuple[str, ...]
    found: Mapping[tuple[str, ...], Features]
    has: Presence
    seed: int

    def metrics(self, rate: float, draw: int) -> Metrics:
        """Those of one draw, which the seed, the rate and its number determine."""
        with seeded(self.seed, Place.MISSING, draw, round(rate * 1e9)) as generator:
            present = draw_presence(self.has, rate, generator)
        everything = self.found[self.names]
        prediction = everything.prediction.clone()
        for chosen, features in self.found.items():
            rows = np.flatnonzero((present == _row(self.names, chosen)).all(axis=1))
            index = torch.from_numpy(rows).to(prediction.device)
            prediction[index] = features.prediction[index]
        where = f"missing modalities at rate {rate:g}, draw {draw}"
        return score(self.settings, replace(everything, prediction=prediction), where)


def _row(names: Sequence[str], chosen: Sequence[str]) -> Presence:
    """``(K,)``: which of ``names`` are in ``chosen``."""
    return np.array([name in chosen for name in names])
