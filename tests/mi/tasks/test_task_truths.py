"""Truths against closed forms, exact arithmetic, quadrature, and the laws' own samples."""

from __future__ import annotations

import inspect
import math
from fractions import Fraction

import numpy as np
import pytest

from mimrl.errors import ConfigError, EstimationError, ShapeError
from mimrl.mi import gaussian_information, gaussian_pointwise
from mimrl.mi.tasks import (
    BMI_TASKS,
    DMI_DIMS,
    DMI_STRENGTHS,
    TASKS,
    AdditiveUniform,
    CoupledPairs,
    Gaussian,
    Student,
    Transformed,
    common_scale_information,
    dmi_sweep,
    dmi_task,
    equicorrelated,
    staircase,
    staircase_task,
    task_named,
    two_pairs,
    unexplained_at_strength,
    unexplained_by_correlation,
)

STUDENTS = [(1, 1, 1), (2, 2, 1), (2, 2, 2), (3, 3, 2), (3, 3, 3), (5, 5, 2), (5, 5, 3)]


def coupled_covariance(law: CoupledPairs):
    matrix = np.eye(law.dim_total)
    for place, share in enumerate(law.unexplained):
        other = law.dim_x + place
        matrix[place, other] = matrix[other, place] = math.sqrt(1 - share)
    return matrix


def nodes(left: float, right: float, count: int = 80):
    """Quadrature of a mean over Beta(left, right).

    Gauss-Legendre in u with v = u^4 / (u^4 + (1 - u)^4), which flattens what is singular at 0 or 1.
    """
    points, weights = np.polynomial.legendre.leggauss(count)
    u = (1 + points) / 2
    bottom = u**4 + (1 - u) ** 4
    v, slope = u**4 / bottom, 4 * (u * (1 - u)) ** 3 / bottom**2
    mass = weights * slope * v ** (left - 1) * ((1 - u) ** 4 / bottom) ** (right - 1)
    return v, mass / mass.sum()


@pytest.mark.parametrize(("dim_x", "dim_y", "freedom"), STUDENTS)
def test_student_information_is_the_integral_of_its_log_ratio(dim_x, dim_y, freedom):
    """With identity dispersion only |x|^2 and |y|^2 count, and over the degrees of freedom they
    are ratios of gamma variables: (share, 1 - share) * (1 - rest) / rest for two beta variables.
    """
    law = Student(np.eye(dim_x + dim_y), dim_x, freedom)
    rest, of_rest = nodes(freedom / 2, (dim_x + dim_y) / 2)
    share, of_share = nodes(dim_x / 2, dim_y / 2)
    odds = freedom * (1 - rest[:, None]) / rest[:, None]
    x, y = np.zeros((80 * 80, dim_x)), np.zeros((80 * 80, dim_y))
    x[:, 0], y[:, 0] = np.sqrt(odds * share).ravel(), np.sqrt(odds * (1 - share)).ravel()
    mean = law.log_ratio(x, y) @ np.outer(of_rest, of_share).ravel()
    # 80 nodes instead of 40 move the integral by 5e-7 at most, 120 by 3e-8
    assert law.mutual_information() == pytest.approx(mean, abs=1e-7)
    assert law.mutual_information() == common_scale_information(dim_x, dim_y, freedom)


def test_student_ratio_far_out():
    """log p(x, y) - log p(x) - log p(y) of a Cauchy pair, far out, is log r up to a constant."""
    law = Student(np.eye(2), 1, 1)
    near, far = (law.log_ratio([[r]], [[r]])[0] for r in (1e100, 1e200))
    assert far - near == pytest.approx(100 * math.log(10))


def test_student_by_hand_and_its_limit():
    # The digamma and gamma functions at 1/2, 1 and 3/2, written out for the Cauchy pair
    assert common_scale_information(1, 1, 1) == pytest.approx(math.log(8 * math.pi) - 3)
    dispersion = equicorrelated(4, 0.3)
    many = Student(dispersion, 2, 1e7)
    normal = Gaussian(dispersion, 2)
    assert many.mutual_information() == pytest.approx(normal.mutual_information(), abs=1e-5)
    x, y = normal.sample(20, 0)
    np.testing.assert_allclose(many.log_ratio(x, y), normal.log_ratio(x, y), atol=1e-4)
    few = Student(dispersion, 2, 3)
    assert few.mutual_information() == pytest.approx(
        normal.mutual_information() + common_scale_information(2, 2, 3)
    )


@pytest.mark.parametrize("epsilon", [0.1, 0.3, 0.5, 0.75, 4.0])
def test_additive_information_is_the_integral_of_its_log_ratio(epsilon):
    law = AdditiveUniform(epsilon)
    places = (np.arange(1000) + 0.5) / 1000
    x, noise = np.meshgrid(places, epsilon * (2 * places - 1))
    ratios = law.log_ratio(x.reshape(-1, 1), (x + noise).reshape(-1, 1))
    # The midpoint rule with 1,000 steps at a kink
    assert law.mutual_information() == pytest.approx(ratios.mean(), abs=1e-5)


def test_additive_ratio_of_impossible_pairs():
    ratios = AdditiveUniform(0.1).log_ratio([[0.5], [0.5], [0.0]], [[0.7], [0.55], [-0.11]])
    np.testing.assert_allclose(ratios, [-np.inf, -math.log(0.2), -np.inf])


@pytest.mark.parametrize("law", [two_pairs(3), CoupledPairs(2, 4, (0.5,)), CoupledPairs(2, 2, ())])
def test_coupled_pairs_are_a_gaussian_law(law):
    covariance = coupled_covariance(law)
    parts = range(law.dim_x), range(law.dim_x, law.dim_total)
    x, y = law.sample(50, 0)
    assert law.mutual_information() == pytest.approx(gaussian_information(covariance, *parts))
    np.testing.assert_allclose(
        law.log_ratio(x, y), gaussian_pointwise(np.hstack([x, y]), covariance, *parts), atol=1e-12
    )


@pytest.mark.parametrize("strength", [0, 0.5, 2, *DMI_STRENGTHS, 10**6])
def test_strength_in_exact_arithmetic(strength):
    square = Fraction(strength) ** 2
    share = 1 - (square / (1 + square)) ** 2
    assert unexplained_at_strength(strength) == pytest.approx(float(share), rel=1e-15)
    exact = math.log(share.denominator) - math.log(share.numerator)
    assert two_pairs(4, strength).mutual_information() == pytest.approx(exact, rel=1e-13)


def test_truths_quoted_of_the_sweep():
    assert two_pairs(10, 2).mutual_information() == pytest.approx(1.0217, abs=5e-5)
    assert two_pairs(10, 1100).mutual_information() == pytest.approx(13.313, abs=5e-4)


def test_sweep_is_the_published_one():
    sweep = dmi_sweep()
    assert len(sweep) == len({task.name for task in sweep}) == 3 * 5 * 5
    assert {(task.dim_x, task.dim_y) for task in sweep} == {(dim, dim) for dim in DMI_DIMS}
    by_strength = {float(task.name.rpartition("-")[2]): task for task in sweep}
    assert set(by_strength) == set(DMI_STRENGTHS)
    assert dmi_task("spiral", 10, 1100).name == "spiral-multinormal-sparse-10-10-2-1100.0"
    assert dmi_task("multinormal", 5, 2).name in BMI_TASKS


@pytest.mark.parametrize("kind", ["multinormal", "half_cube", "spiral"])
def test_strong_coupling_survives_float64_and_mostly_float32(kind):
    task = dmi_task(kind, 10, 2000)
    x, y = task.sample(4_000, 0)
    base_x, base_y = dmi_task("multinormal", 10, 2000).sample(4_000, 0)
    expected = dmi_task("multinormal", 10, 2000).log_ratio(base_x, base_y)
    # y - rho x of size 7e-4 from values of size 1 to 30 that are rounded to 1e-15
    np.testing.assert_allclose(task.log_ratio(x, y), expected, atol=1e-10)
    rounded = task.log_ratio(x.astype(np.float32), y.astype(np.float32))
    # 4 digits of the unexplained part
    assert 1e-5 < np.abs(rounded - expected).max() < 0.01
    assert rounded.mean() == pytest.approx(expected.mean(), abs=1e-4)


def test_staircase():
    tasks = staircase()
    wanted = [2.0, 4.0, 6.0, 8.0, 10.0]
    assert [task.mutual_information for task in tasks] == pytest.approx(wanted, rel=1e-14)
    assert {(task.dim_x, task.dim_y) for task in tasks} == {(20, 20)}
    x, y = tasks[-1].sample(100_000, 0)
    correlations = [np.corrcoef(a, b)[0, 1] for a, b in zip(x.T, y.T, strict=True)]
    # 5 standard errors of a correlation of .795 in 1e5 samples
    assert correlations == pytest.approx([math.sqrt(1 - math.exp(-1))] * 20, abs=6e-3)
    np.testing.assert_array_equal(staircase_task(10, cubic=True).sample(9, 0)[1], y_cubed(9))


def y_cubed(count):
    y = staircase_task(10).sample(count, 0)[1]
    return np.sign(y) * np.abs(y) ** 3.0


@pytest.mark.parametrize("name", TASKS)
def test_log_ratio_of_own_samples_averages_to_the_truth(name):
    task = TASKS[name]
    ratios = task.log_ratio(*task.sample(4_000, 5))
    error = ratios.std() / np.sqrt(len(ratios))
    # 4.5 standard errors: 7e-6 a task, 1e-3 for all 125
    assert ratios.mean() == pytest.approx(task.mutual_information, abs=4.5 * error)


@pytest.mark.parametrize(
    "name",
    [
        *("1v1-normal-0.75", "1v1-additive-0.1", "1v1-bimodal-0.75", "student-identity-2-2-1"),
        *("multinormal-dense-3-3-0.5", "swissroll_x-normal_cdf-1v1-normal-0.75"),
        "spiral-normal_cdf-multinormal-sparse-3-3-2-2.0",
    ],
)
def test_ratio_averages_to_one_over_independent_pairs(name):
    task = TASKS[name]
    x, _ = task.sample(40_000, 0)
    _, y = task.sample(40_000, 1)
    ratios = np.exp(task.log_ratio(x, y))
    error = ratios.std() / np.sqrt(len(ratios))
    assert ratios.mean() == pytest.approx(1, abs=4.5 * error)


@pytest.mark.parametrize("name", [*BMI_TASKS, "gaussian-staircase-20-10.0"])
def test_same_seed_same_samples(name):
    task = TASKS[name]
    x, y = task.sample(7, 11)
    assert x.shape == (7, task.dim_x)
    assert y.shape == (7, task.dim_y)
    assert x.dtype == y.dtype == np.float64
    again = task.sample(7, np.random.default_rng(11))
    np.testing.assert_array_equal(x, again[0])
    np.testing.assert_array_equal(y, again[1])
    generator = np.random.default_rng(11)
    task.sample(7, generator)
    for other in (task.sample(7, 12), task.sample(7, generator)):
        assert not np.isin(other[0], x).any()
        assert not np.isin(other[1], y).any()


@pytest.mark.parametrize("count", [0, -1, 2.0, True, None])
def test_number_of_samples_must_be_one_or_more(count):
    for name in ("1v1-additive-0.1", "student-identity-1-1-1", "multinormal-dense-2-2-0.5"):
        with pytest.raises(ConfigError, match="number of samples"):
            TASKS[name].sample(count, 0)


@pytest.mark.parametrize("seed", [None, -1, 0.5, "0", True, np.random.RandomState(0)])
def test_seed_must_be_one(seed):
    with pytest.raises(ConfigError, match="seed"):
        TASKS["wiggly-1v1-normal-0.75"].sample(3, seed)


def test_unknown_names_list_close_ones():
    with pytest.raises(ConfigError, match=r"did you mean 1v1-normal-0\.75"):
        task_named("1v1-normal-.75")
    with pytest.raises(ConfigError, match="the 125 known ones begin with 1v1-normal"):
        task_named("?")
    with pytest.raises(ConfigError, match="did you mean spiral"):
        dmi_task("spirals", 5, 200)
    with pytest.raises(ConfigError, match="string"):
        task_named(3)
    assert task_named("spiral-multinormal-sparse-50-50-2-2000.0").dim_x == 50


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CoupledPairs(1, 2, (0.5, 0.5)), ConfigError, "2 coupled pairs"),
        (lambda: CoupledPairs(0, 2, ()), ConfigError, "dim_x must be"),
        (lambda: CoupledPairs(1, 1, (0.0,)), ConfigError, "between 1e-20 and 1"),
        (lambda: CoupledPairs(1, 1, (np.nan,)), ConfigError, "between 1e-20 and 1"),
        (lambda: unexplained_by_correlation(1.0), ConfigError, "correlation"),
        (lambda: two_pairs(5, -1.0), ConfigError, "strength"),
        (lambda: two_pairs(5, 1e11), ConfigError, "23 nats"),
        (lambda: dmi_task("half_cube", 1, 200), ConfigError, "dim must be a whole number >= 2"),
        (lambda: dmi_task("spiral", 2, 200), ConfigError, "width 3 or more"),
        (lambda: staircase_task(-1), ConfigError, "information"),
        (lambda: staircase_task(2, 0), ConfigError, "dim must be"),
        (lambda: AdditiveUniform(0), ConfigError, "epsilon must be positive"),
        (lambda: AdditiveUniform("1"), ConfigError, "epsilon must be positive"),
        (lambda: Student(np.eye(2), 1, -1), ConfigError, "degrees of freedom"),
        (lambda: Student(np.eye(2), 2, 1), ShapeError, "must leave a coordinate"),
        (lambda: Student(np.ones((2, 2)), 1, 1), EstimationError, "positive definite"),
        (lambda: Gaussian(np.eye(2), 2), ShapeError, "must leave a coordinate"),
        (lambda: Gaussian(np.ones((2, 3)), 1), ShapeError, "a covariance or"),
        (lambda: Gaussian([[1, 0.5], [0, 1]], 1), EstimationError, "symmetric"),
    ],
)
def test_laws_that_cannot_be(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_samples_of_other_widths_are_refused():
    for name in ("1v1-additive-0.1", "multinormal-dense-2-2-0.5", "student-identity-2-2-1"):
        task = TASKS[name]
        x, y = task.sample(5, 0)
        for pair in ((x[:3], y), (np.hstack([x, x]), y), (x[:, 0], y), (1.0, y)):
            with pytest.raises(ShapeError, match=rf"takes x \(N, {task.dim_x}\)"):
                task.log_ratio(*pair)
        with pytest.raises(EstimationError, match="y holds NaN"):
            task.log_ratio(x, np.where(y > 0, np.nan, y))


@pytest.mark.parametrize("name", BMI_TASKS)
def test_laws_can_be_sampled_by_the_harness_of_benchmark_mi(name):
    """Names and arguments of its ``ISampler``; its tasks have the information as a property."""
    law, task = BMI_TASKS[name].law, BMI_TASKS[name]
    assert list(inspect.signature(law.sample).parameters) == ["n_points", "rng"]
    assert list(inspect.signature(task.sample).parameters) == ["n_samples", "seed"]
    assert law.dim_total == law.dim_x + law.dim_y == task.dim_x + task.dim_y
    assert law.mutual_information() == task.mutual_information
    assert type(task.mutual_information) is float


def test_covariances_are_copies_that_cannot_be_written():
    covariance = equicorrelated(2, 0.5)
    law = Gaussian(covariance, 1)
    covariance[0, 1] = 0.9
    assert law.covariance[0, 1] == 0.5
    with pytest.raises(ValueError, match="read-only"):
        law.covariance[0, 1] = 0.9
    assert Transformed(law).mutual_information() == law.mutual_information()
