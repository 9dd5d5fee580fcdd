"""Tests whether two samples come from one law; p-values hold for thousands of rows."""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.special import ndtri

FREQUENCIES = 20


def p_values(first, second, ratio) -> dict[str, float]:
    """All tests of pairs (x, y) against pairs (x, y).

    ``ratio(x, y)`` is an exact log ratio of one of the two laws: the one function of a sample that
    tells dependence best. None leaves that test out.
    """
    joint = normal_scores(np.hstack(first), np.hstack(second))
    width = first[0].shape[1]
    left, right = [scores[:, :width] for scores in joint], [scores[:, width:] for scores in joint]
    found = {
        "margins": margins(np.hstack(first), np.hstack(second)),
        "products": products(*joint),
        "x": fourier(*left),
        "y": fourier(*right),
        "joint": fourier(*joint),
    }
    if ratio is not None:
        found["log ratio"] = log_ratios(ratio(*first), ratio(*second))
    return found


def margins(first, second) -> float:
    """Kolmogorov-Smirnov of every coordinate; the smallest p-value times their number."""
    found = [
        stats.ks_2samp(a, b, method="asymp").pvalue for a, b in zip(first.T, second.T, strict=True)
    ]
    return min(1.0, len(found) * min(found))


def log_ratios(first, second) -> float:
    """Kolmogorov-Smirnov; rounded, as equal ratios differ by rounding between float32 and 64."""
    return stats.ks_2samp(np.round(first, 4), np.round(second, 4), method="asymp").pvalue


def products(first, second) -> float:
    """Mean products of two coordinates, the largest difference in its own standard errors."""
    means = [values.T @ values / len(values) for values in (first, second)]
    squares = [(values**2).T @ values**2 / len(values) for values in (first, second)]
    variance = sum(
        (square - mean**2) / len(values)
        for square, mean, values in zip(squares, means, (first, second), strict=True)
    )
    pairs = np.triu_indices(first.shape[1], 1)
    scores = np.abs(means[0] - means[1])[pairs] / np.sqrt(variance[pairs])
    return min(1.0, len(scores) * 2 * stats.norm.sf(scores.max()))


def fourier(first, second) -> float:
    """Empirical characteristic functions at random frequencies, as one quadratic form.

    Chwialkowski et al., "Fast two-sample testing with analytic representations", NeurIPS 2015: a
    maximum mean discrepancy in random features, normalised so that its law is chi-squared.
    """
    generator = np.random.default_rng(7)
    directions = generator.normal(size=(first.shape[1], FREQUENCIES)) / np.sqrt(first.shape[1])
    phases = [
        values @ (directions * np.linspace(0.5, 2.5, FREQUENCIES)) for values in (first, second)
    ]
    features = [np.hstack([np.cos(phase), np.sin(phase)]) for phase in phases]
    difference = features[0].mean(axis=0) - features[1].mean(axis=0)
    covariance = sum(np.cov(values.T) / len(values) for values in features)
    # Directions of no variance (one coordinate, near frequencies) carry rounding only.
    values, vectors = np.linalg.eigh(covariance)
    kept = values > 1e-6 * values[-1]
    form = ((vectors[:, kept].T @ difference) ** 2 / values[kept]).sum()
    return float(stats.chi2.sf(form, int(kept.sum())))


def normal_scores(first, second):
    """Both samples with every coordinate brought to a normal margin by their pooled ranks."""
    pooled = stats.rankdata(np.vstack([first, second]), axis=0)
    scores = ndtri(pooled / (len(pooled) + 1))
    return scores[: len(first)], scores[len(first) :]
