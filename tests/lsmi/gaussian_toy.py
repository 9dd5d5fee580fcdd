"""The toy data of the LSMI paper, whose densities are closed-form mixtures (LSMI, section 5)."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from lsmi.decomposition import PointwiseInformation
from lsmi.pairs import PairFeatures


def sample(size, classes, rho, sigma, generator):
    """x1 = onehot(y) + sigma u, x2 = onehot(y) + sigma (rho u + sqrt(1 - rho^2) v)."""
    y = generator.integers(0, classes, size)
    u, v = generator.normal(size=(2, size, classes))
    means = np.eye(classes)[y]
    x2 = means + sigma * (rho * u + np.sqrt(1 - rho**2) * v)
    return PairFeatures(means + sigma * u, x2, y)


def exact(pair, rho, sigma):
    """Pointwise information and entropies of each sample, classes equally likely."""
    classes = pair.x1.shape[1]
    eye = np.eye(classes)
    one = sigma**2 * eye
    both = sigma**2 * np.block([[eye, rho * eye], [rho * eye, eye]])
    i1, h1 = _information(pair.x1, pair.labels, eye, one)
    i2, h2 = _information(pair.x2, pair.labels, eye, one)
    joint = np.hstack([pair.x1, pair.x2])
    i12, _ = _information(joint, pair.labels, np.hstack([eye, eye]), both)
    return PointwiseInformation(i1, i2, i12, h1, h2)


def _information(x, labels, means, covariance):
    centred = x[:, None] - means
    quadratic = np.einsum("nki,ij,nkj->nk", centred, np.linalg.inv(covariance), centred)
    constant = np.linalg.slogdet(covariance)[1] + x.shape[1] * np.log(2 * np.pi)
    given = -0.5 * (quadratic + constant)
    marginal = logsumexp(given, axis=1) - np.log(len(means))
    return given[np.arange(len(x)), labels] - marginal, -marginal
