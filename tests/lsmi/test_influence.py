"""The variation of mean r through the densities, against data sets drawn again and again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from lsmi.decomposition import PointwiseInformation, raw_atoms
from lsmi.influence import density_influence
from lsmi.truth import toy
from lsmi.uncertainty import Drawn, Repeated, intervals


def one_modality(x, labels, fit=slice(None)):
    """Pointwise information and entropy under a Gaussian fitted to each class of some rows."""
    seen, known = x[fit], labels[fit]
    shares = np.bincount(known) / len(known)
    logs = np.stack([
        multivariate_normal(seen[known == c].mean(axis=0), np.cov(seen[known == c].T)).logpdf(x)
        for c in range(len(shares))
    ], axis=1)  # fmt: skip
    marginal = np.logaddexp.reduce(logs + np.log(shares), axis=1)
    return logs[np.arange(len(x)), labels] - marginal, -marginal


def test_standard_deviation_of_fitted_redundancy_is_foretold():
    generator, size, sets = np.random.default_rng(0), 600, 250
    values, plain, full = [], [], []
    for _ in range(sets):
        samples = toy(2, 0.0).sample(size, generator)
        i1, h1 = one_modality(samples.features["x1"], samples.labels)
        i2, h2 = one_modality(samples.features["x2"], samples.labels)
        information = PointwiseInformation(i1, i2, i1 + i2, h1, h2)
        r = raw_atoms(information).r
        values.append(r.mean())
        plain.append(r.std() / np.sqrt(size))
        full.append((r + density_influence(information, samples.labels)).std() / np.sqrt(size))
    observed = np.std(values)  # standard error 1 / sqrt(2 sets) = 4.5 %
    assert np.mean(full) == pytest.approx(observed, rel=0.12)
    assert np.mean(plain) < 0.8 * observed


def test_intervals_of_samples_that_others_were_fitted_to_foretell_their_totals():
    """150 samples, read by densities of 600 others: these have a variation of their own."""
    generator, sets, few = np.random.default_rng(1), 120, 150
    totals, widths, as_if_fitted = [], [], []
    for number in range(sets):
        samples = toy(2, 0.0).sample(600 + few, generator)
        labels, train = samples.labels, np.arange(600)
        found = [one_modality(samples.features[x], labels, train) for x in ("x1", "x2")]
        (i1, h1), (i2, h2) = found
        values = Repeated(*(part[None] for part in (i1, i2, i1 + i2, h1, h2)))
        rows = np.arange(600, 600 + few)
        read, fitted = (Drawn(values.rows(part), labels[part]) for part in (rows, train))
        atoms = raw_atoms(read.values.averaged((0,))).totals
        totals.append((atoms.r, atoms.u1, atoms.s))
        for known, other, many in ((widths, fitted, sets), (as_if_fitted, None, 20)):
            if number < many:
                ends = intervals(read, 100, 0.95, 0, other)
                known.append([ends[name][1] - ends[name][0] for name in ("r", "u1", "s")])
    observed = 2 * 1.96 * np.std(totals, axis=0)  # standard error 1 / sqrt(2 sets) = 6 %
    assert np.mean(widths, axis=0) == pytest.approx(observed, rel=0.16)
    assert np.mean(as_if_fitted, axis=0)[0] > 1.25 * observed[0]


def random_information(size, generator):
    return PointwiseInformation(*generator.normal(size=(5, size)))


def test_it_has_no_mean_and_ignores_order_names_and_a_common_offset():
    generator = np.random.default_rng(0)
    known, labels = random_information(400, generator), generator.integers(0, 3, 400)
    found = density_influence(known, labels)
    assert found.mean() == pytest.approx(0, abs=1e-12)
    order = generator.permutation(400)
    parts = {n: getattr(known, n)[order] for n in ("i1", "i2", "i12", "h1", "h2")}
    moved = density_influence(PointwiseInformation(**parts), labels[order])
    assert moved == pytest.approx(found[order], abs=1e-12)
    k = known
    other = PointwiseInformation(k.i2, k.i1, k.i12, k.h2 + 5, k.h1 + 5)
    assert density_influence(other, labels) == pytest.approx(found, abs=1e-12)


def test_there_is_none_where_one_entropy_is_always_the_smaller():
    """Redundancy is then the information of one modality, whose errors are of second order."""
    generator = np.random.default_rng(0)
    k, labels = random_information(100, generator), np.arange(100) % 2
    apart = PointwiseInformation(k.i1, k.i2, k.i12, k.h1, k.h2 + 100)
    assert density_influence(apart, labels) == pytest.approx(np.zeros(100), abs=1e-12)


def test_entropies_given_the_class_are_used_where_they_are_modelled():
    generator = np.random.default_rng(0)
    k, labels = random_information(200, generator), np.arange(200) % 2
    same = PointwiseInformation(k.i1, k.i2, k.i12, k.h1, k.h2, k.h1 - k.i1, k.h2 - k.i2)
    assert np.array_equal(density_influence(same, labels), density_influence(k, labels))
    other = PointwiseInformation(k.i1, k.i2, k.i12, k.h1, k.h2, k.h1, k.h2)
    assert not np.allclose(density_influence(other, labels), density_influence(k, labels))
