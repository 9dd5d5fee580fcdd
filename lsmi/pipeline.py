"""From two modalities' features and labels to the decomposition of every sample.

The steps, each in a module of its own: a plan of who judges whom, one scale for both modalities,
classifiers and density models, their calibration and choice, and the formulas.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lsmi.calibration import calibrate
from lsmi.decomposition import (
    PointwiseDecomposition,
    PointwiseInformation,
    decompose_pointwise,
    pointwise_information,
)
from lsmi.density import Knife, Mixture, log_densities
from lsmi.discriminators import ClassifierSettings, classifier_paths
from lsmi.pairs import FloatArray, Joined, PairFeatures, Rows, join
from lsmi.plan import Plan, make_plan
from lsmi.preprocessing import fit_whitening
from lsmi.settings import AnalysisSettings
from mimrl.errors import EstimationWarning

CANDIDATE_COMPONENTS = (2, 4, 8, 16, 32, 64)
ROWS_A_COMPONENT = 20  # a number of components is a candidate if train has so many rows for each
NETWORK_RATE, LINEAR_RATE = 2e-3, 2e-2  # of Adam; a linear classifier has one valley
WORSE_THAN_PRIOR = 3.0  # standard errors of a mean below 0 that are worth a warning

Progress = Callable[[int], object]
Stages = Callable[[str, int], Progress]


@dataclass(frozen=True)
class SplitReading:
    """One split's result; arrays in the order of the samples given.

    Attributes:
        ids: ``N`` names.
        labels: ``(N,)`` classes as given.
        decomposition: raw and adjusted, the shift being this split's own.
        label_entropy: mean of ``-log p(y)`` under the prior used, in nats: what the mean of
            ``i12`` cannot exceed.
    """

    ids: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    decomposition: PointwiseDecomposition
    label_entropy: float


@dataclass(frozen=True)
class Analysis:
    """The result of :func:`analyse`.

    Attributes:
        splits: split name -> reading.
        classes: the labels' values; ``prior`` is in this order.
        prior: ``(C,)`` class prior used for the pointwise information.
        components: numbers of components that the models of each modality saw.
        choices: variable (``x1``, ``x2``, ``x12``, ``h1``, ``h2``) -> split -> what judged it,
            one text a reading.
        settings: what it was computed with.
    """

    splits: Mapping[str, SplitReading]
    classes: tuple[int, ...]
    prior: FloatArray
    components: tuple[int, int]
    choices: Mapping[str, Mapping[str, tuple[str, ...]]]
    settings: AnalysisSettings


def silent(stage: str, total: int) -> Progress:
    """Stages that nobody watches."""
    return lambda count: None


def analyse(
    splits: Mapping[str, PairFeatures],
    settings: AnalysisSettings | None = None,
    stages: Stages = silent,
) -> Analysis:
    """Redundant, unique and synergistic information of two modalities about a discrete label.

    Args:
        splits: ``train`` and, if there are any, ``valid`` and ``test``. No sample of any split is
            read by a model that was fitted or calibrated with it (see :mod:`lsmi.plan`).
        settings: how to estimate.
        stages: called with the name and the number of steps of each stage; what it returns is
            called with steps done.

    Returns:
        A reading of each split, in nats.

    Raises:
        EstimationError: one class only, a class without training samples, too few samples, or
            features that do not vary.
        ShapeError: arrays that do not fit together.
        NonFiniteError: NaN or infinite features.
    """
    settings = settings or AnalysisSettings()
    data = join(splits)
    plan = make_plan(data.splits, data.labels, data.groups, settings.folds, settings.seed)
    x1, x2 = _common_scale(data, plan, settings, stages)
    columns: dict[str, FloatArray] = {}
    choices: dict[str, Mapping[str, tuple[str, ...]]] = {}
    prior = _log_prior(data, settings)
    for name, x in {"x1": x1, "x2": x2, "x12": np.hstack([x1, x2])}.items():
        logs, choices[name] = _classify(x, data, plan, settings, stages, f"p(y|{name})")
        columns["i" + name[1:]] = pointwise_information(logs, data.labels, prior)
    for name, x in {"h1": x1, "h2": x2}.items():
        columns[name], choices[name] = _entropies(x, data, plan, settings, stages, f"p(x{name[1]})")
    return Analysis(
        splits={name: _reading(data, name, columns, prior) for name in data.splits},
        classes=data.classes,
        prior=np.exp(prior),
        components=(x1.shape[1], x2.shape[1]),
        choices=choices,
        settings=settings,
    )


def _warn_if_below_zero(values: FloatArray, name: str) -> None:
    """Information is never negative; an estimate far below 0 says that its classifier misleads."""
    error = values.std() / np.sqrt(len(values))
    if values.mean() < -WORSE_THAN_PRIOR * error - 1 / len(values):
        warnings.warn(
            f"mean {name} is {values.mean():.3f} nats (standard error {error:.3f}): its classifier "
            "is worse than the class prior there, so r, u1, u2, s of this split mean little; more "
            "samples in valid, or fewer components, may help",
            EstimationWarning,
            stacklevel=3,
        )


def _reading(
    data: Joined, split: str, columns: Mapping[str, FloatArray], log_prior: FloatArray
) -> SplitReading:
    rows = data.splits[split]
    information = PointwiseInformation(**{name: value[rows] for name, value in columns.items()})
    for name in ("i1", "i2", "i12"):
        _warn_if_below_zero(getattr(information, name), f"{name} of {split}")
    return SplitReading(
        ids=tuple(data.ids[row] for row in rows),
        labels=np.asarray(data.classes, dtype=np.int64)[data.labels[rows]],
        decomposition=decompose_pointwise(information),
        label_entropy=float(-log_prior[data.labels[rows]].mean()),
    )


def _log_prior(data: Joined, settings: AnalysisSettings) -> FloatArray:
    classes = len(data.classes)
    uniform = np.full(classes, -np.log(classes))
    return uniform if settings.prior == "uniform" else data.log_frequencies


def _common_scale(
    data: Joined, plan: Plan, settings: AnalysisSettings, stages: Stages
) -> tuple[FloatArray, FloatArray]:
    """Both modalities on one scale: as they are, or whitened to one number of components."""
    if settings.scaling == "none":
        return data.x1, data.x2
    train = data.splits["train"]
    first, second = fit_whitening(data.x1[train]), fit_whitening(data.x2[train])
    x1, x2 = first(data.x1), second(data.x2)
    most = min(first.components, second.components)
    if settings.components is not None:
        count = min(settings.components, most)
    else:
        count = _choose_components(x1, x2, most, data, plan, settings, stages)
    return x1[:, :count], x2[:, :count]


def _choose_components(
    x1: FloatArray,
    x2: FloatArray,
    most: int,
    data: Joined,
    plan: Plan,
    settings: AnalysisSettings,
    stages: Stages,
) -> int:
    """The number of components of highest held-out likelihood of the three classifiers.

    The smallest number is taken whose likelihood is within one standard error of the highest:
    fewer components make better densities. Densities themselves cannot be compared between
    numbers of components.
    """
    limit = min(most, settings.max_components, max(1, len(plan.trial_fit) // ROWS_A_COMPONENT))
    candidates = sorted({count for count in CANDIDATE_COMPONENTS if count < limit} | {limit})
    if len(candidates) == 1:
        return candidates[0]
    # a comparison between candidates needs no last touch: half the epochs, one start
    trial = replace(
        settings, members=1, discriminator_epochs=(settings.discriminator_epochs + 1) // 2
    )
    progress = stages("components", 3 * len(candidates) * trial.discriminator_epochs)
    log_prior, rows = data.log_frequencies, plan.trial_read
    scores = []
    for count in candidates:
        part1, part2 = x1[:, :count], x2[:, :count]
        score = np.zeros(len(rows))
        for x in (part1, part2, np.hstack([part1, part2])):
            paths = _paths(x, data, [plan.trial_fit], trial, progress, linear=False)[:, 0, rows]
            choice = calibrate(paths, data.labels[rows], log_prior)
            logs = choice(paths[choice.candidate], log_prior)
            score += pointwise_information(logs, data.labels[rows], log_prior)
        scores.append(score)
    best = max(range(len(candidates)), key=lambda k: scores[k].mean())
    for count, score in zip(candidates, scores, strict=True):
        behind = scores[best] - score
        if behind.mean() <= behind.std() / np.sqrt(len(rows)):
            return count
    return candidates[best]


def _paths(
    x: FloatArray,
    data: Joined,
    fits: list[Rows] | tuple[Rows, ...],
    settings: AnalysisSettings,
    progress: Progress,
    linear: bool = True,
) -> npt.NDArray[np.float32]:
    """``(S, F, N, C)`` log probabilities of networks and, with ``linear``, of linear models."""
    rows = np.unique(np.concatenate(fits))
    spread = x[rows].std(axis=0)
    inputs = (x - x[rows].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    forms = [(settings.hidden, settings.hidden), ()] if linear else [(settings.hidden,) * 2]
    found = []
    for hidden in forms:
        form = ClassifierSettings(
            hidden=hidden,
            epochs=settings.discriminator_epochs,
            batch_size=settings.batch_size,
            rate=NETWORK_RATE if hidden else LINEAR_RATE,
            members=settings.members if hidden else 1,
            seed=settings.seed,
            device=settings.device,
        )
        found.append(classifier_paths(inputs, data.labels, len(data.classes), fits, form, progress))
    return np.concatenate(found)


def _classify(
    x: FloatArray,
    data: Joined,
    plan: Plan,
    settings: AnalysisSettings,
    stages: Stages,
    stage: str,
) -> tuple[FloatArray, dict[str, tuple[str, ...]]]:
    """Calibrated ``(N, C)`` log probabilities, each row by a model that did not see it."""
    progress = stages(stage, 2 * settings.discriminator_epochs)
    paths = _paths(x, data, plan.fits, settings, progress)
    logs = np.empty((len(data.labels), len(data.classes)))
    notes: dict[str, tuple[str, ...]] = dict.fromkeys(data.splits, ())
    for reading in plan.readings:
        path, rows = paths[:, reading.fit], reading.calibrate
        choice = calibrate(path[:, rows], data.labels[rows], data.log_frequencies)
        logs[reading.read] = choice(path[choice.candidate, reading.read], data.log_frequencies)
        half = len(paths) // 2
        form = "network" if choice.candidate < half else "linear"
        notes[reading.split] += (
            f"{form}, moment {choice.candidate % half + 1} of {half}, slope {choice.slope:.2f}",
        )
    return logs, notes


def _entropies(
    x: FloatArray,
    data: Joined,
    plan: Plan,
    settings: AnalysisSettings,
    stages: Stages,
    stage: str,
) -> tuple[FloatArray, dict[str, tuple[str, ...]]]:
    """``-log p(x)`` of every row, under the model most likely on its calibration rows."""
    knife = Knife(
        epochs=settings.entropy_epochs,
        batch_size=settings.batch_size,
        seed=settings.seed,
        device=settings.device,
    )
    mixture = Mixture(seed=settings.seed)
    progress = stages(stage, settings.entropy_epochs + len(mixture.forms))
    names, values = log_densities(x, plan.fits, (mixture, knife), progress)
    entropies = np.empty(len(x))
    notes: dict[str, tuple[str, ...]] = dict.fromkeys(data.splits, ())
    for reading in plan.readings:
        likelihoods = values[:, reading.fit, reading.calibrate].mean(axis=1)
        best = int(np.argmax(likelihoods))
        entropies[reading.read] = -values[best, reading.fit, reading.read]
        notes[reading.split] += (f"{names[best]} ({likelihoods[best]:.2f} nats held out)",)
    return entropies, notes
