"""Mixtures of Gaussians with one noise, whose density is known (helper of the tests here)."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp


def sample(means, weights, noise, size, generator):
    """Features ``(size, D)`` and the component of each, one of ``(K, D)`` means plus noise."""
    means = np.asarray(means, dtype=float)
    component = generator.choice(len(means), size, p=weights)
    return means[component] + noise * generator.normal(size=(size, means.shape[1])), component


def log_density(x, means, weights, noise):
    """Exact log p(x) in nats, ``(N,)``, and given the component, ``(N, K)``."""
    squares = ((x[:, None] - np.asarray(means, dtype=float)) ** 2).sum(axis=-1)
    given = -0.5 * squares / noise**2 - x.shape[1] / 2 * np.log(2 * np.pi * noise**2)
    return logsumexp(given + np.log(weights), axis=1), given


def unlabelled(family, x, fits):
    """A family's candidates where there is one class."""
    return family(x, np.zeros(len(x), np.int64), 1, fits, lambda count: None)
