"""Closed forms of labelled mixtures against integration and against an independent density."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from lsmi.samples import NamedFeatures
from lsmi.truth import GATES, LabelledMixture, gate, toy
from mimrl.errors import ConfigError, EstimationError, ShapeError

LOG2 = float(np.log(2))
UNEVEN = LabelledMixture(
    means1=np.array([[0.0], [1.0], [2.5], [-1.0]]),
    means2=np.array([[0.3], [-1.0], [0.5], [1.5]]),
    labels=np.array([0, 1, 1, 2]),
    noise=0.7,
    correlation=0.6,
    weights=np.array([0.4, 0.3, 0.2, 0.1]),
)


def grid(mixture, low=-7.0, high=8.0, count=201):
    """Points of a square for every class, and the area of a cell."""
    axis = np.linspace(low, high, count)
    a, b = (part.ravel() for part in np.meshgrid(axis, axis, indexing="ij"))
    for label in np.unique(mixture.labels):
        labels = np.full(len(a), label)
        yield label, NamedFeatures({"x1": a[:, None], "x2": b[:, None]}, labels)


def class_densities(mixture, x):
    """p(x, y) of every class by scipy, x = (x1, x2)."""
    width = mixture.means1.shape[1]
    eye, rho = np.eye(width), mixture.correlation
    covariance = mixture.noise**2 * np.block([[eye, rho * eye], [rho * eye, eye]])
    means = np.hstack([mixture.means1, mixture.means2])
    each = [
        p * multivariate_normal(mean, covariance).pdf(x)
        for mean, p in zip(means, mixture.probabilities, strict=True)
    ]
    classes = np.unique(mixture.labels)
    return np.stack([sum(itertools.compress(each, mixture.labels == c)) for c in classes])


def test_information_is_that_of_densities_integrated_on_a_grid():
    """One-dimensional modalities: p(x1, x2, y) on a grid gives every density and every mean."""
    cell = (15 / 200) ** 2
    classes = np.unique(UNEVEN.labels)
    found = {label: UNEVEN.information(points) for label, points in grid(UNEVEN)}
    points = next(grid(UNEVEN))[1].features
    x = np.hstack([points["x1"], points["x2"]])
    joint = class_densities(UNEVEN, x)
    side = joint.reshape(len(classes), 201, 201)
    p_y = joint.sum(axis=1) * cell
    assert p_y == pytest.approx([0.4, 0.5, 0.1], abs=1e-6)
    p_x1 = np.repeat(side.sum(axis=(0, 2)) * np.sqrt(cell), 201)
    p_x2 = np.tile(side.sum(axis=(0, 1)) * np.sqrt(cell), 201)
    middle = np.abs(x).max(axis=1) < 3.5  # further out the grid cuts what is integrated
    for number, label in enumerate(classes):
        known = found[label]
        p_x1_y = np.repeat(side[number].sum(axis=1) * np.sqrt(cell), 201)
        i1 = np.log(p_x1_y / p_x1 / p_y[number])
        i12 = np.log(joint[number] / joint.sum(axis=0) / p_y[number])
        assert known.i1[middle] == pytest.approx(i1[middle], abs=1e-5)
        assert known.i12[middle] == pytest.approx(i12[middle], abs=1e-5)
        assert known.h1[middle] == pytest.approx(-np.log(p_x1[middle]), abs=1e-5)
        assert known.h2[middle] == pytest.approx(-np.log(p_x2[middle]), abs=1e-5)
    mean = sum(np.sum(joint[k] * found[c].i12) * cell for k, c in enumerate(classes))
    drawn = UNEVEN.information(UNEVEN.sample(40_000, np.random.default_rng(0))).i12
    assert drawn.mean() == pytest.approx(mean, abs=4 * drawn.std() / 200)


@pytest.mark.parametrize("rho", [0.0, 0.9])
def test_toy_in_ten_dimensions_has_the_densities_of_scipy(rho):
    mixture = toy(10, rho)
    samples = mixture.sample(50, np.random.default_rng(0))
    joint = class_densities(mixture, np.hstack([samples.features["x1"], samples.features["x2"]]))
    expected = np.log(joint[samples.labels, np.arange(50)] / joint.sum(axis=0)) + np.log(10)
    known = mixture.information(samples)
    assert known.i12 == pytest.approx(expected, abs=1e-9)
    one = [multivariate_normal(mean, 0.25).pdf(samples.features["x1"]) for mean in np.eye(10)]
    assert known.h1 == pytest.approx(-np.log(np.mean(one, axis=0)), abs=1e-9)


def test_samples_have_the_moments_of_the_mixture():
    samples = UNEVEN.sample(50_000, np.random.default_rng(0))
    both = np.hstack([samples.features["x1"], samples.features["x2"]])
    first = samples.labels == 0
    assert first.mean() == pytest.approx(0.4, abs=0.01)  # s.e. .002
    assert both[first].mean(axis=0) == pytest.approx([0.0, 0.3], abs=0.02)
    expected = 0.49 * np.array([[1, 0.6], [0.6, 1]])
    assert np.cov(both[first].T) == pytest.approx(expected, abs=0.02)


# raw totals by Monte Carlo with 100,000 draws: s.e. .001 each
NOISY = {
    "xor": ((0, 0, 0, LOG2), (0, 0, 0, LOG2)),
    "and": ((0.292, -0.078, -0.077, 0.423), (0.2158, 0, 0, 0.3466)),
    "or": ((0.292, -0.078, -0.077, 0.423), (0.2158, 0, 0, 0.3466)),
    "unique": ((None, None, None, None), (0, LOG2, 0, 0)),
    "redundant copy": ((LOG2, 0, 0, 0), (LOG2, 0, 0, 0)),
    "xor + unique": ((None, None, None, None), (0, LOG2, 0, LOG2)),
}


@pytest.mark.parametrize("name", GATES)
def test_noisy_gates(name):
    """At a noise of .1 the label is as good as certain: adjusted values are the discrete gate's."""
    raw, adjusted = NOISY[name]
    found = gate(name, 0.1).totals(40_000)
    for value, expected in zip(found.raw, raw, strict=True):
        assert expected is None or value == pytest.approx(expected, abs=0.008)
    assert tuple(found.adjusted) == pytest.approx(adjusted, abs=0.008)
    assert found.error < 0.002


def test_gates_keep_their_raw_totals_at_any_small_noise():
    """Not the discrete gate's .389: h varies with the noise in units of its own scale."""
    wide, narrow = (gate("and", noise).totals(40_000).raw for noise in (0.1, 1e-4))
    assert tuple(narrow) == pytest.approx(tuple(wide), abs=0.002)  # the same draws


def test_impossible_mixtures_are_refused():
    one = np.zeros((2, 1))
    with pytest.raises(ShapeError, match="means2"):
        LabelledMixture(one, np.zeros((3, 1)), np.arange(2), 0.1)
    with pytest.raises(ShapeError, match="equal widths"):
        LabelledMixture(one, np.zeros((2, 2)), np.arange(2), 0.1, 0.5)
    with pytest.raises(ConfigError, match="noise"):
        LabelledMixture(one, one, np.arange(2), 0.0)
    with pytest.raises(ConfigError, match="weights"):
        LabelledMixture(one, one, np.arange(2), 0.1, weights=np.array([0.7, 0.7]))
    with pytest.raises(ConfigError, match="no gate 'nand'"):
        gate("nand", 0.1)
    with pytest.raises(ConfigError, match="1 draws"):
        gate("xor", 0.1).totals(1)
    with pytest.raises(EstimationError, match=r"labels \[5\]"):
        gate("xor", 0.1).information(NamedFeatures({"x1": one, "x2": one}, np.array([0, 5])))
