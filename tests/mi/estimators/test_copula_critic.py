"""The copula critic: what it gives back, what it finds, what it does not invent."""

import math

import numpy as np
import pytest
import torch

from mimrl.errors import CeilingWarning
from mimrl.mi.bounds import infonce
from mimrl.mi.estimators.canonical import Canonical, gaussian_log_ratio
from mimrl.mi.estimators.copula_critic import (
    CopulaCritic,
    estimation_loss,
    leading,
    significant,
    symmetric_infonce,
)
from mimrl.mi.estimators.samples import Pair

little_trained = pytest.mark.filterwarnings("ignore::mimrl.errors.EstimationWarning")


def gaussian_pair(rows, width, seed, correlation=0.8):
    """Two coupled coordinates, the rest noise; I = -log(1 - correlation^2)."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, rows, width))
    y[:, :2] = correlation * x[:, :2] + math.sqrt(1 - correlation**2) * y[:, :2]
    return Pair(x, y)


def test_what_is_given_back_makes_the_gaussian_part_unbiased_on_other_rows():
    truth, errors, plain = -math.log(1 - 0.8**2), [], []
    for seed in range(40):
        fitting, others = gaussian_pair(600, 12, 2 * seed), gaussian_pair(1000, 12, 2 * seed + 1)
        canonical = Canonical.fit(fitting)
        correlations = significant(canonical.correlations, 600)
        read = float(gaussian_log_ratio(canonical(others), correlations).mean())
        plain.append(read - truth)
        errors.append(read + estimation_loss(canonical(fitting), correlations) - truth)
    scatter = np.std(errors, ddof=1) / math.sqrt(40)
    assert np.mean(plain) < -0.02
    assert abs(np.mean(errors)) < 4 * scatter + 0.01


def test_nothing_is_given_back_where_no_gaussian_can_be_fitted():
    pair = gaussian_pair(8, 6, 0)
    assert estimation_loss(pair, np.zeros(0)) == 0.0


def test_significance_stops_at_the_first_weak_correlation():
    np.testing.assert_array_equal(significant(np.array([0.9, 0.3, 0.1, 0.4]), 100), [0.9, 0.3])
    np.testing.assert_array_equal(significant(np.array([0.9, 0.3]), 100), [0.9, 0.3])
    assert len(significant(np.array([0.1]), 100)) == 0


@pytest.mark.parametrize(
    ("columns", "count", "seen"),
    [(3, 0, [0, 1, 2, 3]), (25, 0, [0, 1, 25]), (25, 4, [0, 1, 2, 3, 25]), (6, 9, [*range(7)])],
)
def test_the_smooth_network_sees_few_columns_and_the_radius(columns, count, seen):
    assert leading(columns, count) == seen


def test_the_loss_does_not_prefer_a_direction():
    scores = torch.tensor([[0.0, 3.0], [-1.0, 2.0]])
    torch.testing.assert_close(symmetric_infonce(scores), symmetric_infonce(scores.T))
    expected = (infonce(scores) + infonce(scores.T)) / 2
    torch.testing.assert_close(symmetric_infonce(scores).mean(), expected)


def test_a_gaussian_copula_of_many_columns_is_read_without_bias():
    pair = gaussian_pair(1500, 20, 5)
    found = CopulaCritic(steps=40, folds=2).estimate_with_info(np.exp(pair.x), pair.y**3)
    assert found.mi_estimate == pytest.approx(-math.log(0.36), abs=4 * found.standard_error)
    assert found.standard_error < 0.05


def test_dependence_of_lengths_only_is_found():
    rng = np.random.default_rng(0)
    length = 1 / np.sqrt(rng.chisquare(1, size=(1500, 1)))  # Student's t of 1 degree, 2 + 2
    x, y = (rng.normal(size=(1500, 2)) * length for _ in range(2))
    found = CopulaCritic(steps=160, folds=2).estimate_with_info(x, y)
    truth = 0.4319  # closed form of Czyz and others (2023), eq. for dispersion 1; in tasks.json
    assert truth - 0.2 < found.mi_estimate < truth + 3 * found.standard_error
    assert set(found.additional_information) == {"network", "step", "given_back"}


@little_trained
def test_independent_columns_have_none():
    pair = gaussian_pair(1500, 15, 7).shuffled(0)
    found = CopulaCritic(steps=40, folds=2).estimate(pair.x, pair.y)
    assert abs(found) < 0.03


@little_trained
def test_other_rows_are_scored_by_a_fit():
    fitting, others = gaussian_pair(1200, 4, 0), gaussian_pair(800, 4, 1)
    fitted = CopulaCritic(steps=40).fit(fitting.x, fitting.y)
    values = fitted.pointwise(others.x, others.y)
    error = values.std() / math.sqrt(len(values))
    assert fitted.score(others.x, others.y) == pytest.approx(-math.log(0.36), abs=4 * error + 0.03)


@pytest.mark.filterwarnings("ignore::mimrl.errors.UndertrainedWarning")
@pytest.mark.filterwarnings("ignore::mimrl.errors.SampleSizeWarning")
def test_a_reading_near_log_rows_is_warned_of():
    x = np.random.default_rng(0).normal(size=300)
    noise = np.random.default_rng(1).normal(size=300)
    with pytest.warns(CeilingWarning, match="near log 100"):
        found = CopulaCritic(steps=20).estimate(x, x + 1e-4 * noise)
    assert found <= math.log(100) + 0.1
