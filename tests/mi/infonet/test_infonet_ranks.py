"""Ranks against scipy, soft ranks against the definition of a projection."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import rankdata
from sklearn.isotonic import IsotonicRegression

from mimrl.errors import EstimationError
from mimrl.mi.infonet.ranks import (
    ordinal,
    ranks,
    ranks_without_ties,
    scaled_soft_ranks,
    soft_ranks,
)

numbers = st.lists(st.integers(-20, 20), min_size=2, max_size=40)


@given(numbers)
@settings(max_examples=50)
def test_ranks_are_scipys_mean_ranks(values):
    found = ranks(torch.tensor(values, dtype=torch.float64))
    np.testing.assert_allclose(found, (rankdata(values) - 0.5) / len(values), atol=1e-6)


def test_ranks_of_batches_and_mirrored_values():
    values = torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    found = ranks(values)
    for i in range(2):
        for j in range(3):
            assert torch.equal(found[i, j], ranks(values[i, j]))
    torch.testing.assert_close(ranks(-values), 1 - found)


def test_ordinal_equals_ranks_without_ties():
    values = torch.randn(4, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(ordinal(values), ranks(values))


def test_ties_are_broken_at_random_within_their_value():
    values = torch.tensor([[2.0, 1.0, 2.0, 1.0, 2.0] * 40, [3.0] * 200])
    found = ranks_without_ties(values, 0)
    places = (found.double() * 200 - 0.5).round()
    assert torch.equal(places.sort(dim=1).values, torch.arange(200.0).double().expand(2, 200))
    assert (places[0][values[0] == 1] < 80).all()
    assert not torch.equal(found, ranks_without_ties(values, 1))
    assert torch.equal(found[1:], ranks_without_ties(values[1:], 0))
    order = torch.corrcoef(torch.stack([places[1], torch.arange(200.0).double()]))[0, 1]
    assert abs(order) < 0.25  # not that of the samples
    single = torch.randn(3, 100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ranks_without_ties(single, 0), ranks(single))


def test_soft_ranks_are_the_closest_point_of_the_permutahedron():
    """Against a general optimiser over convex combinations of all permutations of four numbers."""
    import itertools

    corners = np.array(list(itertools.permutations([1.0, 2.0, 3.0, 4.0])))
    values = np.array([0.3, 1.9, 0.5, 0.6])
    found = soft_ranks(torch.tensor(values), 0.4).numpy()

    def distance(weights):
        weights = np.exp(weights) / np.exp(weights).sum()
        return np.square(weights @ corners - values / 0.4).sum()

    best = minimize(distance, np.zeros(len(corners)), method="L-BFGS-B", options={"maxiter": 2000})
    weights = np.exp(best.x) / np.exp(best.x).sum()
    np.testing.assert_allclose(found, weights @ corners, atol=2e-3)  # of the optimiser
    assert np.square(found - values / 0.4).sum() <= best.fun + 1e-9


def test_soft_ranks_against_isotonic_regression_of_scikit_learn():
    values = np.random.default_rng(0).normal(size=300).cumsum()
    order = np.argsort(-values)
    steps = np.arange(300, 0, -1.0)
    fitted = IsotonicRegression(increasing=False).fit_transform(
        np.arange(300), values[order] / 0.05 - steps
    )
    expected = np.empty(300)
    expected[order] = values[order] / 0.05 - fitted
    np.testing.assert_allclose(soft_ranks(torch.tensor(values), 0.05), expected, atol=1e-8)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30), st.floats(0.01, 10))
@settings(max_examples=50)
def test_soft_ranks_keep_order_sum_and_range(values, strength):
    column = torch.tensor(values, dtype=torch.float64)
    found = soft_ranks(column, strength)
    count = len(values)
    assert float(found.sum()) == pytest.approx(count * (count + 1) / 2)
    assert float(found.min()) >= 1 - 1e-6
    assert float(found.max()) <= count + 1e-6
    assert (found[column.argsort()].diff() >= -1e-6).all()


def test_soft_ranks_between_hard_ranks_and_the_values():
    values = torch.tensor([0.4, -1.0, 2.0, 0.5], dtype=torch.float64)
    assert soft_ranks(values, 1e-3).tolist() == pytest.approx([2, 1, 4, 3])
    weak = soft_ranks(values, 100.0)
    torch.testing.assert_close(weak, values / 100 - values.mean() / 100 + 2.5)


def test_soft_ranks_have_the_right_gradient():
    values = torch.tensor(
        [[0.3, 1.9, 0.5, 0.6, 3.0], [5.0, 4.9, 1.0, 1.1, 0.0]],
        dtype=torch.float64,
        requires_grad=True,
    )
    assert torch.autograd.gradcheck(lambda v: soft_ranks(v, 0.4), values)


def test_scaled_soft_ranks_do_not_depend_on_the_unit():
    values = torch.randn(2, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = scaled_soft_ranks(values, 0.5)
    torch.testing.assert_close(scaled_soft_ranks(7 * values - 3, 0.5), found)
    assert (found > 0).all()
    assert (found < 1).all()
    torch.testing.assert_close(scaled_soft_ranks(values, 1e-6), ranks(values))


@pytest.mark.parametrize("strength", [0.0, -1.0, float("nan")])
def test_soft_ranks_refuse_a_strength_that_is_none(strength):
    with pytest.raises(EstimationError, match="strength"):
        soft_ranks(torch.tensor([1.0, 2.0]), strength)
