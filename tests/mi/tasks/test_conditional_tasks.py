import math

import numpy as np
import pytest

from mimrl.errors import ConfigError, EstimationError, ShapeError
from mimrl.mi.tasks import (
    CONDITIONAL_TASKS,
    ConditionalTask,
    common_cause,
    common_effect,
    conditional_task_named,
    independent_given,
    noisy_channel,
    two_causes,
)


def of_correlation(value):
    return -0.5 * math.log(1 - value**2)


# name -> I(X; Y | Z), I(X; Y)
BY_HAND = {
    "noisy-channel": (0.5 * math.log(7.25), 0.5 * math.log(7.25)),
    "common-cause-1": (of_correlation(0.6), of_correlation(0.8)),
    "common-cause-5": (of_correlation(0.6), of_correlation(0.8)),
    "common-cause-20": (of_correlation(0.6), of_correlation(0.8)),
    "independent-given-1": (0.0, of_correlation(0.5)),
    "independent-given-5": (0.0, of_correlation(0.5)),
    "independent-given-20": (0.0, of_correlation(0.5)),
    "common-effect": (of_correlation(2 / 3), 0.0),
    "two-causes": (
        of_correlation(0.5) + of_correlation(0.8),
        of_correlation(0.75) + of_correlation(0.9),
    ),
}


def test_table():
    assert {name: task.name for name, task in CONDITIONAL_TASKS.items()} == {n: n for n in BY_HAND}
    widths = [CONDITIONAL_TASKS[f"common-cause-{dim}"].dim_z for dim in (1, 5, 20)]
    assert widths == [1, 5, 20]


@pytest.mark.parametrize("name", BY_HAND)
def test_truths_by_hand(name):
    task = conditional_task_named(name)
    given, alone = BY_HAND[name]
    assert task.conditional_mutual_information == pytest.approx(given, abs=1e-12)
    assert task.mutual_information == pytest.approx(alone, abs=1e-12)


def test_truth_quoted_of_the_channel():
    assert noisy_channel().conditional_mutual_information == pytest.approx(0.9905, abs=5e-5)


@pytest.mark.parametrize("name", BY_HAND)
def test_samples_have_the_covariance_and_average_to_the_truth(name):
    task = CONDITIONAL_TASKS[name]
    x, y, z = task.sample(20_000, 3)
    rows = np.hstack([x, y, z])
    deviation = np.abs(rows.T @ rows / len(rows) - task.covariance)
    spread = np.outer(np.diagonal(task.covariance), np.diagonal(task.covariance))
    error = np.sqrt((spread + task.covariance**2) / len(rows))
    assert (deviation / error).max() < 5  # 253 entries at 20 dimensions: 1e-4 together
    ratios = task.log_ratio(x, y, z)
    assert ratios.mean() == pytest.approx(
        task.conditional_mutual_information, abs=4.5 * ratios.std() / math.sqrt(len(ratios)) + 1e-12
    )


def test_samples_of_the_channel_follow_its_equation():
    x, y, z = noisy_channel().sample(20_000, 0)
    assert (y - 0.5 * x).std() == pytest.approx(0.2, rel=0.03)  # 6 standard errors
    assert abs(np.corrcoef(np.hstack([y - 0.5 * x, z]).T)[0, 1]) < 0.04


def test_any_covariance():
    factors = np.random.default_rng(0).normal(size=(4, 4))
    covariance = factors @ factors.T + np.eye(4)
    task = ConditionalTask("mine", covariance, 1, 1)
    precision = np.linalg.inv(covariance)
    partial = precision[0, 1] / math.sqrt(precision[0, 0] * precision[1, 1])
    assert task.conditional_mutual_information == pytest.approx(of_correlation(partial))
    assert (task.dim_x, task.dim_y, task.dim_z) == (1, 1, 2)
    covariance[0, 0] = 100
    assert task.covariance[0, 0] != 100
    assert not task.covariance.flags.writeable


def test_same_seed_same_samples():
    task = two_causes()
    first, again, other = (task.sample(5, seed) for seed in (1, np.random.default_rng(1), 2))
    assert [part.shape for part in first] == [(5, 2)] * 3
    for one, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.isin(one, different).any()


def test_common_cause_of_any_width_and_correlation():
    assert common_cause(7, -0.3).conditional_mutual_information == pytest.approx(
        of_correlation(0.3)
    )
    assert independent_given(300).conditional_mutual_information == pytest.approx(0, abs=1e-12)
    assert common_effect(0.1).conditional_mutual_information == pytest.approx(
        of_correlation(1 / 1.1)
    )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: common_cause(0), ConfigError, "dim_z must be"),
        (lambda: common_cause(1, 1.0), ConfigError, "partial correlation"),
        (lambda: noisy_channel(noise=0.0), ConfigError, "noise must be positive"),
        (lambda: common_effect(-1.0), ConfigError, "noise must be positive"),
        (lambda: conditional_task_named("common-cause-2"), ConfigError, "mean common-cause-"),
        (lambda: ConditionalTask("mine", np.eye(3), 2, 1), ShapeError, "leaves none for z"),
        (lambda: ConditionalTask("mine", np.eye(3), 0, 1), ConfigError, "dim_x must be"),
        (lambda: ConditionalTask("mine", np.ones((3, 3)), 1, 1), EstimationError, "definite"),
        (lambda: ConditionalTask("mine", np.ones((2, 3)), 1, 1), ShapeError, "a covariance or"),
        (lambda: two_causes().sample(0, 0), ConfigError, "number of samples"),
        (lambda: two_causes().log_ratio(*np.ones((3, 4, 2))[:, :, :1]), ShapeError, "takes x"),
        (lambda: two_causes().log_ratio(*np.ones((2, 4, 2)), np.ones((3, 2))), ShapeError, "z"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
