"""Which reading is taken, and that each of the three comes up where it should."""

import json

import numpy as np
import pytest

from mimrl.errors import TiesWarning
from mimrl.mi.estimators.auto import Auto, chosen
from mimrl.mi.estimators.interface import EstimateResult

little_trained = pytest.mark.filterwarnings("ignore::mimrl.errors.EstimationWarning")


def reading(mean, spread=0.3, seed=0):
    """A reading with exactly this mean, of 400 rows."""
    values = np.random.default_rng(seed).normal(size=400)
    return EstimateResult.of_pointwise(mean + spread * (values - values.mean()))


@pytest.mark.parametrize(
    ("values", "name"),
    [  # the standard error of a difference is 0.3 * sqrt(2 / 400) = 0.021
        ({"gaussian": 0.50, "neighbours": 0.52, "critic": 0.53}, "gaussian"),
        ({"gaussian": 0.50, "critic": 0.53}, "gaussian"),
        ({"gaussian": 0.50, "neighbours": 0.20, "critic": 0.48}, "gaussian"),
        ({"gaussian": 0.10, "neighbours": 0.50, "critic": 0.45}, "neighbours"),
        ({"gaussian": 0.10, "neighbours": 0.50, "critic": 0.53}, "neighbours"),
        ({"gaussian": 0.10, "neighbours": 0.40, "critic": 0.55}, "critic"),
        ({"gaussian": 0.10, "critic": 0.30}, "critic"),
        ({"gaussian": 0.90, "neighbours": 0.30, "critic": 0.40}, "critic"),
        ({"gaussian": 0.90, "neighbours": 0.40, "critic": 0.40}, "neighbours"),
        ({"neighbours": 0.40, "critic": 0.40}, "neighbours"),
        ({"critic": 0.40}, "critic"),
    ],
)
def test_the_simplest_that_nothing_contradicts(values, name):
    found = chosen({kind: reading(value, seed=len(kind)) for kind, value in values.items()})
    assert found.name == name
    assert len(found.why) > 20


def test_a_gaussian_of_many_dimensions_is_read_by_its_formula():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 8))
    y = np.hstack([0.8 * x[:, :2] + 0.6 * rng.normal(size=(1000, 2)), rng.normal(size=(1000, 6))])
    found = Auto(steps=40, folds=2).estimate_with_info(x, np.exp(y))
    truth = -np.log(1 - 0.8**2)
    assert found.additional_information["chosen"] == "gaussian"
    assert "neighbours" not in found.additional_information["values"]
    assert found.mi_estimate == pytest.approx(truth, abs=4 * found.standard_error)


@little_trained
def test_uniform_noise_is_read_by_neighbours():
    rng = np.random.default_rng(0)
    x, noise = rng.uniform(size=1500), rng.uniform(-0.1, 0.1, size=1500)
    found = Auto(steps=40).estimate_with_info(x, x + noise)
    information = found.additional_information
    assert information["chosen"] == "neighbours"
    assert set(information["values"]) == {"gaussian", "neighbours", "critic"}
    # truth of uniform noise: a - log 2a with a = 0.1; KSG's bias with 1,500 rows is below 0.05
    assert found.mi_estimate == pytest.approx(0.1 - np.log(0.2), abs=0.1)
    assert information["values"]["neighbours"] == found.mi_estimate
    assert found.pointwise.mean() == pytest.approx(found.mi_estimate)
    json.dumps(information, allow_nan=False)


@little_trained
def test_classes_are_read_by_the_critic():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, size=900)
    with pytest.warns(TiesWarning):
        found = Auto(steps=100, folds=2).estimate_with_info(
            label, 2.0 * label + rng.normal(size=900)
        )
    assert list(found.additional_information["values"]) == ["critic"]
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)  # of log 2 / (1 + e^(-2 (1 + z)))
    truth = float((weights * np.log(2 / (1 + np.exp(-2 * (1 + nodes))))).sum() / weights.sum())
    assert found.mi_estimate == pytest.approx(truth, abs=4 * found.standard_error + 0.03)
