"""Canonical coordinates and what networks see: closed forms, then laws."""

from __future__ import annotations

import numpy as np
import pytest

from mimrl.mi import gaussian_information, gaussian_pointwise
from mimrl.mi.estimators.canonical import Canonical, gaussian_log_ratio
from mimrl.mi.estimators.features import BEYOND, Features, Radius, Range
from mimrl.mi.estimators.samples import Pair

CORRELATIONS = np.array([0.9, 0.5, 0.0])


def coordinates(rows: int, seed: int = 0) -> Pair:
    """Samples in canonical coordinates: 3 of x, 4 of y."""
    rng = np.random.default_rng(seed)
    u, noise = rng.normal(size=(rows, 3)), rng.normal(size=(rows, 4))
    v = noise.copy()
    v[:, :3] = CORRELATIONS * u + np.sqrt(1 - CORRELATIONS**2) * noise[:, :3]
    return Pair(u, v)


def mixed(rows: int, seed: int = 0) -> Pair:
    """The same behind linear maps and shifts."""
    pair, rng = coordinates(rows, seed), np.random.default_rng(99)
    return Pair(
        pair.x @ rng.normal(size=(3, 3)) + rng.normal(size=3),
        pair.y @ rng.normal(size=(4, 4)) * 7 - 2,
    )


def test_log_ratio_is_that_of_the_joint_gaussian():
    covariance = np.eye(7)
    covariance[:3, 3:6] = covariance[3:6, :3] = np.diag(CORRELATIONS)
    pair = coordinates(50)
    expected = gaussian_pointwise(np.c_[pair.x, pair.y], covariance, range(3), range(3, 7))
    np.testing.assert_allclose(gaussian_log_ratio(pair, CORRELATIONS), expected, atol=1e-12)


def test_coordinates_are_white_and_correlate_one_to_one():
    pair = mixed(4000)
    fitted = Canonical.fit(pair)
    seen = fitted(pair)
    for values in (seen.x, seen.y):
        np.testing.assert_allclose(np.cov(values.T, bias=True), np.eye(values.shape[1]), atol=1e-8)
    cross = seen.x.T @ seen.y / len(pair)
    assert np.abs(cross - np.pad(np.diag(np.diag(cross)), ((0, 0), (0, 1)))).max() < 1e-8
    # standard errors of correlations from 4,000 rows are at most 1 / sqrt(4000) = 0.016
    np.testing.assert_allclose(fitted.correlations, CORRELATIONS, atol=0.05)


def test_held_out_correlations_of_independent_variables_are_small():
    rng = np.random.default_rng(0)
    pair = Pair(rng.normal(size=(1000, 40)), rng.normal(size=(1000, 40)))
    fitted = Canonical.fit(pair)
    seen = fitted(pair)
    in_sample = (seen.x * seen.y).mean(axis=0)
    assert in_sample.max() > 0.3  # about 2 sqrt(40 / 1000) by chance
    assert fitted.correlations.max() < 0.12  # 3.5 standard errors of 1 / sqrt(1000)
    assert abs(gaussian_log_ratio(seen, fitted.correlations).mean()) < 0.2


@pytest.mark.parametrize("size", [2000])
def test_reading_of_other_rows_is_the_information(size):
    fitted = Canonical.fit(mixed(size))
    found = gaussian_log_ratio(fitted(mixed(20000, seed=1)), fitted.correlations).mean()
    covariance = np.eye(7)
    covariance[:3, 3:6] = covariance[3:6, :3] = np.diag(CORRELATIONS)
    truth = gaussian_information(covariance, range(3), range(3, 7))
    # the fit costs about dx dy / (2 n) = 0.003, the reading has a standard error of 0.007
    assert found == pytest.approx(truth, abs=0.025)


def test_columns_that_others_determine_are_left_out():
    pair = mixed(500)
    wide = Pair(np.c_[pair.x, pair.x[:, 0] + pair.x[:, 1]], pair.y)
    fitted = Canonical.fit(wide)
    assert fitted.maps[0].matrix.shape == (4, 3)
    np.testing.assert_allclose(fitted.correlations, Canonical.fit(pair).correlations, atol=1e-6)


def test_more_dimensions_than_rows():
    rng = np.random.default_rng(0)
    fitted = Canonical.fit(Pair(rng.normal(size=(40, 60)), rng.normal(size=(40, 2))))
    assert fitted.maps[0].matrix.shape[1] < 40
    assert np.isfinite(fitted.correlations).all()


def test_tails_are_drawn_in_without_a_jump_or_a_tie():
    fitting = np.random.default_rng(0).normal(size=(100, 1))
    line = np.linspace(-300, 300, 60001)[:, None]
    found = Range.fit(fitting)(line)
    assert (np.diff(found[:, 0]) > 0).all()
    inside = (line >= fitting.min()) & (line <= fitting.max())
    np.testing.assert_array_equal(found[inside], line[inside])
    assert np.diff(found[:, 0]).max() <= 0.0100001  # the grid's own step: slope <= 1
    assert fitting.max() < found.max() < fitting.max() + BEYOND * fitting.std()


def test_radius_is_a_standardised_column_and_grows_with_the_length():
    values = np.random.default_rng(0).normal(size=(400, 3))
    radius = Radius.fit(values)
    column = radius(values)[:, 3]
    assert column.mean() == pytest.approx(0, abs=1e-12)
    assert column.std() == pytest.approx(1)
    order = np.argsort((values**2).sum(axis=1))
    assert (np.diff(column[order]) > 0).all()
    np.testing.assert_array_equal(radius(values)[:, :3], values)


def test_far_rows_stay_near():
    pair = coordinates(500)
    far = Features.fit(pair)(Pair(pair.x * 1e6, pair.y))
    assert np.abs(far.x).max() < 6  # 3.3 in the fitting rows
    near = Features.fit(pair)(pair)
    np.testing.assert_array_equal(near.x[:, :3], Canonical.fit(pair)(pair).x)
