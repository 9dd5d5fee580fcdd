"""How the fitted densities make the mean redundancy vary from data set to data set.

A mean over samples varies with the samples that are read and with the models, which were fitted to
samples of the same kind. For pointwise information the second part is of second order: the true
posterior maximises the likelihood. Redundancy has no such property. A small change of ``h1``
changes ``min(h1, h2)`` wherever ``h1`` is the smaller, and a density that is estimated with a
surplus somewhere got it from the samples there. The influence of one sample on

    E[min(h1, h2)] - E[min(h1|y, h2|y)]

is therefore, besides its own term (van der Vaart, Asymptotic Statistics, 1998, chapter 25),

    - P(h1 < h2 | x1) - P(h2 < h1 | x2) + P(h1|y < h2|y | x1, y) + P(h2|y < h1|y | x2, y)

less the mean. On two Gaussian classes (correlation .5, 2,000 samples) it raises the standard
deviation of mean r from .0069 to .0097 nats, which is what 100 data sets show; an interval from the
first term alone holds the truth in 85 % of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lsmi.decomposition import PointwiseInformation

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
LEAST_NEIGHBOURS = 10


def density_influence(information: PointwiseInformation, labels: Rows) -> FloatArray:
    """Each sample's part in the variation of mean r through the densities.

    The four probabilities are regressed on the entropies themselves, ``h1``, ``h2`` and, within a
    class, ``h1|y``, ``h2|y``, by nearest neighbours: one dimension, whatever the features have.

    Args:
        information: of ``N`` samples.
        labels: ``(N,)`` classes.

    Returns:
        ``(N,)`` in nats, of mean 0: parts in the mean of samples like these, read by densities that
        were fitted to these. It belongs to r and s with its sign, to u1 and u2 with the
        opposite one; ``i1``, ``i2``, ``i12`` have none.

    Note:
        It is the influence on an estimate that makes no assumption about the densities; a model
        of few parameters varies less.
    """
    known = information
    given1 = known.h1 - known.i1 if known.h1_given is None else known.h1_given
    given2 = known.h2 - known.i2 if known.h2_given is None else known.h2_given
    found = -_smaller(known.h1, known.h2)
    found = found - found.mean()
    for value in np.unique(labels):
        rows = np.flatnonzero(labels == value)
        within = _smaller(given1[rows], given2[rows])
        found[rows] += within - within.mean()
    return found


def _smaller(h1: FloatArray, h2: FloatArray) -> FloatArray:
    """``P(h1 < h2 | h1) + P(h2 < h1 | h2)`` of each sample; equal ones count half for each."""
    first = (h1 < h2) + 0.5 * (h1 == h2)
    return _along(h1, first) + _along(h2, 1 - first)


def _along(z: FloatArray, target: FloatArray) -> FloatArray:
    """``target`` averaged over the samples of nearest rank in ``z``.

    Their number grows as ``N^(4/5)``, the rate for smooth functions of one variable; fewer leave
    noise in the average, which would count as variation of the estimate.
    """
    reach = max(LEAST_NEIGHBOURS, round(len(z) ** 0.8)) // 2
    order = np.argsort(z, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(target[order])])
    place = np.arange(len(z))
    low, high = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(z))
    smooth = np.empty(len(z))
    smooth[order] = (sums[high] - sums[low]) / (high - low)
    return smooth
