"""Sliced information against the mean of closed forms over the same law of directions."""

import json

import numpy as np
import pytest

from mimrl.errors import BiasWarning, ConfigError, TiesWarning
from mimrl.mi.estimators.gaussian import Gaussian
from mimrl.mi.estimators.histogram import Histogram
from mimrl.mi.estimators.ksg import Ksg
from mimrl.mi.estimators.sliced import Sliced

says_so = pytest.mark.filterwarnings("ignore:this is sliced:mimrl.errors.BiasWarning")


def correlated(rows, dx, dy, correlation, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(rows, dx)), rng.normal(size=(rows, dy))
    shared = min(dx, dy)
    y[:, :shared] *= np.sqrt(1 - correlation**2)
    y[:, :shared] += correlation * x[:, :shared]
    return x, y


def exact(dx, dy, correlation, directions=200_000):
    """Of :func:`correlated`: a'X and b'Y are Gaussian with correlation rho times a'b."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(directions, dx)), rng.normal(size=(directions, dy))
    shared = min(dx, dy)
    cosine = (a[:, :shared] * b[:, :shared]).sum(axis=1)
    cosine /= np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(-0.5 * np.log1p(-((correlation * cosine) ** 2)).mean())


@says_so
@pytest.mark.parametrize("widths", [(2, 2), (3, 3), (3, 1), (5, 2)])
@pytest.mark.parametrize("inside", [Gaussian(), Ksg(neighbours=5)])
def test_gaussian_pairs(widths, inside):
    x, y = correlated(1500, *widths, 0.9, 0)
    found = Sliced(estimator=inside, projections=50).estimate_with_info(x, y)
    assert found.mi_estimate == pytest.approx(exact(*widths, 0.9), abs=3.5 * found.standard_error)
    assert found.pointwise is None
    assert 0 < found.additional_information["standard_error_of_directions"] < found.standard_error


@says_so
def test_the_standard_error_covers_directions_and_samples():
    truth, z = exact(3, 3, 0.9), []
    for seed in range(30):
        found = Sliced(estimator=Gaussian(), projections=20, seed=seed).estimate_with_info(
            *correlated(300, 3, 3, 0.9, seed)
        )
        z.append((found.mi_estimate - truth) / found.standard_error)
    assert 0.5 < np.std(z) < 1.5  # the scatter of 30 values is known to 13 %
    assert abs(np.mean(z)) < 4 / np.sqrt(30)


@says_so
def test_independent_samples_read_nothing_in_many_dimensions():
    x, y = correlated(2000, 25, 25, 0.0, 0)
    assert abs(Sliced(projections=20).estimate(x, y)) < 0.01
    assert abs(Sliced(projections=20, estimator=Histogram()).estimate(x, y)) < 0.02


@says_so
def test_deterministic_by_seed():
    x, y = correlated(300, 2, 3, 0.8, 0)
    values = [Sliced(projections=5, seed=seed).estimate(x, y) for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


def test_says_that_it_is_not_mutual_information():
    x, y = correlated(300, 2, 1, 0.8, 0)
    with pytest.warns(BiasWarning, match="sliced information.* not mutual information"):
        Sliced(projections=3).estimate(x, y)


def test_one_column_each_is_the_estimator_inside():
    x, y = correlated(300, 1, 1, 0.8, 0)
    found = Sliced().estimate_with_info(x, y)
    assert found.mi_estimate == Ksg().estimate(x, y)
    assert found.pointwise.mean() == pytest.approx(found.mi_estimate)


def test_takes_over_what_the_estimator_inside_wants():
    x = np.repeat(np.arange(4.0), 50)
    with pytest.warns(TiesWarning):
        Sliced().estimate(x, x)
    assert Sliced(estimator=Histogram()).estimate(x, x) == pytest.approx(np.log(4), abs=0.05)
    assert Sliced().fewest(50, 50) == Ksg().fewest(1, 1)


def test_the_estimator_inside_survives_json():
    for inside in (Ksg(neighbours=3), Histogram(bins=7), Sliced(estimator=Gaussian())):
        estimator = Sliced(estimator=inside)
        settings = json.loads(json.dumps(estimator.model_dump(mode="json")))
        assert settings["estimator"]["class"] == type(inside).__name__
        assert Sliced(**settings) == estimator
    for wrong, words in (
        ("ksg", "expected an estimator"),
        ({"neighbours": 3}, "expected an estimator"),
        ({"class": "Ksgg"}, "called Ksgg"),
        ({"class": "Ksg", "neighbours": 0}, "sg: neighbours = 0"),
    ):
        with pytest.raises(ConfigError, match=words):
            Sliced(estimator=wrong)
