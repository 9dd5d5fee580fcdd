"""What the models say about every row: held-out p(y|z) and p(z), each estimated once.

Features and pairs of features are estimated in *rounds*: a round is a plan of who judges whom and
the labels that its models are told. The repeats of a cross-fitting are rounds with the true
labels, the controls are rounds with shuffled ones. Every row has one held-out value a round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from lsmi.calibration import calibrate
from lsmi.decomposition import pointwise_information
from lsmi.density import (
    ClassConditional,
    DensityFamily,
    choose,
    default_families,
    estimate,
    restrict,
)
from lsmi.discriminators import ClassifierSettings, Job, Progress, classifier_paths
from lsmi.plan import SMALLEST_CALIBRATION, Fold, Plan, Rows
from lsmi.settings import AnalysisSettings

FloatArray = npt.NDArray[np.float64]
NETWORK_RATE, LINEAR_RATE = 2e-3, 2e-2  # of Adam; a linear classifier has one valley
LINEAR_BATCHES = 4  # and takes batches so many times as large
# generative classifiers: linear and quadratic discriminant analysis and simpler ones
CLOSED_FORMS = ClassConditional(
    forms=(("shared spherical", 1), ("shared full", 1), ("own diag", 1), ("own full", 1))
)
GENERATIVE = tuple(f"Bayes' rule on {name}" for name in CLOSED_FORMS.names)

Choices = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Round:
    """Who judges whom, and the ``(N,)`` classes that the models are fitted to."""

    plan: Plan
    labels: Rows


@dataclass(frozen=True)
class Posterior:
    """Classifiers' held-out log probabilities.

    Attributes:
        logs: ``(R, N, C)`` for ``R`` rounds, calibrated and normalised.
        choices: split -> what judged it, one text a reading.
    """

    logs: FloatArray
    choices: Choices


@dataclass(frozen=True)
class Density:
    """Density models' held-out values.

    Attributes:
        entropies: ``(R, N)`` of ``-log p(z)`` in nats.
        given: ``(R, N, C)`` of ``-log p(z|y=c)`` where the chosen family models it, or None.
        choices: split -> what judged it, one text a reading.
    """

    entropies: FloatArray
    given: FloatArray | None
    choices: Choices


def posterior(
    z: FloatArray,
    classes: int,
    rounds: Sequence[Round],
    log_prior: FloatArray,
    settings: AnalysisSettings,
    progress: Progress,
    nested: Mapping[str, Posterior] = MappingProxyType({}),
) -> Posterior:
    """p(y|z) of every row by a network, a linear or a generative classifier, whichever held out.

    Two modalities together know at least what one of them knows. A classifier of both that has to
    find out that one is useless pays for it; so those of one alone are candidates too.

    Args:
        z: ``(N, D)`` coordinates.
        classes: ``C``.
        rounds: ``R`` rounds.
        log_prior: ``(C,)`` log frequencies of train; what calibration shrinks to.
        settings: form and training.
        progress: called with epochs done; ``2 * discriminator_epochs`` in all.
        nested: name -> what parts of ``z`` say by themselves, in the same rounds.
    """
    names, (values,) = _candidates([z], classes, rounds, settings, progress)
    names += tuple(f"{name} alone" for name in nested)
    values = np.concatenate(
        [values, *(part.logs[None].astype(np.float32) for part in nested.values())]
    )
    logs = np.empty((len(rounds), len(z), classes))
    notes: dict[str, tuple[str, ...]] = {}
    for number, each in enumerate(rounds):
        held = values[:, number]
        for reading in each.plan.readings:
            rows = reading.calibrate
            choice = calibrate(held[:, rows], each.labels[rows], log_prior)
            logs[number, reading.read] = choice(held[choice.candidate, reading.read], log_prior)
            text = f"{names[choice.candidate]}, slope {choice.slope:.2f}"
            notes[reading.split] = (*notes.get(reading.split, ()), text)
    return Posterior(logs, notes)


def trial_information(
    parts: Sequence[FloatArray],
    classes: int,
    told: Round,
    log_prior: FloatArray,
    settings: AnalysisSettings,
    progress: Progress,
) -> list[FloatArray]:
    """Pointwise information that the best candidate reads on the trial's held-out rows.

    Args:
        parts: sets of coordinates that are compared, ``(N, D)`` each.
        classes: ``C``.
        told: the round whose trial fold is used.
        log_prior: ``(C,)`` log frequencies of train.
        settings: form and training.
        progress: called with epochs done.

    Returns:
        For each set one value a held-out row, in nats. The rows choose the candidate and are read:
        good for comparing sets of coordinates, too high for anything else.
    """
    trial = told.plan.trial
    alone = Round(replace(told.plan, inside=(trial,), outside=None), told.labels)
    labels = told.labels[trial.held]
    found = []
    for values in _candidates(parts, classes, [alone], settings, progress)[1]:
        held = values[:, 0, trial.held]
        choice = calibrate(held, labels, log_prior)
        logs = choice(held[choice.candidate], log_prior)
        found.append(pointwise_information(logs, labels, log_prior))
    return found


def _candidates(
    parts: Sequence[FloatArray],
    classes: int,
    rounds: Sequence[Round],
    settings: AnalysisSettings,
    progress: Progress,
) -> tuple[tuple[str, ...], list[npt.NDArray[np.float32]]]:
    """Names of ``S`` candidates; for each part their held-out ``(S, R, N, C)`` log probabilities.

    The classifiers of all parts are trained side by side.
    """
    folds = [(each, fold) for each in rounds for fold in each.plan.folds]
    jobs = [
        Job(fold.fit, fold.held, each.labels, each.plan.judges(fold), number)
        for number in range(len(parts))
        for each, fold in folds
    ]
    inputs = [_standardised(part, rounds) for part in parts]
    names: list[str] = []
    found: list[list[npt.NDArray[np.float32]]] = [[] for _ in parts]
    for kind, hidden in {"network": (settings.hidden,) * 2, "linear": ()}.items():
        form = ClassifierSettings(
            hidden=hidden,
            epochs=settings.discriminator_epochs,
            batch_size=settings.batch_size * (1 if hidden else LINEAR_BATCHES),
            rate=NETWORK_RATE if hidden else LINEAR_RATE,
            seed=settings.seed,
            device=settings.device,
        )
        paths = classifier_paths(inputs, classes, jobs, form, progress)
        moments = len(paths[0])
        names += [f"{kind}, moment {k + 1} of {moments}" for k in range(moments)]
        for number, part in enumerate(parts):
            own = paths[number * len(folds) : (number + 1) * len(folds)]
            found[number].append(_in_place(own, rounds, len(part)))
    for number, part in enumerate(parts):
        found[number].append(_generative(part, classes, rounds))
    return (*names, *GENERATIVE), [np.concatenate(values) for values in found]


def _in_place(
    parts: Sequence[npt.NDArray[np.floating]], rounds: Sequence[Round], size: int
) -> npt.NDArray[np.float32]:
    """One ``(S, held, ...)`` array a fold, all rounds' folds in turn, as ``(S, R, N, ...)``."""
    shape = (len(parts[0]), len(rounds), size, *parts[0].shape[2:])
    whole = np.full(shape, np.nan, dtype=np.float32)
    turn = iter(parts)
    for number, each in enumerate(rounds):
        for fold in each.plan.folds:
            whole[:, number, fold.held] = next(turn)
    return whole


def _generative(z: FloatArray, classes: int, rounds: Sequence[Round]) -> npt.NDArray[np.float32]:
    """Bayes' rule on class-conditional Gaussians: p(y|z) = p(y) p(z|y) / p(z)."""
    parts: list[npt.NDArray[np.floating]] = []
    for each in rounds:
        held = _held(z, classes, each.labels, each.plan.folds, CLOSED_FORMS)
        stacked = np.stack([held.given[number] for number in range(len(held.names))])
        for fold in each.plan.folds:
            counts = np.bincount(each.labels[fold.fit], minlength=classes) + 0.5
            joint = stacked[:, fold.held] + np.log(counts / counts.sum())
            parts.append(joint - np.logaddexp.reduce(joint, axis=-1, keepdims=True))
    return _in_place(parts, rounds, len(z))


def _standardised(z: FloatArray, rounds: Sequence[Round]) -> FloatArray:
    rows = np.unique(np.concatenate([fold.fit for r in rounds for fold in r.plan.folds]))
    spread = z[rows].std(axis=0)
    return (z - z[rows].mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def density(
    z: FloatArray,
    classes: int,
    rounds: Sequence[Round],
    splits: Mapping[str, Rows],
    settings: AnalysisSettings,
    progress: Progress,
) -> Density:
    """p(z) of every row under the family that is likeliest on held-out rows.

    Families and their forms are compared once, fitted on the trial part of train; for the model
    that reads the other splits the likelihood of valid decides, where there is one. The winner is
    then fitted in every fold, and the moment of its training is chosen by the held-out likelihood
    of the reading's calibration rows.

    Args:
        z: ``(N, D)`` coordinates.
        classes: ``C``.
        rounds: ``R`` rounds with the true labels.
        splits: split name -> row numbers.
        settings: which families, their training.
        progress: called with the number of folds done.
    """
    names = _winners(z, classes, rounds[0], splits, settings)
    progress(1)
    entropies = np.empty((len(rounds), len(z)))
    given = np.empty((len(rounds), len(z), classes)) if settings.given == "direct" else None
    notes: dict[str, tuple[str, ...]] = {}
    for number, each in enumerate(rounds):
        # starts of its own, or the model of all of train would be the same in every repeat
        families = density_families(replace(settings, seed=settings.seed + number))
        inside, outside = (restrict(families, name) for name in names)
        train, others = _fitted(z, classes, each, inside, outside)
        for reading in each.plan.readings:
            held = train if reading.split == "train" else others
            best = held.choose(reading.calibrate)
            entropies[number, reading.read] = -held.marginal[best, reading.read]
            if given is not None:
                given[number, reading.read] = -held.given[best][reading.read]
            mean = held.marginal[best, reading.calibrate].mean()
            text = f"{held.names[best]} ({mean:.2f} nats held out)"
            notes[reading.split] = (*notes.get(reading.split, ()), text)
        progress(1)
    return Density(entropies, given, notes)


@dataclass(frozen=True)
class _Held:
    """``S`` candidates' ``(S, N)`` held-out log densities.

    ``given`` has ``(N, C)`` log densities given the class for the candidates that model them.
    """

    names: tuple[str, ...]
    marginal: FloatArray
    given: Mapping[int, FloatArray]

    def choose(self, rows: Rows) -> int:
        """The likeliest candidate on ``rows``."""
        return int(np.argmax(self.marginal[:, rows].mean(axis=1)))


def _winners(
    z: FloatArray,
    classes: int,
    first: Round,
    splits: Mapping[str, Rows],
    settings: AnalysisSettings,
) -> tuple[str, str]:
    """Names of the candidates that read train and the other splits.

    Of forms that are equal within a standard error the first, simplest one is taken: the best of
    twenty is often so by chance.
    """
    trial = first.plan.trial
    quick = [family.quick() for family in density_families(settings)]
    tried = estimate(z, first.labels, classes, [trial.fit], quick)

    def best(rows: Rows) -> str:
        return tried.names[choose(tried, 0, rows, margin=1.0)]

    inside, valid = best(trial.held), splits.get("valid", trial.held[:0])
    return inside, best(valid) if len(valid) >= SMALLEST_CALIBRATION else inside


def _fitted(
    z: FloatArray, classes: int, each: Round, inside: DensityFamily, outside: DensityFamily
) -> tuple[_Held, _Held]:
    """Held-out values of train and of the other splits, each from its family."""
    if each.plan.outside is None or inside == outside:
        whole = _held(z, classes, each.labels, each.plan.folds, inside)
        return whole, whole
    train = _held(z, classes, each.labels, each.plan.inside, inside)
    return train, _held(z, classes, each.labels, (each.plan.outside,), outside)


def _held(
    z: FloatArray, classes: int, labels: Rows, folds: Sequence[Fold], family: DensityFamily
) -> _Held:
    """Every fold's held-out rows in their places."""
    found = estimate(z, labels, classes, [fold.fit for fold in folds], [family])
    marginal = np.full((len(found.names), len(z)), np.nan)
    given = {number: np.full((len(z), classes), np.nan) for number in found.given}
    for number, fold in enumerate(folds):
        marginal[:, fold.held] = found.marginal[:, number, fold.held]
        for candidate, values in found.given.items():
            given[candidate][fold.held] = values[number, fold.held]
    return _Held(found.names, marginal, given)


def density_families(settings: AnalysisSettings) -> tuple[DensityFamily, ...]:
    """The families that ``settings.density`` names, all of them for ``auto``."""
    found = default_families(
        settings.entropy_epochs, 2 * settings.batch_size, settings.seed, settings.device
    )
    named = dict(zip(("classes", "mixture", "knife", "flow"), found, strict=True))
    if settings.density in ("auto", "em"):
        return found if settings.density == "auto" else found[:2]
    return (named[settings.density],)
