"""Gaussian fits: closed forms, an exact bias, and unbiasedness over many samples."""

import numpy as np
import pytest
from sklearn.cross_decomposition import CCA

from mimrl.errors import ConfigError, EstimationError, SampleSizeWarning, ShapeError
from mimrl.mi import gaussian_information
from mimrl.mi.estimators.gaussian import ConditionalGaussian, Gaussian, information_bias

few = pytest.mark.filterwarnings("ignore::mimrl.errors.SampleSizeWarning")
scattered = pytest.mark.filterwarnings("ignore::mimrl.errors.VarianceWarning")


def covariance(size, seed):
    factors = np.random.default_rng(seed).normal(size=(size, size))
    return factors @ factors.T + 0.3 * np.eye(size)


def samples(matrix, rows, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, len(matrix))) @ np.linalg.cholesky(matrix).T


def test_the_plain_value_is_that_of_canonical_correlations():
    rows = samples(covariance(5, 0), 400, 0)
    found = Gaussian(debias=False).estimate_with_info(rows[:, :3], rows[:, 3:])
    first, second = CCA(2, max_iter=5000, tol=1e-12).fit_transform(rows[:, :3], rows[:, 3:])
    rho = [np.corrcoef(a, b)[0, 1] for a, b in zip(first.T, second.T, strict=True)]
    assert found.mi_estimate == pytest.approx(-0.5 * np.log1p(-np.square(rho)).sum(), abs=1e-6)
    assert found.mi_estimate == pytest.approx(
        gaussian_information(np.cov(rows.T), [0, 1, 2], [3, 4])
    )
    assert found.pointwise.mean() == pytest.approx(found.mi_estimate, abs=1e-13)


def test_one_column_each_given_one_is_the_partial_correlation():
    rows = samples(covariance(3, 1), 300, 0)
    precision = np.linalg.inv(np.cov(rows.T))
    partial = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
    found = ConditionalGaussian(debias=False).estimate(*rows.T)
    assert found == pytest.approx(-0.5 * np.log(1 - partial**2))


@few
@scattered
@pytest.mark.parametrize(
    ("rows", "x", "y", "z"), [(40, 2, 3, 0), (40, 2, 3, 4), (20, 6, 6, 0), (300, 1, 1, 0)]
)
def test_unbiased_over_many_samples(rows, x, y, z):
    """Within four standard errors of the mean over 400 samples; the plain value is not."""
    matrix = covariance(x + y + z, 2)
    columns = [range(x), range(x, x + y), range(x + y, x + y + z)]
    truth = gaussian_information(matrix, *columns)
    estimator = ConditionalGaussian() if z else Gaussian()
    found = np.array(
        [
            estimator.estimate(*(drawn[:, c] for c in columns if len(c)))
            for drawn in (samples(matrix, rows, seed) for seed in range(400))
        ]
    )
    error = found.std() / 20
    assert found.mean() == pytest.approx(truth, abs=4 * error)
    bias = information_bias(rows, x, y, z)
    assert bias > 0
    if bias > 8 * error:
        assert (found + bias).mean() != pytest.approx(truth, abs=4 * error)


@few
@scattered
def test_readings_on_other_rows_are_unbiased_too():
    matrix = covariance(6, 3)
    truth = gaussian_information(matrix, [0, 1], [2, 3, 4, 5])
    scores = {debias: [] for debias in (True, False)}
    for seed in range(300):
        drawn = samples(matrix, 100, seed)
        x, y = drawn[:, :2], drawn[:, 2:]
        for debias, found in scores.items():
            fitted = Gaussian(debias=debias).fit(x[:40], y[:40])
            found.append(fitted.score(x[40:], y[40:]))
    error = np.std(scores[True]) / np.sqrt(300)
    assert np.mean(scores[True]) == pytest.approx(truth, abs=4 * error)
    assert np.mean(scores[False]) < truth - 4 * error


def test_fifty_by_fifty_independent_columns_read_nothing():
    """The plain value has an excess of 0.253; the standard error does not miss the scatter."""
    results = []
    for seed in range(4):
        rows = np.random.default_rng(seed).normal(size=(5000, 100))
        results.append(Gaussian().estimate_with_info(rows[:, :50], rows[:, 50:]))
    found = [result.mi_estimate for result in results]
    # n Wilks' log ratio is chi-square with 2,500 degrees of freedom: sqrt(5000) / 10,000.
    assert np.abs(found).max() < 4 * 0.0071
    assert results[0].additional_information["plain"] == pytest.approx(0.253, abs=0.03)
    assert 0.0071 < results[0].standard_error < 0.0142


def test_the_standard_error_is_the_scatter_over_samples():
    matrix = [[1, 0.8], [0.8, 1]]
    results = [Gaussian().estimate_with_info(*samples(matrix, 400, seed).T) for seed in range(200)]
    scatter = np.std([result.mi_estimate for result in results])
    # The scatter of 200 values is known to 5 %.
    assert np.mean([r.standard_error for r in results]) == pytest.approx(scatter, rel=0.2)


def test_normal_scores_do_not_see_increasing_maps():
    x, y = samples([[1, 0.7], [0.7, 1]], 2000, 0).T
    estimator = Gaussian(preprocessing="normal_scores")
    found = estimator.estimate_with_info(np.exp(x), y**3)
    assert found.mi_estimate == pytest.approx(estimator.estimate(x, y), abs=1e-12)
    truth = -0.5 * np.log(1 - 0.49)
    assert found.mi_estimate == pytest.approx(truth, abs=3 * found.standard_error)
    assert Gaussian().estimate(np.exp(2 * x), y**5) < 0.6 * truth


def test_linear_maps_and_redundant_columns_change_nothing():
    rows = samples(covariance(4, 4), 200, 0)
    x, y = rows[:, :2], rows[:, 2:]
    value = Gaussian().estimate(x, y)
    assert Gaussian().estimate(x @ [[1, 2], [3, 5]] + 7, y * [1e6, 1e-6]) == pytest.approx(value)
    assert Gaussian(preprocessing="none").estimate(x, y) == pytest.approx(value)
    assert Gaussian().estimate(np.c_[x, x.sum(axis=1)], y) == pytest.approx(value)


@few
def test_what_has_no_finite_value():
    rows = samples(np.eye(4), 30, 0)
    with pytest.raises(EstimationError, match="determined by another"):
        Gaussian().estimate(rows[:, :2], rows[:, [2]] * 0 + rows[:, [0]])
    with pytest.raises(EstimationError, match="at least 31 samples"):
        Gaussian().estimate(rows, np.random.default_rng(1).normal(size=(30, 26)))
    with pytest.warns(SampleSizeWarning, match="wants 40"):
        Gaussian().estimate(rows[:, :2], rows[:, 2:])


def test_fits_check_what_they_are_given():
    rows = samples(np.eye(3), 50, 0)
    with pytest.raises(EstimationError, match="do not vary"):
        Gaussian().fit(rows[:, :2] * [1, 0], rows[:, 2])
    fitted = Gaussian().fit(rows[:, :2], rows[:, 2])
    with pytest.raises(ShapeError, match="columns"):
        fitted.score(rows[:, 0], rows[:, 2])
    assert fitted.pointwise(rows[:7, :2], rows[:7, 2]).shape == (7,)
    with pytest.raises(ConfigError, match="preprocessing"):
        Gaussian(preprocessing="copula")
