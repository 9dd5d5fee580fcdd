"""A second reading of all terms, by means that have nothing in common with critics.

* Between features, I(x; y): principal components of both, turned to canonical coordinates, all
  fitted on train; then nearest neighbours (KSG) on held-out rows. Given the label: within each
  class, averaged by the classes' shares.
* With the label, by the chain rule: I(x; C | z) = I(x, z; C) - I(z; C), each the mean log
  likelihood of a small network's held-out predictions above that of the class shares. Networks
  are fitted on train, calibrated on validation, read on test.

Both see a function of the features, so both are low where features hold more than a few
coordinates show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lsmi.calibration import calibrate
from lsmi.discriminators import ClassifierSettings, Job, classifier_paths
from mimrl.datasets.features import SPLITS
from mimrl.mi.canonical import canonical_maps
from mimrl.mi.estimators import Ksg
from mimrl.terms import LABEL, Term
from mimrl.training.inference import Features

Floats = npt.NDArray[np.float64]
Split = Mapping[str, Floats]
COMPONENTS = 8  # principal components of a variable
COORDINATES = 2  # canonical coordinates that neighbours are sought in: of planted data two bits
NEIGHBOURS = 5
SMALLEST = 1e-9  # share of the variance; a component below it is rounding
DEAD = 1e-5  # mean deviation of a variable below which only rounding moves it, as for critics
NETWORK = ClassifierSettings(hidden=(32,), epochs=12, batch_size=128, rate=5e-3)


def read_terms(features: Mapping[str, Features], table: Sequence[Term]) -> dict[str, float]:
    """Every term by the second instrument, on the test split.

    Args:
        features: ``train``, ``valid`` and ``test`` of one model; labels are classes.
        table: the terms.

    Returns:
        Term name -> nats.
    """
    splits = _components(features)
    labels = {name: found.labels.numpy() for name, found in features.items()}
    about_label = _about_label(splits, labels, table)
    found = {}
    for term in table:
        if term.y == LABEL:
            both, alone = frozenset((term.x, str(term.given))), frozenset((str(term.given),))
            found[term.name] = about_label[both] - about_label[alone]
        elif term.given == LABEL:
            found[term.name] = _within_classes(splits, labels, term)
        else:
            found[term.name] = _neighbours(splits, term)
    return found


def _components(features: Mapping[str, Features]) -> dict[str, dict[str, Floats]]:
    """Split -> variable -> ``(N, k)`` principal components, white on train; 0 where it is dead."""
    found: dict[str, dict[str, Floats]] = {name: {} for name in SPLITS}
    for variable, values in features["train"].named().items():
        train = values.double().numpy()
        mean, alive = train.mean(axis=0), train.std(axis=0).mean() > DEAD
        _, sizes, axes = np.linalg.svd(train - mean, full_matrices=False)
        kept = np.flatnonzero(sizes[:COMPONENTS] ** 2 >= SMALLEST * (sizes**2).sum())
        scale = sizes[kept] / np.sqrt(len(train))
        for name in SPLITS:
            own = features[name].named()[variable].double().numpy() - mean
            found[name][variable] = own @ axes[kept].T / scale if alive else 0.0 * own[:, :1]
    return found


def _neighbours(splits: Mapping[str, Split], term: Term, rows: Mapping | None = None) -> float:
    """I(x; y) on the test rows, or on some of them.

    Args:
        splits: split -> variable -> components.
        term: names x and y.
        rows: split -> which rows; None: all.
    """
    chosen = {
        name: [
            splits[name][v][slice(None) if rows is None else rows[name]] for v in (term.x, term.y)
        ]
        for name in ("train", "test")
    }
    if not all(np.ptp(values) for values in chosen["train"]):
        return 0.0  # a dead variable
    maps = canonical_maps(*chosen["train"])
    x, y = (part(v)[:, :COORDINATES] for part, v in zip(maps, chosen["test"], strict=True))
    return float(Ksg(neighbours=NEIGHBOURS).estimate(x, y))


def _within_classes(splits: Mapping[str, Split], labels: Mapping[str, Floats], term: Term) -> float:
    """I(x; y | label): the mean over classes, by their shares of the test rows."""
    total = 0.0
    for value, count in zip(*np.unique(labels["test"], return_counts=True), strict=True):
        rows = {name: labels[name] == value for name in ("train", "test")}
        total += _neighbours(splits, term, rows) * count / len(labels["test"])
    return total


def _about_label(
    splits: Mapping[str, Split], labels: Mapping[str, npt.NDArray], table: Sequence[Term]
) -> dict[frozenset[str], float]:
    """Set of variables -> I(they; label) on test, for all that the terms need."""
    needed = [(t.x, t.given) for t in table if t.y == LABEL]
    sets = list(dict.fromkeys([frozenset(map(str, s)) for x, z in needed for s in ((x, z), (z,))]))
    inputs = [
        np.concatenate(
            [np.concatenate([splits[name][v] for v in sorted(each)], axis=1) for name in SPLITS]
        )
        for each in sets
    ]
    every = np.concatenate([labels[name] for name in SPLITS]).astype(np.int64)
    first, second = np.cumsum([len(labels[name]) for name in SPLITS])[:2]
    fit, valid = np.arange(first), np.arange(first, second)
    test = np.arange(second, len(every))
    jobs = [Job(fit, np.arange(first, len(every)), every, valid, i) for i in range(len(sets))]
    classes = int(every.max()) + 1
    log_prior = np.log(np.bincount(every[fit], minlength=classes) / len(fit))
    found = {}
    for each, path in zip(sets, classifier_paths(inputs, classes, jobs, NETWORK), strict=True):
        choice = calibrate(path[:, : len(valid)], every[valid], log_prior)
        logs = choice(path[choice.candidate, len(valid) :], log_prior)
        found[each] = float(
            np.mean(logs[np.arange(len(test)), every[test]] - log_prior[every[test]])
        )
    return found
