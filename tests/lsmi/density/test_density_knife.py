"""KNIFE: its form of a mixture, its start, and its training in any units."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from known_mixtures import log_density, sample, unlabelled
from scipy.stats import multivariate_normal

from lsmi.density import Knife, choose, knife_log_density
from mimrl.errors import NonFiniteError


def test_components_are_gaussians_of_any_precision():
    """What the four arrays mean, component by component, against scipy."""
    generator = np.random.default_rng(0)
    count, d = 3, 4
    shapes = ((count, d), (count, d), (count, d, d), (count,))
    means, scales, lower, weights = (generator.normal(size=shape) for shape in shapes)
    x = generator.normal(size=(7, d))
    density = np.zeros(7)
    for k in range(count):
        mixing = (np.eye(d) + np.tril(lower[k], -1)) @ np.diag(np.exp(scales[k]))
        share = np.exp(weights[k]) / np.exp(weights).sum()
        component = multivariate_normal(means[k], np.linalg.inv(mixing.T @ mixing))
        density += share * component.pdf(x)
    parts = [torch.as_tensor(value) for value in (x, means, scales, lower, weights)]
    assert knife_log_density(*parts).numpy() == pytest.approx(np.log(density), abs=1e-10)
    several = [part.expand(2, *part.shape) for part in parts]
    assert knife_log_density(*several).numpy() == pytest.approx(
        np.tile(np.log(density), (2, 1)), abs=1e-10
    )


def test_start_is_already_near_clusters():
    """The published code starts from noise."""
    means, weights = [[0, 0], [0, 1], [1, 0], [1, 1]], [0.1, 0.2, 0.3, 0.4]
    x, _ = sample(means, weights, 0.1, 3000, np.random.default_rng(0))
    found = unlabelled(Knife(components=4, epochs=1), x, [np.arange(1500)])
    exact, _ = log_density(x, means, weights, 0.1)
    assert found.names == ("knife, epoch 0", "knife, epoch 1")
    assert (exact - found.marginal[0, 0])[1500:].mean() == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("scale", [0.05, 10.0])
def test_finds_the_entropy_in_any_units(scale):
    """The published code reads .05 x N(0, I) in 3 dimensions 3.7 nats too high, 10 x 8.7."""
    x = np.random.default_rng(0).normal(size=(1500, 3)) * scale
    truth = 1.5 * math.log(2 * math.pi * math.e * scale**2)
    found = unlabelled(Knife(epochs=10), x, [np.arange(1000)])
    best = choose(found, 0, np.arange(1000, 1250))
    # standard error of the mean of 250 entropies: sqrt(1.5 / 250) = 0.08
    assert -found.marginal[best, 0, 1250:].mean() == pytest.approx(truth, abs=0.2)


def test_training_that_runs_away_is_an_error():
    x = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.raises(NonFiniteError, match=r"loss of KNIFE is .* in epoch 1"):
        unlabelled(Knife(epochs=2, batch_size=8, rate=1e30), x, [np.arange(60)])
