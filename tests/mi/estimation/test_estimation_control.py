"""The permutation control: what is shuffled, what is kept, and what its p-value says."""

import numpy as np
import pytest

from mimrl.errors import ConfigError
from mimrl.mi.estimation.control import NEIGHBOURS, Control, local_order, shuffled_estimates
from mimrl.mi.estimators.gaussian import ConditionalGaussian, Gaussian
from mimrl.mi.tasks import conditional_task_named, task_named


def values(estimator, arrays, shuffles=30, seed=0):
    return list(shuffled_estimates(estimator, arrays, shuffles, seed))


def test_p_value_counts_the_given_order_too():
    control = Control(0.5, [0.1, 0.6, 0.5, 0.2])
    assert control.p_value == 3 / 5
    assert (control.mean, control.largest) == (pytest.approx(0.35), 0.6)
    assert Control(1.0, [0.0] * 19).p_value == 0.05


def test_dependence_is_taken_away():
    arrays = task_named("1v1-normal-0.75").sample(500, 0)
    found = values(Gaussian(), arrays)
    assert len(set(found)) == 30
    assert max(found) < 0.02 < 0.3 < Gaussian().estimate(*arrays)  # 0.02: chi-squared of 20 / 1000


def test_without_dependence_p_values_are_spread_evenly():
    """Of 60 independent data sets each order is as likely to be the largest as any other.

    The number of p-values at or below 0.2 is binomial with 60 trials; 24 or more has p < 4e-4.
    """
    found = []
    for seed in range(60):
        x, y = np.random.default_rng([seed, 7]).normal(size=(2, 60, 1))
        plain = Gaussian().estimate(x, y)
        found.append(Control(plain, values(Gaussian(), (x, y), shuffles=9, seed=seed)).p_value)
    assert 2 <= sum(p <= 0.2 for p in found) <= 23


def test_the_same_seed_gives_the_same_values():
    arrays = task_named("1v1-normal-0.75").sample(100, 0)
    assert values(Gaussian(), arrays, 3, seed=4) == values(Gaussian(), arrays, 3, seed=4)
    assert values(Gaussian(), arrays, 3, seed=4) != values(Gaussian(), arrays, 3, seed=5)


def test_no_shuffles_and_fewer():
    arrays = task_named("1v1-normal-0.75").sample(100, 0)
    assert values(Gaussian(), arrays, 0) == []
    with pytest.raises(ConfigError, match="shuffles must be 0 or more, got -1"):
        values(Gaussian(), arrays, -1)


class TestGivenZ:
    def test_rows_move_among_their_neighbours_only(self):
        z = np.random.default_rng(0).normal(size=(400, 1))
        order = local_order(z, np.random.default_rng(1))
        ranks = z[:, 0].argsort().argsort()
        assert np.mean(np.abs(ranks[order] - ranks) <= NEIGHBOURS) > 0.85  # left over: the others
        assert np.mean(order == np.arange(400)) < 0.4
        assert sorted(order) == list(range(400))

    def test_columns_count_alike_whatever_their_units(self):
        z = np.random.default_rng(0).normal(size=(300, 2))
        scaled = local_order(z * [1e-6, 1e6], np.random.default_rng(1))
        assert np.array_equal(scaled, local_order(z, np.random.default_rng(1)))

    def test_what_x_and_y_share_through_z_stays(self):
        """A common cause: with y in any order I(X; Y) would be lost, here most of it stays."""
        x, y, z = conditional_task_named("independent-given-1").sample(2000, 0)
        order = local_order(z, np.random.default_rng(1))
        assert Gaussian().estimate(x, y[order]) == pytest.approx(0.1438, abs=0.05)

    def test_what_is_left_given_z_is_taken_away(self):
        arrays = conditional_task_named("common-cause-1").sample(1000, 0)
        found = values(ConditionalGaussian(), arrays, 10)
        assert ConditionalGaussian().estimate(*arrays) == pytest.approx(0.223, abs=0.08)
        assert np.mean(found) < 0.02

    def test_fewer_rows_than_neighbours(self):
        for rows in (1, 3):
            order = local_order(np.zeros((rows, 1)), np.random.default_rng(0))
            assert sorted(order) == list(range(rows))
