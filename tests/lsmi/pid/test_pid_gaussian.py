"""Gaussian decompositions: closed forms, the bias, and BROJA's definition by search."""

from __future__ import annotations

import numpy as np
import pytest

from lsmi.pid.gaussian import gaussian_informations, gaussian_pid, linear_information
from mimrl.errors import EstimationError, NonFiniteError, ShapeError
from mimrl.mi import gaussian_information


def draw(covariance, size, seed):
    return np.random.default_rng(seed).multivariate_normal(
        np.zeros(len(covariance)), covariance, size
    )


def test_atoms_of_a_known_covariance():
    # columns: two of x1, one of x2, the rating
    covariance = np.array(
        [[1, 0.3, 0.5, 0.6], [0.3, 2, 0.1, -0.5], [0.5, 0.1, 1, -0.2], [0.6, -0.5, -0.2, 1]]
    )
    i1 = gaussian_information(covariance, [0, 1], [3])
    i2 = gaussian_information(covariance, [2], [3])
    i12 = gaussian_information(covariance, [0, 1, 2], [3])
    z = draw(covariance, 40_000, 0)
    found = gaussian_pid(z[:, :2], z[:, 2:3], z[:, 3])
    # the standard error of 1/2 log(1 - R^2) is at most R / sqrt(N) = .005
    assert tuple(found) == pytest.approx((i2, i1 - i2, 0, i12 - i1), abs=0.015)
    assert i1 - i2 > 0.1
    assert i12 - i1 > 0.02


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
def test_unbiased_with_few_samples_and_many_coordinates(correlation):
    samples, width, repeats = 50, 20, 600
    generator = np.random.default_rng(3)
    values = []
    for _ in range(repeats):
        x = generator.normal(size=(samples, width))
        noise = generator.normal(size=samples)
        values.append(
            linear_information(x, correlation * x[:, 0] + np.sqrt(1 - correlation**2) * noise)
        )
    truth = -0.5 * np.log(1 - correlation**2)
    # uncorrected, these are a quarter of a nat too high
    assert np.mean(values) == pytest.approx(truth, abs=4 * np.std(values) / np.sqrt(repeats))
    assert np.std(values) / np.sqrt(repeats) < 0.01


def test_units_rotations_and_copied_columns_do_not_matter():
    z = draw(np.eye(5) + 0.4, 300, 1)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(2, 2)))[0]
    there = gaussian_pid(z[:, :2], z[:, 2:4], z[:, 4])
    x2 = np.hstack([z[:, 2:4], z[:, 2:3] - z[:, 3:4], np.ones((300, 1))])
    back = gaussian_pid(1000 * z[:, :2] @ rotation + 7, x2, 5 - 0.01 * z[:, 4])
    assert tuple(back) == pytest.approx(tuple(there), abs=1e-9)


def test_the_same_features_twice_are_redundant():
    z = draw(np.array([[1, 0.7], [0.7, 1]]), 500, 2)
    found = gaussian_pid(z[:, :1], z[:, :1], z[:, 1])
    assert (found.u1, found.u2, found.s) == pytest.approx((0, 0, 0), abs=1e-12)
    assert found.r == pytest.approx(-0.5 * np.log(1 - 0.49), abs=0.1)  # .7 / sqrt(500) = .03


@pytest.mark.parametrize(("first", "second"), [(0.6, 0.4), (0.8, -0.3), (0.5, 0.5)])
def test_least_informative_coupling_of_one_rating_is_mmi(first, second):
    """BROJA's definition within Gaussians: the correlation of x1 and x2 is free, I12 least."""
    edge = np.sqrt((1 - first**2) * (1 - second**2))
    least = min(
        gaussian_information([[1, c, first], [c, 1, second], [first, second, 1]], [0, 1], [2])
        for c in np.linspace(first * second - 0.9999 * edge, first * second + 0.9999 * edge, 801)
    )
    larger = -0.5 * np.log(1 - max(first**2, second**2))
    assert least >= larger - 1e-12
    assert least == pytest.approx(larger, abs=1e-4)  # flat at its minimum: the square of 1/400


def test_bad_input_is_refused():
    x = np.random.default_rng(0).normal(size=(30, 4))
    with pytest.raises(ShapeError, match=r"\(N, D\)"):
        gaussian_informations(x, x[:20], np.arange(30.0))
    with pytest.raises(ShapeError, match="the target"):
        linear_information(x, np.arange(29.0))
    with pytest.raises(NonFiniteError):
        linear_information(x, np.full(30, np.nan))
    with pytest.raises(EstimationError, match="same for every sample"):
        linear_information(x, np.full(30, 0.1))
    with pytest.raises(EstimationError, match="infinite"):
        linear_information(x, x[:, 0] * 2 + 1)
    wide = np.random.default_rng(0).normal(size=(30, 15))
    with pytest.raises(EstimationError, match="too few for a linear model of 15"):
        linear_information(wide, np.arange(30.0))
